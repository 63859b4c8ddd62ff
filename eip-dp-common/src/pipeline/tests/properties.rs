//! Packets and bytes at random.

use proptest::prelude::*;

use super::*;
use crate::testing::{decay, dice::Dice, mirror, partial, pieces};

/// Out and in again is the identity, but for TTL and Ethernet: also for payloads whose checksum was
/// wrong, for every protocol, and for every part of a fragmented packet.
fn there_and_back<F: Plan>(
    protocol: u8,
    payload: Vec<u8>,
    fragment: u16,
) -> Result<(), TestCaseError> {
    let world = world();
    let mut draft = Draft::<F>::new(F::private(NAT), F::far(7), protocol, payload);
    draft.fragment = fragment;
    let before = draft.frame(outward(NAT_ENI));
    let (outcome, sent) = hold(&world, NAT_ENI.port, &before);
    if outcome.verdict != Verdict::Send {
        let refused = matches!(
            outcome.verdict,
            Verdict::Drop(
                Reason::TinyFragment
                    | Reason::IcmpQuoteMismatch
                    | Reason::Malformed
                    | Reason::SourceRoute
                    | Reason::HeadersTooLong
                    | Reason::AddressOption
            ) | Verdict::PuntToDaemon
        );
        prop_assert!(
            refused || outcome.verdict == Verdict::Drop(Reason::ArpIgnored),
            "{outcome:?}"
        );
        return Ok(());
    }
    mirror::back(&world, NAT_ENI.port, &before, &outcome, &sent);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn there_and_back_is_the_identity(
        protocol in prop_oneof![any::<u8>(), Just(6), Just(17), Just(33), Just(136), Just(1), Just(58)],
        payload in proptest::collection::vec(any::<u8>(), 0..80),
        fragment4 in prop_oneof![Just(0u16), Just(0x4000), Just(0x2000), Just(2)],
        fragment6 in prop_oneof![Just(0u16), Just(1), Just(16)],
    ) {
        there_and_back::<V4>(protocol, payload.clone(), fragment4)?;
        there_and_back::<V6>(protocol, payload, fragment6)?;
    }

    /// Packets of every shape, valid and not, from everybody to everybody.
    #[test]
    fn everything_that_comes_is_treated_right(
        rolled in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let (ifindex, frame) = Dice::new(&rolled).frame();
        let world = world();
        let (outcome, sent) = hold(&world, ifindex, &frame);
        mirror::back(&world, ifindex, &frame, &outcome, &sent);
    }

    /// Likewise while the tables change.
    #[test]
    fn tables_that_change_are_survived(
        rolled in proptest::collection::vec(any::<u8>(), 0..200),
        fates in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let (ifindex, frame) = Dice::new(&rolled).frame();
        decay::hold(&world(), &mut Dice::new(&fates), ifindex, &frame);
    }

    /// Likewise in pieces, as XDP gets large frames.
    #[test]
    fn pieces_are_translated_whole_or_left(
        rolled in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        pieces::roll(&world(), &mut Dice::new(&rolled));
    }

    /// Likewise with a checksum that the device writes wherever the sender says.
    #[test]
    fn devices_change_nothing_that_was_looked_at(
        rolled in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        partial::roll(&world(), &mut Dice::new(&rolled));
    }

    /// No bytes make the path panic, and what it does not send on it does not change.
    #[test]
    fn any_bytes_are_survived(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
        inwards in any::<bool>(),
        ethertype in prop_oneof![Just([8u8, 0, 0x45]), Just([0x86, 0xdd, 0x60]), Just([8, 6, 0])],
    ) {
        let (ifindex, link) = if inwards { (UPLINK, INWARD) } else { (NAT_ENI.port, outward(NAT_ENI)) };
        for (place, byte) in bytes.iter_mut().zip([&link.0[..], &link.1, &ethertype].concat()) {
            *place = byte;
        }
        hold(&world(), ifindex, &bytes);
    }
}

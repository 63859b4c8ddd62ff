//! The path over buffers: there and back, and what no packet may do. The table of cases, byte for byte and against the
//! kernel, is in the `tests` package.

use proptest::prelude::*;

use super::{Outcome, Verdict, from_port, from_uplink};
use crate::{
    abi::{LinkKey, NONE, Reason},
    testing::{
        Buffer, CUT_THROUGH_EIP, CUT_THROUGH_SLOT, ENI_MAC, FAR, NAT_EIP, NAT_PRIVATE, NAT_SLOT,
        PORT, PORT_MAC, ROUTER_MAC, UPLINK, UPLINK_MAC, ipv4, sum, transport, transport_sum, world,
    },
};

const PORT_KEY: LinkKey = LinkKey {
    ifindex: PORT,
    vlan: 0,
    reserved: 0,
};
const INWARD: ([u8; 6], [u8; 6]) = (ROUTER_MAC, UPLINK_MAC);
const OUTWARD: ([u8; 6], [u8; 6]) = (ENI_MAC, PORT_MAC);

fn inward(packet: &mut Buffer) -> Outcome {
    from_uplink(packet, &world(), LinkKey::untagged(UPLINK))
}

fn outward(packet: &mut Buffer) -> Outcome {
    from_port(packet, &world(), PORT_KEY)
}

fn header(packet: &Buffer) -> &[u8] {
    &packet.0[14..34]
}

#[test]
fn nat_in_translates_the_destination() {
    for protocol in [6, 17] {
        let segment = transport(protocol, (FAR, NAT_EIP), b"hello");
        let mut packet = ipv4(INWARD, (FAR, NAT_EIP), protocol, &segment);
        let outcome = inward(&mut packet);
        assert_eq!(
            (outcome.verdict, outcome.way.ifindex),
            (Verdict::Send, PORT)
        );
        assert_eq!((outcome.receiver, outcome.sender), (NAT_SLOT, NONE));
        assert_eq!(outcome.bytes as usize, 20 + segment.len());
        assert_eq!(header(&packet)[16..20], NAT_PRIVATE);
        assert_eq!(header(&packet)[8], 63, "TTL");
        assert_eq!(sum(header(&packet)), 0xffff, "the header checksum is right");
        let right = transport_sum(protocol, (FAR, NAT_PRIVATE), &packet.0[34..]);
        assert_eq!(right, 0xffff, "the transport checksum is right");
        assert_eq!(packet.0[..12], [ENI_MAC, PORT_MAC].concat());
    }
}

#[test]
fn cut_through_changes_nothing_but_ttl_and_ethernet() {
    let segment = transport(17, (FAR, CUT_THROUGH_EIP), b"hello");
    let mut packet = ipv4(INWARD, (FAR, CUT_THROUGH_EIP), 17, &segment);
    let before = packet.clone();
    let outcome = inward(&mut packet);
    assert_eq!(
        (outcome.verdict, outcome.way.ifindex),
        (Verdict::Send, PORT)
    );
    assert_eq!(outcome.receiver, CUT_THROUGH_SLOT);
    assert_eq!(packet.0[14..22], before.0[14..22]);
    assert_eq!(packet.0[26..], before.0[26..]);
    assert_eq!(sum(header(&packet)), 0xffff);
}

#[test]
fn hairpin_shows_the_receiver_the_senders_eip() {
    let segment = transport(6, (NAT_PRIVATE, CUT_THROUGH_EIP), b"");
    let mut packet = ipv4(OUTWARD, (NAT_PRIVATE, CUT_THROUGH_EIP), 6, &segment);
    let outcome = outward(&mut packet);
    assert_eq!(
        (outcome.verdict, outcome.way.ifindex),
        (Verdict::Send, PORT)
    );
    assert_eq!(
        (outcome.sender, outcome.receiver),
        (NAT_SLOT, CUT_THROUGH_SLOT)
    );
    assert_eq!(header(&packet)[12..16], NAT_EIP);
    assert_eq!(
        transport_sum(6, (NAT_EIP, CUT_THROUGH_EIP), &packet.0[34..]),
        0xffff
    );
}

#[test]
fn a_table_that_changes_under_a_packet_drops_it_untouched() {
    let mut torn = world();
    torn.eips.get_mut(&NAT_EIP).expect("in the world").slot += 1;
    let mut packet = ipv4(
        INWARD,
        (FAR, NAT_EIP),
        6,
        &transport(6, (FAR, NAT_EIP), b""),
    );
    let before = packet.clone();
    let outcome = from_uplink(&mut packet, &torn, LinkKey::untagged(UPLINK));
    assert_eq!(outcome.verdict, Verdict::Drop(Reason::TableBusy));
    assert_eq!(packet, before);
}

/// Whatever is cut off a packet, it is delivered whole or not at all.
#[test]
fn every_truncation_is_dropped_or_left_alone() {
    for (macs, addresses) in [(INWARD, (FAR, NAT_EIP)), (OUTWARD, (NAT_PRIVATE, FAR))] {
        let whole = ipv4(macs, addresses, 6, &transport(6, addresses, b"payload"));
        for len in 0..whole.0.len() {
            let mut packet = Buffer(whole.0[..len].to_vec());
            let before = packet.clone();
            let outcome = if macs == INWARD {
                inward(&mut packet)
            } else {
                outward(&mut packet)
            };
            assert!(
                matches!(
                    outcome.verdict,
                    Verdict::Pass | Verdict::Drop(Reason::Malformed)
                ),
                "{len} bytes: {outcome:?}"
            );
            assert_eq!(packet, before, "{len} bytes");
        }
    }
}

proptest! {
    /// Out and in again is the identity, but for TTL and Ethernet: also for payloads whose checksum was wrong, for every
    /// protocol, and for every part of a fragmented packet.
    #[test]
    fn there_and_back_is_the_identity(
        protocol in any::<u8>(),
        payload in proptest::collection::vec(any::<u8>(), 0..80),
        fragment in prop_oneof![Just([0u8, 0]), Just([0x40, 0]), Just([0x20, 0]), Just([0, 2])],
    ) {
        let mut packet = ipv4(OUTWARD, (NAT_PRIVATE, FAR), protocol, &payload);
        packet.0[20..22].copy_from_slice(&fragment);
        packet.0[24..26].copy_from_slice(&[0, 0]);
        let check = !sum(header(&packet));
        packet.0[24..26].copy_from_slice(&check.to_be_bytes());
        let before = packet.clone();
        match outward(&mut packet).verdict {
            Verdict::Send => {}
            other => {
                prop_assert!(matches!(
                    other,
                    Verdict::Drop(Reason::TinyFragment | Reason::IcmpQuoteMismatch) | Verdict::Daemon
                ), "{other:?}");
                prop_assert_eq!(packet, before);
                return Ok(());
            }
        }
        prop_assert_eq!(&header(&packet)[12..16], NAT_EIP.as_slice());
        // The answer of a mirror: addresses exchanged, which no checksum sees.
        let mut answer = packet.clone();
        answer.0[0..12].copy_from_slice(&[UPLINK_MAC, ROUTER_MAC].concat());
        answer.0[26..30].copy_from_slice(&FAR);
        answer.0[30..34].copy_from_slice(&NAT_EIP);
        prop_assert_eq!(inward(&mut answer).verdict, Verdict::Send);
        prop_assert_eq!(&header(&answer)[16..20], NAT_PRIVATE.as_slice());
        prop_assert_eq!(sum(header(&answer)), 0xffff);
        let (returned, sent) = (&answer.0[34..], &before.0[34..]);
        let field = match protocol { 6 => 16, 17 | 33 | 136 => 6, _ => usize::MAX };
        for (at, (returned, sent)) in returned.iter().zip(sent).enumerate() {
            // 0x0000 and 0xffff are the two zeros of a checksum.
            let zeros = at / 2 == field / 2 && [*returned, *sent].iter().all(|byte| matches!(byte, 0 | 0xff));
            prop_assert!(returned == sent || zeros, "byte {at}: {sent} became {returned}");
        }
    }

    /// No bytes make the path panic, and what it does not send on it does not change.
    #[test]
    fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), inwards in any::<bool>()) {
        let start = if inwards { INWARD } else { OUTWARD };
        for (place, byte) in bytes.iter_mut().zip([start.1.as_slice(), &start.0, &[8, 0, 0x45]].concat()) {
            *place = byte;
        }
        let mut packet = Buffer(bytes);
        let before = packet.clone();
        let outcome = if inwards { inward(&mut packet) } else { outward(&mut packet) };
        if !matches!(outcome.verdict, Verdict::Send | Verdict::Reply) {
            prop_assert_eq!(packet, before);
        }
    }
}

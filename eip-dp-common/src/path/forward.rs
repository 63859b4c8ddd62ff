//! The last step of every packet that goes on: checks of a router, translation, and the frame's new addresses.

use super::{Outcome, Verdict, Way, quote::Quote};
use crate::{
    abi::{Event, Reason, Target, TargetFlags},
    checksum::Delta,
    family::{ChecksumPlace, Datagram, Family, Rewrite, protocol},
    packet::{ABSENT, Change, Ethernet, NETWORK, Packet},
};

/// Where a packet goes and what changes on the way.
pub struct Forward<'a, F: Family> {
    /// Where it goes.
    pub target: &'a Target,
    /// Its source from now on.
    pub source: F::Address,
    /// Its destination from now on.
    pub destination: F::Address,
    /// Whether and how the addresses' change shows in checksums.
    pub translation: Translation,
    /// Whether it is routed (TTL less one) or stays on its link.
    pub routed: bool,
    /// Whether the kernel may send it in fragments, where it is larger than the way out and may be cut.
    pub by_kernel: bool,
}

/// Whether addresses change, and what that does to checksums. Not an `Option`: both fields always have a value, which the
/// verifier wants of whatever the compiler spills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Whether they change.
    pub active: bool,
    /// The checksum difference, [`Delta::NONE`] where they do not.
    pub delta: Delta,
}

impl Translation {
    /// Cut-through: no change.
    pub const NONE: Self = Self {
        active: false,
        delta: Delta::NONE,
    };

    /// NAT, by a record's checksum difference.
    #[inline(always)]
    pub const fn nat(delta: u16) -> Self {
        Self {
            active: true,
            delta: Delta::from_record(delta),
        }
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            active: self.active | other.active,
            delta: self.delta.and(other.delta),
        }
    }
}

/// Checks, translates and addresses the packet.
///
/// # Errors
/// The reason not to send it; the packet is untouched then, but for [`Reason::KernelRefused`].
#[inline(always)]
pub fn forward<F: Family, P: Packet>(
    packet: &mut P,
    datagram: &Datagram<F>,
    forward: &Forward<'_, F>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    let target = forward.target;
    if forward.routed && datagram.hop_limit <= 1 {
        return Err(Reason::TtlExceeded);
    }
    let too_big = wire_len(packet, datagram) > usize::from(target.mtu);
    if too_big && !(forward.by_kernel && datagram.may_fragment) {
        outcome.mtu = u32::from(target.mtu);
        return Err(Reason::TooBig);
    }
    let rewrite = Rewrite {
        source: forward.source,
        destination: forward.destination,
        delta: forward.translation.delta,
        // The kernel's routing takes it off itself.
        hop: forward.routed && !too_big,
    };
    let mut field = ChecksumPlace::NONE;
    let mut quote = Quote::NONE;
    if forward.translation.active {
        if F::is_icmp_error(packet, datagram) {
            quote = Quote::find(packet, datagram, &rewrite)?;
        } else {
            field = datagram.transport_checksum()?;
        }
        if datagram.authenticated != 0 {
            outcome.event = Some(Event::AhTranslated);
        }
    }
    if !packet.can_send(target) || (too_big && !packet.can_reply()) {
        return Ok(Verdict::Slow);
    }
    // With its padding it would be longer than the way out takes, where links differ in their MTU.
    if packet.segment_payload() == Some(0)
        && packet.is_longer_than(NETWORK + usize::from(target.mtu))
        && !too_big
    {
        packet.trim(datagram.end)?;
    }
    if quote.at != 0 {
        quote.rewrite(packet, datagram, &rewrite)?;
    }
    if field.offset != 0 {
        let change = Change {
            delta: rewrite.delta,
            covers: F::PSEUDO_HEADER,
            zero_is_none: field.zero_is_none,
        };
        packet.adjust_checksum(field.offset, change)?;
    }
    if forward.routed {
        F::rewrite(packet, datagram, &rewrite)?;
    }
    if too_big {
        return Ok(Verdict::Kernel);
    }
    outcome.way = Way::to(target);
    if target.flags & TargetFlags::RESOLVED == 0 {
        return Ok(Verdict::Resolve);
    }
    Ethernet::write_addresses(packet, target.dst_mac, target.src_mac)?;
    Ok(Verdict::Send)
}

/// The length of the IP packet on the wire, in bytes: of each segment, for a packet that is cut on its way out.
#[inline(always)]
fn wire_len<F: Family, P: Packet>(packet: &P, datagram: &Datagram<F>) -> usize {
    match packet.segment_payload() {
        Some(0) => datagram.length(),
        // Segments of different lengths come from a receiver that merged them; each came over a link before.
        None => 0,
        Some(payload) => {
            datagram.transport - NETWORK + transport_len(packet, datagram) + payload as usize
        }
    }
}

/// The length of the transport header that each segment carries, in bytes.
#[inline(always)]
fn transport_len<F: Family, P: Packet>(packet: &P, datagram: &Datagram<F>) -> usize {
    const DATA_OFFSET: usize = 12;
    const UDP_LEN: usize = 8;
    if datagram.protocol != protocol::TCP {
        return UDP_LEN;
    }
    match packet.byte(datagram.transport + DATA_OFFSET) {
        ABSENT => 0,
        offset => usize::from(offset >> 4) * 4,
    }
}

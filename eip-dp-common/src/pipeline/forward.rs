//! The last step of every packet that goes on: checks of a router, translation, and the frame's new
//! addresses.

use super::{Egress, Outcome, Verdict, fragment, icmp_embedded::EmbeddedPacket};
use crate::{
    abi::{Event, Reason, Target, TargetFlags},
    checksum::Delta,
    family::{ChecksumPlace, Datagram, Family, NatObstacle, Rewrite, protocol},
    packet::{ABSENT, Change, Ethernet, NETWORK, Packet},
    tables::LinkTables,
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
    /// What of it only NAT mode refuses.
    pub obstacle: NatObstacle,
    /// Whether it is routed (TTL less one) or stays on its link.
    pub routed: bool,
    /// Whether its destination itself is on the target's link, and not behind a next hop.
    pub is_neighbour: bool,
}

/// Whether addresses change, and what that does to checksums. Not an `Option`: all fields always
/// have a value, which the verifier wants of whatever the compiler spills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Whether they change.
    pub active: bool,
    /// The checksum difference of the source's change, [`Delta::NONE`] where it does not.
    pub source: Delta,
    /// Likewise of the destination's.
    pub destination: Delta,
}

impl Translation {
    /// Cut-through: no change.
    pub const NONE: Self = Self {
        active: false,
        source: Delta::NONE,
        destination: Delta::NONE,
    };

    /// NAT of the source, by a record's checksum difference.
    #[inline(always)]
    pub const fn of_source(delta: u16) -> Self {
        Self {
            active: true,
            source: Delta::from_record(delta),
            destination: Delta::NONE,
        }
    }

    /// NAT of the destination.
    #[inline(always)]
    pub const fn of_destination(delta: u16) -> Self {
        Self {
            active: true,
            source: Delta::NONE,
            destination: Delta::from_record(delta),
        }
    }

    /// This one's change of the source, and the other's of the destination.
    #[inline(always)]
    #[must_use]
    pub const fn with_destination(self, other: Self) -> Self {
        Self {
            active: self.active | other.active,
            source: self.source,
            destination: other.destination,
        }
    }
}

/// Checks, translates and addresses the packet.
///
/// # Errors
/// The reason not to send it; the packet is untouched then, but for [`Reason::KernelRefused`].
#[inline(always)]
pub fn forward<F: Family, P: Packet, L: LinkTables>(
    packet: &mut P,
    links: &L,
    datagram: &Datagram<F>,
    forward: &Forward<'_, F>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    let target = forward.target;
    if forward.routed && datagram.hop_limit <= 1 {
        return Err(Reason::TtlExceeded);
    }
    if forward.translation.active {
        forward.obstacle.refuse()?;
        if F::tells_addresses(packet, datagram) {
            return Err(Reason::AddressOption);
        }
    }
    let mtu = usize::from(target.mtu);
    // Forgotten: all that follows is looked at once, and not once for each kind of segments.
    if packet.verifier_opaque(wire_len(packet, datagram)) > mtu {
        outcome.mtu = u32::from(target.mtu);
        if !fragment::is_possible(packet, datagram, mtu) {
            return Err(Reason::TooBig);
        }
        return Ok(if packet.can_reply() {
            Verdict::Fragment
        } else {
            Verdict::Punt
        });
    }
    let rewrite = Rewrite {
        source: forward.source,
        destination: forward.destination,
        source_delta: forward.translation.source,
        destination_delta: forward.translation.destination,
        hop: forward.routed,
    };
    let mut field = ChecksumPlace::NONE;
    let mut embedded = EmbeddedPacket::NONE;
    if forward.translation.active {
        if F::is_icmp_error(packet, datagram) {
            embedded = EmbeddedPacket::find(packet, links, datagram, &rewrite)?;
            if embedded.at == EmbeddedPacket::UNREAD.at {
                return Ok(Verdict::Punt);
            }
        } else {
            field = datagram.transport_checksum()?;
        }
        if datagram.authenticated != 0 {
            outcome.event = Some(Event::AhTranslated);
        }
    }
    if !packet.can_send(target) {
        return Ok(Verdict::Punt);
    }
    // With its padding it would be longer than the way out takes, where links differ in their MTU.
    if packet.segment_payload() == Some(0) && packet.is_longer_than(NETWORK + mtu) {
        packet.trim(datagram.end)?;
    }
    if embedded.at != 0 {
        embedded.rewrite(packet, datagram, &rewrite)?;
    }
    if field.offset != 0 {
        let change = Change {
            delta: rewrite.transport_delta(datagram),
            covers: F::PSEUDO_HEADER,
            zero_is_none: field.zero_is_none,
        };
        packet.adjust_checksum(field.offset, change)?;
    }
    if forward.routed {
        F::rewrite(packet, datagram, &rewrite)?;
    }
    outcome.egress = Egress::to(target);
    if target.flags & TargetFlags::RESOLVED == 0 {
        return Ok(if forward.is_neighbour {
            Verdict::SendToNeighbour
        } else {
            Verdict::SendUnresolved
        });
    }
    Ethernet::write_addresses(packet, target.dst_mac, target.src_mac)?;
    Ok(Verdict::Send)
}

/// The length of the IP packet on the wire, in bytes: of each segment, for a packet that is cut on
/// its way out.
#[inline(always)]
fn wire_len<F: Family, P: Packet>(packet: &P, datagram: &Datagram<F>) -> usize {
    match packet.segment_payload() {
        Some(0) => datagram.length(),
        // Segments of different lengths come from a receiver that merged them; each came over a
        // link before.
        None => 0,
        Some(payload) => {
            let payload = payload as usize;
            let is_tcp = datagram.protocol == protocol::TCP;
            let (start, is_tcp) = packet.segment_transport(datagram.transport, is_tcp);
            let network = start - NETWORK;
            // Datagrams that may be fragmented may be one for the device to cut into fragments
            // (UFO, of a virtual machine): `payload` is what follows the IP header then, in units
            // of a fragment's. Nothing here tells these from others.
            if datagram.may_fragment
                && start == datagram.transport
                && !is_tcp
                && payload.is_multiple_of(fragment::UNIT)
            {
                return network + payload;
            }
            network + transport_len(packet, start, is_tcp) + payload
        }
    }
}

/// The length of the transport header that each segment carries, in bytes.
#[inline(always)]
fn transport_len<P: Packet>(packet: &P, start: usize, is_tcp: bool) -> usize {
    const DATA_OFFSET: usize = 12;
    const UDP_LEN: usize = 8;
    if !is_tcp {
        return UDP_LEN;
    }
    match packet.byte(start + DATA_OFFSET) {
        ABSENT => 0,
        offset => usize::from(offset >> 4) * 4,
    }
}

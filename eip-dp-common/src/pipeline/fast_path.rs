//! The fast path of most packets: plain TCP, UDP, pings and what has no checksum over addresses,
//! between an EIP and the Internet, from XDP to XDP.
//!
//! It is made of the same steps as the full path and decides nothing on its own: whatever is not
//! plain is left untouched ([`Verdict::Punt`]) to [`packet_from_uplink`](super::packet_from_uplink)
//! and [`packet_from_port`](super::packet_from_port). What it does decide, those would decide
//! alike: [`crate::testing::hold`] asserts that of every packet.

use super::{
    Egress, LinkProtocols, Outcome, Verdict, forward::Translation, port, uplink::receiving,
};
use crate::{
    abi::{
        Checksummed, EipMode, EipRoute, Link, NextHop, SourceBinding, SourceKey, SourceState,
        Target, TargetFlags,
    },
    family::{Datagram, Rewrite},
    packet::{Change, Ethernet, NETWORK, Packet},
    tables::{LinkTables, Tables},
};

/// What the fast path looks up besides.
pub trait FastPathTables: LinkTables {
    /// The link of an untagged interface, which becomes `into`, and its index; 0 where the
    /// interface is not such a port or uplink, or has no place in the table.
    fn ingress(&self, ifindex: u32, is_uplink: bool, into: &mut Link) -> u32;
    /// Where a target is reached.
    fn next_hop(&self, index: &u32) -> NextHop;
}

/// Not a packet for the fast path.
const PUNT: Outcome = Outcome {
    verdict: Verdict::Punt,
    ..Outcome::START
};

/// A frame from the uplink on this interface.
#[inline(always)]
pub fn fast_path_from_uplink<F: LinkProtocols, P: Packet, T: Tables<F> + FastPathTables>(
    packet: &mut P,
    tables: &T,
    ifindex: u32,
) -> Outcome {
    let mut uplink = Link::default();
    let Some(ethernet) = Ethernet::read(packet) else {
        return PUNT;
    };
    if ethernet.ethertype != F::ETHERTYPE
        || tables.ingress(ifindex, true, &mut uplink) == 0
        || ethernet.destination != uplink.mac
    {
        return PUNT;
    }
    let Ok(datagram) = F::parse_plain(packet) else {
        return PUNT;
    };
    tables.prefetch_eip(&datagram.destination);
    let mut eip = EipRoute::zeroed();
    if !tables.eip(&datagram.destination, &mut eip) {
        return PUNT;
    }
    let Ok(translation) = receiving::<F>(&eip) else {
        return PUNT;
    };
    let source = &datagram.source;
    if F::is_martian(source)
        || tables.may_be_pool(source)
        || (uplink.flags & Link::DROP_PRIVATE_SOURCES != 0 && F::is_private_use(source))
    {
        return PUNT;
    }
    let mut target = Target::zeroed();
    if !tables.receiver(&eip, &mut target) || tables.may_be_inside(target.vpc, source) {
        return PUNT;
    }
    let onward = Onward {
        source: datagram.source,
        destination: if eip.mode == EipMode::Nat as u8 {
            eip.private
        } else {
            datagram.destination
        },
        translation,
    };
    let mut outcome = send::<F, P>(packet, &datagram, &target, &onward);
    outcome.receiver = eip.slot;
    outcome
}

/// A frame from the port on this interface.
#[inline(always)]
pub fn fast_path_from_port<F: LinkProtocols, P: Packet, T: Tables<F> + FastPathTables>(
    packet: &mut P,
    tables: &T,
    ifindex: u32,
) -> Outcome {
    let mut port = Link::default();
    let Some(ethernet) = Ethernet::read(packet) else {
        return PUNT;
    };
    if ethernet.ethertype != F::ETHERTYPE {
        return PUNT;
    }
    let link = tables.ingress(ifindex, false, &mut port);
    if link == 0 || ethernet.destination != port.mac {
        return PUNT;
    }
    let Ok(datagram) = F::parse_plain(packet) else {
        return PUNT;
    };
    if port::is_dhcp(packet, &datagram) {
        return PUNT;
    }
    let key = SourceKey {
        vpc: port.vpc,
        address: datagram.source,
    };
    tables.prefetch_source(&key, ethernet.source);
    let mut owner = SourceBinding::zeroed();
    if !tables.private(&key, &mut owner) {
        return PUNT;
    }
    let translation = match SourceState::from_value(owner.state) {
        Some(SourceState::Nat) => Translation::of_source(owner.delta),
        Some(SourceState::CutThrough) => Translation::NONE,
        _ => return PUNT,
    };
    // Whose address it is stands here, with this MAC.
    if !tables.next_hop(&owner.target).is_at(ethernet.source, link) {
        return PUNT;
    }
    let destination = &datagram.destination;
    let mut target = Target::zeroed();
    if F::is_martian(destination)
        || tables.may_be_pool(destination)
        || tables.may_be_inside(port.vpc, destination)
        || !tables.target(&F::UPLINK_TARGET, &mut target)
    {
        return PUNT;
    }
    let onward = Onward {
        source: owner.public,
        destination: datagram.destination,
        translation,
    };
    let mut outcome = send::<F, P>(packet, &datagram, &target, &onward);
    outcome.sender = owner.slot;
    outcome.eni = owner.target;
    outcome
}

/// What changes.
struct Onward<F: LinkProtocols> {
    source: F::Address,
    destination: F::Address,
    translation: Translation,
}

/// Checks what is left to check, translates and addresses the packet.
#[inline(always)]
fn send<F: LinkProtocols, P: Packet>(
    packet: &mut P,
    datagram: &Datagram<F>,
    target: &Target,
    onward: &Onward<F>,
) -> Outcome {
    const BOTH: u16 = TargetFlags::XDP | TargetFlags::RESOLVED;
    let mtu = usize::from(target.mtu);
    if target.flags & BOTH != BOTH
        || target.vlan != 0
        || datagram.hop_limit <= 1
        || datagram.length() > mtu
        || packet.is_longer_than(NETWORK + mtu)
    {
        return PUNT;
    }
    let rewrite = Rewrite {
        source: onward.source,
        destination: onward.destination,
        source_delta: onward.translation.source,
        destination_delta: onward.translation.destination,
        hop: true,
    };
    if onward.translation.active {
        let Ok(field) = datagram.transport_checksum() else {
            return PUNT;
        };
        let change = Change {
            delta: rewrite.delta(),
            covers: F::PSEUDO_HEADER,
            zero_is_none: field.zero_is_none,
        };
        if field.offset != 0 && packet.adjust_checksum(field.offset, change).is_err() {
            return PUNT;
        }
    }
    // Both write where the headers were read.
    if F::rewrite(packet, datagram, &rewrite).is_err()
        || Ethernet::write_addresses(packet, target.dst_mac, target.src_mac).is_err()
    {
        return PUNT;
    }
    Outcome {
        verdict: Verdict::Send,
        bytes: datagram.bytes(),
        egress: Egress {
            ifindex: target.ifindex,
            vlan: 0,
        },
        ..Outcome::START
    }
}

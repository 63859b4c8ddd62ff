//! The short way of most packets: plain TCP, UDP, pings and what has no checksum over addresses, between an EIP and the
//! Internet, from XDP to XDP.
//!
//! It is made of the same steps as the whole path and decides nothing on its own: whatever is not plain is left untouched
//! ([`Verdict::Slow`]) to [`packet_from_uplink`](super::packet_from_uplink) and [`packet_from_port`](super::packet_from_port).
//! What it does decide, those would decide alike: [`crate::testing::hold`] asserts that of every packet.

use super::{Local, Outcome, Verdict, Way, forward::Translation, port, uplink::receiving};
use crate::{
    abi::{
        EipEntry, EipMode, Link, NextHop, PrivateEntry, PrivateKey, PrivateState, Sealed, Target,
        TargetFlags,
    },
    family::{Datagram, Rewrite},
    packet::{Change, Ethernet, NETWORK, Packet},
    tables::{Links, Tables},
};

/// What the short way looks up besides.
pub trait Quick: Links {
    /// The link of an untagged interface, which becomes `into`, and its index; 0 where the interface is not such a port or
    /// uplink, or has no place in the table.
    fn ingress(&self, ifindex: u32, is_uplink: bool, into: &mut Link) -> u32;
    /// Where a target is reached.
    fn next_hop(&self, index: &u32) -> NextHop;
}

/// Not a packet for the short way.
const LEFT: Outcome = Outcome {
    verdict: Verdict::Slow,
    ..Outcome::START
};

/// A frame from the uplink on this interface.
#[inline(always)]
pub fn quick_from_uplink<F: Local, P: Packet, T: Tables<F> + Quick>(
    packet: &mut P,
    tables: &T,
    ifindex: u32,
) -> Outcome {
    let mut uplink = Link::default();
    let Some(ethernet) = Ethernet::read(packet) else {
        return LEFT;
    };
    if ethernet.ethertype != F::ETHERTYPE
        || tables.ingress(ifindex, true, &mut uplink) == 0
        || ethernet.destination != uplink.mac
    {
        return LEFT;
    }
    let Ok(datagram) = F::parse_plain(packet) else {
        return LEFT;
    };
    tables.expect_eip(&datagram.destination);
    let mut eip = EipEntry::zeroed();
    if !tables.eip(&datagram.destination, &mut eip) {
        return LEFT;
    }
    let Ok(translation) = receiving::<F>(&eip) else {
        return LEFT;
    };
    let source = &datagram.source;
    if F::is_martian(source)
        || tables.is_screened(source)
        || (uplink.flags & Link::DROP_PRIVATE_SOURCES != 0 && F::is_private_use(source))
    {
        return LEFT;
    }
    let mut target = Target::zeroed();
    if !tables.receiver(&eip, &mut target) || tables.may_be_inside(target.vpc, source) {
        return LEFT;
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
pub fn quick_from_port<F: Local, P: Packet, T: Tables<F> + Quick>(
    packet: &mut P,
    tables: &T,
    ifindex: u32,
) -> Outcome {
    let mut port = Link::default();
    let Some(ethernet) = Ethernet::read(packet) else {
        return LEFT;
    };
    if ethernet.ethertype != F::ETHERTYPE {
        return LEFT;
    }
    let link = tables.ingress(ifindex, false, &mut port);
    if link == 0 || ethernet.destination != port.mac {
        return LEFT;
    }
    let Ok(datagram) = F::parse_plain(packet) else {
        return LEFT;
    };
    if port::is_dhcp(packet, &datagram) {
        return LEFT;
    }
    let key = PrivateKey {
        vpc: port.vpc,
        address: datagram.source,
    };
    tables.expect_private(&key, ethernet.source);
    let mut owner = PrivateEntry::zeroed();
    if !tables.private(&key, &mut owner) {
        return LEFT;
    }
    let translation = match PrivateState::from_value(owner.state) {
        Some(PrivateState::Nat) => Translation::of_source(owner.delta),
        Some(PrivateState::CutThrough) => Translation::NONE,
        _ => return LEFT,
    };
    // Whose address it is stands here, with this MAC.
    if !tables.next_hop(&owner.target).is_at(ethernet.source, link) {
        return LEFT;
    }
    let destination = &datagram.destination;
    let mut target = Target::zeroed();
    if F::is_martian(destination)
        || tables.is_screened(destination)
        || tables.may_be_inside(port.vpc, destination)
        || !tables.target(&F::UPLINK_TARGET, &mut target)
    {
        return LEFT;
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
struct Onward<F: Local> {
    source: F::Address,
    destination: F::Address,
    translation: Translation,
}

/// Checks what is left to check, translates and addresses the packet.
#[inline(always)]
fn send<F: Local, P: Packet>(
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
        return LEFT;
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
            return LEFT;
        };
        let change = Change {
            delta: rewrite.delta(),
            covers: F::PSEUDO_HEADER,
            zero_is_none: field.zero_is_none,
        };
        if field.offset != 0 && packet.adjust_checksum(field.offset, change).is_err() {
            return LEFT;
        }
    }
    // Both write where the headers were read.
    if F::rewrite(packet, datagram, &rewrite).is_err()
        || Ethernet::write_addresses(packet, target.dst_mac, target.src_mac).is_err()
    {
        return LEFT;
    }
    Outcome {
        verdict: Verdict::Send,
        bytes: datagram.bytes(),
        way: Way {
            ifindex: target.ifindex,
            vlan: 0,
        },
        ..Outcome::START
    }
}

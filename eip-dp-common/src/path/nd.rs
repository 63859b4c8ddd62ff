//! Neighbour discovery (RFC 4861): solicitations are answered for guests on ports and for EIPs on an on-link uplink, as
//! ARP is.

use core::mem::offset_of;

use network_types::{icmp::Icmpv6Hdr, ip::Ipv6Hdr};

use super::{
    Outcome, Verdict, arp, conclude,
    port::{From, owner_of, sender_of},
};
use crate::{
    abi::{Reason, Uplink, UplinkFlags},
    family::{Datagram, Family, V6, protocol, v6::write_icmp_checksum},
    packet::{Ethernet, Mac, NETWORK, Packet},
    tables::{Scratch, Tables},
};

const ROUTER_SOLICITATION: u16 = 133;
const NEIGHBOUR_SOLICITATION: u16 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u16 = 137;

/// What no router can have forwarded (RFC 4861 7.1).
const HOP_LIMIT: u8 = 255;

/// Where an ICMPv6 message starts that no extension header stands before.
const MESSAGE: usize = NETWORK + Ipv6Hdr::LEN;
/// A solicitation's or advertisement's length without options.
const LENGTH: usize = Icmpv6Hdr::LEN + 16;
/// An option with a link-layer address of Ethernet.
const OPTION: usize = 8;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

/// All nodes of a link (RFC 4291 2.7.1).
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Whether the packet is a message of neighbour discovery. Behind extension headers nobody sends them, and in fragments
/// they must not be (RFC 6980).
#[inline(always)]
pub fn is_message<P: Packet>(packet: &P) -> bool {
    const NEXT_HEADER: usize = NETWORK + offset_of!(Ipv6Hdr, next_hdr);
    packet.byte(NEXT_HEADER) == u16::from(protocol::ICMPV6)
        && matches!(packet.byte(MESSAGE), ROUTER_SOLICITATION..=REDIRECT)
}

/// Whose address a solicitation asks for; `None` for one that does not come from the link, or is cut short.
#[inline(always)]
fn target<P: Packet>(packet: &P, datagram: &Datagram<V6>) -> Option<[u8; 16]> {
    if datagram.hop_limit != HOP_LIMIT || datagram.end < MESSAGE + LENGTH {
        return None;
    }
    packet.read(MESSAGE + Icmpv6Hdr::LEN)
}

/// Turns the solicitation into the advertisement that says: `target` is at `mac`.
#[inline(always)]
fn answer<P: Packet>(
    packet: &mut P,
    datagram: &Datagram<V6>,
    ethernet: &Ethernet,
    target: [u8; 16],
    mac: Mac,
    is_router: bool,
) -> Result<Verdict, Reason> {
    const SOLICITED: u8 = 0x40;
    const OVERRIDE: u8 = 0x20;
    const ROUTER: u8 = 0x80;
    // Who probes for a duplicate has no address yet; all nodes are told (RFC 4861 7.2.4).
    let probe = V6::is_unspecified(&datagram.source);
    let (receiver, receiver_mac, solicited) = if probe {
        (ALL_NODES, [0x33, 0x33, 0, 0, 0, 1], 0)
    } else {
        (datagram.source, ethernet.source, SOLICITED)
    };
    let flags = OVERRIDE | solicited | if is_router { ROUTER } else { 0 };
    // What the solicitation had behind its target goes, and there is room for the option.
    packet.reshape(Ipv6Hdr::LEN + LENGTH, OPTION)?;
    #[allow(clippy::cast_possible_truncation, reason = "32 bytes")]
    let length = (LENGTH + OPTION) as u8;
    packet.write(
        NETWORK,
        [0x60, 0, 0, 0, 0, length, protocol::ICMPV6, HOP_LIMIT],
    )?;
    packet.write(NETWORK + 8, target)?;
    packet.write(NETWORK + 24, receiver)?;
    packet.write(MESSAGE, [NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0])?;
    packet.write(MESSAGE + Icmpv6Hdr::LEN, target)?;
    let [a, b, c, d, e, f] = mac;
    packet.write(
        MESSAGE + LENGTH,
        [TARGET_LINK_LAYER_ADDRESS, 1, a, b, c, d, e, f],
    )?;
    write_icmp_checksum(packet, LENGTH + OPTION)?;
    Ethernet::write_addresses(packet, receiver_mac, mac)?;
    Ok(Verdict::Reply)
}

/// Neighbour discovery from an ENI: every address but those of its own instance is behind the port's MAC.
#[inline(always)]
pub fn on_port<P: Packet, T: Tables<V6>>(packet: &mut P, tables: &T, from: &From) -> Outcome {
    let outcome = tables.with_scratch(|scratch| {
        let mut outcome = Outcome::START;
        let result = V6::parse(packet).and_then(|datagram| {
            outcome.bytes = datagram.bytes();
            let sender = sender_of(&mut scratch.sender, tables, from)?;
            match packet.byte(MESSAGE) {
                ROUTER_SOLICITATION => Ok(Verdict::Daemon),
                NEIGHBOUR_SOLICITATION => {
                    solicited(packet, tables, from, sender, &datagram, scratch)
                }
                // What only answers or routers send.
                _ => Err(Reason::ArpIgnored),
            }
        });
        conclude(outcome, result)
    });
    outcome.unwrap_or(Outcome::NO_ROOM)
}

#[inline(always)]
fn solicited<P: Packet, T: Tables<V6>>(
    packet: &mut P,
    tables: &T,
    from: &From,
    sender: u32,
    datagram: &Datagram<V6>,
    scratch: &mut Scratch<[u8; 16]>,
) -> Result<Verdict, Reason> {
    let wanted = target(packet, datagram).ok_or(Reason::Malformed)?;
    let (source, vpc) = (&datagram.source, from.port.vpc);
    if !V6::is_unspecified(source) && !V6::is_link_local(source) {
        owner_of::<V6, T>(tables, vpc, source, sender, scratch)?;
    }
    let is_router = V6::is_link_router(&wanted, from.port.mac);
    if V6::is_link_local(&wanted) {
        // Each guest has one of its own, and no way to the others'.
        if !is_router {
            return Err(Reason::ArpIgnored);
        }
    } else if arp::is_near::<V6, T>(tables, vpc, sender, &wanted, scratch)? {
        return Err(Reason::ArpIgnored);
    }
    if !packet.can_reply() {
        return Ok(Verdict::Slow);
    }
    let mac = from.port.mac;
    answer(packet, datagram, &from.ethernet, wanted, mac, is_router)
}

/// A solicitation on an uplink for an associated EIP is answered where the pool is on-link; all else is the kernel's.
#[inline(always)]
pub fn on_uplink<P: Packet, T: Tables<V6>>(
    packet: &mut P,
    tables: &T,
    uplink: &Uplink,
    ethernet: &Ethernet,
) -> Outcome {
    let outcome = Outcome::START;
    let answers = uplink.flags & UplinkFlags::ANSWER_ARP != 0
        && packet.byte(MESSAGE) == NEIGHBOUR_SOLICITATION;
    let Some(datagram) = V6::parse(packet).ok().filter(|_| answers) else {
        return outcome;
    };
    let Some(wanted) = target(packet, &datagram) else {
        return outcome;
    };
    if !arp::is_served_eip::<V6, T>(tables, &wanted) {
        return outcome;
    }
    if !packet.can_reply() {
        return conclude(outcome, Ok(Verdict::Slow));
    }
    let result = answer(packet, &datagram, ethernet, wanted, uplink.mac, false);
    conclude(outcome, result)
}

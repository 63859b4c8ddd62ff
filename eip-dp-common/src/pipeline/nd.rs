//! Neighbour discovery (RFC 4861): solicitations are answered for guests on ports and for EIPs on
//! an on-link uplink, as ARP is.

use core::mem::offset_of;

use network_types::{icmp::Icmpv6Hdr, ip::Ipv6Hdr};

use super::{
    Outcome, Verdict, arp, conclude,
    port::{PortFrame, is_pool_router, owner_of, sender_of, to_daemon},
};
use crate::{
    abi::{AddressClass, Checksummed, Prefix, Reason, TargetFlags, Uplink, UplinkFlags},
    checksum::fold,
    family::{Datagram, Family, V6, protocol, v6::write_icmp_checksum},
    packet::{Ethernet, LONGEST_SUM, Mac, NETWORK, Packet, is_group},
    tables::{self, Place, Scratch, Tables},
};

const ROUTER_SOLICITATION: u16 = 133;
const NEIGHBOUR_SOLICITATION: u16 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const NEIGHBOUR_ADVERTISED: u16 = NEIGHBOUR_ADVERTISEMENT as u16;
const REDIRECT: u16 = 137;

/// What no router can have forwarded (RFC 4861 7.1).
const HOP_LIMIT: u8 = 255;

/// Where an ICMPv6 message starts that no extension header stands before.
const MESSAGE: usize = NETWORK + Ipv6Hdr::LEN;
/// A solicitation's or advertisement's length without options.
const LENGTH: usize = Icmpv6Hdr::LEN + 16;
/// An option with a link-layer address of Ethernet.
const OPTION: usize = 8;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

/// All nodes of a link (RFC 4291 2.7.1).
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Whether the packet is a message of neighbour discovery of this link: no router can have
/// forwarded it. In fragments they must not be (RFC 6980); behind extension headers nobody sends
/// them, and none is taken there (RFC 7113 says why).
#[inline(always)]
pub fn is_message<P: Packet>(packet: &P) -> bool {
    const NEXT_HEADER: usize = NETWORK + offset_of!(Ipv6Hdr, next_hdr);
    const LIMIT: usize = NETWORK + offset_of!(Ipv6Hdr, hop_limit);
    packet.byte(NEXT_HEADER) == u16::from(protocol::ICMPV6)
        && packet.byte(LIMIT) == u16::from(HOP_LIMIT)
        && matches!(packet.byte(MESSAGE), ROUTER_SOLICITATION..=REDIRECT)
}

/// Whether a solicitation passes the checks of RFC 4861 6.1.1 and 7.1.1 but for its hop limit;
/// `fixed` bytes of it stand before its options.
#[inline(always)]
fn is_valid<P: Packet>(packet: &mut P, datagram: &Datagram<V6>, fixed: usize) -> bool {
    const CODE: usize = MESSAGE + 1;
    const ADDRESSES: usize = 32;
    if datagram.transport != MESSAGE
        || datagram.end < MESSAGE + fixed
        || datagram.end > MESSAGE + LONGEST_SUM
        || packet.pull(datagram.end).is_err()
        || packet.byte(CODE) != 0
    {
        return false;
    }
    let probes = V6::is_unspecified(&datagram.source);
    // A source is one host; who has no address yet asks those who may have it (7.1.1), or the
    // routers.
    if datagram.source[0] == 0xff || !are_options_valid(packet, datagram, fixed, probes) {
        return false;
    }
    let length = datagram.end - MESSAGE;
    #[allow(clippy::cast_possible_truncation, reason = "at most LONGEST_SUM")]
    let pseudo =
        u32::from((length as u16).to_be()) + u32::from(u16::from_ne_bytes([0, protocol::ICMPV6]));
    let addresses = packet.sum(NETWORK + offset_of!(Ipv6Hdr, src_addr), ADDRESSES);
    let message = packet.sum(MESSAGE, length);
    match (addresses, message) {
        (Ok(addresses), Ok(message)) => {
            fold(pseudo + u32::from(addresses) + u32::from(message)) == 0xffff
        }
        _ => false,
    }
}

/// How many options are looked through; secured discovery has six (RFC 3971, RFC 7527).
const MOST_OPTIONS: usize = 8;

/// Whether all options have a length, end with the message, and none is the sender's link-layer
/// address where it has no address (7.1.1).
#[inline(always)]
fn are_options_valid<P: Packet>(
    packet: &P,
    datagram: &Datagram<V6>,
    fixed: usize,
    probes: bool,
) -> bool {
    let mut at = fixed;
    let mut count = 0;
    while count < MOST_OPTIONS {
        // Forgotten: behind the loop nobody is to know at which option it ended.
        let length = packet.verifier_opaque(datagram.end - MESSAGE);
        if at == length {
            return true;
        }
        let place = packet.verifier_opaque(at) & LARGEST;
        let Some([kind, units]) = packet.read::<2>(MESSAGE + place) else {
            return false;
        };
        at = place + usize::from(units) * 8;
        if units == 0 || at > length || (probes && kind == SOURCE_LINK_LAYER_ADDRESS) {
            return false;
        }
        at = packet.verifier_opaque(at) & LARGEST;
        count += 1;
    }
    at == packet.verifier_opaque(datagram.end - MESSAGE)
}

/// No place in a message is larger.
const LARGEST: usize = 2047;

/// Whether a solicitation without a source is sent to those who may have its target (RFC 4861
/// 7.1.1: a solicited-node address, RFC 4291 2.7.1).
#[inline(always)]
fn is_solicited_node(destination: &[u8; 16]) -> bool {
    const PREFIX: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    const MASK: [u8; 16] = (!0u128 << 24).to_be_bytes();
    V6::mask(destination, &MASK) == PREFIX
}

/// Whose address a valid solicitation asks for; unspecified for one that is not valid.
#[inline(always)]
fn target<P: Packet>(packet: &mut P, datagram: &Datagram<V6>) -> [u8; 16] {
    if !is_valid(packet, datagram, LENGTH)
        || (V6::is_unspecified(&datagram.source) && !is_solicited_node(&datagram.destination))
    {
        return V6::UNSPECIFIED;
    }
    match packet.read(MESSAGE + Icmpv6Hdr::LEN) {
        Some(target) => target,
        None => V6::UNSPECIFIED,
    }
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

/// Neighbour discovery from an ENI: every address but those of its own instance is behind the
/// port's MAC.
#[inline(always)]
pub fn on_port<P: Packet, T: Tables<V6>>(packet: &mut P, tables: &T, from: &PortFrame) -> Outcome {
    let outcome = tables.with_scratch(|scratch| {
        let mut outcome = Outcome::START;
        let result = V6::parse(packet).and_then(|datagram| {
            outcome.bytes = datagram.bytes();
            let sender = sender_of(&mut scratch.sender, tables, from)?;
            outcome.eni = sender;
            match packet.byte(MESSAGE) {
                ROUTER_SOLICITATION if is_valid(packet, &datagram, Icmpv6Hdr::LEN) => {
                    to_daemon(packet, tables, sender)
                }
                ROUTER_SOLICITATION => Err(Reason::Malformed),
                NEIGHBOUR_SOLICITATION => {
                    solicited(packet, tables, from, sender, &datagram, scratch)
                }
                // An announcement of an address that may be this ENI's (RFC 4861 7.2.6).
                NEIGHBOUR_ADVERTISED
                    if scratch.sender.flags & TargetFlags::SHARES != 0
                        && datagram.destination == ALL_NODES
                        && is_valid(packet, &datagram, LENGTH) =>
                {
                    to_daemon(packet, tables, sender)
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
    from: &PortFrame,
    sender: u32,
    datagram: &Datagram<V6>,
    scratch: &mut Scratch<[u8; 16]>,
) -> Result<Verdict, Reason> {
    let wanted = target(packet, datagram);
    if V6::is_no_host(&wanted) {
        return Err(Reason::Malformed);
    }
    let (source, vpc) = (&datagram.source, from.port.vpc);
    if !V6::is_unspecified(source) && !V6::is_link_local(source) {
        owner_of::<V6, T>(tables, vpc, source, sender, scratch)?;
    }
    let mut is_router = V6::is_link_router(&wanted, from.port.mac);
    if V6::is_link_local(&wanted) {
        // Each guest has one of its own, and no way to the others'.
        if !is_router {
            return Err(Reason::ArpIgnored);
        }
    } else if arp::is_near::<V6, T>(tables, vpc, sender, &wanted, scratch)? {
        return Err(Reason::ArpIgnored);
    }
    if !packet.can_reply() {
        return Ok(Verdict::Punt);
    }
    let gateway = tables::locate::<V6, T>(&mut scratch.cidr, tables, vpc, &wanted)?;
    is_router |= gateway == Place::Gateway || is_pool_router::<V6, T>(tables, &wanted, scratch)?;
    let mac = from.port.mac;
    answer(packet, datagram, &from.ethernet, wanted, mac, is_router)
}

/// Neighbour discovery on an uplink: a solicitation for an associated EIP is answered where the
/// pool is on-link; what is for another of a pool's addresses ends here, since the kernel would
/// route it; all else is the kernel's.
#[inline(always)]
pub fn on_uplink<P: Packet, T: Tables<V6>>(
    packet: &mut P,
    tables: &T,
    uplink: &Uplink,
    ethernet: &Ethernet,
) -> Outcome {
    let outcome = Outcome::START;
    let Ok(datagram) = V6::parse(packet) else {
        return outcome;
    };
    if uplink.flags & UplinkFlags::ANSWER_ARP != 0
        && packet.byte(MESSAGE) == NEIGHBOUR_SOLICITATION
        && !is_group(ethernet.source)
    {
        let wanted = target(packet, &datagram);
        if arp::answers_for::<V6, T>(tables, uplink, &wanted) {
            if !packet.can_reply() {
                return conclude(outcome, Ok(Verdict::Punt));
            }
            let result = answer(packet, &datagram, ethernet, wanted, uplink.mac, false);
            return conclude(outcome, result);
        }
    }
    match is_pools::<T>(tables, &datagram.destination) {
        Ok(false) => outcome,
        Ok(true) => Outcome::dropped(Reason::ArpIgnored),
        Err(reason) => Outcome::dropped(reason),
    }
}

/// Whether an address is an EIP or another of a pool that is not the host's.
#[inline(always)]
fn is_pools<T: Tables<V6>>(tables: &T, address: &[u8; 16]) -> Result<bool, Reason> {
    if !tables.may_be_pool(address) {
        return Ok(false);
    }
    let mut prefix = Prefix::zeroed();
    Ok(
        match tables::class::<V6, T>(&mut prefix, tables, address)? {
            Some(AddressClass::Host) | None => false,
            Some(_) => true,
        },
    )
}

//! The chain of extension headers (RFC 8200 4), up to the transport header.

use network_types::ip::Ipv6Hdr;

use super::{ICMP_REDIRECT, V6};
use crate::{
    family::{Datagram, Fragment, protocol},
    packet::{HEADERS, IP_HEADERS, Packet},
};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// How many headers are looked at, the transport header among them.
const MOST_HEADERS: usize = 8;
/// How many bytes they may have.
const LONGEST_CHAIN: usize = IP_HEADERS - Ipv6Hdr::LEN;

/// What a walk found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Whether the transport header was reached.
    pub chain: Chain,
    /// Where it is, in bytes from the start of the frame.
    pub transport: usize,
    /// Its protocol.
    pub protocol: u8,
    /// What the fragment header says.
    pub fragment: Fragment,
    /// Not 0 if there is an authentication header.
    pub authenticated: u8,
    /// Not 0 if a routing header has segments left: the packet's destination is not its last.
    pub segments_left: u8,
}

/// How a walk ended: a number and not an enum, so that it can be opaque to the verifier, and what
/// follows is looked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain(u8);

impl Chain {
    /// At the transport header, or at a later fragment, which has none.
    pub const WHOLE: Self = Self(0);
    /// At the packet's end.
    pub const CUT: Self = Self(1);
    /// Too many headers, or too long ones.
    pub const TOO_LONG: Self = Self(2);
    /// At a source route (RFC 5095) that still leads somewhere.
    pub const SOURCE_ROUTE: Self = Self(3);

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "what was eight bits is")]
    fn verifier_opaque<P: Packet>(self, packet: &P) -> Self {
        Self(packet.verifier_opaque(usize::from(self.0)) as u8)
    }
}

/// Walks the headers of the packet whose IPv6 header is at `network` and whose last byte is before
/// `end`. An authentication header is one of them: behind it, the transport header is as it is
/// without.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "what was eight bits is")]
pub fn walk<P: Packet>(packet: &P, network: usize, end: usize, next: u8) -> Found {
    let start = network + Ipv6Hdr::LEN;
    let mut found = Found {
        chain: Chain::TOO_LONG,
        transport: start,
        protocol: next,
        fragment: Fragment::WHOLE,
        authenticated: 0,
        segments_left: 0,
    };
    // From `start`. The mask changes no value that passes the check, and shows the verifier that
    // all ways through the loop come to the same.
    let mut at = 0usize;
    let mut count = 0;
    while count < MOST_HEADERS {
        if !is_extension(found.protocol) {
            found.chain = Chain::WHOLE;
            break;
        }
        let Some([next, len, high, low]) = packet
            .read::<4>(start + at)
            .filter(|_| start + at + 8 <= end)
        else {
            found.chain = Chain::CUT;
            break;
        };
        let mut length = 8;
        match found.protocol {
            FRAGMENT => {
                let field = u16::from_be_bytes([high, low]);
                found.fragment = Fragment::new(field >> 3, field & 1);
            }
            protocol::AH => {
                length = (usize::from(len) + 2) * 4;
                // Its length, which is never 0 (RFC 4302 2.2).
                found.authenticated = len;
            }
            // Type 0 with segments left.
            ROUTING if high == 0 && low != 0 => {
                found.chain = Chain::SOURCE_ROUTE;
                break;
            }
            ROUTING => {
                found.segments_left |= low;
                length = (usize::from(len) + 1) * 8;
            }
            _ => length = (usize::from(len) + 1) * 8,
        }
        // One that is not looked over stays what it is: at the place of `transport` nothing else
        // stands.
        if at + length > LONGEST_CHAIN {
            break;
        }
        found.protocol = next;
        at = packet.verifier_opaque(at + length) & 0x7f;
        // Whatever this header was, what is known is the same after it.
        found.fragment = found.fragment.verifier_opaque(packet);
        found.authenticated = packet.verifier_opaque(usize::from(found.authenticated)) as u8;
        found.segments_left = packet.verifier_opaque(usize::from(found.segments_left)) as u8;
        if start + at > end {
            found.chain = Chain::CUT;
            break;
        }
        found.transport = start + at;
        if !found.fragment.begins() {
            found.chain = Chain::WHOLE;
            break;
        }
        count += 1;
    }
    if found.protocol != next || found.chain != Chain::WHOLE {
        found.chain = found.chain.verifier_opaque(packet);
        found.transport = start + (packet.verifier_opaque(at) & 0x7f);
        found.fragment = found.fragment.verifier_opaque(packet);
        found.authenticated = packet.verifier_opaque(usize::from(found.authenticated)) as u8;
        found.segments_left = packet.verifier_opaque(usize::from(found.segments_left)) as u8;
    }
    found
}

/// Whether a chain that is too long for [`walk`] may end at an ICMP error: it is one, or is longer
/// still.
#[inline(always)]
pub fn may_hide_error<P: Packet>(packet: &P, datagram: &Datagram<V6>) -> bool {
    const MORE_HEADERS: usize = 24;
    const PLACE: usize = 511;
    const { assert!(HEADERS <= PLACE) };
    let mut at = datagram.transport;
    let mut protocol = datagram.protocol;
    let mut count = 0;
    while count < MORE_HEADERS && is_extension(protocol) {
        let place = packet.verifier_opaque(at) & PLACE;
        let Some([next, len]) = packet.read::<2>(place) else {
            return true;
        };
        let units = usize::from(len);
        at = place
            + match protocol {
                FRAGMENT => 8,
                protocol::AH => (units + 2) * 4,
                _ => (units + 1) * 8,
            };
        #[allow(clippy::cast_possible_truncation, reason = "what was eight bits is")]
        let next = packet.verifier_opaque(usize::from(next)) as u8;
        protocol = next;
        count += 1;
    }
    if protocol != protocol::ICMPV6 {
        return is_extension(protocol);
    }
    let kind = packet.byte(packet.verifier_opaque(at) & PLACE);
    !(128..=255).contains(&kind) || kind == ICMP_REDIRECT
}

/// Whether it is a header that another one follows.
#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS | protocol::AH
    )
}

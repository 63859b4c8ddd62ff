//! IPv6 (RFC 8200).

pub mod headers;

use core::mem::offset_of;

use network_types::{icmp::Icmpv6Hdr, ip::Ipv6Hdr};

use super::{
    ChecksumPlace, Datagram, Echo, Error, Family, Fragment, NatObstacle, Quoted, Rewrite, V4,
    protocol, v4::bounded,
};
use crate::{
    abi::{Reason, UPLINK_TARGET6},
    checksum::{Delta, fold},
    packet::{Covers, Mac, NETWORK, Packet},
    tables::LinkTables,
};
use headers::{Chain, Found};

/// IPv6.
#[derive(Clone, Copy, Debug)]
pub struct V6;

/// The hop limit of packets that the gateway itself sends (RFC 1700).
const DEFAULT_HOP_LIMIT: u8 = 64;

pub(super) const ICMP_REDIRECT: u16 = 137;

/// The header but for its addresses.
type Start = [u8; 8];

impl Family for V6 {
    type Address = [u8; 16];
    type Header = Start;

    const UPLINK_TARGET: u32 = UPLINK_TARGET6;
    const UNSPECIFIED: [u8; 16] = [0; 16];
    const PSEUDO_HEADER: Covers = Covers::PseudoHeader6;
    const ICMP_HAS_PSEUDO_HEADER: bool = true;
    const ICMP: u8 = protocol::ICMPV6;
    const ECHO_REQUEST: u8 = 128;
    const ECHO_REPLY: u8 = 129;
    const MAX_EMBEDDED: usize = 1280 - Self::ERROR_HEADERS;
    const ERROR_HEADERS: usize = Ipv6Hdr::LEN + Icmpv6Hdr::LEN;

    const PREFILTERED: [u32; 2] = [32, 56];

    #[inline(always)]
    fn upper(address: &[u8; 16]) -> u64 {
        u64::from_be_bytes(upper(address))
    }

    #[inline(always)]
    fn mask(address: &[u8; 16], mask: &[u8; 16]) -> [u8; 16] {
        (u128::from_ne_bytes(*address) & u128::from_ne_bytes(*mask)).to_ne_bytes()
    }

    #[inline(always)]
    fn is_unspecified(address: &[u8; 16]) -> bool {
        u128::from_ne_bytes(*address) == 0
    }

    #[inline(always)]
    fn is_link_local(address: &[u8; 16]) -> bool {
        address[0] == 0xfe && address[1] & 0xc0 == 0x80
    }

    #[inline(always)]
    fn is_link_router(address: &[u8; 16], port: Mac) -> bool {
        *address == link_local(port)
    }

    #[inline(always)]
    fn is_no_host(address: &[u8; 16]) -> bool {
        // Unspecified, loopback, IPv4-mapped and what else begins with 80 zero bits (RFC 4291
        // 2.5.5); multicast.
        let starts_with_zeros =
            u64::from_ne_bytes(upper(address)) == 0 && address[8] == 0 && address[9] == 0;
        starts_with_zeros || address[0] == 0xff
    }

    #[inline(always)]
    fn is_martian(address: &[u8; 16]) -> bool {
        Self::is_no_host(address) || Self::is_link_local(address)
    }

    #[inline(always)]
    fn is_private_use(address: &[u8; 16]) -> bool {
        address[0] & 0xfe == 0xfc
    }

    #[inline(always)]
    fn read_source<P: Packet>(packet: &P) -> Option<[u8; 16]> {
        packet.read(NETWORK + offset_of!(Ipv6Hdr, src_addr))
    }

    #[inline(always)]
    fn parse<P: Packet>(packet: &P) -> Result<Datagram<Self>, Reason> {
        let header = read_header(
            packet
                .read::<{ Ipv6Hdr::LEN }>(NETWORK)
                .ok_or(Reason::Malformed)?,
        );
        let end = NETWORK + Ipv6Hdr::LEN + bounded(header.payload_len);
        if header.vcf[0] >> 4 != 6 || !packet.holds(end) {
            return Err(Reason::Malformed);
        }
        let [v, c, f0, f1] = header.vcf;
        let [p0, p1] = header.payload_len;
        let found = headers::walk(packet, NETWORK, end, header.next_hdr);
        Ok(Datagram {
            header: [v, c, f0, f1, p0, p1, header.next_hdr, header.hop_limit],
            source: header.src_addr,
            destination: header.dst_addr,
            transport: found.transport,
            end,
            protocol: found.protocol,
            hop_limit: header.hop_limit,
            fragment: found.fragment,
            may_fragment: false,
            authenticated: found.authenticated,
            chain: found.chain,
            segments_left: found.segments_left,
        })
    }

    #[inline(always)]
    fn parse_plain<P: Packet>(packet: &P) -> Result<Datagram<Self>, Reason> {
        const TRANSPORT: usize = NETWORK + Ipv6Hdr::LEN;
        let header = read_header(
            packet
                .read::<{ Ipv6Hdr::LEN }>(NETWORK)
                .ok_or(Reason::Malformed)?,
        );
        let end = TRANSPORT + usize::from(u16::from_be_bytes(header.payload_len));
        let next = header.next_hdr;
        // ESP ends the chain of headers, too, and has no checksum (RFC 4303).
        let plain = header.vcf[0] >> 4 == 6
            && end > TRANSPORT
            && packet.is_longer_than(end - 1)
            && (next == protocol::TCP
                || next == protocol::UDP
                || next == protocol::ESP
                || (next == protocol::ICMPV6 && Self::is_ping(packet, TRANSPORT)));
        if !plain {
            return Err(Reason::Malformed);
        }
        let [v, c, f0, f1] = header.vcf;
        let [p0, p1] = header.payload_len;
        Ok(Datagram {
            header: [v, c, f0, f1, p0, p1, next, header.hop_limit],
            source: header.src_addr,
            destination: header.dst_addr,
            transport: TRANSPORT,
            end,
            protocol: next,
            hop_limit: header.hop_limit,
            fragment: Fragment::WHOLE,
            may_fragment: false,
            authenticated: 0,
            chain: Chain::WHOLE,
            segments_left: 0,
        })
    }

    /// IPv6's header has no checksum; what is left is how its chain of extension headers ends.
    #[inline(always)]
    fn verify<P: Packet, L: LinkTables>(
        _packet: &P,
        _links: &L,
        datagram: &Datagram<Self>,
    ) -> Result<NatObstacle, Reason> {
        match datagram.chain {
            Chain::WHOLE => Ok(NatObstacle::NONE),
            // RFC 7112: the first fragment holds all of the chain.
            Chain::CUT if !datagram.fragment.is_whole() => Err(Reason::TinyFragment),
            Chain::CUT => Err(Reason::Malformed),
            Chain::SOURCE_ROUTE => Err(Reason::SourceRoute),
            _ => Ok(NatObstacle::HEADERS_TOO_LONG),
        }
    }

    #[inline(always)]
    fn tells_addresses<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool {
        // Neighbour discovery, which is about one link (RFC 4861), router renumbering (RFC 2894),
        // answers of node information (RFC 4620), inverse neighbour discovery (RFC 3122); home
        // agent discovery and mobile prefixes (RFC 6275).
        matches!(datagram.icmp_type(packet), 133..=138 | 140..=142 | 144..=147)
    }

    #[inline(always)]
    fn redirect_target<P: Packet>(_packet: &P, _datagram: &Datagram<Self>) -> [u8; 16] {
        Self::UNSPECIFIED
    }

    #[inline(always)]
    fn is_neighbour_discovery<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool {
        matches!(datagram.icmp_type(packet), 133..=ICMP_REDIRECT)
    }

    #[inline(always)]
    fn is_icmp_error<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool {
        // RFC 4443 2.1: those with a 0 in the highest bit. The ones of kinds to come quote alike
        // (2.4 (c) and (d)): left as they are, they would tell a private address.
        matches!(datagram.icmp_type(packet), ..128)
    }

    #[inline(always)]
    fn is_never_answered<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool {
        if datagram.chain == Chain::TOO_LONG {
            return headers::may_hide_error(packet, datagram);
        }
        // RFC 4443 2.4 (e): errors, of kinds to come too, and redirects.
        matches!(datagram.icmp_type(packet), ..128 | ICMP_REDIRECT)
    }

    #[inline(always)]
    fn embedded<P: Packet, L: LinkTables>(
        packet: &P,
        _links: &L,
        at: usize,
        end: usize,
    ) -> Option<Quoted<Self>> {
        if at + Ipv6Hdr::LEN > end {
            return None;
        }
        let header = read_header(packet.read(at)?);
        if header.vcf[0] >> 4 != 6 {
            return None;
        }
        let quoted_end = at + Ipv6Hdr::LEN + bounded(header.payload_len);
        let end = if quoted_end < end { quoted_end } else { end };
        let found = headers::walk(packet, at, end, header.next_hdr);
        Some(Quoted {
            source: header.src_addr,
            destination: header.dst_addr,
            checksum: embedded_checksum(&found, end),
            segments_left: found.segments_left,
            obstacle: NatObstacle::NONE,
        })
    }

    #[inline(always)]
    fn rewrite_embedded<P: Packet>(
        packet: &mut P,
        at: usize,
        datagram: &Datagram<Self>,
        rewrite: &Rewrite<Self>,
    ) -> Result<Delta, Reason> {
        if rewrite.changes_destination(datagram) {
            packet.write(at + offset_of!(Ipv6Hdr, src_addr), rewrite.destination)?;
        }
        if rewrite.changes_source(datagram) {
            packet.write(at + offset_of!(Ipv6Hdr, dst_addr), rewrite.source)?;
        }
        Ok(rewrite.delta())
    }

    #[inline(always)]
    fn write_error<P: Packet>(
        packet: &mut P,
        source: &[u8; 16],
        destination: &[u8; 16],
        error: Error,
        embedded: usize,
    ) -> Result<(), Reason> {
        let (kind, value) = match error {
            Error::TimeExceeded => (3, 0),
            Error::TooBig { mtu } => (2, mtu),
        };
        #[allow(clippy::cast_possible_truncation, reason = "at most 1280")]
        let payload = (Icmpv6Hdr::LEN + embedded) as u16;
        let [p0, p1] = payload.to_be_bytes();
        let start: Start = [0x60, 0, 0, 0, p0, p1, protocol::ICMPV6, DEFAULT_HOP_LIMIT];
        packet.write(NETWORK, start)?;
        packet.write(NETWORK + offset_of!(Ipv6Hdr, src_addr), *source)?;
        packet.write(NETWORK + offset_of!(Ipv6Hdr, dst_addr), *destination)?;
        let [v0, v1, v2, v3] = value.to_be_bytes();
        let at = NETWORK + Ipv6Hdr::LEN;
        packet.write(at, [kind, 0, 0, 0, v0, v1, v2, v3])?;
        write_icmp_checksum(packet, usize::from(payload))
    }

    #[inline(always)]
    fn checksum_field(protocol: u8) -> ChecksumPlace {
        match protocol {
            protocol::ICMPV6 => ChecksumPlace {
                offset: 2,
                zero_is_none: false,
            },
            // UDP's may be absent for some tunnels (RFC 6935), as in IPv4.
            other => V4::checksum_field(other),
        }
    }

    #[inline(always)]
    fn rewrite<P: Packet>(
        packet: &mut P,
        datagram: &Datagram<Self>,
        rewrite: &Rewrite<Self>,
    ) -> Result<(), Reason> {
        let hop_limit = if rewrite.hop {
            datagram.hop_limit.saturating_sub(1)
        } else {
            datagram.hop_limit
        };
        packet.write(NETWORK + offset_of!(Ipv6Hdr, hop_limit), [hop_limit])?;
        packet.write(NETWORK + offset_of!(Ipv6Hdr, src_addr), rewrite.source)?;
        packet.write(NETWORK + offset_of!(Ipv6Hdr, dst_addr), rewrite.destination)
    }

    #[inline(always)]
    fn write_echo_reply<P: Packet>(
        packet: &mut P,
        datagram: &Datagram<Self>,
        echo: Echo,
    ) -> Result<(), Reason> {
        if echo == Echo::Request {
            datagram.write_reply_type(packet)?;
        }
        packet.write(
            NETWORK + offset_of!(Ipv6Hdr, hop_limit),
            [DEFAULT_HOP_LIMIT],
        )?;
        packet.write(
            NETWORK + offset_of!(Ipv6Hdr, src_addr),
            datagram.destination,
        )?;
        packet.write(NETWORK + offset_of!(Ipv6Hdr, dst_addr), datagram.source)
    }
}

/// The link-local address of an interface with this MAC (RFC 4291, appendix A: modified EUI-64).
#[inline(always)]
pub const fn link_local(mac: Mac) -> [u8; 16] {
    let [a, b, c, d, e, f] = mac;
    [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ]
}

/// Sums the packet's ICMPv6 message, of `len` bytes right behind the IPv6 header, and writes its
/// checksum, of which the field is zero.
///
/// # Errors
/// [`Reason::KernelRefused`].
#[inline(always)]
pub fn write_icmp_checksum<P: Packet>(packet: &mut P, len: usize) -> Result<(), Reason> {
    const ADDRESSES: usize = 32;
    let at = NETWORK + Ipv6Hdr::LEN;
    #[allow(clippy::cast_possible_truncation, reason = "at most 1280")]
    let length = (len as u16).to_be();
    let pseudo = u32::from(packet.sum(NETWORK + offset_of!(Ipv6Hdr, src_addr), ADDRESSES)?)
        + u32::from(length)
        + u32::from(u16::from_ne_bytes([0, protocol::ICMPV6]));
    let sum = pseudo + u32::from(packet.sum(at, len)?);
    packet.write(
        at + offset_of!(Icmpv6Hdr, check),
        (!fold(sum)).to_ne_bytes(),
    )
}

/// The first half of an address.
#[inline(always)]
fn upper(address: &[u8; 16]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *address;
    [a, b, c, d, e, f, g, h]
}

/// Where the transport checksum of a quoted packet is, if it is there.
#[inline(always)]
fn embedded_checksum(found: &Found, end: usize) -> ChecksumPlace {
    let mut place = V6::checksum_field(found.protocol);
    if found.chain == Chain::WHOLE
        && found.fragment.begins()
        && place.offset != 0
        && found.transport + place.offset + 2 <= end
    {
        place.offset += found.transport;
        place
    } else {
        ChecksumPlace::NONE
    }
}

/// The fixed header's fields, from its bytes.
#[inline(always)]
fn read_header(bytes: [u8; Ipv6Hdr::LEN]) -> Ipv6Hdr {
    const { assert!(align_of::<Ipv6Hdr>() == 1 && size_of::<Ipv6Hdr>() == 40) };
    // SAFETY: `Ipv6Hdr` is `repr(C)`, 40 bytes of integers with alignment 1: any bytes are a
    // header.
    unsafe { core::mem::transmute(bytes) }
}

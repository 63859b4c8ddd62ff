//! IPv4 (RFC 791).

use core::{hint::black_box, mem::offset_of};

use network_types::{icmp::Icmpv4Hdr, ip::Ipv4Hdr};

use super::{ChecksumPlace, Datagram, Echo, Family, Fragment, Quote, Rewrite, protocol};
use crate::{
    abi::Reason,
    checksum::{Delta, fold},
    packet::{Change, NETWORK, Packet},
};

/// IPv4.
#[derive(Clone, Copy, Debug)]
pub struct V4;

/// The TTL of packets that the gateway itself sends (RFC 1700).
const DEFAULT_TTL: u8 = 64;

const ICMP_ECHO_REPLY: u8 = 0;
const ICMP_ECHO: u8 = 8;

/// Loose and strict source routing (RFC 791), copied flag included.
const SOURCE_ROUTES: [u8; 2] = [131, 137];

impl Family for V4 {
    type Address = [u8; 4];
    type Header = Ipv4Hdr;

    #[inline(always)]
    fn screen(address: &[u8; 4]) -> u16 {
        u16::from_be_bytes([address[0], address[1]])
    }

    #[inline(always)]
    fn mask(address: &[u8; 4], mask: &[u8; 4]) -> [u8; 4] {
        (u32::from_ne_bytes(*address) & u32::from_ne_bytes(*mask)).to_ne_bytes()
    }

    #[inline(always)]
    fn is_unspecified(address: &[u8; 4]) -> bool {
        *address == [0; 4]
    }

    #[inline(always)]
    fn is_martian_source(address: &[u8; 4]) -> bool {
        // 0/8, 127/8, multicast and 240/4.
        matches!(address[0], 0 | 127 | 224..)
    }

    #[inline(always)]
    fn is_martian_destination(address: &[u8; 4]) -> bool {
        Self::is_martian_source(address) || (address[0] == 169 && address[1] == 254)
    }

    #[inline(always)]
    fn parse<P: Packet>(packet: &P) -> Result<Datagram<Self>, Reason> {
        let bytes = packet
            .read::<{ Ipv4Hdr::LEN }>(NETWORK)
            .ok_or(Reason::Malformed)?;
        let header = read_header(bytes);
        let header_len = usize::from(header.vihl & 0x0f) * 4;
        let total_len = bounded(header.tot_len);
        let end = NETWORK + total_len;
        if header.vihl >> 4 != 4
            || header_len < Ipv4Hdr::LEN
            || total_len < header_len
            || !packet.holds(end)
        {
            return Err(Reason::Malformed);
        }
        Ok(Datagram {
            header,
            source: header.src_addr,
            destination: header.dst_addr,
            transport: NETWORK + header_len,
            end,
            protocol: header.proto,
            hop_limit: header.ttl,
            fragment: fragment_of(&header),
        })
    }

    #[inline(always)]
    fn verify<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> Result<(), Reason> {
        let mut sum = 0u32;
        let words = packet
            .read::<{ Ipv4Hdr::LEN }>(NETWORK)
            .ok_or(Reason::Malformed)?;
        let mut index = 0;
        while index < Ipv4Hdr::LEN {
            sum += u32::from(u16::from_ne_bytes([words[index], words[index + 1]]));
            index += 2;
        }
        let options = datagram.transport - NETWORK - Ipv4Hdr::LEN;
        if options != 0 {
            sum += sum_options(packet, options)?;
        }
        if fold(sum) != 0xffff {
            return Err(Reason::Malformed);
        }
        if options != 0 {
            walk_options(packet, options)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn is_icmp_error<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool {
        // Destination unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792).
        matches!(icmp_type(packet, datagram), Some(3 | 4 | 5 | 11 | 12))
    }

    #[inline(always)]
    fn quote<P: Packet>(
        packet: &P,
        datagram: &Datagram<Self>,
        rewrite: &Rewrite<Self>,
    ) -> Result<Quote, Reason> {
        let at = datagram.transport + Icmpv4Hdr::LEN;
        if at + Ipv4Hdr::LEN > datagram.end {
            return Err(Reason::IcmpQuoteMismatch);
        }
        let bytes = packet.read(at).ok_or(Reason::IcmpQuoteMismatch)?;
        let header = read_header(bytes);
        let header_len = usize::from(header.vihl & 0x0f) * 4;
        let sender_differs =
            rewrite.destination != datagram.destination && header.src_addr != datagram.destination;
        let receiver_differs =
            rewrite.source != datagram.source && header.dst_addr != datagram.source;
        if header.vihl >> 4 != 4
            || header_len < Ipv4Hdr::LEN
            || at + header_len > datagram.end
            || sender_differs
            || receiver_differs
        {
            return Err(Reason::IcmpQuoteMismatch);
        }
        let mut checksum = Self::checksum_field(header.proto);
        let begins = matches!(fragment_of(&header), Fragment::Whole | Fragment::First);
        let end = checksum.offset + header_len + 2;
        if checksum.offset != 0
            && begins
            && end <= usize::from(header.tot_len())
            && at + end <= datagram.end
        {
            checksum.offset += at + header_len;
        } else {
            checksum = ChecksumPlace::NONE;
        }
        Ok(Quote { at, checksum })
    }

    #[inline(always)]
    fn rewrite_quote<P: Packet>(
        packet: &mut P,
        datagram: &Datagram<Self>,
        quote: &Quote,
        rewrite: &Rewrite<Self>,
    ) -> Result<(), Reason> {
        let mut header = read_header(packet.read(quote.at).ok_or(Reason::KernelRefused)?);
        let check = header.check;
        header.check = rewrite.delta.apply(check);
        if rewrite.destination != datagram.destination {
            header.src_addr = rewrite.destination;
        }
        if rewrite.source != datagram.source {
            header.dst_addr = rewrite.source;
        }
        write_header(packet, quote.at, &header)?;
        let mut changes = rewrite.delta.and(Delta::between(&check, &header.check));
        if quote.checksum.offset != 0 {
            let place = quote.checksum;
            let old = packet.read(place.offset).ok_or(Reason::KernelRefused)?;
            let change = Change {
                delta: rewrite.delta,
                zero_is_none: place.zero_is_none,
            };
            let new = change.apply(old);
            packet.write(place.offset, new)?;
            changes = changes.and(Delta::between(&old, &new));
        }
        let field = datagram.transport + offset_of!(Icmpv4Hdr, check);
        let checksum = packet.read(field).ok_or(Reason::KernelRefused)?;
        packet.write(field, changes.apply(checksum))
    }

    #[inline(always)]
    fn echo_request<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> Echo {
        if datagram.protocol != protocol::ICMP {
            return Echo::No;
        }
        match datagram.fragment {
            Fragment::Later(_) => Echo::Continued,
            Fragment::Whole | Fragment::First => match icmp_type(packet, datagram) {
                Some(ICMP_ECHO) if datagram.transport + Icmpv4Hdr::LEN <= datagram.end => {
                    Echo::Request
                }
                _ => Echo::No,
            },
        }
    }

    #[inline(always)]
    fn checksum_field(protocol: u8) -> ChecksumPlace {
        // UDP-Lite's is never 0 in a valid packet (RFC 3828 3.1): one that comes out so is all ones as for UDP, and a
        // packet that came with it stays invalid. DCCP's may be 0 like any other value (RFC 4340 9).
        let (offset, zero_is_none) = match protocol {
            protocol::TCP => (16, false),
            protocol::UDP | protocol::UDP_LITE => (6, true),
            protocol::DCCP => (6, false),
            _ => return ChecksumPlace::NONE,
        };
        ChecksumPlace {
            offset,
            zero_is_none,
        }
    }

    #[inline(always)]
    fn rewrite<P: Packet>(
        packet: &mut P,
        datagram: &Datagram<Self>,
        rewrite: &Rewrite<Self>,
    ) -> Result<(), Reason> {
        let mut header = datagram.header;
        let ttl = if rewrite.hop {
            header.ttl.saturating_sub(1)
        } else {
            header.ttl
        };
        let hop = Delta::between(&[header.ttl, header.proto], &[ttl, header.proto]);
        header.ttl = ttl;
        header.src_addr = rewrite.source;
        header.dst_addr = rewrite.destination;
        header.check = hop.and(rewrite.delta).apply(header.check);
        write_header(packet, NETWORK, &header)
    }

    #[inline(always)]
    fn write_echo_reply<P: Packet>(
        packet: &mut P,
        datagram: &Datagram<Self>,
        echo: Echo,
    ) -> Result<(), Reason> {
        if echo == Echo::Request {
            let [_, code, a, b] = packet
                .read::<4>(datagram.transport)
                .ok_or(Reason::KernelRefused)?;
            let change = Delta::between(&[ICMP_ECHO, code], &[ICMP_ECHO_REPLY, code]);
            let [a, b] = change.apply([a, b]);
            packet.write(datagram.transport, [ICMP_ECHO_REPLY, code, a, b])?;
        }
        let mut header = datagram.header;
        let hop = Delta::between(&[header.ttl, header.proto], &[DEFAULT_TTL, header.proto]);
        header.ttl = DEFAULT_TTL;
        header.src_addr = datagram.destination;
        header.dst_addr = datagram.source;
        header.check = hop.apply(header.check);
        write_header(packet, NETWORK, &header)
    }
}

/// A 16-bit field as an offset. The mask changes nothing: Linux 6.12's verifier knows no bounds of the result of a byte swap,
/// and adds to a packet's address only what it knows the bounds of.
#[inline(always)]
fn bounded(field: [u8; 2]) -> usize {
    black_box(usize::from(u16::from_be_bytes(field))) & 0xffff
}

/// Which part of a transport packet follows the header.
#[inline(always)]
fn fragment_of(header: &Ipv4Hdr) -> Fragment {
    // RFC 791: a flag that is reserved, "don't fragment", "more fragments", and 13 bits of offset.
    let [flags, low] = header.frags;
    match (u16::from_be_bytes([flags & 0x1f, low]), flags & 0x20 != 0) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        (offset, _) => Fragment::Later(offset),
    }
}

/// The fixed header's fields, from its bytes.
#[inline(always)]
fn read_header(bytes: [u8; Ipv4Hdr::LEN]) -> Ipv4Hdr {
    const { assert!(align_of::<Ipv4Hdr>() == 1) };
    // SAFETY: `Ipv4Hdr` is `repr(C)`, 20 bytes of integers with alignment 1: any bytes are a header.
    unsafe { core::mem::transmute(bytes) }
}

#[inline(always)]
fn write_header<P: Packet>(packet: &mut P, at: usize, header: &Ipv4Hdr) -> Result<(), Reason> {
    // SAFETY: as in `read_header`, the other way round.
    let bytes: [u8; Ipv4Hdr::LEN] = unsafe { core::mem::transmute(*header) };
    packet.write(at, bytes)
}

/// The type field of an ICMP message that begins in this datagram.
#[inline(always)]
fn icmp_type<P: Packet>(packet: &P, datagram: &Datagram<V4>) -> Option<u8> {
    let begins = !matches!(datagram.fragment, Fragment::Later(_));
    if datagram.protocol != protocol::ICMP || !begins || datagram.transport >= datagram.end {
        return None;
    }
    packet.read::<1>(datagram.transport).map(|[kind]| kind)
}

/// The longest options that a header can have, in bytes.
const MAX_OPTIONS: usize = 40;

/// Masks where the next option is looked for to a fixed range. It changes no value that passes the checks: it shows the
/// verifier, which follows every way through a loop, that all of them come to the same.
const MASK: usize = 63;

/// The options' part of the header checksum.
#[inline(always)]
fn sum_options<P: Packet>(packet: &P, len: usize) -> Result<u32, Reason> {
    let mut sum = 0;
    let mut at = 0;
    while at < MAX_OPTIONS && at < len {
        let [a, b, c, d] = packet
            .read::<4>(NETWORK + Ipv4Hdr::LEN + at)
            .ok_or(Reason::Malformed)?;
        sum += u32::from(u16::from_ne_bytes([a, b])) + u32::from(u16::from_ne_bytes([c, d]));
        at = black_box(at + 4) & MASK;
    }
    Ok(sum)
}

/// Walks the options (RFC 791 3.1): 0 ends them, 1 is a byte alone, all others say their length.
#[inline(never)]
fn walk_options<P: Packet>(packet: &P, len: usize) -> Result<(), Reason> {
    let byte = |at: usize| {
        packet
            .read::<1>(NETWORK + Ipv4Hdr::LEN + at)
            .map(|[byte]| byte)
    };
    let mut at = 0;
    let mut count = 0;
    while count < MAX_OPTIONS && at < len {
        match byte(at).ok_or(Reason::Malformed)? {
            0 => break,
            1 => at = black_box(at + 1) & MASK,
            kind if kind == SOURCE_ROUTES[0] || kind == SOURCE_ROUTES[1] => {
                return Err(Reason::SourceRoute);
            }
            _ => {
                let length = usize::from(byte(at + 1).ok_or(Reason::Malformed)?);
                if at + 1 >= len || length < 2 || at + length > len {
                    return Err(Reason::Malformed);
                }
                at = black_box(at + length) & MASK;
            }
        }
        count += 1;
    }
    Ok(())
}

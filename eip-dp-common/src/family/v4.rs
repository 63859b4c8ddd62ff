//! IPv4 (RFC 791).

use core::{hint::black_box, mem::offset_of};

use network_types::{icmp::Icmpv4Hdr, ip::Ipv4Hdr};

use super::{
    Chain, ChecksumPlace, Datagram, Echo, Error, Family, Fragment, NatObstacle, Quoted, Rewrite,
    protocol,
};
use crate::{
    abi::{Reason, UPLINK_TARGET4},
    checksum::{Delta, fold},
    packet::{Covers, Mac, NETWORK, Packet},
    tables::{LinkTables, Options},
};

/// IPv4.
#[derive(Clone, Copy, Debug)]
pub struct V4;

/// The TTL of packets that the gateway itself sends (RFC 1700).
const DEFAULT_TTL: u8 = 64;

/// The precedence of ICMP errors (RFC 1812 4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// "Don't fragment", in the first byte of flags and offset (RFC 791).
const DONT_FRAGMENT: u8 = 0x40;

/// Loose and strict source routing (RFC 791), copied flag included.
const SOURCE_ROUTES: [u8; 2] = [131, 137];

/// Options in which whoever forwards or answers a packet writes its address (RFC 791 3.1).
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;

impl Family for V4 {
    type Address = [u8; 4];
    type Header = Ipv4Hdr;

    const UPLINK_TARGET: u32 = UPLINK_TARGET4;
    const UNSPECIFIED: [u8; 4] = [0; 4];
    const PSEUDO_HEADER: Covers = Covers::PseudoHeader4;
    const ICMP_HAS_PSEUDO_HEADER: bool = false;
    const ICMP: u8 = protocol::ICMP;
    const ECHO_REQUEST: u8 = 8;
    const ECHO_REPLY: u8 = 0;
    const MAX_EMBEDDED: usize = 576 - Self::ERROR_HEADERS;
    const ERROR_HEADERS: usize = Ipv4Hdr::LEN + Icmpv4Hdr::LEN;

    /// Nobody routes longer ones than the second.
    const PREFILTERED: [u32; 2] = [16, 24];

    #[inline(always)]
    fn upper(address: &[u8; 4]) -> u64 {
        u64::from(u32::from_be_bytes(*address)) << 32
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
    fn is_link_local(_address: &[u8; 4]) -> bool {
        // Who has an address of 169.254/16 has no other (RFC 3927), and is no ENI.
        false
    }

    #[inline(always)]
    fn is_link_router(_address: &[u8; 4], _port: Mac) -> bool {
        false
    }

    #[inline(always)]
    fn is_no_host(address: &[u8; 4]) -> bool {
        // 0/8, 127/8, multicast and 240/4.
        matches!(address[0], 0 | 127 | 224..)
    }

    #[inline(always)]
    fn is_martian(address: &[u8; 4]) -> bool {
        Self::is_no_host(address) || (address[0] == 169 && address[1] == 254)
    }

    #[inline(always)]
    fn is_private_use(address: &[u8; 4]) -> bool {
        match address[0] {
            10 => true,
            172 => address[1] & 0xf0 == 16,
            192 => address[1] == 168,
            100 => address[1] & 0xc0 == 64,
            _ => false,
        }
    }

    #[inline(always)]
    fn read_source<P: Packet>(packet: &P) -> Option<[u8; 4]> {
        packet.read(NETWORK + offset_of!(Ipv4Hdr, src_addr))
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
            may_fragment: header.frags[0] & DONT_FRAGMENT == 0,
            authenticated: u8::from(header.proto == protocol::AH),
            chain: Chain::WHOLE,
            segments_left: 0,
        })
    }

    #[inline(always)]
    fn parse_plain<P: Packet>(packet: &P) -> Result<Datagram<Self>, Reason> {
        const TRANSPORT: usize = NETWORK + Ipv4Hdr::LEN;
        let bytes = packet
            .read::<{ Ipv4Hdr::LEN }>(NETWORK)
            .ok_or(Reason::Malformed)?;
        let header = read_header(bytes);
        let end = NETWORK + usize::from(header.tot_len());
        let plain = header.vihl == 0x45
            && header.frags[0] & !DONT_FRAGMENT == 0
            && header.frags[1] == 0
            && end > TRANSPORT
            && packet.is_longer_than(end - 1)
            && fold(sum_header(&header)) == 0xffff
            && header.proto != protocol::AH
            && (header.proto != protocol::ICMP || Self::is_ping(packet, TRANSPORT));
        if !plain {
            return Err(Reason::Malformed);
        }
        Ok(Datagram {
            header,
            source: header.src_addr,
            destination: header.dst_addr,
            transport: TRANSPORT,
            end,
            protocol: header.proto,
            hop_limit: header.ttl,
            fragment: Fragment::WHOLE,
            may_fragment: false,
            authenticated: 0,
            chain: Chain::WHOLE,
            segments_left: 0,
        })
    }

    #[inline(always)]
    fn verify<P: Packet, L: LinkTables>(
        packet: &P,
        links: &L,
        datagram: &Datagram<Self>,
    ) -> Result<NatObstacle, Reason> {
        let sum = sum_header(&datagram.header);
        let options = datagram.transport - NETWORK - Ipv4Hdr::LEN;
        if options != 0 {
            return links.check_options(packet, options, sum);
        }
        if fold(sum) != 0xffff {
            return Err(Reason::Malformed);
        }
        Ok(NatObstacle::NONE)
    }

    #[inline(always)]
    fn tells_addresses<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool {
        // Router advertisement (RFC 1256).
        datagram.icmp_type(packet) == 9
    }

    #[inline(always)]
    fn redirect_target<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> [u8; 4] {
        const ROUTER: usize = 4;
        if datagram.icmp_type(packet) != 5 {
            return Self::UNSPECIFIED;
        }
        match packet.read(datagram.transport + ROUTER) {
            Some(router) => router,
            None => Self::UNSPECIFIED,
        }
    }

    #[inline(always)]
    fn is_neighbour_discovery<P: Packet>(_packet: &P, _datagram: &Datagram<Self>) -> bool {
        false
    }

    #[inline(always)]
    fn is_icmp_error<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool {
        // Destination unreachable, source quench, redirect, time exceeded, parameter problem (RFC
        // 792).
        matches!(datagram.icmp_type(packet), 3 | 4 | 5 | 11 | 12)
    }

    #[inline(always)]
    fn is_never_answered<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool {
        !datagram.fragment.begins() || Self::is_icmp_error(packet, datagram)
    }

    #[inline(always)]
    fn embedded<P: Packet, L: LinkTables>(
        packet: &P,
        links: &L,
        at: usize,
        end: usize,
    ) -> Option<Quoted<Self>> {
        if at + Ipv4Hdr::LEN > end {
            return None;
        }
        let header = read_header(packet.read(at)?);
        let header_len = usize::from(header.vihl & 0x0f) * 4;
        if header.vihl >> 4 != 4 || header_len < Ipv4Hdr::LEN || at + header_len > end {
            return None;
        }
        let mut checksum = Self::checksum_field(header.proto);
        let checksum_end = checksum.offset + header_len + 2;
        if checksum.offset != 0
            && fragment_of(&header).begins()
            && checksum_end <= usize::from(header.tot_len())
            && at + checksum_end <= end
        {
            checksum.offset += at + header_len;
        } else {
            checksum = ChecksumPlace::NONE;
        }
        Some(Quoted {
            source: header.src_addr,
            destination: header.dst_addr,
            checksum,
            segments_left: 0,
            obstacle: if header_len == Ipv4Hdr::LEN {
                NatObstacle::NONE
            } else if !packet.can_reply() {
                NatObstacle::UNREAD
            } else {
                links.walk_embedded_options(packet, at + Ipv4Hdr::LEN, header_len - Ipv4Hdr::LEN)
            },
        })
    }

    #[inline(always)]
    fn rewrite_embedded<P: Packet>(
        packet: &mut P,
        at: usize,
        datagram: &Datagram<Self>,
        rewrite: &Rewrite<Self>,
    ) -> Result<Delta, Reason> {
        let mut header = read_header(packet.read(at).ok_or(Reason::KernelRefused)?);
        let check = header.check;
        header.check = rewrite.delta().apply(check);
        if rewrite.changes_destination(datagram) {
            header.src_addr = rewrite.destination;
        }
        if rewrite.changes_source(datagram) {
            header.dst_addr = rewrite.source;
        }
        write_header(packet, at, &header)?;
        Ok(rewrite.delta().and(Delta::between(&check, &header.check)))
    }

    #[inline(always)]
    fn write_error<P: Packet>(
        packet: &mut P,
        source: &[u8; 4],
        destination: &[u8; 4],
        error: Error,
        embedded: usize,
    ) -> Result<(), Reason> {
        let (kind, code, mtu) = match error {
            Error::TimeExceeded => (11, 0, 0),
            #[allow(clippy::cast_possible_truncation, reason = "an IPv4 MTU")]
            Error::TooBig { mtu } => (3, 4, if mtu > 0xffff { 0xffff } else { mtu as u16 }),
        };
        #[allow(clippy::cast_possible_truncation, reason = "at most 576")]
        let total = (Self::ERROR_HEADERS + embedded) as u16;
        let mut header = Ipv4Hdr {
            vihl: 0x45,
            tos: INTERNETWORK_CONTROL,
            tot_len: total.to_be_bytes(),
            id: [0; 2],
            frags: [DONT_FRAGMENT, 0],
            ttl: DEFAULT_TTL,
            proto: protocol::ICMP,
            check: [0; 2],
            src_addr: *source,
            dst_addr: *destination,
        };
        header.check = (!fold(sum_header(&header))).to_ne_bytes();
        write_header(packet, NETWORK, &header)?;
        let [m0, m1] = mtu.to_be_bytes();
        let at = NETWORK + Ipv4Hdr::LEN;
        packet.write(at, [kind, code, 0, 0, 0, 0, m0, m1])?;
        let check = !packet.sum(at, Icmpv4Hdr::LEN + embedded)?;
        packet.write(at + offset_of!(Icmpv4Hdr, check), check.to_ne_bytes())
    }

    #[inline(always)]
    fn checksum_field(protocol: u8) -> ChecksumPlace {
        // UDP-Lite's is never 0 in a valid packet (RFC 3828 3.1): one that comes out so is all ones
        // as for UDP, and a packet that came with it stays invalid. DCCP's may be 0 like any other
        // value (RFC 4340 9).
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
        let header = &datagram.header;
        let routed = rewrite.hop && header.ttl != 0;
        let (ttl, hop) = if routed {
            (header.ttl - 1, Delta::ONE_HOP)
        } else {
            (header.ttl, Delta::NONE)
        };
        let [c0, c1] = hop.and(rewrite.delta()).apply(header.check);
        let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (rewrite.source, rewrite.destination);
        // From the TTL on: what stands before it stays.
        packet.write(
            NETWORK + offset_of!(Ipv4Hdr, ttl),
            [ttl, header.proto, c0, c1, s0, s1, s2, s3, d0, d1, d2, d3],
        )
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
        let mut header = datagram.header;
        let hop = Delta::between(&[header.ttl, header.proto], &[DEFAULT_TTL, header.proto]);
        header.ttl = DEFAULT_TTL;
        header.src_addr = datagram.destination;
        header.dst_addr = datagram.source;
        header.check = hop.apply(header.check);
        write_header(packet, NETWORK, &header)
    }
}

/// A 16-bit field as an offset. The mask changes nothing: Linux 6.12's verifier knows no bounds of
/// the result of a byte swap, and adds to a packet's address only what it knows the bounds of.
#[inline(always)]
pub(super) fn bounded(field: [u8; 2]) -> usize {
    black_box(usize::from(u16::from_be_bytes(field))) & 0xffff
}

/// Which part of a transport packet follows the header.
#[inline(always)]
fn fragment_of(header: &Ipv4Hdr) -> Fragment {
    // RFC 791: a flag that is reserved, "don't fragment", "more fragments", and 13 bits of offset.
    let [flags, low] = header.frags;
    Fragment::new(
        u16::from_be_bytes([flags & 0x1f, low]),
        u16::from(flags >> 5 & 1),
    )
}

/// The fixed header's fields, from its bytes.
#[inline(always)]
fn read_header(bytes: [u8; Ipv4Hdr::LEN]) -> Ipv4Hdr {
    const { assert!(align_of::<Ipv4Hdr>() == 1) };
    // SAFETY: `Ipv4Hdr` is `repr(C)`, 20 bytes of integers with alignment 1: any bytes are a
    // header.
    unsafe { core::mem::transmute(bytes) }
}

/// The sum of the fixed header's words.
#[inline(always)]
fn sum_header(header: &Ipv4Hdr) -> u32 {
    // SAFETY: as in `read_header`, the other way round.
    let words: [u8; Ipv4Hdr::LEN] = unsafe { core::mem::transmute(*header) };
    // Of 32 bits at a time: ones' complement sums are the same, once they are folded (RFC 1071, 2
    // (C)).
    let mut sum = 0u64;
    let mut index = 0;
    while index < Ipv4Hdr::LEN {
        let word = [
            words[index],
            words[index + 1],
            words[index + 2],
            words[index + 3],
        ];
        sum += u64::from(u32::from_ne_bytes(word));
        index += 4;
    }
    #[allow(clippy::cast_possible_truncation, reason = "of 35 bits, once folded")]
    let sum = ((sum & 0xffff) + (sum >> 16)) as u32;
    sum
}

#[inline(always)]
fn write_header<P: Packet>(packet: &mut P, at: usize, header: &Ipv4Hdr) -> Result<(), Reason> {
    // SAFETY: as in `read_header`, the other way round.
    let bytes: [u8; Ipv4Hdr::LEN] = unsafe { core::mem::transmute(*header) };
    packet.write(at, bytes)
}

/// The longest options that a header can have, in bytes.
const MAX_OPTIONS: usize = 40;
/// A place in the room for them is masked, which changes none that is in the options, and shows the
/// verifier, which follows every way through a loop, that all of them come to the same.
const MASK: usize = 63;

/// Reads the options of the header whose fixed part ends at `start`; gives their sum.
///
/// # Errors
/// [`Reason::Malformed`] if they are not all there.
#[inline(always)]
fn read_options<P: Packet>(
    packet: &P,
    start: usize,
    len: usize,
    options: &mut Options,
) -> Result<u32, Reason> {
    let mut sum = 0;
    let mut at = 0;
    while at < MAX_OPTIONS && at < len {
        // Where it is read is hidden, too: how much of the packet is known to be there is then the
        // same after each round.
        let place = packet.verifier_opaque(at) & MASK;
        let [a, b, c, d] = packet.read(start + place).ok_or(Reason::Malformed)?;
        sum += u32::from(u16::from_ne_bytes([a, b])) + u32::from(u16::from_ne_bytes([c, d]));
        let place = at & MASK & !3;
        let bytes = &mut options.bytes;
        [
            bytes[place],
            bytes[place + 1],
            bytes[place + 2],
            bytes[place + 3],
        ] = [a, b, c, d];
        // Else the compiler writes out all rounds, and what it keeps of one for the next needs
        // stack.
        at = black_box(at + 4);
    }
    Ok(sum)
}

/// Writes a step out for each of these places. Not a loop: a verifier before that of Linux 6.2
/// follows a loop along every way and never finds that two of them came to the same.
macro_rules! at_each {
    ($step:ident: $($at:literal)+) => { $($step!($at);)+ };
}

/// Checks the header's checksum, of which `sum` is the part without options, and whether the
/// options can be walked (RFC 791 3.1): 0 ends them, 1 is a byte alone, all others say their
/// length.
///
/// # Errors
/// [`Reason::Malformed`], [`Reason::SourceRoute`].
#[inline(always)]
pub fn check_options<P: Packet>(
    packet: &P,
    len: usize,
    sum: u32,
    options: &mut Options,
) -> Result<NatObstacle, Reason> {
    let start = NETWORK + Ipv4Hdr::LEN;
    let sum = sum + read_options(packet, start, packet.verifier_opaque(len) & MASK, options)?;
    if fold(sum) != 0xffff {
        return Err(Reason::Malformed);
    }
    walk_options(len, options);
    let found = options.found.get();
    if found & SOURCE_ROUTE != 0 {
        Err(Reason::SourceRoute)
    } else if found & MALFORMED != 0 {
        Err(Reason::Malformed)
    } else if found & ADDRESSES != 0 {
        Ok(NatObstacle::ADDRESS_OPTION)
    } else {
        Ok(NatObstacle::NONE)
    }
}

/// Walks the options of a quoted header, from `start` on, as far as they can be walked: what is
/// quoted is not checked.
#[inline(always)]
pub fn walk_embedded_options<P: Packet>(
    packet: &P,
    start: usize,
    len: usize,
    options: &mut Options,
) -> NatObstacle {
    if read_options(packet, start, packet.verifier_opaque(len) & MASK, options).is_err() {
        return NatObstacle::NONE;
    }
    walk_options(len, options);
    if options.found.get() & ADDRESSES == 0 {
        NatObstacle::NONE
    } else {
        NatObstacle::ADDRESS_OPTION
    }
}

/// What a walk finds.
const ADDRESSES: usize = 1;
const SOURCE_ROUTE: usize = 2;
const MALFORMED: usize = 4;

/// Walks options that were read, to their end or to what cannot be walked, and leaves what it found
/// in `options`.
#[inline(always)]
fn walk_options(len: usize, options: &mut Options) {
    options.len.set(len);
    options.next.set(0);
    options.found.set(0);
    macro_rules! option {
        ($at:literal) => {
            let len = options.len.get();
            if $at >= len {
                return;
            }
            if options.next.get() == $at {
                let kind = options.bytes[$at];
                if kind == 0 {
                    return;
                }
                if kind == SOURCE_ROUTES[0] || kind == SOURCE_ROUTES[1] {
                    options.found.set(options.found.get() | SOURCE_ROUTE);
                }
                if kind == RECORD_ROUTE || kind == TIMESTAMP {
                    options.found.set(options.found.get() | ADDRESSES);
                }
                if kind == 1 {
                    options.next.set($at + 1);
                } else {
                    let length = usize::from(options.bytes[$at + 1]);
                    if $at + 1 >= len || length < 2 || $at + length > len {
                        options.found.set(options.found.get() | MALFORMED);
                        return;
                    }
                    options.next.set($at + length);
                }
            }
        };
    }
    at_each!(option: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19
                     20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
}

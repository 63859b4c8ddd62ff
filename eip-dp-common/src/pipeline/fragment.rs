//! IPv4 fragmentation (RFC 791 2.3, RFC 1812 4.2.2.7): packets that are larger than their way out
//! and may be cut.
//!
//! A packet is cut where it came in, before anything of it changes, and its fragments come in again
//! one by one: each is then translated, resolved and counted as any other packet. Nothing of it
//! goes through the host's own routing.

use crate::{
    checksum::fold,
    family::{Datagram, Family, protocol},
    packet::{NETWORK, Packet},
    tables::Opaque,
};

/// The longest packet that is cut, in bytes from its IP header on: what jumbo frames carry.
pub const LONGEST: usize = 9_216;

/// Into how many fragments at most: each is a program's tail call, of which a packet has 33 (Linux,
/// `MAX_TAIL_CALL_CNT`).
pub const MOST: usize = 28;

/// The longest IPv4 header, in bytes.
pub const HEADER: usize = 60;

/// Length, flags and offset in an IPv4 header, and its checksum: from its start.
const TOTAL_LEN: usize = 2;
const FLAGS: usize = 6;
const CHECK: usize = 10;
const RESERVED_FLAG: u16 = 0x8000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Whether the packet can be made to fit `mtu`: IPv4 without "don't fragment", within the bounds
/// above. A TCP packet that is still to be segmented gets smaller segments instead; datagrams that
/// are to be segmented stay as their sender made them.
#[inline(always)]
pub fn is_possible<F: Family, P: Packet>(packet: &P, datagram: &Datagram<F>, mtu: usize) -> bool {
    if !datagram.may_fragment {
        return false;
    }
    match packet.segment_payload() {
        Some(0) => {
            let header = datagram.transport - NETWORK;
            let payload = datagram.length() - header;
            datagram.length() <= LONGEST && payload_of(header, mtu, payload) * MOST >= payload
        }
        Some(_) => datagram.protocol == protocol::TCP,
        None => false,
    }
}

/// What offsets are counted in, in bytes.
pub const UNIT: usize = 8;

/// How many bytes of payload a fragment can carry.
#[inline(always)]
const fn largest_payload(header: usize, mtu: usize) -> usize {
    mtu.saturating_sub(header) & !(UNIT - 1)
}

/// How many bytes of a packet's payload each fragment carries: a multiple of 8, such that the last
/// one has 8 at least, as the smallest that a network has to carry has (RFC 791 3.2). 0 where `mtu`
/// has no room for any.
#[inline(always)]
pub const fn payload_of(header: usize, mtu: usize, payload: usize) -> usize {
    let size = largest_payload(header, mtu);
    if size <= UNIT {
        return 0;
    }
    let last = payload % size;
    if last != 0 && last < UNIT {
        size - UNIT
    } else {
        size
    }
}

/// A place among the payload of a packet that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins, in bytes; a multiple of 8.
    pub at: usize,
    /// How long it is.
    pub len: usize,
    /// Whether another one follows.
    pub more: bool,
}

/// Makes the header of a packet that of one of its fragments: length, flags, offset and checksum.
/// `flags` are the packet's own (it may be a fragment itself); what is behind the header's end is
/// zeros.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "lengths of 16 bits")]
pub fn write_header(header: &mut [u8; HEADER], len: usize, flags: u16, piece: Piece) {
    let total = ((len + piece.len) as u16).to_be_bytes();
    // The kind of the last one is the packet's own.
    let more = if piece.more {
        MORE_FRAGMENTS
    } else {
        flags & MORE_FRAGMENTS
    };
    let offset = (flags & OFFSET).wrapping_add((piece.at / 8) as u16) & OFFSET;
    let field = (flags & RESERVED_FLAG | more | offset).to_be_bytes();
    [header[TOTAL_LEN], header[TOTAL_LEN + 1]] = total;
    [header[FLAGS], header[FLAGS + 1]] = field;
    [header[CHECK], header[CHECK + 1]] = [0, 0];
    let mut sum = 0;
    let mut at = 0;
    while at < HEADER {
        sum += u32::from(u16::from_ne_bytes([header[at], header[at + 1]]));
        at += 2;
    }
    [header[CHECK], header[CHECK + 1]] = (!fold(sum)).to_ne_bytes();
}

/// The flags and offset of a header.
#[inline(always)]
pub const fn flags_of(header: &[u8; HEADER]) -> u16 {
    u16::from_be_bytes([header[FLAGS], header[FLAGS + 1]])
}

/// What a walk through options has to remember: of what is read here the verifier knows nothing, so
/// that it has the same picture of it on every way.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Walk {
    /// Where the next option is.
    next: Opaque,
    /// 1 while one is removed.
    removes: Opaque,
}

/// Replaces those options by "no operation" which only the first fragment has (RFC 791 3.1: the
/// copied flag).
#[inline(always)]
pub fn keep_copied_options(header: &mut [u8; HEADER], len: usize, walk: &mut Walk) {
    const FIXED: usize = 20;
    const COPIED: u8 = 0x80;
    const NO_OPERATION: u8 = 1;
    walk.next.set(FIXED);
    walk.removes.set(0);
    let mut at = FIXED;
    while at < HEADER && at < len {
        if at == walk.next.get() {
            let kind = header[at];
            if kind == 0 {
                return;
            }
            let length = if kind == NO_OPERATION || at + 1 >= len || at + 1 >= HEADER {
                1
            } else {
                usize::from(header[at + 1])
            };
            if length == 0 {
                return;
            }
            walk.removes.set(usize::from(kind & COPIED == 0));
            walk.next.set(at + length);
        }
        if walk.removes.get() == 1 {
            header[at] = NO_OPERATION;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::wire::fold as sum;

    /// Cuts a packet as the programs do.
    fn cut(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let len = usize::from(packet[0] & 15) * 4;
        let mut header = [0; HEADER];
        header[..len].copy_from_slice(&packet[..len]);
        let (flags, size) = (flags_of(&header), payload_of(len, mtu, packet.len() - len));
        let payload = &packet[len..];
        let pieces = payload.chunks(size).enumerate();
        pieces
            .map(|(index, bytes)| {
                let at = index * size;
                let piece = Piece {
                    at,
                    len: bytes.len(),
                    more: at + bytes.len() < payload.len(),
                };
                write_header(&mut header, len, flags, piece);
                let fragment = [&header[..len], bytes].concat();
                keep_copied_options(&mut header, len, &mut Walk::default());
                fragment
            })
            .collect()
    }

    fn packet(options: &[u8], flags: u16, payload: &[u8]) -> Vec<u8> {
        let len = 20 + options.len();
        let mut packet = vec![0; 20];
        packet[0] = 0x40 | u8::try_from(len / 4).expect("a header's length");
        let total = u16::try_from(len + payload.len()).expect("a packet's length");
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[4..6].copy_from_slice(&[0xbe, 0xef]);
        packet[6..8].copy_from_slice(&flags.to_be_bytes());
        packet[8..10].copy_from_slice(&[64, 17]);
        [packet, options.to_vec(), payload.to_vec()].concat()
    }

    proptest! {
        /// Put together by their offsets (RFC 791 3.2), the fragments are the packet, and each fits
        /// and has a right header.
        #[test]
        fn fragments_are_the_packet(
            len in 1..LONGEST - 60,
            mtu in 600..4_000_usize,
            first in 0..1_000_u16,
            more in any::<bool>(),
            options in 0..3_usize,
        ) {
            let payload: Vec<u8> = (0..len).map(|byte| u8::try_from(byte % 251).expect("a byte")).collect();
            let options = &[0x94, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0][..options * 4];
            let flags = first | if more { MORE_FRAGMENTS } else { 0 };
            let whole = packet(options, flags, &payload);
            let fragments = cut(&whole, mtu);
            let header = 20 + options.len();
            let mut together = Vec::new();
            for (index, fragment) in fragments.iter().enumerate() {
                prop_assert!(fragment.len() <= mtu);
                prop_assert_eq!(sum(&fragment[..header]), 0xffff);
                let field = u16::from_be_bytes([fragment[6], fragment[7]]);
                let is_last = index + 1 == fragments.len();
                prop_assert_eq!(field & MORE_FRAGMENTS != 0, more || !is_last);
                prop_assert_eq!(usize::from(field & OFFSET), usize::from(first) + together.len() / 8);
                prop_assert_eq!(&fragment[4..6], &whole[4..6]);
                together.extend_from_slice(&fragment[header..]);
                prop_assert!(is_last || together.len() % 8 == 0);
                prop_assert!(fragment.len() >= header + 8 || len < 8);
            }
            prop_assert_eq!(together, payload);
        }
    }

    #[test]
    fn later_fragments_have_only_copied_options() {
        // Router alert is copied (RFC 2113); record route and timestamp are not.
        let options = [
            0x94, 4, 0, 0, 1, 7, 7, 4, 0, 0, 0, 0, 68, 8, 5, 0, 0, 0, 0, 0,
        ];
        let kept = [
            0x94, 4, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        ];
        let fragments = cut(&packet(&options, 0, &[7; 3_000]), 1_500);
        assert_eq!(fragments.len(), 3);
        assert_eq!(fragments[0][20..40], options);
        for later in &fragments[1..] {
            assert_eq!(later[20..40], kept);
            assert_eq!(sum(&later[..40]), 0xffff);
        }
    }

    #[test]
    fn options_that_cannot_be_walked_end_the_walk() {
        for options in [[7, 0, 1, 1], [7, 200, 1, 1], [1, 1, 1, 7], [0, 7, 9, 9]] {
            let fragments = cut(&packet(&options, 0, &[7; 3_000]), 1_500);
            assert_eq!(fragments[0][20..24], options);
        }
    }
}

//! Where a packet is: in an XDP frame, in an skb, or in a buffer.

use network_types::eth::EthHdr;

use crate::{
    abi::{Reason, Target},
    checksum::Delta,
};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Where the network header starts, in bytes from the start of the frame.
pub const NETWORK: usize = EthHdr::LEN;

/// How many bytes an IP header may have, with IPv4 options or IPv6 extension headers.
pub const IP_HEADERS: usize = 40 + 120;

/// How many bytes of the frame the path may want to read: Ethernet, the longest IP header, ICMP's,
/// and of the packet that an ICMP error quotes again the longest header and a transport header up
/// to its checksum. A packet whose bytes are not in one piece is to have that many in its first.
pub const HEADERS: usize = NETWORK + IP_HEADERS + 8 + IP_HEADERS + 20;

/// A frame, from its Ethernet header on. Multi-byte values are as on the wire.
pub trait Packet {
    /// Whether the frame is at least `end` bytes long, in how many pieces it may be.
    fn holds(&self, end: usize) -> bool;

    /// Whether the frame (its first piece) is longer than `len` bytes.
    fn is_longer_than(&self, len: usize) -> bool;

    /// Cuts the frame off behind `len` bytes.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`].
    fn trim(&mut self, len: usize) -> Result<(), Reason>;

    /// The `N` bytes at `offset`, if the frame (its first piece) has them.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// The byte at `offset`, or [`ABSENT`]. Not an `Option`: comparing those, the compiler puts a
    /// byte that is not there together with what says so, and the verifier refuses arithmetic with
    /// what has no value.
    #[inline(always)]
    fn byte(&self, offset: usize) -> u16 {
        match self.read(offset) {
            Some([byte]) => u16::from(byte),
            None => ABSENT,
        }
    }

    /// Overwrites the bytes at `offset`.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`] if the frame (its first piece) does not have them.
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Result<(), Reason>;

    /// Adds to the transport checksum at `offset` what a change of what it covers adds to it,
    /// whether the field holds a complete checksum or, on an skb, the pseudo-header's sum only
    /// (`CHECKSUM_PARTIAL`).
    ///
    /// # Errors
    /// [`Reason::KernelRefused`] if the frame does not have the field.
    fn adjust_checksum(&mut self, offset: usize, change: Change) -> Result<(), Reason>;

    /// The checksum that the device which sends the frame is still to write.
    fn partial_checksum(&mut self) -> PartialChecksum;

    /// Has the first `end` bytes of the frame in its first piece, as far as it has them.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`].
    fn pull(&mut self, end: usize) -> Result<(), Reason>;

    /// Cuts the frame off behind `keep` bytes of its IP packet and makes room for `headers` bytes
    /// in front of it.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`].
    fn reshape(&mut self, keep: usize, headers: usize) -> Result<(), Reason>;

    /// The ones' complement sum of the `len` bytes at `offset`, an odd last one as the first of a
    /// word; at most [`LONGEST_SUM`] bytes.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`] if the frame (its first piece) does not have them.
    fn sum(&self, offset: usize, len: usize) -> Result<u16, Reason>;

    /// The same number, of which the verifier knows nothing any more: what follows is then looked
    /// at once, and not once for each way on which it got another value.
    #[inline(always)]
    fn verifier_opaque(&self, value: usize) -> usize {
        value
    }

    /// The bytes of payload in each packet that the frame is going to be cut into; 0 for a frame
    /// that is one packet. `None` where they differ from each other.
    fn segment_payload(&self) -> Option<u32>;

    /// Where the transport header that each of these packets gets begins: behind `transport`, the
    /// frame's own, where that is a tunnel's. And whether it is TCP's.
    #[inline(always)]
    fn segment_transport(&self, transport: usize, is_tcp: bool) -> (usize, bool) {
        (transport, is_tcp)
    }

    /// Whether this hook can send to `target`; where it cannot, the slow path does.
    fn can_send(&self, target: &Target) -> bool;

    /// Whether this hook answers packets itself (ARP, ping, ICMP errors), cuts them into fragments
    /// and hands them to the daemon; where it does not, the slow path does.
    fn can_reply(&self) -> bool;
}

/// A checksum that a local stack, or a virtual machine (virtio's `csum_start` and `csum_offset`),
/// left to the device that sends the frame: who sends a frame says itself where the device writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where what it covers begins, in bytes from the start of the frame.
    pub start: u32,
    /// Where it is written, likewise; 0 where there is none.
    pub field: u32,
}

impl PartialChecksum {
    /// All checksums are complete.
    pub const NONE: Self = Self { start: 0, field: 0 };
    /// There is one, and where cannot be told.
    pub const UNKNOWN: Self = Self {
        start: u32::MAX,
        field: u32::MAX,
    };

    /// Whether there is none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.field == 0
    }

    /// [`Packet::segment_transport`] by it: what is still to be segmented has such a checksum, in
    /// the innermost header.
    #[inline(always)]
    pub const fn segment_transport(self, transport: usize, is_tcp: bool) -> (usize, bool) {
        /// Where TCP has its checksum, from its header on (RFC 9293 3.1).
        const TCP_CHECKSUM: u32 = 16;
        let start = self.start as usize;
        if self.field == 0 || self.start == u32::MAX || start <= transport {
            return (transport, is_tcp);
        }
        (start, self.field.wrapping_sub(self.start) == TCP_CHECKSUM)
    }
}

/// No byte.
pub const ABSENT: u16 = 0x100;

/// The most bytes that [`Packet::sum`] takes.
pub const LONGEST_SUM: usize = 1280;

/// A change of a transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The difference.
    pub delta: Delta,
    /// What changed.
    pub covers: Covers,
    /// A field of UDP or UDP-Lite: 0 means that there is no checksum and stays 0, and a checksum of
    /// 0 is sent as 0xffff (RFC 768, RFC 3828).
    pub zero_is_none: bool,
}

/// What of all that a checksum covers has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// IPv4's pseudo-header.
    PseudoHeader4,
    /// IPv6's pseudo-header.
    PseudoHeader6,
    /// The packet's own bytes.
    Bytes,
}

impl Change {
    /// The field after the change, for a field that holds a complete checksum.
    #[inline(always)]
    pub fn apply(self, field: [u8; 2]) -> [u8; 2] {
        if self.zero_is_none && field == [0, 0] {
            return field;
        }
        match self.delta.apply(field) {
            [0, 0] if self.zero_is_none => [0xff, 0xff],
            changed => changed,
        }
    }

    /// The field after the change, for one that holds the pseudo-header's sum itself and not its
    /// complement: the outer one of a tunnel's packet that is still to be segmented
    /// (`SKB_GSO_UDP_TUNNEL_CSUM`; net/ipv4/udp.c, `udp_set_csum`). Such a sum is not 0, so that 0
    /// is no checksum here, too.
    #[inline(always)]
    pub fn apply_to_sum(self, field: [u8; 2]) -> [u8; 2] {
        if self.zero_is_none && field == [0, 0] {
            return field;
        }
        let complement = (!u16::from_be_bytes(field)).to_be_bytes();
        match !u16::from_be_bytes(self.delta.apply(complement)) {
            0 => [0xff, 0xff],
            sum => sum.to_be_bytes(),
        }
    }
}

/// Whether an address is that of many (broadcast or multicast): of no host.
#[inline(always)]
pub const fn is_group(mac: Mac) -> bool {
    mac[0] & 1 == 1
}

/// Whether it is a virtual router's address, of IPv4 or IPv6 (RFC 5798 7.3).
#[inline(always)]
pub const fn is_virtual_router(mac: Mac) -> bool {
    matches!(mac, [0, 0, 0x5e, 0, 1 | 2, _])
}

/// The Ethernet header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// To whom.
    pub destination: Mac,
    /// From whom.
    pub source: Mac,
    /// What follows, in network order.
    pub ethertype: [u8; 2],
}

/// `EtherType` of IPv4.
pub const IPV4: [u8; 2] = [0x08, 0x00];
/// `EtherType` of IPv6.
pub const IPV6: [u8; 2] = [0x86, 0xdd];
/// `EtherType` of an 802.1Q tag.
pub const VLAN: [u8; 2] = [0x81, 0x00];
/// `EtherType` of an 802.1ad tag.
pub const QINQ: [u8; 2] = [0x88, 0xa8];
/// `EtherType` of ARP.
pub const ARP: [u8; 2] = [0x08, 0x06];

impl Ethernet {
    /// Reads the header; `None` for a frame that is shorter.
    #[inline(always)]
    pub fn read<P: Packet>(packet: &P) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = packet.read::<{ EthHdr::LEN }>(0)?;
        Some(Self {
            destination: [a, b, c, d, e, f],
            source: [g, h, i, j, k, l],
            ethertype: [m, n],
        })
    }

    /// Whether the frame is for many (broadcast or multicast).
    #[inline(always)]
    pub const fn is_group(&self) -> bool {
        is_group(self.destination)
    }

    /// Writes the two addresses.
    #[inline(always)]
    pub fn write_addresses<P: Packet>(
        packet: &mut P,
        destination: Mac,
        source: Mac,
    ) -> Result<(), Reason> {
        let [a, b, c, d, e, f] = destination;
        let [g, h, i, j, k, l] = source;
        packet.write(0, [a, b, c, d, e, f, g, h, i, j, k, l])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tunnel's outer field is a sum, of which the device makes the checksum when it has added
    /// the segment: it gets what the sum of the changed words is.
    #[test]
    fn a_sum_changes_as_its_complement_does() {
        for (from, to, sum) in [
            (0x0a00_u16, 0xcb00_u16, 0x1234_u16),
            (0xffff, 0x0001, 0x0001),
            (0x0001, 0x0000, 0x0001),
            (0x8000, 0x7fff, 0xfffe),
        ] {
            let change = Change {
                delta: Delta::between(&from.to_be_bytes(), &to.to_be_bytes()),
                covers: Covers::PseudoHeader4,
                zero_is_none: true,
            };
            let wide = u32::from(sum) + u32::from(!from) + u32::from(to);
            let wide = (wide & 0xffff) + (wide >> 16);
            let want = (wide & 0xffff) + (wide >> 16);
            let got = u32::from(u16::from_be_bytes(change.apply_to_sum(sum.to_be_bytes())));
            assert_eq!(got % 0xffff, want % 0xffff, "{from:x} {to:x} {sum:x}");
            assert_ne!(got, 0, "0 is no checksum");
            assert_eq!(change.apply_to_sum([0, 0]), [0, 0]);
        }
    }

    /// By the innermost header, which has the checksum.
    #[test]
    fn segments_begin_at_the_innermost_header() {
        let at = |start, field| PartialChecksum { start, field };
        assert_eq!(at(34, 50).segment_transport(34, true), (34, true));
        assert_eq!(at(84, 100).segment_transport(34, false), (84, true));
        assert_eq!(at(84, 90).segment_transport(34, false), (84, false));
        for none in [PartialChecksum::NONE, PartialChecksum::UNKNOWN] {
            assert_eq!(none.segment_transport(34, true), (34, true));
        }
    }
}

//! Ethernet frames that the daemon reads and writes itself: those of its guests, and those that
//! announce EIPs. VLAN tags are the business of the programs and of the packet socket.

pub mod v4;
pub mod v6;

use std::net::{Ipv4Addr, Ipv6Addr};

/// The length of an Ethernet header.
const ETHERNET: usize = 14;
const UDP: usize = 8;

/// The `EtherType`s of what is read and written here.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// An Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// To whom.
    pub destination: [u8; 6],
    /// From whom.
    pub source: [u8; 6],
}

impl Ethernet {
    /// A frame that begins with this header and still lacks all that follows.
    pub fn begin(&self, ethertype: u16) -> Vec<u8> {
        let mut frame = [self.destination, self.source].concat();
        frame.extend(ethertype.to_be_bytes());
        frame
    }
}

/// The sender of a frame of that type, and what is behind the Ethernet header.
fn open(frame: &[u8], ethertype: u16) -> Option<([u8; 6], &[u8])> {
    let source = *frame.get(6..)?.first_chunk()?;
    let found = u16::from_be_bytes(*frame.get(12..)?.first_chunk()?);
    (found == ethertype).then_some((source, &frame[ETHERNET..]))
}

/// The address that an ARP packet announces as its sender's (RFC 5227 3): sender and target are
/// one.
pub fn arp_announcement(frame: &[u8]) -> Option<Ipv4Addr> {
    let (_, packet) = open(frame, ethertype::ARP)?;
    let packet = packet.first_chunk::<28>()?;
    let sender: [u8; 4] = *packet[14..].first_chunk()?;
    let target: [u8; 4] = *packet[24..].first_chunk()?;
    (packet[..6] == [0, 1, 8, 0, 6, 4] && sender == target).then(|| sender.into())
}

/// The address that a neighbour advertisement announces (RFC 4861 7.2.6).
pub fn neighbour_announcement(frame: &[u8]) -> Option<Ipv6Addr> {
    const ADVERTISEMENT: u8 = 136;
    let received = v6::parse(frame)?;
    let v6::Message::Icmp(message) = received.message else {
        return None;
    };
    let message = message.first_chunk::<24>()?;
    let address: [u8; 16] = *message[8..].first_chunk()?;
    (message[0] == ADVERTISEMENT && received.hop_limit == 255).then(|| address.into())
}

/// Whether it is a virtual router's advertisement (RFC 5798).
pub fn is_vrrp(frame: &[u8]) -> bool {
    const VRRP: u8 = 112;
    let v4 = || {
        let (_, packet) = open(frame, ethertype::IPV4)?;
        let header = packet.first_chunk::<20>()?;
        Some(header[9] == VRRP && header[16..] == [224, 0, 0, 18])
    };
    let v6 = || {
        const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
        let (_, packet) = open(frame, ethertype::IPV6)?;
        let header = packet.first_chunk::<40>()?;
        Some(header[6] == VRRP && header[24..] == GROUP.octets())
    };
    v4().or_else(v6).unwrap_or(false)
}

/// A length on the wire. What is written here is far below the limit; were it above, the receiver
/// drops the packet.
fn length_field(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// The Internet checksum (RFC 1071) of all parts together. Every part but the last must have an
/// even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    !parts.iter().fold(0, |total, part| sum(total, part))
}

/// The ones' complement sum of `total` and the big-endian words of `bytes`.
fn sum(total: u16, bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(total, |total, word| {
        let word = u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
        let (sum, carry) = total.overflowing_add(word);
        sum + u16::from(carry)
    })
}

/// A UDP checksum as it is sent: zero would say that there is none.
fn udp_checksum(parts: &[&[u8]]) -> [u8; 2] {
    match checksum(parts) {
        0 => [0xff; 2],
        checksum => checksum.to_be_bytes(),
    }
}

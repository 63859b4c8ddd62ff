//! Ethernet frames that the daemon reads and writes itself: those of its guests, and those that announce EIPs. VLAN tags
//! are the business of the programs and of the packet socket.

pub mod v4;
pub mod v6;

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

/// A length on the wire. What is written here is far below the limit; were it above, the receiver drops the packet.
fn length_field(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// The Internet checksum (RFC 1071) of all parts together. Every part but the last must have an even length.
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

//! As much of IP as the runner needs: checksums, and UDP datagrams of its own.

use std::net::IpAddr;

use super::data::Family;

/// UDP's protocol number.
pub const UDP: u8 = 17;

/// UDP-Lite's.
pub const UDP_LITE: u8 = 136;

/// The Internet checksum over several pieces, each but the last of even length; 0 over data that
/// holds a right one.
pub fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for piece in pieces {
        for pair in piece.chunks(2) {
            sum += u64::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or_default(),
            ]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// The bytes of an address.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The pseudo-header that a transport checksum covers, in IPv6's form: the sum is IPv4's as well.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = octets(source);
    bytes.extend(octets(destination));
    bytes.extend(
        u32::try_from(length)
            .expect("a packet's length")
            .to_be_bytes(),
    );
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

/// What an IP header says besides addresses and lengths.
#[derive(Clone, Debug)]
pub struct Header {
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// The protocol of what follows.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// IPv4: identification, flags and offset. IPv6: the flow label.
    pub word: u32,
    /// IPv4 options, whole words.
    pub options: Vec<u8>,
}

impl Header {
    /// A header with nothing special about it.
    pub fn plain(source: IpAddr, destination: IpAddr, protocol: u8) -> Self {
        Self {
            source,
            destination,
            protocol,
            ttl: 64,
            tos: 0,
            word: 0,
            options: Vec::new(),
        }
    }

    /// The whole packet.
    pub fn around(&self, payload: &[u8]) -> Vec<u8> {
        let length = |bytes: usize| {
            u16::try_from(bytes)
                .expect("a packet's length")
                .to_be_bytes()
        };
        let mut packet = Vec::new();
        if self.source.is_ipv4() {
            let end = 20 + self.options.len();
            let words = u8::try_from(end / 4).expect("a header's length");
            packet.extend([0x40 | words, self.tos]);
            packet.extend(length(end + payload.len()));
            packet.extend(self.word.to_be_bytes());
            packet.extend([self.ttl, self.protocol, 0, 0]);
        } else {
            let first = 6 << 28 | u32::from(self.tos) << 20 | self.word & 0xf_ffff;
            packet.extend(first.to_be_bytes());
            packet.extend(length(payload.len()));
            packet.extend([self.protocol, self.ttl]);
        }
        packet.extend(octets(self.source));
        packet.extend(octets(self.destination));
        packet.extend(&self.options);
        if self.source.is_ipv4() {
            let sum = checksum(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        packet.extend(payload);
        packet
    }
}

/// Writes the transport checksum of `segment` at `place`.
pub fn sum_up(header: &Header, segment: &mut [u8], place: usize) {
    segment[place..place + 2].fill(0);
    let pseudo = pseudo_header(
        header.source,
        header.destination,
        header.protocol,
        segment.len(),
    );
    let sum = match checksum(&[&pseudo, segment]) {
        0 if [UDP, UDP_LITE].contains(&header.protocol) => 0xffff,
        sum => sum,
    };
    segment[place..place + 2].copy_from_slice(&sum.to_be_bytes());
}

/// A UDP datagram.
pub fn udp(source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
    const PORT: [u8; 2] = 9_u16.to_be_bytes(); // discard
    let header = Header::plain(source, destination, UDP);
    let length = u16::try_from(8 + payload.len()).expect("a datagram's length");
    let mut segment = [PORT, PORT, length.to_be_bytes(), [0, 0]].concat();
    segment.extend(payload);
    sum_up(&header, &mut segment, 6);
    header.around(&segment)
}

/// The packet in what follows an Ethernet header, without padding.
pub fn without_padding(family: Family, payload: &[u8]) -> &[u8] {
    let (place, header) = match family {
        Family::V4 => (2, 0),
        Family::V6 => (4, 40),
    };
    let Some(&[high, low]) = payload.get(place..place + 2) else {
        return payload;
    };
    let length = header + usize::from(u16::from_be_bytes([high, low]));
    payload.get(..length).unwrap_or(payload)
}

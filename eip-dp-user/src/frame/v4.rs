//! Ethernet, IPv4 and UDP around a DHCP message.

use std::net::Ipv4Addr;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const PROTOCOL_UDP: u8 = 17;
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Messages are filled up to the size of a BOOTP message: some clients drop shorter ones.
const SHORTEST_PAYLOAD: usize = 300;

/// What a client's frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received<'a> {
    /// The Ethernet source.
    pub source: [u8; 6],
    /// The DHCP message.
    pub payload: &'a [u8],
}

/// Reads a frame to the server port. `None`: it is something else, a fragment, or cut.
///
/// The UDP checksum is not looked at: a packet that a local stack sent through a veth or tap does not have it yet.
pub(super) fn parse(frame: &[u8]) -> Option<Received<'_>> {
    let source = *frame.get(6..)?.first_chunk::<6>()?;
    if *frame.get(12..)?.first_chunk::<2>()? != ETHERTYPE_IPV4 {
        return None;
    }
    let packet = frame.get(ETHERNET..)?;
    let header = packet.first_chunk::<IPV4>()?;
    let header_length = usize::from(header[0] & 0xf) * 4;
    let total_length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    if header[0] >> 4 != 4 || header_length < IPV4 || fragment || header[9] != PROTOCOL_UDP {
        return None;
    }
    let datagram = packet.get(header_length..total_length)?;
    let header = datagram.first_chunk::<UDP>()?;
    if u16::from_be_bytes([header[2], header[3]]) != SERVER_PORT {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    Some(Received {
        source,
        payload: datagram.get(UDP..length)?,
    })
}

/// What a reply's frame is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    /// The Ethernet source.
    pub source: [u8; 6],
    /// The Ethernet destination.
    pub destination: [u8; 6],
    /// The IPv4 source.
    pub source_address: Ipv4Addr,
    /// The IPv4 destination.
    pub destination_address: Ipv4Addr,
    /// The DHCP message; it always fits, since the options that the server sends are few.
    pub payload: &'a [u8],
}

/// Writes a frame from the server port to the client port.
pub(super) fn build(datagram: &Datagram<'_>) -> Vec<u8> {
    let payload_length = datagram.payload.len().max(SHORTEST_PAYLOAD);
    let udp_length = length_field(UDP + payload_length);
    let total_length = length_field(IPV4 + UDP + payload_length);
    let source = datagram.source_address.octets();
    let destination = datagram.destination_address.octets();

    let mut header = [0; IPV4];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total_length);
    header[8] = 64;
    header[9] = PROTOCOL_UDP;
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&destination);
    let checksum = !sum(0, &header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());

    let mut udp = Vec::with_capacity(UDP + payload_length);
    udp.extend(SERVER_PORT.to_be_bytes());
    udp.extend(CLIENT_PORT.to_be_bytes());
    udp.extend(udp_length);
    udp.extend([0, 0]);
    udp.extend(datagram.payload);
    udp.resize(UDP + payload_length, 0);
    let pseudo_header = [
        &source[..],
        &destination,
        &[0, PROTOCOL_UDP],
        &udp_length,
        &udp,
    ];
    let checksum = match !pseudo_header.iter().fold(0, |total, part| sum(total, part)) {
        // Zero would say that there is no checksum.
        0 => 0xffff,
        checksum => checksum,
    };
    udp[6..8].copy_from_slice(&checksum.to_be_bytes());

    [
        &datagram.destination[..],
        &datagram.source,
        &ETHERTYPE_IPV4,
        &header,
        &udp,
    ]
    .concat()
}

/// A length on the wire. What the server writes is far below the limit; were it above, the receiver drops the packet.
fn length_field(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// The ones' complement sum of `total` and the big-endian words of `bytes` (RFC 1071). Every part but the last must
/// have an even length.
fn sum(total: u16, bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(total, |total, word| {
        let word = u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
        let (sum, carry) = total.overflowing_add(word);
        sum + u16::from(carry)
    })
}

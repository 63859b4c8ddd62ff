//! IPv4 and UDP around a DHCP message.

use std::net::Ipv4Addr;

use super::{Ethernet, UDP, checksum, ethertype, length_field, open, udp_checksum};

const IPV4: usize = 20;
const PROTOCOL_UDP: u8 = 17;
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Messages are filled up to the size of a BOOTP message: some clients drop shorter ones.
const SHORTEST_PAYLOAD: usize = 300;

/// What a client's frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// The Ethernet source.
    pub source: [u8; 6],
    /// The DHCP message.
    pub payload: &'a [u8],
}

/// Reads a frame to the server port. `None`: it is something else, a fragment, or cut.
///
/// The UDP checksum is not looked at: a packet that a local stack sent through a veth or tap does
/// not have it yet.
pub fn parse(frame: &[u8]) -> Option<Received<'_>> {
    let (source, packet) = open(frame, ethertype::IPV4)?;
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
pub struct Datagram<'a> {
    /// The Ethernet header.
    pub ethernet: Ethernet,
    /// The IPv4 source.
    pub source: Ipv4Addr,
    /// The IPv4 destination.
    pub destination: Ipv4Addr,
    /// The DHCP message; it always fits, since the options that the server sends are few.
    pub payload: &'a [u8],
}

/// Writes a frame from the server port to the client port.
pub fn build(datagram: &Datagram<'_>) -> Vec<u8> {
    let payload_length = datagram.payload.len().max(SHORTEST_PAYLOAD);
    let udp_length = length_field(UDP + payload_length);
    let total_length = length_field(IPV4 + UDP + payload_length);
    let source = datagram.source.octets();
    let destination = datagram.destination.octets();

    let mut header = [0; IPV4];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total_length);
    header[8] = 64;
    header[9] = PROTOCOL_UDP;
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&destination);
    let header_checksum = checksum(&[&header]);
    header[10..12].copy_from_slice(&header_checksum.to_be_bytes());

    let mut udp = Vec::with_capacity(UDP + payload_length);
    udp.extend(SERVER_PORT.to_be_bytes());
    udp.extend(CLIENT_PORT.to_be_bytes());
    udp.extend(udp_length);
    udp.extend([0, 0]);
    udp.extend(datagram.payload);
    udp.resize(UDP + payload_length, 0);
    let field = udp_checksum(&[&source, &destination, &[0, PROTOCOL_UDP], &udp_length, &udp]);
    udp[6..8].copy_from_slice(&field);

    let mut frame = datagram.ethernet.begin(ethertype::IPV4);
    frame.extend(header);
    frame.extend(udp);
    frame
}

//! IPv6 around what a guest says to its router and DHCP server, and around what they say.

use std::net::Ipv6Addr;

use super::{Ethernet, UDP, checksum, ethertype, length_field, open, udp_checksum};

const IPV6: usize = 40;
const NEXT_UDP: u8 = 17;
const NEXT_ICMP: u8 = 58;
const SERVER_PORT: u16 = 547;
const CLIENT_PORT: u16 = 546;

/// Every node on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The Ethernet address of [`ALL_NODES`] (RFC 2464, 7).
pub const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// The hop limit of neighbour discovery: a packet that a router passed on has another (RFC 4861).
pub const UNFORWARDED: u8 = 255;

/// The link-local address of an interface with that Ethernet address (RFC 4291, appendix A): who
/// the gateway is on a port.
pub fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let mut address = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0];
    address[8..11].copy_from_slice(&mac[..3]);
    address[13..].copy_from_slice(&mac[3..]);
    // The bit that says who gave the address, inverted.
    address[8] ^= 2;
    address.into()
}

/// What a guest's frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// The Ethernet source.
    pub mac: [u8; 6],
    /// The IPv6 source.
    pub source: Ipv6Addr,
    /// The IPv6 destination.
    pub destination: Ipv6Addr,
    /// How many routers it may still pass.
    pub hop_limit: u8,
    /// What is said.
    pub message: Message<'a>,
}

/// What a guest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// An ICMPv6 message whose checksum is right, from its type on.
    Icmp(&'a [u8]),
    /// A message to the port of DHCPv6 servers.
    Dhcp(&'a [u8]),
}

/// Reads a frame. `None`: it is something else, has extension headers, which no client sends here,
/// or is cut.
///
/// The UDP checksum is not looked at: a packet that a local stack sent through a veth or tap does
/// not have it yet. That of ICMPv6 every stack writes itself.
pub fn parse(frame: &[u8]) -> Option<Received<'_>> {
    let (mac, packet) = open(frame, ethertype::IPV6)?;
    let (header, rest) = packet.split_first_chunk::<IPV6>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let length = u16::from_be_bytes([header[4], header[5]]);
    let payload = rest.get(..usize::from(length))?;
    let message = match header[6] {
        NEXT_UDP => Message::Dhcp(datagram(payload)?),
        NEXT_ICMP if pseudo_header_checksum(header, payload) == 0 => Message::Icmp(payload),
        _ => return None,
    };
    Some(Received {
        mac,
        source: address(&header[8..])?,
        destination: address(&header[24..])?,
        hop_limit: header[7],
        message,
    })
}

/// What a datagram to the server port holds.
fn datagram(payload: &[u8]) -> Option<&[u8]> {
    let header = payload.first_chunk::<UDP>()?;
    if u16::from_be_bytes([header[2], header[3]]) != SERVER_PORT {
        return None;
    }
    payload.get(UDP..usize::from(u16::from_be_bytes([header[4], header[5]])))
}

/// The address at the start of `bytes`.
pub fn address(bytes: &[u8]) -> Option<Ipv6Addr> {
    bytes.first_chunk::<16>().copied().map(Ipv6Addr::from)
}

/// From where to where a packet goes.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// The Ethernet header.
    pub ethernet: Ethernet,
    /// The IPv6 source.
    pub source: Ipv6Addr,
    /// The IPv6 destination.
    pub destination: Ipv6Addr,
}

impl Envelope {
    /// Writes a frame of neighbour discovery: an ICMPv6 message whose checksum, as yet, is zero.
    pub fn icmp(&self, mut message: Vec<u8>) -> Vec<u8> {
        let header = self.header(NEXT_ICMP, UNFORWARDED, message.len());
        let field = pseudo_header_checksum(&header, &message).to_be_bytes();
        message[2..4].copy_from_slice(&field);
        self.frame(&header, &message)
    }

    /// Writes a frame from the port of DHCPv6 servers to that of clients.
    pub fn dhcp(&self, payload: &[u8]) -> Vec<u8> {
        let mut udp = Vec::with_capacity(UDP + payload.len());
        udp.extend(SERVER_PORT.to_be_bytes());
        udp.extend(CLIENT_PORT.to_be_bytes());
        udp.extend(length_field(UDP + payload.len()));
        udp.extend([0, 0]);
        udp.extend(payload);
        let header = self.header(NEXT_UDP, 64, udp.len());
        let field = udp_checksum(&pseudo_header(&header, &udp));
        udp[6..8].copy_from_slice(&field);
        self.frame(&header, &udp)
    }

    fn header(&self, next: u8, hop_limit: u8, length: usize) -> [u8; IPV6] {
        let mut header = [0; IPV6];
        header[0] = 0x60;
        header[4..6].copy_from_slice(&length_field(length));
        header[6] = next;
        header[7] = hop_limit;
        header[8..24].copy_from_slice(&self.source.octets());
        header[24..].copy_from_slice(&self.destination.octets());
        header
    }

    fn frame(&self, header: &[u8; IPV6], payload: &[u8]) -> Vec<u8> {
        let mut frame = self.ethernet.begin(ethertype::IPV6);
        frame.extend(header);
        frame.extend(payload);
        frame
    }
}

/// What a checksum over `payload` covers (RFC 8200, 8.1); the order of the words in a sum does not
/// matter.
fn pseudo_header<'a>(header: &'a [u8; IPV6], payload: &'a [u8]) -> [&'a [u8]; 4] {
    let next: &[u8] = match header[6] {
        NEXT_UDP => &[0, NEXT_UDP],
        _ => &[0, NEXT_ICMP],
    };
    [&header[8..], &header[4..6], next, payload]
}

fn pseudo_header_checksum(header: &[u8; IPV6], payload: &[u8]) -> u16 {
    checksum(&pseudo_header(header, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_local_address_of_a_mac() {
        // One that its maker gave, and one that is administered locally.
        assert_eq!(
            link_local([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]).to_string(),
            "fe80::3656:78ff:fe9a:bcde"
        );
        assert_eq!(
            link_local([2, 0, 0, 0, 0xff, 1]).to_string(),
            "fe80::ff:fe00:ff01"
        );
    }
}

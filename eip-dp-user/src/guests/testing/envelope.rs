//! What is around a guest's message, and around what it is told.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    site::Input,
    wire::{Packet, link_local},
};
use crate::frame::{
    Ethernet,
    v4::{self, Datagram},
    v6::{self, Envelope, Message},
};

const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PORT: [u8; 6] = [2, 0, 0, 0, 0xff, 1];

/// What a frame was read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A message to a DHCP server.
    Dhcp4,
    /// To one of DHCPv6.
    Dhcp6,
    /// An ICMPv6 message.
    Icmp6,
}

/// Reads any bytes as a frame, and writes them as messages.
///
/// # Panics
/// If another reader makes something else of it.
pub fn hold(bytes: &[u8]) -> Option<Kind> {
    let input = Input::read(bytes)?;
    written(&input.frame);
    read(&input.frame)
}

fn read(frame: &[u8]) -> Option<Kind> {
    let packet = Packet::read(frame);
    let four = packet.as_ref().filter(|packet| !packet.is_ipv6);
    let asked = four.and_then(Packet::datagram);
    let expected = asked.filter(|(_, to, _)| *to == 67);
    let found = v4::parse(frame);
    assert_eq!(
        found.map(|found| (found.source, found.payload)),
        four.zip(expected)
            .map(|(packet, (_, _, payload))| (packet.from, payload))
    );
    if found.is_some() {
        return Some(Kind::Dhcp4);
    }
    let six = packet.as_ref().filter(|packet| packet.is_ipv6);
    let expected = six.and_then(|packet| match packet.protocol {
        17 => {
            let (_, to, payload) = packet.datagram()?;
            (to == 547).then_some(Message::Dhcp(payload))
        }
        58 if packet.sum() == 0xffff => Some(Message::Icmp(packet.payload)),
        _ => None,
    });
    let found = v6::parse(frame);
    assert_eq!(found.map(|found| found.message), expected);
    let (found, packet) = found.zip(six)?;
    assert_eq!(found.mac, packet.from);
    assert_eq!(IpAddr::from(found.source), packet.source);
    assert_eq!(IpAddr::from(found.destination), packet.destination);
    assert_eq!(found.hop_limit, packet.hops);
    Some(match found.message {
        Message::Dhcp(_) => Kind::Dhcp6,
        Message::Icmp(_) => Kind::Icmp6,
    })
}

/// Whatever is said arrives: lengths, checksums, ports and all of the message.
fn written(message: &[u8]) {
    let ethernet = Ethernet {
        destination: GUEST,
        source: PORT,
    };
    let (server, client) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 5));
    let frame = v4::build(&Datagram {
        ethernet,
        source: server,
        destination: client,
        payload: message,
    });
    let packet = arrived(&frame, server.into(), client.into());
    assert!(packet.has_header_sum() && packet.hops > 1);
    let payload = said(&packet, 67, 68);
    assert_eq!(payload.len(), message.len().max(300));
    assert_eq!(payload[..message.len()], *message);
    assert!(payload[message.len()..].iter().all(|byte| *byte == 0));

    let (server, client) = (link_local(PORT), link_local(GUEST));
    assert_eq!(v6::link_local(PORT), server);
    let envelope = Envelope {
        ethernet,
        source: server,
        destination: client,
    };
    let frame = envelope.dhcp(message);
    let packet = arrived(&frame, server.into(), client.into());
    assert_eq!(said(&packet, 547, 546), message);

    // An ICMP message has a header; its checksum is the envelope's.
    let message = [&[134, 0, 0, 0][..], message].concat();
    let frame = envelope.icmp(message.clone());
    let packet = arrived(&frame, server.into(), client.into());
    assert_eq!((packet.protocol, packet.hops), (58, 255));
    assert_eq!(packet.sum(), 0xffff);
    assert_eq!(packet.payload[..2], message[..2]);
    assert_eq!(packet.payload[4..], message[4..]);
}

fn arrived(frame: &[u8], source: IpAddr, destination: IpAddr) -> Packet<'_> {
    let packet = Packet::read(frame).expect("a packet");
    assert_eq!((packet.to, packet.from), (GUEST, PORT));
    assert_eq!((packet.source, packet.destination), (source, destination));
    assert!(!packet.is_fragment);
    let length = 14 + packet.header.len() + packet.payload.len();
    assert_eq!(length, frame.len(), "no more than the packet");
    packet
}

/// What a datagram from and to these ports holds, its checksum there and right.
pub fn said<'a>(packet: &Packet<'a>, from: usize, to: usize) -> &'a [u8] {
    let (source, destination, payload) = packet.datagram().expect("a datagram");
    assert_eq!((source, destination), (from, to));
    assert_eq!(payload.len() + 8, packet.payload.len());
    assert_eq!(packet.sum(), 0xffff);
    assert_ne!(packet.payload[6..8], [0, 0], "no checksum");
    payload
}

//! Messages as bytes on the wire.

use std::net::Ipv6Addr;

use similar_asserts::assert_eq;

use super::{
    super::server_identifier, DECLINE, DUID, GUEST_MAC, PORT_MAC, RELEASE, RENEW, REQUEST, XID, ip,
};

/// A client's message, as bytes on the wire.
#[derive(Clone)]
pub(super) struct Request {
    pub kind: u8,
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub options: Vec<u8>,
}

impl Request {
    /// Without any option.
    pub fn bare(kind: u8) -> Self {
        Self {
            kind,
            source: ip("fe80::1:2"),
            destination: ip("ff02::1:2"),
            options: Vec::new(),
        }
    }

    /// With the client's identifier, and the server's where it belongs.
    pub fn new(kind: u8) -> Self {
        let request = Self::bare(kind).option(1, &DUID);
        if [REQUEST, RENEW, RELEASE, DECLINE].contains(&kind) {
            request.option(2, &server_identifier("v"))
        } else {
            request
        }
    }

    pub fn option(mut self, code: u16, value: &[u8]) -> Self {
        self.options.extend(option(code, value));
        self
    }

    /// An association of non-temporary addresses that names these.
    pub fn addresses(self, id: u32, addresses: &[Ipv6Addr]) -> Self {
        let mut value = [id.to_be_bytes(), [0; 4], [0; 4]].concat();
        for address in addresses {
            let named = [&address.octets()[..], &[0; 8]].concat();
            value.extend(option(5, &named));
        }
        self.option(3, &value)
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut udp = vec![2, 34, 2, 35];
        udp.extend((12 + self.options.len() as u16).to_be_bytes());
        // The checksum as a guest behind a veth leaves it: not computed.
        udp.extend([0x12, 0x34, self.kind]);
        udp.extend(XID);
        udp.extend(&self.options);

        let mut frame = vec![0x33, 0x33, 0, 1, 0, 2];
        frame.extend(GUEST_MAC);
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((udp.len() as u16).to_be_bytes());
        frame.extend([17, 1]);
        frame.extend(self.source.octets());
        frame.extend(self.destination.octets());
        frame.extend(udp);
        frame
    }
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    [
        &code.to_be_bytes()[..],
        &(value.len() as u16).to_be_bytes(),
        value,
    ]
    .concat()
}

/// A reply, as it is read off the wire.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Reply {
    pub kind: u8,
    pub client: Option<Vec<u8>>,
    pub associations: Vec<Association>,
    pub status: Option<u16>,
    pub preference: Option<u8>,
    pub rapid_commit: bool,
    pub dns: Vec<Ipv6Addr>,
    /// Search list and time servers.
    pub parameters: Vec<(u16, Vec<u8>)>,
}

/// Code, number, T1 and T2, addresses with preferred and valid lifetime, status.
#[derive(Debug, Default, PartialEq, PartialOrd)]
pub(super) struct Association(
    pub u16,
    pub u32,
    pub [u32; 2],
    pub Vec<(Ipv6Addr, [u32; 2])>,
    pub Option<u16>,
);

fn ones_complement(bytes: &[u8]) -> u32 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

fn short(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(bytes[..2].try_into().unwrap())
}

fn long(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

fn address(bytes: &[u8]) -> Ipv6Addr {
    <[u8; 16]>::try_from(&bytes[..16]).unwrap().into()
}

fn options(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut options = Vec::new();
    while !bytes.is_empty() {
        let end = 4 + usize::from(short(&bytes[2..]));
        options.push((short(bytes), &bytes[4..end]));
        bytes = &bytes[end..];
    }
    options
}

/// Reads a reply, and checks all that every reply has.
pub(super) fn read(frame: &[u8]) -> Reply {
    let header = [&GUEST_MAC[..], &PORT_MAC, &[0x86, 0xdd, 0x60, 0, 0, 0]];
    assert_eq!(frame[..18], header.concat());
    let packet = &frame[14..];
    assert_eq!(usize::from(short(&packet[4..])), packet.len() - 40);
    assert_eq!(packet[6], 17);
    assert_eq!(address(&packet[8..]), ip("fe80::ff:fe00:ff01"));
    assert_eq!(address(&packet[24..]), ip("fe80::1:2"));
    let udp = &packet[40..];
    assert_eq!(udp[..4], [2, 35, 2, 34]);
    assert_eq!(usize::from(short(&udp[4..])), udp.len());
    let pseudo = [&packet[8..40], &[0, 17], &udp[4..6], udp].concat();
    assert_eq!(ones_complement(&pseudo), 0xffff, "UDP checksum");
    assert_ne!(udp[6..8], [0, 0]);
    let message = &udp[8..];
    assert_eq!(message[1..4], XID);
    let mut reply = Reply {
        kind: message[0],
        ..Reply::default()
    };
    let mut server = None;
    for (code, value) in options(&message[4..]) {
        match code {
            1 => reply.client = Some(value.to_vec()),
            2 => server = Some(value.to_vec()),
            3 | 25 => reply.associations.push(association(code, value, 12)),
            4 => reply.associations.push(association(code, value, 4)),
            7 => reply.preference = Some(value[0]),
            13 => reply.status = Some(short(value)),
            14 => reply.rapid_commit = true,
            23 => reply.dns = value.chunks(16).map(address).collect(),
            24 | 31 | 56 => reply.parameters.push((code, value.to_vec())),
            _ => panic!("option {code}"),
        }
    }
    // An IPv6 packet that every link takes.
    assert!(packet.len() <= 1280);
    reply.parameters.sort_unstable();
    assert_eq!(server.as_deref(), Some(&server_identifier("v")[..]));
    reply.associations.sort_by(|a, b| a.partial_cmp(b).unwrap());
    reply
}

fn association(code: u16, value: &[u8], fixed: usize) -> Association {
    let times = match fixed {
        12 => [long(&value[4..]), long(&value[8..])],
        _ => [0; 2],
    };
    let mut association = Association(code, long(value), times, Vec::new(), None);
    for (code, value) in options(&value[fixed..]) {
        match code {
            5 => {
                assert_eq!(value.len(), 24);
                let times = [long(&value[16..]), long(&value[20..])];
                association.3.push((address(value), times));
            }
            13 => association.4 = Some(short(value)),
            _ => panic!("option {code} in an association"),
        }
    }
    association
}

//! The conversation from frame to frame. Requests are written byte by byte and replies are read by a reader of this
//! module's own, so that an error of the code under test cannot hide itself.

#![allow(
    clippy::cast_possible_truncation,
    reason = "what these tests write is short"
)]

use std::{net::Ipv6Addr, time::Duration};

use eip_dp_common::abi::LinkKey;
use proptest::prelude::*;
use similar_asserts::assert_eq;

use super::{Client, Directory, answer, server_identifier};
use crate::{
    frame::v6::{Message, parse},
    guests::Lease6,
};

const PORT: LinkKey = LinkKey::tagged(7, 9);
const PORT_MAC: [u8; 6] = [2, 0, 0, 0, 0xff, 1];
const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const XID: [u8; 3] = [0xde, 0xad, 0xbe];
const DUID: [u8; 7] = [0, 3, 0, 1, 9, 9, 9];
const HOUR: u32 = 3600;

const SOLICIT: u8 = 1;
const ADVERTISE: u8 = 2;
const REQUEST: u8 = 3;
const CONFIRM: u8 = 4;
const RENEW: u8 = 5;
const REBIND: u8 = 6;
const REPLY: u8 = 7;
const RELEASE: u8 = 8;
const DECLINE: u8 = 9;
const INFORMATION_REQUEST: u8 = 11;

const SUCCESS: u16 = 0;
const NO_ADDRESSES: u16 = 2;
const NO_BINDING: u16 = 3;
const NOT_ON_LINK: u16 = 4;
const USE_MULTICAST: u16 = 5;
const NO_PREFIX: u16 = 6;

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn ours() -> Ipv6Addr {
    ip("fd00::5")
}

fn other() -> Ipv6Addr {
    ip("fd00::77")
}

fn lease() -> Lease6 {
    Lease6 {
        address: ours(),
        on_link: Some("fd00::/64".parse().unwrap()),
        mtu: 1500,
        dns: vec![ip("2001:db8::53")],
        duration: Duration::from_secs(HOUR.into()),
        server: server_identifier("v"),
        port_mac: PORT_MAC,
    }
}

/// A client's message, as bytes on the wire.
#[derive(Clone)]
struct Request {
    kind: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    options: Vec<u8>,
}

impl Request {
    /// Without any option.
    fn bare(kind: u8) -> Self {
        Self {
            kind,
            source: ip("fe80::1:2"),
            destination: ip("ff02::1:2"),
            options: Vec::new(),
        }
    }

    /// With the client's identifier, and the server's where it belongs.
    fn new(kind: u8) -> Self {
        let request = Self::bare(kind).option(1, &DUID);
        if [REQUEST, RENEW, RELEASE, DECLINE].contains(&kind) {
            request.option(2, &server_identifier("v"))
        } else {
            request
        }
    }

    fn option(mut self, code: u16, value: &[u8]) -> Self {
        self.options.extend(option(code, value));
        self
    }

    /// An association of non-temporary addresses that names these.
    fn addresses(self, id: u32, addresses: &[Ipv6Addr]) -> Self {
        let mut value = [id.to_be_bytes(), [0; 4], [0; 4]].concat();
        for address in addresses {
            let named = [&address.octets()[..], &[0; 8]].concat();
            value.extend(option(5, &named));
        }
        self.option(3, &value)
    }

    fn frame(&self) -> Vec<u8> {
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
struct Reply {
    kind: u8,
    client: Option<Vec<u8>>,
    associations: Vec<Association>,
    status: Option<u16>,
    preference: Option<u8>,
    rapid_commit: bool,
    dns: Vec<Ipv6Addr>,
}

/// Code, number, T1 and T2, addresses with preferred and valid lifetime, status.
#[derive(Debug, Default, PartialEq, PartialOrd)]
struct Association(u16, u32, [u32; 2], Vec<(Ipv6Addr, [u32; 2])>, Option<u16>);

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

fn read(frame: &[u8]) -> Reply {
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
            _ => panic!("option {code}"),
        }
    }
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

/// The association `id` with the address for an hour.
fn given(id: u32) -> Association {
    let address = (ours(), [HOUR, HOUR]);
    Association(3, id, [1800, 2880], vec![address], None)
}

fn refused(code: u16, id: u32, status: u16) -> Association {
    Association(code, id, [0, 0], Vec::new(), Some(status))
}

fn told(kind: u8) -> Reply {
    Reply {
        kind,
        client: Some(DUID.to_vec()),
        dns: lease().dns,
        ..Reply::default()
    }
}

fn directory(lease: Lease6) -> Directory {
    Directory {
        leases6: [(Client::on(PORT, GUEST_MAC), lease)].into(),
        ..Directory::default()
    }
}

fn ask_at(link: LinkKey, frame: &[u8], directory: &Directory, allowed: bool) -> Option<Vec<u8>> {
    let received = parse(frame)?;
    let Message::Dhcp(message) = received.message else {
        return None;
    };
    answer(&received, message, link, directory, |_| allowed)
}

fn ask_for(lease: Lease6, request: &Request) -> Option<Reply> {
    ask_at(PORT, &request.frame(), &directory(lease), true).map(|frame| read(&frame))
}

fn ask(request: &Request) -> Option<Reply> {
    ask_for(lease(), request)
}

/// What becomes of a message, in each of the client's states (RFC 8415, 18.3).
#[test]
fn messages_in_every_state_of_the_client() {
    let with = |kind, associations| Reply {
        associations,
        ..told(kind)
    };
    let cases: [(&str, Request, Option<Reply>); 22] = [
        (
            "solicit",
            Request::new(SOLICIT).addresses(1, &[]),
            Some(Reply {
                preference: Some(255),
                ..with(ADVERTISE, vec![given(1)])
            }),
        ),
        (
            "solicit with a wish",
            Request::new(SOLICIT).addresses(1, &[other()]),
            Some(Reply {
                preference: Some(255),
                ..with(ADVERTISE, vec![given(1)])
            }),
        ),
        (
            "solicit, to be done at once",
            Request::new(SOLICIT).addresses(1, &[]).option(14, &[]),
            Some(Reply {
                rapid_commit: true,
                ..with(REPLY, vec![given(1)])
            }),
        ),
        (
            "solicit of one server",
            Request::new(SOLICIT)
                .option(2, &server_identifier("v"))
                .addresses(1, &[]),
            None,
        ),
        (
            "solicit for more than an address",
            Request::new(SOLICIT)
                .addresses(1, &[])
                .addresses(2, &[])
                .option(4, &[0, 0, 0, 3])
                .option(25, &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
            Some(Reply {
                preference: Some(255),
                ..with(
                    ADVERTISE,
                    vec![
                        given(1),
                        refused(3, 2, NO_ADDRESSES),
                        refused(4, 3, NO_ADDRESSES),
                        refused(25, 4, NO_PREFIX),
                    ],
                )
            }),
        ),
        (
            "request",
            Request::new(REQUEST).addresses(1, &[ours()]),
            Some(with(REPLY, vec![given(1)])),
        ),
        (
            "request of the second association, which was offered the address before",
            Request::new(REQUEST)
                .addresses(1, &[])
                .addresses(2, &[ours()]),
            Some(with(REPLY, vec![refused(3, 1, NO_ADDRESSES), given(2)])),
        ),
        (
            "request of what is no longer so",
            Request::new(REQUEST).addresses(1, &[other()]),
            Some(with(REPLY, vec![refused(3, 1, NOT_ON_LINK)])),
        ),
        (
            "request to another server",
            Request::bare(REQUEST)
                .option(1, &DUID)
                .option(2, &server_identifier("w"))
                .addresses(1, &[ours()]),
            None,
        ),
        (
            "renew",
            Request::new(RENEW).addresses(1, &[ours()]),
            Some(with(REPLY, vec![given(1)])),
        ),
        (
            "renew after the address changed",
            Request::new(RENEW).addresses(1, &[other()]),
            Some(with(
                REPLY,
                vec![Association(
                    3,
                    1,
                    [1800, 2880],
                    vec![(ours(), [HOUR, HOUR]), (other(), [0, 0])],
                    None,
                )],
            )),
        ),
        (
            "renew of more than there is",
            Request::new(RENEW)
                .addresses(1, &[other()])
                .addresses(2, &[ours()])
                .option(25, &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
            Some(with(
                REPLY,
                vec![
                    refused(3, 1, NO_BINDING),
                    given(2),
                    refused(25, 4, NO_BINDING),
                ],
            )),
        ),
        (
            "renew with another server",
            Request::bare(RENEW).option(1, &DUID).addresses(1, &[]),
            None,
        ),
        (
            "rebind",
            Request::new(REBIND).addresses(1, &[ours()]),
            Some(with(REPLY, vec![given(1)])),
        ),
        (
            "confirm",
            Request::new(CONFIRM).addresses(1, &[ours()]),
            Some(Reply {
                status: Some(SUCCESS),
                dns: vec![],
                ..told(REPLY)
            }),
        ),
        (
            "confirm of an old address beside the right one",
            Request::new(CONFIRM).addresses(1, &[ours(), other()]),
            Some(Reply {
                status: Some(NOT_ON_LINK),
                dns: vec![],
                ..told(REPLY)
            }),
        ),
        (
            "confirm of nothing",
            Request::new(CONFIRM).addresses(1, &[]),
            None,
        ),
        (
            "release",
            Request::new(RELEASE).addresses(1, &[ours()]),
            Some(Reply {
                status: Some(SUCCESS),
                dns: vec![],
                ..told(REPLY)
            }),
        ),
        (
            "decline of what it does not have",
            Request::new(DECLINE).addresses(1, &[other()]),
            Some(Reply {
                status: Some(SUCCESS),
                associations: vec![refused(3, 1, NO_BINDING)],
                dns: vec![],
                ..told(REPLY)
            }),
        ),
        (
            "information request without an identifier",
            Request::bare(INFORMATION_REQUEST),
            Some(Reply {
                client: None,
                ..told(REPLY)
            }),
        ),
        (
            "information request for an address",
            Request::new(INFORMATION_REQUEST).addresses(1, &[]),
            None,
        ),
        (
            "solicit without an identifier",
            Request::bare(SOLICIT).addresses(1, &[]),
            None,
        ),
    ];
    for (what, request, expected) in cases {
        assert_eq!(ask(&request), expected, "{what}");
    }
}

#[test]
fn name_servers_go_to_clients_that_ask_for_them_or_for_nothing() {
    let request = Request::new(SOLICIT).addresses(1, &[]);
    for (list, told) in [
        (&[0, 24][..], false),
        (&[0, 24, 0, 23], true),
        (&[23], false),
    ] {
        let reply = ask(&request.clone().option(6, list)).unwrap();
        assert_eq!(!reply.dns.is_empty(), told, "{list:?}");
    }
    let without = Lease6 {
        dns: vec![],
        ..lease()
    };
    assert_eq!(ask_for(without, &request).unwrap().dns, [ip("::"); 0]);
}

#[test]
fn a_lease_is_never_for_ever() {
    let lease = Lease6 {
        duration: Duration::MAX,
        ..lease()
    };
    let reply = ask_for(lease, &Request::new(SOLICIT).addresses(1, &[])).unwrap();
    assert_eq!(reply.associations[0].3[0].1, [u32::MAX - 1; 2]);
}

#[test]
fn messages_to_the_gateways_own_address_are_sent_the_right_way() {
    for kind in 0..=20 {
        let mut request = Request::new(kind).addresses(1, &[ours()]);
        request.destination = ip("fe80::ff:fe00:ff01");
        let expected = [REQUEST, RENEW, RELEASE, DECLINE]
            .contains(&kind)
            .then(|| Reply {
                status: Some(USE_MULTICAST),
                dns: vec![],
                ..told(REPLY)
            });
        assert_eq!(ask(&request), expected, "message type {kind}");
    }
}

#[test]
fn everything_else_is_silence() {
    for kind in [0, ADVERTISE, REPLY, 10, 12, 13, 14, 255] {
        let request = Request::new(kind).addresses(1, &[ours()]);
        assert_eq!(ask(&request), None, "message type {kind}");
    }
    let request = Request::new(SOLICIT).addresses(1, &[]);
    let known = directory(lease());
    let frame = request.frame();
    assert!(ask_at(PORT, &frame, &known, true).is_some());
    assert!(ask_at(PORT, &frame, &known, false).is_none());
    for other in [LinkKey::tagged(8, 9), LinkKey::untagged(7)] {
        assert!(ask_at(other, &frame, &known, true).is_none(), "{other:?}");
    }
    assert!(ask_at(PORT, &frame, &Directory::default(), true).is_none());
    for source in ["::", "2001:db8::1", "fd00::5", "ff02::1"] {
        let mut request = request.clone();
        request.source = ip(source);
        assert_eq!(ask(&request), None, "from {source}");
    }
    for (what, offset, value) in [
        ("EtherType", 13, 0),
        ("another sender", 11, 7),
        ("version", 14, 0x45),
        ("extension header", 20, 0),
        ("TCP", 20, 6),
        ("port", 57, 34),
        ("identifier of no length", 69, 0),
        ("payload cut", 19, 7),
        ("UDP cut", 59, 7),
        ("cut option", 69, 200),
    ] {
        let mut frame = frame.clone();
        frame[offset] = value;
        assert!(ask_at(PORT, &frame, &known, true).is_none(), "{what}");
    }
    let long = Request::bare(SOLICIT).option(1, &[7; 131]);
    assert_eq!(ask(&long), None, "an identifier that is too long");
}

#[test]
fn a_server_is_one_for_each_vpc_and_its_identifier_a_uuid() {
    let identifier = server_identifier("v");
    // FNV-1a of "v" and of "dhcpv6 server of v", with version 8 and the variant.
    assert_eq!(identifier[..2], [0, 4]);
    assert_eq!(identifier[2..8], [0xaf, 0x63, 0xeb, 0x4c, 0x86, 0x02]);
    assert_eq!(identifier[8] >> 4, 8);
    assert_eq!(identifier[10] >> 6, 2);
    assert_ne!(identifier, server_identifier("w"));
}

#[test]
fn a_message_cut_at_any_length_is_survived() {
    let frame = Request::new(RENEW)
        .addresses(1, &[other()])
        .option(6, &[0, 23])
        .option(14, &[])
        .frame();
    let known = directory(lease());
    for length in 0..frame.len() {
        // Cut on the wire: the lengths inside no longer hold.
        assert!(ask_at(PORT, &frame[..length], &known, true).is_none());
        // Cut by a sender that adjusts them.
        let mut cut = frame[..length].to_vec();
        if length >= 62 {
            cut[18..20].copy_from_slice(&(length as u16 - 54).to_be_bytes());
            cut[58..60].copy_from_slice(&(length as u16 - 54).to_be_bytes());
            if let Some(reply) = ask_at(PORT, &cut, &known, true) {
                read(&reply);
            }
        }
    }
    // Padding behind the packet is not part of it.
    let mut padded = frame.clone();
    padded.extend([0xaa; 50]);
    assert_eq!(
        ask_at(PORT, &padded, &known, true),
        ask_at(PORT, &frame, &known, true)
    );
}

#[test]
fn a_reply_fits_a_frame_however_much_is_asked() {
    let mut request = Request::bare(RENEW)
        .option(1, &[7; 130])
        .option(2, &server_identifier("v"));
    for id in 0..20 {
        request = request.addresses(id, &[other(); 20]);
    }
    let frame = ask_at(PORT, &request.frame(), &directory(lease()), true).unwrap();
    assert!(frame.len() < 1280, "{} bytes", frame.len());
    assert_eq!(read(&frame).associations.len(), 8);
}

proptest! {
    #[test]
    fn no_options_do_harm(
        kind in 0u8..20,
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut request = Request::new(kind);
        request.options.extend(bytes);
        ask(&request);
    }

    #[test]
    fn no_changed_bytes_do_harm(
        kind in 0u8..12,
        changes in proptest::collection::vec((0usize..330, any::<u8>()), 1..12),
    ) {
        let mut frame = Request::new(kind)
            .addresses(1, &[ours(), other()])
            .option(6, &[0, 23])
            .option(25, &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0])
            .frame();
        for (offset, value) in changes {
            let length = frame.len();
            frame[offset % length] = value;
        }
        ask_at(PORT, &frame, &directory(lease()), true);
    }
}

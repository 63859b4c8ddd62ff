//! The conversation from frame to frame. Requests are written byte by byte and replies are read by
//! a reader of this module's own, so that an error of the code under test cannot hide itself.

#![allow(
    clippy::cast_possible_truncation,
    reason = "what these tests write is short"
)]

mod wire;

use std::{net::Ipv6Addr, sync::Arc, time::Duration};

use eip_dp_common::abi::LinkKey;
use proptest::prelude::*;
use similar_asserts::assert_eq;

use super::{Client, LeaseTable, answer, server_identifier};
use crate::{
    frame::v6::{Message, parse},
    guests::{Lease6, Parameters},
};
use wire::{Association, Reply, Request, read};

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
        autonomous: false,
        mtu: 1500,
        dns: vec![ip("2001:db8::53")],
        site: Arc::default(),
        duration: Duration::from_secs(HOUR.into()),
        server: server_identifier("v"),
        port_mac: PORT_MAC,
    }
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

fn directory(lease: Lease6) -> LeaseTable {
    LeaseTable {
        leases6: [(Client::on(PORT, GUEST_MAC), lease)].into(),
        ..LeaseTable::default()
    }
}

fn ask_at(link: LinkKey, frame: &[u8], directory: &LeaseTable, allowed: bool) -> Option<Vec<u8>> {
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

/// What is said and what comes back.
type Case = (&'static str, Request, Option<Reply>);

fn with(kind: u8, associations: Vec<Association>) -> Reply {
    Reply {
        associations,
        ..told(kind)
    }
}

fn check<const N: usize>(cases: [Case; N]) {
    for (what, request, expected) in cases {
        assert_eq!(ask(&request), expected, "{what}");
    }
}

/// RFC 8415, 18.3.1 and 18.3.2.
#[test]
fn a_client_that_has_no_address_yet() {
    check([
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
    ]);
}

/// RFC 8415, 18.3.3 to 18.3.5.
#[test]
fn a_client_that_has_an_address() {
    check([
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
    ]);
}

/// RFC 8415, 18.3.6 to 18.3.8.
#[test]
fn a_client_that_wants_no_address() {
    check([
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
    ]);
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
    assert_eq!(ask_for(without, &request).unwrap().dns, lease().dns[..0]);
}

/// Those of a site whose lists take `names` names and `servers` time servers.
fn site(names: usize, servers: usize) -> Arc<Parameters> {
    Arc::new(Parameters {
        domain: Some("example.org".parse().unwrap()),
        search: vec!["a.example.org".parse().unwrap(); names],
        ntp6: vec![ip("2001:db8::123"); servers],
        ..Parameters::default()
    })
}

#[test]
fn search_list_and_time_servers_go_to_clients_that_ask_for_them() {
    let request = Request::new(INFORMATION_REQUEST);
    let asked = |site, list: &[u8]| {
        let lease = Lease6 { site, ..lease() };
        let reply = ask_for(lease, &request.clone().option(6, list)).unwrap();
        reply.parameters
    };
    // Uncompressed, each name of 15 bytes.
    let name = b"\x01a\x07example\x03org\x00";
    let server = ip("2001:db8::123").octets();
    let list = [0, 24, 0, 31, 0, 56];
    let suboption = [&[0, 1, 0, 16][..], &server].concat();
    let expected = [
        (24, [&name[..], name].concat()),
        (31, server.to_vec()),
        (56, suboption),
    ];
    assert_eq!(asked(site(2, 1), &list), expected);
    assert_eq!(asked(site(2, 1), &list[..2]), expected[..1]);
    assert_eq!(asked(site(2, 1), &[0, 23]), Vec::new());
    // Without a list it is the domain.
    let domain = [(24, name[2..].to_vec())];
    assert_eq!(asked(site(0, 1), &list[..2]), domain);
    assert_eq!(asked(Arc::default(), &list), Vec::new());
}

#[test]
fn what_a_packet_has_no_room_for_is_left_out() {
    let lease = Lease6 {
        dns: vec![ip("2001:db8::53"); 16],
        site: site(17, 16),
        ..lease()
    };
    let mut request = Request::new(REQUEST);
    for id in 0..8 {
        request = request.addresses(id, &[ours()]);
    }
    let reply = ask_for(lease, &request.option(14, &[])).unwrap();
    assert_eq!((reply.dns.len(), reply.associations.len()), (16, 8));
    let codes: Vec<u16> = reply.parameters.iter().map(|(code, _)| *code).collect();
    assert!(codes.len() == 2, "{codes:?}");
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
    assert!(ask_at(PORT, &frame, &LeaseTable::default(), true).is_none());
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

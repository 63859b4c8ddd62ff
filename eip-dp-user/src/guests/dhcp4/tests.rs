//! The conversation from frame to frame. Requests are written byte by byte and replies are read by
//! a reader of this module's own, so that an error of the code under test cannot hide itself.

#![allow(
    clippy::cast_possible_truncation,
    reason = "what these tests write is short"
)]

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use eip_dp_common::abi::LinkKey;
use proptest::prelude::*;
use similar_asserts::assert_eq;

use super::{Client, Lease, LeaseTable, Parameters, Router, answer};

const PORT: LinkKey = LinkKey::untagged(7);
const PORT_MAC: [u8; 6] = [2, 0, 0, 0, 0xff, 1];
const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ADDRESS: [u8; 4] = [10, 0, 0, 5];
const SERVER: [u8; 4] = [10, 0, 0, 1];
const XID: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;
const INFORM: u8 = 8;

fn lease() -> Lease {
    Lease {
        address: ADDRESS.into(),
        prefix_len: 24,
        router: Router::OnLink(SERVER.into()),
        server: SERVER.into(),
        mtu: 1500,
        dns: vec![Ipv4Addr::new(192, 0, 2, 53)],
        site: Arc::default(),
        duration: Duration::from_hours(1),
        port_mac: PORT_MAC,
    }
}

fn routed_lease() -> Lease {
    Lease {
        address: Ipv4Addr::new(203, 0, 113, 9),
        prefix_len: 32,
        router: Router::OffLink(Ipv4Addr::new(169, 254, 1, 1)),
        server: Ipv4Addr::new(169, 254, 1, 1),
        dns: Vec::new(),
        ..lease()
    }
}

/// A client's request, as bytes on the wire.
#[derive(Clone)]
struct Request {
    kind: u8,
    broadcast: bool,
    ciaddr: [u8; 4],
    giaddr: [u8; 4],
    chaddr: [u8; 6],
    options: Vec<u8>,
}

impl Request {
    fn new(kind: u8) -> Self {
        Self {
            kind,
            broadcast: false,
            ciaddr: [0; 4],
            giaddr: [0; 4],
            chaddr: GUEST_MAC,
            options: Vec::new(),
        }
    }

    fn ciaddr(mut self, address: [u8; 4]) -> Self {
        self.ciaddr = address;
        self
    }

    fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.options.extend([code, value.len() as u8]);
        self.options.extend(value);
        self
    }

    fn frame(&self) -> Vec<u8> {
        let mut dhcp = vec![1, 1, 6, 0];
        dhcp.extend(XID);
        dhcp.extend([0, 3]);
        dhcp.extend(if self.broadcast { [0x80, 0] } else { [0, 0] });
        dhcp.extend(self.ciaddr);
        dhcp.extend([0; 8]);
        dhcp.extend(self.giaddr);
        dhcp.extend(self.chaddr);
        dhcp.resize(236, 0);
        dhcp.extend([99, 130, 83, 99, 53, 1, self.kind]);
        dhcp.extend(&self.options);
        dhcp.push(255);

        let mut frame = vec![0xff; 6];
        frame.extend(GUEST_MAC);
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((28 + dhcp.len() as u16).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(self.ciaddr);
        frame.extend([255; 4]);
        frame.extend([0, 68, 0, 67]);
        frame.extend((8 + dhcp.len() as u16).to_be_bytes());
        // The checksum as a guest behind a veth leaves it: not computed.
        frame.extend([0x12, 0x34]);
        frame.extend(dhcp);
        frame
    }
}

/// A reply, as it is read off the wire.
#[derive(Debug)]
struct Reply {
    ethernet: [u8; 6],
    to: [u8; 4],
    from: [u8; 4],
    flags: [u8; 2],
    ciaddr: [u8; 4],
    yiaddr: [u8; 4],
    siaddr: [u8; 4],
    /// Up to the first zero.
    file: Vec<u8>,
    options: BTreeMap<u8, Vec<u8>>,
}

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

fn four(bytes: &[u8]) -> [u8; 4] {
    bytes.try_into().unwrap()
}

fn read(frame: &[u8]) -> Reply {
    assert_eq!(frame[6..12], PORT_MAC);
    assert_eq!(frame[12..15], [8, 0, 0x45]);
    let packet = &frame[14..];
    assert_eq!(
        usize::from(u16::from_be_bytes([packet[2], packet[3]])),
        packet.len()
    );
    assert_eq!(
        ones_complement(&packet[..20]),
        0xffff,
        "IPv4 header checksum"
    );
    let udp = &packet[20..];
    assert_eq!(udp[..4], [0, 67, 0, 68]);
    assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp.len());
    let pseudo = [&packet[12..20], &[0, 17], &udp[4..6], udp].concat();
    assert_eq!(ones_complement(&pseudo), 0xffff, "UDP checksum");
    assert_ne!(udp[6..8], [0, 0]);
    let dhcp = &udp[8..];
    assert!(dhcp.len() >= 300);
    assert_eq!(dhcp[..4], [2, 1, 6, 0]);
    assert_eq!(dhcp[4..8], XID);
    assert_eq!(dhcp[24..28], [0; 4], "giaddr");
    assert_eq!(dhcp[28..34], GUEST_MAC);
    assert!(dhcp[34..108].iter().all(|byte| *byte == 0));
    let file = dhcp[108..236].split(|byte| *byte == 0).next().unwrap();
    assert!(dhcp[108 + file.len()..236].iter().all(|byte| *byte == 0));
    assert!(file.len() < 128, "no end");
    assert_eq!(dhcp[236..240], [99, 130, 83, 99]);
    let mut options = BTreeMap::new();
    let mut rest = &dhcp[240..];
    while rest[0] != 255 {
        let length = usize::from(rest[1]);
        let again = options.insert(rest[0], rest[2..2 + length].to_vec());
        assert_eq!(again, None, "an option twice");
        rest = &rest[2 + length..];
    }
    Reply {
        ethernet: frame[..6].try_into().unwrap(),
        from: four(&packet[12..16]),
        to: four(&packet[16..20]),
        flags: dhcp[10..12].try_into().unwrap(),
        ciaddr: four(&dhcp[12..16]),
        yiaddr: four(&dhcp[16..20]),
        siaddr: four(&dhcp[20..24]),
        file: file.to_vec(),
        options,
    }
}

fn directory(lease: Lease) -> LeaseTable {
    let client = Client::on(PORT, GUEST_MAC);
    LeaseTable {
        leases4: [(client, lease)].into(),
        ..LeaseTable::default()
    }
}

fn ask_for(lease: Lease, request: &Request) -> Option<Reply> {
    answer(&request.frame(), PORT, &directory(lease), |_| true).map(|frame| read(&frame))
}

fn ask(request: &Request) -> Option<Reply> {
    ask_for(lease(), request)
}

fn options<const N: usize>(options: [(u8, &[u8]); N]) -> BTreeMap<u8, Vec<u8>> {
    options
        .into_iter()
        .map(|(code, value)| (code, value.to_vec()))
        .collect()
}

#[test]
fn discover_is_offered_the_address_with_all_that_belongs_to_it() {
    let reply = ask(&Request::new(DISCOVER).option(61, &[1, 2, 0, 0, 0, 0, 1])).unwrap();
    assert_eq!(reply.ethernet, GUEST_MAC);
    assert_eq!((reply.from, reply.to), (SERVER, ADDRESS));
    assert_eq!((reply.ciaddr, reply.yiaddr), ([0; 4], ADDRESS));
    assert_eq!(reply.flags, [0, 0]);
    let expected = options([
        (1, &[255, 255, 255, 0]),
        (3, &SERVER),
        (6, &[192, 0, 2, 53]),
        (26, &[5, 220]),
        (51, &[0, 0, 14, 16]),
        (53, &[OFFER]),
        (54, &SERVER),
        (58, &[0, 0, 7, 8]),
        (59, &[0, 0, 12, 78]),
        (61, &[1, 2, 0, 0, 0, 0, 1]),
    ]);
    assert_eq!(reply.options, expected);
}

#[test]
fn the_broadcast_flag_is_honoured() {
    let mut request = Request::new(DISCOVER);
    request.broadcast = true;
    let reply = ask(&request).unwrap();
    assert_eq!((reply.ethernet, reply.to), ([0xff; 6], [255; 4]));
    assert_eq!(reply.flags, [0x80, 0]);
    assert_eq!(reply.yiaddr, ADDRESS);
}

/// What becomes of a request, in each of the client's states (RFC 2131, table 4).
#[test]
fn requests_in_every_state_of_the_client() {
    let other = [10, 0, 0, 77];
    let selecting = |address: [u8; 4]| {
        Request::new(REQUEST)
            .option(50, &address)
            .option(54, &SERVER)
    };
    let reboot = |address: [u8; 4]| Request::new(REQUEST).option(50, &address);
    let renewing = |address: [u8; 4]| Request::new(REQUEST).ciaddr(address);
    let cases: [(&str, Request, Option<u8>, [u8; 4]); 9] = [
        ("selecting", selecting(ADDRESS), Some(ACK), ADDRESS),
        (
            "selecting what was never offered",
            selecting(other),
            Some(NAK),
            [255; 4],
        ),
        (
            "selecting another server",
            Request::new(REQUEST)
                .option(50, &ADDRESS)
                .option(54, &[10, 0, 0, 2]),
            None,
            [0; 4],
        ),
        ("init-reboot", reboot(ADDRESS), Some(ACK), ADDRESS),
        (
            "init-reboot with an old address",
            reboot(other),
            Some(NAK),
            [255; 4],
        ),
        ("renewing", renewing(ADDRESS), Some(ACK), ADDRESS),
        (
            "renewing after the address changed",
            renewing(other),
            Some(NAK),
            [255; 4],
        ),
        ("asking for nothing", Request::new(REQUEST), None, [0; 4]),
        (
            "renewing with the server named",
            renewing(ADDRESS).option(54, &SERVER),
            Some(ACK),
            ADDRESS,
        ),
    ];
    for (what, request, kind, to) in cases {
        let reply = ask(&request);
        let got = reply.as_ref().map(|reply| reply.options[&53][0]);
        assert_eq!(got, kind, "{what}");
        let Some(reply) = reply else { continue };
        assert_eq!(reply.to, to, "{what}");
        if kind == Some(ACK) {
            assert_eq!(
                (reply.ciaddr, reply.yiaddr),
                (request.ciaddr, ADDRESS),
                "{what}"
            );
            assert_eq!(reply.ethernet, GUEST_MAC, "{what}");
            assert_eq!(reply.options[&51], [0, 0, 14, 16], "{what}");
        } else {
            assert_eq!((reply.ciaddr, reply.yiaddr), ([0; 4], [0; 4]), "{what}");
            assert_eq!(reply.ethernet, [0xff; 6], "{what}");
            let text = b"10.0.0.77 is not the address of this interface".to_vec();
            let expected = options([(53, &[NAK]), (54, &SERVER), (56, &text)]);
            assert_eq!(reply.options, expected, "{what}");
        }
    }
}

#[test]
fn inform_is_told_the_parameters_and_neither_address_nor_times() {
    let reply = ask(&Request::new(INFORM).ciaddr(ADDRESS)).unwrap();
    assert_eq!((reply.to, reply.ethernet), (ADDRESS, GUEST_MAC));
    assert_eq!((reply.ciaddr, reply.yiaddr), (ADDRESS, [0; 4]));
    let expected = options([
        (1, &[255, 255, 255, 0]),
        (3, &SERVER),
        (6, &[192, 0, 2, 53]),
        (26, &[5, 220]),
        (53, &[ACK]),
        (54, &SERVER),
    ]);
    assert_eq!(reply.options, expected);
    assert!(ask(&Request::new(INFORM).ciaddr([10, 0, 0, 77])).is_none());
}

#[test]
fn everything_else_is_silence() {
    for kind in [OFFER, DECLINE, ACK, NAK, RELEASE, 0, 9, 10, 13, 18, 255] {
        let request = Request::new(kind).ciaddr(ADDRESS).option(50, &ADDRESS);
        assert!(ask(&request).is_none(), "message type {kind}");
    }
    let mut relayed = Request::new(DISCOVER);
    relayed.giaddr = [10, 0, 0, 99];
    assert!(ask(&relayed).is_none(), "relayed");
    let mut forged = Request::new(DISCOVER);
    forged.chaddr = [2, 0, 0, 0, 0, 2];
    assert!(ask(&forged).is_none(), "for another than the sender");
    let frame = Request::new(DISCOVER).frame();
    let known = directory(lease());
    assert!(answer(&frame, PORT, &known, |_| true).is_some());
    assert!(answer(&frame, PORT, &known, |_| false).is_none());
    assert!(
        answer(&frame, LinkKey::untagged(8), &known, |_| true).is_none(),
        "another port"
    );
    assert!(
        answer(&frame, LinkKey::tagged(7, 5), &known, |_| true).is_none(),
        "another VLAN"
    );
    assert!(
        answer(&frame, PORT, &LeaseTable::default(), |_| true).is_none(),
        "no lease"
    );
    for (what, offset, value) in [
        ("reply", 42, 2),
        ("not Ethernet", 43, 6),
        ("hardware address of 16 bytes", 44, 16),
        ("hardware address of 255 bytes", 44, 255),
        ("magic", 278, 1),
        ("port", 37, 68),
        ("TCP", 23, 6),
        ("IPv6", 14, 0x65),
        ("header below its least length", 14, 0x44),
        ("more fragments", 20, 0x20),
        ("later fragment", 21, 1),
        ("EtherType", 13, 6),
    ] {
        let mut frame = frame.clone();
        frame[offset] = value;
        assert!(answer(&frame, PORT, &known, |_| true).is_none(), "{what}");
    }
}

#[test]
fn a_routed_pool_hands_out_a_host_route_to_its_router() {
    let request = Request::new(DISCOVER).option(55, &[1, 3, 6, 121, 249]);
    let reply = ask_for(routed_lease(), &request).unwrap();
    assert_eq!(reply.from, [169, 254, 1, 1]);
    let routes = [
        32, 169, 254, 1, 1, 0, 0, 0, 0, // 169.254.1.1/32 is on the link
        0, 169, 254, 1, 1, // everything else through it
    ];
    let expected = options([
        (1, &[255, 255, 255, 255]),
        (3, &[169, 254, 1, 1]),
        (51, &[0, 0, 14, 16]),
        (53, &[OFFER]),
        (54, &[169, 254, 1, 1]),
        (58, &[0, 0, 7, 8]),
        (59, &[0, 0, 12, 78]),
        (121, &routes),
        (249, &routes),
    ]);
    assert_eq!(reply.options, expected);
    let plain = ask_for(routed_lease(), &Request::new(DISCOVER)).unwrap();
    assert!(plain.options.contains_key(&121) && !plain.options.contains_key(&249));
}

fn site() -> Parameters {
    Parameters {
        domain: Some("example.org".parse().unwrap()),
        search: ["example.org", "lab.example.org"]
            .map(|name| name.parse().unwrap())
            .into(),
        ntp4: vec![[192, 0, 2, 123].into(), [192, 0, 2, 124].into()],
        ntp6: Vec::new(),
        next_server: Some([192, 0, 2, 67].into()),
        boot_file: Some("boot/pxelinux.0".to_owned()),
    }
}

fn lease_at(site: Parameters) -> Lease {
    let site = Arc::new(site);
    Lease { site, ..lease() }
}

/// The codes of what belongs to the site.
fn of_the_site(reply: &Reply) -> Vec<u8> {
    let codes = reply.options.keys().copied();
    codes
        .filter(|code| [15, 42, 66, 67, 119].contains(code))
        .collect()
}

#[test]
fn what_a_site_gives_its_guests() {
    let reply = ask_for(lease_at(site()), &Request::new(DISCOVER)).unwrap();
    assert_eq!(reply.siaddr, [192, 0, 2, 67]);
    assert_eq!(reply.file, b"boot/pxelinux.0");
    let found = |code: u8| reply.options[&code].as_slice();
    assert_eq!(found(15), b"example.org");
    assert_eq!(found(42), [192, 0, 2, 123, 192, 0, 2, 124]);
    assert_eq!(found(67), b"boot/pxelinux.0");
    // RFC 3397: the second name's end is the first.
    assert_eq!(found(119), b"\x07example\x03org\x00\x03lab\xc0\x00");
    assert_eq!(of_the_site(&reply), [15, 42, 67, 119]);

    let firmware = Request::new(DISCOVER).option(55, &[1, 3, 66, 67]);
    let reply = ask_for(lease_at(site()), &firmware).unwrap();
    assert_eq!(reply.options[&66], b"192.0.2.67");
    assert_eq!(of_the_site(&reply), [66, 67]);

    let refused = Request::new(REQUEST).option(50, &[10, 0, 0, 77]);
    let reply = ask_for(lease_at(site()), &refused).unwrap();
    assert_eq!((reply.siaddr, &reply.file[..]), ([0; 4], &b""[..]));
    assert_eq!(of_the_site(&reply), [0; 0]);

    let without = ask(&Request::new(DISCOVER)).unwrap();
    assert_eq!((without.siaddr, &without.file[..]), ([0; 4], &b""[..]));
    assert_eq!(of_the_site(&without), [0; 0]);
}

#[test]
fn a_long_boot_file_is_in_the_option_alone() {
    for (length, in_header) in [(127, true), (128, false), (255, false)] {
        let mut site = site();
        site.boot_file = Some("f".repeat(length));
        let reply = ask_for(lease_at(site), &Request::new(DISCOVER)).unwrap();
        assert_eq!(reply.options[&67].len(), length);
        assert_eq!(!reply.file.is_empty(), in_header);
    }
}

/// A client takes 576 bytes (RFC 2131, 2), and more if it says so; no more than its link.
#[test]
fn what_a_client_has_no_room_for_is_left_out() {
    let mut site = site();
    site.boot_file = Some("f".repeat(255));
    site.ntp4 = vec![Ipv4Addr::new(192, 0, 2, 123); 16];
    let ask = |longest: Option<u16>| {
        let mut request = Request::new(DISCOVER);
        if let Some(longest) = longest {
            request = request.option(57, &longest.to_be_bytes());
        }
        let frame = answer(
            &request.frame(),
            PORT,
            &directory(lease_at(site.clone())),
            |_| true,
        )
        .unwrap();
        let limit = usize::from(longest.unwrap_or(0).clamp(576, 1500));
        assert!(frame.len() - 14 <= limit);
        of_the_site(&read(&frame))
    };
    assert_eq!(ask(None), [67]);
    for (longest, codes) in [
        (0, &[67][..]),
        (576, &[67]),
        (600, &[15, 67]),
        (640, &[15, 67, 119]),
        (1500, &[15, 42, 67, 119]),
        (u16::MAX, &[15, 42, 67, 119]),
    ] {
        assert_eq!(ask(Some(longest)), codes, "{longest}");
    }
    // An identifier of the greatest length leaves little.
    let request = Request::new(DISCOVER).option(61, &[9; 255]);
    let reply = ask_for(lease_at(site.clone()), &request).unwrap();
    assert!(reply.options.contains_key(&61) && reply.options.contains_key(&3));
}

#[test]
fn a_client_gets_the_optional_parameters_that_it_lists() {
    let reply = ask(&Request::new(DISCOVER).option(55, &[6])).unwrap();
    let codes: Vec<u8> = reply.options.into_keys().collect();
    assert_eq!(codes, [1, 6, 51, 53, 54, 58, 59]);
    let reply = ask(&Request::new(DISCOVER).option(55, &[3, 26])).unwrap();
    let codes: Vec<u8> = reply.options.into_keys().collect();
    assert_eq!(codes, [1, 3, 26, 51, 53, 54, 58, 59]);
}

#[test]
fn options_that_others_stumble_over_hide_nothing() {
    // A host name that is not UTF-8, a rapid commit with a value, an empty list, padding between.
    let request = Request::new(REQUEST)
        .option(12, &[0xff, 0xfe])
        .option(80, &[1])
        .option(0, &[])
        .option(55, &[])
        .option(61, &[9; 255])
        .option(50, &[10, 0, 0, 77]);
    let reply = ask(&request).unwrap();
    assert_eq!(reply.options[&53], [NAK]);
    assert_eq!(reply.options[&61], [9; 255]);
}

#[test]
fn a_lease_is_never_for_ever() {
    let lease = Lease {
        duration: Duration::MAX,
        ..lease()
    };
    let reply = ask_for(lease, &Request::new(DISCOVER)).unwrap();
    assert_eq!(reply.options[&51], [0xff, 0xff, 0xff, 0xfe]);
}

#[test]
fn a_request_cut_at_any_length_is_survived() {
    let frame = Request::new(REQUEST)
        .option(61, &[1, 2, 3, 4, 5, 6, 7])
        .option(50, &ADDRESS)
        .option(12, &[0xff, 0xfe])
        .option(55, &[1, 3, 6])
        .frame();
    let known = directory(lease());
    for length in 0..frame.len() {
        // Cut on the wire: the lengths inside no longer hold.
        assert!(answer(&frame[..length], PORT, &known, |_| true).is_none());
        // Cut by a sender that adjusts them.
        let mut cut = frame[..length].to_vec();
        if length >= 42 {
            cut[16..18].copy_from_slice(&(length as u16 - 14).to_be_bytes());
            cut[38..40].copy_from_slice(&(length as u16 - 34).to_be_bytes());
            if let Some(reply) = answer(&cut, PORT, &known, |_| true) {
                read(&reply);
            }
        }
    }
    // Padding behind the packet is not part of it.
    let mut padded = frame.clone();
    padded.extend([0xaa; 50]);
    let reply = answer(&padded, PORT, &known, |_| true).unwrap();
    assert_eq!(read(&reply).options[&53], [ACK]);
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        prop_assert_eq!(answer(&bytes, PORT, &directory(lease()), |_| true), None);
    }

    #[test]
    fn no_options_do_harm(
        kind in 0u8..20,
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        routed in any::<bool>(),
    ) {
        let mut request = Request::new(kind);
        request.options = bytes;
        let lease = if routed { routed_lease() } else { lease() };
        ask_for(lease, &request);
    }

    #[test]
    fn no_changed_bytes_do_harm(
        changes in proptest::collection::vec((0usize..330, any::<u8>()), 1..12),
    ) {
        let mut frame = Request::new(REQUEST)
            .option(50, &ADDRESS)
            .option(61, &[1, 2, 3])
            .option(55, &[1, 3, 6, 26, 121, 249])
            .frame();
        for (offset, value) in changes {
            let length = frame.len();
            frame[offset % length] = value;
        }
        answer(&frame, PORT, &directory(lease()), |_| true);
    }
}

//! What is advertised, to whom and when. Advertisements are read by a reader of this module's own.

use std::{net::Ipv6Addr, sync::Arc, time::Duration};

use eip_dp_common::abi::LinkKey;
use fastrand::Rng;
use similar_asserts::assert_eq;
use tokio::time::Instant;

use super::{Advertiser, solicitor};
use crate::{
    frame::v6::{Message, parse},
    guests::{Client, Lease6, LeaseTable, Parameters},
};

const PORT_MAC: [u8; 6] = [2, 0, 0, 0, 0xff, 1];

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn guest(last: u8) -> Client {
    Client {
        interface: 7,
        vlan: 0,
        outer: 0,
        mac: [2, 0, 0, 0, 0, last],
    }
}

fn lease() -> Lease6 {
    Lease6 {
        address: ip("fd00::5"),
        on_link: Some("fd00::/64".parse().unwrap()),
        autonomous: false,
        mtu: 1450,
        dns: vec![ip("2001:db8::53"), ip("2001:db8::54")],
        site: Arc::default(),
        duration: Duration::from_hours(1),
        server: [0; 18],
        port_mac: PORT_MAC,
    }
}

fn routed_lease() -> Lease6 {
    Lease6 {
        address: ip("2001:db8:1::9"),
        on_link: None,
        dns: vec![],
        ..lease()
    }
}

fn directory<const N: usize>(leases: [(Client, Lease6); N]) -> Arc<LeaseTable> {
    Arc::new(LeaseTable {
        leases6: leases.into(),
        ..LeaseTable::default()
    })
}

/// An advertisement, as it is read off the wire.
#[derive(Clone, Debug, Default, PartialEq)]
struct Advertisement {
    /// To which node; `None`: to all.
    to: Option<Ipv6Addr>,
    /// The link-local address that it comes from, by the port's MAC's last byte.
    from: u8,
    lifetime: u16,
    /// Prefixes, in words what they are for if not for the link alone, and their lifetimes.
    prefixes: Vec<(String, u32)>,
    /// Name servers, and for how long.
    dns: Vec<(Ipv6Addr, u32)>,
    /// The search list as it is, for as long as the router.
    search: Vec<u8>,
}

fn read(frame: &[u8]) -> Advertisement {
    let received = parse(frame).unwrap();
    let Message::Icmp(message) = received.message else {
        panic!("no ICMPv6 message with a checksum that is right");
    };
    assert_eq!(received.hop_limit, 255);
    assert_eq!(received.mac[..5], PORT_MAC[..5]);
    let from = received.mac[5];
    let router = format!("fe80::ff:fe00:ff{from:02x}");
    assert_eq!(received.source, ip(&router));
    let long = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
    // Type 134, code 0; hop limit 64, M and O; reachable and retransmission time left to the guest.
    assert_eq!(message[..2], [134, 0]);
    assert_eq!(message[4..6], [64, 0xc0]);
    assert_eq!(message[8..16], [0; 8]);
    let mut advertisement = Advertisement {
        to: Some(received.destination).filter(|address| !address.is_multicast()),
        from,
        lifetime: u16::from_be_bytes([message[6], message[7]]),
        ..Advertisement::default()
    };
    if advertisement.to.is_none() {
        assert_eq!(received.destination, ip("ff02::1"));
    }
    let mut seen = Vec::new();
    let mut rest = &message[16..];
    while !rest.is_empty() {
        let (option, after) = rest.split_at(usize::from(rest[1]) * 8);
        let address =
            |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&option[at..at + 16]).unwrap());
        match option[0] {
            1 => assert_eq!(option[2..], received.mac),
            5 => assert_eq!(option[2..], [0, 0, 0, 0, 5, 0xaa]),
            3 => {
                assert_eq!(option.len(), 32);
                assert_eq!(option[4..8], option[8..12]);
                assert_eq!(option[12..16], [0; 4]);
                let end = match option[3] {
                    0x80 => "",
                    0xc0 => " and to make an address of",
                    0x40 => " only to make an address of",
                    flags => panic!("flags {flags:#x}"),
                };
                let prefix = format!("{}/{}{end}", address(16), option[2]);
                advertisement.prefixes.push((prefix, long(&option[4..])));
            }
            25 => {
                for at in (8..option.len()).step_by(16) {
                    advertisement.dns.push((address(at), long(&option[4..])));
                }
            }
            31 => {
                advertisement.search = option[8..].to_vec();
                assert_eq!(long(&option[4..]), u32::from(advertisement.lifetime));
            }
            kind => panic!("option {kind}"),
        }
        seen.push(option[0]);
        rest = after;
    }
    assert!(seen.starts_with(&[1, 5]), "{seen:?}");
    advertisement
}

/// To all nodes, as long as `lease` holds.
fn served() -> Advertisement {
    Advertisement {
        to: None,
        from: 1,
        lifetime: 9000,
        prefixes: vec![("fd00::/64".to_owned(), 9000)],
        dns: lease().dns.into_iter().map(|dns| (dns, 9000)).collect(),
        search: vec![],
    }
}

/// The last words of a router.
fn over() -> Advertisement {
    Advertisement {
        lifetime: 0,
        prefixes: vec![("fd00::/64".to_owned(), 0)],
        dns: lease().dns.into_iter().map(|dns| (dns, 0)).collect(),
        ..served()
    }
}

fn routed() -> Advertisement {
    Advertisement {
        prefixes: vec![],
        dns: vec![],
        ..served()
    }
}

struct Test {
    advertiser: Advertiser,
    start: Instant,
}

impl Test {
    fn new() -> Self {
        Self {
            advertiser: Advertiser::new(Rng::with_seed(4)),
            start: Instant::now(),
        }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    fn follow<const N: usize>(&mut self, seconds: f64, leases: [(Client, Lease6); N]) {
        self.advertiser.follow(&directory(leases), self.at(seconds));
    }

    fn solicit(&mut self, seconds: f64, source: &str) {
        let now = self.at(seconds);
        self.advertiser.answer(guest(1), ip(source), now);
    }

    /// Everything that is sent until then, with its time.
    fn until(&mut self, seconds: f64) -> Vec<(f64, Advertisement)> {
        let mut sent = Vec::new();
        while let Some(due) = self.advertiser.next_due()
            && due <= self.at(seconds)
        {
            let (port, frame) = self.advertiser.pop(due).unwrap();
            assert_eq!(port, LinkKey::untagged(7));
            assert_eq!(frame[..5], guest(0).mac[..5], "to the guest alone");
            sent.push(((due - self.start).as_secs_f64(), read(&frame)));
        }
        sent
    }
}

fn contents(sent: &[(f64, Advertisement)]) -> Vec<Advertisement> {
    sent.iter().map(|(_, sent)| sent.clone()).collect()
}

#[test]
fn a_new_guest_is_told_at_once_and_soon_again_and_then_now_and_then() {
    let mut test = Test::new();
    test.follow(0.0, [(guest(1), lease())]);
    let sent = test.until(7200.0);
    assert_eq!(sent[0], (0.0, served()));
    assert!(sent.iter().all(|(_, sent)| *sent == served()));
    let distances: Vec<f64> = sent.windows(2).map(|two| two[1].0 - two[0].0).collect();
    assert_eq!(distances[..2], [16.0, 16.0]);
    assert!(
        distances[2..]
            .iter()
            .all(|one| (198.0..=600.0).contains(one))
    );
    assert!(distances.len() > 12, "{distances:?}");
    let (shortest, longest) = distances[2..]
        .iter()
        .fold((600.0_f64, 0.0_f64), |(low, high), one| {
            (low.min(*one), high.max(*one))
        });
    assert!(longest - shortest > 60.0, "not in step: {distances:?}");
}

#[test]
fn a_solicitation_is_answered_soon_to_whom_asked() {
    let mut test = Test::new();
    test.follow(0.0, [(guest(1), lease())]);
    assert_eq!(test.until(10.0).len(), 1);
    test.solicit(10.0, "fe80::1:2");
    test.solicit(10.1, "fe80::1:2");
    let sent = test.until(15.9);
    let answer = Advertisement {
        to: Some(ip("fe80::1:2")),
        ..served()
    };
    assert_eq!(contents(&sent), [answer], "one answer to both");
    assert!((10.0..=10.5).contains(&sent[0].0), "{sent:?}");
    assert_eq!(test.until(17.0), [(16.0, served())], "those to all go on");
}

#[test]
fn a_guest_without_an_address_is_answered_with_what_goes_to_all_and_not_too_often() {
    let mut test = Test::new();
    test.follow(0.0, [(guest(1), lease())]);
    test.until(200.0);
    test.solicit(200.0, "::");
    let sent = test.until(200.5);
    assert_eq!(contents(&sent), [served()]);
    let first = sent[0].0;
    for tenth in 0..20_u8 {
        test.solicit(201.0 + f64::from(tenth) / 10.0, "::");
    }
    let sent = test.until(204.5);
    assert_eq!(contents(&sent), [served()]);
    assert!(sent[0].0 - first > 2.999, "{first} {sent:?}");
}

#[test]
fn who_is_not_served_any_more_is_told_so_and_then_nothing() {
    let mut test = Test::new();
    test.follow(0.0, [(guest(1), lease()), (guest(2), lease())]);
    assert_eq!(test.until(10.0).len(), 2);
    test.follow(10.0, []);
    test.solicit(10.0, "fe80::1:2");
    let sent = test.until(86400.0);
    let times: Vec<f64> = sent.iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [10.0, 10.0, 13.0, 13.0, 16.0, 16.0]);
    assert!(sent.iter().all(|(_, sent)| *sent == over()));
    assert!(test.advertiser.next_due().is_none());

    // Stranded so soon that the first advertisement has just gone out, and served again before the
    // last words.
    test.follow(20.0, [(guest(1), lease())]);
    assert_eq!(test.until(20.0), [(20.0, served())]);
    test.follow(21.0, []);
    assert_eq!(test.until(23.0), [(23.0, over())]);
    test.follow(24.0, [(guest(1), lease())]);
    assert_eq!(test.until(30.0), [(26.0, served())]);
}

#[test]
fn a_prefix_that_left_the_link_is_taken_back() {
    let mut test = Test::new();
    test.follow(0.0, [(guest(1), lease())]);
    test.until(100.0);
    test.follow(100.0, [(guest(1), routed_lease())]);
    test.follow(100.0, [(guest(1), routed_lease())]);
    let taken_back = Advertisement {
        prefixes: vec![("fd00::/64".to_owned(), 0)],
        ..routed()
    };
    let sent = test.until(400.0);
    assert_eq!(sent[0], (100.0, taken_back.clone()));
    assert_eq!(contents(&sent[1..3]), [taken_back.clone(), taken_back]);
    // Every one after the first three is without it.
    assert_eq!(contents(&test.until(1100.0))[1..2], [routed()]);
}

#[test]
fn a_guest_is_told_where_it_may_make_its_address_itself_and_where_no_longer() {
    let autonomous = Lease6 {
        autonomous: true,
        ..lease()
    };
    let prefix = |text: &str, lifetime| (format!("fd00::/64{text}"), lifetime);
    let mut test = Test::new();
    test.follow(0.0, [(guest(1), autonomous.clone())]);
    let both = prefix(" and to make an address of", 9000);
    assert_eq!(test.until(0.0)[0].1.prefixes, std::slice::from_ref(&both));
    // Its address is another one by now: what it has made is not to be used for anything new.
    test.follow(100.0, [(guest(1), lease())]);
    let sent = test.until(99.9 + 16.0 + 16.0);
    let expected = [prefix("", 9000), prefix(" only to make an address of", 0)];
    assert_eq!(sent.last().unwrap().1.prefixes, expected);
    // And back.
    test.follow(200.0, [(guest(1), autonomous.clone())]);
    assert_eq!(test.until(203.0).last().unwrap().1.prefixes, [both]);
    // The prefix is gone with all that it was for.
    test.follow(300.0, [(guest(1), routed_lease())]);
    let gone = prefix(" and to make an address of", 0);
    assert_eq!(
        test.until(303.0).last().unwrap().1.prefixes,
        std::slice::from_ref(&gone)
    );
    test.follow(400.0, [(guest(1), autonomous)]);
    test.until(403.0);
    test.follow(410.0, []);
    assert_eq!(test.until(413.0).last().unwrap().1.prefixes, [gone]);
}

#[test]
fn the_search_list_is_advertised_or_else_the_domain() {
    let site = |search: &[&str]| {
        Arc::new(Parameters {
            domain: Some("example.org".parse().unwrap()),
            search: search.iter().map(|name| name.parse().unwrap()).collect(),
            ..Parameters::default()
        })
    };
    for (search, expected) in [
        (&[][..], &b"\x07example\x03org\x00\x00\x00\x00"[..]),
        (
            &["a.bc", "d"],
            b"\x01a\x02bc\x00\x01d\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        (&["abcdef"], b"\x06abcdef\x00"),
    ] {
        let mut test = Test::new();
        let site = site(search);
        test.follow(0.0, [(guest(1), Lease6 { site, ..lease() })]);
        let sent = test.until(0.0);
        assert_eq!(sent[0].1.search, expected, "{search:?}");
    }
}

#[test]
fn a_port_with_another_address_is_another_router() {
    let mut test = Test::new();
    test.follow(0.0, [(guest(1), lease())]);
    test.until(100.0);
    let mut moved = lease();
    moved.port_mac[5] = 2;
    test.follow(100.0, [(guest(1), moved)]);
    let sent = contents(&test.until(100.0));
    let new = Advertisement {
        from: 2,
        ..served()
    };
    // The old one says nothing of the prefix, which the guest still has on its link.
    let old = Advertisement {
        prefixes: vec![],
        ..over()
    };
    assert_eq!(sent.len(), 2);
    assert!(sent.contains(&new) && sent.contains(&old), "{sent:#?}");
}

#[test]
fn only_valid_solicitations_count() {
    let link_local = ip("fe80::1:2");
    let bare = [133, 0, 0, 0, 0, 0, 0, 0];
    let with_source = [&bare[..], &[1, 1, 2, 0, 0, 0, 0, 1]].concat();
    let with_nonce = [&bare[..], &[14, 1, 1, 2, 3, 4, 5, 6]].concat();
    let no_length = [&bare[..], &[14, 0, 1, 2, 3, 4, 5, 6]].concat();
    let cut_option = [&bare[..], &[14, 2, 1, 2, 3, 4, 5, 6]].concat();
    let half_option = [&bare[..], &[14]].concat();
    let any = Ipv6Addr::UNSPECIFIED;
    for (what, source, hop_limit, message, valid) in [
        ("from an address", link_local, 255, &bare[..], true),
        (
            "with its Ethernet address",
            link_local,
            255,
            &with_source,
            true,
        ),
        ("without an address", any, 255, &bare, true),
        ("with a nonce", any, 255, &with_nonce, true),
        (
            "an Ethernet address of no one",
            any,
            255,
            &with_source,
            false,
        ),
        ("from far away", link_local, 254, &bare, false),
        (
            "from a global address",
            ip("2001:db8::1"),
            255,
            &bare,
            false,
        ),
        (
            "an option without a length",
            link_local,
            255,
            &no_length,
            false,
        ),
        ("an option that is cut", link_local, 255, &cut_option, false),
        ("half an option", link_local, 255, &half_option, false),
        (
            "another code",
            link_local,
            255,
            &[133, 1, 0, 0, 0, 0, 0, 0],
            false,
        ),
        (
            "another type",
            link_local,
            255,
            &[134, 0, 0, 0, 0, 0, 0, 0],
            false,
        ),
        ("cut", link_local, 255, &bare[..7], false),
    ] {
        let found = solicitor(source, hop_limit, message);
        assert_eq!(found, valid.then_some(source), "{what}");
    }
}

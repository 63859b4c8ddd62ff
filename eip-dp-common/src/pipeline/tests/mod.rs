//! The path over buffers, each property for both address families. What holds of any outcome at all
//! is in [`hold`]; here are the packets, and what has to come of them. The table of cases, byte for
//! byte and against the kernel, is in the `tests` package.

mod corpora;
mod errors;
mod properties;
mod sharing;

use super::Verdict;
use crate::{
    abi::{LinkKey, NONE, Reason},
    family::{V4, V6},
    testing::{
        craft::{Draft, INWARD, Link, asks, echo, icmp_error, outward, transport},
        hold, run, run_fast_path,
        site::{ENIS, Eni, Plan, UPLINK},
        wire::{IP, Ip},
        world,
    },
};

const NAT: u8 = 10;
const CUT_THROUGH: u8 = 20;
/// The ENIs with these EIPs.
const NAT_ENI: &Eni = &ENIS[0];
const CUT_THROUGH_ENI: &Eni = &ENIS[3];

/// A way through the gateway: where a packet enters, between whom, and the EIPs that count it.
struct Route<F: Plan> {
    ifindex: u32,
    link: Link,
    source: F::Address,
    destination: F::Address,
    sender: u32,
    receiver: u32,
    to: u32,
}

/// In and out and from one EIP to another, in both modes.
fn routes<F: Plan>() -> Vec<Route<F>> {
    let (nat, cut_through) = (F::private(NAT), F::public(CUT_THROUGH));
    let (slot, other) = (u32::from(NAT), u32::from(CUT_THROUGH));
    let (a, b) = (NAT_ENI, CUT_THROUGH_ENI);
    let far = F::far(7);
    [
        (None, far, F::public(NAT), NONE, slot, a.port),
        (None, far, cut_through, NONE, other, b.port),
        (Some(a), nat, far, slot, NONE, UPLINK),
        (Some(b), cut_through, far, other, NONE, UPLINK),
        (Some(a), nat, cut_through, slot, other, b.port),
        (Some(b), cut_through, F::public(NAT), other, slot, a.port),
        (Some(a), nat, F::public(11), slot, 11, ENIS[1].port),
        (Some(a), nat, F::public(NAT), slot, slot, a.port),
        // The same private address in another VPC.
        (Some(a), nat, F::public(30), slot, 30, ENIS[4].port),
        (Some(&ENIS[4]), nat, far, 30, NONE, UPLINK),
    ]
    .into_iter()
    .map(|(eni, source, destination, sender, receiver, to)| Route {
        ifindex: eni.map_or(UPLINK, |eni| eni.port),
        link: eni.map_or(INWARD, outward),
        source,
        destination,
        sender,
        receiver,
        to,
    })
    .collect()
}

/// Payloads of every kind, with right checksums, for packets between these.
fn kinds<F: Plan>(source: F::Address, destination: F::Address) -> Vec<Draft<F>> {
    let embedded = [6, 17].map(|protocol| {
        let mut embedded = Draft::<F>::new(
            destination,
            source,
            protocol,
            transport(protocol, b"quoted"),
        );
        embedded.sum();
        icmp_error::<F>(&embedded.packet())
    });
    let transports = [6, 17, 33, 136, 132, 47, 50].map(|it| (it, transport(it, b"payload")));
    let echoes = [true, false].map(|request| echo::<F>(request, b"ping"));
    let payloads = transports.into_iter().chain(echoes).chain(embedded);
    payloads
        .map(|(protocol, payload)| {
            let mut draft = Draft::<F>::new(source, destination, protocol, payload);
            draft.sum();
            draft
        })
        .collect()
}

/// Options that are carried along.
fn options<F: Plan>(protocol: u8) -> Vec<Vec<u8>> {
    if size_of::<F::Address>() == 4 {
        return vec![vec![], vec![0x94, 4, 0, 0], vec![1; 40]];
    }
    let destination_options = [60, protocol, 0, 1, 4, 0, 0, 0, 0];
    let two = [0, 60, 0, 1, 4, 0, 0, 0, 0, protocol, 1, 1, 12];
    let two = [&two[..], &[0; 12]].concat();
    vec![vec![], destination_options.to_vec(), two]
}

fn every_kind_is_delivered<F: Plan>() {
    let world = world();
    for route in routes::<F>() {
        for mut draft in kinds::<F>(route.source, route.destination) {
            for options in options::<F>(draft.protocol) {
                draft.options = options;
                let (outcome, after) = hold(&world, route.ifindex, &draft.frame(route.link));
                let seen = (outcome.verdict, outcome.sender, outcome.receiver);
                assert_eq!(seen, (Verdict::Send, route.sender, route.receiver));
                assert_eq!(outcome.egress.ifindex, route.to);
                let ip = Ip::read(&after, IP, after.len()).expect("a packet");
                let sum = ip.checksum().map_or(0, |checksum| ip.sum(&after, checksum));
                assert_eq!(sum, 0, "right checksums stay right: {draft:?}");
            }
        }
    }
}

#[test]
fn every_kind_is_delivered_by_every_way() {
    every_kind_is_delivered::<V4>();
    every_kind_is_delivered::<V6>();
}

/// What there is most of goes the fast path, between an EIP and the Internet, the pool's own
/// neighbours included.
fn plain_packets_take_the_fast_path<F: Plan>() {
    let world = world();
    let mut bytes = F::bytes(&F::public(7)).to_vec();
    bytes[F::PREFILTERED[1] as usize / 8 - 1] ^= 1;
    let neighbour = F::address(&bytes);
    for (route, outside) in routes::<F>()
        .iter()
        .flat_map(|route| [(route, F::far(7)), (route, neighbour)])
    {
        let end = |address: F::Address| {
            if address == F::far(7) {
                outside
            } else {
                address
            }
        };
        let one_end_is_outside = (route.sender == NONE) != (route.receiver == NONE);
        let (source, destination) = (end(route.source), end(route.destination));
        let (ping, request) = echo::<F>(true, b"ping");
        let payloads = [6, 17, 50].map(|protocol| (protocol, transport(protocol, b"payload")));
        for (protocol, payload) in payloads.into_iter().chain([(ping, request)]) {
            let mut draft = Draft::<F>::new(source, destination, protocol, payload);
            draft.sum();
            let (outcome, _) = run_fast_path(&world, route.ifindex, &draft.frame(route.link));
            let is_sent = outcome.verdict == Verdict::Send;
            assert_eq!(is_sent, one_end_is_outside, "{draft:?}");
        }
    }
}

#[test]
fn most_packets_take_the_fast_path() {
    plain_packets_take_the_fast_path::<V4>();
    plain_packets_take_the_fast_path::<V6>();
}

/// Whatever is cut off a packet, it is delivered whole or not at all.
fn truncated<F: Plan>() {
    let world = world();
    for route in routes::<F>() {
        for mut draft in kinds::<F>(route.source, route.destination) {
            for options in options::<F>(draft.protocol) {
                draft.options = options;
                let whole = draft.frame(route.link);
                for len in 0..whole.len() {
                    let outcome = hold(&world, route.ifindex, &whole[..len]).0;
                    let refused = matches!(
                        outcome.verdict,
                        Verdict::Pass | Verdict::Drop(Reason::Malformed)
                    );
                    assert!(refused, "{len} of {}: {outcome:?}", whole.len());
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_dropped_or_left_alone() {
    truncated::<V4>();
    truncated::<V6>();
}

/// A packet that says itself that it is so short is delivered: as much of it is translated as is
/// there.
fn short<F: Plan>() {
    let world = world();
    for route in routes::<F>() {
        for draft in kinds::<F>(route.source, route.destination) {
            for len in 0..draft.payload.len() {
                let mut short = draft.clone();
                short.payload.truncate(len);
                let outcome = hold(&world, route.ifindex, &short.frame(route.link)).0;
                let cut_quote = matches!(draft.protocol, 1 | 58) && len < 8 + 40;
                match outcome.verdict {
                    Verdict::Send => {}
                    Verdict::Drop(Reason::IcmpQuoteMismatch) if cut_quote => {}
                    other => panic!("{len} bytes: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_payload_of_every_length_is_translated_as_far_as_it_is_there() {
    short::<V4>();
    short::<V6>();
}

/// R8, R9: who asks on a port is told of everybody but its own instance, on the uplink of
/// associated EIPs.
fn neighbours<F: Plan>() {
    let world = world();
    let answers = |ifindex, link, own, wanted| {
        let outcome = hold(&world, ifindex, &asks::<F>(link, own, wanted)).0;
        match outcome.verdict {
            Verdict::Reply => true,
            Verdict::Pass | Verdict::Drop(Reason::ArpIgnored | Reason::SpoofedSource) => false,
            other => panic!("{other:?}"),
        }
    };
    let own = F::private(NAT);
    for (wanted, told) in [(1, true), (20, true), (99, true), (NAT, false), (11, false)] {
        let port = NAT_ENI.port;
        let answered = answers(port, outward(NAT_ENI), own, F::private(wanted));
        assert_eq!(answered, told, "{wanted}");
    }
    // A probe for a duplicate is from nobody.
    let (port, link) = (NAT_ENI.port, outward(NAT_ENI));
    assert!(!answers(port, link, F::UNSPECIFIED, own));
    assert!(answers(port, link, F::UNSPECIFIED, F::private(20)));
    assert!(
        !answers(port, link, F::private(20), F::private(1)),
        "spoofed"
    );
    for (wanted, told) in [(NAT, true), (CUT_THROUGH, true), (60, false), (99, false)] {
        let answered = answers(UPLINK, INWARD, F::far(1), F::public(wanted));
        assert_eq!(answered, told, "{wanted}");
    }
}

#[test]
fn neighbours_are_told_of_whom_the_gateway_answers_for() {
    neighbours::<V4>();
    neighbours::<V6>();
}

/// T8: such fragments are dropped where they would have to be translated.
fn tiny<F: Plan>() {
    let world = world();
    let (more, second) = if size_of::<F::Address>() == 4 {
        (0x2000, 1)
    } else {
        (1, 8)
    };
    for route in routes::<F>() {
        for (fragment, length) in [(more, 8), (more, 16), (second, 16)] {
            let (source, destination) = (route.source, route.destination);
            let mut draft = Draft::<F>::new(source, destination, 6, vec![0; length]);
            draft.fragment = fragment;
            let outcome = hold(&world, route.ifindex, &draft.frame(route.link)).0;
            let cut_through = F::public(CUT_THROUGH);
            let translated = route.source != cut_through && route.destination != cut_through
                || route.sender == u32::from(NAT)
                || route.receiver == u32::from(NAT);
            let expected = if translated {
                Verdict::Drop(Reason::TinyFragment)
            } else {
                Verdict::Send
            };
            assert_eq!(outcome.verdict, expected);
        }
    }
}

#[test]
fn tiny_fragments_are_not_translated() {
    tiny::<V4>();
    tiny::<V6>();
}

/// R6: padding is none of the packet, and does not keep it from a link that is too small for both.
fn padded<F: Plan>() {
    let world = world();
    for (length, padding, kept) in [(1280, 200, false), (1280, 1, false), (1000, 280, true)] {
        let mut draft = Draft::<F>::new(F::far(7), F::public(70), 47, vec![]);
        draft.payload.resize(length - draft.packet().len(), 7);
        let packet = draft.frame(INWARD);
        let (outcome, after) = hold(&world, UPLINK, &[&packet[..], &vec![1; padding]].concat());
        assert_eq!(outcome.verdict, Verdict::Send);
        let expected = packet.len() + if kept { padding } else { 0 };
        assert_eq!(after.len(), expected, "{length} and {padding}");
    }
}

#[test]
fn padding_is_none_of_the_packet() {
    padded::<V4>();
    padded::<V6>();
}

/// A record that is another's, or half another's, is never acted upon: the packet is dropped,
/// untouched.
#[test]
fn a_table_that_changes_under_a_packet_drops_it_untouched() {
    let mut torn = world();
    let uplink = torn.uplinks.values_mut().next().expect("there");
    uplink.next_hop4[0] ^= 1;
    let port = LinkKey::untagged(NAT_ENI.port);
    torn.ports.get_mut(&port).expect("there").vpc += 1;
    let draft = Draft::<V4>::new(V4::far(7), V4::public(NAT), 47, vec![1]);
    let frames = [
        (UPLINK, draft.frame(INWARD)),
        (
            UPLINK,
            Draft::<V6>::new(V6::far(7), V6::public(NAT), 47, vec![1]).frame(INWARD),
        ),
        (
            NAT_ENI.port,
            Draft::<V4>::new(V4::private(NAT), V4::far(7), 47, vec![1]).frame(outward(NAT_ENI)),
        ),
    ];
    for (ifindex, frame) in frames {
        let (outcome, after) = run(&torn, ifindex, &frame);
        assert_eq!(outcome.verdict, Verdict::Drop(Reason::TableBusy));
        assert_eq!(after, frame);
    }
}

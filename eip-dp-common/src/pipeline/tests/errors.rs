//! ICMP errors: those that pass through, and those of the gateway's own.

use super::*;
use crate::pipeline::Outcome;

/// ICMP errors about every kind of packet, with each length of quotation, behind each option, and
/// with extensions.
fn quotations<F: Plan>() {
    let world = world();
    let header = if size_of::<F::Address>() == 4 { 20 } else { 40 };
    for route in routes::<F>() {
        for mut embedded in kinds::<F>(route.destination, route.source) {
            for options in options::<F>(embedded.protocol) {
                embedded.options = options;
                let whole = embedded.packet();
                let longest = [&whole[..], &[0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 2, 3]].concat();
                for len in header..=longest.len() {
                    let (protocol, payload) = icmp_error::<F>(&longest[..len]);
                    let (source, destination) = (route.source, route.destination);
                    let mut draft = Draft::<F>::new(source, destination, protocol, payload);
                    draft.sum();
                    let outcome = hold(&world, route.ifindex, &draft.frame(route.link)).0;
                    // Without the whole of its options an IPv4 header is not a whole one.
                    let cut = header == 20 && len < 20 + embedded.options.len();
                    match outcome.verdict {
                        Verdict::Send => {}
                        Verdict::Drop(Reason::IcmpQuoteMismatch) if cut => {}
                        other => panic!("{len} bytes embedded: {other:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn icmp_errors_are_translated_at_every_quote_length() {
    quotations::<V4>();
    quotations::<V6>();
}

/// RFC 4884: what follows a short packet is not its transport checksum.
fn extended<F: Plan>() {
    let world = world();
    for route in routes::<F>() {
        for protocol in [6, 17] {
            let (source, destination) = (route.destination, route.source);
            let mut embedded = Draft::<F>::new(source, destination, protocol, vec![1; 4]).packet();
            embedded.extend([0x20; 40]);
            let (protocol, payload) = icmp_error::<F>(&embedded);
            let mut draft = Draft::<F>::new(route.source, route.destination, protocol, payload);
            draft.sum();
            let outcome = hold(&world, route.ifindex, &draft.frame(route.link)).0;
            assert_eq!(outcome.verdict, Verdict::Send);
        }
    }
}

#[test]
fn extensions_behind_a_short_quotation_are_left_alone() {
    extended::<V4>();
    extended::<V6>();
}

/// A guest with an EIP cannot tell the Internet of its neighbours' private addresses, not in a
/// quotation either.
fn foreign_quotation<F: Plan>() {
    let world = world();
    for (source, destination) in [(11, NAT), (NAT, 11)] {
        let embedded = Draft::<F>::new(
            F::private(source),
            F::private(destination),
            17,
            transport(17, b""),
        );
        let (protocol, payload) = icmp_error::<F>(&embedded.packet());
        let mut draft = Draft::<F>::new(F::private(NAT), F::far(7), protocol, payload);
        draft.sum();
        let (outcome, _) = hold(&world, NAT_ENI.port, &draft.frame(outward(NAT_ENI)));
        assert_eq!(
            outcome.verdict,
            Verdict::Drop(Reason::IcmpQuoteMismatch),
            "quoted from {source}"
        );
    }
}

#[test]
fn a_quotation_of_another_packet_never_leaves() {
    foreign_quotation::<V4>();
    foreign_quotation::<V6>();
}

/// A packet whose hop limit ends here, and one that is too long, is answered once, whatever it is,
/// unless it is an ICMP error.
fn own_errors<F: Plan>() {
    let world = world();
    for route in routes::<F>() {
        for mut draft in kinds::<F>(route.source, route.destination) {
            let is_error = draft.payload.windows(6).any(|window| window == b"quoted");
            for hop in [0, 1] {
                draft.hop = hop;
                let outcome = hold(&world, route.ifindex, &draft.frame(route.link)).0;
                expect_told(&outcome, Reason::TtlExceeded, is_error);
            }
            draft.hop = 64;
            if size_of::<F::Address>() == 4 {
                draft.fragment = 0x4000;
            }
            for length in [1480, 1481, 2000, 9000] {
                draft.payload.resize(length, 7);
                let outcome = hold(&world, route.ifindex, &draft.frame(route.link)).0;
                if draft.packet().len() <= 1500 {
                    assert_eq!(outcome.verdict, Verdict::Send);
                } else {
                    expect_told(&outcome, Reason::TooBig, is_error);
                }
            }
        }
    }
}

fn expect_told(outcome: &Outcome, reason: Reason, is_error: bool) {
    let expected = if is_error {
        Verdict::Drop(reason)
    } else {
        Verdict::IcmpError(reason)
    };
    assert_eq!(outcome.verdict, expected);
}

#[test]
fn senders_are_told_of_what_ends_here() {
    own_errors::<V4>();
    own_errors::<V6>();
}

/// R4: only IPv4 has packets that routers cut, whichever way they go, and up to a length.
#[test]
fn what_may_be_cut_is_cut_on_every_way() {
    let world = world();
    for route in routes::<V4>() {
        for (length, expected) in [
            (2_000, Verdict::Fragment),
            (9_000, Verdict::Fragment),
            (9_300, Verdict::IcmpError(Reason::TooBig)),
        ] {
            let payload = transport(17, &vec![7; length]);
            let mut draft = Draft::<V4>::new(route.source, route.destination, 17, payload);
            draft.sum();
            let outcome = hold(&world, route.ifindex, &draft.frame(route.link)).0;
            assert_eq!(outcome.verdict, expected);
        }
    }
}

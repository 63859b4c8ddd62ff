//! VLANs (T16): ports and an uplink that are a VLAN of an interface.

use anyhow::Result;
use eip_dp_tests::lab::{
    case::{
        Case,
        Expect::{self, Arrives, Dropped, ToTheHost},
        INTERNET_SIDE, OUTSIDE,
    },
    trunk::{INTERNET_100, OUTSIDE6, Trunk},
};

#[test]
fn packets_go_between_vlans_as_between_ports() -> Result<()> {
    Trunk::new(false)?.bench()?.run(&between_vlans())
}

#[test]
fn packets_go_between_vlans_likewise_where_ports_take_xdp_frames() -> Result<()> {
    Trunk::new(true)?.bench()?.run(&between_vlans())
}

/// A way through the gateway, as `e2e_rewrite` has them, and the TTL that arrives.
type Way = (
    &'static str,
    &'static str,
    [&'static str; 2],
    &'static str,
    [&'static str; 2],
    u8,
);

#[rustfmt::skip] // A table: a row a line.
const WAYS: [Way; 30] = [
    ("in to a VLAN", INTERNET_SIDE, [OUTSIDE, "203.0.113.30"], "vlan7", [OUTSIDE, "10.0.0.10"], 63),
    ("in to a VLAN", INTERNET_SIDE, [OUTSIDE6, "2001:db8:cb::30"], "vlan7", [OUTSIDE6, "fd00:10::10"], 63),
    ("in to a VLAN, cut-through", INTERNET_SIDE, [OUTSIDE, "203.0.113.31"], "vlan8", [OUTSIDE, "203.0.113.31"], 63),
    ("in to a VLAN, cut-through", INTERNET_SIDE, [OUTSIDE6, "2001:db8:cb::31"], "vlan8", [OUTSIDE6, "2001:db8:cb::31"], 63),
    ("in beside VLANs", INTERNET_SIDE, [OUTSIDE, "203.0.113.32"], "untagged", [OUTSIDE, "10.0.0.10"], 63),
    ("in beside VLANs", INTERNET_SIDE, [OUTSIDE6, "2001:db8:cb::32"], "untagged", [OUTSIDE6, "fd00:10::10"], 63),
    ("in from a VLAN", INTERNET_100, [OUTSIDE, "203.0.113.10"], "a1", [OUTSIDE, "10.0.0.10"], 63),
    ("in from a VLAN", INTERNET_100, [OUTSIDE6, "2001:db8:cb::10"], "a1", [OUTSIDE6, "fd00:10::10"], 63),
    ("in from a VLAN, cut-through", INTERNET_100, [OUTSIDE, "203.0.113.20"], "b2", [OUTSIDE, "203.0.113.20"], 63),
    ("in from a VLAN, cut-through", INTERNET_100, [OUTSIDE6, "2001:db8:cb::20"], "b2", [OUTSIDE6, "2001:db8:cb::20"], 63),
    ("in from VLAN to VLAN", INTERNET_100, [OUTSIDE, "203.0.113.30"], "vlan7", [OUTSIDE, "10.0.0.10"], 63),
    ("in from VLAN to VLAN", INTERNET_100, [OUTSIDE6, "2001:db8:cb::30"], "vlan7", [OUTSIDE6, "fd00:10::10"], 63),
    ("in from VLAN to VLAN, cut-through", INTERNET_100, [OUTSIDE, "203.0.113.31"], "vlan8", [OUTSIDE, "203.0.113.31"], 63),
    ("out from a VLAN", "vlan7", ["10.0.0.10", OUTSIDE], INTERNET_SIDE, ["203.0.113.30", OUTSIDE], 63),
    ("out from a VLAN", "vlan7", ["fd00:10::10", OUTSIDE6], INTERNET_SIDE, ["2001:db8:cb::30", OUTSIDE6], 63),
    ("out from a VLAN, cut-through", "vlan8", ["203.0.113.31", OUTSIDE], INTERNET_SIDE, ["203.0.113.31", OUTSIDE], 63),
    ("out from a VLAN, cut-through", "vlan8", ["2001:db8:cb::31", OUTSIDE6], INTERNET_SIDE, ["2001:db8:cb::31", OUTSIDE6], 63),
    ("out beside VLANs", "untagged", ["10.0.0.10", OUTSIDE], INTERNET_SIDE, ["203.0.113.32", OUTSIDE], 63),
    ("out beside VLANs", "untagged", ["fd00:10::10", OUTSIDE6], INTERNET_SIDE, ["2001:db8:cb::32", OUTSIDE6], 63),
    ("from a VLAN to the same wire untagged", "vlan7", ["10.0.0.10", "203.0.113.32"], "untagged", ["203.0.113.30", "10.0.0.10"], 63),
    ("from a VLAN to the same wire untagged", "vlan7", ["fd00:10::10", "2001:db8:cb::32"], "untagged", ["2001:db8:cb::30", "fd00:10::10"], 63),
    ("from the untagged wire to a VLAN", "untagged", ["10.0.0.10", "203.0.113.30"], "vlan7", ["203.0.113.32", "10.0.0.10"], 63),
    ("from the untagged wire to a VLAN", "untagged", ["fd00:10::10", "2001:db8:cb::30"], "vlan7", ["2001:db8:cb::32", "fd00:10::10"], 63),
    ("from VLAN to VLAN, cut-through to NAT", "vlan8", ["203.0.113.31", "203.0.113.30"], "vlan7", ["203.0.113.31", "10.0.0.10"], 63),
    ("from VLAN to VLAN, NAT to cut-through", "vlan7", ["fd00:10::10", "2001:db8:cb::31"], "vlan8", ["2001:db8:cb::30", "2001:db8:cb::31"], 63),
    ("to its own EIP", "vlan7", ["10.0.0.10", "203.0.113.30"], "vlan7", ["203.0.113.30", "10.0.0.10"], 63),
    ("from a VLAN to another port", "vlan7", ["10.0.0.10", "203.0.113.11"], "a2", ["203.0.113.30", "10.0.0.11"], 63),
    ("from another port to a VLAN", "a1", ["fd00:10::10", "2001:db8:cb::30"], "vlan7", ["2001:db8:cb::10", "fd00:10::10"], 63),
    ("private, from VLAN to VLAN", "vlan7", ["10.0.0.10", "10.0.0.20"], "vlan9", ["10.0.0.10", "10.0.0.20"], 64),
    ("private, from VLAN to VLAN", "vlan9", ["fd00:10::20", "fd00:10::10"], "vlan7", ["fd00:10::20", "fd00:10::10"], 64),
];

const DATAGRAM: &str = "I()/UDP(sport=5000,dport=53)/b'payload'";

/// What is carried over VLANs: each kind of header work, a small packet and the largest.
const CARRIED: [&str; 3] = [
    DATAGRAM,
    "I()/TCP(sport=5000,dport=80,flags='PA',seq=1,ack=2)/b'payload of odd length'",
    "I()/UDP(sport=5000,dport=53)/(b'x'*(1452 if ':' in S else 1472))",
];

fn case(id: &str, from: &'static str, sent: [&'static str; 2], expect: Expect) -> Case {
    Case {
        id: id.to_owned(),
        from,
        packet: DATAGRAM,
        sent,
        expect,
    }
}

#[rustfmt::skip] // A table: a row a line.
fn between_vlans() -> Vec<Case> {
    let mut cases = Vec::new();
    for (way, from, sent, at, got, ttl) in WAYS {
        for packet in CARRIED {
            let id = format!("T16 {way}: {packet}");
            cases.push(Case { packet, ..case(&id, from, sent, Arrives(at, got, ttl)) });
        }
    }
    let net = INTERNET_100;
    cases.extend([
        case("T16 O3 in a VLAN", net, [OUTSIDE, "203.0.113.99"], Dropped("no-association")),
        case("T16 O4 in a VLAN", net, [OUTSIDE, "192.0.2.77"], ToTheHost),
        case("T16 O8 in a VLAN", "vlan9", ["10.0.0.20", OUTSIDE], Dropped("no-eip")),
        case("T16 O9 of another VLAN", "vlan9", ["10.0.0.10", OUTSIDE], Dropped("spoofed-source")),
        case("T16 O10 in a VLAN", "vlan8", ["10.0.0.11", "10.0.0.20"], Dropped("private-network-off")),
        case("T16 O11 in a VLAN", "vlan7", ["10.0.0.10", "10.0.0.77"], Dropped("no-such-eni")),
        case("T16 O15 in a VLAN", net, ["203.0.113.30", "203.0.113.10"], Dropped("martian")),
    ]);
    cases
}

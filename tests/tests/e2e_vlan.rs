//! VLANs (T16): ports and an uplink that are a VLAN of an interface.

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    capture::Frame,
    case::{
        Bench, Case,
        Expect::{self, Arrives, Dropped, ToTheHost},
        INTERNET_SIDE, OUTSIDE,
    },
    frames,
    scene::{Options, Scene},
    topology::{GATEWAY_MAC, INTERNET_MAC, UPLINK},
    trunk::{INTERNET_30_100, INTERNET_100, OUTSIDE6, TRUNK, TRUNK_ENIS, Trunk},
};
use eip_dp_user::model::Vlan;

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

#[rustfmt::skip] // A table: a row a line.
const STACK_WAYS: [Way; 20] = [
    ("in to a stack", INTERNET_SIDE, [OUTSIDE, "203.0.113.33"], "stack20", [OUTSIDE, "10.0.0.20"], 63),
    ("in to a stack", INTERNET_SIDE, [OUTSIDE6, "2001:db8:cb::33"], "stack20", [OUTSIDE6, "fd00:10::20"], 63),
    ("in to a stack, cut-through", INTERNET_SIDE, [OUTSIDE, "203.0.113.34"], "stack21", [OUTSIDE, "203.0.113.34"], 63),
    ("in to a stack, cut-through", INTERNET_SIDE, [OUTSIDE6, "2001:db8:cb::34"], "stack21", [OUTSIDE6, "2001:db8:cb::34"], 63),
    ("in from a stack", INTERNET_30_100, [OUTSIDE, "203.0.113.10"], "a1", [OUTSIDE, "10.0.0.10"], 63),
    ("in from a stack", INTERNET_30_100, [OUTSIDE6, "2001:db8:cb::10"], "a1", [OUTSIDE6, "fd00:10::10"], 63),
    ("in from a stack to a VLAN", INTERNET_30_100, [OUTSIDE, "203.0.113.30"], "vlan7", [OUTSIDE, "10.0.0.10"], 63),
    ("in from a VLAN to a stack", INTERNET_100, [OUTSIDE6, "2001:db8:cb::33"], "stack20", [OUTSIDE6, "fd00:10::20"], 63),
    ("in from stack to stack", INTERNET_30_100, [OUTSIDE, "203.0.113.33"], "stack20", [OUTSIDE, "10.0.0.20"], 63),
    ("in from stack to stack, cut-through", INTERNET_30_100, [OUTSIDE6, "2001:db8:cb::34"], "stack21", [OUTSIDE6, "2001:db8:cb::34"], 63),
    ("out from a stack", "stack20", ["10.0.0.20", OUTSIDE], INTERNET_SIDE, ["203.0.113.33", OUTSIDE], 63),
    ("out from a stack", "stack20", ["fd00:10::20", OUTSIDE6], INTERNET_SIDE, ["2001:db8:cb::33", OUTSIDE6], 63),
    ("out from a stack, cut-through", "stack21", ["203.0.113.34", OUTSIDE], INTERNET_SIDE, ["203.0.113.34", OUTSIDE], 63),
    ("from a stack to its inner VLAN alone", "stack20", ["10.0.0.20", "203.0.113.30"], "vlan7", ["203.0.113.33", "10.0.0.10"], 63),
    ("from a VLAN to it within another", "vlan7", ["fd00:10::10", "2001:db8:cb::33"], "stack20", ["2001:db8:cb::30", "fd00:10::20"], 63),
    ("from stack to stack", "stack20", ["10.0.0.20", "203.0.113.34"], "stack21", ["203.0.113.33", "203.0.113.34"], 63),
    ("from a stack to its own EIP", "stack20", ["fd00:10::20", "2001:db8:cb::33"], "stack20", ["2001:db8:cb::33", "fd00:10::20"], 63),
    ("from a stack to another port", "stack20", ["10.0.0.20", "203.0.113.11"], "a2", ["203.0.113.33", "10.0.0.11"], 63),
    ("private, from a stack to the untagged wire", "stack20", ["10.0.0.20", "10.0.0.10"], "untagged", ["10.0.0.20", "10.0.0.10"], 64),
    ("private, from the untagged wire to a stack", "untagged", ["fd00:10::10", "fd00:10::20"], "stack20", ["fd00:10::10", "fd00:10::20"], 64),
];

const DATAGRAM: &str = "I()/UDP(sport=5000,dport=53)/b'payload'";

/// What is carried over VLANs: each kind of header work, a small packet and the largest.
const CARRIED: [&str; 3] = [
    DATAGRAM,
    "I()/TCP(sport=5000,dport=80,flags='PA',seq=1,ack=2)/b'payload of odd length'",
    "I()/UDP(sport=5000,dport=53)/(b'x'*(1452 if ':' in S else 1472))",
];

/// One that is as large as it gets, and may not be cut.
const WHOLE: &str = "I(flags='DF')/UDP(sport=5000,dport=53)/(b'x'*1472)";

/// Likewise over a VLAN within another: the second tag is part of the MTU.
const CARRIED_IN_A_STACK: [&str; 3] = [
    CARRIED[0],
    CARRIED[1],
    "I()/UDP(sport=5000,dport=53)/(b'x'*(1448 if ':' in S else 1468))",
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
    let ways = WAYS.iter().map(|way| (way, CARRIED));
    let stacks = STACK_WAYS.iter().map(|way| (way, CARRIED_IN_A_STACK));
    for (&(way, from, sent, at, got, ttl), carried) in ways.chain(stacks) {
        for packet in carried {
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
        case("T16 O3 in a stack", INTERNET_30_100, [OUTSIDE, "203.0.113.99"], Dropped("no-association")),
        case("T16 O4 in a stack", INTERNET_30_100, [OUTSIDE, "192.0.2.77"], ToTheHost),
        case("T16 O9 of the inner VLAN alone", "stack21", ["10.0.0.10", OUTSIDE], Dropped("spoofed-source")),
        case("T16 O10 in a stack", "stack21", ["10.0.0.21", "10.0.0.10"], Dropped("private-network-off")),
        case("T16 O11 in a stack", "stack20", ["10.0.0.20", "10.0.0.77"], Dropped("no-such-eni")),
        Case { packet: WHOLE, ..case("T16 R3 to a stack", "vlan7", ["10.0.0.10", "203.0.113.33"], Dropped("too-big")) },
        case("T16 O15 in a VLAN", net, ["203.0.113.30", "203.0.113.10"], Dropped("martian")),
    ]);
    cases
}

/// Tags that are none of ours, and the reason that a frame with them is dropped for on a port; on
/// an uplink the host has it.
const OTHER_TAGS: [(&str, &str); 7] = [
    ("Dot1Q(vlan=55)", "no-port"),
    ("Dot1AD(vlan=VLAN)", "no-port"),
    ("Dot1AD(vlan=VLAN)/Dot1Q(vlan=VLAN)", "no-port"),
    ("Dot1AD(vlan=30)/Dot1Q(vlan=55)", "no-port"),
    ("Dot1AD(vlan=20)/Dot1AD(vlan=VLAN)", "no-port"),
    ("Dot1Q(vlan=20)/Dot1Q(vlan=VLAN)", "no-port"),
    ("Dot1Q(vlan=VLAN)/Dot1Q(vlan=VLAN)", "unsupported-ethertype"),
];

#[test]
#[rustfmt::skip] // A table: a row a line.
fn frames_of_no_vlan_of_ours_go_nowhere() -> Result<()> {
    const MARK: &[u8] = b"of no VLAN of ours";
    let trunk = Trunk::new(false)?;
    let gateway = &trunk.scene.gateway;
    let bench = trunk.bench()?;
    let port = trunk.scene.mac_of(TRUNK)?;
    let sides = [
        (INTERNET_100, 100, INTERNET_MAC, GATEWAY_MAC, [OUTSIDE, "203.0.113.10"]),
        ("vlan7", 7, TRUNK_ENIS[0].mac, port.as_str(), ["10.0.0.10", OUTSIDE]),
    ];
    let before = gateway.all_dropped()?;
    let mut drops = 0;
    let frame_of = |(_, vlan, own, to, [source, destination]): (_, u16, &str, &str, [&str; 2]), tags: &str| {
        let tags = tags.replace("VLAN", &vlan.to_string());
        format!(
            "Ether(src='{own}',dst='{to}')/{tags}/IP(src='{source}',dst='{destination}')/UDP()/b'of no VLAN of ours'"
        )
    };
    let rows: Vec<_> = sides
        .iter()
        .flat_map(|side| OTHER_TAGS.iter().map(move |other| (*side, other)))
        .collect();
    let expressions: Vec<_> = rows.iter().map(|(side, (tags, _))| frame_of(*side, tags)).collect();
    for (((side, ..), (_, reason)), frame) in rows.iter().zip(frames::build("", &expressions)?) {
        let counted = gateway.dropped(reason)?;
        bench.capture(side)?.send(&frame)?;
        if *side != INTERNET_100 {
            drops += gateway.wait_for_drop(reason, counted)?;
        }
    }
    // What comes after them has come when they have had their turn.
    bench.run(&[
        case("in, after them", INTERNET_100, [OUTSIDE, "203.0.113.10"], Arrives("a1", [OUTSIDE, "10.0.0.10"], 63)),
        case("out, after them", "vlan7", ["10.0.0.10", OUTSIDE], Arrives(INTERNET_SIDE, ["203.0.113.30", OUTSIDE], 63)),
    ])?;
    let contains = |frame: &Frame| frame.bytes.windows(MARK.len()).any(|part| part == MARK);
    assert_eq!(bench.seen(contains), Vec::<&str>::new());
    let on_ports = u64::try_from(OTHER_TAGS.len())?;
    assert_eq!((drops, gateway.all_dropped()? - before), (on_ports, on_ports));
    Ok(())
}

/// What the gateway answers itself: what is answered, the side, the packet that is sent (OWN and
/// PORT are the Ethernet addresses), and what the answer has from an offset behind its Ethernet
/// header on.
type Answered = (
    &'static str,
    &'static str,
    &'static str,
    usize,
    &'static str,
);

#[rustfmt::skip] // A table: a row a line.
const ANSWERED: &[Answered] = &[
    ("R9 ARP", "vlan7", "who('10.0.0.10','10.0.0.1')", 0, "is_at('10.0.0.1','10.0.0.10')"),
    ("R9 ARP", "untagged", "who('10.0.0.10','10.0.0.1')", 0, "is_at('10.0.0.1','10.0.0.10')"),
    ("R9 ARP, cut-through", "vlan8", "who('203.0.113.31','203.0.113.1')", 0, "is_at('203.0.113.1','203.0.113.31')"),
    ("R9 neighbour solicitation", "vlan7", "solicit('fd00:10::10','fd00:10::1')", 8, "v6('fd00:10::1','fd00:10::10')+b'\\x88'"),
    ("R9 neighbour solicitation, cut-through", "vlan8", "solicit('2001:db8:cb::31','2001:db8:cb::1')", 8, "v6('2001:db8:cb::1','2001:db8:cb::31')+b'\\x88'"),
    ("R9 ARP", "stack20", "who('10.0.0.20','10.0.0.1')", 0, "is_at('10.0.0.1','10.0.0.20')"),
    ("R9 neighbour solicitation", "stack20", "solicit('fd00:10::20','fd00:10::1')", 8, "v6('fd00:10::1','fd00:10::20')+b'\\x88'"),
    ("R8 ARP", INTERNET_30_100, "who('198.51.100.77','203.0.113.33')", 0, "is_at('203.0.113.33','198.51.100.77')"),
    ("R8 neighbour solicitation", INTERNET_30_100, "solicit('2001:db8:ffff::77','2001:db8:cb::33')", 8, "v6('2001:db8:cb::33','2001:db8:ffff::77')+b'\\x88'"),
    ("O11 ping of the gateway", "stack20", "IP(src='10.0.0.20',dst='10.0.0.1')/ICMP(id=3)/b'ping'", 12, "v4('10.0.0.1','10.0.0.20')+b'\\0\\0'"),
    ("O11 ping of the gateway", "stack20", "IPv6(src='fd00:10::20',dst='fd00:10::1')/ICMPv6EchoRequest(id=3,data=b'ping')", 8, "v6('fd00:10::1','fd00:10::20')+b'\\x81'"),
    ("R2 to a stack", "stack20", "IP(src='10.0.0.20',dst='192.0.2.1',ttl=1)/UDP()/b'x'", 12, "v4('10.0.0.1','10.0.0.20')+b'\\x0b\\0'"),
    ("R2 to a stack", "stack20", "IPv6(src='fd00:10::20',dst='2001:db8:eeee::1',hlim=1)/UDP()/b'x'", 8, "v6('fd00:10::1','fd00:10::20')+b'\\3\\0'"),
    ("R2 to the uplink's stack", INTERNET_30_100, "IP(src='192.0.2.1',dst='203.0.113.33',ttl=1)/UDP()/b'x'", 12, "v4('198.51.100.10','192.0.2.1')+b'\\x0b\\0'"),
    ("R10 DHCP", "stack20", "discover()", 28 + 16, "inet_aton('10.0.0.20')"),
    ("R10 DHCP, cut-through", "stack21", "discover()", 28 + 16, "inet_aton('203.0.113.34')"),
    ("R10 router solicitation", "stack20", "IPv6(src=link_local(),dst='ff02::2',hlim=255)/ICMPv6ND_RS()/ICMPv6NDOptSrcLLAddr(lladdr=OWN)", 40, "b'\\x86\\0'"),
    ("R10 DHCPv6", "stack20", "solicit_lease()", 48, "b'\\2\\1\\2\\3'"),
    ("R10 DHCPv6, cut-through", "stack21", "solicit_lease()", 48, "b'\\2\\1\\2\\3'"),
    ("R8 ARP", INTERNET_100, "who('198.51.100.77','203.0.113.30')", 0, "is_at('203.0.113.30','198.51.100.77')"),
    ("R8 neighbour solicitation", INTERNET_100, "solicit('2001:db8:ffff::77','2001:db8:cb::30')", 8, "v6('2001:db8:cb::30','2001:db8:ffff::77')+b'\\x88'"),
    ("O11 ping of the gateway", "vlan7", "IP(src='10.0.0.10',dst='10.0.0.1')/ICMP(id=3)/b'ping'", 12, "v4('10.0.0.1','10.0.0.10')+b'\\0\\0'"),
    ("O11 ping of the gateway", "vlan7", "IPv6(src='fd00:10::10',dst='fd00:10::1')/ICMPv6EchoRequest(id=3,data=b'ping')", 8, "v6('fd00:10::1','fd00:10::10')+b'\\x81'"),
    ("R2 to a VLAN", "vlan7", "DYING", 12, "v4('10.0.0.1','10.0.0.10')+b'\\x0b\\0'"),
    ("R2 to a VLAN, quoted", "vlan7", "DYING", 28, "bytes(DYING)"),
    ("R2 to a VLAN", "vlan7", "DYING6", 8, "v6('fd00:10::1','fd00:10::10')+b'\\3\\0'"),
    ("R2 to a VLAN, quoted", "vlan7", "DYING6", 48, "bytes(DYING6)"),
    ("R2 to the uplink's VLAN", INTERNET_100, "IP(src='192.0.2.1',dst='203.0.113.30',ttl=1)/UDP()/b'x'", 12, "v4('198.51.100.9','192.0.2.1')+b'\\x0b\\0'"),
    ("R10 DHCP", "vlan7", "discover()", 28 + 16, "inet_aton('10.0.0.10')"),
    ("R10 DHCP, cut-through", "vlan8", "discover()", 28 + 16, "inet_aton('203.0.113.31')"),
    ("R10 DHCP", "vlan9", "discover()", 28 + 16, "inet_aton('10.0.0.20')"),
    ("R10 DHCP", "untagged", "discover()", 28 + 16, "inet_aton('10.0.0.10')"),
    ("R10 router solicitation", "vlan7", "IPv6(src=link_local(),dst='ff02::2',hlim=255)/ICMPv6ND_RS()/ICMPv6NDOptSrcLLAddr(lladdr=OWN)", 40, "b'\\x86\\0'"),
    ("R10 DHCPv6", "vlan7", "solicit_lease()", 48, "b'\\2\\1\\2\\3'"),
    ("R10 DHCPv6, cut-through", "vlan8", "solicit_lease()", 48, "b'\\2\\1\\2\\3'"),
];

const ANSWERS_PRELUDE: &str = r"
from socket import inet_aton, inet_pton, AF_INET6
def row(own, port, text):
    globals().update(OWN=own, PORT=port)
    return eval(text)
def v4(source, destination):
    return inet_aton(source) + inet_aton(destination)
def v6(source, destination):
    return inet_pton(AF_INET6, source) + inet_pton(AF_INET6, destination)
def who(source, target):
    return ARP(op=1, hwsrc=OWN, psrc=source, pdst=target)
def is_at(address, asker):
    return ARP(op=2, hwsrc=PORT, psrc=address, hwdst=OWN, pdst=asker)
def solicit(source, target):
    return IPv6(src=source, dst=target, hlim=255)/ICMPv6ND_NS(tgt=target)/ICMPv6NDOptSrcLLAddr(lladdr=OWN)
def link_local():
    m = bytes.fromhex(OWN.replace(':', ''))
    return 'fe80::%x:%xff:fe%02x:%x' % ((m[0] ^ 2) << 8 | m[1], m[2], m[3], m[4] << 8 | m[5])
def discover():
    m = bytes.fromhex(OWN.replace(':', ''))
    return (IP(src='0.0.0.0', dst='255.255.255.255')/UDP(sport=68, dport=67)/BOOTP(chaddr=m, xid=7, flags=0x8000)
        /DHCP(options=[('message-type', 'discover'), 'end']))
def solicit_lease():
    return (IPv6(src=link_local(), dst='ff02::1:2')/UDP(sport=546, dport=547)/DHCP6_Solicit(trid=0x010203)
        /DHCP6OptClientId(duid=DUID_LL(lladdr=OWN))/DHCP6OptIA_NA(iaid=1))
DYING = IP(src='10.0.0.10', dst='192.0.2.1', ttl=1)/UDP(sport=5000, dport=53)/b'payload'
DYING6 = IPv6(src='fd00:10::10', dst='2001:db8:eeee::1', hlim=1)/UDP(sport=5000, dport=53)/b'payload'
";

/// R2, R8, R9, R10: with the tag of the VLAN that asked, and with right checksums.
#[test]
fn the_gateways_own_answers_have_the_tag_of_the_vlan_that_asked() -> Result<()> {
    let trunk = Trunk::new(false)?;
    let bench = trunk.bench()?;
    let port = trunk.scene.mac_of(TRUNK)?;
    let mut expressions = Vec::new();
    for (_, side, sent, _, expected) in ANSWERED {
        let own = TRUNK_ENIS.iter().find(|eni| eni.side == *side);
        let (own, port) = own.map_or((INTERNET_MAC, GATEWAY_MAC), |eni| (eni.mac, port.as_str()));
        expressions.extend([sent, expected].map(|text| format!("row('{own}','{port}',{text:?})")));
    }
    let built = frames::build(ANSWERS_PRELUDE, &expressions)?;
    for ((what, side, packet, at, _), pair) in ANSWERED.iter().zip(built.chunks(2)) {
        answered(&bench, side, &pair[0], (*at, &pair[1]))
            .with_context(|| format!("{what} from {side}: {packet}"))?;
    }
    for side in ["vlan7", "stack20", INTERNET_100] {
        let file = trunk.scene.lab.folder().join("answers.pcap");
        bench.capture(side)?.verify(&file, |_| false)?;
    }
    Ok(())
}

/// One packet, and what comes of it. An answer in another VLAN of the wire is none.
fn answered(
    bench: &Bench<'_>,
    side: &str,
    sent: &[u8],
    (at, expected): (usize, &[u8]),
) -> Result<()> {
    let ether_type = match sent.first() {
        Some(first) if first >> 4 == 6 => [0x86, 0xdd],
        Some(first) if first >> 4 == 4 => [8, 0],
        _ => [8, 6],
    };
    let is_answer = |frame: &Frame| {
        frame.bytes.get(12..14) == Some(&ether_type)
            && frame.bytes.get(14 + at..14 + at + expected.len()) == Some(expected)
    };
    bench.send(side, ether_type, sent)?;
    let answer = bench.wait_at(side, "the answer", is_answer)?;
    let is_multicast = answer.bytes[0] & 1 != 0;
    let strays = bench.capture(side)?.incoming(|frame| {
        let same = frame.bytes[..12] == answer.bytes[..12] && is_answer(&frame.untagged());
        same && frame.vlan() != answer.vlan() && !is_multicast
    });
    ensure!(strays.is_empty(), "also in another VLAN: {strays:02x?}");
    Ok(())
}

/// A host without an interface for the uplink's VLAN has no next hop there: what comes in is
/// delivered, what is to leave is dropped for that, and the daemon says so.
#[test]
fn an_uplink_vlan_that_the_host_does_not_know_only_takes_in() -> Result<()> {
    unknown_to_the_host(Vlan::of(100), INTERNET_100, "vlan = 100")
}

#[test]
fn nor_one_within_another() -> Result<()> {
    unknown_to_the_host(Vlan::within(30, 100), INTERNET_30_100, "vlan = \"30.100\"")
}

#[rustfmt::skip] // A table: a row a line.
fn unknown_to_the_host(vlan: Vlan, side: &'static str, configuration: &'static str) -> Result<()> {
    let scene = Scene::new(&Options { configuration, silent: true, ..Options::default() })?;
    let mut bench = Bench::new(&scene)?;
    bench.add_vlan(side, (UPLINK, Some(vlan)), &scene.backbone.internet, UPLINK, INTERNET_MAC)?;
    bench.run(&[
        case("T16 in", side, [OUTSIDE, "203.0.113.10"], Arrives("a1", [OUTSIDE, "10.0.0.10"], 63)),
        case("T16 in, cut-through", side, [OUTSIDE, "203.0.113.20"], Arrives("b2", [OUTSIDE, "203.0.113.20"], 63)),
        case("T16 untagged is another VLAN", INTERNET_SIDE, [OUTSIDE, "203.0.113.10"], ToTheHost),
        case("T16 out", "a1", ["10.0.0.10", OUTSIDE], Dropped("no-next-hop")),
        case("T16 hairpin", "a1", ["10.0.0.10", "203.0.113.11"], Arrives("a2", ["203.0.113.10", "10.0.0.11"], 63)),
    ])?;
    assert!(scene.gateway.log().contains("this host has no interface for the VLAN"), "{}", scene.gateway.log());
    Ok(())
}

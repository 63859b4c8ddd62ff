//! What is rewritten, and being a router: T1 to T15, R1, R5, R6. Every packet goes every way that a
//! packet can go, and is held byte for byte against one that scapy builds for the addresses that it
//! has to arrive with.

use anyhow::Result;
use eip_dp_tests::lab::{
    case::{
        Bench, Case,
        Expect::{Arrives, Dropped},
        INTERNET_SIDE, OUTSIDE,
    },
    scene::{Options, Scene},
};

const SILENT: Options = Options {
    silent: true,
    pool: "",
    configuration: "",
    on_link: false,
    dual_stack: false,
    resolver: None,
};

/// A way through the gateway: its name, the sending side, the addresses that are sent, and the
/// receiving side with the addresses that arrive. (T14 is that the cut-through ways change none.)
type Way = (
    &'static str,
    &'static str,
    [&'static str; 2],
    &'static str,
    [&'static str; 2],
);

#[rustfmt::skip] // A table: a row a line.
const WAYS: [Way; 6] = [
    ("in, NAT", INTERNET_SIDE, [OUTSIDE, "203.0.113.10"], "a1", [OUTSIDE, "10.0.0.10"]),
    ("out, NAT", "a2", ["10.0.0.12", OUTSIDE], INTERNET_SIDE, ["203.0.113.12", OUTSIDE]),
    ("in, cut-through (T14)", INTERNET_SIDE, [OUTSIDE, "203.0.113.20"], "b2", [OUTSIDE, "203.0.113.20"]),
    ("out, cut-through (T14)", "b2", ["203.0.113.20", OUTSIDE], INTERNET_SIDE, ["203.0.113.20", OUTSIDE]),
    ("between NAT EIPs", "a1", ["10.0.0.10", "203.0.113.11"], "a2", ["203.0.113.10", "10.0.0.11"]),
    ("from cut-through to NAT", "b2", ["203.0.113.20", "203.0.113.10"], "a1", ["203.0.113.20", "10.0.0.10"]),
];

/// Row of the specification and packet.
#[rustfmt::skip] // A table: a row a line.
const CARRIED: &[(&str, &str)] = &[
    ("T1 TCP", "I()/TCP(sport=5000,dport=80,flags='PA',seq=1,ack=2)/b'payload of odd length'"),
    ("T1 TCP SYN with options", "I()/TCP(sport=5000,dport=80,flags='S',options=[('MSS',1460),('WScale',7)])"),
    ("T1 UDP", "I()/UDP(sport=5000,dport=53)/b'payload'"),
    ("T1 UDP-Lite", "udp_lite()"),
    ("T1 DCCP", "dccp()"),
    ("T2 UDP without checksum", "I()/UDP(sport=5000,dport=53,chksum=0)/b'payload'"),
    ("T2 a checksum that comes out 0", "I()/zero_sum()"),
    ("T3 echo request", "I()/ICMP(id=7,seq=8)/b'payload'"),
    ("T3 echo reply", "I()/ICMP(type=0,id=7,seq=8)/b'payload'"),
    ("T3 timestamp", "I()/ICMP(type=13,id=7,seq=8)"),
    ("T3 unknown query", "I()/ICMP(type=42,id=7,seq=8)/b'probe'"),
    ("T4 hop-by-hop number 0", "I(proto=0)/b'any payload'"),
    ("T4 IPIP", "I(proto=4)/IP(src='10.0.0.10',dst='192.0.2.7')/UDP()/b'inner'"),
    ("T4 6in4", "I(proto=41)/IPv6(src='2001:db8::1',dst='2001:db8::2')/UDP()/b'inner'"),
    ("T4 GRE", "I(proto=47)/GRE()/IP(src='10.0.0.10',dst='192.0.2.7')/UDP()/b'inner'"),
    ("T4 ESP", "I(proto=50)/ESP(spi=1,seq=2,data=b'sealed payload')"),
    ("T4 AH", "I(proto=51)/AH(spi=1,seq=2,icv=b'authentic123')/UDP()/b'payload'"),
    ("T4 OSPF", "I(proto=89)/b'\\x02\\x01\\x00\\x2c hello'"),
    ("T4 VRRP", "I(proto=112)/b'\\x21\\x01\\x64\\x01'"),
    ("T4 SCTP", "I(proto=132)/(bytes.fromhex('13881389000000017f5e3a10')+b'chunk')"),
    ("T4 experimental number 253", "I(proto=253)/b'x'"),
    ("T4 reserved number 255", "I(proto=255)/b''"),
    ("T5 wrong TCP checksum", "wrong(I()/TCP(sport=5000,dport=80)/b'payload',16)"),
    ("T5 wrong UDP checksum", "wrong(I()/UDP(sport=5000,dport=53)/b'payload',6)"),
    ("T5 wrong ICMP checksum", "wrong(I()/ICMP(id=7)/b'payload',2)"),
    ("T6 options before TCP", "I(options=[IPOption_Router_Alert(),IPOption_NOP(),IPOption_EOL()])/TCP(sport=5000,dport=80)/b'payload'"),
    ("T6 40 bytes of options before UDP", "I(options=[IPOption(bytes([0x94,4,0,0])),IPOption(bytes([0x88,4,1,2]))]+[IPOption_NOP()]*32)/UDP(sport=5000,dport=53)/b'payload'"),
    ("T7 first fragment of UDP", "pieces(I()/UDP(sport=5000,dport=53)/(b'12345678'*9),48)[0]"),
    ("T7 later fragment of UDP", "pieces(I()/UDP(sport=5000,dport=53)/(b'12345678'*9),48)[1]"),
    ("T7 first fragment of TCP", "pieces(I()/TCP(sport=5000,dport=80)/(b'12345678'*9),48)[0]"),
    ("T7 last fragment of TCP", "pieces(I()/TCP(sport=5000,dport=80)/(b'12345678'*9),48)[-1]"),
    ("T7 later fragment that looks like TCP", "I(frag=100,proto=6)/TCP(sport=5000,dport=80,chksum=0x1234)"),
    ("T15 DSCP, ECN, identification, DF", "I(tos=0xb9,flags='DF')/TCP(sport=5000,dport=80)/b'payload'"),
    ("R5 UDP cut short by its own packet", "I(proto=17)/b'\\x13\\x88\\x13\\x89'"),
    ("R5 TCP cut short by its own packet", "I(proto=6)/b'\\x13\\x88\\x13\\x89\\x00\\x00\\x00\\x01'"),
    ("R6 padding behind the packet", "bytes(I()/UDP(sport=5000,dport=53)/b'x')+b'\\xaa\\xbb\\xcc'"),
    ("R1 largest frame", "I(flags='DF')/UDP(sport=5000,dport=53)/(b'x'*1472)"),
    ("T9, T10 quoted UDP", "I()/ICMP(type=3,code=3)/IP(src=D,dst=S)/UDP(sport=53,dport=5000)/b'payload'"),
    ("T9, T10 quoted TCP", "I()/ICMP(type=11)/IP(src=D,dst=S,ttl=1)/TCP(sport=80,dport=5000,seq=9)/b'payload'"),
    ("T9, T10 quoted ping", "I()/ICMP(type=12,ptr=9)/IP(src=D,dst=S)/ICMP(id=7,seq=8)/b'payload'"),
    ("T9, T10 redirect", "I()/ICMP(type=5,code=1,gw='192.0.2.5')/IP(src=D,dst=S)/UDP(sport=53,dport=5000)"),
    ("T9, T10 quoted SCTP", "I()/ICMP(type=3,code=2)/IP(src=D,dst=S,proto=132)/b'12345678'"),
    ("T11 TCP cut at 8 bytes", "I()/ICMP(type=11)/bytes(IP(src=D,dst=S)/TCP(sport=80,dport=5000)/b'payload')[:28]"),
    ("T11 UDP cut at 8 bytes", "I()/ICMP(type=3,code=4,nexthopmtu=1280)/bytes(IP(src=D,dst=S,flags='DF')/UDP(sport=53,dport=5000)/(b'x'*1400))[:28]"),
    ("T11 quoted options", "I()/ICMP(type=3,code=1)/IP(src=D,dst=S,options=[IPOption_Router_Alert()])/TCP(sport=80,dport=5000)"),
    ("T11 quoted checksum wrong", "I()/ICMP(type=3,code=3)/wrong(IP(src=D,dst=S)/UDP(sport=53,dport=5000)/b'payload',6)"),
    ("T11 quoted UDP without checksum", "I()/ICMP(type=3,code=3)/IP(src=D,dst=S)/UDP(sport=53,dport=5000,chksum=0)/b'payload'"),
    ("T11 quoted later fragment", "I()/ICMP(type=3,code=1)/IP(src=D,dst=S,frag=100,proto=17)/b'middle of a datagram'"),
    ("T11 RFC 4884 extensions", "I()/ICMP(type=11,length=32)/(bytes(IP(src=D,dst=S)/UDP(sport=53,dport=5000)/(b'x'*100))+bytes.fromhex('2000dcf0000801010007d101'))"),
    ("T5 wrong checksum of an error", "wrong(I()/ICMP(type=3,code=3)/IP(src=D,dst=S)/UDP(sport=53,dport=5000)/b'payload',2)"),
];

/// Row of the specification, packet, and the reason that it is dropped for.
#[rustfmt::skip] // A table: a row a line.
const DROPPED: &[(&str, &str, &str)] = &[
    ("T8 UDP", "I(flags='MF',proto=17)/b'\\x13\\x88\\x13\\x89'", "tiny-fragment"),
    ("T8 TCP", "I(flags='MF',proto=6)/b'12345678'", "tiny-fragment"),
    ("T8 TCP at offset 8", "I(frag=1,proto=6)/b'1234567812345678'", "tiny-fragment"),
    ("T6 record route", "I(options=[IPOption_RR(length=39,pointer=4,routers=['0.0.0.0']*9)])/UDP(sport=5000,dport=53)/b'payload'", "address-option"),
    ("T6 timestamp", "I(options=[IPOption(bytes([0x44,12,5,1]+[0]*8))])/UDP(sport=5000,dport=53)/b'payload'", "address-option"),
    ("T6 quoted record route", "I()/ICMP(type=3,code=1)/IP(src=D,dst=S,options=[IPOption_RR(length=7,pointer=4,routers=['0.0.0.0'])])/TCP(sport=80,dport=5000)", "address-option"),
    ("T6a router advertisement", "I()/ICMP(type=9)/bytes.fromhex('01020708c000020500000000')", "address-option"),
    ("R5 runt", "bytes(I()/UDP()/b'payload')[:16]", "malformed"),
    ("R5 version 5", "bytes_at(I()/UDP()/b'payload',0,b'\\x55')", "malformed"),
    ("R5 header of 16 bytes", "bytes_at(I()/UDP()/b'payload',0,b'\\x44')", "malformed"),
    ("R5 wrong header checksum", "I(chksum=0x1234)/UDP()/b'payload'", "malformed"),
    ("R5 length under the header", "I(len=19)/UDP()/b'payload'", "malformed"),
    ("R5 length over the frame", "I(len=1000)/UDP()/b'payload'", "malformed"),
    ("R5 header longer than the packet", "I(ihl=15,len=28)/UDP()", "malformed"),
    ("R5a loose source route", "I(options=[IPOption_LSRR(routers=['192.0.2.9'])])/UDP()/b'x'", "source-route"),
    ("R5a strict source route", "I(options=[IPOption_SSRR(routers=['192.0.2.9'])])/UDP()/b'x'", "source-route"),
    ("R2 last hop", "I(ttl=1)/UDP()/b'x'", "ttl-exceeded"),
    ("R2 TTL 0", "I(ttl=0)/UDP()/b'x'", "ttl-exceeded"),
];

#[test]
fn packets_are_carried_as_the_specification_says() -> Result<()> {
    let scene = Scene::new(&SILENT)?;
    Bench::new(&scene)?.run(&carried())
}

#[test]
fn packets_are_carried_likewise_where_ports_take_xdp_frames() -> Result<()> {
    let scene = Scene::new(&Options {
        configuration: "[ports]\ndelivery = \"xdp\"",
        ..SILENT
    })?;
    scene.deliver_by_xdp()?;
    Bench::new(&scene)?.run(&carried())
}

fn carried() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, packet) in CARRIED {
        for (way, from, sent, at, got) in WAYS {
            cases.push(Case {
                id: format!("{id}, {way}"),
                from,
                packet,
                sent,
                expect: Arrives(at, got, 63),
            });
        }
    }
    cases
}

#[test]
fn packets_that_no_router_forwards_are_dropped_for_their_reason() -> Result<()> {
    let mut cases = Vec::new();
    for (id, packet, reason) in DROPPED {
        for (way, from, sent, at, got) in WAYS {
            // What would have to be translated is what a tiny fragment hides, and an option's
            // addresses. Cut-through translates nothing.
            let of_nat = ["tiny-fragment", "address-option"];
            let untouched = sent == got && of_nat.contains(reason);
            cases.push(Case {
                id: format!("{id}, {way}"),
                from,
                packet,
                sent,
                expect: if untouched {
                    Arrives(at, got, 63)
                } else {
                    Dropped(reason)
                },
            });
        }
    }
    let scene = Scene::new(&SILENT)?;
    Bench::new(&scene)?.run(&cases)
}

/// T9, T10, T12, T12a, T14: an ICMP error arrives about the packet that its receiver has sent, and
/// none leaves with a private address in it.
#[test]
#[rustfmt::skip] // A table: a row a line.
fn icmp_errors_are_about_what_their_receiver_sent() -> Result<()> {
    const STRANGERS: &str = "I()/ICMP(type=3,code=3)/IP(src='192.0.2.9',dst='192.0.2.8')/UDP()";
    const ERROR: &str = "I()/ICMP(type=3,code=3)/IP(src=D,dst=S)/UDP(sport=53,dport=5000)";
    let error = |id: &str, from, sent, expect| Case {
        id: id.to_owned(),
        from,
        packet: ERROR,
        sent,
        expect,
    };
    let scene = Scene::new(&SILENT)?;
    Bench::new(&scene)?.run(&[
        error("T12a without an EIP", "b1", ["10.0.0.20", OUTSIDE], Dropped("no-eip")),
        error("T12a nobody's address", "b1", ["10.0.0.77", OUTSIDE], Dropped("spoofed-source")),
        error("T10 out", "a1", ["10.0.0.10", OUTSIDE], Arrives(INTERNET_SIDE, ["203.0.113.10", OUTSIDE], 63)),
        error("T9 in", INTERNET_SIDE, [OUTSIDE, "203.0.113.10"], Arrives("a1", [OUTSIDE, "10.0.0.10"], 63)),
        error("T13 hairpin", "a1", ["10.0.0.10", "203.0.113.20"], Arrives("b2", ["203.0.113.10", "203.0.113.20"], 63)),
        Case {
            packet: STRANGERS,
            ..error("T12 in", INTERNET_SIDE, [OUTSIDE, "203.0.113.10"], Dropped("icmp-quote-mismatch"))
        },
        Case {
            packet: STRANGERS,
            ..error("T12 out", "a1", ["10.0.0.10", OUTSIDE], Dropped("icmp-quote-mismatch"))
        },
        error("T14 out", "b2", ["203.0.113.20", OUTSIDE], Arrives(INTERNET_SIDE, ["203.0.113.20", OUTSIDE], 63)),
        error("T14 in", INTERNET_SIDE, [OUTSIDE, "203.0.113.20"], Arrives("b2", [OUTSIDE, "203.0.113.20"], 63)),
    ])
}

//! Who owns a packet: O1 to O17, with packets from scapy through the real programs on real
//! interfaces.

use anyhow::Result;
use eip_dp_tests::lab::{
    capture::{Capture, Frame},
    case::{
        Bench, Case,
        Expect::{self, Arrives, Dropped, ToTheHost},
        INTERNET_SIDE, OUTSIDE,
    },
    frames,
    scene::{Options, Scene},
    topology::{GATEWAY, GATEWAY_MAC, INTERNET_MAC, UPLINK},
};

const SILENT: Options = Options {
    silent: true,
    pool: "",
    configuration: "",
    on_link: false,
    dual_stack: false,
    resolver: None,
};

/// A UDP datagram: what most rows send, where it is about the addresses only.
const UDP: &str = "I()/UDP(sport=5000,dport=5001)/b'whose is it'";
/// An echo request from the guest, and the reply that comes back to it.
const PING: &str = "I()/ICMP(type=0 if S=='10.0.0.1' else 8)/b'whose is it'";

fn case(id: &str, from: &'static str, sent: [&'static str; 2], expect: Expect) -> Case {
    Case {
        id: id.to_owned(),
        from,
        packet: UDP,
        sent,
        expect,
    }
}

#[test]
fn owners_of_packets() -> Result<()> {
    let scene = Scene::new(&SILENT)?;
    let gateway = &scene.gateway;
    gateway.ok("eip create spare --address 203.0.113.90")?;
    let mut cases = inbound();
    cases.extend(outbound());
    cases.extend(between());
    Bench::new(&scene)?.run(&cases)
}

#[rustfmt::skip] // A table: a row a line.
fn inbound() -> Vec<Case> {
    let net = INTERNET_SIDE;
    let mut cases = vec![
        case("O1", net, [OUTSIDE, "203.0.113.10"], Arrives("a1", [OUTSIDE, "10.0.0.10"], 63)),
        case("O1 secondary", net, [OUTSIDE, "203.0.113.11"], Arrives("a2", [OUTSIDE, "10.0.0.11"], 63)),
        case("O1 second address", net, [OUTSIDE, "203.0.113.12"], Arrives("a2", [OUTSIDE, "10.0.0.12"], 63)),
        case("O2", net, [OUTSIDE, "203.0.113.20"], Arrives("b2", [OUTSIDE, "203.0.113.20"], 63)),
        case("O3 no such EIP", net, [OUTSIDE, "203.0.113.99"], Dropped("no-association")),
        case("O3 not associated", net, [OUTSIDE, "203.0.113.90"], Dropped("no-association")),
        case("O3 the pool's gateway", net, [OUTSIDE, "203.0.113.1"], Dropped("no-association")),
        case("O4 in no pool", net, [OUTSIDE, "192.0.2.99"], ToTheHost),
        case("O4 private", net, [OUTSIDE, "10.0.0.10"], ToTheHost),
        case("O4 the host's own", net, [OUTSIDE, GATEWAY], ToTheHost),
        case("O15 multicast destination", net, [OUTSIDE, "224.0.0.5"], ToTheHost),
    ];
    for source in [
        "203.0.113.10",
        "203.0.113.20",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.9",
        "240.0.0.1",
        "255.255.255.255",
        "10.0.0.20",
    ] {
        cases.push(case(
            "O15",
            net,
            [source, "203.0.113.11"],
            Dropped("martian"),
        ));
    }
    cases
}

#[rustfmt::skip] // A table: a row a line.
fn outbound() -> Vec<Case> {
    let net = INTERNET_SIDE;
    let mut cases = vec![
        case("O6", "a1", ["10.0.0.10", OUTSIDE], Arrives(net, ["203.0.113.10", OUTSIDE], 63)),
        case("O6 second address", "a2", ["10.0.0.12", OUTSIDE], Arrives(net, ["203.0.113.12", OUTSIDE], 63)),
        case("O7", "b2", ["203.0.113.20", OUTSIDE], Arrives(net, ["203.0.113.20", OUTSIDE], 63)),
        case("O8", "b1", ["10.0.0.20", OUTSIDE], Dropped("no-eip")),
        case("O9 secondary through primary", "a1", ["10.0.0.11", OUTSIDE], Arrives(net, ["203.0.113.11", OUTSIDE], 63)),
        case("O9 cut-through through primary", "b1", ["203.0.113.20", OUTSIDE], Arrives(net, ["203.0.113.20", OUTSIDE], 63)),
        case("O9 foreign", "a1", ["192.0.2.66", OUTSIDE], Dropped("spoofed-source")),
        case("O9 another instance's", "a1", ["10.0.0.20", OUTSIDE], Dropped("spoofed-source")),
        case("O9 another instance's EIP", "a1", ["203.0.113.20", OUTSIDE], Dropped("spoofed-source")),
        case("O9 own EIP in NAT mode", "a1", ["203.0.113.10", OUTSIDE], Dropped("spoofed-source")),
        case("O9 nobody's", "b2", ["10.0.0.77", OUTSIDE], Dropped("spoofed-source")),
        case("O10 old private IP", "b2", ["10.0.0.21", OUTSIDE], Dropped("private-network-off")),
    ];
    for destination in [
        "0.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ] {
        let drop = Dropped("martian-destination");
        cases.push(case("O17 NAT", "a1", ["10.0.0.10", destination], drop));
        cases.push(case(
            "O17 cut-through",
            "b2",
            ["203.0.113.20", destination],
            drop,
        ));
    }
    cases
}

#[rustfmt::skip] // A table: a row a line.
fn between() -> Vec<Case> {
    vec![
        case("O10 to it", "a1", ["10.0.0.10", "10.0.0.21"], Dropped("private-network-off")),
        case("O10 from it", "b2", ["203.0.113.20", "10.0.0.10"], Dropped("private-network-off")),
        case("O10 from its old address", "b2", ["10.0.0.21", "10.0.0.10"], Dropped("private-network-off")),
        case("O11", "a1", ["10.0.0.10", "10.0.0.20"], Arrives("b1", ["10.0.0.10", "10.0.0.20"], 64)),
        case("O11 and back", "b1", ["10.0.0.20", "10.0.0.12"], Arrives("a2", ["10.0.0.20", "10.0.0.12"], 64)),
        case("O11 nobody's", "a1", ["10.0.0.10", "10.0.0.99"], Dropped("no-such-eni")),
        case("O11 gateway, UDP", "a1", ["10.0.0.10", "10.0.0.1"], Dropped("gateway-service")),
        case("O12 NAT to NAT", "a1", ["10.0.0.10", "203.0.113.11"], Arrives("a2", ["203.0.113.10", "10.0.0.11"], 63)),
        case("O12 NAT to cut-through", "a1", ["10.0.0.10", "203.0.113.20"], Arrives("b2", ["203.0.113.10", "203.0.113.20"], 63)),
        case("O12 cut-through to NAT", "b2", ["203.0.113.20", "203.0.113.12"], Arrives("a2", ["203.0.113.20", "10.0.0.12"], 63)),
        case("O12 no EIP to NAT", "b1", ["10.0.0.20", "203.0.113.10"], Dropped("no-eip")),
        case("O12 to no EIP", "a1", ["10.0.0.10", "203.0.113.99"], Dropped("no-association")),
        case("O13 NAT", "a1", ["10.0.0.10", "203.0.113.10"], Arrives("a1", ["203.0.113.10", "10.0.0.10"], 63)),
        case("O13 cut-through", "b2", ["203.0.113.20", "203.0.113.20"], Arrives("b2", ["203.0.113.20", "203.0.113.20"], 63)),
        Case {
            packet: PING,
            ..case("O11 ping of the gateway", "a1", ["10.0.0.10", "10.0.0.1"], Arrives("a1", ["10.0.0.1", "10.0.0.10"], 64))
        },
    ]
}

#[test]
fn a_source_mac_of_no_eni_on_the_port_is_refused() -> Result<()> {
    let scene = Scene::new(&SILENT)?;
    let port = scene.mac_of("a1")?;
    for mac in [
        "02:00:00:00:99:99",
        "02:00:00:00:0a:02",
        "02:00:00:00:0b:01",
    ] {
        let before = scene.gateway.dropped("spoofed-mac")?;
        let frame =
            format!("Ether(src='{mac}',dst='{port}')/IP(src='10.0.0.10',dst='{OUTSIDE}')/UDP()");
        let frames = frames::build("", &[frame])?;
        Capture::start(&scene.a, "eth0")?.send(&frames[0])?;
        assert_eq!(
            scene.gateway.wait_for_drop("spoofed-mac", before)?,
            1,
            "{mac}"
        );
    }
    Ok(())
}

/// T16: a tag of VLAN 0 names no VLAN (IEEE 802.1Q 6.9.1). The kernel would handle the frame as its
/// own, which would route it untranslated; here it goes the way of an untagged one.
#[test]
fn a_priority_tag_is_none() -> Result<()> {
    const TAGS: [&str; 3] = [
        "Dot1Q(vlan=0,prio=6)",
        "Dot1AD(vlan=0,prio=3)",
        "Dot1Q(vlan=0)/Dot1Q(vlan=0)",
    ];
    let scene = Scene::new(&SILENT)?;
    let port = scene.mac_of("a1")?;
    let internet = Capture::start(&scene.backbone.internet, UPLINK)?;
    let guest = Capture::start(&scene.a, "eth0")?;
    for (number, tag) in TAGS.into_iter().enumerate() {
        let id = 7_000 + number;
        let out = format!(
            "Ether(src='02:00:00:00:0a:01',dst='{port}')/{tag}/IP(src='10.0.0.10',dst='{OUTSIDE}',id={id})/UDP()"
        );
        let back = format!(
            "Ether(src='{INTERNET_MAC}',dst='{GATEWAY_MAC}')/{tag}/IP(src='{OUTSIDE}',dst='203.0.113.10',id={id})/UDP()"
        );
        let frames = frames::build("", &[out, back])?;
        guest.send(&frames[0])?;
        let id = u16::try_from(id)?.to_be_bytes();
        let is_it = |frame: &Frame| frame.vlan().is_none() && frame.packet().get(4..6) == Some(&id);
        let sent = internet.wait_for(tag, is_it)?;
        assert_eq!(sent.packet()[12..16], [203, 0, 113, 10], "{tag}");
        internet.send(&frames[1])?;
        let delivered = guest.wait_for(tag, is_it)?;
        assert_eq!(delivered.packet()[16..20], [10, 0, 0, 10], "{tag}");
    }
    Ok(())
}

#[test]
#[rustfmt::skip] // A table: a row a line.
fn antispoof_eni_narrows_a_port_to_its_own_eni() -> Result<()> {
    let scene = Scene::new(&SILENT)?;
    let gateway = &scene.gateway;
    let exported = gateway.ok("export")?;
    let narrowed = exported.replace(
        "id = \"a-primary\"",
        "id = \"a-primary\"\nantispoof = \"eni\"",
    );
    assert_ne!(exported, narrowed);
    let file = scene.lab.folder().join("narrowed.toml");
    std::fs::write(&file, narrowed)?;
    gateway.ok(&format!("apply -f {} --wait", file.display()))?;
    Bench::new(&scene)?.run(&[
        case("O9 own", "a1", ["10.0.0.10", OUTSIDE], Arrives(INTERNET_SIDE, ["203.0.113.10", OUTSIDE], 63)),
        case("O9 the instance's other ENI", "a1", ["10.0.0.11", OUTSIDE], Dropped("spoofed-source")),
        case("O9 not narrowed", "a2", ["10.0.0.10", OUTSIDE], Arrives(INTERNET_SIDE, ["203.0.113.10", OUTSIDE], 63)),
    ])
}

#[test]
#[rustfmt::skip] // A table: a row a line.
fn overlapping_vpcs_are_never_confused() -> Result<()> {
    let scene = Scene::new(&SILENT)?;
    let gateway = &scene.gateway;
    let other = scene.lab.namespace("c")?;
    other.without_ipv6()?;
    let mac = "02:00:00:00:0c:01";
    scene.backbone.plug("c1", &other, "eth0", mac)?;
    other.ip("link set dev eth0 up")?;
    gateway.ok("vpc create w --cidr 10.0.0.0/24")?;
    gateway.ok("instance create c")?;
    gateway.ok(&format!(
        "eni create c-primary --vpc w --kind primary --mac {mac} --private-ip 10.0.0.10 --private-ip 10.0.0.20"
    ))?;
    gateway.ok("eip create eip-c --address 203.0.113.30")?;
    gateway.ok("associate eip-c c-primary")?;
    gateway.ok("eni attach c-primary --instance c --port c1 --wait")?;
    let mut bench = Bench::new(&scene)?;
    bench.add("c1", &other, "eth0", mac)?;
    let net = INTERNET_SIDE;
    bench.run(&[
        case("O14 in", net, [OUTSIDE, "203.0.113.30"], Arrives("c1", [OUTSIDE, "10.0.0.10"], 63)),
        case("O14 in, the other", net, [OUTSIDE, "203.0.113.10"], Arrives("a1", [OUTSIDE, "10.0.0.10"], 63)),
        case("O14 out", "c1", ["10.0.0.10", OUTSIDE], Arrives(net, ["203.0.113.30", OUTSIDE], 63)),
        case("O14 out, the other", "a1", ["10.0.0.10", OUTSIDE], Arrives(net, ["203.0.113.10", OUTSIDE], 63)),
        case("O14 private", "c1", ["10.0.0.10", "10.0.0.11"], Dropped("no-such-eni")),
        case("O14 private, the other", "a1", ["10.0.0.10", "10.0.0.20"], Arrives("b1", ["10.0.0.10", "10.0.0.20"], 64)),
        case("O14 hairpin", "c1", ["10.0.0.10", "203.0.113.10"], Arrives("a1", ["203.0.113.30", "10.0.0.10"], 63)),
    ])
}

#[test]
#[rustfmt::skip] // A table: a row a line.
fn an_eni_that_is_not_there_or_stranded_gets_nothing() -> Result<()> {
    let scene = Scene::new(&SILENT)?;
    let gateway = &scene.gateway;
    let net = INTERNET_SIDE;
    gateway.ok("eni detach a-secondary --wait")?;
    let bench = Bench::new(&scene)?;
    bench.run(&[
        case("O5 detached", net, [OUTSIDE, "203.0.113.11"], Dropped("eni-detached")),
        case("O5 detached, from inside", "a1", ["10.0.0.10", "203.0.113.12"], Dropped("eni-detached")),
    ])?;
    gateway.ok("disassociate eip-b --wait")?;
    bench.run(&[
        case("O5 stranded, its EIP", net, [OUTSIDE, "203.0.113.20"], Dropped("no-association")),
        // The guest still has the EIP that is its own no more.
        case("O5 stranded, out from the lost EIP", "b2", ["203.0.113.20", OUTSIDE], Dropped("spoofed-source")),
        case("O5 stranded, out", "b2", ["10.0.0.21", OUTSIDE], Dropped("eni-stranded")),
        case("O5 stranded, private", "a1", ["10.0.0.10", "10.0.0.21"], Dropped("eni-stranded")),
    ])?;
    gateway.ok("eni detach b-secondary")?;
    gateway.ok("eni attach b-secondary --instance b --port b2 --wait")?;
    bench.run(&[
        case("O5 attached again", "a1", ["10.0.0.10", "10.0.0.21"], Arrives("b2", ["10.0.0.10", "10.0.0.21"], 64)),
        case("O5 attached again, without EIP", "b2", ["10.0.0.21", OUTSIDE], Dropped("no-eip")),
    ])
}

/// O16: what the uplink's own link carries is the host's.
#[test]
fn the_gateways_own_traffic_passes() -> Result<()> {
    use eip_dp_tests::lab::{
        topology::INTERNET,
        traffic::{Amount, IperfServer, iperf, ping, udp},
    };
    let scene = Scene::new(&SILENT)?;
    let (internet, host) = (&scene.backbone.internet, &scene.backbone.gateway);
    assert!(ping(internet, None, GATEWAY, 3)?.lost_nothing());
    assert!(ping(host, None, INTERNET, 3)?.lost_nothing());
    let seen = udp(internet, INTERNET, host, GATEWAY, GATEWAY, 7003)?;
    assert_eq!(seen.server.ip().to_string(), GATEWAY);
    let _server = IperfServer::start(host, &scene.lab.folder().join("iperf.log"))?;
    for reverse in [false, true] {
        let sent = iperf(internet, None, GATEWAY, Amount::Megabytes(2), reverse)?;
        assert!(sent.received >= 1 << 20);
    }
    Ok(())
}

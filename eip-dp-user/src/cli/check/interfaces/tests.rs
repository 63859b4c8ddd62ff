//! What is said about hosts that are written out.

use std::net::IpAddr;

use super::*;
use crate::host::{Framing, Neighbour, Route, XdpFeatures};

fn link(name: &str, kind: LinkKind, features: u64) -> Link {
    Link {
        name: name.to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        up: true,
        kind,
        framing: Framing::Ethernet,
        master: None,
        vlan: None,
        takes_tags: false,
        incarnation: None,
        xdp: Some(XdpFeatures(features)),
    }
}

/// An uplink `up0` with index 1, its next hop resolved, and `nic` with index 2.
fn facts() -> HostFacts {
    let hop: IpAddr = "192.0.2.1".parse().unwrap();
    let mut facts = HostFacts::default();
    facts.links.insert(1, link("up0", LinkKind::Physical, 0x7f));
    facts.links.insert(2, link("nic", LinkKind::Physical, 0x7f));
    facts.routes.push(Route {
        interface: 1,
        family: Family::V4,
        metric: 0,
        gateway: Some(hop),
    });
    facts.neighbours.insert(
        (1, hop),
        Neighbour {
            mac: Some([2, 0, 0, 0, 0, 0xfe]),
            usable: true,
            permanent: false,
            managed: None,
        },
    );
    facts
}

fn uplink_lines(facts: &HostFacts, interface: &str) -> Vec<Line> {
    uplink(facts, &Uplink::new(interface))
}

/// The one line of that status, as `seen → cure`.
#[track_caller]
fn only(lines: &[Line], status: Status) -> String {
    let mut found = lines.iter().filter(|line| line.status == status);
    let line = found.next().expect("a line of that status");
    assert_eq!(found.next(), None);
    format!("{} → {}", line.seen, line.cure.as_deref().unwrap_or(""))
}

#[test]
fn a_good_uplink_has_nothing_to_cure() {
    let lines = uplink_lines(&facts(), "up0");
    assert!(
        lines.iter().all(|line| line.status == Status::Ok),
        "{lines:?}"
    );
    assert_eq!(
        lines.last().unwrap().seen,
        "next hop 192.0.2.1 at 02:00:00:00:00:fe"
    );
}

#[test]
fn each_fault_of_an_uplink_is_one_line() {
    assert!(only(&uplink_lines(&facts(), "up9"), Status::Fail).starts_with("no such interface → "));
    assert!(only(&uplink_lines(&facts(), "nic"), Status::Fail).contains("no next hop"));
    let with = |change: fn(&mut Link)| {
        let mut facts = facts();
        change(facts.links.get_mut(&1).unwrap());
        facts
            .links
            .insert(3, link("br0", LinkKind::Other("bridge".into()), 0));
        uplink_lines(&facts, "up0")
    };
    let down = with(|link| link.up = false);
    assert!(only(&down, Status::Warn).contains("ip link set up0 up"));
    let no_xdp = with(|link| link.xdp = Some(XdpFeatures(0)));
    assert!(only(&no_xdp, Status::Warn).contains("tc alone: the driver has no native XDP"));
    let old = with(|link| link.xdp = None);
    assert!(only(&old, Status::Warn).contains("does not tell"));
    let jumbo = with(|link| {
        link.mtu = 9000;
        link.xdp = Some(XdpFeatures(7));
    });
    assert!(only(&jumbo, Status::Warn).contains("not at MTU 9000"));
    let large_buffers = with(|link| link.mtu = 9000);
    assert!(large_buffers.iter().all(|line| line.status == Status::Ok));
    let bridged = with(|link| link.master = Some(3));
    assert!(only(&bridged, Status::Warn).contains("belongs to bridge br0"));
    let loopback = with(|link| link.kind = LinkKind::Loopback);
    assert!(only(&loopback, Status::Fail).contains("no Ethernet frames"));
}

#[test]
fn offloads_that_hurt_are_named_with_the_command_that_ends_them() {
    let nic = link("up0", LinkKind::Physical, 0x7f);
    let line = |vlans, rx_vlan, lro| {
        offload_line("uplink up0", &nic, vlans, Ok(Offloads { rx_vlan, lro }))
    };
    assert_eq!(line(false, true, false).status, Status::Ok);
    assert_eq!(line(true, false, false).status, Status::Ok);
    let tags = line(true, true, false);
    assert_eq!(tags.status, Status::Warn);
    assert_eq!(tags.cure.unwrap(), "ethtool -K up0 rxvlan off");
    assert_eq!(
        line(false, false, true).cure.unwrap(),
        "ethtool -K up0 lro off"
    );
    let unknown = offload_line("uplink up0", &nic, true, Err("not supported".into()));
    assert_eq!(unknown.seen, "offloads unknown: not supported");
}

#[test]
fn ports_that_are_missing_bridged_small_or_uplinks_are_told() {
    let mut facts = facts();
    let lines = |facts: &HostFacts, name: &str, is_uplink, delivery| {
        let mode = PortMode {
            delivery,
            ..PortMode::default()
        };
        port(facts, name, is_uplink, Some(1500), mode)
    };
    let auto = Delivery::Auto;
    assert_eq!(
        lines(&facts, "nic", false, auto)[0].seen,
        "ethernet, up, MTU 1500, delivered by XDP"
    );
    assert!(only(&lines(&facts, "tap9", false, auto), Status::Warn).contains("as soon as"));
    assert!(only(&lines(&facts, "up0", true, auto), Status::Fail).contains("uplink"));
    facts.links.get_mut(&2).unwrap().mtu = 1400;
    assert!(
        only(&lines(&facts, "nic", false, auto), Status::Warn)
            .contains("`ip link set nic mtu 1500`")
    );
    facts.links.insert(3, link("v0", LinkKind::Veth, 3));
    assert!(
        lines(&facts, "v0", false, auto)[0]
            .seen
            .ends_with("delivered by tc")
    );
    assert!(only(&lines(&facts, "v0", false, Delivery::Xdp), Status::Warn).contains("gro on"));
}

#[test]
fn a_group_address_of_a_next_hop_is_told_with_the_key_that_fixes_another() {
    let mut facts = facts();
    let hop: IpAddr = "192.0.2.1".parse().unwrap();
    facts.neighbours.get_mut(&(1, hop)).unwrap().mac = Some([0xff; 6]);
    let said = only(&uplink_lines(&facts, "up0"), Status::Warn);
    assert!(
        said.contains("192.0.2.1")
            && said.contains("ff:ff:ff:ff:ff:ff")
            && said.contains("`next_hop_mac`")
    );
    let fixed = Uplink {
        next_hop_mac: Some(Mac([2, 0, 0, 0, 0, 7])),
        ..Uplink::new("up0")
    };
    let lines = uplink(&facts, &fixed);
    assert_eq!(
        lines.last().unwrap().seen,
        "next hop 192.0.2.1 at 02:00:00:00:00:07"
    );
}

#[test]
fn a_tunnel_needs_a_family_that_leads_there_and_no_neighbour() {
    let mut facts = facts();
    let wg = Link {
        mac: [0; 6],
        framing: Framing::None,
        ..link("wg0", LinkKind::Other("wireguard".to_owned()), 0)
    };
    facts.links.insert(3, wg);
    let lines = uplink_lines(&facts, "wg0");
    let said = only(&lines, Status::Fail);
    assert!(said.contains("no default route"), "{said}");
    assert!(said.contains("`ip route add default dev wg0`"), "{said}");

    facts.routes.push(Route {
        interface: 3,
        family: Family::V6,
        metric: 0,
        gateway: None,
    });
    let lines = uplink_lines(&facts, "wg0");
    assert!(lines.iter().all(|line| line.status == Status::Ok));
    let says = |words: &str| lines.iter().any(|line| line.seen.contains(words));
    assert!(says("IPv6 packets are sent to its other end") && says("served by tc"));
    assert!(!says("IPv4 packets"));

    let mut tagged = Uplink::new("wg0");
    tagged.vlan = Some(crate::model::Vlan::of(7));
    let said = only(&uplink(&facts, &tagged), Status::Fail);
    assert!(said.contains("have no VLANs"), "{said}");
    let link = facts.links.get_mut(&3).expect("there");
    link.framing = Framing::NoneToMany;
    let said = only(&uplink_lines(&facts, "wg0"), Status::Fail);
    assert!(said.contains("remote ADDRESS"), "{said}");
    // Nor is it a port.
    let lines = port(&facts, "wg0", false, None, PortMode::default());
    let said = only(&lines, Status::Fail);
    assert!(said.contains("no Ethernet address"), "{said}");
}

//! What the host's routes and names make of uplinks and ports.

use std::net::IpAddr;

use eip_dp_common::abi::{LinkKey, TargetFlags, UPLINK_TARGET4, UPLINK_TARGET6};

use super::{
    testing::{add_eip, associate, attached, config, eni, host, link, table},
    *,
};
use crate::{
    host::{Doubt, Family, LinkKind, Neighbour, Route},
    model::objects::Mode,
};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn compiled(facts: &HostFacts, text: &str) -> DesiredState {
    compile(&table(), facts, &config(text), &Applied::default())
}

fn has(image: &DesiredState, words: &[&str]) -> bool {
    let mut warnings = image.warnings.iter();
    warnings.any(|text| words.iter().all(|word| text.contains(word)))
}

/// IPv4's default route has the router `hop`.
fn by_router(hop: &str) -> HostFacts {
    let mut facts = host();
    facts.routes[0].gateway = Some(ip(hop));
    facts
}

/// A router of another default route on the link may be the next hop in a moment.
#[test]
fn no_router_on_an_uplinks_link_is_an_eip() {
    let mut facts = host();
    let second = Route {
        metric: 500,
        gateway: Some(ip("203.0.113.10")),
        ..facts.routes[0]
    };
    // That of another interface is nobody's concern.
    let elsewhere = Route {
        interface: 10,
        gateway: Some(ip("203.0.113.11")),
        ..second
    };
    facts.routes.extend([second, elsewhere]);
    let of_tables = vec![(100, ip("192.0.2.1")), (101, ip("203.0.113.12"))];
    facts
        .doubts
        .insert((1, Family::V4), Doubt::Routers(of_tables));
    let routers = routers(&config(""), &facts);
    for (address, is_one) in [
        ("192.0.2.1", true),
        ("203.0.113.10", true),
        ("203.0.113.11", false),
        ("203.0.113.12", true),
    ] {
        assert_eq!(routers.contains(&ip(address)), is_one, "{address}");
    }
    let mut model = table();
    let eni = eni("e0", "v0", 1, &[[10, 0, 0, 1]]);
    let eni = attached(eni, "i0", "p1");
    model.enis.insert("e0".to_owned(), eni);
    add_eip(&mut model, 0);
    associate(&mut model, 0, "e0", [10, 0, 0, 1], Mode::Nat);
    let image = compile(&model, &facts, &config(""), &Applied::default());
    assert!(image.content.v4.eips.is_empty());
    assert!(has(&image, &["eip x0", "the next hop of an uplink"]));
    // Nor is the broadcast address of the link.
    let mut facts = host();
    let net = "203.0.113.3/29".parse().expect("a network");
    facts.addresses.push((1, net));
    let eip = model.eips.get_mut("x0").expect("there");
    eip.address = ip("203.0.113.7");
    let image = compile(&model, &facts, &config(""), &Applied::default());
    assert!(
        has(&image, &["eip x0", "203.0.113.7", "broadcast"]),
        "{:?}",
        image.warnings
    );
}

#[test]
fn ipv4_goes_to_an_ipv6_router() {
    // IPv6's own, whose place is known.
    let image = compiled(&by_router("fe80::1"), "");
    let target = image.content.targets[&UPLINK_TARGET4];
    assert_eq!((target.ifindex, target.dst_mac[5]), (1, 1));
    assert_ne!(target.flags & TargetFlags::RESOLVED, 0);
    let uplink = image.content.uplinks[&LinkKey::untagged(1)];
    assert_eq!(uplink.next_hop4, [0; 4]);
    assert_eq!(IpAddr::from(uplink.next_hop6), ip("fe80::1"));

    // Where it is not, the kernel finds it by the record.
    let mut facts = by_router("fe80::1");
    facts.neighbours.clear();
    let target = compiled(&facts, "").content.targets[&UPLINK_TARGET4];
    assert_eq!(
        (target.ifindex, target.flags & TargetFlags::RESOLVED),
        (1, 0)
    );

    // Another than IPv6's has no place in the record, and is used once it is resolved.
    let mut facts = by_router("fe80::7");
    let target = |facts: &HostFacts| compiled(facts, "").content.targets[&UPLINK_TARGET4];
    assert_eq!(target(&facts).ifindex, 0);
    facts.neighbours.insert(
        (1, ip("fe80::7")),
        Neighbour {
            mac: Some([2, 0xbb, 0, 0, 0, 7]),
            usable: true,
            permanent: false,
            managed: None,
        },
    );
    assert_eq!(target(&facts).dst_mac[5], 7);

    // IPv6 has none of its own.
    facts.routes.pop();
    facts.neighbours.clear();
    let image = compiled(&facts, "");
    assert_eq!(image.content.targets[&UPLINK_TARGET4].ifindex, 1);
    assert_eq!(image.content.targets[&UPLINK_TARGET6].ifindex, 0);
    let uplink = image.content.uplinks[&LinkKey::untagged(1)];
    assert_eq!(IpAddr::from(uplink.next_hop6), ip("fe80::7"));

    // As the configuration says, whatever the routes do.
    let text = "[[uplink]]\ninterface = \"wan\"\nnext_hop = { ipv4 = \"fe80::9\" }";
    let uplink = compiled(&facts, text).content.uplinks[&LinkKey::untagged(1)];
    assert_eq!(IpAddr::from(uplink.next_hop6), ip("fe80::9"));
}

#[test]
fn doubts_are_told_with_the_key_unless_it_is_set() {
    let mut facts = host();
    let routers = vec![(100, ip("192.0.2.8")), (101, ip("192.0.2.9"))];
    facts
        .doubts
        .insert((1, Family::V4), Doubt::Routers(routers));
    let words = ["uplink wan", "192.0.2.8", "192.0.2.9", "`next_hop`"];
    let image = compiled(&facts, "");
    assert!(has(&image, &words), "{:?}", image.warnings);
    assert!(has(&image, &["go to 192.0.2.1"]), "{:?}", image.warnings);
    facts.routes.remove(0);
    let image = compiled(&facts, "");
    assert!(has(&image, &words), "{:?}", image.warnings);
    assert!(
        !has(&image, &["no uplink is up"]),
        "said once: {:?}",
        image.warnings
    );
    let text = "[[uplink]]\ninterface = \"wan\"\nnext_hop = \"192.0.2.8\"";
    assert!(!has(&compiled(&facts, text), &["192.0.2.9"]));

    let mut facts = host();
    facts.routes[0].gateway = None;
    let image = compiled(&facts, "");
    assert!(
        has(&image, &["names no router", "`next_hop`"]),
        "{:?}",
        image.warnings
    );
}

#[test]
fn an_alternative_name_is_the_interface() {
    let mut facts = host();
    facts.altnames.insert("wide-area".to_owned(), 1);
    facts.altnames.insert("tenant".to_owned(), 11);
    // Twice, by two names.
    let text = "[[uplink]]\ninterface = \"wide-area\"\nanswer_arp = false";
    let image = compiled(&facts, text);
    assert!(has(&image, &["uplink wan", "uplink wide-area", "keep one"]));
    assert_eq!(
        image.content.uplinks[&LinkKey::untagged(1)].flags,
        0,
        "the first one's"
    );

    let mut model = table();
    for eni in [
        attached(eni("e0", "v0", 1, &[[10, 0, 0, 10]]), "i0", "tenant"),
        attached(eni("e1", "v1", 2, &[[10, 0, 0, 11]]), "i1", "p1"),
        attached(eni("e2", "v0", 3, &[[10, 0, 0, 12]]), "i0", "wide-area"),
    ] {
        model.enis.insert(eni.id.clone(), eni);
    }
    let text = "[[port]]\ninterface = \"tenant\"\ndelivery = \"xdp\"";
    let image = compile(&model, &facts, &config(text), &Applied::default());
    assert!(image.content.ports.contains_key(&LinkKey::untagged(11)));
    assert!(
        has(&image, &["eni e1", "VPC v0", "p1"]),
        "{:?}",
        image.warnings
    );
    assert!(
        has(&image, &["eni e2", "is an uplink"]),
        "{:?}",
        image.warnings
    );
    let port = image.attachments.iter().find(|one| one.ifindex == 11);
    assert!(port.expect("attached").xdp_delivery, "its own mode");
}

#[test]
fn a_missing_uplink_names_the_interfaces_that_there_are() {
    let mut facts = host();
    let wan = facts.links.remove(&1).expect("there");
    for index in 100..200 {
        let name = format!("tap{index}");
        facts.links.insert(index, link(&name, 1, LinkKind::Tap));
    }
    facts.links.insert(
        300,
        crate::host::Link {
            name: "lan9".to_owned(),
            ..wan
        },
    );
    let image = compiled(&facts, "");
    assert!(has(
        &image,
        &["uplink wan", "no such interface", "lan9", "more"]
    ));
    assert!(image.warnings.iter().all(|text| text.len() < 400));
}

#[test]
fn a_vpc_over_an_uplinks_network_is_told_of() {
    let mut facts = host();
    facts
        .addresses
        .push((1, "10.0.7.2/24".parse().expect("a net")));
    let image = compiled(&facts, "");
    assert!(has(
        &image,
        &[
            "vpc-overlaps-uplink",
            "vpc v0",
            "10.0.0.0/16",
            "10.0.7.0/24",
            "uplink wan"
        ]
    ));
    assert!(!has(&compiled(&host(), ""), &["vpc-overlaps-uplink"]));
    // A router in the VPC's network, with `onlink`; a link-local one is every link's.
    let image = compiled(&by_router("10.0.0.1"), "");
    assert!(
        has(&image, &["vpc-overlaps-uplink", "10.0.0.1/32"]),
        "{:?}",
        image.warnings
    );
}

#[test]
fn errors_come_from_another_of_the_hosts_addresses() {
    let mut model = table();
    for pool in model.pools.values_mut() {
        pool.gateway = Some(crate::model::objects::PoolGateway::None);
    }
    let source = |addresses: &[(u32, &str)]| {
        let mut facts = host();
        facts.links.insert(90, link("lo", 0, LinkKind::Loopback));
        let parsed = addresses
            .iter()
            .map(|(index, net)| (*index, net.parse().expect("a net")));
        facts.addresses = parsed.collect();
        let image = compile(&model, &facts, &config(""), &Applied::default());
        let uplink = image.content.uplinks[&LinkKey::untagged(1)];
        let said = has(&image, &["icmp_source"]);
        (
            IpAddr::from(uplink.icmp_source4),
            IpAddr::from(uplink.icmp_source6),
            said,
        )
    };
    let all = [
        (11, "10.9.0.1/24"),
        (12, "198.51.100.7/24"),
        (90, "127.0.0.1/8"),
        (90, "192.0.2.77/32"),
        (90, "2001:db8:1::7/128"),
    ];
    let six = ip("2001:db8:1::7");
    assert_eq!(source(&all), (ip("192.0.2.77"), six, false));
    assert_eq!(source(&all[..2]), (ip("198.51.100.7"), ip("::"), true));
    assert_eq!(source(&[all[0], all[4]]), (ip("10.9.0.1"), six, false));
    assert_eq!(source(&all[4..]), (ip("192.0.0.8"), six, true));
}

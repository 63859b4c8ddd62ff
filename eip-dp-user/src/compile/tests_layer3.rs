//! Uplinks whose packets have no Ethernet header: WireGuard, GRE, tun.

use std::net::IpAddr;

use eip_dp_common::abi::{
    LinkKey, TargetFlags, UPLINK_TARGET4, UPLINK_TARGET6, UplinkFlags, layer3,
};

use super::{
    testing::{config, host, table},
    *,
};
use crate::{
    attach::Program,
    host::{Doubt, Family, Framing, Link, LinkKind},
};

/// The host with a WireGuard interface for its uplink.
fn with_tunnel() -> HostFacts {
    let mut facts = host();
    let wan = facts.links.get_mut(&1).expect("there");
    *wan = Link {
        mac: [0; 6],
        mtu: 1420,
        kind: LinkKind::Other("wireguard".to_owned()),
        framing: Framing::None,
        ..wan.clone()
    };
    facts.neighbours.clear();
    facts
}

fn compiled(facts: &HostFacts, text: &str) -> DesiredState {
    compile(&table(), facts, &config(text), &Applied::default())
}

/// Whether packets of each family are sent there.
fn sends(image: &DesiredState) -> [bool; 2] {
    [UPLINK_TARGET4, UPLINK_TARGET6].map(|index| {
        let target = image.content.targets[&index];
        if target.ifindex == 1 {
            assert_eq!(target.flags, TargetFlags::RESOLVED);
            assert_eq!(target.dst_mac, layer3::OTHER_MAC);
            assert_eq!((target.src_mac, target.mtu), (layer3::OWN_MAC, 1420));
        }
        target.ifindex == 1
    })
}

#[test]
fn nobody_is_asked_on_a_tunnel() {
    let facts = with_tunnel();
    let image = compiled(&facts, "");
    assert_eq!(sends(&image), [true, true], "{:?}", image.warnings);
    let uplink = image.content.uplinks[&LinkKey::untagged(1)];
    assert_eq!(uplink.mac, layer3::OWN_MAC);
    assert_eq!(uplink.flags & UplinkFlags::ANSWER_ARP, 0);
    assert!(!image.content.devices.contains(&1), "XDP cannot send there");
    assert!(image.settings.iter().all(|(ifindex, _)| *ifindex != 1));
    let mut attachments = image.attachments.iter();
    let wan = attachments.find(|one| one.ifindex == 1).expect("attached");
    assert_eq!(
        Vec::from_iter(&wan.programs),
        [&Program::UplinkL3Tc],
        "no other program of an uplink"
    );
    assert!(!wan.xdp_delivery && wan.no_xdp.is_some());
    assert!(Mouths::new(&table(), &facts, &config("")).all().is_empty());
}

#[test]
fn a_tunnel_is_used_for_the_families_that_something_leads_to_it_for() {
    let mut facts = with_tunnel();
    // Of the device, without a router.
    for route in &mut facts.routes {
        route.gateway = None;
    }
    assert_eq!(sends(&compiled(&facts, "")), [true, true]);
    facts.routes.retain(|route| route.family == Family::V6);
    let image = compiled(&facts, "");
    assert_eq!(sends(&image), [false, true]);
    let told = |text: &String| text.contains("no uplink is up and has an IPv4 next hop");
    assert!(image.warnings.iter().any(told), "{:?}", image.warnings);

    // Rules choose between routers: both are at the other end.
    let router = |text: &str| text.parse::<IpAddr>().expect("an address");
    let routers = vec![(100, router("192.0.2.8")), (101, router("192.0.2.9"))];
    let request_full_sync = Doubt::Routers(routers);
    facts.doubts.insert((1, Family::V4), request_full_sync);
    let image = compiled(&facts, "");
    assert_eq!(sends(&image), [true, true]);
    assert!(
        image
            .warnings
            .iter()
            .all(|text| !text.contains("192.0.2.8"))
    );

    // A half of all addresses is elsewhere.
    facts.doubts.insert((1, Family::V4), Doubt::Halves(254));
    assert_eq!(sends(&compiled(&facts, "")), [false, true]);
    let text = "[[uplink]]\ninterface = \"wan\"\nnext_hop = \"10.9.0.1\"";
    assert_eq!(sends(&compiled(&facts, text)), [true, true]);
}

#[test]
fn what_a_tunnel_cannot_be_is_told() {
    let has = |facts: &HostFacts, text: &str, words: &[&str]| {
        let image = compiled(facts, text);
        let mut warnings = image.warnings.iter();
        let found = warnings.any(|text| words.iter().all(|word| text.contains(word)));
        assert!(found, "{words:?}: {:?}", image.warnings);
        image
    };
    let mut facts = with_tunnel();
    let vlan = "[[uplink]]\ninterface = \"wan\"\nvlan = 7";
    let image = has(&facts, vlan, &["wan VLAN 7", "no VLANs", "`vlan = 7`"]);
    assert!(image.content.uplinks.is_empty());
    let mac = "[[uplink]]\ninterface = \"wan\"\nnext_hop_mac = \"02:00:00:00:00:07\"";
    let image = has(&facts, mac, &["uplink wan", "`next_hop_mac`"]);
    assert_eq!(sends(&image), [true, true]);

    let wan = facts.links.get_mut(&1).expect("there");
    wan.framing = Framing::NoneToMany;
    let image = has(&facts, "", &["uplink wan", "remote"]);
    assert!(image.content.uplinks.is_empty() && image.attachments.iter().all(|a| a.ifindex != 1));
    facts.links.get_mut(&1).expect("there").framing = Framing::Other;
    has(&facts, "", &["uplink wan", "no Ethernet address"]);
}

/// A pool's addresses are all routed here, whatever prefix the tunnel's own address has.
#[test]
fn no_pool_is_on_the_link_of_a_tunnel() {
    let mut facts = with_tunnel();
    let pool = *table().pools.keys().next().expect("a pool");
    let own = pool.hosts().nth(200).expect("an address");
    facts
        .addresses
        .push((1, ipnet::IpNet::new(own, pool.prefix_len()).expect("a net")));
    facts.addresses.sort_unstable();
    let on_link = |facts: &HostFacts| {
        let image = compiled(
            facts,
            "[[uplink]]\ninterface = \"wan\"\nnext_hop = \"10.9.0.1\"",
        );
        let prefixes = image.content.v4.prefixes.iter();
        let on_link = prefixes
            .filter(|(_, record)| record.class == eip_dp_common::abi::AddressClass::OnLink as u32);
        on_link
            .map(|(key, _)| (key.length, key.network))
            .collect::<Vec<_>>()
    };
    assert_eq!(on_link(&facts), [(32, [10, 9, 0, 1])], "the next hop alone");
    let wan = facts.links.get_mut(&1).expect("there");
    (wan.framing, wan.mac) = (Framing::Ethernet, [2, 0, 0, 0, 0, 9]);
    assert_eq!(on_link(&facts).len(), 2);
}

//! What is compiled for tables with both families, and for VLANs.

use std::net::{IpAddr, Ipv6Addr};

use eip_dp_common::abi::{
    AddressClass, Checksummed, EipMode, LinkKey, MacKey, NONE, PREFIX_CHECKSUM, PrefixKey,
    SourceKey, SourceState, TargetFlags, UPLINK_TARGET4, UPLINK_TARGET6,
};

use super::{
    testing::{
        add_eip, add_eip6, associate, attached, config, eip_address, eip6_address, eni, host, link,
        private6, put_association, table,
    },
    *,
};
use crate::{
    config::Config,
    guests::Client,
    host::{Family, LinkKind, Setting, VlanTag},
    model::{
        Vlan,
        objects::{Mode, Pool, PoolGateway},
    },
};

const PRIVATE: [u8; 4] = [10, 0, 0, 10];

/// The ENI `e0` behind `p1` with a private address of each family, and an EIP for each.
fn dual(mode: Mode) -> Model {
    let mut model = table();
    let addresses = [IpAddr::from(PRIVATE), private6(10).into()];
    let eni = attached(eni("e0", "v0", 1, &addresses), "i0", "p1");
    model.enis.insert("e0".to_owned(), eni);
    add_eip(&mut model, 0);
    associate(&mut model, 0, "e0", PRIVATE, mode);
    add_eip6(&mut model, 0);
    put_association(&mut model, "y0", "e0", private6(10).into(), mode);
    model
}

fn compiled_with(model: &Model, facts: &HostFacts, text: &str) -> DesiredState {
    compile(model, facts, &config(text), &Applied::default())
}

fn compiled(model: &Model) -> DesiredState {
    compiled_with(model, &host(), "")
}

fn state6(image: &DesiredState, address: Ipv6Addr) -> Option<SourceState> {
    let key = SourceKey {
        vpc: 0,
        address: address.octets(),
    };
    let entry = image.content.v6.private.get(&key)?;
    assert!(entry.is_consistent(&key));
    SourceState::from_value(entry.state)
}

fn state4(image: &DesiredState, address: [u8; 4]) -> Option<SourceState> {
    let entry = image
        .content
        .v4
        .private
        .get(&SourceKey { vpc: 0, address })?;
    SourceState::from_value(entry.state)
}

fn class6(image: &DesiredState, cidr: &str) -> Option<(AddressClass, Ipv6Addr)> {
    let cidr: ipnet::Ipv6Net = cidr.parse().expect("a prefix");
    let key = PrefixKey {
        length: u32::from(cidr.prefix_len()),
        network: cidr.network().octets(),
    };
    let record = image.content.v6.prefixes.get(&key)?;
    assert!(record.is_consistent(&PREFIX_CHECKSUM));
    let class = AddressClass::from_value(record.class)?;
    Some((class, record.gateway.into()))
}

#[test]
fn a_dual_stack_eni_has_one_target_and_counters_for_each_eip() {
    let image = compiled(&dual(Mode::Nat));
    let v4 = image.content.v4.eips[&eip_address(0).octets()];
    let public = eip6_address(0).octets();
    let v6 = image.content.v6.eips[&public];
    assert!(v6.is_consistent(&public));
    assert_eq!(EipMode::from_value(v6.mode), Some(EipMode::Nat));
    assert_eq!((v4.target, v4.vpc), (v6.target, v6.vpc));
    assert_ne!(v4.slot, v6.slot);
    assert_eq!(v6.private, private6(10).octets());
    assert_ne!(v6.delta, 0);
    assert_eq!(state6(&image, private6(10)), Some(SourceState::Nat));
    assert_eq!(image.content.macs.len(), 1);
    let cidr = image.content.v6.cidrs[&0];
    assert_eq!(Ipv6Addr::from(cidr.gateway), private6(1));
    assert_eq!(cidr.mask[..8], [0xff; 8]);
    assert_eq!(cidr.mask[8..], [0; 8]);
    assert_eq!(image.warnings, [""; 0]);
    let both = [IpAddr::from(eip_address(0)), IpAddr::from(eip6_address(0))];
    assert_eq!(moved(&Content::default(), &image.content), both);
    assert_eq!(withdrawn(&image.content, &Content::default()), both);
}

/// The next daemon finds the counters of both families, and gives none of them to another EIP.
#[test]
fn the_counters_of_both_families_are_recovered() {
    let mut model = dual(Mode::Nat);
    let image = compiled(&model);
    let limits = Limits::default();
    let have = Applied {
        allocations: Allocations::recover(&image.content, &limits, PreferredBuckets::default()),
        content: image.content.clone(),
        limits,
    };
    assert_eq!(have.allocations, image.allocations);
    model.eips.remove("x0");
    model.associations.remove("x0");
    add_eip6(&mut model, 1);
    let next = compile(&model, &host(), &config(""), &have);
    let slot = |number| next.content.v6.eips[&eip6_address(number).octets()].slot;
    assert_eq!(
        slot(0),
        image.content.v6.eips[&eip6_address(0).octets()].slot
    );
    assert_ne!(slot(1), slot(0));
    let quarantined = image.content.v4.eips[&eip_address(0).octets()].slot;
    assert_ne!(slot(1), quarantined, "it rests");
}

#[test]
fn cut_through_in_one_family_ends_private_networking_in_both() {
    let mut model = dual(Mode::CutThrough);
    model.associations.remove("x0");
    let image = compiled(&model);
    assert_eq!(state6(&image, private6(10)), Some(SourceState::Off));
    assert_eq!(
        state6(&image, eip6_address(0)),
        Some(SourceState::CutThrough)
    );
    assert_eq!(state4(&image, PRIVATE), Some(SourceState::Off));
    let leases = &image.directory.leases4;
    assert!(leases.is_empty(), "its IPv4 address would be of no use");

    let image = compiled(&dual(Mode::CutThrough));
    let eip = eip_address(0).octets();
    assert_eq!(state4(&image, eip), Some(SourceState::CutThrough));
    assert_eq!(image.directory.leases4.len(), 1);
}

#[test]
fn pools_of_ipv6_and_their_routers() {
    let mut model = dual(Mode::Nat);
    let image = compiled(&model);
    let router: Ipv6Addr = "2001:db8::1".parse().expect("an address");
    let nobody = Ipv6Addr::UNSPECIFIED;
    assert_eq!(
        class6(&image, "2001:db8::/64"),
        Some((AddressClass::Pool, router))
    );
    assert_eq!(
        class6(&image, "2001:db8::1/128"),
        Some((AddressClass::PoolGateway, nobody))
    );
    assert_eq!(
        class6(&image, "2001:db8:ffff::2/128"),
        Some((AddressClass::Host, nobody))
    );
    let prefilter = &image.content.v6.prefilter;
    let bits: u32 = prefilter.values().map(|word| word.count_ones()).sum();
    assert_eq!(bits, 3, "of their /32, of its /56, and of the host's");

    for pool in model.pools.values_mut() {
        pool.gateway = Some(PoolGateway::None);
    }
    let image = compiled(&model);
    assert_eq!(
        class6(&image, "2001:db8::/64"),
        Some((AddressClass::Pool, nobody))
    );
    assert_eq!(class6(&image, "2001:db8::1/128"), None);
}

#[test]
fn each_family_has_its_own_way_out() {
    let image = compiled(&table());
    let uplink = image.content.uplinks[&LinkKey::untagged(1)];
    let hop: Ipv6Addr = "fe80::1".parse().expect("an address");
    assert_eq!(Ipv6Addr::from(uplink.next_hop6), hop);
    assert_eq!(uplink.icmp_source4, [192, 0, 2, 2]);
    let own: Ipv6Addr = "2001:db8:ffff::2".parse().expect("an address");
    assert_eq!(Ipv6Addr::from(uplink.icmp_source6), own);
    let target = image.content.targets[&UPLINK_TARGET6];
    assert!(target.is_consistent(&UPLINK_TARGET6));
    assert_eq!((target.ifindex, target.vpc), (1, NONE));
    assert_eq!(target.dst_mac, [2, 0xbb, 0, 0, 0, 1]);
    assert_eq!(target.flags, TargetFlags::RESOLVED | TargetFlags::XDP);

    // Without an address of its own, a pool's gateway speaks for the uplink.
    let mut facts = host();
    facts.addresses.clear();
    facts.routes.retain(|route| route.family == Family::V4);
    let image = compiled_with(&table(), &facts, "");
    let uplink = image.content.uplinks[&LinkKey::untagged(1)];
    assert_eq!(uplink.icmp_source4, [203, 0, 113, 1]);
    assert_eq!(uplink.icmp_source6[..4], [0x20, 1, 0xd, 0xb8]);
    assert_eq!(uplink.icmp_source6[15], 1);
    assert_eq!(uplink.next_hop6, [0; 16]);
    assert_eq!(image.content.targets[&UPLINK_TARGET6].ifindex, 0);
    assert_eq!(image.content.targets[&UPLINK_TARGET4].ifindex, 1);
    let [warning] = &image.warnings[..] else {
        panic!("{:?}", image.warnings);
    };
    assert!(warning.contains("IPv6") && !warning.contains("IPv4"));

    let text = "[[uplink]]\ninterface = \"wan\"\nnext_hop = \"2001:db8:ffff::9\"\n\
                icmp_source = [\"192.0.2.9\", \"2001:db8:ffff::8\"]";
    let image = compiled_with(&table(), &facts, text);
    let uplink = image.content.uplinks[&LinkKey::untagged(1)];
    assert_eq!(uplink.next_hop6[15], 9);
    assert_eq!(uplink.next_hop4, [192, 0, 2, 1], "the route's");
    assert_eq!((uplink.icmp_source4[3], uplink.icmp_source6[15]), (9, 8));
}

#[test]
fn one_interface_carries_ports_of_several_vpcs() {
    let mut model = dual(Mode::Nat);
    let stands = [
        ("e1", "v1", Some(Vlan::of(7))),
        ("e2", "v0", Some(Vlan::of(8))),
        ("e3", "v0", Some(Vlan::of(8))),
        ("e4", "v1", Some(Vlan::within(100, 8))),
        ("e5", "v0", Some(Vlan::within(101, 8))),
    ];
    for (number, (id, vpc, vlan)) in (1..).zip(stands) {
        // One MAC on several VLANs is as many ENIs.
        let mac = if id == "e2" || id == "e3" { number } else { 1 };
        let mut eni = attached(eni(id, vpc, mac, &[[10, 0, 0, 20 + number]]), "i1", "p1");
        eni.vlan = vlan;
        model.enis.insert(id.to_owned(), eni);
    }
    let image = compiled(&model);
    assert_eq!(image.warnings, [""; 0]);
    let target = |id: &str| image.allocations.targets.get(&tag(id)).expect("it has one");
    let stacked = |outer| LinkKey::stacked(11, outer, 8);
    for (id, key) in [
        ("e0", LinkKey::untagged(11)),
        ("e1", LinkKey::tagged(11, 7)),
        ("e2", LinkKey::tagged(11, 8)),
        ("e4", stacked(100)),
        ("e5", stacked(101)),
    ] {
        let record = image.content.targets[&target(id)];
        assert_eq!(LinkKey::of(&record), key, "{id}");
        // A second tag is part of the MTU.
        let mtu = if key.outer == 0 { 1500 } else { 1496 };
        assert_eq!(record.mtu, mtu, "{id}");
        let port = image.content.ports[&key];
        assert!(port.is_consistent(&key));
        assert_eq!(port.vpc, record.vpc, "{id}");
        let only = if key == LinkKey::tagged(11, 8) {
            NONE
        } else {
            target(id)
        };
        assert_eq!(port.target, only, "{id}");
        let mac = MacKey::on(key, record.dst_mac);
        assert_eq!(image.content.macs[&mac].target, target(id), "{id}");
        let client = Client::on(key, record.dst_mac);
        assert_eq!(image.directory.leases4[&client].mtu, mtu, "{id}");
    }
    let on_port = image.attachments.iter().filter(|one| one.ifindex == 11);
    assert_eq!(on_port.count(), 1, "one program for all of them");

    let stranger = model.enis.get_mut("e3").expect("there");
    stranger.vpc = "v1".to_owned();
    let image = compiled(&model);
    assert!(
        image.warnings[0].contains("p1 VLAN 8"),
        "{:?}",
        image.warnings
    );
    model.enis.get_mut("e3").expect("there").vlan = Some(Vlan::within(101, 8));
    let image = compiled(&model);
    assert!(
        image.warnings[0].contains("p1 VLAN 101.8"),
        "{:?}",
        image.warnings
    );
}

/// The host of the tests with the uplink `wan` on VLAN 100, which the kernel has the interface
/// `wan.100` (index 3) for.
fn on_vlan() -> (HostFacts, Config) {
    let mut facts = host();
    let mut vlan = link("wan.100", 3, LinkKind::Other("vlan".to_owned()));
    vlan.vlan = Some((1, VlanTag::Customer(100)));
    vlan.mtu = 1400;
    facts.links.insert(3, vlan);
    for (interface, _) in &mut facts.addresses {
        *interface = 3;
    }
    for route in &mut facts.routes {
        route.interface = 3;
    }
    let neighbours = std::mem::take(&mut facts.neighbours).into_iter();
    facts.neighbours = neighbours
        .map(|((_, address), neighbour)| ((3, address), neighbour))
        .collect();
    (facts, config("[[uplink]]\ninterface = \"wan\"\nvlan = 100"))
}

#[test]
fn an_uplink_on_a_vlan_has_the_neighbours_of_the_kernel_s_interface_for_it() {
    let (mut facts, config) = on_vlan();
    let compiled = |facts: &HostFacts| compile(&table(), facts, &config, &Applied::default());
    let image = compiled(&facts);
    assert_eq!(image.warnings, [""; 0]);
    let key = LinkKey::tagged(1, 100);
    let uplink = image.content.uplinks[&key];
    assert!(uplink.is_consistent(&key));
    assert_eq!(uplink.next_hop4, [192, 0, 2, 1]);
    assert!(!image.content.uplinks.contains_key(&LinkKey::untagged(1)));
    let target = image.content.targets[&UPLINK_TARGET6];
    assert_eq!((target.ifindex, target.vlan, target.mtu), (1, 100, 1400));
    assert_eq!(target.flags, TargetFlags::RESOLVED | TargetFlags::XDP);
    assert_eq!(target.src_mac, facts.links[&3].mac);

    // The kernel resolves on its own interface, and tags what it sends there.
    facts.neighbours.clear();
    let image = compiled(&facts);
    let target = image.content.targets[&UPLINK_TARGET4];
    assert_eq!((target.ifindex, target.vlan, target.flags), (3, 0, 0));
    let home = LinkKey::untagged(3);
    let uplink = image.content.uplinks[&home];
    assert!(uplink.is_consistent(&home));
    assert_eq!(uplink.next_hop4, [192, 0, 2, 1]);

    facts.links.get_mut(&3).expect("there").up = false;
    let image = compiled(&facts);
    assert_eq!(image.content.targets[&UPLINK_TARGET4].ifindex, 0);

    facts.links.remove(&3);
    let image = compiled(&facts);
    assert!(image.content.uplinks.contains_key(&key), "packets come in");
    assert_eq!(image.content.targets[&UPLINK_TARGET4].ifindex, 0);
    let warning = &image.warnings[0];
    assert!(
        warning.contains("wan VLAN 100") && warning.contains("type vlan id 100"),
        "{warning}"
    );
}

#[test]
fn an_uplink_on_a_vlan_within_another_has_the_kernel_s_interface_for_both() {
    let (mut facts, _) = on_vlan();
    let config = config("[[uplink]]\ninterface = \"wan\"\nvlan = \"40.100\"");
    let compiled = |facts: &HostFacts| compile(&table(), facts, &config, &Applied::default());
    // `wan.100` is another VLAN's.
    let image = compiled(&facts);
    assert_eq!(image.content.targets[&UPLINK_TARGET4].ifindex, 0);
    let warning = &image.warnings[0];
    for part in [
        "wan VLAN 40.100",
        "name wan.40 type vlan proto 802.1ad id 40",
        "link wan.40 name wan.40.100 type vlan id 100",
    ] {
        assert!(warning.contains(part), "{warning}");
    }

    let mut outer = link("wan.40", 4, LinkKind::Other("vlan".to_owned()));
    outer.vlan = Some((1, VlanTag::Service(40)));
    facts.links.insert(4, outer);
    let inner = facts.links.get_mut(&3).expect("there");
    inner.vlan = Some((4, VlanTag::Customer(100)));
    // What the kernel gives it; the second tag does not fit the wire with it.
    inner.mtu = 1500;
    let image = compiled(&facts);
    assert_eq!(image.warnings, [""; 0]);
    let key = LinkKey::stacked(1, 40, 100);
    assert!(image.content.uplinks[&key].is_consistent(&key));
    let target = image.content.targets[&UPLINK_TARGET4];
    assert_eq!((LinkKey::of(&target), target.mtu), (key, 1496));

    facts.neighbours.clear();
    let target = compiled(&facts).content.targets[&UPLINK_TARGET4];
    assert_eq!(LinkKey::of(&target), LinkKey::untagged(3));
}

#[test]
fn settings_are_wanted_where_they_are_needed() {
    let wanted = |model: &Model, facts: &HostFacts, text: &str| {
        let image = compiled_with(model, facts, text);
        let settings: Vec<_> = image.settings.iter().copied().collect();
        (settings, image.warnings)
    };
    let model = dual(Mode::Nat);
    let multicast = (1, Setting::AllMulticast);
    assert_eq!(wanted(&model, &host(), ""), (vec![multicast], vec![]));
    let silent = "[[uplink]]\ninterface = \"wan\"\nanswer_arp = false";
    assert_eq!(wanted(&model, &host(), silent), (vec![], vec![]));

    // A NIC hears only what somebody asked it to; a veth hears all.
    let mut facts = host();
    facts.links.get_mut(&11).expect("there").kind = LinkKind::Physical;
    let (settings, _) = wanted(&model, &facts, "");
    assert_eq!(settings, [multicast, (11, Setting::AllMulticast)]);

    // What is too big for its way is cut without the host.
    let mut facts = host();
    facts.links.get_mut(&11).expect("there").mtu = 9000;
    assert_eq!(wanted(&model, &facts, ""), (vec![multicast], vec![]));
}

/// IPv6 EIPs have a limit of their own within that of all.
#[test]
fn ipv6_eips_beyond_their_limit_are_left_out_and_the_key_is_named() {
    let mut model = dual(Mode::Nat);
    let have = Applied {
        limits: Limits {
            eips6: 1,
            ..Limits::default()
        },
        ..Applied::default()
    };
    let first = compile(&model, &host(), &config(""), &have);
    assert_eq!(first.warnings, [""; 0]);
    // By its address the new one comes before the old one.
    add_eip6(&mut model, 1);
    let eip = model.eips.get_mut("y1").expect("added");
    eip.address = "2001:db8::2".parse().expect("an address");
    let have = Applied {
        content: first.content.clone(),
        allocations: first.allocations.clone(),
        ..have
    };
    let image = compile(&model, &host(), &config(""), &have);
    assert_eq!(
        image.content.v6.eips, first.content.v6.eips,
        "the old one stays"
    );
    let said = image.warnings.iter().any(|warning| {
        ["EIP6", "`eips6`", "holds 1"]
            .iter()
            .all(|word| warning.contains(word))
    });
    assert!(said, "{:?}", image.warnings);
}

/// In a private cloud an ICMPv6 error may come from a unique local address; to the Internet it may
/// not.
#[test]
fn errors_come_from_the_uplinks_unique_local_address_in_a_private_cloud_only() {
    let sender = |pool: &str, address: &str| {
        let mut model = table();
        model.pools.clear();
        let pool = Pool {
            cidr: pool.parse().expect("a prefix"),
            gateway: Some(PoolGateway::None),
            reserve: Vec::new(),
            priority: 100,
        };
        model.pools.insert(pool.cidr, pool);
        let mut facts = host();
        facts.addresses = vec![(1, address.parse().expect("an address"))];
        let uplink = compiled_with(&model, &facts, "").content.uplinks[&LinkKey::untagged(1)];
        Ipv6Addr::from(uplink.icmp_source6).to_string()
    };
    assert_eq!(sender("fd00:9::/64", "fd00:8::2/64"), "fd00:8::2");
    assert_eq!(sender("2001:db8::/64", "fd00:8::2/64"), "::");
    assert_eq!(sender("fd00:9::/64", "2001:db8:8::2/64"), "2001:db8:8::2");
}

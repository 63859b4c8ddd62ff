//! What of an interface with ports is the host's own.

use eip_dp_common::abi::{Checksummed, LinkKey, NONE, PortRole};

use super::{
    testing::{attached, config, eni, host, link, table},
    *,
};
use crate::{
    attach::Program,
    host::{LinkKind, VlanTag},
    model::Vlan,
};

/// ENIs on these VLANs of the port with that name.
fn on(port: &str, vlans: &[Option<Vlan>]) -> Model {
    let mut model = table();
    for (number, vlan) in (1..).zip(vlans) {
        let id = format!("e{number}");
        let mut eni = attached(
            eni(&id, "v0", number, &[[10, 0, 0, 10 + number]]),
            "i0",
            port,
        );
        eni.vlan = *vlan;
        model.enis.insert(id, eni);
    }
    model
}

/// The keys of the host's records, and of the ENIs'.
fn ports(model: &Model, facts: &HostFacts) -> (Vec<LinkKey>, Vec<LinkKey>) {
    let image = compile(model, facts, &config(""), &Applied::default());
    let (mut hosts, mut enis) = (Vec::new(), Vec::new());
    for (key, port) in &image.content.ports {
        assert!(port.is_consistent(key));
        assert_eq!(port.mac, facts.links[&key.ifindex].mac);
        if port.role == PortRole::Host as u32 {
            assert_eq!((port.vpc, port.target, port.eni_mac), (NONE, NONE, [0; 6]));
            hosts.push(*key);
        } else {
            enis.push(*key);
        }
    }
    (hosts, enis)
}

/// An interface of the host upon another.
fn put_vlan(facts: &mut HostFacts, index: u8, lower: u32, tag: VlanTag) {
    let mut vlan = link(
        &format!("v{index}"),
        index,
        LinkKind::Other("vlan".to_owned()),
    );
    vlan.vlan = Some((lower, tag));
    facts.links.insert(index.into(), vlan);
}

#[test]
fn the_untagged_frames_of_a_trunk_are_the_hosts() {
    let tagged = [Some(Vlan::of(7)), Some(Vlan::within(20, 7))];
    let enis = vec![LinkKey::tagged(10, 7), LinkKey::stacked(10, 20, 7)];
    assert_eq!(
        ports(&on("p0", &tagged), &host()),
        (vec![LinkKey::untagged(10)], enis)
    );
    // Where an ENI stands there, they are its.
    let (hosts, _) = ports(&on("p0", &[None, Some(Vlan::of(7))]), &host());
    assert_eq!(hosts, []);
    // Without a port none of it is ours to tell apart.
    assert_eq!(ports(&table(), &host()), (vec![], vec![]));
}

/// A guest is behind it, and the host uses it only where somebody says so.
#[test]
fn the_untagged_frames_of_a_veth_are_the_hosts_only_where_it_uses_it() {
    let model = on("p1", &[Some(Vlan::of(7))]);
    let mut facts = host();
    facts
        .addresses
        .push((11, "fe80::ff/64".parse().expect("an address")));
    assert_eq!(
        ports(&model, &facts).0,
        [],
        "every interface has such an address"
    );
    facts
        .addresses
        .push((11, "198.51.100.7/24".parse().expect("an address")));
    assert_eq!(ports(&model, &facts).0, [LinkKey::untagged(11)]);
    let mut facts = host();
    facts.links.get_mut(&11).expect("there").master = Some(99);
    assert_eq!(
        ports(&model, &facts).0,
        [LinkKey::untagged(11)],
        "of a bond or VRF"
    );
}

#[test]
fn vlans_that_the_host_has_interfaces_for_are_its_own_unless_an_eni_stands_there() {
    let model = on("p1", &[None, Some(Vlan::of(7)), Some(Vlan::within(20, 7))]);
    let mut facts = host();
    put_vlan(&mut facts, 30, 11, VlanTag::Customer(7));
    put_vlan(&mut facts, 31, 11, VlanTag::Customer(8));
    put_vlan(&mut facts, 32, 11, VlanTag::Service(20));
    put_vlan(&mut facts, 33, 32, VlanTag::Customer(7));
    put_vlan(&mut facts, 34, 32, VlanTag::Customer(9));
    put_vlan(&mut facts, 35, 12, VlanTag::Customer(8));
    // Upon one of 802.1Q: such frames are found by the outermost tag.
    put_vlan(&mut facts, 36, 31, VlanTag::Customer(5));
    put_vlan(&mut facts, 37, 11, VlanTag::Customer(0));
    let want = [
        LinkKey::tagged(11, 8),
        LinkKey::stacked(11, 20, 0),
        LinkKey::stacked(11, 20, 9),
    ];
    let (mut hosts, enis) = ports(&model, &facts);
    hosts.sort();
    let mut want = want.to_vec();
    want.sort();
    assert_eq!(hosts, want);
    assert_eq!(enis.len(), 3);
}

#[test]
fn of_a_bridges_member_every_other_vlan_is_the_bridges() {
    let model = on("p1", &[None]);
    let mut facts = host();
    facts
        .links
        .insert(90, link("br0", 90, LinkKind::Other("bridge".to_owned())));
    facts.links.get_mut(&11).expect("there").master = Some(90);
    assert_eq!(ports(&model, &facts).0, [LinkKey::any_vlan(11)]);
    facts.links.get_mut(&90).expect("there").kind = LinkKind::Other("bond".to_owned());
    assert_eq!(ports(&model, &facts).0, []);
}

/// XDP does not see the tags that a NIC takes off: a frame of VLAN 20 would be the untagged ENI's.
#[test]
fn a_nic_that_takes_tags_off_is_tcs_where_vlans_have_to_be_told_apart() {
    let no_xdp = |ifindex: u32, model: &Model, facts: &HostFacts, text: &str| {
        let image = compile(model, facts, &config(text), &Applied::default());
        let attached = image.attachments.iter().find(|one| one.ifindex == ifindex);
        let attached = attached.expect("attached").clone();
        let has_xdp = attached.programs.iter().copied().any(Program::is_xdp);
        assert_eq!(has_xdp, attached.no_xdp.is_none());
        assert!(
            attached.xdp_delivery,
            "it sends what is redirected to it all the same"
        );
        attached.no_xdp
    };
    let untagged = on("p0", &[None]);
    let mixed = on("p0", &[None, Some(Vlan::of(7))]);
    let tagged_uplink =
        "[[uplink]]\ninterface = \"wan\"\n[[uplink]]\ninterface = \"wan\"\nvlan = 7";
    let mut facts = host();
    assert_eq!(no_xdp(10, &mixed, &facts, ""), None);
    assert_eq!(no_xdp(1, &mixed, &facts, tagged_uplink), None);
    for (index, name) in [(1, "wan"), (10, "p0")] {
        facts.links.get_mut(&index).expect("there").takes_tags = true;
        assert_eq!(
            no_xdp(index, &untagged, &facts, ""),
            None,
            "nothing to tell apart"
        );
        let why = if index == 1 {
            no_xdp(1, &untagged, &facts, tagged_uplink)
        } else {
            no_xdp(10, &mixed, &facts, "")
        };
        let why = why.expect("no XDP");
        assert!(
            why.contains(&format!("`ethtool -K {name} rxvlan off`")),
            "{why}"
        );
        // The host's own VLANs must not become the ENIs', or the Internet's.
        let mut with_vlan = facts.clone();
        put_vlan(&mut with_vlan, 30, index, VlanTag::Customer(20));
        assert!(no_xdp(index, &untagged, &with_vlan, "").is_some());
        let mut bridged = facts.clone();
        bridged
            .links
            .insert(90, link("br0", 90, LinkKind::Other("bridge".to_owned())));
        bridged.links.get_mut(&index).expect("there").master = Some(90);
        assert!(no_xdp(index, &untagged, &bridged, "").is_some());
    }
}

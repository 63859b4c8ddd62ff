//! What is compiled for tables and hosts that are written out.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use eip_dp_common::{
    abi::{
        Checksummed, EipMode, LinkKey, MacKey, NONE, PrefixKey, SourceKey, SourceState,
        TargetFlags, UPLINK_TARGET4, UPLINK_TARGET6, UplinkFlags,
    },
    checksum::Delta,
};

use super::{
    testing::{add_eip, associate, attached, config, eip_address, eni, host, link, table},
    *,
};
use crate::{
    config::{Config, MapSizes},
    guests::{
        Client,
        dhcp4::{Lease, Router},
    },
    host::{LinkKind, XdpFeatures},
    kernel::fake::Fake,
    model::objects::{Antispoof, EniState, Mode, PoolGateway},
    reconcile::Reconciler,
};

const PRIVATE: [u8; 4] = [10, 0, 0, 10];

fn compiled(model: &Model, facts: &HostFacts) -> DesiredState {
    compile(model, facts, &config(""), &Applied::default())
}

/// One ENI `e0` with MAC …:01 on the veth `p1` (index 11), EIP `x0` in NAT mode.
fn nat() -> Model {
    let mut model = table();
    let eni = attached(eni("e0", "v0", 1, &[PRIVATE, [10, 0, 0, 11]]), "i0", "p1");
    model.enis.insert("e0".to_owned(), eni);
    add_eip(&mut model, 0);
    associate(&mut model, 0, "e0", PRIVATE, Mode::Nat);
    model
}

/// The same with the EIP in cut-through mode.
fn cut_through() -> Model {
    let mut model = nat();
    associate(&mut model, 0, "e0", PRIVATE, Mode::CutThrough);
    model
}

fn public() -> [u8; 4] {
    eip_address(0).octets()
}

fn state(image: &DesiredState, address: [u8; 4]) -> Option<SourceState> {
    let entry = image
        .content
        .v4
        .private
        .get(&SourceKey { vpc: 0, address })?;
    SourceState::from_value(entry.state)
}

fn mode(image: &DesiredState) -> Option<EipMode> {
    EipMode::from_value(image.content.v4.eips.get(&public())?.mode)
}

#[test]
fn nat_translates_both_ways_and_leads_to_the_port() {
    let image = compiled(&nat(), &host());
    let content = &image.content;
    let eip = content.v4.eips[&public()];
    assert!(eip.is_consistent(&public()));
    assert_eq!(
        (eip.private, eip.slot, eip.target, eip.vpc),
        (PRIVATE, 0, FIRST_ENI_TARGET, 0)
    );
    assert_eq!(eip.mode, EipMode::Nat as u8);
    assert_eq!(eip.delta, Delta::between(&public(), &PRIVATE).to_record());
    let key = SourceKey {
        vpc: 0,
        address: PRIVATE,
    };
    let private = content.v4.private[&key];
    assert!(private.is_consistent(&key));
    assert_eq!(
        (private.public, private.slot, private.target),
        (public(), 0, FIRST_ENI_TARGET)
    );
    assert_eq!(
        private.delta,
        Delta::between(&PRIVATE, &public()).to_record()
    );
    assert_eq!(state(&image, PRIVATE), Some(SourceState::Nat));
    assert_eq!(state(&image, [10, 0, 0, 11]), Some(SourceState::NoEip));

    let target = content.targets[&FIRST_ENI_TARGET];
    assert_eq!((target.tag, target.instance), (tag("e0"), tag("i0")));
    assert_eq!((target.ifindex, target.mtu, target.vpc), (11, 1500, 0));
    assert_eq!(target.dst_mac, [2, 0, 0, 0, 0, 1]);
    assert_eq!(target.src_mac, [2, 0xaa, 0, 0, 0, 11]);
    assert_eq!(
        target.flags,
        TargetFlags::RESOLVED,
        "a veth is served by tc"
    );

    let key = LinkKey::untagged(11);
    let port = content.ports[&key];
    assert_eq!(
        (port.vpc, port.target, port.eni_mac),
        (0, FIRST_ENI_TARGET, [2, 0, 0, 0, 0, 1])
    );
    let key = MacKey::on(key, [2, 0, 0, 0, 0, 1]);
    assert_eq!(content.macs[&key].target, FIRST_ENI_TARGET);
    assert_eq!(content.v4.cidrs[&0].gateway, [10, 0, 0, 1]);
    assert_eq!(content.v4.cidrs[&0].mask, [255, 255, 0, 0]);
    assert_eq!(content.vpcs[&0].tag, tag("v0"));
    assert_eq!(
        content.devices,
        BTreeSet::from([1]),
        "only the uplink takes XDP frames"
    );
    assert_eq!(image.warnings, [""; 0]);
    let lease = Lease {
        address: PRIVATE.into(),
        prefix_len: 16,
        router: Router::OnLink(Ipv4Addr::new(10, 0, 0, 1)),
        server: Ipv4Addr::new(10, 0, 0, 1),
        mtu: 1500,
        dns: Vec::new(),
        site: Arc::default(),
        duration: std::time::Duration::from_hours(1),
        port_mac: [2, 0xaa, 0, 0, 0, 11],
    };
    let client = Client {
        interface: 11,
        vlan: 0,
        outer: 0,
        mac: [2, 0, 0, 0, 0, 1],
    };
    assert_eq!(image.directory.leases4.get(&client), Some(&lease));
    assert_eq!(
        moved(&Content::default(), content),
        [IpAddr::V4(eip_address(0))]
    );
    assert!(moved(content, content).is_empty());
    let gone = withdrawn(content, &Content::default());
    assert_eq!(gone, [IpAddr::V4(eip_address(0))]);
    assert!(withdrawn(content, content).is_empty());
}

#[test]
fn cut_through_replaces_the_private_address() {
    let image = compiled(&cut_through(), &host());
    let eip = image.content.v4.eips[&public()];
    assert_eq!(mode(&image), Some(EipMode::CutThrough));
    assert_eq!(
        (eip.private, eip.target, eip.delta),
        (public(), FIRST_ENI_TARGET, 0)
    );
    assert_eq!(state(&image, PRIVATE), Some(SourceState::Off));
    assert_eq!(state(&image, [10, 0, 0, 11]), Some(SourceState::Off));
    assert_eq!(state(&image, public()), Some(SourceState::CutThrough));
    let lease = image.directory.leases4.values().next().expect("a lease");
    assert_eq!((lease.address, lease.prefix_len), (eip_address(0), 24));
    assert_eq!(lease.router, Router::OnLink(Ipv4Addr::new(203, 0, 113, 1)));
}

#[test]
fn a_guest_of_a_routed_pool_gets_a_host_address() {
    let mut model = cut_through();
    for pool in model.pools.values_mut() {
        pool.gateway = Some(PoolGateway::None);
    }
    let image = compiled(&model, &host());
    let lease = image.directory.leases4.values().next().expect("a lease");
    assert_eq!((lease.address, lease.prefix_len), (eip_address(0), 32));
    assert_eq!(lease.router, Router::OffLink(Ipv4Addr::new(169, 254, 1, 1)));
    let gateway = PrefixKey {
        length: 32,
        network: [203, 0, 113, 1],
    };
    assert!(
        !image.content.v4.prefixes.contains_key(&gateway),
        "there is no gateway to ping"
    );
}

/// The only address of such a pool is the EIP itself.
#[test]
fn a_guest_of_a_pool_of_one_address_is_not_told_itself_as_its_router() {
    let mut model = cut_through();
    let mut pool = model.pools.pop_first().expect("a pool").1;
    pool.cidr = IpAddr::V4(eip_address(0)).into();
    pool.gateway = None;
    model.pools.insert(pool.cidr, pool);
    let image = compiled(&model, &host());
    let lease = image.directory.leases4.values().next().expect("a lease");
    assert_eq!((lease.address, lease.prefix_len), (eip_address(0), 32));
    assert_eq!(lease.router, Router::OffLink(Ipv4Addr::new(169, 254, 1, 1)));
}

#[test]
fn what_cannot_be_delivered_is_silent() {
    type Change = fn(&mut Model, &mut HostFacts);
    let detached: Change = |model, _| {
        let eni = model.enis.get_mut("e0").expect("there");
        (eni.state, eni.port, eni.instance) = (EniState::Detached, None, None);
    };
    let stranded: Change = |model, _| {
        model.enis.get_mut("e0").expect("there").state = EniState::Stranded;
    };
    let no_port: Change = |_, facts| {
        facts.links.remove(&11);
    };
    let no_link: Change = |_, facts| {
        facts.links.get_mut(&11).expect("there").up = false;
    };
    let cases = [
        (
            "detached",
            detached,
            EipMode::Detached,
            SourceState::Detached,
            false,
        ),
        (
            "stranded",
            stranded,
            EipMode::Stranded,
            SourceState::Stranded,
            true,
        ),
        (
            "no port",
            no_port,
            EipMode::Detached,
            SourceState::Detached,
            false,
        ),
        // The guest's first packets after the link came up are its own already.
        (
            "no link",
            no_link,
            EipMode::Detached,
            SourceState::Nat,
            true,
        ),
    ];
    for (name, change, eip_mode, private_state, on_port) in cases {
        let (mut model, mut facts) = (nat(), host());
        change(&mut model, &mut facts);
        let image = compiled(&model, &facts);
        let eip = image.content.v4.eips[&public()];
        assert_eq!(mode(&image), Some(eip_mode), "{name}");
        assert_eq!((eip.target, eip.private), (NONE, [0; 4]), "{name}");
        assert_eq!(state(&image, PRIVATE), Some(private_state), "{name}");
        assert_eq!(image.content.macs.len(), usize::from(on_port), "{name}");
        let leases = usize::from(name == "no link");
        assert_eq!(image.directory.leases4.len(), leases, "{name}");
    }
    let mut model = nat();
    model.associations.clear();
    let image = compiled(&model, &host());
    assert_eq!(mode(&image), Some(EipMode::Unassociated));
    assert_eq!(
        image.content.v4.eips[&public()].slot,
        0,
        "its counters stay"
    );
}

#[test]
fn a_port_with_two_enis_finds_them_by_mac() {
    let mut model = nat();
    let mut second = attached(eni("e1", "v0", 2, &[[10, 0, 0, 20]]), "i1", "p1");
    second.antispoof = Antispoof::Eni;
    model.enis.insert("e1".to_owned(), second);
    let image = compiled(&model, &host());
    let port = image.content.ports.values().next().expect("one");
    assert_eq!((port.target, port.eni_mac), (NONE, [0; 6]));
    assert_eq!(image.content.macs.len(), 2);
    let second = image
        .allocations
        .targets
        .get(&tag("e1"))
        .expect("it has one");
    let flags = TargetFlags::RESOLVED | TargetFlags::ANTISPOOF_ENI;
    assert_eq!(image.content.targets[&second].flags, flags);
}

#[test]
fn delivery_is_what_the_configuration_asks_for_and_the_interface_can_do() {
    let by_xdp = |text: &str, kind: LinkKind, features: u64| {
        let mut facts = host();
        let port = facts.links.get_mut(&11).expect("there");
        port.kind = kind;
        port.xdp = Some(XdpFeatures(features));
        let image = compile(&nat(), &facts, &config(text), &Applied::default());
        let xdp = image.content.targets[&FIRST_ENI_TARGET].flags & TargetFlags::XDP != 0;
        assert_eq!(xdp, image.content.devices.contains(&11));
        let attachment = image.attachments.iter().find(|found| found.ifindex == 11);
        let attachment = attachment.expect("attached");
        assert_eq!(attachment.xdp_delivery, xdp);
        assert_eq!(attachment.no_xdp_delivery.is_none(), xdp, "status says why");
        xdp
    };
    let xdp = "[[port]]\ninterface = \"p1\"\ndelivery = \"xdp\"";
    assert!(!by_xdp("", LinkKind::Veth, 0b111));
    assert!(by_xdp("", LinkKind::Physical, 0b111));
    assert!(!by_xdp("", LinkKind::Physical, 0b011));
    assert!(by_xdp(xdp, LinkKind::Veth, 0b111));
    assert!(
        !by_xdp(xdp, LinkKind::Veth, 0b011),
        "as long as its peer has no NAPI"
    );
    assert!(!by_xdp(
        "[ports]\ndelivery = \"tcx\"",
        LinkKind::Physical,
        0b111
    ));
}

#[test]
fn uplinks_and_the_way_out() {
    let image = compiled(&table(), &host());
    let uplink = image.content.uplinks[&LinkKey::untagged(1)];
    assert_eq!(uplink.next_hop4, [192, 0, 2, 1]);
    assert_eq!(uplink.flags, UplinkFlags::ANSWER_ARP);
    let target = image.content.targets[&UPLINK_TARGET4];
    assert_eq!((target.ifindex, target.vpc, target.tag), (1, NONE, 0));
    assert_eq!(target.dst_mac, [2, 0xbb, 0, 0, 0, 1]);
    assert_eq!(target.flags, TargetFlags::RESOLVED | TargetFlags::XDP);

    let mut unresolved = host();
    unresolved.neighbours.clear();
    let target = compiled(&table(), &unresolved).content.targets[&UPLINK_TARGET4];
    assert_eq!((target.flags, target.dst_mac), (TargetFlags::XDP, [0; 6]));

    let mut no_route = host();
    no_route.routes.clear();
    let image = compiled(&table(), &no_route);
    assert_eq!(image.content.targets[&UPLINK_TARGET4].ifindex, 0);
    assert!(
        image.warnings[0].contains("next_hop"),
        "{:?}",
        image.warnings
    );

    // The second uplink takes over while the first is down; both take packets in.
    let text = "[[uplink]]\ninterface = \"wan\"\n[[uplink]]\ninterface = \"wan2\"\n\
                next_hop = \"198.51.100.1\"\nanswer_arp = false";
    let mut facts = host();
    facts.links.insert(2, link("wan2", 2, LinkKind::Physical));
    let both = |facts: &HostFacts| compile(&table(), facts, &config(text), &Applied::default());
    assert_eq!(both(&facts).content.targets[&UPLINK_TARGET4].ifindex, 1);
    facts.links.get_mut(&1).expect("there").up = false;
    let image = both(&facts);
    assert_eq!(image.content.targets[&UPLINK_TARGET4].ifindex, 2);
    let second = image.content.uplinks[&LinkKey::untagged(2)];
    assert_eq!(second.flags & UplinkFlags::ANSWER_ARP, 0);
    assert_eq!(second.number(), 1, "the second of the configuration");
    assert!(image.content.uplinks.contains_key(&LinkKey::untagged(1)));
}

/// What is sent to a group everybody on the link reads.
#[test]
fn a_group_address_is_never_a_next_hops() {
    let hop: IpAddr = [192, 0, 2, 1].into();
    let mut facts = host();
    facts.links.insert(2, link("wan2", 2, LinkKind::Physical));
    facts.neighbours.get_mut(&(1, hop)).expect("there").mac = Some([0xff; 6]);
    let with = |text: &str| compile(&table(), &facts, &config(text), &Applied::default());
    let image = with("");
    let target = image.content.targets[&UPLINK_TARGET4];
    assert_eq!(
        (target.ifindex, target.dst_mac),
        (0, [0; 6]),
        "nor by the kernel"
    );
    let words = [
        "uplink wan",
        "192.0.2.1",
        "ff:ff:ff:ff:ff:ff",
        "`next_hop_mac`",
    ];
    let [warning] = &image.warnings[..] else {
        panic!("{:?}", image.warnings);
    };
    assert!(words.iter().all(|word| warning.contains(word)), "{warning}");
    // Another uplink takes over.
    let uplink = "[[uplink]]\ninterface = \"wan\"\n";
    let second = "[[uplink]]\ninterface = \"wan2\"\nnext_hop = \"198.51.100.1\"";
    let image = with(&format!("{uplink}{second}"));
    assert_eq!(image.content.targets[&UPLINK_TARGET4].ifindex, 2);

    let image = with(&format!("{uplink}next_hop_mac = \"02:00:00:00:00:77\""));
    for index in [UPLINK_TARGET4, UPLINK_TARGET6] {
        let target = image.content.targets[&index];
        assert_eq!(
            (target.ifindex, target.dst_mac),
            (1, [2, 0, 0, 0, 0, 0x77]),
            "both families"
        );
        assert_eq!(target.flags, TargetFlags::RESOLVED | TargetFlags::XDP);
    }
    assert_eq!(image.warnings, [""; 0]);
}

#[test]
fn an_uplink_drops_private_sources_where_it_is_to() {
    let text = "[[uplink]]\ninterface = \"wan\"\nanswer_arp = false\ndrop_private_sources = true";
    let image = compile(&table(), &host(), &config(text), &Applied::default());
    let uplink = image.content.uplinks[&LinkKey::untagged(1)];
    assert_eq!(uplink.flags, UplinkFlags::DROP_PRIVATE_SOURCES);
    let target = image.content.targets[&UPLINK_TARGET4];
    assert_eq!(target.flags, TargetFlags::RESOLVED | TargetFlags::XDP);
}

#[test]
fn what_cannot_be_served_is_left_out_and_named() {
    type Change = fn(&mut Model, &mut HostFacts);
    let cases: [(&str, Change, &[&str]); 5] = [
        (
            "uplink",
            |model, _| model.enis.get_mut("e0").expect("there").port = Some("wan".to_owned()),
            &["eni e0", "wan", "is an uplink"],
        ),
        (
            "loopback",
            |_, facts| facts.links.get_mut(&11).expect("there").kind = LinkKind::Loopback,
            &["eni e0", "loopback"],
        ),
        (
            "another VPC",
            |model, _| {
                let first = attached(eni("a", "v1", 7, &[[10, 0, 0, 30]]), "i1", "p1");
                model.enis.insert("a".to_owned(), first);
            },
            &["eni e0", "VPC v1", "p1"],
        ),
        (
            "one MAC twice",
            |model, _| {
                let first = attached(eni("a", "v0", 1, &[[10, 0, 0, 30]]), "i1", "p1");
                model.enis.insert("a".to_owned(), first);
            },
            &["eni e0", "ENI a", "02:00:00:00:00:01"],
        ),
        (
            "the host's own address",
            |_, facts| {
                let address = "203.0.113.10/32".parse().expect("an address");
                facts.addresses.push((1, address));
            },
            &["eip x0", "203.0.113.10", "host"],
        ),
    ];
    for (name, change, words) in cases {
        let (mut model, mut facts) = (nat(), host());
        change(&mut model, &mut facts);
        let image = compiled(&model, &facts);
        let delivers = image
            .content
            .v4
            .eips
            .get(&public())
            .is_some_and(|eip| eip.target != NONE);
        assert!(!delivers, "{name}");
        let warning = image
            .warnings
            .iter()
            .find(|warning| words.iter().all(|word| warning.contains(word)));
        assert!(warning.is_some(), "{name}: {:?}", image.warnings);
    }
}

#[test]
fn other_regions_are_not_served() {
    let mut model = nat();
    model.enis.get_mut("e0").expect("there").region = Some("east".to_owned());
    model.eips.get_mut("x0").expect("there").region = Some("east".to_owned());
    let west = compile(
        &model,
        &host(),
        &config("[gateway]\nregion = \"west\""),
        &Applied::default(),
    );
    assert!(west.content.v4.eips.is_empty() && west.content.v4.private.is_empty());
    let east = compile(
        &model,
        &host(),
        &config("[gateway]\nregion = \"east\""),
        &Applied::default(),
    );
    assert_eq!(mode(&east), Some(EipMode::Nat));
}

fn small(eips: u32, enis: u32) -> Limits {
    Limits::from(&MapSizes {
        eips,
        enis,
        private_addresses: 2,
        vpcs: 2,
        ports: 8,
        ..MapSizes::default()
    })
}

fn step(reconciler: &mut Reconciler<Fake>, model: &Model, config: &Config) -> DesiredState {
    let step = reconciler.step(model, &host(), config);
    assert!(step.error.is_none());
    let have = reconciler.have();
    assert_eq!(reconciler.plane.content, have.content);
    DesiredState {
        content: have.content.clone(),
        warnings: reconciler.served().warnings().to_vec(),
        ..DesiredState::default()
    }
}

#[test]
fn a_full_map_leaves_the_new_out_and_names_the_key() {
    let config = config("");
    let plane = Fake {
        limits: small(1, 2),
        ..Fake::default()
    };
    let mut reconciler = Reconciler::adopt(plane).expect("a fake");
    let mut model = nat();
    step(&mut reconciler, &model, &config);
    // By its address the new one comes before the old one.
    let mut eip = model.eips["x0"].clone();
    eip.id = "first".to_owned();
    eip.address = IpAddr::from([203, 0, 113, 2]);
    model.eips.insert(eip.id.clone(), eip);
    model
        .enis
        .get_mut("e0")
        .expect("there")
        .private_ips
        .push([10, 0, 0, 5].into());
    let image = step(&mut reconciler, &model, &config);
    assert_eq!(mode(&image), Some(EipMode::Nat), "the old one stays");
    assert_eq!(image.content.v4.eips.len(), 1);
    assert_eq!(state(&image, PRIVATE), Some(SourceState::Nat));
    assert_eq!(image.content.v4.private.len(), 2);
    for words in [
        ["EIP_IN", "`eips`", "holds 1"],
        ["PRIVATE4", "`private_addresses`", "holds 2"],
    ] {
        let said = image
            .warnings
            .iter()
            .any(|warning| words.iter().all(|word| warning.contains(word)));
        assert!(said, "{words:?}: {:?}", image.warnings);
    }
}

/// Where every index is in use, one that is given back goes to the next owner within the same step,
/// but only after a grace period.
#[test]
fn at_the_limit_an_index_changes_hands_after_a_grace_period() {
    let config = config("");
    let plane = Fake {
        limits: small(1, 1),
        ..Fake::default()
    };
    let mut reconciler = Reconciler::adopt(plane).expect("a fake");
    step(&mut reconciler, &nat(), &config);
    let graces = reconciler.plane.graces;
    let cleared = reconciler.plane.cleared.len();
    let mut model = table();
    let other = attached(eni("e9", "v1", 9, &[PRIVATE]), "i1", "p2");
    model.enis.insert("e9".to_owned(), other);
    add_eip(&mut model, 3);
    associate(&mut model, 3, "e9", PRIVATE, Mode::Nat);
    let image = step(&mut reconciler, &model, &config);
    assert_eq!(reconciler.plane.graces, graces + 1);
    assert_eq!(
        reconciler.plane.cleared.len(),
        cleared + 1,
        "the counters start at 0"
    );
    let eip = image.content.v4.eips[&eip_address(3).octets()];
    assert_eq!((eip.slot, eip.target, eip.vpc), (0, FIRST_ENI_TARGET, 1));
    assert_eq!(image.warnings, [""; 0]);
}

/// An EIP whose entry alone was lost is not another one: what it counted stays.
#[test]
fn who_lost_only_its_entry_goes_on_counting() {
    let config = config("");
    let mut reconciler = Reconciler::adopt(Fake::default()).expect("a fake");
    step(&mut reconciler, &nat(), &config);
    assert_eq!(reconciler.plane.cleared.len(), 1);
    reconciler.plane.content.v4.eips.clear();
    assert_eq!(reconciler.audit().expect("a fake"), 1);
    step(&mut reconciler, &nat(), &config);
    assert_eq!(reconciler.plane.content.v4.eips.len(), 1);
    assert_eq!(reconciler.plane.cleared.len(), 1);
}

//! What guests with IPv6 addresses are told, beside what [`super::tests`] says of IPv4.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use super::{
    testing::{
        add_eip, add_eip6, attached, config, eip_address, eip6_address, eni, host, private6,
        put_association, table,
    },
    *,
};
use crate::{
    guests::{Client, Lease6, dhcp6::server_identifier},
    model::objects::{EniState, Mode, PoolGateway},
};

const PRIVATE: [u8; 4] = [10, 0, 0, 10];
const DNS: &str = "[dhcp]\nlease = 900\ndns = [\"192.0.2.53\", \"2001:db8::53\"]";

/// The ENI `e0` behind `p1` with these private addresses.
fn with_addresses(addresses: &[IpAddr]) -> Model {
    let mut model = table();
    let eni = attached(eni("e0", "v0", 1, addresses), "i0", "p1");
    model.enis.insert("e0".to_owned(), eni);
    model
}

/// With private addresses of both families.
fn dual() -> Model {
    with_addresses(&[PRIVATE.into(), private6(10).into(), private6(11).into()])
}

/// In cut-through mode with an IPv6 EIP.
fn cut_through() -> Model {
    let mut model = dual();
    add_eip6(&mut model, 0);
    put_association(
        &mut model,
        "y0",
        "e0",
        private6(10).into(),
        Mode::CutThrough,
    );
    model
}

fn directory(model: &Model) -> LeaseTable {
    compile(model, &host(), &config(DNS), &Applied::default()).directory
}

fn lease6(model: &Model) -> Option<Lease6> {
    directory(model).leases6.values().next().cloned()
}

#[test]
fn a_guest_with_both_families_has_a_lease_of_each() {
    let directory = directory(&dual());
    let client = Client {
        interface: 11,
        vlan: 0,
        outer: 0,
        mac: [2, 0, 0, 0, 0, 1],
    };
    let expected = Lease6 {
        address: private6(10),
        on_link: Some("fd00::/64".parse().expect("a prefix")),
        autonomous: false,
        mtu: 1500,
        dns: vec!["2001:db8::53".parse().expect("an address")],
        site: Arc::default(),
        duration: Duration::from_mins(15),
        server: server_identifier("v0"),
        port_mac: [2, 0xaa, 0, 0, 0, 11],
    };
    assert_eq!(directory.leases6.get(&client), Some(&expected));
    let v4 = &directory.leases4[&client];
    assert_eq!(IpAddr::from(v4.address), IpAddr::from(PRIVATE));
    assert_eq!(v4.dns, [[192, 0, 2, 53]].map(Ipv4Addr::from));
}

#[test]
fn who_has_addresses_of_one_family_has_one_lease() {
    let only4 = directory(&with_addresses(&[PRIVATE.into()]));
    assert_eq!((only4.leases4.len(), only4.leases6.len()), (1, 0));
    let only6 = directory(&with_addresses(&[private6(10).into()]));
    assert_eq!((only6.leases4.len(), only6.leases6.len()), (0, 1));
}

#[test]
fn the_eip_takes_the_place_of_the_private_address_and_its_pool_that_of_the_vpc() {
    let mut model = cut_through();
    let on_link = |model: &Model| lease6(model).map(|lease| (lease.address, lease.on_link));
    let eip = eip6_address(0);
    let pool = "2001:db8::/64".parse().expect("a prefix");
    assert_eq!(on_link(&model), Some((eip, Some(pool))));

    for pool in model.pools.values_mut() {
        pool.gateway = Some(PoolGateway::None);
    }
    assert_eq!(on_link(&model), Some((eip, None)), "a routed pool");

    model.enis.get_mut("e0").expect("there").state = EniState::Stranded;
    assert_eq!(on_link(&model), None, "stranded");
}

#[test]
fn an_ipv4_eip_in_cut_through_mode_leaves_no_ipv6() {
    let mut model = dual();
    add_eip(&mut model, 0);
    put_association(&mut model, "x0", "e0", PRIVATE.into(), Mode::CutThrough);
    let directory = directory(&model);
    assert_eq!(directory.leases6.values().next(), None);
    let addresses: Vec<_> = directory.leases4.values().map(|one| one.address).collect();
    assert_eq!(addresses, [eip_address(0)]);
}

#[test]
fn a_guest_may_make_its_ipv6_address_only_where_it_is_the_one_that_it_has() {
    let autonomous = |model: &Model| lease6(model).map(|lease| lease.autonomous);
    // The MAC is 02:00:00:00:00:01.
    let own: IpAddr = "fd00::ff:fe00:1".parse().expect("an address");
    assert_eq!(autonomous(&with_addresses(&[own])), Some(true));
    assert_eq!(
        autonomous(&with_addresses(&[PRIVATE.into(), own])),
        Some(true)
    );
    assert_eq!(autonomous(&dual()), Some(false), "another address");
    let other: IpAddr = "fd00::ff:fe00:2".parse().expect("an address");
    assert_eq!(autonomous(&with_addresses(&[other])), Some(false));
    // The one that it is told to use is the first.
    let second = with_addresses(&[private6(10).into(), own]);
    assert_eq!(autonomous(&second), Some(false));

    let mut model = cut_through();
    assert_eq!(autonomous(&model), Some(false));
    let eip: IpAddr = "2001:db8::ff:fe00:1".parse().expect("an address");
    let before: IpAddr = eip6_address(0).into();
    let mut eips = model.eips.values_mut();
    eips.find(|one| one.address == before).expect("it").address = eip;
    let told = lease6(&model).map(|lease| (lease.address.into(), lease.autonomous));
    assert_eq!(told, Some((eip, true)), "a pool on the link");
    for pool in model.pools.values_mut() {
        pool.gateway = Some(PoolGateway::None);
    }
    assert_eq!(
        autonomous(&model),
        Some(false),
        "a routed pool has no prefix there"
    );
}

#[test]
fn name_servers_are_the_hosts_unless_the_configuration_says_otherwise() {
    let mut facts = host();
    facts.resolver.servers = ["192.0.2.99", "2001:db8::99"]
        .map(|address| address.parse().expect("an address"))
        .into();
    let told = |text: &str| {
        let directory = compile(&dual(), &facts, &config(text), &Applied::default()).directory;
        let v4 = directory
            .leases4
            .values()
            .next()
            .expect("a lease")
            .dns
            .clone();
        let v6 = directory
            .leases6
            .values()
            .next()
            .expect("a lease")
            .dns
            .clone();
        let v4 = v4.into_iter().map(IpAddr::from);
        v4.chain(v6.into_iter().map(IpAddr::from))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(""), facts.resolver.servers);
    assert_eq!(told("[dhcp]\ndns = []"), Vec::<IpAddr>::new());
    let configured: Vec<IpAddr> = ["192.0.2.53", "2001:db8::53"]
        .map(|address| address.parse().expect("an address"))
        .into();
    assert_eq!(told(DNS), configured);
}

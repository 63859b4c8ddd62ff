//! What addresses are that are no EIP's.

use std::net::IpAddr;

use eip_dp_common::abi::{AddressClass, Checksummed, PREFIX_CHECKSUM, PrefixKey};
use ipnet::IpNet;

use super::{
    testing::{config, host, link, table},
    *,
};
use crate::{
    host::{LinkKind, VlanTag},
    model::objects::{Pool, PoolGateway},
};

use AddressClass::{Host, OnLink, Pool as InPool, PoolGateway as Gateway, Reserved};

/// The record of exactly this prefix.
fn record(image: &DesiredState, cidr: &str) -> Option<(AddressClass, IpAddr, u32, u32)> {
    fn of<A: Address>(
        image: &DesiredState,
        cidr: &IpNet,
    ) -> Option<(AddressClass, IpAddr, u32, u32)> {
        let key = PrefixKey {
            length: u32::from(cidr.prefix_len()),
            network: A::of(cidr.network())?,
        };
        let record = A::part(&image.content).prefixes.get(&key)?;
        assert!(record.is_consistent(&PREFIX_CHECKSUM));
        let class = AddressClass::from_value(record.class)?;
        Some((class, record.gateway.ip(), record.ifindex, record.mtu))
    }
    let cidr = cidr.parse().expect("a prefix");
    of::<[u8; 4]>(image, &cidr).or_else(|| of::<[u8; 16]>(image, &cidr))
}

fn class(image: &DesiredState, cidr: &str) -> Option<AddressClass> {
    record(image, cidr).map(|(class, ..)| class)
}

/// What a program finds for an address: nothing, unless both bits of the screen are set.
fn found(image: &DesiredState, address: &str) -> Option<(AddressClass, u32)> {
    fn of<A: Address>(image: &DesiredState, address: IpAddr) -> Option<(AddressClass, u32)> {
        let content = A::part(&image.content);
        let is_set = |bit: u32| {
            let word = content.prefilter.get(&(bit / 64)).copied().unwrap_or(0);
            word >> (bit % 64) & 1 == 1
        };
        if !A::of(address)?.prefilter().into_iter().all(is_set) {
            return None;
        }
        let within = content.prefixes.iter().filter(|(key, _)| {
            let length = u8::try_from(key.length).expect("a length");
            let net = IpNet::new(key.network.ip(), length).expect("a prefix");
            net.contains(&address)
        });
        let (_, record) = within.max_by_key(|(key, _)| key.length)?;
        Some((AddressClass::from_value(record.class)?, record.ifindex))
    }
    let address = address.parse().expect("an address");
    of::<[u8; 4]>(image, address).or_else(|| of::<[u8; 16]>(image, address))
}

fn compiled(model: &Model, facts: &HostFacts) -> DesiredState {
    compile(model, facts, &config(""), &Applied::default())
}

/// Only these pools.
fn pools(cidrs: &[(&str, &[&str])]) -> Model {
    let mut model = table();
    model.pools.clear();
    for (cidr, reserve) in cidrs {
        let pool = Pool {
            cidr: cidr.parse().expect("a prefix"),
            gateway: None,
            reserve: reserve
                .iter()
                .map(|range| range.parse().expect("a range"))
                .collect(),
            priority: 100,
        };
        model.pools.insert(pool.cidr, pool);
    }
    model
}

/// The addresses of the interface `wan`, in place of those that it has.
fn uplink_at(addresses: &[&str]) -> HostFacts {
    let mut facts = host();
    let parsed = addresses
        .iter()
        .map(|text| text.parse().expect("an address"));
    facts.addresses = parsed.map(|address| (1, address)).collect();
    facts
}

#[test]
fn a_routed_pool_its_gateway_and_the_hosts_own_addresses() {
    let model = pools(&[
        ("203.0.113.0/24", &[]),
        ("100.64.0.0/14", &[]),
        ("2001:db8::/64", &[]),
    ]);
    let mut facts = host();
    for (index, address) in [
        (7, "203.0.113.77/32"),
        (9, "127.0.0.1/8"),
        (9, "::1/128"),
        (1, "fe80::2/64"),
    ] {
        facts
            .addresses
            .push((index, address.parse().expect("an address")));
    }
    let image = compiled(&model, &facts);
    let gateway: IpAddr = [203, 0, 113, 1].into();
    assert_eq!(
        record(&image, "203.0.113.0/24"),
        Some((InPool, gateway, 0, 0))
    );
    let none: IpAddr = [0, 0, 0, 0].into();
    assert_eq!(
        record(&image, "203.0.113.1/32"),
        Some((Gateway, none, 0, 0))
    );
    assert_eq!(record(&image, "203.0.113.77/32"), Some((Host, none, 0, 0)));
    assert_eq!(record(&image, "192.0.2.2/32"), Some((Host, none, 0, 0)));
    assert_eq!(class(&image, "2001:db8::/64"), Some(InPool));
    assert_eq!(class(&image, "2001:db8::1/128"), Some(Gateway));
    for of_a_link in ["127.0.0.1/32", "::1/128", "fe80::2/128"] {
        assert_eq!(class(&image, of_a_link), None, "{of_a_link}");
    }
}

/// The fast path looks no further than the screen.
#[test]
fn whatever_has_a_record_is_on_the_screen() {
    let model = pools(&[
        ("203.0.113.0/24", &["203.0.113.8-203.0.113.15"]),
        ("100.64.0.0/14", &[]),
    ]);
    let mut facts = host();
    facts
        .addresses
        .push((7, "198.18.7.7/32".parse().expect("an address")));
    let image = compiled(&model, &facts);
    for (address, want) in [
        ("203.0.113.10", Some((Reserved, 0))),
        ("203.0.113.20", Some((InPool, 0))),
        ("100.65.3.4", Some((InPool, 0))),
        ("192.0.2.1", Some((OnLink, 1))),
        ("192.0.2.2", Some((Host, 0))),
        ("2001:db8:ffff::2", Some((Host, 0))),
        ("198.18.7.7", Some((Host, 0))),
        ("198.51.100.1", None),
    ] {
        assert_eq!(found(&image, address), want, "{address}");
    }
    let words = image.content.v4.prefilter.values();
    let bits: u32 = words.map(|word| word.count_ones()).sum();
    // The /16 of one pool, four of the other, 192.0 and 198.18; and their /24.
    assert_eq!(bits, 1 + 4 + 2 + 1 + 4 * 256 + 2);
}

#[test]
fn a_pool_within_the_uplinks_network_is_on_link() {
    let model = pools(&[
        ("203.0.113.64/26", &["203.0.113.70-203.0.113.75"]),
        ("2001:db8::/64", &["2001:db8::8-2001:db8::9"]),
    ]);
    let mut facts = uplink_at(&["203.0.113.2/24", "2001:db8::2/64"]);
    facts.links.get_mut(&1).expect("there").mtu = 9000;
    let image = compiled(&model, &facts);
    let gateway: IpAddr = [203, 0, 113, 65].into();
    assert_eq!(
        record(&image, "203.0.113.64/26"),
        Some((OnLink, gateway, 1, 9000))
    );
    for (address, want) in [
        ("203.0.113.65", OnLink),
        ("203.0.113.72", OnLink),
        ("2001:db8::1", OnLink),
        ("2001:db8::8", OnLink),
    ] {
        assert_eq!(found(&image, address), Some((want, 1)), "{address}");
    }
    assert_eq!(
        found(&image, "2001:db8::2"),
        Some((Host, 0)),
        "the host's wins"
    );
}

/// The kernel would send what is for them to all who are on the link.
#[test]
fn addresses_that_mean_all_of_a_link_are_nobodys() {
    let model = pools(&[("203.0.113.0/24", &[])]);
    let of = |net: &str, address: &str| found(&compiled(&model, &uplink_at(&[net])), address);
    for (net, address, want) in [
        ("203.0.113.2/24", "203.0.113.255", (Reserved, 0)),
        ("203.0.113.2/24", "203.0.113.0", (Reserved, 0)),
        ("203.0.113.2/24", "203.0.113.127", (OnLink, 1)),
        ("203.0.113.2/25", "203.0.113.127", (Reserved, 0)),
        ("203.0.113.2/25", "203.0.113.255", (InPool, 0)),
        ("203.0.113.66/26", "203.0.113.64", (Reserved, 0)),
        ("203.0.113.66/31", "203.0.113.67", (OnLink, 1)),
    ] {
        assert_eq!(of(net, address), Some(want), "{net} {address}");
    }
}

#[test]
fn of_a_pool_that_is_larger_than_the_uplinks_network_a_part_is_on_link() {
    let model = pools(&[("203.0.113.0/24", &["203.0.113.32-203.0.113.80"])]);
    let image = compiled(&model, &uplink_at(&["203.0.113.2/26"]));
    for (address, want) in [
        ("203.0.113.1", (OnLink, 1)),
        ("203.0.113.40", (OnLink, 1)),
        ("203.0.113.62", (OnLink, 1)),
        ("203.0.113.63", (Reserved, 0)),
        ("203.0.113.64", (Reserved, 0)),
        ("203.0.113.80", (Reserved, 0)),
        ("203.0.113.81", (InPool, 0)),
        ("203.0.113.2", (Host, 0)),
    ] {
        assert_eq!(found(&image, address), Some(want), "{address}");
    }
    // An address alone says nothing of its neighbours.
    let image = compiled(&model, &uplink_at(&["203.0.113.2/32"]));
    assert_eq!(found(&image, "203.0.113.1"), Some((Gateway, 0)));
    assert_eq!(found(&image, "203.0.113.3"), Some((InPool, 0)));
}

/// Reserved ranges become as few prefixes as there can be, with the gateway of their pool.
#[test]
fn the_reserve_of_a_routed_pool_is_told_from_the_rest() {
    let mut model = pools(&[
        (
            "203.0.113.0/24",
            &["203.0.113.200-203.0.113.210", "203.0.113.250"],
        ),
        ("2001:db8::/64", &["2001:db8::1:0-2001:db8::1:ffff"]),
    ]);
    for pool in model.pools.values_mut() {
        if pool.cidr.addr().is_ipv4() {
            pool.gateway = Some(PoolGateway::Address([203, 0, 113, 254].into()));
        }
    }
    let image = compiled(&model, &host());
    let gateway: IpAddr = [203, 0, 113, 254].into();
    for cidr in [
        "203.0.113.200/29",
        "203.0.113.208/31",
        "203.0.113.210/32",
        "203.0.113.250/32",
    ] {
        assert_eq!(
            record(&image, cidr),
            Some((Reserved, gateway, 0, 0)),
            "{cidr}"
        );
    }
    assert_eq!(class(&image, "2001:db8::1:0/112"), Some(Reserved));
    assert_eq!(found(&image, "203.0.113.211"), Some((InPool, 0)));
    assert_eq!(found(&image, "203.0.113.254"), Some((Gateway, 0)));
    let reserved = |record: &&PrefixRecord<[u8; 4]>| record.class == Reserved as u32;
    assert_eq!(
        image.content.v4.prefixes.values().filter(reserved).count(),
        4
    );
}

/// It sends ICMP errors, and it is where the packets go.
#[test]
fn a_next_hop_is_on_link_wherever_its_address_is() {
    let model = pools(&[("203.0.113.0/24", &["203.0.113.9"])]);
    for (next_hop, gateway) in [
        ("198.51.100.9", [0, 0, 0, 0]),
        ("203.0.113.9", [203, 0, 113, 1]),
    ] {
        let mut facts = host();
        facts.routes[0].gateway = Some(next_hop.parse().expect("an address"));
        let image = compiled(&model, &facts);
        let want = (OnLink, IpAddr::from(gateway), 1, 1500);
        assert_eq!(record(&image, &format!("{next_hop}/32")), Some(want));
    }
    // The other family's is link-local.
    let image = compiled(&model, &host());
    assert_eq!(class(&image, "fe80::1/128"), None);
    let mut facts = host();
    facts.routes[1].gateway = Some("2001:db8:9::1".parse().expect("an address"));
    assert_eq!(
        found(&compiled(&model, &facts), "2001:db8:9::1"),
        Some((OnLink, 1))
    );
}

/// The neighbours of an uplink in a VLAN are those of the kernel's own interface for it.
#[test]
fn on_link_is_the_interface_for_the_uplinks_vlan() {
    let mut facts = uplink_at(&["192.0.2.2/24"]);
    let mut vlan = link("wan.7", 1, LinkKind::Other("vlan".to_owned()));
    (vlan.vlan, vlan.mtu) = (Some((1, VlanTag::Customer(7))), 1400);
    facts.links.insert(40, vlan);
    facts
        .addresses
        .push((40, "203.0.113.2/24".parse().expect("an address")));
    let text = "[[uplink]]\ninterface = \"wan\"\n\
                [[uplink]]\ninterface = \"wan\"\nvlan = 7\nnext_hop = \"203.0.113.1\"";
    let model = pools(&[("203.0.113.0/24", &[])]);
    let image = compile(&model, &facts, &config(text), &Applied::default());
    let gateway: IpAddr = [203, 0, 113, 1].into();
    assert_eq!(
        record(&image, "203.0.113.0/24"),
        Some((OnLink, gateway, 40, 1400))
    );
    assert_eq!(
        record(&image, "203.0.113.1/32"),
        Some((OnLink, gateway, 40, 1400))
    );
    assert_eq!(found(&image, "192.0.2.1"), Some((OnLink, 1)));
}

/// Of two links with one network the first that is up.
#[test]
fn what_is_on_two_links_is_asked_for_on_one_that_is_up() {
    let mut facts = uplink_at(&["203.0.113.2/24"]);
    facts.links.insert(2, link("wan2", 2, LinkKind::Physical));
    facts
        .addresses
        .push((2, "203.0.113.3/24".parse().expect("an address")));
    let text = "[[uplink]]\ninterface = \"wan\"\n[[uplink]]\ninterface = \"wan2\"";
    let model = pools(&[("203.0.113.0/24", &[])]);
    let on = |facts: &HostFacts| {
        let image = compile(&model, facts, &config(text), &Applied::default());
        found(&image, "203.0.113.50")
    };
    assert_eq!(on(&facts), Some((OnLink, 1)));
    facts.links.get_mut(&1).expect("there").up = false;
    assert_eq!(on(&facts), Some((OnLink, 2)));
}

/// Without them a neighbour's address passes for nobody's; without a host's own, the host cannot be
/// reached.
#[test]
fn where_prefixes_do_not_fit_reserved_ones_are_left_out() {
    let model = pools(&[("203.0.113.0/24", &["203.0.113.1-203.0.113.254"])]);
    let have = Applied {
        limits: Limits {
            prefixes: 5,
            ..Limits::default()
        },
        ..Applied::default()
    };
    let image = compile(&model, &host(), &config(""), &have);
    for (address, want) in [
        ("192.0.2.2", Host),
        ("203.0.113.7", InPool),
        ("203.0.113.1", Gateway),
    ] {
        assert_eq!(
            found(&image, address).map(|(class, _)| class),
            Some(want),
            "{address}"
        );
    }
    assert_eq!(image.content.v4.prefixes.len(), 5);
    let words = ["PREFIX4", "holds 5", "reserved ranges"];
    let says = |warning: &&String| words.iter().all(|word| warning.contains(word));
    assert!(
        image.warnings.iter().any(|warning| says(&warning)),
        "{:?}",
        image.warnings
    );
}

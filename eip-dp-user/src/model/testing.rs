//! What tests of the table share: commands as short lines of text, and the invariants, written
//! without the rules.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use jiff::Timestamp;

use super::{
    Context, Document, HostPort, Model,
    command::{Command, EipSpec, EniSpec, Expiry, OrNone, Prune},
    objects::{
        AddressRange, Antispoof, Association, Eip, EipState, Eni, EniKind, EniState, Instance, Mac,
        Mode, Pool, PoolGateway, Rebind, Vpc,
    },
};

/// Seconds since 1970 as a time.
pub(crate) fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a small number")
}

/// A context at that second, on a host that has 203.0.113.77, in a network of 16, and sends to
/// 203.0.113.251.
pub(crate) fn at(now: i64) -> Context {
    Context {
        now: second(now),
        host_addresses: vec!["203.0.113.77".parse().expect("an address")],
        host_networks: ["203.0.113.64/28", "2001:db8:1:0:1::/96", "203.0.113.96/31"]
            .map(|net| net.parse().expect("a network"))
            .to_vec(),
        host_ports: vec![HostPort {
            names: vec!["eno1".to_owned()],
            vlan: None,
            any_vlan: false,
            why: "it has the address 192.0.2.1".to_owned(),
        }],
        port: Some("here".to_owned()),
        next_hops: vec!["203.0.113.251".parse().expect("an address")],
    }
}

/// A MAC by number.
pub(crate) fn mac(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, number])
}

/// The command of one line, such as `eni e1 v1 secondary 1 10.0.0.5,10.0.0.6 region=r`: a verb,
/// positional arguments, and options as `name=value`.
#[expect(clippy::too_many_lines, reason = "one arm for each verb")]
pub(crate) fn command(line: &str) -> Command {
    let (options, words): (Vec<_>, Vec<_>) = line.split_whitespace().partition(|w| w.contains('='));
    let option = |name: &str| {
        let mut pairs = options.iter().filter_map(|one| one.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let word = |index: usize| {
        let word = words
            .get(index)
            .unwrap_or_else(|| panic!("`{line}` has too few words"));
        (*word).to_owned()
    };
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let addresses = |text: &str| text.split(',').map(address).collect();
    let expires = |text: &str| match text {
        "never" => Expiry::Never,
        seconds => Expiry::At(second(seconds.parse().expect("seconds"))),
    };
    let id = word(1.min(words.len() - 1));
    match words[0] {
        "pool" => Command::PoolCreate(Pool {
            cidr: id.parse().expect("a prefix"),
            gateway: option("gateway").map(|text| text.parse().expect("a gateway")),
            reserve: option("reserve")
                .map(|text| text.parse().expect("a range"))
                .into_iter()
                .collect(),
            priority: option("priority").map_or(100, |text| text.parse().expect("a number")),
        }),
        "pool-delete" => Command::PoolDelete {
            cidr: id.parse().expect("a prefix"),
        },
        "vpc" => Command::VpcCreate(Vpc {
            id,
            cidrs: word(2)
                .split(',')
                .map(|text| text.parse().expect("a prefix"))
                .collect(),
            gateway: option("gateway").map(address),
            vni: None,
        }),
        "vpc-set" => {
            let prefixes = |name| {
                let text = option(name).unwrap_or_default().split(',');
                text.filter(|text| !text.is_empty())
                    .map(|text| text.parse().expect("a prefix"))
                    .collect()
            };
            Command::VpcSet {
                id,
                add: prefixes("add"),
                remove: prefixes("remove"),
                gateway: None,
                vni: None,
            }
        }
        "pool-set" => Command::PoolSet {
            cidr: id.parse().expect("a prefix"),
            gateway: None,
            reserve: None,
            priority: option("priority").map(|text| text.parse().expect("a number")),
        },
        "eni-set" => Command::EniSet {
            id,
            mac: option("mac").map(|text| mac(text.parse().expect("a number"))),
            region: option("region").map(|text| OrNone(Some(text.to_owned()))),
            antispoof: None,
        },
        "vpc-delete" => Command::VpcDelete { id },
        "instance" => Command::InstanceCreate(Instance {
            id,
            max_enis: option("max").map(|text| text.parse().expect("a number")),
        }),
        "instance-delete" => Command::InstanceDelete { id },
        "eni" => Command::EniCreate(EniSpec {
            id,
            vpc: word(2),
            kind: if word(3) == "primary" {
                EniKind::Primary
            } else {
                EniKind::Secondary
            },
            mac: mac(word(4).parse().expect("a number")),
            private_ips: addresses(&word(5)),
            region: option("region").map(str::to_owned),
            antispoof: Antispoof::Instance,
        }),
        "attach" => Command::EniAttach {
            id,
            instance: word(2),
            port: word(3),
            vlan: option("vlan").map(|text| text.parse().expect("a number")),
            force: option("force").is_some(),
            rebind: option("rebind").map(|_| Rebind::Never),
        },
        "detach" => Command::EniDetach { id },
        "add-ip" => Command::EniAddIp {
            id,
            address: address(&word(2)),
            shared: option("shared").is_some(),
        },
        "remove-ip" => Command::EniRemoveIp {
            id,
            address: address(&word(2)),
        },
        "eni-delete" => Command::EniDelete { id },
        "eip" => Command::EipCreate(EipSpec {
            id,
            address: words.get(2).map(|text| address(text)),
            pool: option("pool").map(|text| text.parse().expect("a prefix")),
            region: option("region").map(str::to_owned),
            expires_at: option("expires").map(|text| second(text.parse().expect("seconds"))),
        }),
        "set" => Command::EipSet {
            id,
            expires: Some(expires(&word(2))),
            announce: None,
        },
        "release" => Command::EipRelease { id },
        "associate" => Command::Associate {
            eip: id,
            eni: word(2),
            mode: if words.get(3) == Some(&"cut") {
                Mode::CutThrough
            } else {
                Mode::Nat
            },
            private_ip: option("ip").map(address),
        },
        "disassociate" => Command::Disassociate { eip: id },
        "expire" => Command::Expire,
        "prune-all" => Command::Apply {
            document: Document::default(),
            prune: if id == "yes" { Prune::All } else { Prune::Few },
        },
        verb => panic!("`{verb}` is no verb of the tests"),
    }
}

/// Panics unless the table holds what the service promises.
pub(crate) fn check_invariants(model: &Model) {
    model
        .pools
        .values()
        .for_each(|pool| check_pool(model, pool));
    model.vpcs.values().for_each(|vpc| check_vpc(model, vpc));
    model.enis.values().for_each(|eni| check_eni(model, eni));
    model.eips.values().for_each(|eip| check_eip(model, eip));
    model
        .associations
        .values()
        .for_each(|one| check_association(model, one));
    for Instance { id, max_enis } in model.instances.values() {
        let on: Vec<_> = model
            .enis
            .values()
            .filter(|eni| eni.instance.as_ref() == Some(id))
            .collect();
        let primaries = on.iter().filter(|eni| eni.kind == EniKind::Primary).count();
        assert!(primaries <= 1, "{id} has {primaries} primary ENIs");
        let max = max_enis.map_or(usize::MAX, |max| max as usize);
        assert!(on.len() <= max, "{id} has {} ENIs", on.len());
    }
}

fn apart(one: &IpNet, other: &IpNet) -> bool {
    one.addr().is_ipv4() != other.addr().is_ipv4()
        || one.network() > other.broadcast()
        || other.network() > one.broadcast()
}

/// Network and broadcast address, and the router that `gateway` or the prefix gives.
fn special(cidr: &IpNet, gateway: Option<IpAddr>) -> BTreeSet<IpAddr> {
    let mut hosts = cidr.hosts();
    let v4 = matches!(cidr, IpNet::V4(_));
    let wide = cidr.max_prefix_len() - cidr.prefix_len() > 1;
    let first = if v4 || !wide {
        hosts.next()
    } else {
        hosts.nth(1)
    };
    let mut special: BTreeSet<_> = gateway.or(first).into_iter().collect();
    if wide {
        special.insert(cidr.network());
    }
    if wide && v4 {
        special.insert(cidr.broadcast());
    }
    special
}

fn check_pool(model: &Model, pool: &Pool) {
    let others = model.pools.keys().filter(|cidr| **cidr != pool.cidr);
    let vpcs = model.vpcs.values().flat_map(|vpc| &vpc.cidrs);
    for cidr in others.chain(vpcs) {
        assert!(apart(&pool.cidr, cidr), "pool {} and {cidr}", pool.cidr);
    }
}

fn check_vpc(_: &Model, vpc: &Vpc) {
    for (index, cidr) in vpc.cidrs.iter().enumerate() {
        assert!(
            vpc.cidrs[..index].iter().all(|other| apart(cidr, other)),
            "{vpc:?}"
        );
    }
    assert!(
        vpc.gateway
            .is_none_or(|ip| vpc.cidrs.iter().any(|cidr| cidr.contains(&ip))),
        "{vpc:?}"
    );
}

fn check_eni(model: &Model, eni: &Eni) {
    let vpc = &model.vpcs[&eni.vpc];
    let placed = eni.state != EniState::Detached;
    assert_eq!(placed, eni.instance.is_some(), "{eni:?}");
    assert_eq!(placed, eni.port.is_some(), "{eni:?}");
    assert!(eni.vlan.is_none() || placed, "{eni:?}");
    assert!(
        eni.instance
            .iter()
            .all(|id| model.instances.contains_key(id)),
        "{eni:?}"
    );
    assert!(
        eni.kind == EniKind::Secondary || eni.state != EniState::Stranded,
        "{eni:?}"
    );
    assert!(!eni.private_ips.is_empty(), "{eni:?}");
    let own: BTreeSet<_> = eni.private_ips.iter().collect();
    assert_eq!(own.len(), eni.private_ips.len(), "{eni:?}");
    for ip in &eni.shared_ips {
        assert!(own.contains(ip), "{eni:?}");
        let mut family = eni
            .private_ips
            .iter()
            .filter(|one| one.is_ipv4() == ip.is_ipv4());
        assert_ne!(family.next(), Some(ip), "{eni:?}");
    }
    assert!(
        placed || !eni.force && eni.rebind == Rebind::Name && eni.bound.is_none(),
        "{eni:?}"
    );
    for ip in &eni.private_ips {
        let cidr = vpc.cidrs.iter().find(|cidr| cidr.contains(ip));
        let cidr = cidr.unwrap_or_else(|| panic!("{ip} is outside {vpc:?}"));
        let gateway = vpc.gateway.filter(|gateway| cidr.contains(gateway));
        assert!(!special(cidr, gateway).contains(ip), "{eni:?} in {vpc:?}");
    }
    for other in model.enis.values().filter(|other| other.id != eni.id) {
        if other.vpc == eni.vpc {
            assert_ne!(other.mac, eni.mac, "{eni:?} {other:?}");
            let shared = |ip: &IpAddr| eni.shared_ips.contains(ip) && other.shared_ips.contains(ip);
            assert!(
                other
                    .private_ips
                    .iter()
                    .all(|ip| !own.contains(ip) || shared(ip)),
                "{eni:?} {other:?}"
            );
        } else if placed {
            assert_ne!(
                (&other.port, other.vlan),
                (&eni.port, eni.vlan),
                "{eni:?} {other:?}"
            );
        }
    }
}

fn check_eip(model: &Model, eip: &Eip) {
    let mut pools = model
        .pools
        .values()
        .filter(|pool| pool.cidr.contains(&eip.address));
    let pool = pools
        .next()
        .unwrap_or_else(|| panic!("{eip:?} is in no pool"));
    let inside = |range: &AddressRange| range.first <= eip.address && eip.address <= range.last;
    assert!(!pool.reserve.iter().any(inside), "{eip:?} in {pool:?}");
    let single = pool.cidr.prefix_len() == pool.cidr.max_prefix_len();
    match pool.gateway {
        Some(PoolGateway::None) => {}
        None if single => {}
        Some(PoolGateway::Address(gateway)) => {
            assert!(
                !special(&pool.cidr, Some(gateway)).contains(&eip.address),
                "{eip:?} in {pool:?}"
            );
        }
        None => assert!(
            !special(&pool.cidr, None).contains(&eip.address),
            "{eip:?} in {pool:?}"
        ),
    }
    let associated = model.associations.contains_key(&eip.id);
    assert_eq!(associated, eip.state == EipState::Associated, "{eip:?}");
    assert!(
        eip.state != EipState::Expired || eip.expires_at.is_some(),
        "{eip:?}"
    );
    let same = model
        .eips
        .values()
        .filter(|other| other.address == eip.address)
        .count();
    assert_eq!(same, 1, "{eip:?}");
}

fn check_association(model: &Model, one: &Association) {
    let (eip, eni) = (&model.eips[&one.eip], &model.enis[&one.eni]);
    assert_eq!(eip.region, eni.region, "{one:?}");
    assert_eq!(eip.address.is_ipv4(), one.private_ip.is_ipv4(), "{one:?}");
    assert!(eni.private_ips.contains(&one.private_ip), "{one:?} {eni:?}");
    for other in model.associations.values() {
        let vpc = &model.enis[&other.eni].vpc;
        if other.eip != one.eip && *vpc == eni.vpc {
            assert_ne!(other.private_ip, one.private_ip, "{one:?} {other:?}");
        }
        if other.eni != one.eni || other.eip == one.eip {
            continue;
        }
        assert_ne!(other.private_ip, one.private_ip, "{one:?} {other:?}");
        assert_eq!(other.mode, one.mode, "{one:?} {other:?}");
        let family = other.private_ip.is_ipv4() == one.private_ip.is_ipv4();
        let alone = one.mode == Mode::CutThrough || eni.kind == EniKind::Primary;
        assert!(!(family && alone), "{one:?} {other:?}");
    }
    if one.mode == Mode::CutThrough {
        assert_eq!(eni.kind, EniKind::Secondary, "{one:?}");
        let mut family = eni
            .private_ips
            .iter()
            .filter(|ip| ip.is_ipv4() == one.private_ip.is_ipv4());
        assert_eq!(family.next(), Some(&one.private_ip), "{one:?} {eni:?}");
    }
}

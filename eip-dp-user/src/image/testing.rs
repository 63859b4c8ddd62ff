//! Tables and hosts for tests: small worlds in which everything is close to everything else, so that changes collide.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use crate::{
    config::Config,
    host::{HostFacts, Link, LinkKind, Neighbour, Route, XdpFeatures},
    model::{
        Model,
        objects::{
            Antispoof, Association, Eip, EipState, Eni, EniKind, EniState, Instance, Mac, Mode,
            Pool, Vpc,
        },
    },
};

/// ENIs `e0` … of the worlds; even ones are in VPC `v0`, odd ones in `v1`.
pub const ENIS: u8 = 6;
/// EIPs `x0` … of the worlds.
pub const EIPS: u8 = 5;
const ADDRESSES: u8 = 6;
const PORTS: u8 = 5;

/// A configuration with the uplink `wan`.
pub fn config(text: &str) -> Config {
    Config::parse(text, "test.toml".as_ref(), &["wan".to_owned()]).expect("a valid configuration")
}

/// An interface.
pub fn link(name: &str, number: u8, kind: LinkKind) -> Link {
    Link {
        name: name.to_owned(),
        mac: [2, 0xaa, 0, 0, 0, number],
        mtu: 1500,
        up: true,
        kind,
        master: None,
        xdp: Some(XdpFeatures(0b111)),
    }
}

/// A host with the uplink `wan` (index 1, next hop 192.0.2.1) and the ports `p0` … (index 10 …).
pub fn host() -> HostFacts {
    let next_hop = IpAddr::from([192, 0, 2, 1]);
    let mut facts = HostFacts::default();
    facts.links.insert(1, link("wan", 1, LinkKind::Physical));
    for port in 0..PORTS {
        let index = 10 + u32::from(port);
        let kind = if port == 0 {
            LinkKind::Physical
        } else {
            LinkKind::Veth
        };
        facts
            .links
            .insert(index, link(&format!("p{port}"), 10 + port, kind));
    }
    facts.addresses = vec![(1, "192.0.2.2/24".parse().expect("an address"))];
    facts.routes = vec![Route {
        interface: 1,
        family: crate::host::Family::V4,
        metric: 0,
        gateway: Some(next_hop),
    }];
    facts.neighbours.insert(
        (1, next_hop),
        Neighbour {
            mac: Some([2, 0xbb, 0, 0, 0, 1]),
            usable: true,
            permanent: false,
            managed: None,
        },
    );
    facts
}

/// A VPC with the CIDR 10.0.0.0/16.
pub fn vpc(id: &str) -> Vpc {
    Vpc {
        id: id.to_owned(),
        cidrs: vec!["10.0.0.0/16".parse().expect("a prefix")],
        gateway: None,
        vni: None,
    }
}

/// A detached ENI.
pub fn eni(id: &str, vpc: &str, number: u8, addresses: &[[u8; 4]]) -> Eni {
    Eni {
        id: id.to_owned(),
        vpc: vpc.to_owned(),
        kind: EniKind::Secondary,
        mac: Mac([2, 0, 0, 0, 0, number]),
        private_ips: addresses.iter().map(|address| (*address).into()).collect(),
        region: None,
        antispoof: Antispoof::Instance,
        state: EniState::Detached,
        instance: None,
        port: None,
        vlan: None,
    }
}

/// Attaches an ENI.
pub fn attached(mut eni: Eni, instance: &str, port: &str) -> Eni {
    eni.state = EniState::Attached;
    eni.instance = Some(instance.to_owned());
    eni.port = Some(port.to_owned());
    eni
}

/// The address of the EIP of that number.
pub fn eip_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 10 + number)
}

/// Adds an EIP to the table.
pub fn add_eip(model: &mut Model, number: u8) {
    let eip = Eip {
        id: format!("x{number}"),
        address: eip_address(number).into(),
        region: None,
        expires_at: None,
        state: EipState::Free,
    };
    model.eips.insert(eip.id.clone(), eip);
}

/// Associates an EIP.
pub fn associate(model: &mut Model, number: u8, eni: &str, private_ip: [u8; 4], mode: Mode) {
    let association = Association {
        eip: format!("x{number}"),
        eni: eni.to_owned(),
        private_ip: private_ip.into(),
        mode,
    };
    model
        .associations
        .insert(association.eip.clone(), association);
}

/// A table with the pool 203.0.113.0/24 and two VPCs.
pub fn table() -> Model {
    let mut model = Model::default();
    let pool = Pool {
        cidr: "203.0.113.0/24".parse().expect("a prefix"),
        gateway: None,
        reserve: Vec::new(),
    };
    model.pools.insert(pool.cidr, pool);
    for id in ["v0", "v1"] {
        model.vpcs.insert(id.to_owned(), vpc(id));
    }
    for id in ["i0", "i1"] {
        let instance = Instance {
            id: id.to_owned(),
            max_enis: None,
        };
        model.instances.insert(id.to_owned(), instance);
    }
    model
}

/// Draws from bytes, so that a failing case can be shrunk.
pub struct Choice<'a>(pub std::slice::Iter<'a, u8>);

impl Choice<'_> {
    fn below(&mut self, end: u8) -> u8 {
        self.0.next().copied().unwrap_or_default() % end
    }
}

/// A table and a host that are drawn from bytes: any table that the rules could allow, and some that they do not.
pub fn world(bytes: &[u8]) -> (Model, HostFacts) {
    let mut choice = Choice(bytes.iter());
    let mut model = table();
    let mut facts = host();
    for port in 0..PORTS {
        let index = 10 + u32::from(port);
        match choice.below(5) {
            0 => {
                facts.links.remove(&index);
            }
            1 => facts.links.get_mut(&index).expect("there").up = false,
            _ => {}
        }
    }
    // Each address of each VPC belongs to one ENI of it, or to none.
    let mut addresses: BTreeMap<u8, Vec<[u8; 4]>> = BTreeMap::new();
    for vpc in 0..2 {
        for address in 0..ADDRESSES {
            let owner = choice.below(4);
            if owner < 3 {
                addresses
                    .entry(owner * 2 + vpc)
                    .or_default()
                    .push([10, 0, 0, 10 + address]);
            }
        }
    }
    for number in 0..ENIS {
        let Some(owned) = addresses.get(&number) else {
            continue;
        };
        let vpc = if number % 2 == 0 { "v0" } else { "v1" };
        let mut eni = eni(&format!("e{number}"), vpc, choice.below(3), owned);
        if choice.below(4) > 0 {
            let instance = format!("i{}", choice.below(2));
            eni = attached(eni, &instance, &format!("p{}", choice.below(PORTS)));
        }
        if choice.below(8) == 0 {
            eni.antispoof = Antispoof::Eni;
        }
        model.enis.insert(eni.id.clone(), eni);
    }
    let mut taken = Vec::new();
    for number in 0..EIPS {
        if choice.below(5) == 0 {
            continue;
        }
        add_eip(&mut model, number);
        let id = format!("e{}", choice.below(ENIS));
        let index = choice.below(3) as usize;
        let cut_through = choice.below(4) == 0;
        let Some(eni) = model.enis.get_mut(&id) else {
            continue;
        };
        let Some(IpAddr::V4(address)) = eni.private_ips.get(index).copied() else {
            continue;
        };
        if taken.contains(&(id.clone(), address)) {
            continue;
        }
        taken.push((id.clone(), address));
        if cut_through && eni.state == EniState::Attached && choice.below(3) == 0 {
            eni.state = EniState::Stranded;
        }
        let alone = !model.associations.values().any(|other| other.eni == id);
        let exclusive = model
            .associations
            .values()
            .all(|other| other.eni != id || other.mode == Mode::Nat);
        if exclusive && (alone || !cut_through) {
            let mode = if cut_through {
                Mode::CutThrough
            } else {
                Mode::Nat
            };
            associate(&mut model, number, &id, address.octets(), mode);
        }
    }
    (model, facts)
}

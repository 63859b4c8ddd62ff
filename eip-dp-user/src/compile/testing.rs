//! Tables and hosts for tests: small worlds in which everything is close to everything else, so
//! that changes collide.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    config::Config,
    host::{Family, Framing, HostFacts, Link, LinkKind, Neighbour, Route, VlanTag, XdpFeatures},
    model::{
        Model, Vlan,
        objects::{
            Announce, Antispoof, Association, Eip, EipState, Eni, EniKind, EniState, Instance, Mac,
            Mode, Pool, Rebind, Vpc,
        },
    },
};

/// ENIs `e0` … of the worlds; even ones are in VPC `v0`, odd ones in `v1`.
pub const ENIS: u8 = 6;
/// EIPs `x0` … and `y0` … of the worlds.
pub const EIPS: u8 = 5;
const ADDRESSES: u8 = 9;
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
        framing: Framing::Ethernet,
        master: None,
        vlan: None,
        takes_tags: false,
        incarnation: None,
        xdp: Some(XdpFeatures(0b111)),
    }
}

/// A host with the uplink `wan` (index 1, next hops 192.0.2.1 and `fe80::1`) and the ports `p0` …
/// (index 10 …).
pub fn host() -> HostFacts {
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
    facts.addresses = ["192.0.2.2/24", "2001:db8:ffff::2/64"]
        .map(|address| (1, address.parse().expect("an address")))
        .to_vec();
    for (family, next_hop) in Family::ALL.into_iter().zip(["192.0.2.1", "fe80::1"]) {
        let next_hop: IpAddr = next_hop.parse().expect("an address");
        facts.routes.push(Route {
            interface: 1,
            family,
            metric: 0,
            gateway: Some(next_hop),
        });
        facts.neighbours.insert(
            (1, next_hop),
            Neighbour {
                mac: Some([2, 0xbb, 0, 0, 0, 1]),
                usable: true,
                permanent: false,
                managed: None,
            },
        );
    }
    facts
}

/// A VPC with the CIDRs 10.0.0.0/16 and `fd00::/64`.
pub fn vpc(id: &str) -> Vpc {
    Vpc {
        id: id.to_owned(),
        cidrs: ["10.0.0.0/16", "fd00::/64"]
            .map(|cidr| cidr.parse().expect("a prefix"))
            .to_vec(),
        gateway: None,
        vni: None,
    }
}

/// A detached ENI.
pub fn eni<A: Into<IpAddr> + Copy>(id: &str, vpc: &str, number: u8, addresses: &[A]) -> Eni {
    Eni {
        id: id.to_owned(),
        vpc: vpc.to_owned(),
        kind: EniKind::Secondary,
        mac: Mac([2, 0, 0, 0, 0, number]),
        private_ips: addresses.iter().map(|address| (*address).into()).collect(),
        shared_ips: Vec::new(),
        region: None,
        antispoof: Antispoof::Instance,
        state: EniState::Detached,
        instance: None,
        port: None,
        vlan: None,
        force: false,
        rebind: Rebind::Name,
        bound: None,
    }
}

/// Attaches an ENI.
pub fn attached(mut eni: Eni, instance: &str, port: &str) -> Eni {
    eni.state = EniState::Attached;
    eni.instance = Some(instance.to_owned());
    eni.port = Some(port.to_owned());
    eni
}

/// The address of the EIP `x` of that number.
pub fn eip_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 10 + number)
}

/// The address of the EIP `y` of that number.
pub fn eip6_address(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10 + u16::from(number))
}

/// A private IPv6 address.
pub fn private6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number))
}

/// Adds the EIP `x` of that number to the table.
pub fn add_eip(model: &mut Model, number: u8) {
    insert_eip(model, format!("x{number}"), eip_address(number).into());
}

/// Adds the EIP `y` of that number to the table.
pub fn add_eip6(model: &mut Model, number: u8) {
    insert_eip(model, format!("y{number}"), eip6_address(number).into());
}

fn insert_eip(model: &mut Model, id: String, address: IpAddr) {
    let eip = Eip {
        id,
        address,
        region: None,
        expires_at: None,
        state: EipState::Free,
        announce: Announce::Auto,
        former: None,
    };
    model.eips.insert(eip.id.clone(), eip);
}

/// Associates an EIP `x`.
pub fn associate(model: &mut Model, number: u8, eni: &str, private_ip: [u8; 4], mode: Mode) {
    put_association(model, &format!("x{number}"), eni, private_ip.into(), mode);
}

/// Associates any EIP.
pub fn put_association(model: &mut Model, eip: &str, eni: &str, private_ip: IpAddr, mode: Mode) {
    let association = Association {
        eip: eip.to_owned(),
        eni: eni.to_owned(),
        private_ip,
        mode,
    };
    model
        .associations
        .insert(association.eip.clone(), association);
}

/// A table with the pools 203.0.113.0/24 and `2001:db8::/64`, and two VPCs.
pub fn table() -> Model {
    let mut model = Model::default();
    for cidr in ["203.0.113.0/24", "2001:db8::/64"] {
        let pool = Pool {
            cidr: cidr.parse().expect("a prefix"),
            gateway: None,
            reserve: Vec::new(),
            priority: 100,
        };
        model.pools.insert(pool.cidr, pool);
    }
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

/// A table and a host that are drawn from bytes: any table that the rules could allow, and some
/// that they do not.
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
    facts
        .links
        .entry(10)
        .and_modify(|nic| nic.takes_tags = true);
    draw_host_use(&mut choice, &mut facts);
    // Each address of each VPC belongs to one ENI of it, or to none.
    let mut addresses: BTreeMap<u8, Vec<IpAddr>> = BTreeMap::new();
    for vpc in 0..2 {
        for address in 0..ADDRESSES {
            let owner = choice.below(4);
            if owner < 3 {
                let of_owner = addresses.entry(owner * 2 + vpc).or_default();
                of_owner.push(if address % 3 == 2 {
                    private6(10 + address).into()
                } else {
                    IpAddr::from([10, 0, 0, 10 + address])
                });
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
            let (outer, id) = (choice.below(2), choice.below(3));
            eni.vlan = Vlan::of_key(u16::from(id), u16::from(outer));
        }
        if choice.below(8) == 0 {
            eni.antispoof = Antispoof::Eni;
        }
        model.enis.insert(eni.id.clone(), eni);
    }
    for number in 0..EIPS {
        for is_v6 in [false, true] {
            if choice.below(5) > 0 {
                draw_eip(&mut model, &mut choice, number, is_v6);
            }
        }
    }
    (model, facts)
}

/// Gives the host a bridge, and interfaces of its own for VLANs of the ports.
fn draw_host_use(choice: &mut Choice<'_>, facts: &mut HostFacts) {
    let bridge = LinkKind::Other("bridge".to_owned());
    facts.links.insert(90, link("br", 90, bridge));
    for port in 0..PORTS {
        let index = 10 + u32::from(port);
        let Some(lower) = facts.links.get_mut(&index) else {
            continue;
        };
        if choice.below(3) == 0 {
            lower.master = Some(90);
        }
        let mut upon = |number: u8, lower, tag| {
            let mut vlan = link(
                &format!("v{number}"),
                number,
                LinkKind::Other("vlan".to_owned()),
            );
            vlan.vlan = Some((lower, tag));
            facts.links.insert(number.into(), vlan);
        };
        // The VLANs of ENIs: none, 1, 2, and the same within 1.
        if choice.below(3) == 0 {
            let id = choice.below(3);
            upon(30 + port, index, VlanTag::Customer(id.into()));
        }
        if choice.below(3) == 0 {
            upon(40 + port, index, VlanTag::Service(1));
            let id = choice.below(3);
            upon(
                50 + port,
                40 + u32::from(port),
                VlanTag::Customer(id.into()),
            );
        }
    }
}

/// Adds an EIP, and associates it where the rules let it.
fn draw_eip(model: &mut Model, choice: &mut Choice<'_>, number: u8, is_v6: bool) {
    let eip = if is_v6 {
        add_eip6(model, number);
        format!("y{number}")
    } else {
        add_eip(model, number);
        format!("x{number}")
    };
    let id = format!("e{}", choice.below(ENIS));
    let index = choice.below(3) as usize;
    let cut_through = choice.below(4) == 0;
    let Some(eni) = model.enis.get_mut(&id) else {
        return;
    };
    let mut of_family = eni.private_ips.iter().filter(|ip| ip.is_ipv6() == is_v6);
    let Some(address) = of_family.nth(if cut_through { 0 } else { index }).copied() else {
        return;
    };
    let mut others = model.associations.values().filter(|one| one.eni == id);
    let fits = others.all(|other| {
        let same_family = other.private_ip.is_ipv6() == is_v6;
        if cut_through {
            other.mode == Mode::CutThrough && !same_family
        } else {
            other.mode == Mode::Nat && other.private_ip != address
        }
    });
    if !fits {
        return;
    }
    if cut_through && eni.state == EniState::Attached && choice.below(3) == 0 {
        eni.state = EniState::Stranded;
    }
    let mode = if cut_through {
        Mode::CutThrough
    } else {
        Mode::Nat
    };
    put_association(model, &eip, &id, address, mode);
}

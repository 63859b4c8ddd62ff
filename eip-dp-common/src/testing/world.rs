//! Tables in collections.

use std::collections::HashMap;

use super::site::{
    ENIS, GATEWAY, HOST, Plan, ROUTER_MAC, STANDINGS, Standing, UNASSOCIATED, UPLINK, UPLINK_MAC,
    UPLINK_MTU, target_of,
};
use crate::{
    abi::{
        AddressClass, Checksummed, Cidr, EipMode, EipRoute, Link, LinkKey, MacKey, NONE, NextHop,
        PREFIX_CHECKSUM, Port, PortMac, PortRole, Prefix, Reason, SourceBinding, SourceKey,
        SourceState, Target, TargetFlags, Uplink, UplinkFlags,
    },
    budget::{EipBudget, EniBudget, Spend},
    checksum::Delta,
    family::{Family, NatObstacle, V4, V6, v4},
    packet::{Mac, Packet},
    pipeline::FastPathTables,
    tables::{LinkTables, Scratch, Tables},
};

/// Copies a record that was found.
fn copy<T: Copy>(record: Option<&T>, into: &mut T) -> bool {
    record.is_some_and(|record| {
        *into = *record;
        true
    })
}

/// A network, its mask, and what addresses in it are.
pub type InPrefix<A> = (A, A, Prefix<A>);

/// The tables of one family.
pub struct Addressed<F: Family> {
    /// By address.
    pub eips: HashMap<F::Address, EipRoute<F::Address>>,
    /// By VPC and address.
    pub privates: HashMap<SourceKey<F::Address>, SourceBinding<F::Address>>,
    /// By [`Cidr::index`].
    pub cidrs: HashMap<u32, Cidr<F::Address>>,
    /// The longest first.
    pub prefixes: Vec<InPrefix<F::Address>>,
}

/// Tables in memory.
pub struct World {
    /// IPv4's.
    pub v4: Addressed<V4>,
    /// IPv6's.
    pub v6: Addressed<V6>,
    /// By interface.
    pub ports: HashMap<LinkKey, Port>,
    /// By interface and MAC.
    pub macs: HashMap<MacKey, PortMac>,
    /// By index.
    pub targets: HashMap<u32, Target>,
    /// By interface.
    pub uplinks: HashMap<LinkKey, Uplink>,
}

/// A family that the world has tables for.
pub trait Kept: Plan {
    /// Its tables.
    fn of(world: &World) -> &Addressed<Self>;
}

impl Kept for V4 {
    fn of(world: &World) -> &Addressed<Self> {
        &world.v4
    }
}

impl Kept for V6 {
    fn of(world: &World) -> &Addressed<Self> {
        &world.v6
    }
}

impl LinkTables for World {
    fn port(&self, key: &LinkKey, into: &mut Port) -> bool {
        copy(self.ports.get(key), into)
    }

    fn mac(&self, key: &MacKey, into: &mut PortMac) -> bool {
        copy(self.macs.get(key), into)
    }

    fn target(&self, index: &u32, into: &mut Target) -> bool {
        copy(self.targets.get(index), into)
    }

    fn instance(&self, index: &u32) -> u64 {
        self.targets.get(index).map_or(0, |target| target.instance)
    }

    fn uplink(&self, key: &LinkKey, into: &mut Uplink) -> bool {
        copy(self.uplinks.get(key), into)
    }

    fn answers(&self, _slot: u32) -> u64 {
        u64::MAX
    }

    fn check_options<P: Packet>(
        &self,
        packet: &P,
        len: usize,
        sum: u32,
    ) -> Result<NatObstacle, Reason> {
        v4::check_options(packet, len, sum, &mut crate::tables::Options::new())
    }

    fn walk_embedded_options<P: Packet>(
        &self,
        packet: &P,
        start: usize,
        len: usize,
    ) -> NatObstacle {
        v4::walk_embedded_options(packet, start, len, &mut crate::tables::Options::new())
    }

    fn allow_eni(&self, _target: u32, _kind: EniBudget, _spend: Spend) -> bool {
        true
    }

    fn allow_eip(&self, _slot: u32, _receiver: u64, _kind: EipBudget, _spend: Spend) -> bool {
        true
    }

    fn allow_neighbour(&self, _target: u32, _ifindex: u32, _neighbour: u64) -> bool {
        true
    }

    fn neighbour_answers(&self, _ifindex: u32, _neighbour: u64) {}
}

/// A link's index is its interface's.
impl FastPathTables for World {
    fn ingress(&self, ifindex: u32, is_uplink: bool, into: &mut Link) -> u32 {
        let key = LinkKey::untagged(ifindex);
        let (mut port, mut uplink) = (Port::zeroed(), Uplink::zeroed());
        let (mac, vpc) =
            if is_uplink && self.uplink(&key, &mut uplink) && uplink.is_consistent(&key) {
                (uplink.mac, NONE)
            } else if !is_uplink && self.port(&key, &mut port) && port.is_consistent(&key) {
                (port.mac, port.vpc)
            } else {
                return 0;
            };
        *into = Link {
            ifindex,
            vpc,
            mac,
            ..Link::default()
        };
        ifindex
    }

    fn next_hop(&self, index: &u32) -> NextHop {
        self.targets
            .get(index)
            .map_or(NextHop::default(), |target| {
                NextHop::new(target.dst_mac, target.ifindex, false)
            })
    }
}

impl<F: Kept> Tables<F> for World {
    fn eip(&self, address: &F::Address, into: &mut EipRoute<F::Address>) -> bool {
        copy(F::of(self).eips.get(address), into)
    }

    fn private(&self, key: &SourceKey<F::Address>, into: &mut SourceBinding<F::Address>) -> bool {
        copy(F::of(self).privates.get(key), into)
    }

    fn cidr(&self, index: &u32, into: &mut Cidr<F::Address>) -> bool {
        copy(F::of(self).cidrs.get(index), into)
    }

    fn prefix(&self, address: &F::Address, into: &mut Prefix<F::Address>) -> bool {
        let mut prefixes = F::of(self).prefixes.iter();
        let found = prefixes.find(|(network, mask, _)| F::mask(address, mask) == *network);
        copy(found.map(|(_, _, prefix)| prefix), into)
    }

    fn may_be_pool(&self, address: &F::Address) -> bool {
        let pool = F::prefilter(&F::public(0));
        F::prefilter(address) == pool
    }

    fn with_scratch<R>(&self, path: impl FnOnce(&mut Scratch<F::Address>) -> R) -> Option<R> {
        Some(path(&mut Scratch::new()))
    }
}

/// The tables of the [site](super::site).
pub fn world() -> World {
    let mut world = World {
        v4: addressed(),
        v6: addressed(),
        ports: HashMap::new(),
        macs: HashMap::new(),
        targets: HashMap::new(),
        uplinks: HashMap::new(),
    };
    for index in [V4::UPLINK_TARGET, V6::UPLINK_TARGET] {
        let target = target(UPLINK, UPLINK_MTU, ROUTER_MAC, UPLINK_MAC);
        let target = Target {
            vpc: NONE,
            ..target
        };
        world.targets.insert(index, target.sealed(&index));
    }
    let key = LinkKey::untagged(UPLINK);
    let uplink = Uplink {
        icmp_source4: V4::own(),
        icmp_source6: V6::own(),
        mac: UPLINK_MAC,
        flags: UplinkFlags::ANSWER_ARP,
        ..Uplink::zeroed()
    };
    world.uplinks.insert(key, uplink.sealed(&key));
    for (place, eni) in ENIS.iter().enumerate() {
        let index = target_of(place);
        let mut target = target(eni.port, eni.mtu, eni.mac, eni.port_mac);
        target.instance = u64::from(eni.instance);
        target.vpc = eni.vpc;
        target.flags |= eni.flags;
        world.targets.insert(index, target.sealed(&index));
        let key = LinkKey::untagged(eni.port);
        let alone = ENIS.iter().filter(|other| other.port == eni.port).count() == 1;
        let port = Port {
            role: PortRole::Enis as u32,
            vpc: eni.vpc,
            target: if alone { index } else { NONE },
            mac: eni.port_mac,
            eni_mac: if alone { eni.mac } else { [0; 6] },
            seal: 0,
        };
        world.ports.insert(key, port.sealed(&key));
        let key = MacKey::on(key, eni.mac);
        let mac = PortMac {
            target: index,
            seal: 0,
        };
        world.macs.insert(key, mac.sealed(&key));
    }
    world
}

fn target(ifindex: u32, mtu: u32, dst_mac: Mac, src_mac: Mac) -> Target {
    Target {
        ifindex,
        mtu: u16::try_from(mtu).expect("fits"),
        dst_mac,
        src_mac,
        flags: TargetFlags::RESOLVED | TargetFlags::XDP,
        ..Target::zeroed()
    }
}

fn addressed<F: Plan>() -> Addressed<F> {
    let mut addressed = Addressed {
        eips: HashMap::new(),
        privates: HashMap::new(),
        cidrs: HashMap::new(),
        prefixes: Vec::new(),
    };
    for vpc in [1, 2] {
        let index = Cidr::<F::Address>::index(vpc, 0);
        let cidr = Cidr {
            network: F::mask(&F::private(0), &F::VPC_MASK),
            mask: F::VPC_MASK,
            gateway: F::private(GATEWAY),
            used: 1,
            seal: 0,
        };
        addressed.cidrs.insert(index, cidr.sealed(&index));
    }
    let whole = F::address(&vec![0xff; size_of::<F::Address>()]);
    let pool = F::mask(&F::public(0), &F::POOL_MASK);
    addressed.prefixes = vec![
        prefix::<F>(F::public(HOST), whole, AddressClass::Host),
        prefix::<F>(F::public(GATEWAY), whole, AddressClass::PoolGateway),
        prefix::<F>(pool, F::POOL_MASK, AddressClass::Pool),
    ];
    for standing in &STANDINGS {
        associate(&mut addressed, standing);
    }
    let address = F::public(UNASSOCIATED);
    let entry = EipRoute {
        slot: u32::from(UNASSOCIATED),
        target: NONE,
        mode: EipMode::Unassociated as u8,
        ..EipRoute::zeroed()
    };
    addressed.eips.insert(address, entry.sealed(&address));
    addressed
}

fn prefix<F: Plan>(
    network: F::Address,
    mask: F::Address,
    class: AddressClass,
) -> InPrefix<F::Address> {
    let prefix = Prefix {
        gateway: F::public(GATEWAY),
        class: class as u32,
        ifindex: 0,
        mtu: 0,
        seal: 0,
    };
    (network, mask, prefix.sealed(&PREFIX_CHECKSUM))
}

fn associate<F: Plan>(addressed: &mut Addressed<F>, standing: &Standing) {
    let (own, public) = (standing.own::<F>(), F::public(standing.public));
    let is_nat = standing.state == SourceState::Nat;
    let key = SourceKey {
        vpc: standing.vpc,
        address: own,
    };
    let translates = is_nat || standing.state == SourceState::CutThrough;
    let entry = SourceBinding {
        public: if translates { public } else { F::UNSPECIFIED },
        slot: if standing.public == 0 {
            NONE
        } else {
            u32::from(standing.public)
        },
        target: standing.target(),
        delta: if is_nat { delta::<F>(&own, &public) } else { 0 },
        state: standing.state as u8,
        ..SourceBinding::zeroed()
    };
    addressed.privates.insert(key, entry.sealed(&key));
    if standing.public == 0 {
        return;
    }
    let entry = EipRoute {
        private: own,
        slot: u32::from(standing.public),
        target: standing.target(),
        vpc: standing.vpc,
        delta: if is_nat { delta::<F>(&public, &own) } else { 0 },
        mode: standing.mode() as u8,
        ..EipRoute::zeroed()
    };
    addressed.eips.insert(public, entry.sealed(&public));
}

/// The difference that one address's change into another makes, word by word.
fn delta<F: Plan>(old: &F::Address, new: &F::Address) -> u16 {
    let words = F::bytes(old).chunks(2).zip(F::bytes(new).chunks(2));
    let deltas = words.map(|(old, new)| Delta::between(&[old[0], old[1]], &[new[0], new[1]]));
    deltas.fold(Delta::NONE, Delta::and).to_record()
}

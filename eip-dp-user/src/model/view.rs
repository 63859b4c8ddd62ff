//! How the rules look at a table, and the table in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use jiff::Timestamp;

use super::{
    Change, Diff, Pools, Vlan, address,
    objects::{Association, Eip, EipState, Eni, EniKind, Instance, Mac, Vpc},
};

/// The narrow questions that the rules ask of a table. A store answers each by an index.
///
/// Questions do not fail: a store that cannot answer remembers why, answers "nothing", and discards
/// the decision.
pub trait View {
    /// All pools: few, so they are read at once.
    fn pools(&self) -> Pools;
    /// The VPC of that id.
    fn vpc(&self, id: &str) -> Option<Vpc>;
    /// The instance of that id.
    fn instance(&self, id: &str) -> Option<Instance>;
    /// The ENI of that id.
    fn eni(&self, id: &str) -> Option<Eni>;
    /// The EIP of that id.
    fn eip(&self, id: &str) -> Option<Eip>;
    /// The association of that EIP.
    fn association(&self, eip: &str) -> Option<Association>;
    /// The associations of that ENI.
    fn associations_of(&self, eni: &str) -> Vec<Association>;
    /// The id of the ENI that has this Ethernet address in the VPC.
    fn eni_by_mac(&self, vpc: &str, mac: Mac) -> Option<String>;
    /// The ids of the ENIs that have this private address in the VPC: several if they share it.
    fn enis_by_address(&self, vpc: &str, address: IpAddr) -> Vec<String>;
    /// The first ENI, by id, that the filter matches and `accept` takes.
    fn find_eni(
        &self,
        filter: EniFilter<'_>,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Option<String>;
    /// The id of the EIP that has this address.
    fn eip_by_address(&self, address: IpAddr) -> Option<String>;
    /// The first EIP, by address, between `first` and `last` that `accept` takes.
    fn find_eip(
        &self,
        first: IpAddr,
        last: IpAddr,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Option<String>;
    /// The lowest address between `first` and `last` that no EIP has.
    fn free_address(&self, first: IpAddr, last: IpAddr) -> Option<IpAddr>;
    /// The first VPC, by id, with a CIDR that shares addresses with `cidr` and that `accept` takes.
    fn find_vpc(&self, cidr: IpNet, accept: &mut dyn FnMut(&str) -> bool) -> Option<String>;
    /// The ids of the EIPs whose time is over at `now`, and that are not `expired` yet, by id.
    fn due_eips(&self, now: Timestamp) -> Vec<String>;
    /// The earliest `expires_at` of an EIP that is not `expired` yet.
    fn next_expiry(&self) -> Option<Timestamp>;
    /// Shows every id of a kind, for who has misspelt one.
    fn each_id(&self, kind: Kind, show: &mut dyn FnMut(&str));
    /// Every object, for the commands that compare whole tables.
    fn model(&self) -> Model;
}

/// The kinds of objects that have an id of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// VPCs.
    Vpc,
    /// Instances.
    Instance,
    /// ENIs.
    Eni,
    /// EIPs.
    Eip,
}

/// Which ENIs [`View::find_eni`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EniFilter<'a> {
    /// Those of a VPC.
    Vpc(&'a str),
    /// Those that are attached to an instance.
    Instance(&'a str),
    /// The primary ones of an instance.
    PrimaryOf(&'a str),
    /// Those behind a port.
    Port(&'a str, Option<Vlan>),
    /// Those behind an interface, on whatever VLAN.
    Interface(&'a str),
}

impl EniFilter<'_> {
    /// Whether the ENI is one of those.
    pub fn matches(&self, eni: &Eni) -> bool {
        match *self {
            Self::Vpc(vpc) => eni.vpc == vpc,
            Self::Instance(instance) => eni.instance.as_deref() == Some(instance),
            Self::PrimaryOf(instance) => {
                eni.kind == EniKind::Primary && eni.instance.as_deref() == Some(instance)
            }
            Self::Port(port, vlan) => eni.port.as_deref() == Some(port) && eni.vlan == vlan,
            Self::Interface(port) => eni.port.as_deref() == Some(port),
        }
    }
}

/// A table in memory, by identity. As a [`View`] it searches without an index: it is for small
/// tables and for tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// The pools by prefix.
    pub pools: Pools,
    /// The VPCs by id.
    pub vpcs: BTreeMap<String, Vpc>,
    /// The instances by id.
    pub instances: BTreeMap<String, Instance>,
    /// The ENIs by id.
    pub enis: BTreeMap<String, Eni>,
    /// The EIPs by id.
    pub eips: BTreeMap<String, Eip>,
    /// The associations by the EIP's id.
    pub associations: BTreeMap<String, Association>,
}

impl Model {
    /// Makes the changes of a decision.
    pub fn change(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Pool(diff) => put(&mut self.pools, diff, |pool| pool.cidr),
                Change::Vpc(diff) => put(&mut self.vpcs, diff, |vpc| vpc.id.clone()),
                Change::Instance(diff) => put(&mut self.instances, diff, |one| one.id.clone()),
                Change::Eni(diff) => put(&mut self.enis, diff, |eni| eni.id.clone()),
                Change::Eip(diff) => put(&mut self.eips, diff, |eip| eip.id.clone()),
                Change::Association(diff) => {
                    put(&mut self.associations, diff, |one| one.eip.clone());
                }
            }
        }
    }
}

fn put<K: Ord, T: Clone>(map: &mut BTreeMap<K, T>, diff: &Diff<T>, key: impl Fn(&T) -> K) {
    if let Some(after) = &diff.after {
        map.insert(key(after), after.clone());
    } else if let Some(before) = &diff.before {
        map.remove(&key(before));
    }
}

impl View for Model {
    fn pools(&self) -> Pools {
        self.pools.clone()
    }

    fn vpc(&self, id: &str) -> Option<Vpc> {
        self.vpcs.get(id).cloned()
    }

    fn instance(&self, id: &str) -> Option<Instance> {
        self.instances.get(id).cloned()
    }

    fn eni(&self, id: &str) -> Option<Eni> {
        self.enis.get(id).cloned()
    }

    fn eip(&self, id: &str) -> Option<Eip> {
        self.eips.get(id).cloned()
    }

    fn association(&self, eip: &str) -> Option<Association> {
        self.associations.get(eip).cloned()
    }

    fn associations_of(&self, eni: &str) -> Vec<Association> {
        let of = self.associations.values().filter(|one| one.eni == eni);
        of.cloned().collect()
    }

    fn eni_by_mac(&self, vpc: &str, mac: Mac) -> Option<String> {
        let mut of = self.enis.values();
        of.find(|eni| eni.vpc == vpc && eni.mac == mac)
            .map(|eni| eni.id.clone())
    }

    fn enis_by_address(&self, vpc: &str, address: IpAddr) -> Vec<String> {
        let of = self.enis.values();
        of.filter(|eni| eni.vpc == vpc && eni.private_ips.contains(&address))
            .map(|eni| eni.id.clone())
            .collect()
    }

    fn find_eni(
        &self,
        filter: EniFilter<'_>,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Option<String> {
        let mut of = self.enis.values().filter(|eni| filter.matches(eni));
        of.find(|eni| accept(&eni.id)).map(|eni| eni.id.clone())
    }

    fn eip_by_address(&self, address: IpAddr) -> Option<String> {
        let mut of = self.eips.values();
        of.find(|eip| eip.address == address)
            .map(|eip| eip.id.clone())
    }

    fn find_eip(
        &self,
        first: IpAddr,
        last: IpAddr,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Option<String> {
        let of: BTreeMap<_, _> = self
            .eips
            .values()
            .filter(|eip| (first..=last).contains(&eip.address))
            .map(|eip| (eip.address, &eip.id))
            .collect();
        of.into_values().find(|id| accept(id)).cloned()
    }

    fn free_address(&self, first: IpAddr, last: IpAddr) -> Option<IpAddr> {
        let taken: BTreeSet<_> = self.eips.values().map(|eip| eip.address).collect();
        let mut free = first;
        for address in taken.range(first..=last) {
            if *address != free {
                break;
            }
            free = address::next(free)?;
        }
        (free <= last).then_some(free)
    }

    fn find_vpc(&self, cidr: IpNet, accept: &mut dyn FnMut(&str) -> bool) -> Option<String> {
        let shares = |vpc: &&Vpc| vpc.cidrs.iter().any(|one| address::overlap(one, &cidr));
        let mut of = self.vpcs.values().filter(shares);
        of.find(|vpc| accept(&vpc.id)).map(|vpc| vpc.id.clone())
    }

    fn due_eips(&self, now: Timestamp) -> Vec<String> {
        let due = |eip: &&Eip| {
            eip.state != EipState::Expired && eip.expires_at.is_some_and(|end| end <= now)
        };
        let due = self.eips.values().filter(due);
        due.map(|eip| eip.id.clone()).collect()
    }

    fn next_expiry(&self) -> Option<Timestamp> {
        self.eips
            .values()
            .filter(|eip| eip.state != EipState::Expired)
            .filter_map(|eip| eip.expires_at)
            .min()
    }

    fn each_id(&self, kind: Kind, show: &mut dyn FnMut(&str)) {
        match kind {
            Kind::Vpc => self.vpcs.keys().for_each(|id| show(id)),
            Kind::Instance => self.instances.keys().for_each(|id| show(id)),
            Kind::Eni => self.enis.keys().for_each(|id| show(id)),
            Kind::Eip => self.eips.keys().for_each(|id| show(id)),
        }
    }

    fn model(&self) -> Model {
        self.clone()
    }
}

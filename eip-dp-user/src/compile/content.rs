//! What the kernel's maps hold, as plain values: wanted by the table, or read back from the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use eip_dp_common::abi::{
    Cidr, LinkKey, MacKey, Port, PortMac, PrefixKey, Target, TargetFlags, UPLINK_TARGET4,
    UPLINK_TARGET6, Uplink, Vpc, maps,
};
use serde::Serialize;

use super::family::{Address, Eip, InVpc, PrefixRecord, Private};
use crate::{
    host::Family,
    model::{Vlan, objects::Mac},
};

/// The content of the maps that the daemon owns. An array's element that is not in here is zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The maps of IPv4.
    pub v4: FamilyContent<[u8; 4]>,
    /// The maps of IPv6.
    pub v6: FamilyContent<[u8; 16]>,
    /// `VPCS`.
    pub vpcs: BTreeMap<u32, Vpc>,
    /// `NEXT_HOPS`.
    pub targets: BTreeMap<u32, Target>,
    /// `PORTS`.
    pub ports: BTreeMap<LinkKey, Port>,
    /// `MACS`.
    pub macs: BTreeMap<MacKey, PortMac>,
    /// `UPLINKS`.
    pub uplinks: BTreeMap<LinkKey, Uplink>,
    /// `DEVICES`.
    pub devices: BTreeSet<u32>,
}

/// The content of the maps that an address family has of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyContent<A: Ord> {
    /// `EIP4`, `EIP6`.
    pub eips: BTreeMap<A, Eip<A>>,
    /// `PRIVATE4`, `PRIVATE6`.
    pub private: BTreeMap<InVpc<A>, Private<A>>,
    /// `PREFIX4`, `PREFIX6`.
    pub prefixes: BTreeMap<PrefixKey<A>, PrefixRecord<A>>,
    /// `CIDR4`, `CIDR6`.
    pub cidrs: BTreeMap<u32, Cidr<A>>,
    /// `PREFILTER4`, `PREFILTER6`.
    pub prefilter: BTreeMap<u32, u64>,
}

/// The way to the Internet of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// No uplink is up and has a next hop.
    None,
    /// There is a next hop, but who that is on the link is not known: what is sent there is
    /// dropped.
    Unresolved,
    /// Packets are sent.
    Ready,
}

impl Egress {
    pub(crate) fn of(is_there: bool, is_resolved: bool) -> Self {
        match (is_there, is_resolved) {
            (false, _) => Self::None,
            (true, false) => Self::Unresolved,
            (true, true) => Self::Ready,
        }
    }

    /// Why EIPs of the family are not served, and what to do about it; `None`: it is not for want
    /// of a way.
    pub fn problem(self, family: Family) -> Option<String> {
        match self {
            Self::None => Some(format!(
                "no uplink is up and has an {family} next hop; give the host an {family} default route through the uplink, \
                 or set `next_hop` in its [[uplink]]"
            )),
            Self::Unresolved => Some(format!(
                "the {family} next hop does not say its Ethernet address; look whether the router is up and its address is \
                 right, or set `next_hop_mac` in its [[uplink]]"
            )),
            Self::Ready => None,
        }
    }
}

/// One change of one element of one map. `None` removes it, or zeroes it in an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A map of IPv4.
    V4(FamilyWrite<[u8; 4]>),
    /// A map of IPv6.
    V6(FamilyWrite<[u8; 16]>),
    /// `VPCS`.
    Vpc(u32, Option<Vpc>),
    /// `NEXT_HOPS`.
    Target(u32, Option<Target>),
    /// `PORTS`.
    Port(LinkKey, Option<Port>),
    /// `MACS`.
    Mac(MacKey, Option<PortMac>),
    /// `UPLINKS`.
    Uplink(LinkKey, Option<Uplink>),
    /// `DEVICES`.
    Device(u32, bool),
    /// `EIP_IN`: all of a slot's counters become 0, because another EIP gets it.
    ClearCounters(u32),
}

/// One change of a map that an address family has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FamilyWrite<A> {
    /// `EIP4`, `EIP6`.
    Eip(A, Option<Eip<A>>),
    /// `PRIVATE4`, `PRIVATE6`.
    Private(InVpc<A>, Option<Private<A>>),
    /// `PREFIX4`, `PREFIX6`.
    Prefix(PrefixKey<A>, Option<PrefixRecord<A>>),
    /// `CIDR4`, `CIDR6`.
    Cidr(u32, Option<Cidr<A>>),
    /// `PREFILTER4`, `PREFILTER6`.
    Screen(u32, u64),
}

impl Content {
    /// The way to the Internet.
    pub fn egress(&self, family: Family) -> Egress {
        let target = self.targets.get(&match family {
            Family::V4 => UPLINK_TARGET4,
            Family::V6 => UPLINK_TARGET6,
        });
        let is_there = |target: &&Target| target.ifindex != 0;
        let target = target.filter(is_there);
        let is_resolved = |target: &Target| target.flags & TargetFlags::RESOLVED != 0;
        Egress::of(target.is_some(), target.is_some_and(is_resolved))
    }

    /// Makes one change.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::V4(write) => self.v4.apply(write),
            Write::V6(write) => self.v6.apply(write),
            Write::Vpc(key, value) => set(&mut self.vpcs, *key, *value),
            Write::Target(key, value) => set(&mut self.targets, *key, *value),
            Write::Port(key, value) => set(&mut self.ports, *key, *value),
            Write::Mac(key, value) => set(&mut self.macs, *key, *value),
            Write::Uplink(key, value) => set(&mut self.uplinks, *key, *value),
            Write::Device(key, true) => {
                self.devices.insert(*key);
            }
            Write::Device(key, false) => {
                self.devices.remove(key);
            }
            Write::ClearCounters(_) => {}
        }
    }
}

impl<A: Address> FamilyContent<A> {
    fn apply(&mut self, write: &FamilyWrite<A>) {
        match write {
            FamilyWrite::Eip(key, value) => set(&mut self.eips, *key, *value),
            FamilyWrite::Private(key, value) => set(&mut self.private, *key, *value),
            FamilyWrite::Prefix(key, value) => set(&mut self.prefixes, *key, *value),
            FamilyWrite::Cidr(key, value) => set(&mut self.cidrs, *key, *value),
            FamilyWrite::Screen(key, value) => {
                set(&mut self.prefilter, *key, (*value != 0).then_some(*value));
            }
        }
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

impl Write {
    /// The name of the map.
    pub fn map(&self) -> &'static str {
        match self {
            Self::V4(write) => write.map(),
            Self::V6(write) => write.map(),
            Self::Vpc(..) => maps::VPCS,
            Self::Target(..) => maps::NEXT_HOPS,
            Self::Port(..) => maps::PORTS,
            Self::Mac(..) => maps::MACS,
            Self::Uplink(..) => maps::UPLINKS,
            Self::Device(..) => maps::DEVICES,
            Self::ClearCounters(_) => maps::EIP_IN,
        }
    }
}

impl<A: Address> FamilyWrite<A> {
    fn map(&self) -> &'static str {
        match self {
            Self::Eip(..) => A::MAPS.eips,
            Self::Private(..) => A::MAPS.private,
            Self::Prefix(..) => A::MAPS.prefixes,
            Self::Cidr(..) => A::MAPS.cidrs,
            Self::Screen(..) => A::MAPS.prefilter,
        }
    }
}

fn interface(ifindex: u32, vlan: u16, outer: u16) -> String {
    let vlan = Vlan::of_key(vlan, outer).unwrap_or(Vlan::of(0));
    format!(" interface {ifindex} VLAN {vlan}")
}

/// The map and the key, as `verify` prints them.
impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.map())?;
        match self {
            Self::V4(write) => write.fmt_key(f),
            Self::V6(write) => write.fmt_key(f),
            Self::Vpc(key, _) | Self::Target(key, _) | Self::ClearCounters(key) => {
                write!(f, " {key}")
            }
            Self::Device(key, _) => write!(f, " interface {key}"),
            Self::Port(key, _) | Self::Uplink(key, _) => {
                f.write_str(&interface(key.ifindex, key.vlan, key.outer))
            }
            Self::Mac(key, _) => write!(
                f,
                "{} {}",
                interface(key.ifindex, key.vlan, key.outer),
                Mac(key.mac)
            ),
        }
    }
}

impl<A: Address> FamilyWrite<A> {
    fn fmt_key(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eip(key, _) => write!(f, " {}", key.ip()),
            Self::Private(key, _) => write!(f, " VPC {} {}", key.vpc, key.address.ip()),
            Self::Prefix(key, _) => write!(f, " {}/{}", key.network.ip(), key.length),
            Self::Cidr(key, _) | Self::Screen(key, _) => write!(f, " {key}"),
        }
    }
}

/// How an element differs from what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is not there.
    Missing,
    /// It holds something else.
    Wrong,
    /// Nobody wants it.
    Extra,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Extra => "extra",
        })
    }
}

/// The elements in which `have` differs from `want`, each once.
pub fn differences(want: &Content, have: &Content) -> Vec<(String, Kind)> {
    let mut found = Differences(Vec::new());
    found.of_family::<[u8; 4]>(want, have);
    found.of_family::<[u8; 16]>(want, have);
    found.compare(&want.vpcs, &have.vpcs, |key| Write::Vpc(key, None));
    found.compare(&want.targets, &have.targets, |key| Write::Target(key, None));
    found.compare(&want.ports, &have.ports, |key| Write::Port(key, None));
    found.compare(&want.macs, &have.macs, |key| Write::Mac(key, None));
    found.compare(&want.uplinks, &have.uplinks, |key| Write::Uplink(key, None));
    for key in want.devices.difference(&have.devices) {
        found.add(&Write::Device(*key, true), Kind::Missing);
    }
    for key in have.devices.difference(&want.devices) {
        found.add(&Write::Device(*key, false), Kind::Extra);
    }
    found.0
}

struct Differences(Vec<(String, Kind)>);

impl Differences {
    fn of_family<A: Address>(&mut self, want: &Content, have: &Content) {
        let (want, have) = (A::part(want), A::part(have));
        self.compare(&want.eips, &have.eips, |key| {
            A::write(FamilyWrite::Eip(key, None))
        });
        self.compare(&want.private, &have.private, |key| {
            A::write(FamilyWrite::Private(key, None))
        });
        self.compare(&want.prefixes, &have.prefixes, |key| {
            A::write(FamilyWrite::Prefix(key, None))
        });
        self.compare(&want.cidrs, &have.cidrs, |key| {
            A::write(FamilyWrite::Cidr(key, None))
        });
        self.compare(&want.prefilter, &have.prefilter, |key| {
            A::write(FamilyWrite::Screen(key, 0))
        });
    }

    fn add(&mut self, element: &Write, kind: Kind) {
        self.0.push((element.to_string(), kind));
    }

    fn compare<K: Ord + Copy, V: PartialEq>(
        &mut self,
        want: &BTreeMap<K, V>,
        have: &BTreeMap<K, V>,
        element: fn(K) -> Write,
    ) {
        for (key, value) in want {
            match have.get(key) {
                None => self.add(&element(*key), Kind::Missing),
                Some(other) if other != value => self.add(&element(*key), Kind::Wrong),
                Some(_) => {}
            }
        }
        for key in have.keys().filter(|key| !want.contains_key(key)) {
            self.add(&element(*key), Kind::Extra);
        }
    }
}

//! What the kernel's maps hold, as plain values: wanted by the table, or read back from the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use eip_dp_common::abi::{
    self, Cidr, EipEntry, LinkKey, MacKey, Port, PortMac, PrefixKey, PrivateEntry, PrivateKey,
    Target, Uplink, Vpc, maps,
};
use serde::Serialize;

/// An IPv4 address as the records hold it.
pub type Address = [u8; 4];
/// The record of an IPv4 EIP.
pub type Eip = EipEntry<Address>;
/// The key of an ENI's IPv4 address.
pub type InVpc = PrivateKey<Address>;
/// The record of an ENI's IPv4 address.
pub type Private = PrivateEntry<Address>;
/// The key of an IPv4 prefix.
pub type Prefix = PrefixKey<Address>;
/// The record of an IPv4 prefix.
pub type PrefixRecord = abi::Prefix<Address>;
/// A VPC's IPv4 CIDR.
pub type Network = Cidr<Address>;

/// The content of the maps that the daemon owns. An array's element that is not in here is zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// `EIP4`.
    pub eips: BTreeMap<Address, Eip>,
    /// `PRIVATE4`.
    pub private: BTreeMap<InVpc, Private>,
    /// `PREFIX4`.
    pub prefixes: BTreeMap<Prefix, PrefixRecord>,
    /// `VPCS`.
    pub vpcs: BTreeMap<u32, Vpc>,
    /// `CIDR4`.
    pub cidrs: BTreeMap<u32, Network>,
    /// `TARGETS`.
    pub targets: BTreeMap<u32, Target>,
    /// `PORTS`.
    pub ports: BTreeMap<LinkKey, Port>,
    /// `MACS`.
    pub macs: BTreeMap<MacKey, PortMac>,
    /// `UPLINKS`.
    pub uplinks: BTreeMap<LinkKey, Uplink>,
    /// `SCREEN4`.
    pub screen: BTreeMap<u32, u64>,
    /// `DEVICES`.
    pub devices: BTreeSet<u32>,
}

/// One change of one element of one map. `None` removes it, or zeroes it in an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// `EIP4`.
    Eip(Address, Option<Eip>),
    /// `PRIVATE4`.
    Private(InVpc, Option<Private>),
    /// `PREFIX4`.
    Prefix(Prefix, Option<PrefixRecord>),
    /// `VPCS`.
    Vpc(u32, Option<Vpc>),
    /// `CIDR4`.
    Cidr(u32, Option<Network>),
    /// `TARGETS`.
    Target(u32, Option<Target>),
    /// `PORTS`.
    Port(LinkKey, Option<Port>),
    /// `MACS`.
    Mac(MacKey, Option<PortMac>),
    /// `UPLINKS`.
    Uplink(LinkKey, Option<Uplink>),
    /// `SCREEN4`.
    Screen(u32, u64),
    /// `DEVICES`.
    Device(u32, bool),
    /// `EIP_COUNTERS`: all of a slot's counters become 0, because another EIP gets it.
    ClearCounters(u32),
}

impl Content {
    /// Makes one change.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Eip(key, value) => set(&mut self.eips, *key, *value),
            Write::Private(key, value) => set(&mut self.private, *key, *value),
            Write::Prefix(key, value) => set(&mut self.prefixes, *key, *value),
            Write::Vpc(key, value) => set(&mut self.vpcs, *key, *value),
            Write::Cidr(key, value) => set(&mut self.cidrs, *key, *value),
            Write::Target(key, value) => set(&mut self.targets, *key, *value),
            Write::Port(key, value) => set(&mut self.ports, *key, *value),
            Write::Mac(key, value) => set(&mut self.macs, *key, *value),
            Write::Uplink(key, value) => set(&mut self.uplinks, *key, *value),
            Write::Screen(key, value) => {
                set(&mut self.screen, *key, (*value != 0).then_some(*value));
            }
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
            Self::Eip(..) => maps::EIP4,
            Self::Private(..) => maps::PRIVATE4,
            Self::Prefix(..) => maps::PREFIX4,
            Self::Vpc(..) => maps::VPCS,
            Self::Cidr(..) => maps::CIDR4,
            Self::Target(..) => maps::TARGETS,
            Self::Port(..) => maps::PORTS,
            Self::Mac(..) => maps::MACS,
            Self::Uplink(..) => maps::UPLINKS,
            Self::Screen(..) => maps::SCREEN4,
            Self::Device(..) => maps::DEVICES,
            Self::ClearCounters(_) => maps::EIP_COUNTERS,
        }
    }

    /// Whether it takes something away.
    pub fn is_removal(&self) -> bool {
        matches!(
            self,
            Self::Eip(_, None)
                | Self::Private(_, None)
                | Self::Prefix(_, None)
                | Self::Vpc(_, None)
                | Self::Cidr(_, None)
                | Self::Target(_, None)
                | Self::Port(_, None)
                | Self::Mac(_, None)
                | Self::Uplink(_, None)
                | Self::Screen(_, 0)
                | Self::Device(_, false)
        )
    }
}

/// The map and the key, as `verify` prints them.
impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.map())?;
        match self {
            Self::Eip(key, _) => write!(f, " {}", Ipv4Addr::from(*key)),
            Self::Private(key, _) => {
                write!(f, " VPC {} {}", key.vpc, Ipv4Addr::from(key.address))
            }
            Self::Prefix(key, _) => {
                write!(f, " {}/{}", Ipv4Addr::from(key.network), key.length)
            }
            Self::Vpc(key, _)
            | Self::Cidr(key, _)
            | Self::Target(key, _)
            | Self::Screen(key, _)
            | Self::ClearCounters(key) => write!(f, " {key}"),
            Self::Device(key, _) => write!(f, " interface {key}"),
            Self::Port(key, _) | Self::Uplink(key, _) => {
                write!(f, " interface {} VLAN {}", key.ifindex, key.vlan)
            }
            Self::Mac(key, _) => write!(
                f,
                " interface {} VLAN {} {}",
                key.ifindex,
                key.vlan,
                crate::model::objects::Mac(key.mac)
            ),
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
    let mut found = Vec::new();
    compare(
        &want.eips,
        &have.eips,
        |key| Write::Eip(key, None),
        &mut found,
    );
    compare(
        &want.private,
        &have.private,
        |key| Write::Private(key, None),
        &mut found,
    );
    compare(
        &want.prefixes,
        &have.prefixes,
        |key| Write::Prefix(key, None),
        &mut found,
    );
    compare(
        &want.vpcs,
        &have.vpcs,
        |key| Write::Vpc(key, None),
        &mut found,
    );
    compare(
        &want.cidrs,
        &have.cidrs,
        |key| Write::Cidr(key, None),
        &mut found,
    );
    compare(
        &want.targets,
        &have.targets,
        |key| Write::Target(key, None),
        &mut found,
    );
    compare(
        &want.ports,
        &have.ports,
        |key| Write::Port(key, None),
        &mut found,
    );
    compare(
        &want.macs,
        &have.macs,
        |key| Write::Mac(key, None),
        &mut found,
    );
    compare(
        &want.uplinks,
        &have.uplinks,
        |key| Write::Uplink(key, None),
        &mut found,
    );
    compare(
        &want.screen,
        &have.screen,
        |key| Write::Screen(key, 0),
        &mut found,
    );
    let missing = want.devices.difference(&have.devices);
    found.extend(missing.map(|key| (Write::Device(*key, true).to_string(), Kind::Missing)));
    let extra = have.devices.difference(&want.devices);
    found.extend(extra.map(|key| (Write::Device(*key, false).to_string(), Kind::Extra)));
    found
}

fn compare<K: Ord + Copy, V: PartialEq>(
    want: &BTreeMap<K, V>,
    have: &BTreeMap<K, V>,
    element: fn(K) -> Write,
    found: &mut Vec<(String, Kind)>,
) {
    for (key, value) in want {
        match have.get(key) {
            None => found.push((element(*key).to_string(), Kind::Missing)),
            Some(other) if other != value => found.push((element(*key).to_string(), Kind::Wrong)),
            Some(_) => {}
        }
    }
    for key in have.keys().filter(|key| !want.contains_key(key)) {
        found.push((element(*key).to_string(), Kind::Extra));
    }
}

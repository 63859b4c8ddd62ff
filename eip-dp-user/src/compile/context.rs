//! What the compiler has to know of the objects that a change of the table does not name.

use std::{collections::BTreeMap, net::IpAddr};

use eip_dp_common::abi::LinkKey;
use ipnet::IpNet;

use super::{
    HashMap, HashSet,
    enis::{self, ResolvedEni},
    tag, uplinks,
};
use crate::{
    config::Config,
    host::{HostFacts, OwnPorts},
    model::{
        Model, edges,
        objects::{Association, Eip, Mode},
    },
};

/// The table by what the compiler looks things up by, and what stands on each interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompileContext {
    /// The associations of each ENI of the table whose EIPs are served, by the ENI's tag.
    pub links: HashMap<u64, ServedAssociations>,
    /// How many served ENIs each VPC of the table has, by tag.
    pub vpcs: HashMap<u64, u32>,
    /// The tags of the table's instances.
    pub instances: HashSet<u64>,
    /// What stands on each interface.
    pub interfaces: BTreeMap<u32, InterfaceUse>,
    /// The interfaces by name, and by each alternative name.
    pub names: HashMap<String, u32>,
    /// What of each interface may be the host's own, see [`enis::host_keys`].
    host_keys: HashMap<u32, Vec<LinkKey>>,
    /// The ports that the host uses itself.
    pub own: OwnPorts,
    /// The networks on the uplinks' links, each with the uplink's name.
    pub networks: Vec<(String, IpNet)>,
    /// The host's own addresses.
    pub hosts: HashSet<IpAddr>,
    /// The routers on the uplinks' links.
    pub next_hops: HashSet<IpAddr>,
    /// What of the networks on the uplinks' links is no host's address.
    edges: HashSet<IpAddr>,
    /// Whether two objects want what one of them can have: who gets it hangs on all of them.
    pub conflicting: bool,
}

/// An association whose EIP is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedAssociation {
    /// The ENI's address.
    pub private: IpAddr,
    /// The EIP's address.
    pub eip: IpAddr,
    /// What it does to packets.
    pub mode: Mode,
}

/// The associations of an ENI, in the order of their EIPs; nearly always one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServedAssociations {
    /// None.
    #[default]
    None,
    /// One.
    One(ServedAssociation),
    /// Several.
    Many(Vec<ServedAssociation>),
}

impl ServedAssociations {
    /// All of them.
    pub fn as_slice(&self) -> &[ServedAssociation] {
        match self {
            Self::None => &[],
            Self::One(link) => std::slice::from_ref(link),
            Self::Many(links) => links,
        }
    }

    fn add(&mut self, link: ServedAssociation) {
        let mut links = match std::mem::take(self) {
            Self::None => {
                *self = Self::One(link);
                return;
            }
            Self::One(first) => vec![first],
            Self::Many(links) => links,
        };
        let place = links.partition_point(|one| one.eip < link.eip);
        links.insert(place, link);
        *self = Self::Many(links);
    }

    fn remove(&mut self, eip: IpAddr) {
        let mut links = self.as_slice().to_vec();
        links.retain(|link| link.eip != eip);
        *self = match links[..] {
            [] => Self::None,
            [link] => Self::One(link),
            _ => Self::Many(links),
        };
    }
}

/// Those who stand on an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceUse {
    /// How many ENIs.
    pub enis: u32,
    /// How many of them on a VLAN.
    pub tagged: u32,
    /// How many of them have an IPv6 address.
    pub with_ipv6: u32,
}

impl InterfaceUse {
    /// Both together.
    pub fn and(self, more: Self) -> Self {
        Self {
            enis: self.enis + more.enis,
            tagged: self.tagged + more.tagged,
            with_ipv6: self.with_ipv6 + more.with_ipv6,
        }
    }

    /// Those who are not of a part of it.
    pub fn without(self, less: Self) -> Self {
        Self {
            enis: self.enis - less.enis,
            tagged: self.tagged - less.tagged,
            with_ipv6: self.with_ipv6 - less.with_ipv6,
        }
    }

    /// What of it the settings of interfaces hang on.
    pub fn shape(self) -> (bool, bool) {
        (self.enis > 0, self.with_ipv6 > 0)
    }
}

/// Whether an object of that region is this host's.
pub fn is_local(region: Option<&String>, config: &Config) -> bool {
    config.region.is_none() || region.is_none() || region == config.region.as_ref()
}

impl CompileContext {
    /// Looks through the whole table. Who stands where is not known yet.
    pub fn new(model: &Model, facts: &HostFacts, config: &Config) -> Self {
        std::thread::scope(|threads| {
            let instances = threads.spawn(|| {
                let mut tags = HashSet::default();
                tags.reserve(model.instances.len());
                tags.extend(model.instances.keys().map(|id| tag(id)));
                tags
            });
            let known = Self::of_enis(model, facts, config);
            known.with_instances(instances.join().unwrap_or_default(), model)
        })
    }

    fn with_instances(mut self, tags: HashSet<u64>, model: &Model) -> Self {
        self.conflicting |= tags.len() < model.instances.len();
        self.instances = tags;
        self
    }

    fn of_enis(model: &Model, facts: &HostFacts, config: &Config) -> Self {
        let mut known = Self {
            names: facts
                .indexes_by_name()
                .into_iter()
                .map(|(name, index)| (name.to_owned(), index))
                .collect(),
            host_keys: enis::host_keys(facts),
            own: OwnPorts::new(facts, &config.own_uplinks()),
            networks: uplinks::all_networks(facts, config),
            edges: uplinks::all_networks(facts, config)
                .iter()
                .flat_map(|(_, net)| edges(net))
                .map(|(edge, ..)| edge)
                .collect(),
            hosts: facts.host_addresses().collect(),
            next_hops: uplinks::routers(config, facts).into_iter().collect(),
            ..Self::default()
        };
        known.links.reserve(model.enis.len());
        let enis = model
            .enis
            .keys()
            .map(|id| (tag(id), ServedAssociations::None));
        known.links.extend(enis);
        let vpcs = model.vpcs.keys().map(|id| (tag(id), 0));
        known.vpcs.extend(vpcs);
        known.conflicting =
            known.links.len() < model.enis.len() || known.vpcs.len() < model.vpcs.len();
        // Both are sorted by the EIP's id.
        let mut eips = model.eips.values().peekable();
        for association in model.associations.values() {
            while eips.next_if(|eip| eip.id < association.eip).is_some() {}
            if let Some(eip) = eips.peek().filter(|eip| eip.id == association.eip) {
                known.link(association, eip, config);
            }
        }
        known
    }

    /// What of the interface may be the host's own.
    pub fn host_keys_of(&self, ifindex: u32) -> &[LinkKey] {
        self.host_keys.get(&ifindex).map_or(&[], Vec::as_slice)
    }

    /// Whether frames of some VLAN have to be told from others there.
    pub fn needs_tags(&self, ifindex: u32, crowd: InterfaceUse) -> bool {
        let mut hosts = self.host_keys_of(ifindex).iter();
        crowd.tagged > 0 || hosts.any(|key| !key.is_untagged())
    }

    /// Whether packets of an EIP are this host's to deliver.
    pub fn serves(&self, eip: &Eip, config: &Config) -> bool {
        is_local(eip.region.as_ref(), config) && self.taken(eip.address).is_none()
    }

    /// Why an address cannot be an EIP's here, and the cure.
    pub fn taken(&self, address: IpAddr) -> Option<(&'static str, &'static str)> {
        if self.hosts.contains(&address) {
            let cure = "take it off the host's interface, or release the EIP";
            Some(("this host itself has the address", cure))
        } else if self.next_hops.contains(&address) {
            let cure = "release the EIP, or give the uplink another next hop";
            Some(("the next hop of an uplink has the address", cure))
        } else if self.edges.contains(&address) {
            let cure = "release the EIP, or give the uplink another network";
            Some((
                "it is the network, broadcast or subnet-router anycast address of an uplink's network",
                cure,
            ))
        } else {
            None
        }
    }

    /// Adds an association.
    pub fn link(&mut self, association: &Association, eip: &Eip, config: &Config) {
        if !self.serves(eip, config) {
            return;
        }
        match self.links.get_mut(&tag(&association.eni)) {
            Some(links) => links.add(ServedAssociation {
                private: association.private_ip,
                eip: eip.address,
                mode: association.mode,
            }),
            None => self.conflicting = true,
        }
    }

    /// Takes an association away.
    pub fn unlink(&mut self, association: &Association, eip: &Eip) {
        if let Some(links) = self.links.get_mut(&tag(&association.eni)) {
            links.remove(eip.address);
        }
    }

    /// Counts ENIs in.
    pub fn enter(&mut self, crowds: &InterfaceUses) {
        for (tag, more) in &crowds.vpcs {
            match self.vpcs.get_mut(tag) {
                Some(enis) => *enis += more,
                None => self.conflicting = true,
            }
        }
        for (ifindex, more) in &crowds.interfaces {
            let crowd = self.interfaces.entry(*ifindex).or_default();
            *crowd = crowd.and(*more);
        }
    }

    /// Counts them out again.
    pub fn leave(&mut self, crowds: &InterfaceUses) {
        for (tag, less) in &crowds.vpcs {
            if let Some(enis) = self.vpcs.get_mut(tag) {
                *enis -= less;
            }
        }
        for (ifindex, less) in &crowds.interfaces {
            if let Some(crowd) = self.interfaces.get_mut(ifindex) {
                *crowd = crowd.without(*less);
            }
        }
    }
}

/// The ENIs of a scene, counted.
#[derive(Debug, Default)]
pub struct InterfaceUses {
    /// How many each VPC has, by tag.
    pub vpcs: HashMap<u64, u32>,
    /// Those who stand on each interface.
    pub interfaces: HashMap<u32, InterfaceUse>,
}

impl InterfaceUses {
    /// Counts one more.
    pub fn add(&mut self, placed: &ResolvedEni<'_>) {
        *self.vpcs.entry(placed.vpc).or_default() += 1;
        let Some(stand) = &placed.stand else { return };
        let crowd = self.interfaces.entry(stand.key.ifindex).or_default();
        crowd.enis += 1;
        crowd.tagged += u32::from(!stand.key.is_untagged());
        let with_ipv6 = placed.eni.private_ips.iter().any(IpAddr::is_ipv6);
        crowd.with_ipv6 += u32::from(with_ipv6);
    }
}

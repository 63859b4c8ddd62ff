//! Where ENIs stand.

use std::{collections::BTreeSet, fmt};

use eip_dp_common::abi::LinkKey;

use super::{HashMap, HashSet, context::CompileContext, tag};
use crate::{
    attach,
    config::{Config, PortMode},
    host::{self, HostFacts, Link, OwnPorts},
    model::{
        Vlan,
        objects::{self, Eni, EniState, Rebind},
    },
};

/// Where an ENI stands.
pub struct PortBinding<'a> {
    /// The port: the interface, and the VLAN on it.
    pub key: LinkKey,
    /// The interface.
    pub link: &'a Link,
    /// Hash of the instance's id, if the ENI is one's.
    pub instance: Option<u64>,
}

impl PortBinding<'_> {
    /// The largest packet that is sent to it.
    pub fn mtu(&self) -> u32 {
        self.link.mtu_behind(self.key)
    }
}

/// Finds out where ENIs stand, and refuses what cannot stand together.
pub struct PortBinder<'a> {
    facts: &'a HostFacts,
    config: &'a Config,
    names: &'a HashMap<String, u32>,
    /// Whether tags have to be compared; `None`: all of the table's are known to be different.
    tags: Option<HashMap<(&'static str, u64), &'a str>>,
    vpc_of_port: HashMap<LinkKey, &'a str>,
    /// `None`: nobody looks whether two ENIs have one Ethernet address.
    mac_of_port: Option<HashMap<(LinkKey, objects::Mac), &'a str>>,
    /// Whether anything was refused because of another object.
    pub conflicting: bool,
    /// ENIs whose ports are not known yet to be these interfaces.
    pub unbound: Vec<(String, u32)>,
    /// Interfaces that were made anew under the name of a port that is never another.
    pub closed: BTreeSet<u32>,
    /// Ports of which it was said that they are the host's own.
    hosts_own: HashSet<LinkKey>,
    own: &'a OwnPorts,
    /// What was refused.
    pub unserved: Vec<Unserved>,
}

/// An object that is wanted and cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// Its kind, as messages name it.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// Why, and what to do about it.
    pub why: String,
}

impl Unserved {
    /// What is said of an object.
    pub fn new(kind: &'static str, id: &str, why: String) -> Self {
        Self {
            kind,
            id: id.to_owned(),
            why,
        }
    }
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.id, self.why)
    }
}

impl<'a> PortBinder<'a> {
    /// Nobody stands anywhere yet. Only a careful one refuses an Ethernet address that another ENI
    /// has on the same port.
    pub fn new(
        facts: &'a HostFacts,
        config: &'a Config,
        known: &'a CompileContext,
        is_careful: bool,
    ) -> Self {
        Self {
            facts,
            config,
            names: &known.names,
            tags: known.conflicting.then(HashMap::default),
            vpc_of_port: HashMap::default(),
            mac_of_port: is_careful.then(HashMap::default),
            conflicting: false,
            unbound: Vec::new(),
            closed: BTreeSet::new(),
            hosts_own: HashSet::default(),
            own: &known.own,
            unserved: Vec::new(),
        }
    }

    /// The object's tag, unless another object has it.
    pub fn tag(
        &mut self,
        kind: &'static str,
        id: &'a str,
        warnings: &mut Vec<String>,
    ) -> Option<u64> {
        let value = tag(id);
        let Some(tags) = &mut self.tags else {
            return Some(value);
        };
        let owner = *tags.entry((kind, value)).or_insert(id);
        if owner == id {
            return Some(value);
        }
        self.conflicting = true;
        let why = format!(
            "its id has the same 64-bit hash as {kind} {owner}, so it is not served; give it another id"
        );
        self.refuse(Unserved::new(kind, id, why), warnings);
        None
    }

    fn refuse(&mut self, unserved: Unserved, warnings: &mut Vec<String>) {
        warnings.push(unserved.to_string());
        self.unserved.push(unserved);
    }

    /// Where the ENI stands.
    pub fn place(&mut self, eni: &'a Eni, warnings: &mut Vec<String>) -> Option<PortBinding<'a>> {
        if eni.state == EniState::Detached {
            return None;
        }
        let port = eni.port.as_deref()?;
        // A port that is not there yet is no mistake: a tap appears with its machine.
        let ifindex = *self.names.get(port)?;
        let link = self.facts.links.get(&ifindex)?;
        let key = Vlan::key(eni.vlan, ifindex);
        let shown = link_name(port, eni.vlan);
        let vpc = *self.vpc_of_port.entry(key).or_insert(&eni.vpc);
        let owner = match &mut self.mac_of_port {
            Some(macs) => *macs.entry((key, eni.mac)).or_insert(&eni.id),
            None => &eni.id,
        };
        let mut uplinks = self.config.uplinks.iter();
        let problem = if uplinks.any(|uplink| self.facts.is_named(ifindex, &uplink.interface)) {
            format!("its port {port} is an uplink; attach it to another")
        } else if let Err(why) = attach::can_be_port(link) {
            format!("its port {why}")
        } else if !self.is_bound(eni, ifindex, link) {
            // One that is not bound is bound in a moment.
            eni.bound.as_ref()?;
            format!(
                "its port {shown} was made anew since it was attached (rebind = never) and stays closed; attach it again"
            )
        } else if vpc != eni.vpc {
            self.conflicting = true;
            format!("ENIs of the VPC {vpc} stand on its port {shown}; attach it to another")
        } else if owner != eni.id {
            self.conflicting = true;
            format!(
                "the ENI {owner} has the Ethernet address {} on port {shown} too; attach it to another",
                eni.mac
            )
        } else {
            let instance = match &eni.instance {
                Some(id) => Some(self.tag("instance", id, warnings)?),
                None => None,
            };
            self.warn_of_host(eni, key, warnings);
            return Some(PortBinding {
                key,
                link,
                instance,
            });
        };
        self.refuse(Unserved::new("eni", &eni.id, problem), warnings);
        None
    }

    /// Whether the interface may be the ENI's port; else it is closed.
    fn is_bound(&mut self, eni: &Eni, ifindex: u32, link: &Link) -> bool {
        if eni.rebind == Rebind::Name || eni.may_be_on(&host::identity_of(ifindex, link)) {
            return true;
        }
        if eni.bound.is_none() {
            self.unbound.push((eni.id.clone(), ifindex));
        }
        self.closed.insert(ifindex);
        false
    }

    /// Says once of each port that the host uses it itself: the ENI is served, and the host is cut
    /// off there.
    fn warn_of_host(&mut self, eni: &Eni, key: LinkKey, warnings: &mut Vec<String>) {
        if let (Some(why), Some(port)) = (self.own.use_of(key), &eni.port)
            && self.hosts_own.insert(key)
        {
            let cure = if eni.force {
                ", as `--force` has it; detach it to give the host its port back"
            } else {
                ". Detach it, or attach it with `--force`"
            };
            warnings.push(format!(
                "eni {}: port-is-the-hosts: its port {} is the host's own: {why}; the host is cut off there{cure}",
                eni.id,
                link_name(port, eni.vlan)
            ));
        }
    }
}

/// How packets go to and from the ports of an interface, by whichever of its names the
/// configuration has it.
pub fn port_mode(config: &Config, facts: &HostFacts, ifindex: u32) -> PortMode {
    config.port_mode(|name| facts.is_named(ifindex, name))
}

/// An interface and the VLAN on it, as messages name them.
pub fn link_name(interface: &str, vlan: Option<Vlan>) -> String {
    match vlan {
        None => interface.to_owned(),
        Some(vlan) => format!("{interface} VLAN {vlan}"),
    }
}

//! Where ENIs stand.

use std::collections::{HashMap, HashSet};

use eip_dp_common::abi::LinkKey;

use super::{Image, tag};
use crate::{
    attach,
    config::Config,
    host::{HostFacts, Link},
    model::{
        Vlan,
        objects::{self, Eni, EniState},
    },
};

/// Where an ENI stands.
pub struct Stand<'a> {
    /// The port: the interface, and the VLAN on it.
    pub key: LinkKey,
    /// The interface.
    pub link: &'a Link,
}

impl Stand<'_> {
    /// The largest packet that is sent to it.
    pub fn mtu(&self) -> u32 {
        self.link.mtu_behind(self.key)
    }
}

/// Finds out where ENIs stand, and refuses what cannot stand together.
pub struct Placer<'a> {
    links: HashMap<&'a str, (u32, &'a Link)>,
    uplinks: HashSet<String>,
    tags: HashMap<(&'static str, u64), &'a str>,
    vpc_of_port: HashMap<LinkKey, &'a str>,
    mac_of_port: HashMap<(LinkKey, objects::Mac), &'a str>,
}

impl<'a> Placer<'a> {
    /// Nobody stands anywhere yet.
    pub fn new(facts: &'a HostFacts, config: &Config) -> Self {
        Self {
            links: facts
                .links
                .iter()
                .map(|(index, link)| (link.name.as_str(), (*index, link)))
                .collect(),
            uplinks: config
                .uplinks
                .iter()
                .map(|uplink| uplink.interface.clone())
                .collect(),
            tags: HashMap::new(),
            vpc_of_port: HashMap::new(),
            mac_of_port: HashMap::new(),
        }
    }

    /// The object's tag, unless another object has it.
    pub fn tag(&mut self, kind: &'static str, id: &'a str, image: &mut Image) -> Option<u64> {
        let value = tag(id);
        let owner = *self.tags.entry((kind, value)).or_insert(id);
        if owner == id {
            return Some(value);
        }
        image.warnings.push(format!(
            "{kind} {id}: its id has the same 64-bit hash as {kind} {owner}, so it is not served; give it another id"
        ));
        None
    }

    /// Where the ENI stands.
    pub fn place(&mut self, eni: &'a Eni, image: &mut Image) -> Option<Stand<'a>> {
        if eni.state == EniState::Detached {
            return None;
        }
        let port = eni.port.as_deref()?;
        // A port that is not there yet is no mistake: a tap appears with its machine.
        let (ifindex, link) = *self.links.get(port)?;
        let key = Vlan::key(eni.vlan, ifindex);
        let shown = link_name(port, eni.vlan);
        let vpc = *self.vpc_of_port.entry(key).or_insert(&eni.vpc);
        let owner = *self.mac_of_port.entry((key, eni.mac)).or_insert(&eni.id);
        let instance = eni.instance.as_deref();
        let problem = if self.uplinks.contains(port) {
            format!("its port {port} is an uplink; attach it to another")
        } else if let Err(why) = attach::can_carry(link) {
            format!("its port {why}")
        } else if vpc != eni.vpc {
            format!("ENIs of the VPC {vpc} stand on its port {shown}; attach it to another")
        } else if owner != eni.id {
            format!(
                "the ENI {owner} has the Ethernet address {} on port {shown} too; attach it to another",
                eni.mac
            )
        } else if let Some(instance) = instance
            && self.tag("instance", instance, image).is_none()
        {
            return None;
        } else {
            return Some(Stand { key, link });
        };
        image.warnings.push(format!("eni {}: {problem}", eni.id));
        None
    }
}

/// An interface and the VLAN on it, as messages name them.
pub fn link_name(interface: &str, vlan: Option<Vlan>) -> String {
    match vlan {
        None => interface.to_owned(),
        Some(vlan) => format!("{interface} VLAN {vlan}"),
    }
}

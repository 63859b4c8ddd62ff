//! What the kernel should hold: the association table, compiled for this host.
//!
//! [`compile`] is pure. It takes the table, what the kernel says about the host, the configuration and what was
//! handed out before, and gives the wanted content of every map, what is to be attached where, and what the DHCP
//! server answers. What cannot be served is left out with a warning that names the object and the cure.

mod addresses;
mod content;
mod enis;
mod indexes;
mod leases;
pub mod limits;
mod place;
mod tag;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod uplinks;

use std::collections::BTreeSet;

use eip_dp_common::abi::{FIRST_ENI_TARGET, NONE, Sealed};

pub use content::{
    Address, Content, Eip, InVpc, Kind, Network, Prefix, PrefixRecord, Private, Write, differences,
};
pub use indexes::Indexes;
pub use limits::Limits;
pub use tag::tag;
pub use uplinks::next_hop;

use crate::{attach::Attachment, config::Config, dhcp::Directory, host::HostFacts, model::Model};

/// What is wanted of the kernel, and of the daemon's servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// The content of the maps.
    pub content: Content,
    /// Which program goes on which interface; one entry for each uplink and port that exists.
    pub attachments: Vec<Attachment>,
    /// What the DHCP server answers.
    pub directory: Directory,
    /// What is not served and why, what is served in another way than one may think; a sentence each.
    pub warnings: Vec<String>,
    /// Who has which index now.
    pub allocations: Allocations,
    /// Whether something was left out for want of an index that is only resting.
    pub starved: bool,
}

/// What is there already: the kernel's maps, and who has which index in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Have {
    /// The content of the maps.
    pub content: Content,
    /// Who has which index.
    pub allocations: Allocations,
    /// How large the maps are.
    pub limits: Limits,
}

/// The indexes in the kernel's arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocations {
    /// The EIPs' counters, by the EIP's address.
    pub slots: Indexes<Address>,
    /// The ENIs' targets, by tag.
    pub targets: Indexes<u64>,
    /// The VPCs, by tag.
    pub vpcs: Indexes<u64>,
}

impl Default for Allocations {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

impl Allocations {
    /// Nothing is handed out.
    pub fn new(limits: &Limits) -> Self {
        Self {
            slots: Indexes::new(0, limits.eips),
            targets: Indexes::new(FIRST_ENI_TARGET, limits.targets),
            vpcs: Indexes::new(0, limits.vpcs),
        }
    }

    /// What the kernel's maps say about who has which index. Records that are not whole say nothing.
    pub fn recover(content: &Content, limits: &Limits) -> Self {
        let mut allocations = Self::new(limits);
        let eips = || {
            content
                .eips
                .iter()
                .filter(|(key, entry)| entry.is_intact(key))
        };
        let targets = || {
            content
                .targets
                .iter()
                .filter(|(key, entry)| entry.is_intact(key))
        };
        let vpcs = || {
            content
                .vpcs
                .iter()
                .filter(|(key, entry)| entry.is_intact(key))
        };
        // An ENI's address knows the slot of its EIP, too.
        let senders = content
            .private
            .iter()
            .filter(|(key, entry)| entry.is_intact(key) && entry.slot != NONE)
            .map(|(_, entry)| (entry.public, entry.slot));
        let owned = eips().map(|(key, entry)| (*key, entry.slot));
        allocations.slots.recover(owned.chain(senders));
        allocations
            .targets
            .recover(targets().map(|(index, target)| (target.tag, *index)));
        allocations
            .vpcs
            .recover(vpcs().map(|(index, vpc)| (vpc.tag, *index)));
        let private = &content.private;
        allocations.slots.rest(
            private
                .values()
                .map(|entry| entry.slot)
                .filter(|slot| *slot != NONE),
        );
        allocations.targets.rest(
            content
                .eips
                .values()
                .map(|entry| entry.target)
                .chain(private.values().map(|entry| entry.target))
                .chain(content.macs.values().map(|mac| mac.target))
                .chain(content.ports.values().map(|port| port.target))
                .chain(content.targets.keys().copied())
                .filter(|target| (FIRST_ENI_TARGET..NONE).contains(target)),
        );
        allocations.vpcs.rest(
            private
                .keys()
                .map(|key| key.vpc)
                .chain(content.ports.values().map(|port| port.vpc))
                .chain(content.vpcs.keys().copied())
                .filter(|vpc| *vpc != NONE),
        );
        allocations
    }

    /// Makes what rested free. Only once the maps hold what these allocations were made for, and every program that
    /// was running meanwhile has ended.
    pub fn wake(&mut self) {
        self.slots.wake();
        self.targets.wake();
        self.vpcs.wake();
    }

    /// Whether some index rests.
    pub fn has_resting(&self) -> bool {
        self.slots.has_resting() || self.targets.has_resting() || self.vpcs.has_resting()
    }
}

/// Compiles the table for this host.
pub fn compile(model: &Model, facts: &HostFacts, config: &Config, have: &Have) -> Image {
    let mut image = Image {
        allocations: have.allocations.clone(),
        ..Image::default()
    };
    uplinks::compile(&mut image, model, facts, config);
    let scene = enis::Scene::new(&mut image, model, facts, config);
    scene.allocate(&mut image, &have.limits);
    scene.vpcs(&mut image);
    scene.ports(&mut image, config);
    addresses::compile(&mut image, &scene);
    leases::compile(&mut image, &scene, config);
    limits::fit(&mut image, have);
    image
}

/// The EIPs that are no longer served when `old` becomes `new`.
pub fn silenced(old: &Content, new: &Content) -> BTreeSet<std::net::Ipv4Addr> {
    let served = |entry: &Eip| entry.target != NONE;
    old.eips
        .iter()
        .filter(|(address, entry)| served(entry) && !new.eips.get(*address).is_some_and(served))
        .map(|(address, _)| (*address).into())
        .collect()
}

/// The EIPs that begin to be served, or move, when `old` becomes `new`: upstream routers are told.
pub fn moved(old: &Content, new: &Content) -> BTreeSet<std::net::Ipv4Addr> {
    new.eips
        .iter()
        .filter(|(_, entry)| entry.target != NONE)
        .filter(|(address, entry)| {
            old.eips
                .get(*address)
                .is_none_or(|before| before.target != entry.target)
        })
        .map(|(address, _)| (*address).into())
        .collect()
}

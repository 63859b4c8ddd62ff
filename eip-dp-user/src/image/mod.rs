//! What the kernel should hold: the association table, compiled for this host.
//!
//! [`compile`] is pure. It takes the table, what the kernel says about the host, the configuration and what was
//! handed out before, and gives the wanted content of every map, what is to be attached where, and what the DHCP
//! server answers. What cannot be served is left out with a warning that names the object and the cure.

mod addresses;
mod content;
mod enis;
mod family;
mod indexes;
mod leases;
pub mod limits;
mod place;
mod settings;
mod tag;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_dual_stack;
#[cfg(test)]
mod tests_leases;
mod uplinks;

use std::{collections::BTreeSet, net::IpAddr};

use eip_dp_common::abi::{FIRST_ENI_TARGET, NONE, Sealed};

pub use content::{Content, FamilyContent, FamilyWrite, Kind, Write, differences};
pub use family::{Address, Eip, InVpc, PrefixRecord, Private};
pub use indexes::Indexes;
pub use limits::Limits;
pub use place::link_name;
pub use settings::smallest_mtu;
pub use tag::tag;
pub use uplinks::{Way, next_hop, ways};

use crate::{
    attach::Attachment,
    config::Config,
    guests::Directory,
    host::{HostFacts, Setting},
    model::Model,
};

/// What is wanted of the kernel, and of the daemon's servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// The content of the maps.
    pub content: Content,
    /// Which program goes on which interface; one entry for each uplink and port that exists.
    pub attachments: Vec<Attachment>,
    /// What guests are told.
    pub directory: Directory,
    /// The settings of interfaces that are needed, by index.
    pub settings: BTreeSet<(u32, Setting)>,
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
    pub slots: Indexes<IpAddr>,
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
        let (v4, v6) = (Seen::of::<[u8; 4]>(content), Seen::of::<[u8; 16]>(content));
        let claims = v4.claims.iter().chain(&v6.claims).copied();
        allocations.slots.recover(claims);
        let targets = content.targets.iter();
        allocations.targets.recover(
            targets
                .filter(|(index, target)| target.is_intact(index))
                .map(|(index, target)| (target.tag, *index)),
        );
        let vpcs = content.vpcs.iter();
        allocations.vpcs.recover(
            vpcs.filter(|(index, vpc)| vpc.is_intact(index))
                .map(|(index, vpc)| (vpc.tag, *index)),
        );
        allocations.slots.rest(v4.slots.into_iter().chain(v6.slots));
        allocations.targets.rest(
            v4.targets
                .into_iter()
                .chain(v6.targets)
                .chain(content.macs.values().map(|mac| mac.target))
                .chain(content.ports.values().map(|port| port.target))
                .chain(content.targets.keys().copied())
                .filter(|target| (FIRST_ENI_TARGET..NONE).contains(target)),
        );
        allocations.vpcs.rest(
            v4.vpcs
                .into_iter()
                .chain(v6.vpcs)
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

/// What a family's records say about indexes.
struct Seen {
    /// EIPs with their slots, from records that are whole.
    claims: Vec<(IpAddr, u32)>,
    slots: BTreeSet<u32>,
    targets: BTreeSet<u32>,
    vpcs: BTreeSet<u32>,
}

impl Seen {
    fn of<A: Address>(content: &Content) -> Self {
        let FamilyContent { eips, private, .. } = A::part(content);
        let owned = eips
            .iter()
            .filter(|(key, entry)| entry.is_intact(key))
            .map(|(key, entry)| (key.ip(), entry.slot));
        // An ENI's address knows the slot of its EIP, too.
        let senders = private
            .iter()
            .filter(|(key, entry)| entry.is_intact(key) && entry.slot != NONE)
            .map(|(_, entry)| (entry.public.ip(), entry.slot));
        let slots = private.values().map(|entry| entry.slot);
        let targets = eips.values().map(|entry| entry.target);
        Self {
            claims: owned.chain(senders).collect(),
            slots: slots.filter(|slot| *slot != NONE).collect(),
            targets: targets
                .chain(private.values().map(|entry| entry.target))
                .collect(),
            vpcs: private.keys().map(|key| key.vpc).collect(),
        }
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
    addresses::compile::<[u8; 4]>(&mut image, &scene);
    addresses::compile::<[u8; 16]>(&mut image, &scene);
    leases::compile(&mut image, &scene, config);
    settings::compile(&mut image, &scene, facts, config);
    limits::fit(&mut image, have);
    image
}

/// The EIPs that are no longer served when `old` becomes `new`.
pub fn silenced(old: &Content, new: &Content) -> BTreeSet<IpAddr> {
    let (v4, v6) = (served::<[u8; 4]>(new), served::<[u8; 16]>(new));
    let now: BTreeSet<IpAddr> = v4.chain(v6).map(|(address, _)| address).collect();
    served::<[u8; 4]>(old)
        .chain(served::<[u8; 16]>(old))
        .map(|(address, _)| address)
        .filter(|address| !now.contains(address))
        .collect()
}

/// The EIPs that begin to be served, or move, when `old` becomes `new`: upstream routers are told.
pub fn moved(old: &Content, new: &Content) -> BTreeSet<IpAddr> {
    let before: BTreeSet<(IpAddr, u32)> = served::<[u8; 4]>(old)
        .chain(served::<[u8; 16]>(old))
        .collect();
    served::<[u8; 4]>(new)
        .chain(served::<[u8; 16]>(new))
        .filter(|one| !before.contains(one))
        .map(|(address, _)| address)
        .collect()
}

/// The EIPs that packets are delivered for, each with its target.
fn served<A: Address>(content: &Content) -> impl Iterator<Item = (IpAddr, u32)> + '_ {
    let eips = A::part(content).eips.iter();
    eips.filter(|(_, entry)| entry.target != NONE)
        .map(|(address, entry)| (address.ip(), entry.target))
}

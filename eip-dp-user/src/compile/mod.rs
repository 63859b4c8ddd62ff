//! What the kernel should hold: the association table, compiled for this host.
//!
//! [`compile`] is pure. It takes the table, what the kernel says about the host, the configuration
//! and what was handed out before, and gives the wanted content of every map, what is to be
//! attached where, and what the DHCP server answers. What cannot be served is left out with a
//! warning that names the object and the cure.

mod addresses;
mod affected;
mod answering;
mod change;
mod content;
mod context;
mod enis;
mod family;
mod gateways;
mod indexes;
mod leases;
pub mod limits;
mod port_binding;
mod preferred;
mod settings;
mod tag;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_change;
#[cfg(test)]
mod tests_dual_stack;
#[cfg(test)]
mod tests_host_ports;
#[cfg(test)]
mod tests_layer3;
#[cfg(test)]
mod tests_leases;
#[cfg(test)]
mod tests_next_hops;
#[cfg(test)]
mod tests_prefixes;
mod uplinks;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use eip_dp_common::abi::{Checksummed, FIRST_ENI_TARGET, NONE};
use foldhash::fast::FixedState;

pub use answering::{Mouth, Mouths, SameLink, Spot, begun_and_ended};
pub use change::Changed;
pub use content::{Content, Egress, FamilyContent, FamilyWrite, Kind, Write, differences};
pub use family::{Address, Eip, InVpc, PrefixRecord, Private};
pub use gateways::{Gateway, Unaware};
pub use indexes::{Indexes, Wanted};
pub use leases::name_servers;
pub use limits::Limits;
pub use port_binding::{Unserved, link_name, port_mode};
pub use preferred::PreferredBuckets;
pub use tag::tag;
pub use uplinks::{
    Way, all_networks, do_overlap, leads_on, missing, names_of_interfaces, networks, next_hop,
    next_hop_mac, next_hops, overlap, overlaps, refused_mac, routers, says_untold, unclear, ways,
    without_neighbours, without_sources,
};

use context::CompileContext;
pub use context::is_local;
use enis::Resolved;

use crate::{
    attach::Attachment,
    config::Config,
    guests::LeaseTable,
    host::{HostFacts, Setting},
    model::{Model, objects::Mac},
    plan::both,
};

type HashMap<K, V> = std::collections::HashMap<K, V, FixedState>;
type HashSet<K> = std::collections::HashSet<K, FixedState>;

/// What is wanted of the kernel, and of the daemon's servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DesiredState {
    /// The content of the maps.
    pub content: Content,
    /// Which program goes on which interface; one entry for each uplink and port that exists.
    pub attachments: Vec<Attachment>,
    /// What guests are told.
    pub directory: LeaseTable,
    /// The settings of interfaces that are needed, by index.
    pub settings: BTreeSet<(u32, Setting)>,
    /// What is not served and why, what is served in another way than one may think; a sentence
    /// each.
    pub warnings: Vec<String>,
    /// What of it is wanted and cannot be served at all.
    pub unserved: Vec<Unserved>,
    /// Who has which index now.
    pub allocations: Allocations,
    /// Whether something was left out for want of an index that is only resting.
    pub out_of_indexes: bool,
    /// Whether something was left out for want of room.
    pub over_capacity: bool,
    /// Whether two objects want what one of them can have.
    conflicting: bool,
}

/// What is served, besides the content of the maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostPlan {
    /// Which program goes on which interface; one entry for each uplink and port that exists.
    pub attachments: Vec<Attachment>,
    /// What guests are told.
    pub directory: LeaseTable,
    /// The settings of interfaces that are needed, by index.
    pub settings: BTreeSet<(u32, Setting)>,
    /// What is not served and why, what is served in another way than one may think; a sentence
    /// each.
    warnings: Vec<String>,
    /// ENIs whose ports are not known yet to be the interfaces of that index.
    unbound: Vec<(String, u32)>,
    /// Interfaces that are closed: made anew under the name of a port that is never another.
    closed: BTreeSet<u32>,
    unserved: Vec<Unserved>,
    /// How many of the attachments are uplinks'; they come first.
    uplinks: usize,
    known: CompileContext,
}

impl HostPlan {
    /// What is not served and why, what is served in another way than one may think; a sentence
    /// each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is wanted and cannot be served at all, because of what it says itself.
    pub fn unserved(&self) -> &[Unserved] {
        &self.unserved
    }

    /// ENIs with [`Rebind::Never`](crate::model::objects::Rebind::Never) that have not been served
    /// yet since they were attached, with the interfaces that are their ports from now on.
    pub fn unbound(&self) -> &[(String, u32)] {
        &self.unbound
    }

    /// The interfaces that are closed although no ENI stands there: those made anew under the
    /// name of a port that is never another.
    pub fn closed(&self) -> impl Iterator<Item = u32> + '_ {
        self.closed.iter().copied()
    }
}

/// What is there already: the kernel's maps, and who has which index in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
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
    /// Where programs look first.
    preferred: PreferredBuckets,
}

impl Default for Allocations {
    fn default() -> Self {
        Self::new(&Limits::default(), PreferredBuckets::default())
    }
}

impl Allocations {
    /// Nothing is handed out.
    pub fn new(limits: &Limits, preferred: PreferredBuckets) -> Self {
        Self {
            slots: Indexes::new(0, limits.eips),
            targets: Indexes::new(FIRST_ENI_TARGET, limits.targets),
            vpcs: Indexes::new(0, limits.vpcs),
            preferred,
        }
    }

    /// What EIPs want.
    fn slots_of(&self, eips: &[IpAddr]) -> Vec<Wanted<IpAddr>> {
        let of = |eip: &IpAddr| Wanted {
            key: *eip,
            home: Some(self.preferred.eip(*eip)),
        };
        eips.iter().map(of).collect()
    }

    /// What ENIs want.
    fn targets_of(&self, enis: impl Iterator<Item = (u64, Mac)>) -> Vec<Wanted<u64>> {
        let of = |(tag, mac): (u64, Mac)| Wanted {
            key: tag,
            home: Some(self.preferred.eni(mac.0)),
        };
        enis.map(of).collect()
    }

    /// What the kernel's maps say about who has which index. Records that are not whole say
    /// nothing.
    pub fn recover(content: &Content, limits: &Limits, preferred: PreferredBuckets) -> Self {
        let mut allocations = Self::new(limits, preferred);
        let (v4, v6) = (Seen::of::<[u8; 4]>(content), Seen::of::<[u8; 16]>(content));
        let claims = v4.claims.iter().chain(&v6.claims).copied();
        allocations.slots.recover(claims);
        let targets = content.targets.iter();
        allocations.targets.recover(
            targets
                .filter(|(index, target)| target.is_consistent(index))
                .map(|(index, target)| (target.tag, *index)),
        );
        let vpcs = content.vpcs.iter();
        allocations.vpcs.recover(
            vpcs.filter(|(index, vpc)| vpc.is_consistent(index))
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

    /// Makes what rested free. Only once the maps hold what these allocations were made for, and
    /// every program that was running meanwhile has ended.
    pub fn end_quarantine(&mut self) {
        self.slots.end_quarantine();
        self.targets.end_quarantine();
        self.vpcs.end_quarantine();
    }

    /// Whether some index rests.
    pub fn has_quarantined(&self) -> bool {
        self.slots.has_quarantined()
            || self.targets.has_quarantined()
            || self.vpcs.has_quarantined()
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
            .filter(|(key, entry)| entry.is_consistent(key))
            .map(|(key, entry)| (key.ip(), entry.slot));
        // An ENI's address knows the slot of its EIP, too.
        let senders = private
            .iter()
            .filter(|(key, entry)| entry.is_consistent(key) && entry.slot != NONE)
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
pub fn compile(model: &Model, facts: &HostFacts, config: &Config, have: &Applied) -> DesiredState {
    let (mut image, served) = compile_all(model, facts, config, have);
    image.warnings = served.warnings().to_vec();
    image.unserved = served.unserved;
    image.attachments = served.attachments;
    image.directory = served.directory;
    image.settings = served.settings;
    image
}

/// The same in two parts: what the kernel is to hold, and what else is served, with all that
/// [`HostPlan::change`] has to know. The first without attachments, directory, settings and
/// warnings, which are in the second.
pub fn compile_all(
    model: &Model,
    facts: &HostFacts,
    config: &Config,
    have: &Applied,
) -> (DesiredState, HostPlan) {
    // That two ENIs have one Ethernet address on the same port is rare: to look for it first would
    // take longer than to see that there are fewer records than ENIs, and to begin again.
    let quick = compile_with(model, facts, config, have, false);
    if quick.0.conflicting || quick.0.over_capacity {
        return compile_with(model, facts, config, have, true);
    }
    quick
}

fn compile_with(
    model: &Model,
    facts: &HostFacts,
    config: &Config,
    have: &Applied,
    is_careful: bool,
) -> (DesiredState, HostPlan) {
    let mut image = DesiredState {
        allocations: have.allocations.clone(),
        ..DesiredState::default()
    };
    let mut known = CompileContext::new(model, facts, config);
    uplinks::compile(&mut image, model, facts, config);
    let uplinks = image.attachments.len();
    let table = (model, facts, config);
    let (mut scene, enis_warnings) = std::thread::scope(|threads| {
        let enis = threads.spawn(|| {
            let mut warnings = Vec::new();
            let enis = model.enis.values();
            let scene = Resolved::new(&mut warnings, table, &known, enis, is_careful);
            (scene, warnings)
        });
        let eips = served_eips(&mut image, &known, model, config);
        let (mut scene, warnings) = enis.join().expect("no part of the compiler panics");
        scene.eips = eips;
        (scene, warnings)
    });
    image.warnings.extend(enis_warnings);
    let (unbound, closed) = scene.take_unbound();
    image.unserved.append(&mut scene.unserved);
    scene.allocate(&mut image, &have.limits);
    let mut directory = LeaseTable::default();
    let (content, allocations) = (&mut image.content, &image.allocations);
    scene.vpcs(content, &mut image.warnings, allocations);
    let vpcs = model.vpcs.values();
    let told = vpcs.flat_map(|vpc| overlaps(vpc, &known.networks));
    image.warnings.extend(told);
    let Content {
        v4,
        v6,
        targets,
        macs,
        ..
    } = content;
    let conflicting = std::thread::scope(|threads| {
        let places = threads.spawn(|| {
            for (client, lease4, lease6) in leases::compile(&scene, config, facts) {
                directory.tell(client, lease4, lease6);
            }
            scene.places(targets, macs, (facts, config))
        });
        let addresses = addresses::compile(v4, v6, allocations, &scene);
        addresses | places.join().expect("no part of the compiler panics")
    });
    image.conflicting |= conflicting | scene.conflicting;
    known.enter(&scene.into_crowds());
    enis::ports(&mut image.content, facts);
    enis::host_ports(&mut image.content, &known, facts);
    let settings = settings::compile(&known, model, facts, config);
    let ports = known.interfaces.iter().filter_map(|(ifindex, crowd)| {
        enis::attachment(*ifindex, known.needs_tags(*ifindex, *crowd), facts, config)
    });
    image.attachments.extend(ports);
    limits::fit(&mut image, have);
    known.conflicting |= image.conflicting || image.over_capacity;
    let served = HostPlan {
        attachments: std::mem::take(&mut image.attachments),
        directory,
        settings,
        warnings: std::mem::take(&mut image.warnings),
        unbound,
        closed,
        unserved: std::mem::take(&mut image.unserved),
        uplinks,
        known,
    };
    (image, served)
}

/// The addresses of the EIPs that are served, in order.
fn served_eips(
    image: &mut DesiredState,
    known: &CompileContext,
    model: &Model,
    config: &Config,
) -> Vec<IpAddr> {
    let mut eips = Vec::with_capacity(model.eips.len());
    for eip in model.eips.values() {
        if known.serves(eip, config) {
            eips.push(eip.address);
        } else if is_local(eip.region.as_ref(), config)
            && let Some((why, cure)) = known.taken(eip.address)
        {
            let why = format!(
                "{why} {}, so nothing is forwarded for it; {cure}",
                eip.address
            );
            let unserved = Unserved::new("eip", &eip.id, why);
            image.warnings.push(unserved.to_string());
            image.unserved.push(unserved);
        }
    }
    eips.sort_unstable();
    let all = eips.len();
    eips.dedup();
    image.conflicting |= eips.len() < all;
    eips
}

/// Adds records to a map; a later one of the same key replaces an earlier one. Returns whether
/// there was such a one.
fn fill<K: Ord, V>(map: &mut BTreeMap<K, V>, records: Vec<(K, V)>) -> bool {
    let all = map.len() + records.len();
    // Built at once it takes a fraction of the time.
    let mut records = records.into_iter().collect();
    if map.is_empty() {
        *map = records;
    } else {
        map.append(&mut records);
    }
    map.len() < all
}

/// The EIPs that are no longer served when `old` becomes `new`, in order.
pub fn withdrawn(old: &Content, new: &Content) -> Vec<IpAddr> {
    let was = |new: Option<u32>, old: Option<u32>| new.is_none() && old.is_some();
    targets_where::<[u8; 4]>(old, new, was)
        .chain(targets_where::<[u8; 16]>(old, new, was))
        .collect()
}

/// The EIPs that begin to be served, or move, when `old` becomes `new`, in order: upstream routers
/// are told.
pub fn moved(old: &Content, new: &Content) -> Vec<IpAddr> {
    let moves = |new: Option<u32>, old: Option<u32>| new.is_some() && new != old;
    targets_where::<[u8; 4]>(old, new, moves)
        .chain(targets_where::<[u8; 16]>(old, new, moves))
        .collect()
}

/// The EIPs for whose targets, new and old, `is_meant` says so. An EIP that nothing is delivered
/// for has none.
fn targets_where<'a, A: Address>(
    old: &'a Content,
    new: &'a Content,
    is_meant: fn(Option<u32>, Option<u32>) -> bool,
) -> impl Iterator<Item = IpAddr> + 'a {
    let target = |eip: Option<&Eip<A>>| eip.map(|eip| eip.target).filter(|one| *one != NONE);
    both(&A::part(new).eips, &A::part(old).eips)
        .filter(move |(_, new, old)| is_meant(target(*new), target(*old)))
        .map(|(address, _, _)| address.ip())
}

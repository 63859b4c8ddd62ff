//! What a change of the table changes: only the objects that it touches are compiled anew.
//!
//! [`HostPlan::change`] compiles the touched ENIs and EIPs twice, as the table was and as it
//! becomes, by the same code as the whole table; the difference is what changes in the maps. That
//! is right while each object is served by itself. As soon as two want what one can have, or
//! something does not fit, who gets it hangs on all the others, and the whole table has to be
//! compiled.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hash,
    net::IpAddr,
};

use eip_dp_common::abi::{LinkKey, MacKey, Port, PortRole};

use super::{
    Address, Allocations, Applied, Content, HashSet, HostPlan, Wanted, addresses,
    affected::{Affected, Found},
    context::{CompileContext, InterfaceUse, InterfaceUses},
    enis::{self, Member, Resolved},
    leases::{self, Told},
    limits, settings,
};
use crate::{
    config::Config,
    host::HostFacts,
    model::{Change, Model},
    plan::both,
};

/// What a change of the table changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changed {
    /// The elements of the maps that it touches, as they are.
    pub old: Content,
    /// And as they are to be.
    pub new: Content,
    /// Whether what goes on which interface is different.
    pub attachments: bool,
    /// Whether what guests are told is different.
    pub directory: bool,
    /// Whether the settings of interfaces may be different, and the warnings.
    pub settings: bool,
}

impl HostPlan {
    /// Makes the changes in the model, and finds what they change. `None`: the whole table has to
    /// be compiled, from the model as it is then.
    pub fn change(
        &mut self,
        model: &mut Model,
        changes: &[Change],
        facts: &HostFacts,
        config: &Config,
        have: &mut Applied,
    ) -> Option<Changed> {
        let known = &mut self.known;
        let Some(touched) = Affected::by(changes, model, known) else {
            model.change(changes);
            return None;
        };
        let was = touched.look_up(model);
        let existed = was.existing();
        let vpcs = touched.vpcs(&was);
        let indexes = &mut have.allocations;
        let table = (&*model, facts, config);
        let old = Look::at(known, table, &was, &vpcs, indexes, |_, _| true);
        for (association, eip) in was.associations() {
            known.unlink(association, eip);
        }
        model.change(changes);
        let old = old?;
        known.leave(&old.crowds);
        let is = touched.look_up(model);
        known.rename(&touched, &existed, &is.existing())?;
        for (association, eip) in is.associations() {
            known.link(association, eip, config);
        }
        let table = (&*model, facts, config);
        let new = Look::at(known, table, &is, &vpcs, indexes, |indexes, scene| {
            reallocate(indexes, known, &old, scene)
        })?;
        let before = crowds_of(known, &old.crowds, &new.crowds, Some(&old.crowds));
        known.enter(&new.crowds);
        let after = crowds_of(known, &old.crowds, &new.crowds, None);
        for (ifindex, _) in after.iter().filter(|(_, crowd)| crowd.enis == 0) {
            known.interfaces.remove(ifindex);
        }
        if known.conflicting || contests(&have.content, &old.content, &new.content) {
            return None;
        }
        let mut result = Changed {
            old: old.content,
            new: new.content,
            attachments: self.attach(&before, &after, facts, config),
            directory: self.tell(old.told, new.told),
            settings: false,
        };
        for key in old.ports.union(&new.ports) {
            result.port(*key, &have.content, facts)?;
        }
        for (ifindex, crowd) in &after {
            for key in self.known.host_keys_of(*ifindex) {
                result.host_port(*key, crowd.enis > 0, &have.content, facts);
            }
            result.device(*ifindex, self.sends_by_xdp(*ifindex), &have.content);
        }
        let is_shaped =
            |(before, after): (&InterfaceUse, &InterfaceUse)| before.shape() != after.shape();
        if before.values().zip(after.values()).any(is_shaped) {
            self.settings = settings::compile(&self.known, model, facts, config);
            result.settings = true;
        }
        limits::fits(have, &result.old, &result.new).then_some(result)
    }

    /// Attaches what is needed on interfaces that the first ENI, of all or of those on VLANs, has
    /// come to, and that the last one has left.
    fn attach(
        &mut self,
        before: &BTreeMap<u32, InterfaceUse>,
        after: &BTreeMap<u32, InterfaceUse>,
        facts: &HostFacts,
        config: &Config,
    ) -> bool {
        let mut changed = false;
        for (ifindex, crowd) in after {
            let before = before.get(ifindex).copied().unwrap_or_default();
            let shape = |crowd: &InterfaceUse| (crowd.enis > 0, crowd.tagged > 0);
            if shape(&before) == shape(crowd) {
                continue;
            }
            let needs_tags = self.known.needs_tags(*ifindex, *crowd);
            let wanted = enis::attachment(*ifindex, needs_tags, facts, config);
            let wanted = wanted.filter(|_| crowd.enis > 0);
            let ports = &self.attachments[self.uplinks..];
            let begin = self.uplinks + ports.partition_point(|one| one.ifindex < *ifindex);
            let end = begin + usize::from(before.enis > 0);
            if self.attachments[begin..end] != *wanted.as_slice() {
                self.attachments.splice(begin..end, wanted);
                changed = true;
            }
        }
        changed
    }

    /// Whether it is a port that packets are delivered to by XDP.
    fn sends_by_xdp(&self, ifindex: u32) -> bool {
        let ports = &self.attachments[self.uplinks..];
        let found = ports.binary_search_by_key(&ifindex, |one| one.ifindex);
        found.is_ok_and(|place| ports[place].xdp_delivery)
    }

    fn tell(&mut self, old: Vec<Told>, new: Vec<Told>) -> bool {
        let directory = &mut self.directory;
        let mut told: BTreeMap<_, _> = old
            .into_iter()
            .map(|(client, _, _)| (client, (None, None)))
            .collect();
        let new = new.into_iter().map(|(client, v4, v6)| (client, (v4, v6)));
        told.extend(new);
        let mut changed = false;
        for (client, (lease4, lease6)) in told {
            if directory.leases4.get(&client) != lease4.as_ref()
                || directory.leases6.get(&client) != lease6.as_ref()
            {
                directory.tell(client, lease4, lease6);
                changed = true;
            }
        }
        changed
    }
}

/// The touched objects, compiled.
struct Look {
    content: Content,
    crowds: InterfaceUses,
    /// The EIPs that are served.
    eips: Vec<IpAddr>,
    /// The ENIs that stand somewhere.
    standing: Vec<u64>,
    told: Vec<Told>,
    ports: BTreeSet<LinkKey>,
}

impl Look {
    /// Compiles what is touched, once `allocate` has seen to the indexes. `None` if there is
    /// something to warn about, which is said in the order of the whole table, or if there are not
    /// enough indexes.
    fn at(
        known: &CompileContext,
        table: (&Model, &HostFacts, &Config),
        touched: &Found<'_>,
        vpcs: &BTreeMap<u64, String>,
        allocations: &mut Allocations,
        allocate: impl FnOnce(&mut Allocations, &Resolved<'_>) -> bool,
    ) -> Option<Self> {
        let (_, facts, config) = table;
        let mut eips = Vec::new();
        for eip in touched.eips() {
            if known.serves(eip, config) {
                eips.push(eip.address);
            } else if known.taken(eip.address).is_some() {
                return None;
            }
        }
        let mut warnings = Vec::new();
        let mut scene = Resolved::new(&mut warnings, table, known, touched.enis(), true);
        let linked = scene.enis.iter().flat_map(|placed| placed.associations);
        eips.extend(linked.map(|link| link.eip));
        eips.sort_unstable();
        eips.dedup();
        scene.eips = eips;
        scene.vpcs = vpcs.iter().map(|(tag, id)| (*tag, id.as_str())).collect();
        if scene.conflicting || scene.has_unbound() || !allocate(allocations, &scene) {
            return None;
        }
        scene.look_up(allocations);
        let mut content = Content::default();
        scene.vpcs(&mut content, &mut warnings, allocations);
        let (v4, v6) = (&mut content.v4, &mut content.v6);
        let conflicting = addresses::compile(v4, v6, allocations, &scene)
            | scene.places(&mut content.targets, &mut content.macs, (facts, config));
        if conflicting || !warnings.is_empty() {
            return None;
        }
        let stands = scene.enis.iter().filter_map(|placed| placed.stand.as_ref());
        Some(Self {
            content,
            ports: stands.map(|stand| stand.key).collect(),
            standing: scene.standing().map(|(tag, _)| tag).collect(),
            told: leases::compile(&scene, config, facts).collect(),
            eips: scene.eips,
            crowds: scene.crowds,
        })
    }
}

/// Takes back the indexes of what is served no longer, then gives what is new those that are free.
/// `false` if they do not suffice.
fn reallocate(
    allocations: &mut Allocations,
    known: &CompileContext,
    old: &Look,
    scene: &Resolved<'_>,
) -> bool {
    for eip in gone(&old.eips, &scene.eips) {
        allocations.slots.release(&eip);
    }
    let slots = allocations.slots_of(&scene.eips);
    let mut missing = allocations.slots.add(&slots);
    let standing: Vec<u64> = scene.standing().map(|(tag, _)| tag).collect();
    for tag in gone(&old.standing, &standing) {
        allocations.targets.release(&tag);
    }
    let targets = allocations.targets_of(scene.standing());
    missing += allocations.targets.add(&targets);
    let vpcs = &mut allocations.vpcs;
    let others = |tag: &u64| known.vpcs.get(tag).is_some_and(|enis| *enis > 0);
    let (used, idle): (Vec<u64>, Vec<u64>) = scene
        .vpcs
        .keys()
        .partition(|tag| others(tag) || scene.crowds.vpcs.contains_key(tag));
    for tag in &idle {
        vpcs.release(tag);
    }
    let used: Vec<_> = used.into_iter().map(Wanted::from).collect();
    missing + vpcs.add(&used) == 0
}

/// What is only in `old`, in its order.
fn gone<K: Copy + Eq + Hash>(old: &[K], new: &[K]) -> Vec<K> {
    let new: HashSet<K> = new.iter().copied().collect();
    let only = old.iter().filter(|one| !new.contains(one));
    only.copied().collect()
}

/// Those who stand on the interfaces of `old` and `new`, with `more`.
fn crowds_of(
    known: &CompileContext,
    old: &InterfaceUses,
    new: &InterfaceUses,
    more: Option<&InterfaceUses>,
) -> BTreeMap<u32, InterfaceUse> {
    let crowd = |ifindex: u32| {
        let there = known.interfaces.get(&ifindex).copied().unwrap_or_default();
        let more = more.and_then(|more| more.interfaces.get(&ifindex));
        (ifindex, there.and(more.copied().unwrap_or_default()))
    };
    let interfaces = old.interfaces.keys().chain(new.interfaces.keys());
    interfaces.copied().map(crowd).collect()
}

/// Whether something new has the place of an object that is not touched.
fn contests(have: &Content, old: &Content, new: &Content) -> bool {
    fn taken<K: Ord, V>(have: &BTreeMap<K, V>, old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> bool {
        let mut pairs = both(new, old);
        pairs.any(|(key, new, old)| new.is_some() && old.is_none() && have.contains_key(key))
    }
    fn family<A: Address>(have: &Content, old: &Content, new: &Content) -> bool {
        let (have, old, new) = (A::part(have), A::part(old), A::part(new));
        taken(&have.eips, &old.eips, &new.eips) || taken(&have.private, &old.private, &new.private)
    }
    family::<[u8; 4]>(have, old, new)
        || family::<[u8; 16]>(have, old, new)
        || taken(&have.macs, &old.macs, &new.macs)
}

impl Changed {
    /// Fills in a port. `None` if ENIs of another VPC stand there that are not touched.
    fn port(&mut self, key: LinkKey, have: &Content, facts: &HostFacts) -> Option<()> {
        let place = |mac| MacKey::on(key, mac);
        let range = place([0; 6])..=place([0xff; 6]);
        let member = |content: &Content, mac: &MacKey, target: u32| {
            let vpc = content.targets.get(&target)?.vpc;
            let mac = mac.mac;
            Some(Member { vpc, target, mac })
        };
        let others = have.macs.range(range.clone());
        let mut others = others
            .filter(|(mac, _)| !self.old.macs.contains_key(mac))
            .map(|(mac, record)| member(have, mac, record.target));
        let mut new = self.new.macs.range(range);
        let mut new = new
            .by_ref()
            .map(|(mac, record)| member(&self.new, mac, record.target));
        let (other, comer) = (others.next().flatten(), new.next().flatten());
        if let (Some(other), Some(comer)) = (other, comer)
            && other.vpc != comer.vpc
        {
            return None;
        }
        let is_alone = other.is_some() != comer.is_some() && others.next().or(new.next()).is_none();
        let first = other.or(comer);
        if let Some(port) = have.ports.get(&key) {
            self.old.ports.insert(key, *port);
        }
        if let Some(port) = first.and_then(|first| enis::port(key, first, is_alone, facts)) {
            self.new.ports.insert(key, port);
        }
        Some(())
    }

    /// Fills in what of an interface is the host's own: once its ports are.
    fn host_port(&mut self, key: LinkKey, is_used: bool, have: &Content, facts: &HostFacts) {
        let is_enis = |port: &&Port| port.role == PortRole::Enis as u32;
        let before = have.ports.get(&key);
        let is_touched = self.old.ports.contains_key(&key);
        let stays = before.as_ref().is_some_and(is_enis) && !is_touched;
        if stays || self.new.ports.contains_key(&key) {
            return;
        }
        if let Some(before) = before {
            self.old.ports.insert(key, *before);
        }
        if let Some(port) = enis::host_port(key, facts).filter(|_| is_used) {
            self.new.ports.insert(key, port);
        }
    }

    fn device(&mut self, ifindex: u32, is_wanted: bool, have: &Content) {
        if have.devices.contains(&ifindex) {
            self.old.devices.insert(ifindex);
        }
        if is_wanted {
            self.new.devices.insert(ifindex);
        }
    }
}

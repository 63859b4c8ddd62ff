//! What a change of the table changes: only the objects that it touches are compiled anew.
//!
//! [`Served::change`] compiles the touched ENIs and EIPs twice, as the table was and as it becomes, by the same code as
//! the whole table; the difference is what changes in the maps. That is right while each object is served by itself. As
//! soon as two want what one can have, or something does not fit, who gets it hangs on all the others, and the whole
//! table has to be compiled.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hash,
    net::IpAddr,
};

use eip_dp_common::abi::{LinkKey, MacKey};

use super::{
    Address, Allocations, Content, HashSet, Have, Served, addresses,
    enis::{self, Member, Scene},
    known::{Crowd, Crowds, Known, Links},
    leases::{self, Told},
    limits, settings, tag,
};
use crate::{
    config::Config,
    host::HostFacts,
    model::{
        Change, Model,
        objects::{Association, Eip, Eni, Vpc},
    },
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

impl Served {
    /// Makes the changes in the model, and finds what they change. `None`: the whole table has to be compiled, from the
    /// model as it is then.
    pub fn change(
        &mut self,
        model: &mut Model,
        changes: &[Change],
        facts: &HostFacts,
        config: &Config,
        have: &mut Have,
    ) -> Option<Changed> {
        let known = &mut self.known;
        let Some(touched) = Touched::by(changes, model, known) else {
            model.change(changes);
            return None;
        };
        let existed = touched.existing(model);
        let table = (&*model, facts, config);
        let old = Look::at(known, table, &touched, &mut have.allocations, |_, _| true);
        for (association, eip) in touched.associations(model) {
            known.unlink(association, eip);
        }
        model.change(changes);
        let old = old?;
        known.leave(&old.crowds);
        known.rename(&touched, &existed, &touched.existing(model))?;
        for (association, eip) in touched.associations(model) {
            known.link(association, eip, config);
        }
        let table = (&*model, facts, config);
        let indexes = &mut have.allocations;
        let new = Look::at(known, table, &touched, indexes, |indexes, scene| {
            reallocate(indexes, known, &old, scene)
        })?;
        let before = crowds_of(known, &old.crowds, &new.crowds, Some(&old.crowds));
        known.enter(&new.crowds);
        let after = crowds_of(known, &old.crowds, &new.crowds, None);
        for (ifindex, _) in after.iter().filter(|(_, crowd)| crowd.enis == 0) {
            known.interfaces.remove(ifindex);
        }
        if known.contested || contests(&have.content, &old.content, &new.content) {
            return None;
        }
        let mut changed = Changed {
            old: old.content,
            new: new.content,
            attachments: self.attach(&before, &after, facts, config),
            directory: self.tell(old.told, new.told),
            settings: false,
        };
        for key in old.ports.union(&new.ports) {
            changed.port(*key, &have.content, facts)?;
        }
        for ifindex in after.keys() {
            changed.device(*ifindex, self.sends_by_xdp(*ifindex), &have.content);
        }
        let is_shaped = |(before, after): (&Crowd, &Crowd)| before.shape() != after.shape();
        if before.values().zip(after.values()).any(is_shaped) {
            let (settings, fragmenting) = settings::compile(&self.known, model, facts, config);
            (self.settings, self.fragmenting) = (settings, fragmenting);
            changed.settings = true;
        }
        limits::fits(have, &changed.old, &changed.new).then_some(changed)
    }

    /// Attaches what is needed on interfaces that the first ENI has come to, and that the last one has left.
    fn attach(
        &mut self,
        before: &BTreeMap<u32, Crowd>,
        after: &BTreeMap<u32, Crowd>,
        facts: &HostFacts,
        config: &Config,
    ) -> bool {
        let mut changed = false;
        for (ifindex, crowd) in after {
            let is_used = crowd.enis > 0;
            if is_used == before.get(ifindex).is_some_and(|crowd| crowd.enis > 0) {
                continue;
            }
            changed = true;
            let ports = &self.attachments[self.uplinks..];
            let place = self.uplinks + ports.partition_point(|one| one.ifindex < *ifindex);
            if is_used {
                let attachment = enis::attachment(*ifindex, facts, config);
                self.attachments.splice(place..place, attachment);
            } else {
                self.attachments.remove(place);
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

/// What changes name, and what hangs on that.
#[derive(Debug, Default)]
struct Touched {
    /// ENIs by id.
    enis: BTreeSet<String>,
    /// EIPs by id.
    eips: BTreeSet<String>,
    /// The VPCs of those ENIs.
    vpcs: BTreeMap<u64, String>,
    /// VPCs that no served ENI is in.
    idle_vpcs: BTreeSet<String>,
    instances: BTreeSet<String>,
}

impl Touched {
    /// `None` if they reach further than ENIs and EIPs.
    fn by(changes: &[Change], model: &Model, known: &Known) -> Option<Self> {
        if known.contested {
            return None;
        }
        let mut touched = Self::default();
        for change in changes {
            match change {
                Change::Pool(_) => return None,
                Change::Vpc(diff) => {
                    for Vpc { id, .. } in diff.before.iter().chain(&diff.after) {
                        if known.vpcs.get(&tag(id)).is_some_and(|enis| *enis > 0) {
                            return None;
                        }
                        touched.idle_vpcs.insert(id.clone());
                    }
                }
                Change::Instance(diff) => {
                    let ids = diff.before.iter().chain(&diff.after).map(|one| &one.id);
                    touched.instances.extend(ids.cloned());
                }
                Change::Eni(diff) => diff
                    .before
                    .iter()
                    .chain(&diff.after)
                    .for_each(|eni| touched.eni(eni)),
                Change::Eip(diff) => {
                    let ids = diff.before.iter().chain(&diff.after).map(|eip| &eip.id);
                    touched.eips.extend(ids.cloned());
                }
                Change::Association(diff) => {
                    for one in diff.before.iter().chain(&diff.after) {
                        touched.eips.insert(one.eip.clone());
                        touched.enis.insert(one.eni.clone());
                    }
                }
            }
        }
        for eip in &touched.eips {
            if let Some(association) = model.associations.get(eip) {
                touched.enis.insert(association.eni.clone());
            }
        }
        for eni in &touched.enis {
            if let Some(Eni { vpc, .. }) = model.enis.get(eni) {
                touched.vpcs.insert(tag(vpc), vpc.clone());
            }
        }
        Some(touched)
    }

    fn eni(&mut self, eni: &Eni) {
        self.vpcs.insert(tag(&eni.vpc), eni.vpc.clone());
        self.enis.insert(eni.id.clone());
    }

    /// Which of the ENIs, VPCs and instances there are.
    fn existing(&self, model: &Model) -> Existing {
        let enis = self.enis.iter();
        let vpcs = self.idle_vpcs.iter();
        let instances = self.instances.iter();
        Existing {
            enis: enis.map(|id| model.enis.contains_key(id)).collect(),
            vpcs: vpcs.map(|id| model.vpcs.contains_key(id)).collect(),
            instances: instances
                .map(|id| model.instances.contains_key(id))
                .collect(),
        }
    }

    /// The associations of the EIPs.
    fn associations<'a>(
        &'a self,
        model: &'a Model,
    ) -> impl Iterator<Item = (&'a Association, &'a Eip)> {
        self.eips
            .iter()
            .filter_map(|id| Some((model.associations.get(id)?, model.eips.get(id)?)))
    }
}

/// Which of the touched objects there are, in their order.
struct Existing {
    enis: Vec<bool>,
    vpcs: Vec<bool>,
    instances: Vec<bool>,
}

impl Known {
    /// Learns which objects came and went. `None` if a new one has the tag of another.
    fn rename(&mut self, touched: &Touched, before: &Existing, after: &Existing) -> Option<()> {
        let mut distinct = true;
        let changes = before.enis.iter().zip(&after.enis);
        for (id, change) in touched.enis.iter().zip(changes) {
            match change {
                (true, false) => drop(self.links.remove(&tag(id))),
                (false, true) => {
                    distinct &= self.links.insert(tag(id), Links::None).is_none();
                }
                _ => {}
            }
        }
        let changes = before.vpcs.iter().zip(&after.vpcs);
        for (id, change) in touched.idle_vpcs.iter().zip(changes) {
            match change {
                (true, false) => drop(self.vpcs.remove(&tag(id))),
                (false, true) => distinct &= self.vpcs.insert(tag(id), 0).is_none(),
                _ => {}
            }
        }
        let changes = before.instances.iter().zip(&after.instances);
        for (id, change) in touched.instances.iter().zip(changes) {
            match change {
                (true, false) => drop(self.instances.remove(&tag(id))),
                (false, true) => distinct &= self.instances.insert(tag(id)),
                _ => {}
            }
        }
        distinct.then_some(())
    }
}

/// The touched objects, compiled.
struct Look {
    content: Content,
    crowds: Crowds,
    /// The EIPs that are served.
    eips: Vec<IpAddr>,
    /// The ENIs that stand somewhere.
    standing: Vec<u64>,
    told: Vec<Told>,
    ports: BTreeSet<LinkKey>,
}

impl Look {
    /// Compiles what is touched, once `allocate` has seen to the indexes. `None` if there is something to warn about,
    /// which is said in the order of the whole table, or if there are not enough indexes.
    fn at(
        known: &Known,
        table: (&Model, &HostFacts, &Config),
        touched: &Touched,
        allocations: &mut Allocations,
        allocate: impl FnOnce(&mut Allocations, &Scene<'_>) -> bool,
    ) -> Option<Self> {
        let (model, _, config) = table;
        let mut eips = Vec::new();
        for eip in touched.eips.iter().filter_map(|id| model.eips.get(id)) {
            if known.serves(eip, config) {
                eips.push(eip.address);
            } else if known.hosts.contains(&eip.address) {
                return None;
            }
        }
        for id in &touched.enis {
            let links = known.links.get(&tag(id)).into_iter();
            eips.extend(links.flat_map(Links::as_slice).map(|link| link.eip));
        }
        eips.sort_unstable();
        eips.dedup();
        let mut warnings = Vec::new();
        let enis = touched.enis.iter().filter_map(|id| model.enis.get(id));
        let mut scene = Scene::new(&mut warnings, table, known, enis, true);
        scene.eips = eips;
        let vpcs = touched.vpcs.iter();
        scene.vpcs = vpcs.map(|(tag, id)| (*tag, id.as_str())).collect();
        if scene.contested || !allocate(allocations, &scene) {
            return None;
        }
        scene.look_up(allocations);
        let mut content = Content::default();
        scene.vpcs(&mut content, &mut warnings, allocations);
        let (v4, v6) = (&mut content.v4, &mut content.v6);
        let contested = addresses::compile(v4, v6, allocations, &scene)
            | scene.places(&mut content.targets, &mut content.macs, config);
        if contested || !warnings.is_empty() {
            return None;
        }
        let stands = scene.enis.iter().filter_map(|placed| placed.stand.as_ref());
        Some(Self {
            content,
            ports: stands.map(|stand| stand.key).collect(),
            standing: scene.standing().collect(),
            told: leases::compile(&scene, config).collect(),
            eips: scene.eips,
            crowds: scene.crowds,
        })
    }
}

/// Takes back the indexes of what is served no longer, then gives what is new the lowest that are free. `false` if they do
/// not suffice.
fn reallocate(
    allocations: &mut Allocations,
    known: &Known,
    old: &Look,
    scene: &Scene<'_>,
) -> bool {
    let slots = &mut allocations.slots;
    let (gone, new) = moves(&old.eips, &scene.eips);
    gone.iter().for_each(|eip| slots.release(eip));
    let mut suffices = new.into_iter().all(|eip| slots.take(eip));
    let targets = &mut allocations.targets;
    let standing: Vec<u64> = scene.standing().collect();
    let (gone, new) = moves(&old.standing, &standing);
    gone.iter().for_each(|tag| targets.release(tag));
    suffices &= new.into_iter().all(|tag| targets.take(tag));
    let vpcs = &mut allocations.vpcs;
    let others = |tag: &u64| known.vpcs.get(tag).is_some_and(|enis| *enis > 0);
    let (used, idle): (Vec<u64>, Vec<u64>) = scene
        .vpcs
        .keys()
        .partition(|tag| others(tag) || scene.crowds.vpcs.contains_key(tag));
    idle.iter().for_each(|tag| vpcs.release(tag));
    suffices & used.into_iter().all(|tag| vpcs.take(tag))
}

/// What is only in `old`, and what is only in `new`, in their order.
fn moves<K: Copy + Eq + Hash>(old: &[K], new: &[K]) -> (Vec<K>, Vec<K>) {
    let without = |of: &[K], others: &[K]| {
        let others: HashSet<K> = others.iter().copied().collect();
        let only = of.iter().filter(|one| !others.contains(one));
        only.copied().collect()
    };
    (without(old, new), without(new, old))
}

/// Those who stand on the interfaces of `old` and `new`, with `more`.
fn crowds_of(
    known: &Known,
    old: &Crowds,
    new: &Crowds,
    more: Option<&Crowds>,
) -> BTreeMap<u32, Crowd> {
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
    fn taken<K: Ord, V>(
        have: &BTreeMap<K, V>,
        old: &BTreeMap<K, V>,
        new: &BTreeMap<K, V>,
    ) -> bool {
        let mut added = new.keys().filter(|key| !old.contains_key(key));
        added.any(|key| have.contains_key(key))
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
        let place = |mac| MacKey {
            ifindex: key.ifindex,
            vlan: key.vlan,
            mac,
        };
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

    fn device(&mut self, ifindex: u32, is_wanted: bool, have: &Content) {
        if have.devices.contains(&ifindex) {
            self.old.devices.insert(ifindex);
        }
        if is_wanted {
            self.new.devices.insert(ifindex);
        }
    }
}

//! Which objects a change of the table touches.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    context::{CompileContext, ServedAssociations},
    tag, uplinks,
};
use crate::model::{
    Change, Model,
    objects::{Association, Eip, Eni},
};

/// What changes name, and what hangs on that: by id, in order.
#[derive(Debug, Default)]
pub struct Affected<'a> {
    enis: Ids<'a>,
    eips: Ids<'a>,
    /// VPCs of ENIs that change, besides those that they are in.
    vpcs: BTreeSet<&'a str>,
    /// VPCs that no served ENI is in.
    idle_vpcs: BTreeSet<&'a str>,
    instances: BTreeSet<&'a str>,
}

/// Ids, most of them of the changes themselves. Each stands there once in the end.
#[derive(Debug, Default)]
struct Ids<'a>(Vec<Cow<'a, str>>);

impl<'a> Ids<'a> {
    fn add(&mut self, id: impl Into<Cow<'a, str>>) {
        let id = id.into();
        // The changes of an ENI often follow each other.
        if self.0.last() != Some(&id) {
            self.0.push(id);
        }
    }

    fn sort(&mut self) {
        // The changes of a kind are in order, and so are those of the next one: runs, which this
        // merges.
        self.0.sort();
        self.0.dedup();
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

impl<'a> Affected<'a> {
    /// `None` if they reach further than ENIs and EIPs.
    pub fn by(changes: &'a [Change], model: &Model, known: &CompileContext) -> Option<Self> {
        if known.conflicting {
            return None;
        }
        let mut touched = Self::default();
        for change in changes {
            match change {
                Change::Pool(_) => return None,
                Change::Vpc(diff) => {
                    for vpc in diff.before.iter().chain(&diff.after) {
                        let enis = known.vpcs.get(&tag(&vpc.id));
                        let is_told = !uplinks::overlaps(vpc, &known.networks).is_empty();
                        if is_told || enis.is_some_and(|enis| *enis > 0) {
                            return None;
                        }
                        touched.idle_vpcs.insert(&vpc.id);
                    }
                }
                Change::Instance(diff) => {
                    let ids = diff.before.iter().chain(&diff.after);
                    touched.instances.extend(ids.map(|one| one.id.as_str()));
                }
                Change::Eni(diff) => {
                    for eni in diff.before.iter().chain(&diff.after) {
                        touched.vpcs.insert(&eni.vpc);
                        touched.enis.add(&eni.id);
                    }
                }
                Change::Eip(diff) => {
                    for eip in diff.before.iter().chain(&diff.after) {
                        touched.eips.add(&eip.id);
                    }
                }
                Change::Association(diff) => {
                    for one in diff.before.iter().chain(&diff.after) {
                        touched.eips.add(&one.eip);
                        touched.enis.add(&one.eni);
                    }
                }
            }
        }
        touched.eips.sort();
        for eip in touched.eips.iter() {
            if let Some(association) = model.associations.get(eip) {
                touched.enis.add(association.eni.clone());
            }
        }
        touched.enis.sort();
        Some(touched)
    }

    /// Looks the objects up in the table.
    pub fn look_up<'m>(&self, model: &'m Model) -> Found<'m> {
        let enis = self.enis.iter().map(|id| model.enis.get(id));
        let eips = self.eips.iter();
        let vpcs = self.idle_vpcs.iter();
        let instances = self.instances.iter();
        Found {
            enis: enis.collect(),
            eips: eips
                .map(|id| (model.eips.get(id), model.associations.get(id)))
                .collect(),
            vpcs: vpcs.map(|id| model.vpcs.contains_key(*id)).collect(),
            instances: instances
                .map(|id| model.instances.contains_key(*id))
                .collect(),
        }
    }

    /// The VPCs of the ENIs, by tag: those that they are in, and those that they are to be in.
    pub fn vpcs(&self, was: &Found<'_>) -> BTreeMap<u64, String> {
        let mut vpcs = BTreeMap::new();
        let before = was.enis().map(|eni| eni.vpc.as_str());
        for id in before.chain(self.vpcs.iter().copied()) {
            vpcs.entry(tag(id)).or_insert_with(|| id.to_owned());
        }
        vpcs
    }
}

/// The touched objects as they are in a table.
#[derive(Debug)]
pub struct Found<'a> {
    enis: Vec<Option<&'a Eni>>,
    eips: Vec<(Option<&'a Eip>, Option<&'a Association>)>,
    vpcs: Vec<bool>,
    instances: Vec<bool>,
}

impl<'a> Found<'a> {
    /// The ENIs, in the order of their ids.
    pub fn enis(&self) -> impl Iterator<Item = &'a Eni> {
        self.enis.iter().copied().flatten()
    }

    /// The EIPs.
    pub fn eips(&self) -> impl Iterator<Item = &'a Eip> {
        self.eips.iter().filter_map(|(eip, _)| *eip)
    }

    /// The EIPs' associations.
    pub fn associations(&self) -> impl Iterator<Item = (&'a Association, &'a Eip)> {
        let eips = self.eips.iter();
        eips.filter_map(|(eip, association)| Some(((*association)?, (*eip)?)))
    }

    /// Which objects there are.
    pub fn existing(&self) -> Existing {
        Existing {
            enis: self.enis.iter().map(Option::is_some).collect(),
            vpcs: self.vpcs.clone(),
            instances: self.instances.clone(),
        }
    }
}

/// Which of the touched objects there are, in their order.
#[derive(Debug)]
pub struct Existing {
    enis: Vec<bool>,
    vpcs: Vec<bool>,
    instances: Vec<bool>,
}

impl CompileContext {
    /// Learns which objects came and went. `None` if a new one has the tag of another.
    pub fn rename(
        &mut self,
        touched: &Affected<'_>,
        before: &Existing,
        after: &Existing,
    ) -> Option<()> {
        let mut distinct = true;
        let enis = before.enis.iter().zip(&after.enis);
        for (id, change) in touched.enis.iter().zip(enis) {
            match change {
                (true, false) => drop(self.links.remove(&tag(id))),
                (false, true) => {
                    let other = self.links.insert(tag(id), ServedAssociations::None);
                    distinct &= other.is_none();
                }
                _ => {}
            }
        }
        let vpcs = before.vpcs.iter().zip(&after.vpcs);
        for (id, change) in touched.idle_vpcs.iter().zip(vpcs) {
            match change {
                (true, false) => drop(self.vpcs.remove(&tag(id))),
                (false, true) => distinct &= self.vpcs.insert(tag(id), 0).is_none(),
                _ => {}
            }
        }
        let instances = before.instances.iter().zip(&after.instances);
        for (id, change) in touched.instances.iter().zip(instances) {
            match change {
                (true, false) => distinct &= self.instances.remove(&tag(id)),
                (false, true) => distinct &= self.instances.insert(tag(id)),
                _ => {}
            }
        }
        distinct.then_some(())
    }
}

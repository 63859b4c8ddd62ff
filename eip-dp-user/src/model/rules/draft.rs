//! The table as a command makes it: what is stored, under what the command has changed so far.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{base::Base, index::Index};
use crate::model::{
    Change, Decision, Diff, EniFilter, Pools, View, Vlan, address,
    objects::{Association, Eip, Eni, EniKind, Instance, Mac, Mode, Vpc},
};

/// A view with changes upon it. Every question of the rules is answered as if the changes were
/// made; indexes keep the answers quick when a document changes a million objects.
pub(super) struct Draft<'v> {
    base: Base<'v>,
    pools_before: Pools,
    /// The pools as they will be.
    pub(super) pools: Pools,
    vpcs: Cells<Vpc>,
    instances: Cells<Instance>,
    enis: Cells<Eni>,
    eips: Cells<Eip>,
    associations: Cells<Association>,
    macs: Index<(String, Mac)>,
    addresses: Index<(String, IpAddr)>,
    by_vpc: Index<String>,
    by_instance: Index<String>,
    by_port: BTreeMap<Port, BTreeSet<(String, String)>>,
    eip_addresses: Index<IpAddr>,
    uses: HashMap<String, Uses>,
    witnesses: HashMap<Port, Option<(String, String)>>,
    /// What the operator should know.
    pub(super) warnings: Vec<String>,
}

type Cells<T> = BTreeMap<String, Diff<T>>;
type Port = (String, Option<Vlan>);

/// The EIPs of an ENI.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Every EIP by private IP.
    pub(super) by_address: BTreeMap<IpAddr, String>,
    cut_through: BTreeSet<(bool, String)>,
    nat: BTreeSet<(bool, String)>,
}

impl Uses {
    fn of(&mut self, mode: Mode) -> &mut BTreeSet<(bool, String)> {
        match mode {
            Mode::Nat => &mut self.nat,
            Mode::CutThrough => &mut self.cut_through,
        }
    }

    fn insert(&mut self, one: &Association) {
        let key = (one.private_ip.is_ipv4(), one.eip.clone());
        self.of(one.mode).insert(key);
        self.by_address.insert(one.private_ip, one.eip.clone());
    }

    fn remove(&mut self, one: &Association) {
        let key = (one.private_ip.is_ipv4(), one.eip.clone());
        self.of(one.mode).remove(&key);
        self.by_address.remove(&one.private_ip);
    }

    /// An EIP of that mode, of any family.
    pub(super) fn any(&self, mode: Mode) -> Option<&str> {
        let set = match mode {
            Mode::Nat => &self.nat,
            Mode::CutThrough => &self.cut_through,
        };
        set.first().map(|(_, eip)| eip.as_str())
    }

    /// An EIP of the family of `address`, of any mode.
    pub(super) fn of_family(&self, address: IpAddr) -> Option<&str> {
        let from = (address.is_ipv4(), String::new());
        [&self.cut_through, &self.nat].into_iter().find_map(|set| {
            let (v4, eip) = set.range(from.clone()..).next()?;
            (*v4 == from.0).then_some(eip.as_str())
        })
    }
}

impl<'v> Draft<'v> {
    pub(super) fn new(base: &'v dyn View) -> Self {
        let pools = base.pools();
        Self {
            base: Base::new(base),
            pools_before: pools.clone(),
            pools,
            vpcs: Cells::new(),
            instances: Cells::new(),
            enis: Cells::new(),
            eips: Cells::new(),
            associations: Cells::new(),
            macs: Index::default(),
            addresses: Index::default(),
            by_vpc: Index::default(),
            by_instance: Index::default(),
            by_port: BTreeMap::new(),
            eip_addresses: Index::default(),
            uses: HashMap::new(),
            witnesses: HashMap::new(),
            warnings: Vec::new(),
        }
    }

    /// The table before the command.
    pub(super) fn base(&self) -> &'v dyn View {
        self.base.view
    }

    pub(super) fn vpc(&self, id: &str) -> Option<Vpc> {
        get(&self.vpcs, id, |id| self.base.vpc(id))
    }

    pub(super) fn instance(&self, id: &str) -> Option<Instance> {
        get(&self.instances, id, |id| self.base.view.instance(id))
    }

    pub(super) fn eni(&self, id: &str) -> Option<Eni> {
        get(&self.enis, id, |id| self.base.eni(id))
    }

    pub(super) fn eip(&self, id: &str) -> Option<Eip> {
        get(&self.eips, id, |id| self.base.eip(id))
    }

    pub(super) fn association(&self, eip: &str) -> Option<Association> {
        get(&self.associations, eip, |id| self.base.association(id))
    }

    pub(super) fn put_vpc(&mut self, vpc: Vpc) {
        set(&mut self.vpcs, &vpc.id.clone(), Some(vpc), |id| {
            self.base.vpc(id)
        });
    }

    pub(super) fn delete_vpc(&mut self, id: &str) {
        set(&mut self.vpcs, id, None, |id| self.base.vpc(id));
    }

    pub(super) fn put_instance(&mut self, instance: Instance) {
        let id = instance.id.clone();
        set(&mut self.instances, &id, Some(instance), |id| {
            self.base.view.instance(id)
        });
    }

    pub(super) fn delete_instance(&mut self, id: &str) {
        set(&mut self.instances, id, None, |id| {
            self.base.view.instance(id)
        });
    }

    pub(super) fn put_eni(&mut self, eni: Eni) {
        self.set_eni(&eni.id.clone(), Some(eni));
    }

    pub(super) fn delete_eni(&mut self, id: &str) {
        self.set_eni(id, None);
    }

    fn set_eni(&mut self, id: &str, after: Option<Eni>) {
        if let Some(old) = self.enis.get(id).and_then(|cell| cell.after.clone()) {
            self.index_eni(&old, false);
        }
        if let Some(eni) = &after {
            self.index_eni(eni, true);
        }
        set(&mut self.enis, id, after, |id| self.base.eni(id));
    }

    fn index_eni(&mut self, eni: &Eni, insert: bool) {
        let id = &eni.id;
        self.macs.mark((eni.vpc.clone(), eni.mac), id, insert);
        self.by_vpc.mark(eni.vpc.clone(), id, insert);
        for address in &eni.private_ips {
            self.addresses.mark((eni.vpc.clone(), *address), id, insert);
        }
        if let Some(instance) = &eni.instance {
            self.by_instance.mark(instance.clone(), id, insert);
        }
        if let Some(port) = &eni.port {
            let set = self.by_port.entry((port.clone(), eni.vlan)).or_default();
            let key = (eni.vpc.clone(), id.clone());
            if insert {
                set.insert(key);
            } else {
                set.remove(&key);
            }
        }
    }

    pub(super) fn put_eip(&mut self, eip: Eip) {
        self.set_eip(&eip.id.clone(), Some(eip));
    }

    pub(super) fn delete_eip(&mut self, id: &str) {
        self.set_eip(id, None);
    }

    fn set_eip(&mut self, id: &str, after: Option<Eip>) {
        if let Some(Some(old)) = self.eips.get(id).map(|cell| &cell.after) {
            self.eip_addresses.mark(old.address, id, false);
        }
        if let Some(eip) = &after {
            self.eip_addresses.mark(eip.address, id, true);
        }
        set(&mut self.eips, id, after, |id| self.base.eip(id));
    }

    pub(super) fn put_association(&mut self, one: Association) {
        self.uses(&one.eni).insert(&one);
        let eip = one.eip.clone();
        set(&mut self.associations, &eip, Some(one), |id| {
            self.base.association(id)
        });
    }

    pub(super) fn delete_association(&mut self, one: &Association) {
        self.uses(&one.eni).remove(one);
        set(&mut self.associations, &one.eip, None, |id| {
            self.base.association(id)
        });
    }

    /// The EIPs of an ENI.
    pub(super) fn uses(&mut self, eni: &str) -> &mut Uses {
        // Loaded before the first change of this ENI's associations, and kept up to date from then
        // on.
        self.uses.entry(eni.to_owned()).or_insert_with(|| {
            let mut uses = Uses::default();
            for one in self.base.view.associations_of(eni) {
                uses.insert(&one);
            }
            uses
        })
    }

    /// Another ENI of the VPC with this Ethernet address.
    pub(super) fn other_with_mac(&self, eni: &Eni) -> Option<String> {
        let key = (eni.vpc.clone(), eni.mac);
        let stored = || self.base.view.eni_by_mac(&eni.vpc, eni.mac);
        other(&self.macs, key, &eni.id, stored, &self.enis)
    }

    /// Another ENI of the VPC with this private address that does not share it with this one.
    pub(super) fn other_with_address(&self, eni: &Eni, address: IpAddr) -> Option<String> {
        let others = self.enis_with_address(&eni.vpc, address).into_iter();
        let mut others = others.filter(|id| *id != eni.id);
        if !eni.shared_ips.contains(&address) {
            return others.next();
        }
        others.find(|id| {
            let other = self.eni(id);
            other.is_some_and(|other| !other.shared_ips.contains(&address))
        })
    }

    /// The ENIs of the VPC with this private address: several if they share it.
    pub(super) fn enis_with_address(&self, vpc: &str, address: IpAddr) -> Vec<String> {
        let changed = self.addresses.of((vpc.to_owned(), address));
        let mut enis: Vec<_> = changed.map(str::to_owned).collect();
        let stored = self.base.view.enis_by_address(vpc, address);
        enis.extend(stored.into_iter().filter(|id| !self.enis.contains_key(id)));
        enis
    }

    /// Another EIP with the same address.
    pub(super) fn other_with_public(&self, eip: &Eip) -> Option<String> {
        let stored = || self.base.view.eip_by_address(eip.address);
        other(
            &self.eip_addresses,
            eip.address,
            &eip.id,
            stored,
            &self.eips,
        )
    }

    /// The ids of the ENIs that an instance, or a VPC, has.
    pub(super) fn enis_of(&self, filter: EniFilter<'_>) -> Vec<String> {
        let mut all = Vec::new();
        self.find_eni(filter, &mut |id| {
            all.push(id.to_owned());
            false
        });
        all
    }

    /// How many ENIs an instance has.
    pub(super) fn count_of(&self, instance: &str) -> usize {
        let mut count = 0;
        self.find_eni(EniFilter::Instance(instance), &mut |_| {
            count += 1;
            false
        });
        count
    }

    /// An ENI that the filter matches and `accept` takes.
    pub(super) fn find_eni(
        &self,
        filter: EniFilter<'_>,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Option<String> {
        let changed = match filter {
            EniFilter::Vpc(vpc) => Some(self.by_vpc.of(vpc.to_owned())),
            EniFilter::Instance(instance) | EniFilter::PrimaryOf(instance) => {
                Some(self.by_instance.of(instance.to_owned()))
            }
            EniFilter::Port(..) | EniFilter::Interface(_) => None,
        };
        let primary = matches!(filter, EniFilter::PrimaryOf(_));
        for id in changed.into_iter().flatten() {
            let kind = self.enis.get(id).and_then(|cell| cell.after.as_ref());
            if (!primary || kind.is_some_and(|eni| eni.kind == EniKind::Primary)) && accept(id) {
                return Some(id.to_owned());
            }
        }
        let accept = &mut |id: &str| !self.enis.contains_key(id) && accept(id);
        self.base.view.find_eni(filter, accept)
    }

    /// An ENI of another VPC on this ENI's port, and its VPC.
    pub(super) fn foreign_on_port(&mut self, eni: &Eni) -> Option<(String, String)> {
        let key = (eni.port.clone()?, eni.vlan);
        let foreign = |(vpc, _): &&(String, String)| *vpc != eni.vpc;
        // Sorted by VPC: if any differs from this ENI's, the first or the last one does.
        if let Some(set) = self.by_port.get(&key) {
            let ends = [set.first(), set.last()];
            if let Some((vpc, id)) = ends.into_iter().flatten().find(foreign) {
                return Some((id.clone(), vpc.clone()));
            }
        }
        // What is stored and unchanged is of one VPC, so one such ENI speaks for all of them.
        let fresh = match self.witnesses.get(&key) {
            Some(Some((_, id))) => !self.enis.contains_key(id),
            Some(None) => true,
            None => false,
        };
        if !fresh {
            let filter = EniFilter::Port(&key.0, key.1);
            let unchanged = &mut |id: &str| !self.enis.contains_key(id);
            let found = self.base.view.find_eni(filter, unchanged);
            let witness = found.and_then(|id| Some((self.base.eni(&id)?.vpc, id)));
            self.witnesses.insert(key.clone(), witness);
        }
        let witness = self.witnesses.get(&key)?.as_ref();
        witness
            .filter(foreign)
            .map(|(vpc, id)| (id.clone(), vpc.clone()))
    }

    /// An EIP in a range that `accept` takes.
    pub(super) fn find_eip(
        &self,
        first: IpAddr,
        last: IpAddr,
        accept: &mut dyn FnMut(&Eip) -> bool,
    ) -> Option<Eip> {
        for id in self.eip_addresses.range(first, last) {
            let eip = self.eips.get(id).and_then(|cell| cell.after.as_ref());
            if let Some(eip) = eip.filter(|eip| accept(eip)) {
                return Some(eip.clone());
            }
        }
        let id = self.base.view.find_eip(first, last, &mut |id| {
            !self.eips.contains_key(id) && self.base.eip(id).is_some_and(|eip| accept(&eip))
        })?;
        self.base.eip(&id)
    }

    /// A VPC that shares addresses with the prefix.
    pub(super) fn find_vpc(&self, cidr: IpNet) -> Option<String> {
        let shares = |vpc: &Vpc| vpc.cidrs.iter().any(|one| address::overlap(one, &cidr));
        let mut changed = self.vpcs.values().filter_map(|cell| cell.after.as_ref());
        if let Some(vpc) = changed.find(|vpc| shares(vpc)) {
            return Some(vpc.id.clone());
        }
        self.base
            .view
            .find_vpc(cidr, &mut |id| !self.vpcs.contains_key(id))
    }

    /// The prefix of the pool that covers the address.
    pub(super) fn pool_of(&self, address: IpAddr) -> Option<IpNet> {
        // Pools are disjoint and sorted by address: only the last one that starts at or below it
        // can cover it.
        let upper = IpNet::from(address);
        let (cidr, _) = self.pools.range(..=upper).next_back()?;
        cidr.contains(&address).then_some(*cidr)
    }

    /// The changed pools: before and after.
    pub(super) fn changed_pools(&self) -> Vec<Diff<crate::model::objects::Pool>> {
        let (before, after) = (&self.pools_before, &self.pools);
        let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let diffs = names.into_iter().map(|cidr| Diff {
            before: before.get(cidr).cloned(),
            after: after.get(cidr).cloned(),
        });
        diffs.filter(|diff| diff.before != diff.after).collect()
    }

    pub(super) fn changed_vpcs(&self) -> Vec<Diff<Vpc>> {
        changed(&self.vpcs).cloned().collect()
    }

    pub(super) fn changed_instances(&self) -> Vec<Diff<Instance>> {
        changed(&self.instances).cloned().collect()
    }

    pub(super) fn changed_enis(&self) -> Vec<Diff<Eni>> {
        changed(&self.enis).cloned().collect()
    }

    pub(super) fn changed_eips(&self) -> impl Iterator<Item = &Diff<Eip>> {
        changed(&self.eips)
    }

    /// What the command does.
    pub(super) fn finish(self) -> Decision {
        let mut changes: Vec<_> = self.changed_pools().into_iter().map(Change::Pool).collect();
        take(self.vpcs, &mut changes, Change::Vpc);
        take(self.instances, &mut changes, Change::Instance);
        take(self.enis, &mut changes, Change::Eni);
        take(self.eips, &mut changes, Change::Eip);
        take(self.associations, &mut changes, Change::Association);
        Decision {
            changes,
            warnings: self.warnings,
        }
    }
}

fn get<T: Clone>(cells: &Cells<T>, id: &str, stored: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    match cells.get(id) {
        Some(cell) => cell.after.clone(),
        None => stored(id),
    }
}

fn set<T>(
    cells: &mut Cells<T>,
    id: &str,
    after: Option<T>,
    stored: impl FnOnce(&str) -> Option<T>,
) {
    if let Some(cell) = cells.get_mut(id) {
        cell.after = after;
    } else {
        let before = stored(id);
        cells.insert(id.to_owned(), Diff { before, after });
    }
}

/// Another object than `id` under the same key: a changed one, or a stored one that is unchanged.
fn other<K: Ord + Clone, T>(
    index: &Index<K>,
    key: K,
    id: &str,
    stored: impl FnOnce() -> Option<String>,
    cells: &Cells<T>,
) -> Option<String> {
    let mut ids = index.of(key);
    ids.find(|other| *other != id)
        .map(str::to_owned)
        .or_else(|| stored().filter(|other| other != id && !cells.contains_key(other)))
}

fn changed<T: PartialEq>(cells: &Cells<T>) -> impl Iterator<Item = &Diff<T>> {
    cells.values().filter(|cell| cell.before != cell.after)
}

fn take<T: PartialEq>(cells: Cells<T>, changes: &mut Vec<Change>, change: fn(Diff<T>) -> Change) {
    let diffs = cells.into_values().filter(|cell| cell.before != cell.after);
    changes.extend(diffs.map(change));
}

//! Private addresses that several ENIs of a VPC share, as virtual routers do (VRRP, RFC 5798):
//! which of them has each, by what it announced last.
//!
//! The table says who may have an address; who has it is known here alone. Everything behind sees a
//! table in which the address, and its association, are the holder's: [`Shared::resolve`] makes
//! such a table, and [`Shared::claim`] the changes of it when another ENI announces the address.
//! The holders outlive the daemon in a file under /run; without it an address is at the ENI that
//! its association names.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use eip_dp_common::{abi::LinkKey, packet::is_virtual_router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::{
    frame::{arp_announcement, is_vrrp, neighbour_announcement},
    guests::Client,
    host::{self, HostFacts},
    model::{
        Change, Diff, Model, Vlan,
        objects::{Association, Eni, EniState},
        rules::storable,
    },
    private,
    table::Identity,
};

/// An address moves no more often than that: what is announced meanwhile moves it afterwards.
const PAUSE: Duration = Duration::from_secs(1);

/// So many announcements wait for the daemon at most. More are repeated by who means them.
const MOST_WAITING: usize = 1_024;

/// A VPC's address.
type Key = (String, IpAddr);

/// The shared addresses of a table.
#[derive(Debug, Default)]
pub struct Shared {
    addresses: BTreeMap<Key, State>,
    /// Every ENI that shares one.
    enis: HashSet<String>,
    /// Where the holders are kept; `None`: nowhere.
    path: Option<PathBuf>,
    /// Whose holders they are: the table's identity.
    table: String,
}

/// The file of the holders.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The identity of the table that they are of.
    table: String,
    holders: Vec<Holder>,
}

#[derive(Debug)]
struct State {
    /// Who may have it.
    enis: BTreeSet<String>,
    /// Who has it.
    holder: String,
    /// The EIP that stands for it.
    eip: Option<String>,
    moves: u64,
    since: Option<Timestamp>,
    moved_at: Option<Instant>,
    /// Who announced it while it could not move.
    waiting: Option<String>,
}

/// Where an address is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The VPC.
    pub vpc: String,
    /// Its address.
    pub address: IpAddr,
    /// The ENI that has it.
    pub eni: String,
    /// How often it has moved.
    pub moves: u64,
    /// Since when it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The EIP that stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eip: Option<String>,
}

/// An ENI's announcement that an address is its.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    vpc: String,
    address: IpAddr,
    eni: String,
}

/// The announcements that the daemon has not looked at yet.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    waiting: Arc<Mutex<Vec<Claim>>>,
    notify: Arc<Notify>,
}

impl Claims {
    fn add(&self, claim: Claim) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_WAITING && !waiting.contains(&claim) {
            waiting.push(claim);
        }
        self.notify.notify_one();
    }

    fn take(&self) -> Vec<Claim> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
    }

    /// Returns when there is one.
    pub async fn some(&self) {
        self.notify.notified().await;
    }
}

impl Shared {
    /// With the holders that an earlier daemon left in that file, if they are of this table; they
    /// are kept there from now on.
    pub fn open(path: PathBuf, table: Option<Identity>) -> Self {
        let kept = Self::read(&path, table);
        Self {
            path: Some(path),
            ..kept
        }
    }

    /// With the holders that a daemon left in that file, which stays as it is.
    pub fn read(path: &Path, table: Option<Identity>) -> Self {
        let table = table.map(|one| one.to_string()).unwrap_or_default();
        let kept = kept_in(path).filter(|kept| kept.table == table);
        let holders = kept.map(|kept| kept.holders).unwrap_or_default();
        let addresses = holders.into_iter().map(|one| {
            let state = State {
                enis: BTreeSet::new(),
                holder: one.eni,
                eip: one.eip,
                moves: one.moves,
                since: one.since,
                moved_at: None,
                waiting: None,
            };
            ((one.vpc, one.address), state)
        });
        Self {
            addresses: addresses.collect(),
            enis: HashSet::new(),
            path: None,
            table,
        }
    }

    /// Makes a table one in which each shared address, and its association, is its holder's.
    pub fn resolve(&mut self, model: &mut Model) {
        let mut sharers: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
        for eni in model.enis.values() {
            for address in &eni.shared_ips {
                let key = (eni.vpc.clone(), *address);
                sharers.entry(key).or_default().insert(eni.id.clone());
            }
        }
        self.enis = sharers.values().flatten().cloned().collect();
        let associations = if sharers.is_empty() {
            HashMap::new()
        } else {
            self.associations(model)
        };
        let holders = self.holders();
        let mut before = std::mem::take(&mut self.addresses);
        for (key, enis) in sharers {
            let is_here = |id: &&String| {
                let eni = model.enis.get(*id);
                enis.contains(*id) && eni.is_some_and(|eni| eni.state == EniState::Attached)
            };
            let old = before.remove(&key);
            let named = associations.get(&key).map(|one| &one.eni);
            let eip = associations.get(&key).map(|one| &one.eip);
            // Nobody has announced it, and it has another EIP than when its place was chosen.
            let is_fresh = |old: &&State| old.moves == 0 && old.eip.as_ref() != eip;
            let known = old.as_ref().filter(|old| named.is_none() || !is_fresh(old));
            let holder = known.map(|old| &old.holder).filter(is_here);
            let holder = holder.or(named.filter(is_here));
            let holder = holder.or_else(|| enis.iter().find(is_here)).or(named);
            let Some(holder) = holder.or(enis.first()).cloned() else {
                continue;
            };
            for id in enis.iter().filter(|id| **id != holder) {
                if let Some(eni) = model.enis.get_mut(id) {
                    eni.private_ips.retain(|ip| *ip != key.1);
                }
            }
            if let Some(one) = associations.get(&key)
                && let Some(one) = model.associations.get_mut(&one.eip)
            {
                one.eni.clone_from(&holder);
            }
            let stays = old.as_ref().filter(|old| old.holder == holder);
            let state = State {
                enis,
                since: stays.map_or_else(|| Some(storable(Timestamp::now())), |old| old.since),
                holder,
                eip: eip.cloned(),
                moves: old.as_ref().map_or(0, |old| old.moves),
                moved_at: old.as_ref().and_then(|old| old.moved_at),
                waiting: old.and_then(|old| old.waiting),
            };
            self.addresses.insert(key, state);
        }
        // Whoever lost an address because it was detached does not get it back from the file.
        if self.holders() != holders {
            self.keep();
        }
    }

    /// The associations of shared addresses.
    fn associations(&self, model: &Model) -> HashMap<Key, Association> {
        let associations = model.associations.values();
        let shared = associations.filter(|one| self.enis.contains(&one.eni));
        let shared = shared.filter_map(|one| {
            let eni = model.enis.get(&one.eni)?;
            let is_shared = eni.shared_ips.contains(&one.private_ip);
            is_shared.then(|| ((eni.vpc.clone(), one.private_ip), one.clone()))
        });
        shared.collect()
    }

    /// Whether changes of the table touch an ENI that shares an address, so that all of it has to
    /// be resolved anew.
    pub fn concerns(&self, changes: &[Change]) -> bool {
        changes.iter().any(|change| match change {
            Change::Eni(diff) => {
                let mut enis = diff.before.iter().chain(&diff.after);
                enis.any(|eni| !eni.shared_ips.is_empty())
            }
            Change::Association(diff) => {
                let mut both = diff.before.iter().chain(&diff.after);
                both.any(|one| self.enis.contains(&one.eni))
            }
            Change::Pool(_) | Change::Vpc(_) | Change::Instance(_) | Change::Eip(_) => false,
        })
    }

    /// What the announcements change in the table that [`Self::resolve`] made, without making it.
    pub fn follow(&mut self, claims: &Claims, model: &Model, now: Instant) -> Vec<Change> {
        let mut claimed: Vec<_> = claims.take();
        for ((vpc, address), state) in &mut self.addresses {
            let can_move = state.moved_at.is_none_or(|at| now >= at + PAUSE);
            if let Some(eni) = state.waiting.take_if(|_| can_move) {
                let (vpc, address) = (vpc.clone(), *address);
                claimed.insert(0, Claim { vpc, address, eni });
            }
        }
        let mut changes = Vec::new();
        for claim in claimed {
            self.claim(claim, model, now, &mut changes);
        }
        if !changes.is_empty() {
            self.keep();
        }
        changes
    }

    /// Moves an address, behind other changes, or lets it wait.
    fn claim(&mut self, claim: Claim, model: &Model, now: Instant, changes: &mut Vec<Change>) {
        let key = (claim.vpc, claim.address);
        let Some(state) = self.addresses.get_mut(&key) else {
            return;
        };
        if state.holder == claim.eni {
            state.waiting = None;
            return;
        }
        let new = latest(model, changes, &claim.eni);
        let new = new.filter(|eni| eni.state == EniState::Attached);
        let Some(new) = new.filter(|eni| state.enis.contains(&eni.id)) else {
            return;
        };
        if state.moved_at.is_some_and(|at| now < at + PAUSE) {
            state.waiting = Some(claim.eni);
            return;
        }
        let old = std::mem::replace(&mut state.holder, claim.eni);
        state.moves += 1;
        state.since = Some(storable(Timestamp::now()));
        state.moved_at = Some(now);
        state.waiting = None;
        info!(
            vpc = key.0, address = %key.1, from = old, to = state.holder, moves = state.moves,
            "a shared address moves"
        );
        if let Some(old) = latest(model, changes, &old) {
            let mut without = old.clone();
            without.private_ips.retain(|ip| *ip != key.1);
            changes.push(Change::Eni(Diff {
                before: Some(old),
                after: Some(without),
            }));
        }
        let mut with = new.clone();
        with.private_ips.push(key.1);
        changes.push(Change::Eni(Diff {
            before: Some(new),
            after: Some(with),
        }));
        let eip = state.eip.as_ref();
        if let Some(one) = eip.and_then(|eip| model.associations.get(eip)) {
            let after = Association {
                eni: state.holder.clone(),
                ..one.clone()
            };
            changes.push(Change::Association(Diff {
                before: Some(one.clone()),
                after: Some(after),
            }));
        }
    }

    /// When an announcement that waits can be followed.
    pub fn next_due(&self) -> Option<Instant> {
        let waiting = self.addresses.values().filter(|one| one.waiting.is_some());
        waiting.filter_map(|one| Some(one.moved_at? + PAUSE)).min()
    }

    /// Where the addresses are.
    pub fn holders(&self) -> Vec<Holder> {
        let holders = self.addresses.iter();
        holders
            .map(|((vpc, address), state)| Holder {
                vpc: vpc.clone(),
                address: *address,
                eni: state.holder.clone(),
                moves: state.moves,
                since: state.since,
                eip: state.eip.clone(),
            })
            .collect()
    }

    fn keep(&self) {
        let Some(path) = &self.path else { return };
        let kept = Kept {
            table: self.table.clone(),
            holders: self.holders(),
        };
        let text = serde_json::to_vec_pretty(&kept);
        let written = text.map_err(io::Error::from);
        if let Err(error) = written.and_then(|text| private::write(path, &text)) {
            warn!(%error, path = %path.display(), "where shared addresses are is not kept for the next daemon");
        }
    }

    /// Who shares addresses, as the servers of guests have to know it.
    pub fn sharers(&self, model: &Model, facts: &HostFacts) -> Sharers {
        let mut sharers = Sharers::default();
        if self.enis.is_empty() {
            return sharers;
        }
        let by_name = facts.indexes_by_name();
        // The ENIs of each VPC that are behind an interface: its port, its interface's address.
        let mut by_vpc: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        let enis = self.enis.iter().filter_map(|id| model.enis.get(id));
        // One that is stranded has no private network.
        for eni in enis.filter(|eni| eni.state == EniState::Attached) {
            let port = eni.port.as_deref();
            if let Some(index) = port.and_then(|port| by_name.get(port))
                && let Some(link) = facts.links.get(index)
                && eni.may_be_on(&host::identity_of(*index, link))
            {
                let port = Vlan::key(eni.vlan, *index);
                let there = by_vpc.entry(&eni.vpc).or_default();
                there.push((port, link.mac, eni));
            }
        }
        for (vpc, enis) in by_vpc {
            for (port, _, eni) in &enis {
                let is_peer = |other: &Eni| {
                    let mut shared = other.shared_ips.iter();
                    other.id != eni.id && shared.any(|ip| eni.shared_ips.contains(ip))
                };
                // Who is on the same port has heard it there.
                let peers = enis.iter().filter(|(other, _, _)| other != port);
                let peers = peers.filter(|(_, _, other)| is_peer(other));
                let mut peers: Vec<_> = peers.map(|(port, mac, _)| (*port, *mac)).collect();
                peers.sort_unstable();
                peers.dedup();
                let sharer = Sharer {
                    eni: eni.id.clone(),
                    vpc: vpc.to_owned(),
                    addresses: eni.shared_ips.clone(),
                    peers,
                };
                let client = Client::on(*port, eni.mac.0);
                sharers.0.insert(client, sharer);
            }
        }
        sharers
    }
}

/// An ENI as changes leave it.
fn latest(model: &Model, changes: &[Change], id: &str) -> Option<Eni> {
    let mut newest = changes.iter().rev();
    let found = newest.find_map(|change| match change {
        Change::Eni(Diff {
            after: Some(eni), ..
        }) if eni.id == id => Some(eni.clone()),
        _ => None,
    });
    found.or_else(|| model.enis.get(id).cloned())
}

/// Where shared addresses are, by the file that the last daemon left there; it is of the table that
/// the gateway forwards by.
pub fn holders_in(path: &Path) -> Vec<Holder> {
    kept_in(path).map_or_else(Vec::new, |kept| kept.holders)
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.eni)?;
        if let Some(since) = self.since {
            write!(f, " since {since:.0}")?;
        }
        write!(f, " (moves: {})", self.moves)
    }
}

/// What a file has; nothing if it is not there, or is damaged.
fn kept_in(path: &Path) -> Option<Kept> {
    let text = private::read(path).ok()?;
    let kept = serde_json::from_slice(&text);
    kept.inspect_err(|error| {
        warn!(%error, path = %path.display(), "where shared addresses are is unknown; each is where its association is");
    })
    .ok()
}

/// The ENIs that share addresses, by where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sharers(HashMap<Client, Sharer>);

/// An ENI that shares addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sharer {
    eni: String,
    vpc: String,
    addresses: Vec<IpAddr>,
    /// The ports of the ENIs that share one with it, with the ports' Ethernet addresses.
    peers: Vec<(LinkKey, [u8; 6])>,
}

impl Sharers {
    /// Who sent a frame. A virtual router's address is that of the port's only ENI: the programs
    /// take it from no other.
    fn sender(&self, port: LinkKey, frame: &[u8]) -> Option<&Sharer> {
        let mac: [u8; 6] = *frame.get(6..)?.first_chunk()?;
        if !is_virtual_router(mac) {
            return self.0.get(&Client::on(port, mac));
        }
        let mut on_port = self.0.iter().filter(|(client, _)| client.port() == port);
        let only = on_port.next();
        only.filter(|_| on_port.next().is_none())
            .map(|(_, sharer)| sharer)
    }

    /// Takes a frame that is about shared addresses: notes an announcement, and gives the frames to
    /// send where it is an advertisement for the others. `None`: it is about something else.
    pub fn take(
        &self,
        port: LinkKey,
        frame: &[u8],
        claims: &Claims,
    ) -> Option<Vec<(LinkKey, Vec<u8>)>> {
        if self.0.is_empty() {
            return None;
        }
        let announced = arp_announcement(frame)
            .map(IpAddr::V4)
            .or_else(|| neighbour_announcement(frame).map(IpAddr::V6));
        let is_advertisement = announced.is_none() && is_vrrp(frame);
        if announced.is_none() && !is_advertisement {
            return None;
        }
        let Some(sender) = self.sender(port, frame) else {
            return Some(Vec::new());
        };
        if let Some(address) = announced.filter(|one| sender.addresses.contains(one)) {
            claims.add(Claim {
                vpc: sender.vpc.clone(),
                address,
                eni: sender.eni.clone(),
            });
        }
        if !is_advertisement {
            return Some(Vec::new());
        }
        let peers = sender.peers.iter().map(|(port, mac)| {
            let mut copy = frame.to_vec();
            if let Some(source) = copy.get_mut(6..12) {
                source.copy_from_slice(mac);
            }
            (*port, copy)
        });
        Some(peers.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::compile::testing::{
        add_eip, associate, attached, eni, host, put_association, table,
    };
    use crate::model::objects::{Mode, Rebind};

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 100));

    /// a and b share 10.0.0.100, whose EIP x0 is at a; c does not.
    fn raw() -> Model {
        let mut model = table();
        for (number, id, port) in [(1, "a", "p0"), (2, "b", "p1"), (3, "c", "p2")] {
            let mut eni = attached(eni(id, "v0", number, &[[10, 0, 0, number]]), "i0", port);
            if id != "c" {
                eni.private_ips.push(ADDRESS);
                eni.shared_ips.push(ADDRESS);
            }
            model.enis.insert(id.to_owned(), eni);
        }
        add_eip(&mut model, 0);
        associate(&mut model, 0, "a", [10, 0, 0, 100], Mode::Nat);
        model
    }

    fn claim(eni: &str) -> Claim {
        Claim {
            vpc: "v0".to_owned(),
            address: ADDRESS,
            eni: eni.to_owned(),
        }
    }

    /// Who has the address in a table, and its association.
    fn at(model: &Model) -> (Vec<&str>, &str) {
        let enis = model.enis.values();
        let has = enis.filter(|eni| eni.private_ips.contains(&ADDRESS));
        let has = has.map(|eni| eni.id.as_str()).collect();
        (has, &model.associations["x0"].eni)
    }

    #[test]
    fn the_address_and_its_eip_are_where_it_was_announced_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shared.json");
        let mut shared = Shared::open(path.clone(), None);
        let (mut model, claims, start) = (raw(), Claims::default(), Instant::now());
        shared.resolve(&mut model);
        assert_eq!(at(&model), (vec!["a"], "a"));

        claims.add(claim("b"));
        let changes = shared.follow(&claims, &model, start);
        model.change(&changes);
        assert_eq!(at(&model), (vec!["b"], "b"));
        assert_eq!(shared.holders()[0].moves, 1);

        // What a stranger announces, and what the holder does, changes nothing.
        for eni in ["c", "b", "nobody"] {
            claims.add(claim(eni));
            assert_eq!(shared.follow(&claims, &model, start + PAUSE), []);
        }
        // The table read anew, by this daemon and by the next.
        for shared in [&mut shared, &mut Shared::open(path.clone(), None)] {
            let mut model = raw();
            shared.resolve(&mut model);
            assert_eq!(at(&model), (vec!["b"], "b"));
            model.enis.get_mut("b").expect("there").state = EniState::Stranded;
            let mut model = raw();
            model.enis.get_mut("b").expect("there").state = EniState::Stranded;
            shared.resolve(&mut model);
            assert_eq!(at(&model), (vec!["a"], "a"));
        }
        // A table made anew knows nothing of the holders of another, nor does one after damage.
        let mut model = raw();
        Shared::open(path.clone(), Identity::of_words([1, 2])).resolve(&mut model);
        assert_eq!(at(&model), (vec!["a"], "a"));
        fs::write(&path, "{").expect("written");
        let mut model = raw();
        Shared::open(path, None).resolve(&mut model);
        assert_eq!(at(&model), (vec!["a"], "a"));
    }

    #[test]
    fn who_lost_an_address_does_not_get_it_back_from_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shared.json");
        let mut shared = Shared::open(path.clone(), None);
        let mut model = raw();
        shared.resolve(&mut model);
        let mut without = raw();
        without.enis.get_mut("a").expect("there").state = EniState::Detached;
        shared.resolve(&mut without);
        assert_eq!(at(&without).1, "b");
        // a is attached again.
        for shared in [&mut shared, &mut Shared::open(path, None)] {
            let mut model = raw();
            shared.resolve(&mut model);
            assert_eq!(at(&model), (vec!["b"], "b"));
        }
    }

    #[test]
    fn advertisements_reach_ports_by_any_name_and_no_port_that_is_closed() {
        let mut facts = host();
        facts.altnames.insert("other".to_owned(), 11);
        let peers = |change: &dyn Fn(&mut Eni)| {
            let mut model = raw();
            change(model.enis.get_mut("b").expect("there"));
            let mut shared = Shared::default();
            shared.resolve(&mut model);
            let sharers = shared.sharers(&model, &facts);
            let mut of_a = sharers.0.values().filter(|one| one.eni == "a");
            let of_a = of_a.next().expect("a shares").peers.iter();
            of_a.map(|(port, _)| *port).collect::<Vec<_>>()
        };
        assert_eq!(peers(&|_| {}), [LinkKey::untagged(11)]);
        let renamed = |eni: &mut Eni| eni.port = Some("other".to_owned());
        assert_eq!(peers(&renamed), [LinkKey::untagged(11)]);
        assert_eq!(peers(&|eni| eni.state = EniState::Stranded), []);
        let anew = |eni: &mut Eni| {
            eni.rebind = Rebind::Never;
            eni.bound = Some("another".to_owned());
        };
        assert_eq!(peers(&anew), []);
        // Who is on the same port has heard it there.
        assert_eq!(peers(&|eni| eni.port = Some("p0".to_owned())), []);
    }

    #[test]
    fn it_begins_at_the_eni_that_the_association_names() {
        let mut shared = Shared::default();
        let mut without = raw();
        without.associations.clear();
        shared.resolve(&mut without);
        let mut model = raw();
        model.associations.get_mut("x0").expect("there").eni = "b".to_owned();
        shared.resolve(&mut model);
        assert_eq!(at(&model), (vec!["b"], "b"));
    }

    #[test]
    fn an_address_moves_once_a_second_and_the_last_announcement_counts() {
        let mut shared = Shared::default();
        let (mut model, claims, start) = (raw(), Claims::default(), Instant::now());
        shared.resolve(&mut model);
        for (eni, moves) in [("b", true), ("a", false), ("b", false), ("a", false)] {
            claims.add(claim(eni));
            let changes = shared.follow(&claims, &model, start);
            assert_eq!(!changes.is_empty(), moves, "{eni}");
            model.change(&changes);
        }
        assert_eq!(shared.next_due(), Some(start + PAUSE));
        let changes = shared.follow(&claims, &model, start + PAUSE);
        model.change(&changes);
        assert_eq!(at(&model), (vec!["a"], "a"));
        assert_eq!(shared.next_due(), None);
        assert_eq!(shared.holders()[0].moves, 2);
    }

    #[test]
    fn changes_of_those_who_share_are_told_from_others() {
        let mut shared = Shared::default();
        let mut model = raw();
        shared.resolve(&mut model);
        let of_eni = |id: &str| {
            let after = raw().enis.remove(id);
            let before = None;
            [Change::Eni(Diff { before, after })]
        };
        assert!(shared.concerns(&of_eni("a")));
        assert!(!shared.concerns(&of_eni("c")));
        put_association(&mut model, "x1", "b", [10, 0, 0, 2].into(), Mode::Nat);
        let of_b = Diff {
            before: None,
            after: model.associations.remove("x1"),
        };
        assert!(shared.concerns(&[Change::Association(of_b)]));
    }

    #[test]
    fn advertisements_go_to_those_who_share_and_to_nobody_else() {
        let mut shared = Shared::default();
        let (mut model, claims) = (raw(), Claims::default());
        shared.resolve(&mut model);
        let sharers = shared.sharers(&model, &host());
        let frame = |source: [u8; 6], ethertype: [u8; 2], packet: &[u8]| {
            [&[1, 0, 0x5e, 0, 0, 0x12], &source[..], &ethertype, packet].concat()
        };
        let mut vrrp = [0_u8; 24];
        (vrrp[0], vrrp[8], vrrp[9]) = (0x45, 255, 112);
        vrrp[16..20].copy_from_slice(&[224, 0, 0, 18]);
        let port = LinkKey::untagged;
        let own = [2, 0, 0, 0, 0, 1];
        let virtual_mac = [0, 0, 0x5e, 0, 1, 7];
        for source in [own, virtual_mac] {
            let frame = frame(source, [8, 0], &vrrp);
            let sent = sharers.take(port(10), &frame, &claims).expect("taken");
            let [(to, copy)] = &sent[..] else {
                panic!("{sent:?}")
            };
            assert_eq!(*to, port(11));
            assert_eq!(copy[6..12], host().links[&11].mac);
            assert_eq!(copy[12..], frame[12..]);
        }
        // From one who shares nothing, and what is no advertisement.
        let of_c = frame([2, 0, 0, 0, 0, 3], [8, 0], &vrrp);
        assert_eq!(sharers.take(port(12), &of_c, &claims), Some(Vec::new()));
        let mut dhcp = vrrp;
        dhcp[9] = 17;
        assert_eq!(
            sharers.take(port(10), &frame(own, [8, 0], &dhcp), &claims),
            None
        );

        // Announcements, by the ENI's address and by the virtual router's.
        let mut arp = [0_u8; 28];
        arp[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
        for at in [14, 24] {
            arp[at..at + 4].copy_from_slice(&[10, 0, 0, 100]);
        }
        for source in [[2, 0, 0, 0, 0, 2], virtual_mac] {
            let frame = frame(source, [8, 6], &arp);
            assert_eq!(sharers.take(port(11), &frame, &claims), Some(Vec::new()));
            assert_eq!(claims.take(), [claim("b")]);
        }
        for length in 0..28 {
            sharers.take(port(11), &frame(own, [8, 6], &arp[..length]), &claims);
        }
        assert_eq!(claims.take(), []);
    }
}

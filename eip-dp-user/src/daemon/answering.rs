//! Which EIPs are answered for and announced, and on which uplink: the programs are told, and the
//! announcer.
//!
//! An EIP of a network on an uplink's link may be somebody else's: it is claimed first, which
//! delays the answers and nothing else. What programs answer for is in the map `ANSWERS`, which
//! outlives the daemon: the next one does not ask again.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

use eip_dp_common::abi::{EipMode, LinkKey, NONE};
use tracing::info;

use crate::{
    announce::{AnnouncerEvent, Claim, Own, Verdict},
    compile::{Address, Content, Mouth, Mouths, SameLink, Spot},
    kernel::Kernel,
    model::{
        Change, Model,
        objects::{Announce, Eip, Mac},
    },
};

/// What the announcer is to do.
#[derive(Debug, Default)]
pub struct Orders {
    /// EIPs to announce.
    pub announce: Vec<(LinkKey, [u8; 6], IpAddr)>,
    /// EIPs to announce no longer, on all of [`Self::links`].
    pub cancel: Vec<IpAddr>,
    /// The uplinks.
    pub links: Vec<LinkKey>,
    /// EIPs of which it is to be found out whether somebody else has them, and those of which that
    /// does not matter any longer, in this order.
    pub watch: Vec<Watch>,
    /// What this host is, if that is new.
    pub own: Option<Own>,
}

/// Whether it matters who has an EIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// It does.
    Claim(Claim),
    /// It does not any longer.
    Release(IpAddr),
}

impl Orders {
    /// Both, one after the other.
    pub fn extend(&mut self, later: Self) {
        self.announce.extend(later.announce);
        self.cancel.extend(later.cancel);
        self.links.extend(later.links);
        self.watch.extend(later.watch);
        self.own = later.own.or(self.own.take());
    }
}

/// An EIP that another host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its Ethernet address.
    pub mac: Mac,
    /// The uplink on whose link it is.
    pub uplink: String,
}

/// The words of the map `ANSWERS`.
pub trait Answers {
    /// The word of a slot.
    fn get(&self, slot: u32) -> u64;
    /// Changes it.
    fn set(&mut self, slot: u32, uplinks: u64);
}

impl Answers for Kernel {
    fn get(&self, slot: u32) -> u64 {
        self.answers(slot)
    }

    fn set(&mut self, slot: u32, uplinks: u64) {
        self.set_answers(slot, uplinks);
    }
}

/// What is known of it.
#[derive(Debug, Default)]
pub struct Answering {
    mouths: Mouths,
    same_link: SameLink,
    /// The EIPs that are announced whoever has them.
    always: HashSet<IpAddr>,
    /// Those for which that changed.
    toggled: Vec<IpAddr>,
    /// Those of which it matters whether somebody else has them.
    claimed: HashSet<IpAddr>,
    conflicts: BTreeMap<IpAddr, Conflict>,
    /// Whether there is more to tell of conflicts.
    has_news: bool,
}

/// What a step did to EIPs.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    /// Those that began to be delivered, or go elsewhere.
    pub moved: Vec<IpAddr>,
    /// Those that nothing is delivered for any more.
    pub withdrawn: Vec<IpAddr>,
    /// Those that got an association.
    pub begun: Vec<IpAddr>,
    /// Those that lost theirs.
    pub ended: Vec<IpAddr>,
}

fn is_always(eip: &Eip) -> bool {
    eip.announce == Announce::Always
}

impl Answering {
    /// Takes note of a whole table.
    pub fn know(&mut self, model: &Model) {
        let always = model.eips.values().filter(|eip| is_always(eip));
        let always = always.map(|eip| eip.address).collect();
        let toggled = self.always.symmetric_difference(&always);
        self.toggled.extend(toggled.copied());
        self.always = always;
    }

    /// Takes note of changes.
    pub fn follow(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::Eip(diff) = change else { continue };
            let address = |eip: &Eip| is_always(eip).then_some(eip.address);
            let before = diff.before.as_ref().and_then(address);
            let after = diff.after.as_ref().and_then(address);
            if before != after {
                self.toggled.extend(before.into_iter().chain(after));
            }
            if let Some(address) = before {
                self.always.remove(&address);
            }
            self.always.extend(after);
        }
    }

    /// The EIPs that other hosts have.
    pub fn conflicts(&self) -> &BTreeMap<IpAddr, Conflict> {
        &self.conflicts
    }

    /// Whether there is something new to tell of them since this was asked last.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Carries out what a step did. `mouths`: the uplinks, if they may be others than before.
    pub fn step(
        &mut self,
        mouths: Option<Mouths>,
        moves: &Moves,
        content: &Content,
        answers: &mut impl Answers,
        orders: &mut Orders,
    ) {
        let all = self
            .mouths
            .all()
            .iter()
            .chain(mouths.iter().flat_map(Mouths::all));
        orders.links.extend(all.map(|mouth| mouth.key));
        for address in &moves.ended {
            self.drop(*address, content, answers, orders);
        }
        orders.cancel.extend(&moves.withdrawn);
        let others = mouths.filter(|mouths| *mouths != self.mouths);
        for address in std::mem::take(&mut self.toggled) {
            // Who is not to be announced whoever has it is asked for from the beginning.
            if !self.always.contains(&address)
                && let Some(eip) = Served::find(content, address)
            {
                answers.set(eip.slot, 0);
            }
            self.place(address, true, content, answers, orders);
        }
        let Some(mouths) = others else {
            for address in &moves.moved {
                self.place(*address, true, content, answers, orders);
            }
            for address in &moves.begun {
                self.place(*address, false, content, answers, orders);
            }
            return;
        };
        // Another uplink, another Ethernet address, a link that came back, or a daemon that just
        // started: neighbours may know another place of any EIP.
        let all_moved = mouths.announcing() != self.mouths.announcing();
        if all_moved {
            self.same_link.clear();
        }
        self.mouths = mouths;
        for address in all_of::<[u8; 4]>(content).chain(all_of::<[u8; 16]>(content)) {
            self.place(address, all_moved, content, answers, orders);
        }
    }

    /// Takes note of what the links say.
    pub fn hear(
        &mut self,
        news: &[AnnouncerEvent],
        content: &Content,
        answers: &mut impl Answers,
        orders: &mut Orders,
    ) {
        for one in news {
            match one {
                AnnouncerEvent::SameLink(one, two) => {
                    if self.same_link.insert((*one.min(two), *one.max(two))) {
                        for address in all_of::<[u8; 4]>(content).chain(all_of::<[u8; 16]>(content))
                        {
                            if matches!(self.mouths.spot(address, &self.same_link), Spot::Around(_))
                            {
                                self.place(address, true, content, answers, orders);
                            }
                        }
                    }
                }
                AnnouncerEvent::Verdict(verdict) => self.judge(verdict, content, answers, orders),
            }
        }
    }

    fn judge(
        &mut self,
        verdict: &Verdict,
        content: &Content,
        answers: &mut impl Answers,
        orders: &mut Orders,
    ) {
        let address = verdict.address;
        let Some(eip) = Served::find(content, address) else {
            return;
        };
        let Spot::On(mouth) = self.mouths.spot(address, &self.same_link) else {
            return;
        };
        if mouth.key != verdict.link || self.always.contains(&address) {
            return;
        }
        if let Some(mac) = verdict.holder {
            answers.set(eip.slot, 0);
            orders.cancel.push(address);
            let conflict = Conflict {
                mac: Mac(mac),
                uplink: mouth.name.clone(),
            };
            self.has_news |= self.conflicts.insert(address, conflict.clone()) != Some(conflict);
        } else {
            answers.set(eip.slot, mouth.bit);
            if eip.is_delivered {
                orders.announce.push((mouth.key, mouth.mac, address));
            }
            if self.conflicts.remove(&address).is_some() {
                info!(%address, uplink = mouth.name, "no other host has the EIP any more");
                self.has_news = true;
            }
        }
    }

    /// Has an EIP answered for where it is to be, and announced if it moved or was not answered
    /// for.
    fn place(
        &mut self,
        address: IpAddr,
        moved: bool,
        content: &Content,
        answers: &mut impl Answers,
        orders: &mut Orders,
    ) {
        let Some(eip) = Served::find(content, address) else {
            return;
        };
        let before = answers.get(eip.slot);
        let (bits, claim) = match self.mouths.spot(address, &self.same_link) {
            Spot::Nowhere => (0, None),
            Spot::On(mouth) if self.always.contains(&address) => (mouth.bit, None),
            Spot::On(mouth) => (mouth.bit, Some(claim(address, mouth, before != 0))),
            Spot::Around(bits) => (bits, None),
        };
        match claim {
            Some(claim) => {
                self.claimed.insert(address);
                orders.watch.push(Watch::Claim(claim));
                if !claim.held {
                    return;
                }
            }
            None => self.give_up(address, orders),
        }
        if bits == 0 {
            // Its uplinks may come back, and it is whose it was.
            return;
        }
        answers.set(eip.slot, bits);
        if eip.is_delivered && (moved || before == 0) {
            let mouths = self.mouths.with(bits);
            let announcements = mouths.map(|mouth| (mouth.key, mouth.mac, address));
            orders.announce.extend(announcements);
        }
    }

    /// An EIP has no association any more.
    fn drop(
        &mut self,
        address: IpAddr,
        content: &Content,
        answers: &mut impl Answers,
        orders: &mut Orders,
    ) {
        if let Some(slot) = slot_of(content, address) {
            answers.set(slot, 0);
        }
        orders.cancel.push(address);
        self.give_up(address, orders);
    }

    /// Whether somebody else has it does not matter.
    fn give_up(&mut self, address: IpAddr, orders: &mut Orders) {
        if self.claimed.remove(&address) {
            orders.watch.push(Watch::Release(address));
            self.has_news |= self.conflicts.remove(&address).is_some();
        }
    }
}

fn claim(address: IpAddr, mouth: &Mouth, held: bool) -> Claim {
    Claim {
        address,
        link: mouth.key,
        home: mouth.home.unwrap_or(mouth.key.ifindex),
        mac: mouth.mac,
        held,
    }
}

/// An EIP with an association.
#[derive(Clone, Copy)]
struct Served {
    slot: u32,
    /// Whether packets for it go anywhere.
    is_delivered: bool,
}

impl Served {
    fn find(content: &Content, address: IpAddr) -> Option<Self> {
        let (mode, slot, target) = entry(content, address)?;
        (mode != EipMode::Unassociated as u8).then_some(Self {
            slot,
            is_delivered: target != NONE,
        })
    }
}

fn slot_of(content: &Content, address: IpAddr) -> Option<u32> {
    entry(content, address).map(|(_, slot, _)| slot)
}

fn entry(content: &Content, address: IpAddr) -> Option<(u8, u32, u32)> {
    match address {
        IpAddr::V4(v4) => {
            let eip = content.v4.eips.get(&v4.octets())?;
            Some((eip.mode, eip.slot, eip.target))
        }
        IpAddr::V6(v6) => {
            let eip = content.v6.eips.get(&v6.octets())?;
            Some((eip.mode, eip.slot, eip.target))
        }
    }
}

fn all_of<A: Address>(content: &Content) -> impl Iterator<Item = IpAddr> + '_ {
    A::part(content).eips.keys().map(|address| address.ip())
}

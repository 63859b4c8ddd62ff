//! From what the kernel has to what is wanted, in an order in which every step is safe.
//!
//! Writes to several maps cannot be made at one instant. So they come in phases such that after
//! each write no EIP has two owners, and nothing leads to an ENI that neither the old nor the new
//! table gives it:
//!
//! 1. *Withdraw*: an address that loses its EIP, its ENI or both is cut off; an EIP that nothing is
//!    delivered for any more is silenced or deleted; a port or a MAC that goes can send no more.
//! 2. *Prepare*: targets, VPCs, ports, uplinks and prefixes that are new or changed. An index never
//!    changes its owner while anything leads to it (see [`Indexes`](crate::compile::Indexes)), so
//!    changing a target moves one ENI.
//! 3. *EIPs* that begin to be delivered or move, each by one atomic write.
//! 4. *Addresses* that gain an EIP or an ENI: only now can they send as the EIP.
//! 5. *Clean up*: what nothing leads to any more.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet, btree_map},
    iter::Peekable,
};

use eip_dp_common::abi::{Checksummed, NONE, SourceState};

use crate::compile::{Address, Content, Eip, FamilyContent, FamilyWrite, InVpc, Private, Write};

/// Who takes the writes of a plan, in order.
pub trait Sink {
    /// Takes the next one.
    fn push(&mut self, write: Write);
}

impl Sink for Vec<Write> {
    fn push(&mut self, write: Write) {
        Vec::push(self, write);
    }
}

/// The writes that turn `have` into `want`, in order.
pub fn plan(want: &Content, have: &Content) -> Vec<Write> {
    let mut writes = Vec::new();
    plan_into(want, have, &mut writes);
    writes
}

/// The same, handed over one by one: those of a large table need not be in memory all at once.
pub fn plan_into(want: &Content, have: &Content, writes: &mut impl Sink) {
    let v4 = Change::<[u8; 4]>::new(want, have);
    let v6 = Change::<[u8; 16]>::new(want, have);
    let done = (v4.withdraw(writes), v6.withdraw(writes));
    withdraw(want, have, writes);
    v4.prepare(writes);
    v6.prepare(writes);
    prepare(want, have, writes);
    v4.eips(&done.0, writes);
    v6.eips(&done.1, writes);
    v4.addresses(&done.0, writes);
    v6.addresses(&done.1, writes);
    v4.clean_up(writes);
    v6.clean_up(writes);
    clean_up(want, have, writes);
}

/// The change of one family's maps.
struct Change<'a, A: Ord> {
    want: &'a FamilyContent<A>,
    have: &'a FamilyContent<A>,
}

/// What the first phase brought to its final state already.
struct Done<A> {
    eips: HashSet<A>,
    private: HashSet<InVpc<A>>,
}

impl<'a, A: Address> Change<'a, A> {
    fn new(want: &'a Content, have: &'a Content) -> Self {
        Self {
            want: A::part(want),
            have: A::part(have),
        }
    }

    fn withdraw(&self, writes: &mut impl Sink) -> Done<A> {
        let mut done = Done {
            eips: HashSet::new(),
            private: HashSet::new(),
        };
        let mut write = |write| writes.push(A::write(write));
        for (key, new, old) in there_already(&self.want.private, &self.have.private) {
            match new {
                None => write(FamilyWrite::Private(*key, None)),
                Some(new) if new == old => {}
                Some(new) if !is_owner(new) && (new.target == old.target || new.target == NONE) => {
                    done.private.insert(*key);
                    write(FamilyWrite::Private(*key, Some(*new)));
                }
                Some(new) => {
                    let between = between(new, old).sealed(key);
                    if between != *old {
                        write(FamilyWrite::Private(*key, Some(between)));
                    }
                }
            }
        }
        for (address, new, old) in there_already(&self.want.eips, &self.have.eips) {
            match new {
                None => write(FamilyWrite::Eip(*address, None)),
                Some(new) if new != old && new.target == NONE && new.slot == old.slot => {
                    done.eips.insert(*address);
                    write(FamilyWrite::Eip(*address, Some(*new)));
                }
                Some(_) => {}
            }
        }
        done
    }

    fn prepare(&self, writes: &mut impl Sink) {
        let (want, have) = (self.want, self.have);
        let cidr = |key, value| A::write(FamilyWrite::Cidr(key, value));
        // From the last: one that moves back is there before another takes its place.
        let mut cidrs = Vec::new();
        upserts(&want.cidrs, &have.cidrs, cidr, &mut cidrs);
        for write in cidrs.into_iter().rev() {
            writes.push(write);
        }
        let prefix = |key, value| A::write(FamilyWrite::Prefix(key, value));
        upserts(&want.prefixes, &have.prefixes, prefix, writes);
        for (word, bits) in &want.prefilter {
            let old = have.prefilter.get(word).copied().unwrap_or_default();
            if old | bits != old {
                writes.push(A::write(FamilyWrite::Screen(*word, old | bits)));
            }
        }
        let begins = |(address, new, old): (&A, Option<&Eip<A>>, Option<&Eip<A>>)| {
            let slot = new?.slot;
            old.is_none_or(|old| old.slot != slot)
                .then_some((*address, slot))
        };
        let mut begin = both(&want.eips, &have.eips).filter_map(begins).peekable();
        if begin.peek().is_none() {
            return;
        }
        // Who lost only its entry goes on counting where its address does.
        let senders = have.private.values().filter(|entry| is_owner(entry));
        let senders: HashSet<_> = senders.map(|entry| (entry.public, entry.slot)).collect();
        for one in begin.filter(|one| !senders.contains(one)) {
            writes.push(Write::ClearCounters(one.1));
        }
    }

    fn eips(&self, done: &Done<A>, writes: &mut impl Sink) {
        for (address, new, old) in both(&self.want.eips, &self.have.eips) {
            if new.is_some() && new != old && !done.eips.contains(address) {
                writes.push(A::write(FamilyWrite::Eip(*address, new.copied())));
            }
        }
    }

    fn addresses(&self, done: &Done<A>, writes: &mut impl Sink) {
        for (key, new, old) in both(&self.want.private, &self.have.private) {
            if new.is_some() && new != old && !done.private.contains(key) {
                writes.push(A::write(FamilyWrite::Private(*key, new.copied())));
            }
        }
    }

    fn clean_up(&self, writes: &mut impl Sink) {
        let (want, have) = (self.want, self.have);
        for (word, old) in &have.prefilter {
            let bits = want.prefilter.get(word).copied().unwrap_or_default();
            if old & !bits != 0 {
                writes.push(A::write(FamilyWrite::Screen(*word, bits)));
            }
        }
        let prefix = |key, value| A::write(FamilyWrite::Prefix(key, value));
        removals(&want.prefixes, &have.prefixes, prefix, writes);
        let cidr = |key, value| A::write(FamilyWrite::Cidr(key, value));
        removals(&want.cidrs, &have.cidrs, cidr, writes);
    }
}

/// Whether packets from the address leave as an EIP.
fn is_owner<A>(entry: &Private<A>) -> bool {
    matches!(
        SourceState::from_value(entry.state),
        Some(SourceState::Nat | SourceState::CutThrough)
    )
}

/// The address between two owners: with its ENI if that stays, without an EIP if that changes.
fn between<A: Address>(new: &Private<A>, old: &Private<A>) -> Private<A> {
    let none = Private {
        public: A::default(),
        slot: NONE,
        target: NONE,
        delta: 0,
        state: SourceState::Detached as u8,
        reserved: 0,
        seal: 0,
    };
    if new.target != old.target {
        return none;
    }
    if is_owner(old) && (old.public, old.state) == (new.public, new.state) {
        return *old;
    }
    match SourceState::from_value(old.state) {
        Some(SourceState::Nat) => Private {
            target: old.target,
            state: SourceState::NoEip as u8,
            ..none
        },
        Some(SourceState::CutThrough) | None => none,
        Some(_) => *old,
    }
}

/// What both families share loses its senders.
fn withdraw(want: &Content, have: &Content, writes: &mut impl Sink) {
    removals(&want.ports, &have.ports, Write::Port, writes);
    for (key, new, old) in there_already(&want.macs, &have.macs) {
        if new.is_none_or(|new| new.target != old.target) {
            writes.push(Write::Mac(*key, None));
        }
    }
}

fn prepare(want: &Content, have: &Content, writes: &mut impl Sink) {
    for device in want.devices.difference(&have.devices) {
        writes.push(Write::Device(*device, true));
    }
    upserts(&want.vpcs, &have.vpcs, Write::Vpc, writes);
    upserts(&want.targets, &have.targets, Write::Target, writes);
    upserts(&want.ports, &have.ports, Write::Port, writes);
    upserts(&want.macs, &have.macs, Write::Mac, writes);
    upserts(&want.uplinks, &have.uplinks, Write::Uplink, writes);
}

fn clean_up(want: &Content, have: &Content, writes: &mut impl Sink) {
    removals(&want.uplinks, &have.uplinks, Write::Uplink, writes);
    for device in have.devices.difference(&want.devices) {
        writes.push(Write::Device(*device, false));
    }
    removals(&want.targets, &have.targets, Write::Target, writes);
    removals(&want.vpcs, &have.vpcs, Write::Vpc, writes);
}

fn upserts<K: Ord + Copy, V: PartialEq + Copy>(
    want: &BTreeMap<K, V>,
    have: &BTreeMap<K, V>,
    write: fn(K, Option<V>) -> Write,
    writes: &mut impl Sink,
) {
    for (key, new, old) in both(want, have) {
        if new.is_some() && new != old {
            writes.push(write(*key, new.copied()));
        }
    }
}

fn removals<K: Ord + Copy, V>(
    want: &BTreeMap<K, V>,
    have: &BTreeMap<K, V>,
    write: fn(K, Option<V>) -> Write,
    writes: &mut impl Sink,
) {
    for (key, new, _) in there_already(want, have) {
        if new.is_none() {
            writes.push(write(*key, None));
        }
    }
}

/// The elements of two maps side by side, each key once, in order: so a large map is gone through,
/// not searched.
pub fn both<'a, K: Ord, V>(want: &'a BTreeMap<K, V>, have: &'a BTreeMap<K, V>) -> Both<'a, K, V> {
    Both {
        want: want.iter().peekable(),
        have: have.iter().peekable(),
    }
}

/// The elements of `have` with what becomes of them, in order. Costs nothing where there is none.
fn there_already<'a, K: Ord, V>(
    want: &'a BTreeMap<K, V>,
    have: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, &'a V)> {
    let pairs = (!have.is_empty()).then(|| both(want, have));
    let pairs = pairs.into_iter().flatten();
    pairs.filter_map(|(key, new, old)| Some((key, new, old?)))
}

/// See [`both`].
pub struct Both<'a, K, V> {
    want: Peekable<btree_map::Iter<'a, K, V>>,
    have: Peekable<btree_map::Iter<'a, K, V>>,
}

impl<'a, K: Ord, V> Iterator for Both<'a, K, V> {
    type Item = (&'a K, Option<&'a V>, Option<&'a V>);

    fn next(&mut self) -> Option<Self::Item> {
        let order = match (self.want.peek(), self.have.peek()) {
            (Some((want, _)), Some((have, _))) => want.cmp(have),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let want = self.want.next_if(|_| order.is_le());
        let have = self.have.next_if(|_| order.is_ge());
        let key = want.or(have)?.0;
        Some((
            key,
            want.map(|(_, value)| value),
            have.map(|(_, value)| value),
        ))
    }
}

#[cfg(test)]
mod tests;

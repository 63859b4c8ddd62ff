//! From what the kernel has to what is wanted, in an order in which every step is safe.
//!
//! Writes to several maps cannot be made at one instant. So they come in phases such that after each write no EIP has
//! two owners, and nothing leads to an ENI that neither the old nor the new table gives it:
//!
//! 1. *Withdraw*: an address that loses its EIP, its ENI or both is cut off; an EIP that nothing is delivered for any
//!    more is silenced or deleted; a port or a MAC that goes can send no more.
//! 2. *Prepare*: targets, VPCs, ports, uplinks and prefixes that are new or changed. An index never changes its owner
//!    while anything leads to it (see [`Indexes`](crate::image::Indexes)), so changing a target moves one ENI.
//! 3. *EIPs* that begin to be delivered or move, each by one atomic write.
//! 4. *Addresses* that gain an EIP or an ENI: only now can they send as the EIP.
//! 5. *Clean up*: what nothing leads to any more.

use std::collections::{BTreeMap, HashSet};

use eip_dp_common::abi::{NONE, PrivateState, Sealed};

use crate::image::{Address, Content, FamilyContent, FamilyWrite, InVpc, Private, Write};

/// The writes that turn `have` into `want`, in order.
pub fn plan(want: &Content, have: &Content) -> Vec<Write> {
    let v4 = Change::<[u8; 4]>::new(want, have);
    let v6 = Change::<[u8; 16]>::new(want, have);
    let mut writes = Vec::new();
    let done = (v4.withdraw(&mut writes), v6.withdraw(&mut writes));
    withdraw(want, have, &mut writes);
    v4.prepare(&mut writes);
    v6.prepare(&mut writes);
    prepare(want, have, &mut writes);
    v4.eips(&done.0, &mut writes);
    v6.eips(&done.1, &mut writes);
    v4.addresses(&done.0, &mut writes);
    v6.addresses(&done.1, &mut writes);
    v4.clean_up(&mut writes);
    v6.clean_up(&mut writes);
    clean_up(want, have, &mut writes);
    writes
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

    fn withdraw(&self, writes: &mut Vec<Write>) -> Done<A> {
        let mut done = Done {
            eips: HashSet::new(),
            private: HashSet::new(),
        };
        let mut write = |write| writes.push(A::write(write));
        for (key, old) in &self.have.private {
            match self.want.private.get(key) {
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
        for (address, old) in &self.have.eips {
            match self.want.eips.get(address) {
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

    fn prepare(&self, writes: &mut Vec<Write>) {
        let (want, have) = (self.want, self.have);
        let cidr = |key, value| A::write(FamilyWrite::Cidr(key, value));
        upserts(&want.cidrs, &have.cidrs, cidr, writes);
        let prefix = |key, value| A::write(FamilyWrite::Prefix(key, value));
        upserts(&want.prefixes, &have.prefixes, prefix, writes);
        for (word, bits) in &want.screen {
            let old = have.screen.get(word).copied().unwrap_or_default();
            if old | bits != old {
                writes.push(A::write(FamilyWrite::Screen(*word, old | bits)));
            }
        }
        for (address, new) in &want.eips {
            let old = have.eips.get(address);
            if old.is_none_or(|old| old.slot != new.slot) {
                writes.push(Write::ClearCounters(new.slot));
            }
        }
    }

    fn eips(&self, done: &Done<A>, writes: &mut Vec<Write>) {
        for (address, entry) in &self.want.eips {
            if self.have.eips.get(address) != Some(entry) && !done.eips.contains(address) {
                writes.push(A::write(FamilyWrite::Eip(*address, Some(*entry))));
            }
        }
    }

    fn addresses(&self, done: &Done<A>, writes: &mut Vec<Write>) {
        for (key, entry) in &self.want.private {
            if self.have.private.get(key) != Some(entry) && !done.private.contains(key) {
                writes.push(A::write(FamilyWrite::Private(*key, Some(*entry))));
            }
        }
    }

    fn clean_up(&self, writes: &mut Vec<Write>) {
        let (want, have) = (self.want, self.have);
        for (word, old) in &have.screen {
            let bits = want.screen.get(word).copied().unwrap_or_default();
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
        PrivateState::from_value(entry.state),
        Some(PrivateState::Nat | PrivateState::CutThrough)
    )
}

/// The address between two owners: with its ENI if that stays, without an EIP if that changes.
fn between<A: Address>(new: &Private<A>, old: &Private<A>) -> Private<A> {
    let none = Private {
        public: A::default(),
        slot: NONE,
        target: NONE,
        delta: 0,
        state: PrivateState::Detached as u8,
        reserved: 0,
        seal: 0,
    };
    if new.target != old.target {
        return none;
    }
    if is_owner(old) && (old.public, old.state) == (new.public, new.state) {
        return *old;
    }
    match PrivateState::from_value(old.state) {
        Some(PrivateState::Nat) => Private {
            target: old.target,
            state: PrivateState::NoEip as u8,
            ..none
        },
        Some(PrivateState::CutThrough) | None => none,
        Some(_) => *old,
    }
}

/// What both families share loses its senders.
fn withdraw(want: &Content, have: &Content, writes: &mut Vec<Write>) {
    removals(&want.ports, &have.ports, Write::Port, writes);
    for (key, old) in &have.macs {
        let new = want.macs.get(key);
        if new.is_none_or(|new| new.target != old.target) {
            writes.push(Write::Mac(*key, None));
        }
    }
}

fn prepare(want: &Content, have: &Content, writes: &mut Vec<Write>) {
    for device in want.devices.difference(&have.devices) {
        writes.push(Write::Device(*device, true));
    }
    upserts(&want.vpcs, &have.vpcs, Write::Vpc, writes);
    upserts(&want.targets, &have.targets, Write::Target, writes);
    upserts(&want.ports, &have.ports, Write::Port, writes);
    upserts(&want.macs, &have.macs, Write::Mac, writes);
    upserts(&want.uplinks, &have.uplinks, Write::Uplink, writes);
}

fn clean_up(want: &Content, have: &Content, writes: &mut Vec<Write>) {
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
    writes: &mut Vec<Write>,
) {
    for (key, value) in want {
        if have.get(key) != Some(value) {
            writes.push(write(*key, Some(*value)));
        }
    }
}

fn removals<K: Ord + Copy, V>(
    want: &BTreeMap<K, V>,
    have: &BTreeMap<K, V>,
    write: fn(K, Option<V>) -> Write,
    writes: &mut Vec<Write>,
) {
    for key in have.keys().filter(|key| !want.contains_key(key)) {
        writes.push(write(*key, None));
    }
}

#[cfg(test)]
mod tests;

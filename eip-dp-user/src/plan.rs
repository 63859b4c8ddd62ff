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

use crate::image::{Address, Content, InVpc, Private, Write};

/// The writes that turn `have` into `want`, in order.
pub fn plan(want: &Content, have: &Content) -> Vec<Write> {
    let mut writes = Vec::new();
    let done = withdraw(want, have, &mut writes);
    prepare(want, have, &mut writes);
    for (address, entry) in &want.eips {
        if have.eips.get(address) != Some(entry) && !done.eips.contains(address) {
            writes.push(Write::Eip(*address, Some(*entry)));
        }
    }
    for (key, entry) in &want.private {
        if have.private.get(key) != Some(entry) && !done.private.contains(key) {
            writes.push(Write::Private(*key, Some(*entry)));
        }
    }
    clean_up(want, have, &mut writes);
    writes
}

/// What the first phase brought to its final state already.
#[derive(Default)]
struct Done {
    eips: HashSet<Address>,
    private: HashSet<InVpc>,
}

fn withdraw(want: &Content, have: &Content, writes: &mut Vec<Write>) -> Done {
    let mut done = Done::default();
    for (key, old) in &have.private {
        match want.private.get(key) {
            None => writes.push(Write::Private(*key, None)),
            Some(new) if new == old => {}
            Some(new) if !is_owner(new) && (new.target == old.target || new.target == NONE) => {
                done.private.insert(*key);
                writes.push(Write::Private(*key, Some(*new)));
            }
            Some(new) => {
                let between = between(new, old).sealed(key);
                if between != *old {
                    writes.push(Write::Private(*key, Some(between)));
                }
            }
        }
    }
    for (address, old) in &have.eips {
        match want.eips.get(address) {
            None => writes.push(Write::Eip(*address, None)),
            Some(new) if new != old && new.target == NONE && new.slot == old.slot => {
                done.eips.insert(*address);
                writes.push(Write::Eip(*address, Some(*new)));
            }
            Some(_) => {}
        }
    }
    removals(&want.ports, &have.ports, Write::Port, writes);
    for (key, old) in &have.macs {
        if want
            .macs
            .get(key)
            .is_none_or(|new| new.target != old.target)
        {
            writes.push(Write::Mac(*key, None));
        }
    }
    done
}

/// Whether packets from the address leave as an EIP.
fn is_owner(entry: &Private) -> bool {
    matches!(
        PrivateState::from_value(entry.state),
        Some(PrivateState::Nat | PrivateState::CutThrough)
    )
}

/// The address between two owners: with its ENI if that stays, without an EIP if that changes.
fn between(new: &Private, old: &Private) -> Private {
    let none = Private {
        public: [0; 4],
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

fn prepare(want: &Content, have: &Content, writes: &mut Vec<Write>) {
    for device in want.devices.difference(&have.devices) {
        writes.push(Write::Device(*device, true));
    }
    upserts(&want.vpcs, &have.vpcs, Write::Vpc, writes);
    upserts(&want.cidrs, &have.cidrs, Write::Cidr, writes);
    upserts(&want.targets, &have.targets, Write::Target, writes);
    upserts(&want.ports, &have.ports, Write::Port, writes);
    upserts(&want.macs, &have.macs, Write::Mac, writes);
    upserts(&want.uplinks, &have.uplinks, Write::Uplink, writes);
    upserts(&want.prefixes, &have.prefixes, Write::Prefix, writes);
    for (word, bits) in &want.screen {
        let old = have.screen.get(word).copied().unwrap_or_default();
        if old | bits != old {
            writes.push(Write::Screen(*word, old | bits));
        }
    }
    for (address, new) in &want.eips {
        if have
            .eips
            .get(address)
            .is_none_or(|old| old.slot != new.slot)
        {
            writes.push(Write::ClearCounters(new.slot));
        }
    }
}

fn clean_up(want: &Content, have: &Content, writes: &mut Vec<Write>) {
    for (word, old) in &have.screen {
        let bits = want.screen.get(word).copied().unwrap_or_default();
        if old & !bits != 0 {
            writes.push(Write::Screen(*word, bits));
        }
    }
    removals(&want.prefixes, &have.prefixes, Write::Prefix, writes);
    removals(&want.uplinks, &have.uplinks, Write::Uplink, writes);
    for device in have.devices.difference(&want.devices) {
        writes.push(Write::Device(*device, false));
    }
    removals(&want.targets, &have.targets, Write::Target, writes);
    removals(&want.cidrs, &have.cidrs, Write::Cidr, writes);
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

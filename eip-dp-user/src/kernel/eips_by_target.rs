//! Whose the EIPs are whose entries say where the ENI is, and not which target it has: when a
//! target moves, they move along.

use std::collections::HashMap;

use eip_dp_common::abi::NONE;

use super::mapped::fetch;

/// The targets of the EIPs, by slot.
#[derive(Debug, Default)]
pub(super) struct EipsByTarget {
    /// Empty until somebody writes.
    targets: Vec<u32>,
    /// Targets that stand elsewhere by now than entries say.
    moved: Vec<u32>,
}

/// The targets, by where they are: the bits of a [`eip_dp_common::abi::NextHop`] that an entry has.
pub(super) type TargetsByNextHop = HashMap<u64, u32>;

impl EipsByTarget {
    /// Whether [`Self::know`] was called.
    pub(super) fn are_known(&self) -> bool {
        !self.targets.is_empty()
    }

    /// Begins, with so many slots and nobody's.
    pub(super) fn know(&mut self, slots: u32) {
        self.targets = vec![NONE; slots as usize];
    }

    /// Has the processor fetch what [`Self::set`] needs soon.
    pub(super) fn fetch(&self, slot: u32) {
        fetch(self.targets.get(slot as usize));
    }

    /// The EIP with that slot has this target now, or [`NONE`].
    pub(super) fn set(&mut self, slot: u32, target: u32) {
        if let Some(place) = self.targets.get_mut(slot as usize) {
            *place = target;
        }
    }

    /// The target of the EIP with that slot.
    pub(super) fn of(&self, slot: u32) -> u32 {
        self.targets.get(slot as usize).copied().unwrap_or(NONE)
    }

    /// A target stands elsewhere.
    pub(super) fn moves(&mut self, target: u32) {
        self.moved.push(target);
    }

    /// The targets that moved since this was asked.
    pub(super) fn take_moved(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.moved)
    }
}

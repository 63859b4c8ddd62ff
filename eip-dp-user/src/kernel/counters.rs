//! The EIPs' counters.
//!
//! What an EIP receives is counted at its slot. What it sends is counted at its *out slot*, so that
//! both are where programs look first: the one by the EIP, the other by the private address. An EIP
//! gets its out slot with its first private address and keeps it as long as its slot.

use std::ops::Range;

use aya::maps::MapError;
use eip_dp_common::{
    abi::{CounterOverflow, EipCounters, Flow, NONE, PackedCounter, maps},
    cuckoo::SLOTS,
};

use super::{
    PlaneError,
    kernel_maps::broken,
    mapped::{Mapped, Words as _},
    source::Source,
};
use crate::places::Places;

/// The maps.
pub(super) struct Counters {
    received: Mapped<PackedCounter>,
    sent: Mapped<PackedCounter>,
    overflow: Mapped<[CounterOverflow; 2]>,
    dropped: Mapped<[u64; 2]>,
    out_slots: Mapped<[u32; 2]>,
    /// Which out slots nobody has, once it was asked for.
    free: Option<Places>,
    /// How many there are of each CPU, see [`PackedCounter::row`].
    slots: u32,
    /// Whether there is a row of what was counted in maps before.
    carries: bool,
}

/// What is counted of an EIP: the number is where what all CPUs count has it.
#[derive(Clone, Copy)]
enum Way {
    In = 0,
    Out = 1,
}

impl Counters {
    pub(super) fn open(source: &Source<'_>, carries: bool) -> Result<Self, PlaneError> {
        let dropped: Mapped<[u64; 2]> = source.mapped(maps::EIP_DROPS)?;
        Ok(Self {
            slots: dropped.elements() / rows_for_all(carries),
            received: source.mapped(maps::EIP_IN)?,
            sent: source.mapped(maps::EIP_OUT)?,
            overflow: source.mapped(maps::EIP_OVERFLOW)?,
            dropped,
            out_slots: source.mapped(maps::OUT_SLOTS)?,
            free: None,
            carries,
        })
    }

    /// How many slots there is room for.
    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    /// A slot's, of all CPUs, and of maps before if `whole`.
    pub(super) fn of(&self, slot: u32, whole: bool) -> Result<EipCounters, PlaneError> {
        if slot >= self.slots {
            return Err(broken(
                maps::EIP_DROPS,
                &MapError::OutOfBounds {
                    index: slot,
                    max_entries: self.slots,
                },
            ));
        }
        let carried = self.carries && whole;
        let (received, in_dropped) = self.counted(Way::In, slot, carried);
        let out = self.out_slot(slot);
        let (sent, out_dropped) = out
            .map(|out| self.counted(Way::Out, out, carried))
            .unwrap_or_default();
        Ok(EipCounters {
            in_packets: received.packets,
            in_bytes: received.bytes,
            in_dropped,
            out_packets: sent.packets,
            out_bytes: sent.bytes,
            out_dropped,
        })
    }

    /// Sets what was counted of a slot's EIP in maps before.
    pub(super) fn carry(&mut self, slot: u32, before: &EipCounters) {
        let received = Flow {
            packets: before.in_packets,
            bytes: before.in_bytes,
        };
        self.carry_way(Way::In, slot, received, before.in_dropped);
        let sent = Flow {
            packets: before.out_packets,
            bytes: before.out_bytes,
        };
        let has_sent = sent != Flow::default() || before.out_dropped != 0;
        let mut out = self.out_slot(slot);
        if out.is_none() && has_sent {
            let anywhere = 0..0;
            out = self.new_out_slot(slot, anywhere);
        }
        if let Some(out) = out {
            self.carry_way(Way::Out, out, sent, before.out_dropped);
        }
    }

    /// Makes a slot's 0, because another EIP gets it, and no program counts there.
    pub(super) fn clear(&mut self, slot: u32) {
        self.clear_way(Way::In, slot);
        let Some(out) = self.out_slot(slot) else {
            return;
        };
        self.clear_way(Way::Out, out);
        self.set_out_slot(slot, None);
        if let Some(free) = &mut self.free {
            free.give_back(out);
        }
    }

    /// Has the processor fetch what [`Self::out_slot_at`] needs soon.
    pub(super) fn fetch(&self, slot: u32) {
        self.out_slots.fetch(slot as usize / 2);
    }

    /// The out slot of a slot; it gets one if it has none, one at home if such a one is free.
    pub(super) fn out_slot_at(&mut self, slot: u32, home: Range<u32>) -> Option<u32> {
        self.out_slot(slot)
            .or_else(|| self.new_out_slot(slot, home))
    }

    /// The slots, by their out slots; [`NONE`] for those that nobody has.
    pub(super) fn by_out_slot(&self) -> Vec<u32> {
        let mut slots = vec![NONE; self.slots as usize];
        for slot in 0..self.slots {
            let out = self.out_slot(slot);
            if let Some(place) = out.and_then(|out| slots.get_mut(out as usize)) {
                *place = slot;
            }
        }
        slots
    }

    fn new_out_slot(&mut self, slot: u32, home: Range<u32>) -> Option<u32> {
        if slot >= self.slots {
            return None;
        }
        let mut free = self.free.take().unwrap_or_else(|| {
            let mut free = Places::new(0, self.slots.min(SLOTS));
            for out in (0..self.slots).filter_map(|slot| self.out_slot(slot)) {
                free.claim(out);
            }
            free
        });
        let out = free.claim_one_of(home).or_else(|| free.claim_any());
        self.free = Some(free);
        self.set_out_slot(slot, out);
        out
    }

    fn out_slot(&self, slot: u32) -> Option<u32> {
        self.out_slots.get(slot / 2)[slot as usize % 2].checked_sub(1)
    }

    fn set_out_slot(&self, slot: u32, out: Option<u32>) {
        let mut both = self.out_slots.get(slot / 2);
        both[slot as usize % 2] = out.map_or(0, |out| out + 1);
        self.out_slots.set(slot / 2, &both);
    }

    fn words(&self, way: Way) -> &Mapped<PackedCounter> {
        match way {
            Way::In => &self.received,
            Way::Out => &self.sent,
        }
    }

    /// What was counted at a slot, and what was dropped.
    fn counted(&self, way: Way, slot: u32, carried: bool) -> (Flow, u64) {
        let mut flow = steady(|| self.now(way, slot));
        let mut dropped = self.dropped.get(slot)[way as usize];
        if carried {
            let word = self.words(way).get(self.carried_word(slot));
            let overflow = self.overflow.get(self.slots + slot)[way as usize];
            flow = flow.plus(word.flow()).plus(overflow.flow());
            let before = self.dropped.get(self.slots + slot)[way as usize];
            dropped = dropped.wrapping_add(before);
        }
        (flow, dropped)
    }

    fn now(&self, way: Way, slot: u32) -> Flow {
        let words = self.words(way);
        let overflow = self.overflow.get(slot)[way as usize].flow();
        (0..self.cpus())
            .map(|cpu| {
                words
                    .get(PackedCounter::index(self.slots, cpu, slot))
                    .flow()
            })
            .fold(overflow, Flow::plus)
    }

    fn carry_way(&self, way: Way, slot: u32, flow: Flow, dropped: u64) {
        let (word, overflow) = flow.split();
        self.words(way).set(self.carried_word(slot), &word);
        let element = self.slots + slot;
        self.overflow.set_part(element, way as usize, &overflow);
        self.dropped.set_part(element, way as usize, &dropped);
    }

    /// Of the two words that all CPUs count at a slot only this one: the other is another EIP's.
    fn clear_way(&self, way: Way, slot: u32) {
        let words = self.words(way);
        for row in 0..self.cpus() + u32::from(self.carries) {
            let index = PackedCounter::index(self.slots, row, slot);
            words.set(index, &PackedCounter::default());
        }
        for row in 0..rows_for_all(self.carries) {
            let element = row * self.slots + slot;
            self.overflow
                .set_part(element, way as usize, &CounterOverflow::default());
            self.dropped.set_part(element, way as usize, &0);
        }
    }

    /// How many CPUs count.
    fn cpus(&self) -> u32 {
        let rows = self.received.elements().checked_div(self.slots);
        rows.unwrap_or(0).saturating_sub(self.carries.into())
    }

    /// Behind the CPUs'.
    fn carried_word(&self, slot: u32) -> u32 {
        PackedCounter::index(self.slots, self.cpus(), slot)
    }
}

/// The rows of what all CPUs count: what programs do, and what was counted in maps before.
pub(super) const fn rows_for_all(carries: bool) -> u32 {
    1 + carries as u32
}

/// What is seen of a flow in a look with one before it that saw no more and one after it that saw
/// no less. A program that adds to the halves and has not yet taken from its word is seen twice,
/// one that has meanwhile not at all: never in all three, unless its processor stands still in
/// between.
fn steady(mut look: impl FnMut() -> Flow) -> Flow {
    let is_in_order = |one: &Flow, two: &Flow| one.packets <= two.packets && one.bytes <= two.bytes;
    let (mut first, mut second) = (look(), look());
    loop {
        let third = look();
        if is_in_order(&first, &second) && is_in_order(&second, &third) {
            return second;
        }
        (first, second) = (second, third);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whichever look falls into the moment in which a half is counted twice, or is not seen.
    #[test]
    fn a_half_is_not_counted_twice() {
        const RIGHT: u64 = 1_000;
        for half in [1_i64 << 25, -(1 << 25)] {
            for wrong in 0..4 {
                let mut looks = 0..;
                let flow = steady(|| {
                    let is_wrong = looks.next() == Some(wrong);
                    let off = if is_wrong { half } else { 0 };
                    Flow {
                        packets: (1_u64 << 26).wrapping_add(RIGHT).wrapping_add_signed(off),
                        bytes: 7,
                    }
                });
                assert_eq!(flow.packets, (1 << 26) + RIGHT, "{half} in look {wrong}");
            }
        }
    }
}

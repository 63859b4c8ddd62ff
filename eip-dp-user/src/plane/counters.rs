//! The EIPs' counters.
//!
//! What an EIP receives is counted at its slot. What it sends is counted at its *out slot*, so that both are where programs look
//! first: the one by the EIP, the other by the private address. An EIP gets its out slot with its first private address and
//! keeps it as long as its slot.

use std::ops::Range;

use aya::maps::MapError;
use eip_dp_common::{
    abi::{EipCounters, Flow, NONE, maps},
    index::SLOTS,
};

use super::{PlaneError, kernel::broken, mapped::Mapped, source::Source};
use crate::places::Places;

/// The maps.
pub(super) struct Counters {
    received: Mapped<Flow>,
    sent: Mapped<Flow>,
    dropped: Mapped<[u64; 2]>,
    out_slots: Mapped<[u32; 2]>,
    /// Which out slots nobody has, once it was asked for.
    free: Option<Places>,
    /// How many there are of each CPU, see [`Flow::row`].
    slots: u32,
    /// Whether there is a row of what was counted in maps before.
    carries: bool,
}

impl Counters {
    pub(super) fn open(source: &Source<'_>, carries: bool) -> Result<Self, PlaneError> {
        let dropped: Mapped<[u64; 2]> = source.mapped(maps::EIP_DROPS)?;
        Ok(Self {
            slots: dropped.elements() / rows_of_drops(carries),
            received: source.mapped(maps::EIP_IN)?,
            sent: source.mapped(maps::EIP_OUT)?,
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
        let whole = whole || !self.carries;
        let rows = self.rows() - u32::from(!whole);
        let dropped = |slot: u32, direction: usize| {
            let now = self.dropped.get(slot)[direction];
            let before = self.dropped.get(self.slots + slot)[direction];
            now.wrapping_add(if whole { before } else { 0 })
        };
        let received = self.total(&self.received, slot, rows);
        let out = self.out_slot(slot);
        let sent = out.map_or_else(Flow::default, |out| self.total(&self.sent, out, rows));
        Ok(EipCounters {
            in_packets: received.packets,
            in_bytes: received.bytes,
            in_dropped: dropped(slot, IN),
            out_packets: sent.packets,
            out_bytes: sent.bytes,
            out_dropped: out.map_or(0, |out| dropped(out, OUT)),
        })
    }

    /// Sets what was counted of a slot's EIP in maps before.
    pub(super) fn carry(&mut self, slot: u32, before: &EipCounters) {
        let row = self.rows() - 1;
        self.received.set(
            Flow::index(self.slots, row, slot),
            &Flow {
                packets: before.in_packets,
                bytes: before.in_bytes,
            },
        );
        self.set_dropped(self.slots + slot, IN, before.in_dropped);
        let has_sent = before.out_packets | before.out_bytes | before.out_dropped != 0;
        let Some(out) = self.out_slot(slot).or_else(|| {
            let anywhere = 0..0;
            has_sent.then(|| self.new_out_slot(slot, anywhere))?
        }) else {
            return;
        };
        self.sent.set(
            Flow::index(self.slots, row, out),
            &Flow {
                packets: before.out_packets,
                bytes: before.out_bytes,
            },
        );
        self.set_dropped(self.slots + out, OUT, before.out_dropped);
    }

    /// Makes a slot's 0, because another EIP gets it, and no program counts there.
    pub(super) fn clear(&mut self, slot: u32) {
        for row in 0..self.rows() {
            let index = Flow::index(self.slots, row, slot);
            self.received.set(index, &Flow::default());
        }
        self.clear_dropped(slot, IN);
        let Some(out) = self.out_slot(slot) else {
            return;
        };
        for row in 0..self.rows() {
            let index = Flow::index(self.slots, row, out);
            self.sent.set(index, &Flow::default());
        }
        self.clear_dropped(out, OUT);
        self.set_out_slot(slot, None);
        if let Some(free) = &mut self.free {
            free.give_back(out);
        }
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

    fn clear_dropped(&self, slot: u32, direction: usize) {
        for row in 0..rows_of_drops(self.carries) {
            self.set_dropped(row * self.slots + slot, direction, 0);
        }
    }

    /// Of the two words of an element only this one: the other is another EIP's.
    fn set_dropped(&self, element: u32, direction: usize, count: u64) {
        self.dropped.set_word(element, direction, count);
    }

    /// The CPUs', and that of maps before.
    fn rows(&self) -> u32 {
        self.received
            .elements()
            .checked_div(self.slots)
            .unwrap_or(1)
    }

    fn total(&self, flows: &Mapped<Flow>, slot: u32, rows: u32) -> Flow {
        (0..rows)
            .map(|row| flows.get(Flow::index(self.slots, row, slot)))
            .fold(Flow::default(), |sum, flow| Flow {
                packets: sum.packets.wrapping_add(flow.packets),
                bytes: sum.bytes.wrapping_add(flow.bytes),
            })
    }
}

/// The words of an element of `EIP_DROPS`.
const IN: usize = 0;
const OUT: usize = 1;

/// The rows of `EIP_DROPS`: what programs count, and what was counted in maps before.
pub(super) const fn rows_of_drops(carries: bool) -> u32 {
    1 + carries as u32
}

//! Every counter of the data plane, summed over the CPUs.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use aya::maps::{MapData, PerCpuArray};
use eip_dp_common::abi::{Event, Reason};
use eip_dp_user::kernel::{Kernel, Plane as _};

use super::table::Change;

/// The values at a moment, or a difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets by reason's index; those that are 0 are left out.
    pub drops: BTreeMap<u32, u64>,
    /// What else happened, by event's index; those that are 0 are left out.
    pub events: BTreeMap<u32, u64>,
    /// By slot; those that are all 0 are left out.
    pub eips: BTreeMap<u32, Change>,
}

impl Counters {
    /// Reads all of the maps.
    pub fn read(
        drops: &PerCpuArray<MapData, u64>,
        events: &PerCpuArray<MapData, u64>,
        eips: &Kernel,
    ) -> Result<Self> {
        let mut all = Self {
            drops: totals(drops)?,
            events: totals(events)?,
            eips: BTreeMap::new(),
        };
        for slot in 0..eips.limits().eips {
            let counted = eips.counters(slot)?;
            let total = Change {
                in_packets: counted.in_packets,
                in_bytes: counted.in_bytes,
                in_dropped: counted.in_dropped,
                out_packets: counted.out_packets,
                out_bytes: counted.out_bytes,
                out_dropped: counted.out_dropped,
            };
            if total != Change::default() {
                all.eips.insert(slot, total);
            }
        }
        Ok(all)
    }

    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut difference = Self {
            drops: added(&self.drops, &before.drops),
            events: added(&self.events, &before.events),
            eips: BTreeMap::new(),
        };
        for (&slot, now) in &self.eips {
            let then = before.eips.get(&slot).copied().unwrap_or_default();
            if *now != then {
                difference.eips.insert(
                    slot,
                    Change {
                        in_packets: now.in_packets.wrapping_sub(then.in_packets),
                        in_bytes: now.in_bytes.wrapping_sub(then.in_bytes),
                        in_dropped: now.in_dropped.wrapping_sub(then.in_dropped),
                        out_packets: now.out_packets.wrapping_sub(then.out_packets),
                        out_bytes: now.out_bytes.wrapping_sub(then.out_bytes),
                        out_dropped: now.out_dropped.wrapping_sub(then.out_dropped),
                    },
                );
            }
        }
        difference
    }

    /// How many packets were dropped, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.drops.values().sum()
    }

    /// How many of those had senders that were told.
    pub fn told(&self) -> u64 {
        let count = |event: Event| self.events.get(&event.index()).copied().unwrap_or(0);
        count(Event::TimeExceeded) + count(Event::TooBig)
    }

    /// How many packets were delivered, counted for their sender, their receiver, or both.
    pub fn delivered(&self) -> u64 {
        self.eips
            .values()
            .map(|change| change.in_packets + change.out_packets)
            .sum()
    }

    /// In words, with the names of reasons and events.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (&index, count) in &self.drops {
            let name = Reason::ALL
                .iter()
                .find(|reason| reason.index() == index)
                .map_or("?", |reason| reason.name());
            let _ = write!(text, " {name}({index}) +{count}");
        }
        for (&index, count) in &self.events {
            let name = Event::ALL
                .iter()
                .find(|event| event.index() == index)
                .map_or("?", |event| event.name());
            let _ = write!(text, " {name}({index}) +{count}");
        }
        for (slot, change) in &self.eips {
            let _ = write!(text, " slot {slot}:");
            for (name, value) in [
                ("in_packets", change.in_packets),
                ("in_bytes", change.in_bytes),
                ("in_dropped", change.in_dropped),
                ("out_packets", change.out_packets),
                ("out_bytes", change.out_bytes),
                ("out_dropped", change.out_dropped),
            ] {
                if value != 0 {
                    let _ = write!(text, " {name} +{value}");
                }
            }
        }
        if text.is_empty() {
            " none".to_owned()
        } else {
            text
        }
    }
}

/// The counters of a map, by index.
fn totals(map: &PerCpuArray<MapData, u64>) -> Result<BTreeMap<u32, u64>> {
    let mut all = BTreeMap::new();
    for index in 0..map.len() {
        let total: u64 = map.get(&index, 0)?.iter().sum();
        if total != 0 {
            all.insert(index, total);
        }
    }
    Ok(all)
}

/// What was added to each counter.
fn added(now: &BTreeMap<u32, u64>, before: &BTreeMap<u32, u64>) -> BTreeMap<u32, u64> {
    now.iter()
        .map(|(index, now)| {
            let then = before.get(index).copied().unwrap_or(0);
            (*index, now.wrapping_sub(then))
        })
        .filter(|(_, count)| *count != 0)
        .collect()
}

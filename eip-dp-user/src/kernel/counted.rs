//! What the kernel counted, of these maps and of those that were in their place before.

use std::net::IpAddr;

use aya::{
    maps::{MapData, MapError, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use eip_dp_common::abi::{EipCounters, Event, Reason, maps};

use super::{Kernel, PlaneError, kernel_maps::broken};

impl Kernel {
    /// The counters of a slot, of all CPUs.
    pub fn counters(&self, slot: u32) -> Result<EipCounters, PlaneError> {
        self.counters.of(slot, self.before.is_none())
    }

    /// The counters of an EIP; `None` if the kernel has no such EIP.
    pub fn counters_of(&self, eip: IpAddr) -> Result<Option<EipCounters>, PlaneError> {
        let Some(slot) = self.slot(eip) else {
            return Ok(None);
        };
        let counted = self.counters(slot)?;
        let before = match &self.before {
            Some(before) => before.counters_of(eip)?,
            None => None,
        };
        Ok(Some(before.map_or(counted, |before| counted.plus(&before))))
    }

    /// How many packets were dropped for that reason, on all CPUs.
    pub fn drops(&self, reason: Reason) -> Result<u64, PlaneError> {
        let sum = self.total(&self.drops, maps::DROPS, reason.index(), Reason::COUNTERS)?;
        let before = self.before.as_ref().map(|before| before.drops(reason));
        Ok(sum.wrapping_add(before.transpose()?.unwrap_or(0)))
    }

    /// How often that happened, on all CPUs.
    pub fn events(&self, event: Event) -> Result<u64, PlaneError> {
        let sum = self.total(&self.events, maps::EVENTS, event.index(), Event::COUNTERS)?;
        let before = self.before.as_ref().map(|before| before.events(event));
        Ok(sum.wrapping_add(before.transpose()?.unwrap_or(0)))
    }

    /// A counter, of all CPUs, and of maps before if it is carried over.
    fn total(
        &self,
        counters: &PerCpuArray<MapData, u64>,
        map: &str,
        index: u32,
        row: u32,
    ) -> Result<u64, PlaneError> {
        let now = total(counters, map, index)?;
        if self.before.is_some() {
            return Ok(now);
        }
        Ok(now.wrapping_add(total(counters, map, row + index)?))
    }

    /// Goes on answering for the EIPs that other maps have it answered for.
    pub(super) fn take_answers(&mut self, before: &Self) {
        let slots = self.v4.slots_in(&before.v4);
        let both: Vec<_> = slots.chain(self.v6.slots_in(&before.v6)).collect();
        for (slot, other) in both {
            self.set_answers(slot, before.answers(other));
        }
    }

    /// Takes over what was counted in maps that no program uses any more. Can be done again.
    pub(super) fn carry(&mut self, before: &Self) -> Result<(), PlaneError> {
        let slots = self.v4.slots_in(&before.v4);
        for (slot, other) in slots.chain(self.v6.slots_in(&before.v6)) {
            self.counters.carry(slot, &before.counters.of(other, true)?);
        }
        for reason in Reason::ALL {
            let index = Reason::COUNTERS + reason.index();
            let sum = before.drops(*reason)?;
            set_total(&mut self.drops, maps::DROPS, index, sum)?;
        }
        for event in Event::ALL {
            let index = Event::COUNTERS + event.index();
            let sum = before.events(*event)?;
            set_total(&mut self.events, maps::EVENTS, index, sum)?;
        }
        Ok(())
    }
}

/// A counter, of all CPUs.
fn total(counters: &PerCpuArray<MapData, u64>, map: &str, index: u32) -> Result<u64, PlaneError> {
    let per_cpu = counters
        .get(&index, 0)
        .map_err(|error| broken(map, &error))?;
    let cpus = per_cpu.iter();
    Ok(cpus.fold(0, |sum: u64, cpu| sum.wrapping_add(*cpu)))
}

/// Sets a counter that no program changes.
fn set_total(
    counters: &mut PerCpuArray<MapData, u64>,
    map: &str,
    index: u32,
    sum: u64,
) -> Result<(), PlaneError> {
    let cpus = nr_cpus().map_err(|(file, error)| PlaneError(format!("{file}: {error}")))?;
    let mut values = vec![0; cpus];
    values[0] = sum;
    PerCpuValues::try_from(values)
        .map_err(MapError::from)
        .and_then(|values| counters.set(index, values, 0))
        .map_err(|error| broken(map, &error))
}

//! The kernel's maps, opened from where they are pinned.

use std::{collections::BTreeMap, io, net::IpAddr};

use aya::{
    Pod,
    maps::{Array, DevMapHash, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use eip_dp_common::abi::{
    EipCounters, Event, LinkKey, MacKey, Port, PortMac, Reason, Sealed, StatusWord, Target, Uplink,
    Vpc, maps,
};

use super::{Pins, Plane, PlaneError, WriteError, chain, family::FamilyMaps, os_error, with_cure};
use crate::image::{Content, Limits, Write, limits};

/// The maps of one gateway.
pub struct Kernel {
    v4: FamilyMaps<[u8; 4]>,
    v6: FamilyMaps<[u8; 16]>,
    vpcs: Array<MapData, Vpc>,
    targets: Array<MapData, Target>,
    ports: HashMap<MapData, LinkKey, Port>,
    macs: HashMap<MapData, MacKey, PortMac>,
    uplinks: HashMap<MapData, LinkKey, Uplink>,
    devices: DevMapHash<MapData>,
    counters: PerCpuArray<MapData, EipCounters>,
    drops: PerCpuArray<MapData, u64>,
    events: PerCpuArray<MapData, u64>,
    status: Array<MapData, u64>,
    limits: Limits,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Kernel {
    /// Opens the gateway's maps; `None` if the data plane is not loaded.
    pub fn open(pins: &Pins) -> Result<Option<Self>, PlaneError> {
        Pins::check_mounted()?;
        if !pins.exist()? {
            return Ok(None);
        }
        Self::from_pins(pins).map(Some)
    }

    /// Opens the gateway's maps, all of which must be there.
    pub fn from_pins(pins: &Pins) -> Result<Self, PlaneError> {
        let mut limits = Limits::default();
        let mut size = |name: &str, limit: fn(&mut Limits) -> &mut u32| {
            let info = pinned(pins, name)
                .and_then(|data| data.info().map_err(|error| broken(name, &error)))?;
            *limit(&mut limits) = info.max_entries();
            Ok::<(), PlaneError>(())
        };
        size(maps::EIP_COUNTERS, |limits| &mut limits.eips)?;
        size(maps::PRIVATE4, |limits| &mut limits.private_addresses)?;
        size(maps::PREFIX4, |limits| &mut limits.prefixes)?;
        size(maps::VPCS, |limits| &mut limits.vpcs)?;
        size(maps::TARGETS, |limits| &mut limits.targets)?;
        size(maps::MACS, |limits| &mut limits.macs)?;
        size(maps::PORTS, |limits| &mut limits.ports)?;
        size(maps::UPLINKS, |limits| &mut limits.uplinks)?;
        size(maps::DEVICES, |limits| &mut limits.devices)?;
        Ok(Self {
            v4: FamilyMaps::open(pins)?,
            v6: FamilyMaps::open(pins)?,
            vpcs: typed(pins, maps::VPCS)?,
            targets: typed(pins, maps::TARGETS)?,
            ports: typed(pins, maps::PORTS)?,
            macs: typed(pins, maps::MACS)?,
            uplinks: typed(pins, maps::UPLINKS)?,
            devices: typed(pins, maps::DEVICES)?,
            counters: typed(pins, maps::EIP_COUNTERS)?,
            drops: typed(pins, maps::DROPS)?,
            events: typed(pins, maps::EVENTS)?,
            status: typed(pins, maps::STATUS)?,
            limits,
        })
    }

    /// A word that the daemon published.
    pub fn word(&self, word: StatusWord) -> Result<u64, PlaneError> {
        self.status
            .get(&(word as u32), 0)
            .map_err(|error| broken(maps::STATUS, &error))
    }

    /// Publishes a word.
    pub fn set_word(&mut self, word: StatusWord, value: u64) -> Result<(), PlaneError> {
        self.status
            .set(word as u32, value, 0)
            .map_err(|error| broken(maps::STATUS, &error))
    }

    /// The counters of a slot, of all CPUs.
    pub fn counters(&self, slot: u32) -> Result<EipCounters, PlaneError> {
        let per_cpu = self
            .counters
            .get(&slot, 0)
            .map_err(|error| broken(maps::EIP_COUNTERS, &error))?;
        Ok(per_cpu
            .iter()
            .fold(EipCounters::default(), |sum, cpu| EipCounters {
                in_packets: sum.in_packets.wrapping_add(cpu.in_packets),
                in_bytes: sum.in_bytes.wrapping_add(cpu.in_bytes),
                in_dropped: sum.in_dropped.wrapping_add(cpu.in_dropped),
                out_packets: sum.out_packets.wrapping_add(cpu.out_packets),
                out_bytes: sum.out_bytes.wrapping_add(cpu.out_bytes),
                out_dropped: sum.out_dropped.wrapping_add(cpu.out_dropped),
            }))
    }

    /// How many packets were dropped for that reason, on all CPUs.
    pub fn drops(&self, reason: Reason) -> Result<u64, PlaneError> {
        total(&self.drops, maps::DROPS, reason.index())
    }

    /// How often that happened, on all CPUs.
    pub fn events(&self, event: Event) -> Result<u64, PlaneError> {
        total(&self.events, maps::EVENTS, event.index())
    }

    /// Where the counters of an EIP are; `None` if the kernel has no such EIP.
    pub fn slot(&self, eip: IpAddr) -> Result<Option<u32>, PlaneError> {
        match eip {
            IpAddr::V4(address) => self.v4.slot(&address.octets()),
            IpAddr::V6(address) => self.v6.slot(&address.octets()),
        }
    }

    fn apply(&mut self, write: &Write) -> Result<(), MapError> {
        match write {
            Write::V4(write) => self.v4.apply(write),
            Write::V6(write) => self.v6.apply(write),
            Write::Port(key, value) => put(&mut self.ports, key, value.as_ref()),
            Write::Mac(key, value) => put(&mut self.macs, key, value.as_ref()),
            Write::Uplink(key, value) => put(&mut self.uplinks, key, value.as_ref()),
            Write::Vpc(index, value) => {
                self.vpcs
                    .set(*index, value.unwrap_or_else(Sealed::zeroed), 0)
            }
            Write::Target(index, value) => {
                self.targets
                    .set(*index, value.unwrap_or_else(Sealed::zeroed), 0)
            }
            Write::Device(ifindex, true) => {
                match self.devices.insert(*ifindex, *ifindex, None, 0) {
                    Ok(()) => Ok(()),
                    Err(aya::maps::xdp::XdpMapError::MapError(error)) => Err(error),
                    Err(error) => Err(io::Error::other(error.to_string()).into()),
                }
            }
            // The kernel takes an interface out by itself when it disappears.
            Write::Device(ifindex, false) => absent_is_fine(self.devices.remove(*ifindex)),
            Write::ClearCounters(slot) => {
                let cpus = nr_cpus().map_err(|(_, error)| error)?;
                let zeros = PerCpuValues::try_from(vec![EipCounters::default(); cpus])?;
                self.counters.set(*slot, zeros, 0)
            }
        }
    }

    fn failed(&self, write: &Write, error: &MapError) -> PlaneError {
        let code = os_error(error);
        let name = write.map();
        // A hash map says E2BIG, a trie says ENOSPC.
        if code == Some(libc::E2BIG) || code == Some(libc::ENOSPC) {
            let limits = self.limits.by_map();
            let size = limits
                .iter()
                .find(|(map, _)| *map == name)
                .map_or(0, |(_, size)| *size);
            return PlaneError(limits::full(name, size, 1));
        }
        with_cure(format!("cannot write {write}: {}", chain(error)), code)
    }
}

impl Plane for Kernel {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn read(&self) -> Result<Content, PlaneError> {
        let read = |map: &'static str| move |error: MapError| broken(map, &error);
        Ok(Content {
            v4: self.v4.read()?,
            v6: self.v6.read()?,
            vpcs: used(self.vpcs.iter(), &Sealed::zeroed()).map_err(read(maps::VPCS))?,
            targets: used(self.targets.iter(), &Sealed::zeroed()).map_err(read(maps::TARGETS))?,
            ports: collect(self.ports.iter()).map_err(read(maps::PORTS))?,
            macs: collect(self.macs.iter()).map_err(read(maps::MACS))?,
            uplinks: collect(self.uplinks.iter()).map_err(read(maps::UPLINKS))?,
            devices: self
                .devices
                .keys()
                .collect::<Result<_, _>>()
                .map_err(read(maps::DEVICES))?,
        })
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), WriteError> {
        for (done, write) in writes.iter().enumerate() {
            self.apply(write).map_err(|error| WriteError {
                done,
                error: self.failed(write, &error),
            })?;
        }
        Ok(())
    }

    /// `membarrier(MEMBARRIER_CMD_GLOBAL)` is `synchronize_rcu()` (Linux, kernel/sched/membarrier.c), and BPF
    /// programs run inside of RCU read sections. A kernel with `nohz_full` CPUs refuses it: there the daemon waits
    /// longer than any program can run.
    fn grace(&mut self) -> Result<(), PlaneError> {
        const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
        // SAFETY: the call takes integers only and touches no memory of this process.
        let code = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
        if code != 0 {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        Ok(())
    }
}

/// The version of the ABI that the pinned maps are of; `None` where they do not tell.
pub(super) fn version(pins: &Pins) -> Result<Option<u64>, PlaneError> {
    if !pins.map(maps::STATUS).exists() {
        return Ok(None);
    }
    let status: Array<MapData, u64> = typed(pins, maps::STATUS)?;
    let word = status.get(&(StatusWord::Abi as u32), 0);
    word.map(Some).map_err(|error| broken(maps::STATUS, &error))
}

/// A counter, of all CPUs.
fn total(counters: &PerCpuArray<MapData, u64>, map: &str, index: u32) -> Result<u64, PlaneError> {
    let per_cpu = counters
        .get(&index, 0)
        .map_err(|error| broken(map, &error))?;
    let cpus = per_cpu.iter();
    Ok(cpus.fold(0, |sum: u64, cpu| sum.wrapping_add(*cpu)))
}

fn pinned(pins: &Pins, name: &str) -> Result<MapData, PlaneError> {
    let path = pins.map(name);
    MapData::from_pin(&path).map_err(|error| {
        let message = format!(
            "gateway `{}`: cannot open the map {}: {}",
            pins.name(),
            path.display(),
            chain(&error)
        );
        match os_error(&error) {
            Some(libc::ENOENT) => PlaneError(format!(
                "{message}; it was loaded in part only: start the daemon, or run `eip-dp --name {} unload`",
                pins.name()
            )),
            code => with_cure(message, code),
        }
    })
}

pub(super) fn typed<T: TryFrom<Map, Error = MapError>>(
    pins: &Pins,
    name: &str,
) -> Result<T, PlaneError> {
    let map = Map::from_map_data(pinned(pins, name)?).map_err(|error| broken(name, &error))?;
    T::try_from(map).map_err(|error| {
        PlaneError(format!(
            "the map {name} of gateway `{}` was made by another version of eip-dp ({}); run `eip-dp --name {} \
             unload` and start the daemon again",
            pins.name(),
            chain(&error),
            pins.name()
        ))
    })
}

pub(super) fn broken(map: &str, error: &MapError) -> PlaneError {
    with_cure(format!("map {map}: {}", chain(error)), os_error(error))
}

pub(super) fn put<K: Pod, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    key: &K,
    value: Option<&V>,
) -> Result<(), MapError> {
    match value {
        Some(value) => map.insert(key, value, 0),
        None => absent_is_fine(map.remove(key)),
    }
}

pub(super) fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(error) if os_error(&error) == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

pub(super) fn collect<K: Ord, V>(
    elements: impl Iterator<Item = Result<(K, V), MapError>>,
) -> Result<BTreeMap<K, V>, MapError> {
    elements
        // An element that went away between two steps of the walk is one that is not there.
        .filter(|element| !matches!(element, Err(MapError::KeyNotFound)))
        .collect()
}

pub(super) fn used<V: PartialEq>(
    elements: impl Iterator<Item = Result<V, MapError>>,
    unused: &V,
) -> Result<BTreeMap<u32, V>, MapError> {
    (0..)
        .zip(elements)
        .map(|(index, element)| element.map(|value| (index, value)))
        .filter(|element| !matches!(element, Ok((_, value)) if value == unused))
        .collect()
}

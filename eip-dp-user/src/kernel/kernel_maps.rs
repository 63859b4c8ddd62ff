//! The kernel's maps, opened from where they are pinned.

use std::{collections::BTreeMap, io, net::IpAddr};

use aya::{
    Pod,
    maps::{Array, DevMapHash, HashMap, MapData, MapError, PerCpuArray},
};
use eip_dp_common::abi::{
    Checksummed, LinkKey, MacKey, Port, PortMac, StatusWord, Uplink, Vpc, maps,
};

use super::{
    Pins, Plane, PlaneError, WriteError,
    batch::insert_all,
    chain,
    counters::Counters,
    eips_by_target::{EipsByTarget, TargetsByNextHop},
    family::{FamilyMaps, Refused},
    mapped::Mapped,
    next_hop_maps::NextHopMaps,
    os_error,
    resize::{Stage, open_at_one_moment},
    source::Source,
    with_cure,
};
use crate::compile::{Content, Limits, PreferredBuckets, Write, limits};

/// The maps of one gateway.
pub struct Kernel {
    pub(super) v4: FamilyMaps<[u8; 4]>,
    pub(super) v6: FamilyMaps<[u8; 16]>,
    hops: NextHopMaps,
    vpcs: Array<MapData, Vpc>,
    ports: HashMap<MapData, LinkKey, Port>,
    macs: HashMap<MapData, MacKey, PortMac>,
    /// The same, for many of them at once.
    macs_at_once: MapData,
    uplinks: HashMap<MapData, LinkKey, Uplink>,
    devices: DevMapHash<MapData>,
    pub(super) counters: Counters,
    /// On which uplinks ARP and neighbour discovery are answered for an EIP, by slot.
    answers: Mapped<u64>,
    pub(super) drops: PerCpuArray<MapData, u64>,
    pub(super) events: PerCpuArray<MapData, u64>,
    status: Array<MapData, u64>,
    limits: Limits,
    seed: u64,
    receivers: EipsByTarget,
    /// Whether no program runs yet that reads these maps.
    not_live: bool,
    /// The maps whose place these take, while programs change over: what they count is not carried
    /// over yet.
    pub(super) before: Option<Box<Self>>,
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
        open_at_one_moment(pins, |source, stage| {
            let kernel = Self::from_source(source)?;
            Ok(match stage {
                Stage::Switching => Self {
                    before: Some(Box::new(Self::from_source(&Source::Pins(pins))?)),
                    ..kernel
                },
                Stage::None | Stage::Switched => kernel,
            })
        })
    }

    /// Opens the gateway's maps, all of which must be there.
    pub fn from_source(source: &Source<'_>) -> Result<Self, PlaneError> {
        let status: Array<MapData, u64> = source.typed(maps::STATUS)?;
        let word = |word: StatusWord| {
            let value = status.get(&(word as u32), 0);
            value.map_err(|error| broken(maps::STATUS, &error))
        };
        let seed = word(StatusWord::Seed)?;
        let size = |of| Ok::<_, PlaneError>(u32::try_from(word(of)?).unwrap_or(u32::MAX));
        let counters = Counters::open(source, word(StatusWord::Carries)? != 0)?;
        let limits = Limits {
            eips: size(StatusWord::Eips)?,
            eips6: size(StatusWord::Eips6)?,
            private_addresses: size(StatusWord::PrivateAddresses)?,
            private_addresses6: size(StatusWord::PrivateAddresses6)?,
            prefixes: source.size(maps::PREFIX4)?,
            vpcs: source.size(maps::VPCS)?,
            targets: source.size(maps::NEXT_HOPS)?,
            macs: source.size(maps::MACS)?,
            ports: source.size(maps::PORTS)?,
            uplinks: source.size(maps::UPLINKS)?,
            devices: source.size(maps::DEVICES)?,
        };
        let mut kernel = Self {
            v4: FamilyMaps::open(source, seed)?,
            v6: FamilyMaps::open(source, seed)?,
            hops: NextHopMaps::new(
                source.mapped(maps::NEXT_HOPS)?,
                source.mapped(maps::OWNERS)?,
                source.mapped(maps::LINKS)?,
                source.mapped(maps::INGRESS)?,
            ),
            vpcs: source.typed(maps::VPCS)?,
            ports: source.typed(maps::PORTS)?,
            macs: source.typed(maps::MACS)?,
            macs_at_once: source.data(maps::MACS)?,
            uplinks: source.typed(maps::UPLINKS)?,
            devices: source.typed(maps::DEVICES)?,
            counters,
            answers: source.mapped(maps::ANSWERS)?,
            drops: source.typed(maps::DROPS)?,
            events: source.typed(maps::EVENTS)?,
            status,
            limits,
            seed,
            receivers: EipsByTarget::default(),
            not_live: false,
            before: None,
        };
        let ports = collect(kernel.ports.iter()).map_err(|error| broken(maps::PORTS, &error))?;
        kernel.hops.know_ports(&ports);
        Ok(kernel)
    }

    /// Says that no program runs yet that reads these maps: until [`Self::go_live`], nothing has
    /// to be waited for.
    #[must_use]
    pub fn is_unread(mut self) -> Self {
        self.not_live = true;
        self
    }

    /// From now on programs may read these maps.
    pub fn go_live(&mut self) {
        self.not_live = false;
    }

    /// Mends what a daemon left behind that ended in the middle of a change: entries that stand
    /// twice.
    pub(super) fn repair_duplicates(&mut self) -> Result<(), PlaneError> {
        if !self.not_live {
            self.v4.repair_duplicates();
            self.v6.repair_duplicates();
            self.set_word(StatusWord::Moving, 0)?;
        }
        Ok(())
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

    /// Where the counters of an EIP are; `None` if the kernel has no such EIP.
    pub fn slot(&self, eip: IpAddr) -> Option<u32> {
        match eip {
            IpAddr::V4(address) => self.v4.slot(&address.octets()),
            IpAddr::V6(address) => self.v6.slot(&address.octets()),
        }
    }

    /// On which uplinks ARP and neighbour discovery are answered for the EIP with this slot, see
    /// [`eip_dp_common::abi::maps::ANSWERS`].
    pub fn answers(&self, slot: u32) -> u64 {
        self.answers.get(slot)
    }

    /// Changes it, in one store.
    pub fn set_answers(&mut self, slot: u32, uplinks: u64) {
        if self.answers.get(slot) != uplinks {
            self.answers.set(slot, &uplinks);
        }
    }

    fn apply(&mut self, write: &Write) -> Result<(), Refused> {
        let result = match write {
            Write::V4(write) => {
                let (counters, receivers) = (&mut self.counters, &mut self.receivers);
                return self.v4.apply(write, counters, receivers, &self.hops);
            }
            Write::V6(write) => {
                let (counters, receivers) = (&mut self.counters, &mut self.receivers);
                return self.v6.apply(write, counters, receivers, &self.hops);
            }
            Write::Target(index, value) => {
                let before = self.hops.place_of(*index);
                let result = self.hops.set(*index, value.as_ref());
                if before != 0 && before != self.hops.place_of(*index) {
                    self.receivers.moves(*index);
                }
                return result.map_err(|full| {
                    if full.waits {
                        Refused::Wait
                    } else {
                        Refused::Full
                    }
                });
            }
            Write::Port(key, value) => {
                // Who goes can send no more, by neither way.
                self.hops.set_port(*key, value.as_ref());
                put(&mut self.ports, key, value.as_ref())
            }
            Write::Mac(key, value) => put(&mut self.macs, key, value.as_ref()),
            Write::Uplink(key, value) => {
                self.hops.set_uplink(*key, value.as_ref());
                put(&mut self.uplinks, key, value.as_ref())
            }
            Write::Vpc(index, value) => {
                self.vpcs
                    .set(*index, value.unwrap_or_else(Checksummed::zeroed), 0)
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
                // Where no program has run yet they are 0.
                if !self.not_live {
                    self.counters.clear(*slot);
                    self.answers.set(*slot, &0);
                }
                Ok(())
            }
        };
        result.map_err(Refused::Error)
    }

    /// Has the processor fetch what a write needs soon.
    fn fetch(&self, write: &Write) {
        match write {
            Write::V4(write) => self.v4.fetch(write, &self.counters, &self.receivers),
            Write::V6(write) => self.v6.fetch(write, &self.counters, &self.receivers),
            _ => {}
        }
    }

    /// Makes a change, after a grace period if it needs one.
    fn make(&mut self, write: &Write) -> Result<(), PlaneError> {
        let mut result = self.apply(write);
        if matches!(result, Err(Refused::Wait)) {
            self.reclaim()?;
            result = self.apply(write);
        }
        match result {
            Ok(()) => Ok(()),
            Err(Refused::Error(error)) => Err(self.failed(write, &error)),
            Err(Refused::Full | Refused::Wait) => Err(self.full(write.map())),
        }
    }

    /// Has the EIPs' entries follow the targets that moved.
    fn redirect(&mut self) {
        for target in self.receivers.take_moved() {
            self.v4.redirect(target, &self.receivers, &self.hops);
            self.v6.redirect(target, &self.receivers, &self.hops);
        }
    }

    /// Finds out whose the EIPs' entries are, if that is not known.
    fn know_receivers(&mut self) {
        if self.receivers.are_known() {
            return;
        }
        let whereabouts = self.whereabouts();
        self.receivers.know(self.counters.slots());
        let (receivers, hops) = (&mut self.receivers, &mut self.hops);
        self.v4.know(receivers, hops, &whereabouts);
        self.v6.know(receivers, hops, &whereabouts);
    }

    /// The targets by where they are, if there are EIPs that know no more.
    fn whereabouts(&self) -> TargetsByNextHop {
        if self.v4.has_places() || self.v6.has_places() {
            self.hops.whereabouts()
        } else {
            TargetsByNextHop::new()
        }
    }

    /// Makes changes of one map. Returns how many were made before one failed, and why it did.
    fn make_all(&mut self, batch: &[Write]) -> Result<(), (usize, PlaneError)> {
        let mut at = 0;
        while at < batch.len() {
            let (macs, records) = macs_at(&batch[at..]);
            if macs.len() > 1 {
                insert_all(&self.macs_at_once, &macs, &records).map_err(|(done, error)| {
                    let at = at + done;
                    (at, self.failed(&batch[at.min(batch.len() - 1)], &error))
                })?;
                at += macs.len();
                continue;
            }
            if let Some(soon) = batch.get(at + AHEAD) {
                self.fetch(soon);
            }
            self.make(&batch[at]).map_err(|error| (at, error))?;
            at += 1;
        }
        Ok(())
    }

    /// Waits for running programs, and lets what rests be used again.
    fn reclaim(&mut self) -> Result<(), PlaneError> {
        // What entries lead to is not to be free.
        self.redirect();
        self.grace()?;
        self.v4.end_quarantine();
        self.v6.end_quarantine();
        self.hops.end_quarantine();
        Ok(())
    }

    /// Makes room for the entries that had none in their lines.
    fn make_room(&mut self) -> Result<(), PlaneError> {
        let mut is_marked = false;
        while self.v4.is_waiting() || self.v6.is_waiting() {
            let quarantined = self.v4.has_quarantined() || self.v6.has_quarantined();
            if quarantined {
                self.reclaim()?;
            }
            if !is_marked {
                self.set_word(StatusWord::Moving, 1)?;
                is_marked = true;
            }
            let (v4, v6) = (self.v4.begin(), self.v6.begin());
            let stuck = (v4.is_none(), v6.is_none());
            let (v4, v6) = (v4.unwrap_or_default(), v6.unwrap_or_default());
            self.grace()?;
            self.v4.end(v4);
            self.v6.end(v6);
            if stuck != (false, false) {
                let (map4, map6) = (self.v4.give_up(), self.v6.give_up());
                self.set_word(StatusWord::Moving, 0)?;
                return Err(self.full(if stuck.0 { map4 } else { map6 }));
            }
        }
        if is_marked {
            self.set_word(StatusWord::Moving, 0)?;
        }
        Ok(())
    }

    fn full(&self, name: &'static str) -> PlaneError {
        let limits = self.limits.by_map();
        let size = limits
            .iter()
            .find(|(map, _)| *map == name)
            .map_or(0, |(_, size)| *size);
        PlaneError(limits::full(name, size, 1))
    }

    fn failed(&self, write: &Write, error: &MapError) -> PlaneError {
        let code = os_error(error);
        let name = write.map();
        // A hash map says E2BIG, a trie says ENOSPC.
        if code == Some(libc::E2BIG) || code == Some(libc::ENOSPC) {
            return self.full(name);
        }
        with_cure(format!("cannot write {write}: {}", chain(error)), code)
    }
}

/// So many writes ahead memory is fetched: about as long as that takes.
const AHEAD: usize = 12;

impl Plane for Kernel {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn homes(&self) -> PreferredBuckets {
        PreferredBuckets::new(self.seed, &self.limits)
    }

    fn read(&self) -> Result<Content, PlaneError> {
        let read = |map: &'static str| move |error: MapError| broken(map, &error);
        let slots = self.counters.by_out_slot();
        let whereabouts = self.whereabouts();
        Ok(Content {
            v4: self.v4.read(&self.hops, &slots, &whereabouts)?,
            v6: self.v6.read(&self.hops, &slots, &whereabouts)?,
            vpcs: used(self.vpcs.iter(), &Checksummed::zeroed()).map_err(read(maps::VPCS))?,
            targets: self.hops.read(),
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
        let mut done = 0;
        self.know_receivers();
        while done < writes.len() {
            let batch = same_map(&writes[done..]);
            let made = self.make_all(batch);
            self.redirect();
            if let Err((at, error)) = made {
                let done = done + at;
                // What had no room is not to be put in later, when something else may be wanted.
                self.v4.give_up();
                self.v6.give_up();
                return Err(WriteError { done, error });
            }
            // What follows may rely on these.
            if let Err(error) = self.make_room() {
                return Err(WriteError { done, error });
            }
            done += batch.len();
        }
        Ok(())
    }

    /// `membarrier(MEMBARRIER_CMD_GLOBAL)` is `synchronize_rcu()` (Linux,
    /// kernel/sched/membarrier.c), and BPF programs run inside of RCU read sections. A kernel with
    /// `nohz_full` CPUs refuses it: there the daemon waits longer than any program can run.
    fn grace(&mut self) -> Result<(), PlaneError> {
        const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
        if self.not_live {
            return Ok(());
        }
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
    word_of(pins, StatusWord::Abi)
}

/// Whether the pinned counters have a row of what was counted in maps before.
pub(super) fn carries(pins: &Pins) -> Result<bool, PlaneError> {
    Ok(word_of(pins, StatusWord::Carries)?.is_some_and(|word| word != 0))
}

/// What spreads the keys of the pinned indexes; `None` where there are none.
pub(super) fn seed(pins: &Pins) -> Result<Option<u64>, PlaneError> {
    Ok(word_of(pins, StatusWord::Seed)?.filter(|seed| *seed != 0))
}

pub(super) fn word_of(pins: &Pins, word: StatusWord) -> Result<Option<u64>, PlaneError> {
    if !pins.map(maps::STATUS).exists() {
        return Ok(None);
    }
    let status: Array<MapData, u64> = Source::Pins(pins).typed(maps::STATUS)?;
    let word = status.get(&(word as u32), 0);
    word.map(Some).map_err(|error| broken(maps::STATUS, &error))
}

/// The MACs that the writes at the beginning set.
fn macs_at(writes: &[Write]) -> (Vec<MacKey>, Vec<PortMac>) {
    let set = writes.iter().map_while(|write| match write {
        Write::Mac(key, Some(value)) => Some((*key, *value)),
        _ => None,
    });
    set.unzip()
}

/// The writes at the beginning that are to one map.
fn same_map(writes: &[Write]) -> &[Write] {
    let map = writes.first().map(Write::map);
    let end = writes.iter().position(|write| Some(write.map()) != map);
    &writes[..end.unwrap_or(writes.len())]
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

//! Loads the BPF object, into new maps or into those that an earlier daemon left.

use std::num::NonZero;

use aya::{
    EbpfLoader,
    maps::{Array, MapData, MapInfo},
    util::{KernelVersion, nr_cpus},
};
use eip_dp_common::{
    abi::{
        ABI_VERSION, Event, LINKS, NAT_PEERS_PER_CACHE_LINE, PackedCounter, Reason, StatusWord,
        maps,
    },
    cuckoo::{Geometry, Long, Short},
};
use tracing::{info, warn};

use super::{
    Kernel, Pins, Plane, PlaneError, ProgramLinks, Programs, Relation, Resize, ServedTable,
    SkbLayout, Source, chain,
    counters::rows_for_all,
    kernel_maps, os_error,
    resize::{self, Moment, Stage},
    with_cure,
};
use crate::{PROGRAMS, compile::Limits, requirements::OLDEST_KERNEL};

/// What was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// The maps.
    pub kernel: Kernel,
    /// The programs that use them.
    pub programs: Programs,
    /// Whose place the maps are to take, once they hold everything.
    pub resize: Option<Resize>,
}

/// Opens the programs' maps, and has the programs verified, `at_once` of them at a time, which may
/// last longer than this call. Maps that are pinned already are adopted if they are of this version
/// and of these sizes; `table` tells them from another table's. Of other sizes, new ones are made
/// beside them.
pub fn load(
    pins: &Pins,
    limits: &Limits,
    table: &ServedTable,
    at_once: NonZero<usize>,
) -> Result<Loaded, PlaneError> {
    Pins::check_mounted()?;
    let (major, minor) = OLDEST_KERNEL;
    let oldest = KernelVersion::new(major, minor, 0);
    if KernelVersion::current().is_ok_and(|version| version < oldest) {
        return Err(PlaneError(format!(
            "this kernel is older than Linux {major}.{minor}, the oldest that is supported: use a newer kernel"
        )));
    }
    if let Err(error) = SkbLayout::of_this_kernel() {
        warn!(%error, "frames whose checksums a device is to complete are dropped: nothing says where it would write them");
    }
    let mut adopt = pins.exist()?;
    if adopt {
        // Maps of another version may have other sizes, and that would not be the point.
        check_version(pins)?;
        check_table(pins, table)?;
        go_on(pins, table, at_once)?;
    }
    let seed = match kernel_maps::seed(pins)? {
        Some(seed) if adopt => seed,
        _ => new_seed(),
    };
    let mut layout = Layout::new(limits, seed, adopt && kernel_maps::carries(pins)?)?;
    if adopt && !layout.is_pinned(pins)? {
        if kernel_maps::version(pins)?.is_some_and(|version| version != 0) {
            return load_beside(pins, limits, table, at_once);
        }
        // A daemon ended before it had loaded all of them: no program uses them.
        pins.remove()?;
        adopt = false;
        layout = Layout::new(limits, new_seed(), false)?;
    }
    pins.create()?;
    let loaded = load_into(pins, &layout, table, adopt, at_once);
    if loaded.is_err() && !adopt {
        // What was made in vain does not stay; the error that is returned is the one that matters.
        let _ = pins.remove();
    }
    let (kernel, programs) = loaded?;
    Ok(Loaded {
        kernel,
        programs: if adopt {
            programs
        } else {
            programs.or_remove(pins)
        },
        resize: None,
    })
}

/// Makes new maps beside those in use.
fn load_beside(
    pins: &Pins,
    limits: &Limits,
    table: &ServedTable,
    at_once: NonZero<usize>,
) -> Result<Loaded, PlaneError> {
    let before = Kernel::from_source(&Source::Pins(pins))?;
    let next = pins.next();
    next.create_folder()?;
    let load = || {
        let layout = Layout::new(limits, new_seed(), true)?;
        let (mut kernel, programs) = load_into(&next, &layout, table, false, at_once)?;
        for word in [
            StatusWord::Revision,
            StatusWord::AppliedAt,
            StatusWord::TableFile,
        ] {
            kernel.set_word(word, before.word(word)?)?;
        }
        Ok((kernel, programs))
    };
    let (kernel, programs) = load().inspect_err(|_| {
        let _ = pins.remove_next();
    })?;
    info!("the maps have other sizes than the configuration says; new ones are filled");
    Ok(Loaded {
        kernel,
        programs,
        resize: Some(Resize::new(pins, before.limits())),
    })
}

/// Goes on with maps that were to take the place of those in use when a daemon ended.
fn go_on(pins: &Pins, table: &ServedTable, at_once: NonZero<usize>) -> Result<(), PlaneError> {
    match Moment::of(pins)?.stage {
        Stage::None => pins.remove_next().map(|_| ()),
        Stage::Switching => {
            let next = pins.next();
            let before = Kernel::from_source(&Source::Pins(pins))?.limits();
            let limits = Kernel::from_source(&Source::Pins(&next))?.limits();
            let seed = kernel_maps::seed(&next)?.unwrap_or_default();
            let layout = Layout::new(&limits, seed, true)?;
            let (mut kernel, mut programs) = load_into(&next, &layout, table, true, at_once)?;
            programs.wait()?;
            let mut links = ProgramLinks::new(pins);
            Resize::new(pins, before).switch(&mut kernel, &mut programs, &mut links)
        }
        Stage::Switched => resize::finish(pins),
    }
}

/// Nobody but this host is to know it.
fn new_seed() -> u64 {
    fastrand::u64(1..)
}

/// How large the maps are, and what the programs are told of it.
#[derive(Debug)]
pub struct Layout {
    entries: Vec<(&'static str, u32)>,
    seed: u64,
    lines: [(&'static str, u32); 4],
    /// Other numbers for the programs.
    numbers: [(&'static str, u32); 3],
    /// Where they find what they read of the kernel's own.
    skb: [(&'static str, u32); 6],
    /// What who opens the maps has to know.
    words: [(StatusWord, u64); 6],
}

impl Layout {
    /// For these limits. `seed` spreads the keys of the indexes: nobody but this host is to know
    /// it. `carries`: with a row of what was counted in maps before.
    pub fn new(limits: &Limits, seed: u64, carries: bool) -> Result<Self, PlaneError> {
        let cpus = nr_cpus().map_err(|(file, error)| PlaneError(format!("{file}: {error}")))?;
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
        let Limits {
            eips,
            eips6,
            private_addresses,
            private_addresses6,
            ..
        } = *limits;
        let eip4 = Geometry::buckets_for::<Short>(eips);
        let eip6 = Geometry::buckets_for::<Long>(eips6);
        let private4 = Geometry::buckets_for::<Short>(private_addresses);
        let private6 = Geometry::buckets_for::<Long>(private_addresses6);
        // An association names two, and most are to be at home.
        let others6 = (eips6 / 3).saturating_mul(8).saturating_add(SPARE);
        // Each half begins with a cache line.
        let others6 = others6.next_multiple_of(2 * NAT_PEERS_PER_CACHE_LINE);
        let slots = PackedCounter::row(eips);
        let for_all = slots.saturating_mul(rows_for_all(carries));
        let rows = cpus.saturating_add(carries.into());
        let flows = slots.checked_mul(rows).ok_or_else(|| {
            PlaneError(format!(
                "`eips` of [maps]: {eips} on {cpus} processors are more counters than a map can have; have fewer"
            ))
        })?;
        // A link stands for an interface or VLAN; a changed one stands beside what it was for a
        // moment.
        let links = limits.devices.saturating_mul(2).saturating_add(SPARE);
        let mut entries = vec![
            (maps::EIP4, eip4),
            (maps::EIP6, eip6),
            (maps::PRIVATE4, private4),
            (maps::PRIVATE6, private6),
            (maps::NAT_PEERS6, others6),
            (maps::EIP_IN, flows),
            (maps::EIP_OUT, flows),
            (maps::EIP_OVERFLOW, for_all),
            (maps::EIP_DROPS, for_all),
            (maps::OUT_SLOTS, slots / 2),
            (maps::ANSWERS, slots),
            (maps::DROPS, 2 * Reason::COUNTERS),
            (maps::EVENTS, 2 * Event::COUNTERS),
            (maps::NEXT_HOPS, limits.targets),
            (maps::OWNERS, limits.targets),
            (maps::LINKS, links.min(LINKS)),
        ];
        let others = limits.by_map().into_iter();
        let others: Vec<_> = others
            .filter(|(map, _)| maps::ALL.contains(map))
            .filter(|(map, _)| entries.iter().all(|(other, _)| other != map))
            .collect();
        entries.extend(others);
        Ok(Self {
            entries,
            seed,
            lines: [
                ("EIP4_BUCKETS", eip4),
                ("EIP6_BUCKETS", eip6),
                ("PRIVATE4_BUCKETS", private4),
                ("PRIVATE6_BUCKETS", private6),
            ],
            numbers: [
                ("SLOTS", slots),
                ("TARGETS", limits.targets),
                ("NAT_PEERS6_HALF", others6 / 2),
            ],
            skb: skb_numbers(),
            words: [
                (StatusWord::Seed, seed),
                (StatusWord::Eips, eips.into()),
                (StatusWord::Eips6, eips6.into()),
                (StatusWord::PrivateAddresses, private_addresses.into()),
                (StatusWord::PrivateAddresses6, private_addresses6.into()),
                (StatusWord::Carries, carries.into()),
            ],
        })
    }

    /// Whether the maps that are pinned have these sizes.
    fn is_pinned(&self, pins: &Pins) -> Result<bool, PlaneError> {
        // What is rounded up to whole lines is told apart by the words.
        for (word, value) in self.words {
            if word != StatusWord::Seed
                && kernel_maps::word_of(pins, word)?.is_some_and(|is| is != value)
            {
                return Ok(false);
            }
        }
        Ok(self.entries.iter().all(|(map, size)| {
            MapInfo::from_pin(pins.map(map)).map_or(true, |info| info.max_entries() == *size)
        }))
    }

    /// Tells a loader.
    pub fn configure<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        for (map, size) in &self.entries {
            loader.map_max_entries(map, *size);
        }
        let numbers = self.lines.iter().chain(&self.numbers).chain(&self.skb);
        for (name, number) in numbers {
            loader.override_global(name, number, true);
        }
        loader.override_global("SEED", &self.seed, true);
    }

    /// Opens the maps that were loaded so, which no program reads yet.
    pub fn open_new(&self, source: &Source<'_>) -> Result<Kernel, PlaneError> {
        self.mark(source)?;
        Ok(Kernel::from_source(source)?.is_unread())
    }

    /// Leaves in the maps what who opens them has to know.
    fn mark(&self, source: &Source<'_>) -> Result<(), PlaneError> {
        let mut status: Array<MapData, u64> = source.typed(maps::STATUS)?;
        for (word, value) in self.words {
            let result = status.set(word as u32, value, 0);
            result.map_err(|error| kernel_maps::broken(maps::STATUS, &error))?;
        }
        Ok(())
    }
}

/// More of some elements than the limits say.
const SPARE: u32 = 256;

/// Where members of the kernel's `struct sk_buff` are. `SKB_KNOWN` is 1 if the other numbers mean
/// something, else 0.
fn skb_numbers() -> [(&'static str, u32); 6] {
    let layout = SkbLayout::of_this_kernel().ok();
    let number = |of: fn(SkbLayout) -> u32| layout.map_or(0, of);
    [
        ("SKB_KNOWN", u32::from(layout.is_some())),
        ("SKB_IP_SUMMED_BYTE", number(|skb| skb.ip_summed_byte)),
        ("SKB_IP_SUMMED_SHIFT", number(|skb| skb.ip_summed_shift)),
        ("SKB_CSUM_START", number(|skb| skb.csum_start)),
        ("SKB_CSUM_OFFSET", number(|skb| skb.csum_offset)),
        ("SKB_MAC_HEADER", number(|skb| skb.mac_header)),
    ]
}

fn load_into(
    pins: &Pins,
    layout: &Layout,
    table: &ServedTable,
    adopt: bool,
    at_once: NonZero<usize>,
) -> Result<(Kernel, Programs), PlaneError> {
    let mut loader = EbpfLoader::new();
    layout.configure(&mut loader);
    for map in maps::ALL {
        loader.map_pin_path(map, pins.map(map));
    }
    let object = loader.load(PROGRAMS).map_err(|error| {
        let message = format!("cannot load the BPF object: {}", chain(&error));
        with_cure(message, os_error(&error))
    })?;
    let programs = Programs::verify(object, at_once);
    let source = Source::Pins(pins);
    let mut kernel = if adopt {
        layout.mark(&source)?;
        Kernel::from_source(&source)?
    } else {
        layout.open_new(&source)?
    };
    claim(&mut kernel, table)?;
    kernel.repair_duplicates()?;
    Ok((kernel, programs))
}

/// Refuses the maps of another version.
fn check_version(pins: &Pins) -> Result<(), PlaneError> {
    let name = pins.name();
    match kernel_maps::version(pins)? {
        None | Some(0 | ABI_VERSION) => Ok(()),
        Some(other) => Err(PlaneError(format!(
            "the maps of gateway `{name}` are of version {other}, this eip-dp needs {ABI_VERSION}; run `eip-dp \
             --name {name} unload` and start again"
        ))),
    }
}

/// Refuses the maps of another table.
pub fn check_table(pins: &Pins, table: &ServedTable) -> Result<(), PlaneError> {
    let name = pins.name();
    let Some(served) = ServedTable::of(pins)? else {
        return Ok(());
    };
    match served.relation(table.location, table.identity) {
        Relation::Same => Ok(()),
        Relation::Copy => {
            info!("the table was at another path before");
            Ok(())
        }
        Relation::Another => Err(PlaneError(format!(
            "gateway `{name}` forwards for another table; give that one or a copy of it with `--table`, put a copy there \
             with `eip-dp restore FILE`, run a second gateway with `--name`, or run `eip-dp --name {name} unload` first"
        ))),
    }
}

/// Marks new maps as ours.
fn claim(kernel: &mut Kernel, table: &ServedTable) -> Result<(), PlaneError> {
    table.claim(kernel)?;
    kernel.set_word(StatusWord::Abi, ABI_VERSION)
}

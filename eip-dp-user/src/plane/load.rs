//! Loads the BPF object, into new maps or into those that an earlier daemon left.

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapInfo, ProgramArray},
    programs::{ProgramError, SchedClassifier, Xdp},
    util::KernelVersion,
};
use eip_dp_common::abi::{ABI_VERSION, StatusWord, maps, stages};
use tracing::debug;

use super::{Kernel, Pins, PlaneError, chain, kernel, os_error, with_cure};
use crate::{
    PROGRAMS,
    attach::Program,
    image::{Limits, limits},
    requirements::OLDEST_KERNEL,
};

/// The programs in the kernel. They stay there while a link is pinned, also without this value.
#[derive(Debug)]
pub struct Programs {
    object: Ebpf,
}

/// Loads the programs and opens their maps. Maps that are pinned already are adopted if they are of this version and
/// of these sizes; `table` tells them from another table's.
pub fn load(pins: &Pins, limits: &Limits, table: u64) -> Result<(Kernel, Programs), PlaneError> {
    Pins::check_mounted()?;
    let (major, minor) = OLDEST_KERNEL;
    let oldest = KernelVersion::new(major, minor, 0);
    if KernelVersion::current().is_ok_and(|version| version < oldest) {
        return Err(PlaneError(format!(
            "this kernel is older than Linux {major}.{minor}, the oldest that is supported: use a newer kernel"
        )));
    }
    let sizes = limits.by_map();
    let adopt = pins.exist()?;
    if adopt {
        // Maps of another version may have other sizes, and that would not be the point.
        check_version(pins)?;
        check_sizes(pins, &sizes)?;
    }
    pins.create()?;
    let loaded = load_into(pins, &sizes, table);
    if loaded.is_err() && !adopt {
        // What was made in vain does not stay; the error that is returned is the one that matters.
        let _ = pins.remove();
    }
    loaded
}

fn load_into(
    pins: &Pins,
    sizes: &[(&'static str, u32)],
    table: u64,
) -> Result<(Kernel, Programs), PlaneError> {
    let mut loader = EbpfLoader::new();
    for (map, size) in sizes {
        loader.map_max_entries(map, *size);
    }
    for map in maps::ALL {
        loader.map_pin_path(map, pins.map(map));
    }
    let object = loader.load(PROGRAMS).map_err(|error| {
        let message = format!("cannot load the BPF object: {}", chain(&error));
        with_cure(message, os_error(&error))
    })?;
    let mut programs = Programs { object };
    for program in Program::ALL {
        programs.load(program.name(), program.is_xdp())?;
    }
    for (map, place, name) in stages::ALL {
        let is_xdp = map == stages::XDP;
        programs.load(name, is_xdp)?;
        programs.enter(map, place, name, is_xdp)?;
    }
    let mut kernel = Kernel::from_pins(pins)?;
    claim(pins, &mut kernel, table)?;
    Ok((kernel, programs))
}

/// Refuses the maps of another version.
fn check_version(pins: &Pins) -> Result<(), PlaneError> {
    let name = pins.name();
    match kernel::version(pins)? {
        None | Some(0 | ABI_VERSION) => Ok(()),
        Some(other) => Err(PlaneError(format!(
            "the maps of gateway `{name}` are of version {other}, this eip-dp needs {ABI_VERSION}; run `eip-dp \
             --name {name} unload` and start again"
        ))),
    }
}

/// Refuses maps of other sizes: what does not fit the configuration is never ignored.
fn check_sizes(pins: &Pins, sizes: &[(&'static str, u32)]) -> Result<(), PlaneError> {
    for (map, size) in sizes {
        let Ok(info) = MapInfo::from_pin(pins.map(map)) else {
            continue;
        };
        if info.max_entries() != *size {
            let key =
                limits::key_of(map).map_or(String::new(), |key| format!(" (`{key}` of [maps])"));
            return Err(PlaneError(format!(
                "the map {map} of gateway `{}` holds {} elements, the configuration wants {size}{key}: changing the \
                 size of a loaded map is not built yet; run `eip-dp --name {} unload` first (forwarding stops until \
                 the daemon runs again), or put the old size back",
                pins.name(),
                info.max_entries(),
                pins.name()
            )));
        }
    }
    Ok(())
}

/// Refuses the maps of another table, and marks new ones as ours.
fn claim(pins: &Pins, kernel: &mut Kernel, table: u64) -> Result<(), PlaneError> {
    let name = pins.name();
    match kernel.word(StatusWord::Table)? {
        0 => {}
        found if found == table => {}
        _ => {
            return Err(PlaneError(format!(
                "gateway `{name}` forwards for another table; give that one with `--table`, run a second gateway with \
                 `--name`, or run `eip-dp --name {name} unload` first"
            )));
        }
    }
    kernel.set_word(StatusWord::Table, table)?;
    kernel.set_word(StatusWord::Abi, ABI_VERSION)
}

impl Programs {
    fn load(&mut self, name: &str, is_xdp: bool) -> Result<(), PlaneError> {
        let result = if is_xdp {
            self.xdp(name)?.load()
        } else {
            self.tc(name)?.load()
        };
        result.map_err(|error| {
            if let ProgramError::LoadError { verifier_log, .. } = &error {
                debug!(program = name, %verifier_log, "the verifier refuses a program");
            }
            let code = os_error(&error);
            let reason = code.map_or_else(|| chain(&error), |code| std::io::Error::from_raw_os_error(code).to_string());
            let message = format!(
                "the kernel refuses the program {name}: {reason} (the verifier's words are in the log at level debug)"
            );
            with_cure(message, code)
        })
    }

    /// Puts a stage where the other programs find it; one of an earlier daemon is replaced in one step.
    fn enter(&mut self, map: &str, place: u32, name: &str, is_xdp: bool) -> Result<(), PlaneError> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            let message = format!("map {map}: the program {name}: {}", chain(error));
            with_cure(message, os_error(error))
        };
        let program = if is_xdp {
            self.xdp(name)?.fd()
        } else {
            self.tc(name)?.fd()
        };
        let program = program
            .map_err(|error| failed(&error))?
            .try_clone()
            .map_err(|error| failed(&error))?;
        let array = self.object.map_mut(map).ok_or_else(|| missing(map))?;
        ProgramArray::try_from(array)
            .and_then(|mut array| array.set(place, &program, 0))
            .map_err(|error| failed(&error))
    }

    /// The XDP program of that name.
    pub fn xdp(&mut self, name: &str) -> Result<&mut Xdp, PlaneError> {
        let found = self.object.program_mut(name);
        found
            .and_then(|found| found.try_into().ok())
            .ok_or_else(|| missing(name))
    }

    /// The tc program of that name.
    pub fn tc(&mut self, name: &str) -> Result<&mut SchedClassifier, PlaneError> {
        let found = self.object.program_mut(name);
        found
            .and_then(|found| found.try_into().ok())
            .ok_or_else(|| missing(name))
    }
}

fn missing(name: &str) -> PlaneError {
    PlaneError(format!(
        "the BPF object has no {name} of the right type; build eip-dp again"
    ))
}

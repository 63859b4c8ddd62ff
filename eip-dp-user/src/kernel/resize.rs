//! Maps of other sizes take the place of those in use, while packets are forwarded.
//!
//! The new maps are pinned in a folder of their own, and are filled before any program uses them.
//! Then one link after another runs the new programs. A grace period later nothing counts in the
//! old maps any more: their counters are carried over, and the new pins take the place of the old
//! ones. The word [`StatusWord::Switch`] of the new maps says how far that is, so that a daemon
//! that ends at any point leaves what the next one understands: it begins anew, or goes on.

use aya::maps::{Array, Map, MapData, MapError};
use eip_dp_common::abi::{StatusWord, maps};
use tracing::{info, warn};

use super::{
    Kernel, Pins, Plane, PlaneError, ProgramLinks, Programs, kernel_maps::broken, os_error,
    source::Source,
};
use crate::compile::Limits;

/// How far the new maps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There are none, or they are not in use.
    None,
    /// Some programs use them.
    Switching = 1,
    /// All programs do, and all counters are there.
    Switched = 2,
}

/// What tells a moment from one at which other maps are in use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) stage: Stage,
    /// Which maps are in the place that counts.
    status: Option<u32>,
}

impl Moment {
    pub(super) fn of(pins: &Pins) -> Result<Self, PlaneError> {
        let stage = match status(&pins.next())? {
            Some((_, word)) if word == Stage::Switching as u64 => Stage::Switching,
            Some((_, word)) if word == Stage::Switched as u64 => Stage::Switched,
            Some(_) | None => Stage::None,
        };
        Ok(Self {
            stage,
            status: status(pins)?.map(|(id, _)| id),
        })
    }
}

/// Opens what counts of the gateway's maps, all of one moment; `None` if the data plane is not
/// loaded. `open` gets the maps that count, and how far those are that take their place.
pub(super) fn open_at_one_moment<T>(
    pins: &Pins,
    open: impl Fn(&Source<'_>, Stage) -> Result<T, PlaneError>,
) -> Result<Option<T>, PlaneError> {
    Pins::check_mounted()?;
    if !pins.exist()? {
        return Ok(None);
    }
    loop {
        let moment = Moment::of(pins)?;
        let opened = match moment.stage {
            Stage::None => open(&Source::Pins(pins), moment.stage),
            Stage::Switching => open(&Source::Pins(&pins.next()), moment.stage),
            Stage::Switched => open(&Source::Moving(pins), moment.stage),
        };
        // Maps that took each other's place meanwhile do not belong together.
        if Moment::of(pins)? == moment {
            return opened.map(Some);
        }
    }
}

/// The map `STATUS` that is pinned there: its number, and how far its maps are.
fn status(pins: &Pins) -> Result<Option<(u32, u64)>, PlaneError> {
    let read = || -> Result<(u32, u64), MapError> {
        let data = MapData::from_pin(pins.map(maps::STATUS))?;
        let id = data.info()?.id();
        let words: Array<MapData, u64> = Array::try_from(Map::from_map_data(data)?)?;
        Ok((id, words.get(&(StatusWord::Switch as u32), 0)?))
    };
    match read() {
        Ok(found) => Ok(Some(found)),
        Err(error) if os_error(&error) == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(broken(maps::STATUS, &error)),
    }
}

/// New maps that are to take the place of a gateway's.
#[derive(Debug)]
pub struct Resize {
    pins: Pins,
    /// How large the old ones are.
    before: Limits,
    /// Whether programs use the new ones.
    begun: bool,
}

impl Resize {
    pub(super) fn new(pins: &Pins, before: Limits) -> Self {
        Self {
            pins: pins.clone(),
            before,
            begun: false,
        }
    }

    /// Whether something that fits into the old maps may not fit into the new ones.
    pub fn is_smaller(&self, limits: &Limits) -> bool {
        let (new, old) = (limits.by_map(), self.before.by_map());
        new.iter().zip(&old).any(|((_, new), (_, old))| new < old)
    }

    /// All of it, once the new maps hold everything.
    pub fn switch(
        mut self,
        kernel: &mut Kernel,
        programs: &mut Programs,
        links: &mut ProgramLinks,
    ) -> Result<(), PlaneError> {
        self.begin(kernel, programs, links)?;
        self.carry(kernel)?;
        finish(&self.pins)?;
        info!("the maps have the sizes of the configuration");
        Ok(())
    }

    /// Lets the new programs run, and with them the new maps be used.
    pub fn begin(
        &mut self,
        kernel: &mut Kernel,
        programs: &mut Programs,
        links: &mut ProgramLinks,
    ) -> Result<(), PlaneError> {
        kernel.take_answers(&Kernel::from_source(&Source::Pins(&self.pins))?);
        self.begun = true;
        kernel.set_word(StatusWord::Switch, Stage::Switching as u64)?;
        kernel.go_live();
        links.take_over(programs)
    }

    /// Carries over what was counted, once no old program runs any more.
    pub fn carry(&self, kernel: &mut Kernel) -> Result<(), PlaneError> {
        kernel.grace()?;
        let before = Kernel::from_source(&Source::Pins(&self.pins))?;
        kernel.carry(&before)?;
        kernel.set_word(StatusWord::Switch, Stage::Switched as u64)
    }
}

/// Maps that nobody came to use do not stay.
impl Drop for Resize {
    fn drop(&mut self) {
        if !self.begun
            && let Err(error) = self.pins.remove_next()
        {
            warn!(%error, "new maps are not used, and stay till the next start");
        }
    }
}

/// Puts maps that all programs use by now where all look for them. `STATUS` last: till then it says
/// that they are moving.
pub(super) fn finish(pins: &Pins) -> Result<(), PlaneError> {
    let others = maps::ALL.into_iter().filter(|map| *map != maps::STATUS);
    pins.replace(others.chain([maps::STATUS]))
}

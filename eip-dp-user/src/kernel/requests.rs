//! The ring that the programs put guests' requests into.

use aya::maps::{MapData, RingBuf};
use eip_dp_common::abi::maps;

use super::{Pins, PlaneError, Source};

/// Opens it, for the gateway's one reader. It is the same for as long as the gateway is loaded, see
/// [`Pins::map`].
pub fn requests(pins: &Pins) -> Result<RingBuf<MapData>, PlaneError> {
    Source::Pins(pins).typed(maps::REQUESTS)
}

//! Any bytes as a frame: the first says on which interface, then the frame as it is. Its seeds are
//! frames of `tests/cases`, whose addresses the tables have.
#![no_main]

use std::sync::LazyLock;

use eip_dp_common::testing::{
    World, hold,
    site::{ENIS, UPLINK},
    world,
};
use libfuzzer_sys::fuzz_target;

static WORLD: LazyLock<World> = LazyLock::new(world);

fuzz_target!(|bytes: &[u8]| {
    if let Some((interface, frame)) = bytes.split_first() {
        // The uplink, then the ENIs' ports.
        let eni = ENIS.get(usize::from(*interface) % (ENIS.len() + 1));
        hold(&WORLD, eni.map_or(UPLINK, |eni| eni.port), frame);
    }
});

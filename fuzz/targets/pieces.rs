//! Frames in pieces, as XDP gets those that are larger than a page: the first two bytes say how
//! long the first piece is, the others build the frame.
#![no_main]

use std::sync::LazyLock;

use eip_dp_common::testing::{World, dice::Dice, pieces, world};
use libfuzzer_sys::fuzz_target;

static WORLD: LazyLock<World> = LazyLock::new(world);

fuzz_target!(|bytes: &[u8]| {
    pieces::roll(&WORLD, &mut Dice::new(bytes));
});

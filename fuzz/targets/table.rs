//! Packets while the tables change: records with other bytes, missing ones, and such as no version
//! of the ABI writes. Nothing panics, and what is dropped is untouched.
#![no_main]

use std::sync::LazyLock;

use eip_dp_common::testing::{World, decay, dice::Dice, world};
use libfuzzer_sys::fuzz_target;

static WORLD: LazyLock<World> = LazyLock::new(world);

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Dice::new(bytes);
    let (ifindex, frame) = dice.frame();
    decay::hold(&WORLD, &mut dice, ifindex, &frame);
});

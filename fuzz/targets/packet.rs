//! Packets built field by field out of the fuzzer's bytes, with checksums that are right unless
//! rolled otherwise; what is sent to the Internet comes back and has to be as it was.
#![no_main]

use std::sync::LazyLock;

use eip_dp_common::testing::{World, dice::Dice, hold, mirror, world};
use libfuzzer_sys::fuzz_target;

static WORLD: LazyLock<World> = LazyLock::new(world);

fuzz_target!(|bytes: &[u8]| {
    let (ifindex, frame) = Dice::new(bytes).frame();
    let (outcome, sent) = hold(&WORLD, ifindex, &frame);
    mirror::back(&WORLD, ifindex, &frame, &outcome, &sent);
});

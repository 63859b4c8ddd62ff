//! Any bytes as a frame of a guest's, read by two readers, and as what a guest is told.
#![no_main]

use eip_dp_user::guests::testing::envelope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    envelope::hold(bytes);
});

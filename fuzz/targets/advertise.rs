//! Router advertisements, while leases come, change and go, guests solicit, and time passes: two
//! bytes a step.
#![no_main]

use eip_dp_user::guests::testing::advertise;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    advertise::hold(bytes);
});

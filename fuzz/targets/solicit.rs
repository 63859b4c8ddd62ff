//! Any bytes as a router solicitation: the first says on which port, and what is made right.
#![no_main]

use eip_dp_user::guests::testing::solicit;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    solicit::hold(bytes);
});

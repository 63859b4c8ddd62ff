//! A table file, read and applied, as any bytes.
#![no_main]

use eip_dp_user::testing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    testing::document(bytes);
});

//! Any bytes as a frame to the DHCPv6 server: the first says on which port, and what is made right.
#![no_main]

use eip_dp_user::guests::testing::dhcp6;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    dhcp6::hold(bytes);
});

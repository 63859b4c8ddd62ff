//! Packet path and kernel ABI of eip-dp, shared by the BPF programs, the daemon and the tests.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod checksum;
pub mod family;

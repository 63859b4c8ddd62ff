//! Packet path and kernel ABI.
#![no_std]

//! Packet path and kernel ABI of eip-dp, shared by the BPF programs, the daemon and the tests.
//!
//! Start reading at [`pipeline`]: it says what happens to a packet. It is generic over the address
//! family ([`family`]), over where the packet is ([`packet`]: an XDP frame, an skb, a buffer of a
//! test) and over where the tables are ([`tables`]: BPF maps, or collections of a test), so that
//! the code that runs in the kernel is the code that the tests run. [`abi`] is what user space and
//! kernel share.
//!
//! Nothing here allocates, loops without a bound, or panics.
#![cfg_attr(not(any(test, feature = "testing")), no_std)]
// A call costs a BPF program stack and spills: each program is one body.
#![allow(
    clippy::inline_always,
    reason = "each BPF program is to be one body, without calls"
)]
#![allow(
    clippy::many_single_char_names,
    reason = "the bytes of an address have no better names"
)]
#![allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the maps' helpers take keys by reference"
)]

pub mod abi;
pub mod budget;
pub mod checksum;
pub mod cuckoo;
pub mod family;
pub mod packet;
pub mod pipeline;
pub mod tables;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

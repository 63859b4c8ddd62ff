//! The packet path in the kernel, driven packet by packet over `BPF_PROG_TEST_RUN`.
//!
//! A table of cases (`tests/cases/ipv4.json` and `ipv6.json`, written by `generate.py` with scapy)
//! says what goes in and exactly what must come out; [`Bench`] is a network namespace with the
//! interfaces and filled maps of the table's world.

mod bench;
pub mod check;
mod counters;
pub mod namespace;
pub mod property;
mod report;
mod run;
pub mod table;
pub mod wire;
mod world;

pub use bench::{Bench, Delivery, Runner};
pub use counters::Counters;
pub use report::{Failures, hex_diff};
pub use run::{Hook, Run, Verdict};
pub use world::{Maps, Records};

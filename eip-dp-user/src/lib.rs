//! The user-space side of eip-dp: the association table, its command line, and the daemon.

pub mod announce;
pub mod attach;
pub mod cli;
pub mod compile;
pub mod config;
pub mod daemon;
pub mod frame;
pub mod guests;
pub mod host;
pub mod kernel;
pub mod model;
mod places;
pub mod plan;
pub mod private;
pub mod reconcile;
pub mod requirements;
mod schedule;
pub mod shared;
pub mod survey;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// The object file with the BPF programs, compiled by this crate's build script.
pub static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/eip-dp-ebpf"));

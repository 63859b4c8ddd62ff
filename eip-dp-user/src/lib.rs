//! The user-space side of eip-dp: the association table, its command line, and the daemon.

pub mod cli;
pub mod config;
pub mod dhcp;
pub mod host;
pub mod model;
pub mod table;

/// The object file with the BPF programs, compiled by this crate's build script.
pub static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/eip-dp-ebpf"));

//! The bench: how fast gateways forward, and how fast eip-dp's table is, by the method that
//! `docs/performance.md` tells.
//!
//! ```text
//!  source                 gateway                     sink
//!  generator ─▶ up0 ══▶ up0 ─▶ [candidate] ─▶ p0 ══▶ e0 ─▶ counted      in
//!    counted ◀─ up0 ◀══ up0 ◀─ [candidate] ◀─ p0 ◀══ e0 ◀─ generator    out
//! ```
//!
//! Each candidate has a lab of its own; all of them stand while rounds go over them in turn. What
//! is sent and what has to arrive is a [`bench_ebpf::Plan`](eip_dp_bench_ebpf::Plan); [`site`]
//! builds the namespaces, [`generator`] sends and counts.

pub mod applied;
pub mod bulk;
mod clocks;
pub mod document;
pub mod gateways;
pub mod generator;
pub mod goals;
pub mod machine;
mod memory;
pub mod object;
pub mod pktgen;
pub mod plan;
pub mod plots;
pub mod programs;
pub mod report;
pub mod rounds;
pub mod rows;
pub mod shape;
pub mod site;
pub mod table_file;
pub mod table_side;
mod tracker;

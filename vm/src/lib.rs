//! Boot this kernel with these files and run this command.
//!
//! ```no_run
//! # use std::{path::Path, time::Duration};
//! # use eip_dp_vm::{Cache, Machine, Payload};
//! # fn main() -> anyhow::Result<()> {
//! let cache = Cache::new(Path::new(".tools/vm"));
//! let kernel = cache.kernel("6.1")?;
//! let mut payload = Payload::new(&["/usr/bin/probe", "--all"]);
//! payload.program(Path::new("target/debug/probe"), "/usr/bin/probe")?;
//! payload.modules(&["veth", "act_nat"]);
//! let machine = Machine::new(Duration::from_mins(5));
//! let status = machine.run(&cache, &kernel, &payload, &mut |line| println!("{line}"))?;
//! # let _ = status;
//! # Ok(())
//! # }
//! ```
//!
//! Kernels, qemu and busybox are Debian's packages, unpacked into the cache and never installed.
//! The machine has no disk and no way out: its root is an archive in memory, and what comes back is
//! what the command prints and its exit status. It is emulated (`-accel tcg`), so that it runs
//! where no virtualisation is to be had, and it needs no privileges.

mod archive;
mod kernel;
mod machine;
mod packages;
mod payload;

pub use kernel::Kernel;
pub use machine::Machine;
pub use packages::Cache;
pub use payload::{Payload, find};

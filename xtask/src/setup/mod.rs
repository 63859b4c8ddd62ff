//! `cargo xtask setup`: brings what is missing, and says what it does. When nothing is missing it takes a moment.

mod candidates;
mod linker;
mod probe;
mod programs;
mod record;

use anyhow::Result;

/// The tool chain of the BPF programs, for builds.
pub fn tool_chain() -> Result<()> {
    record::ensure()
}

/// Everything: the tool chain, and the programs that the demo and the tests run.
pub fn run() -> Result<()> {
    tool_chain()?;
    programs::ensure()
}

/// Likewise, and the applications of the matrix of protocols.
pub fn with_applications() -> Result<()> {
    run()?;
    programs::ensure_applications()
}

//! `cargo xtask setup`: brings what is missing, and says what it does. When nothing is missing it
//! takes a moment.

mod candidates;
mod linker;
mod miri;
mod probe;
mod programs;
mod record;

use std::path::PathBuf;

use anyhow::Result;

pub use candidates::{Compiler, plain};

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

/// What builds the fuzz targets; gives the compiler, which takes unstable options.
pub fn for_fuzzing() -> Result<Compiler> {
    tool_chain()?;
    programs::ensure_fuzzer()?;
    record::compiler()
}

/// The folder with Miri, and the compilers of its release.
pub fn with_miri() -> Result<PathBuf> {
    tool_chain()?;
    miri::ensure(&record::compiler()?)
}

//! `apply` and `export`: the whole table as TOML.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Global, wait::Wait};

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// The table file; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    /// Delete what the file does not name
    #[arg(long)]
    prune: bool,
    /// Print the difference and change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    #[command(flatten)]
    wait: Wait,
}

impl Apply {
    pub(super) fn run(self, _global: &Global) -> Result<(), Failure> {
        Err(Failure::failed(format!("not built yet: {self:?}")))
    }
}

/// `export`.
pub(super) fn export(_global: &Global) -> Result<(), Failure> {
    Err(Failure::failed("`export` is not built yet"))
}

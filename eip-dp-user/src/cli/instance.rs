//! `instance`: machines that ENIs are attached to.

use clap::{Args, Subcommand};

use super::{Failure, Global, values, wait::Wait};

/// Verbs of `instance`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add an instance
    Create(Create),
    /// List all instances
    List,
    /// Show one instance
    Show {
        /// The instance
        #[arg(value_parser = values::id)]
        id: String,
    },
    /// Remove an instance and its primary ENI
    Delete(Delete),
}

/// Arguments of `instance create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The instance's id
    #[arg(value_parser = values::id)]
    id: String,
    /// How many ENIs it takes, the primary one included [default: no limit]
    #[arg(long, value_name = "N")]
    max_enis: Option<u32>,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `instance delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The instance
    #[arg(value_parser = values::id)]
    id: String,
    #[command(flatten)]
    wait: Wait,
}

impl Verb {
    pub(super) fn run(self, _global: &Global) -> Result<(), Failure> {
        Err(Failure::failed(format!("not built yet: {self:?}")))
    }
}

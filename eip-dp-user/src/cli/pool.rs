//! `pool`: public prefixes that this gateway serves.

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::{Failure, Global, values, wait::Wait};
use crate::model::objects::{AddressRange, PoolGateway};

/// Verbs of `pool`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a pool
    Create(Create),
    /// List all pools
    List,
    /// Remove a pool that no EIP uses
    Delete(Delete),
}

/// Arguments of `pool create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The prefix, such as 203.0.113.0/24
    #[arg(value_parser = values::prefix)]
    cidr: IpNet,
    /// The router of guests in cut-through mode, or `none` for a routed pool whose every address is usable
    /// [default: the first host address]
    #[arg(long, value_name = "A|none")]
    gateway: Option<PoolGateway>,
    /// Addresses that are never handed out; may be given several times
    #[arg(long, value_name = "A-B")]
    reserve: Vec<AddressRange>,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `pool delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The prefix
    #[arg(value_parser = values::prefix)]
    cidr: IpNet,
    #[command(flatten)]
    wait: Wait,
}

impl Verb {
    pub(super) fn run(self, _global: &Global) -> Result<(), Failure> {
        Err(Failure::failed(format!("not built yet: {self:?}")))
    }
}

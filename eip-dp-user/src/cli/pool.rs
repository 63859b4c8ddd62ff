//! `pool`: public prefixes that this gateway serves.

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::{
    Failure, Global, output,
    session::{self, Session},
    values,
    wait::Wait,
};
use crate::model::{
    command::Command,
    objects::{AddressRange, Pool, PoolGateway},
};

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
    pub(super) fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Create(args) => args.run(global),
            Self::List => list(global),
            Self::Delete(Delete { cidr, wait }) => {
                let command = Command::PoolDelete { cidr };
                session::change::<Pool>(global, wait, &cidr.to_string(), &command, |_| {
                    "deleted".to_owned()
                })
            }
        }
    }
}

impl Create {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let command = Command::PoolCreate(Pool {
            cidr: self.cidr,
            gateway: self.gateway,
            reserve: self.reserve,
        });
        session::change::<Pool>(global, self.wait, &self.cidr.to_string(), &command, |_| {
            "created".to_owned()
        })
    }
}

fn list(global: &Global) -> Result<(), Failure> {
    let pools = Session::open(global)?.read(|view| Ok(view.pools()))?;
    session::list(
        global.output,
        pools.values(),
        |pool| (*pool).clone(),
        ["CIDR", "GATEWAY", "RESERVE"],
        |pool| {
            [
                pool.cidr.to_string(),
                pool.gateway
                    .map_or_else(|| "default".to_owned(), |gateway| gateway.to_string()),
                output::join(&pool.reserve),
            ]
        },
    )
}

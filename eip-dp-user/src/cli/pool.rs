//! `pool`: public prefixes that this gateway serves.

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::{
    Failure, Global,
    object::{MayBeAbsent, MayExist},
    output,
    session::{self, Fields, Session},
    values,
    wait::Wait,
};
use crate::model::{
    command::{Command, OrNone},
    objects::{AddressRange, DEFAULT_PRIORITY, Pool, PoolGateway},
};

/// Verbs of `pool`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a pool
    Create(Create),
    /// Change a pool
    Set(Set),
    /// List all pools
    #[command(visible_alias = "ls")]
    List,
    /// Remove a pool that no EIP uses
    #[command(visible_alias = "rm")]
    Delete(Delete),
}

/// Arguments of `pool create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The prefix, such as 203.0.113.0/24
    #[arg(value_parser = values::prefix)]
    cidr: IpNet,
    /// The router of guests in cut-through mode, or `none` for a routed pool whose every address is
    /// usable [default: the first host address]
    #[arg(long, value_name = "A|none")]
    gateway: Option<PoolGateway>,
    /// Addresses that are never handed out; may be given several times
    #[arg(long, value_name = "A-B")]
    reserve: Vec<AddressRange>,
    /// Pools with a lower number are asked first for an address [default: 100]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<u16>,
    #[command(flatten)]
    may_exist: MayExist,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `pool set`.
#[derive(Debug, Args)]
#[group(id = "changes", required = true, multiple = true, args = ["gateway", "reserve", "no_reserve", "priority"])]
pub struct Set {
    /// The prefix
    #[arg(value_parser = values::prefix)]
    cidr: IpNet,
    /// The router of guests in cut-through mode, `none` for a routed pool, `default` for the first
    /// host address
    #[arg(long, value_name = "A|none|default", value_parser = values::gateway_or_default)]
    gateway: Option<OrNone<PoolGateway>>,
    /// Addresses that are never handed out, in place of those of before; may be given several times
    #[arg(long, value_name = "A-B")]
    reserve: Vec<AddressRange>,
    /// No addresses are reserved any more
    #[arg(long, conflicts_with = "reserve")]
    no_reserve: bool,
    /// Pools with a lower number are asked first for an address
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<u16>,
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
    may_be_absent: MayBeAbsent,
    #[command(flatten)]
    wait: Wait,
}

impl Verb {
    pub(super) fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Create(args) => args.run(global),
            Self::Set(args) => args.run(global),
            Self::List => list(global),
            Self::Delete(args) => args.run(global),
        }
    }
}

impl Delete {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open(global)?;
        let key = self.cidr.to_string();
        let Some(key) = session.id_or_absent::<Pool>(&key, self.may_be_absent)? else {
            return Ok(());
        };
        let command = Command::PoolDelete { cidr: self.cidr };
        session.change::<Pool>(self.wait, &key, &command, |_| "deleted".to_owned())
    }
}

impl Create {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let pool = Pool {
            cidr: self.cidr,
            gateway: self.gateway,
            reserve: self.reserve,
            priority: self.priority.unwrap_or(DEFAULT_PRIORITY),
        };
        let (key, wanted) = (self.cidr.to_string(), Fields::of(&pool, &[]));
        let (command, session) = (Command::PoolCreate(pool), Session::open_to_make(global)?);
        let line = |_: &Pool| "created".to_owned();
        session.create(self.wait, self.may_exist, &key, &command, &wanted, line)
    }
}

impl Set {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let is_reserve = self.no_reserve || !self.reserve.is_empty();
        let command = Command::PoolSet {
            cidr: self.cidr,
            gateway: self.gateway,
            reserve: is_reserve.then_some(self.reserve),
            priority: self.priority,
        };
        session::change::<Pool>(
            global,
            self.wait,
            &self.cidr.to_string(),
            &command,
            |pool| {
                format!(
                    "changed: gateway {}, reserve {}, priority {}",
                    gateway(pool),
                    output::or_none(output::join(&pool.reserve)),
                    pool.priority
                )
            },
        )
    }
}

fn gateway(pool: &Pool) -> String {
    pool.gateway
        .map_or_else(|| "default".to_owned(), |gateway| gateway.to_string())
}

fn list(global: &Global) -> Result<(), Failure> {
    let pools = Session::open(global)?.read(|view| Ok(view.pools()))?;
    session::list(
        global.output,
        pools.values(),
        |pool| (*pool).clone(),
        ["CIDR", "GATEWAY", "RESERVE", "PRIORITY"],
        |pool| {
            [
                pool.cidr.to_string(),
                gateway(pool),
                output::join(&pool.reserve),
                pool.priority.to_string(),
            ]
        },
    )
}

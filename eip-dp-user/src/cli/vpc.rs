//! `vpc`: private networks.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::{Failure, Global, values, wait::Wait};

/// Verbs of `vpc`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a VPC
    Create(Create),
    /// List all VPCs
    List,
    /// Show one VPC
    Show {
        /// The VPC
        #[arg(value_parser = values::id)]
        id: String,
    },
    /// Remove a VPC that no ENI is in
    Delete(Delete),
}

/// Arguments of `vpc create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The VPC's id
    #[arg(value_parser = values::id)]
    id: String,
    /// A prefix of it; may be given several times
    #[arg(long = "cidr", required = true, value_name = "P", value_parser = values::prefix)]
    cidrs: Vec<IpNet>,
    /// The router of the prefix that contains it [default: the first host address of each prefix]
    #[arg(long, value_name = "A", value_parser = values::address)]
    gateway: Option<IpAddr>,
    /// The VXLAN network identifier
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..1 << 24))]
    vni: Option<u32>,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `vpc delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The VPC
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

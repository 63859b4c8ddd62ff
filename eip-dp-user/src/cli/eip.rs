//! `eip`: elastic public addresses.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{
    Failure, Global,
    values::{self, Expiry},
    wait::Wait,
};

/// Verbs of `eip`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Allocate an EIP
    Create(Create),
    /// Change when an EIP expires
    Set(Set),
    /// List all EIPs
    List,
    /// Show one EIP
    Show {
        /// The EIP
        #[arg(value_parser = values::id)]
        id: String,
    },
    /// Give an EIP back that is not associated
    Release(Release),
}

/// Arguments of `eip create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The EIP's id
    #[arg(value_parser = values::id)]
    id: String,
    /// The public address [default: the next free one of a pool]
    #[arg(long, value_name = "A", value_parser = values::address)]
    address: Option<IpAddr>,
    /// The region that its ENI must share with it
    #[arg(long, value_name = "R", value_parser = values::id)]
    region: Option<String>,
    /// When it expires, such as 2030-12-31T23:59:59Z
    #[arg(long, value_name = "RFC3339", value_parser = values::time)]
    expires: Option<Timestamp>,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `eip set`.
#[derive(Debug, Args)]
pub struct Set {
    /// The EIP
    #[arg(value_parser = values::id)]
    id: String,
    /// When it expires, such as 2030-12-31T23:59:59Z, or `never`
    #[arg(long, required = true, value_name = "RFC3339|never", value_parser = values::expiry)]
    expires: Expiry,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `eip release`.
#[derive(Debug, Args)]
pub struct Release {
    /// The EIP
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

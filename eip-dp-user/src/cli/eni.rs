//! `eni`: elastic network interfaces.

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::{Failure, Global, values, wait::Wait};
use crate::model::objects::{Antispoof, EniKind, Mac};

/// Verbs of `eni`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add an ENI
    Create(Create),
    /// Attach an ENI to an instance, behind a port of this host; an attached one moves
    Attach(Attach),
    /// Detach a secondary ENI from its instance
    Detach(Id),
    /// Give an ENI another private address
    AddIp(Ip),
    /// Take a private address from an ENI
    RemoveIp(Ip),
    /// List all ENIs
    List,
    /// Show one ENI
    Show {
        /// The ENI
        #[arg(value_parser = values::id)]
        id: String,
    },
    /// Remove a detached ENI that has no EIP
    Delete(Id),
}

/// Arguments of `eni create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The ENI's id
    #[arg(value_parser = values::id)]
    id: String,
    /// The VPC that it belongs to
    #[arg(long, value_name = "V", value_parser = values::id)]
    vpc: String,
    /// Primary: lives with its instance. Secondary: moves between instances
    #[arg(long, value_parser = values::kind())]
    kind: EniKind,
    /// Its Ethernet address
    #[arg(long, value_name = "M")]
    mac: Mac,
    /// A private address; may be given several times, the first is the primary private IP
    #[arg(long = "private-ip", required = true, value_name = "A", value_parser = values::address)]
    private_ips: Vec<IpAddr>,
    /// The region that its EIPs must share with it
    #[arg(long, value_name = "R", value_parser = values::id)]
    region: Option<String>,
    /// Whose source addresses its port accepts: every ENI's of the same instance and VPC, or its own only
    /// [default: instance]
    #[arg(long, value_parser = values::antispoof())]
    antispoof: Option<Antispoof>,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `eni attach`.
#[derive(Debug, Args)]
pub struct Attach {
    /// The ENI
    #[arg(value_parser = values::id)]
    id: String,
    /// The instance
    #[arg(long, value_name = "I", value_parser = values::id)]
    instance: String,
    /// The interface of this host behind which the ENI stands; it need not exist yet
    #[arg(long, value_name = "IFNAME", value_parser = values::interface)]
    port: String,
    /// The VLAN on that interface
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4094))]
    vlan: Option<u16>,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `eni detach` and `eni delete`.
#[derive(Debug, Args)]
pub struct Id {
    /// The ENI
    #[arg(value_parser = values::id)]
    id: String,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `eni add-ip` and `eni remove-ip`.
#[derive(Debug, Args)]
pub struct Ip {
    /// The ENI
    #[arg(value_parser = values::id)]
    id: String,
    /// The private address
    #[arg(value_parser = values::address)]
    address: IpAddr,
    #[command(flatten)]
    wait: Wait,
}

impl Verb {
    pub(super) fn run(self, _global: &Global) -> Result<(), Failure> {
        Err(Failure::failed(format!("not built yet: {self:?}")))
    }
}

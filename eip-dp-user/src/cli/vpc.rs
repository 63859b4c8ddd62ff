//! `vpc`: private networks.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::{
    Failure, Format, Global, failure,
    object::{ById, MayExist},
    output,
    session::{self, Fields, Session},
    values,
    wait::Wait,
};
use crate::{
    compile,
    daemon::Report,
    model::{
        command::{Command, OrNone},
        objects::Vpc,
    },
};

/// Verbs of `vpc`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a VPC
    Create(Create),
    /// Change a VPC
    Set(Set),
    /// List all VPCs
    #[command(visible_alias = "ls")]
    List,
    /// Show one VPC
    Show {
        /// The VPC, or an address or prefix of it
        #[arg(value_parser = values::name)]
        id: String,
    },
    /// Remove a VPC that no ENI is in
    #[command(visible_alias = "rm")]
    Delete(ById),
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
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..1 << 24))]
    vni: Option<u32>,
    #[command(flatten)]
    may_exist: MayExist,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `vpc set`.
#[derive(Debug, Args)]
#[group(id = "changes", required = true, multiple = true, args = ["add", "remove", "gateway", "vni"])]
pub struct Set {
    /// The VPC, or an address or prefix of it
    #[arg(value_parser = values::name)]
    id: String,
    /// A prefix that it gets; may be given several times
    #[arg(long = "add-cidr", value_name = "P", value_parser = values::prefix)]
    add: Vec<IpNet>,
    /// A prefix that it loses, in which no ENI has an address; may be given several times
    #[arg(long = "remove-cidr", value_name = "P", value_parser = values::prefix)]
    remove: Vec<IpNet>,
    /// The router of the prefix that contains it, or `default` for the first host address of each
    /// prefix
    #[arg(long, value_name = "A|default", value_parser = values::address_or_default)]
    gateway: Option<OrNone<IpAddr>>,
    /// The VXLAN network identifier, or `none`
    #[arg(long, value_name = "N|none", value_parser = values::number_or_none)]
    vni: Option<OrNone<u32>>,
    #[command(flatten)]
    wait: Wait,
}

impl Verb {
    pub(super) fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Create(args) => args.run(global),
            Self::Set(args) => args.run(global),
            Self::List => list(global),
            Self::Show { id } => show(global, &id),
            Self::Delete(vpc) => vpc.change::<Vpc>(
                global,
                |id| Command::VpcDelete { id },
                |_| "deleted".to_owned(),
            ),
        }
    }
}

impl Create {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let cidrs = self.cidrs.clone();
        let vpc = Vpc {
            id: self.id.clone(),
            cidrs: self.cidrs,
            gateway: self.gateway,
            vni: self.vni,
        };
        let wanted = Fields::of(&vpc, &[]);
        let (command, session) = (Command::VpcCreate(vpc), Session::open_to_make(global)?);
        let line = |vpc: &Vpc| format!("created: {}", output::join(&vpc.cidrs));
        session.create(self.wait, self.may_exist, &self.id, &command, &wanted, line)?;
        warn_of_overlaps(global, &self.id, &cidrs);
        Ok(())
    }
}

/// Warns of prefixes that are also in use on the link of an uplink, as far as a daemon on this host
/// has seen.
fn warn_of_overlaps(global: &Global, id: &str, cidrs: &[IpNet]) {
    let Some(report) = Report::read(&Report::path(&global.name)) else {
        return;
    };
    for uplink in &report.uplinks {
        let name = compile::link_name(&uplink.interface, uplink.vlan);
        for cidr in cidrs {
            let shared = uplink.networks.iter();
            for net in shared.filter(|net| compile::do_overlap(cidr, net)) {
                failure::warn(global.output, &compile::overlap(id, cidr, &name, net));
            }
        }
    }
}

impl Set {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open(global)?;
        let id = session.id::<Vpc>(&self.id)?;
        let added = self.add.clone();
        let command = Command::VpcSet {
            id: id.clone(),
            add: self.add,
            remove: self.remove,
            gateway: self.gateway,
            vni: self.vni,
        };
        session.change::<Vpc>(self.wait, &id, &command, |vpc| {
            let gateway = vpc.gateway.map(|gateway| gateway.to_string());
            format!(
                "changed: {}, gateway {}, vni {}",
                output::join(&vpc.cidrs),
                gateway.unwrap_or_else(|| "default".to_owned()),
                output::or_none(output::optional(vpc.vni))
            )
        })?;
        warn_of_overlaps(global, &id, &added);
        Ok(())
    }
}

fn list(global: &Global) -> Result<(), Failure> {
    let model = Session::open(global)?.model()?;
    session::list(
        global.output,
        model.vpcs.values(),
        |vpc| (*vpc).clone(),
        ["ID", "CIDRS", "GATEWAY", "VNI"],
        |vpc| {
            [
                vpc.id.clone(),
                output::join(&vpc.cidrs),
                vpc.gateway
                    .map_or_else(|| "default".to_owned(), |gateway| gateway.to_string()),
                output::optional(vpc.vni),
            ]
        },
    )
}

fn show(global: &Global, id: &str) -> Result<(), Failure> {
    let vpc: Vpc = Session::open(global)?.read(|view| session::find(view, id))?;
    if global.output == Format::Json {
        return output::json(&vpc);
    }
    let gateway = match vpc.gateway {
        Some(gateway) => gateway.to_string(),
        None => "default: the first host address of each CIDR".to_owned(),
    };
    output::fields(&[
        ("id", vpc.id),
        ("cidrs", output::join(&vpc.cidrs)),
        ("gateway", gateway),
        ("vni", output::optional(vpc.vni)),
    ])
}

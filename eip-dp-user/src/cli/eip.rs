//! `eip`: elastic public addresses.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{
    Failure, Format, Global,
    object::{ById, MayExist},
    output,
    serving::{Subject, Verdict},
    session::{self, Fields, Session},
    values,
    wait::Wait,
};
use crate::{
    model::{
        command::{Command, EipSpec, Expiry},
        objects::{Announce, Association, Eip, Mode},
        rules::storable,
    },
    shared::Holder,
};

/// Verbs of `eip`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Allocate an EIP
    Create(Create),
    /// Change when an EIP expires, or when it is announced
    Set(Set),
    /// List all EIPs
    #[command(visible_alias = "ls")]
    List,
    /// Show one EIP
    Show {
        /// The EIP, or its address
        #[arg(value_parser = values::name)]
        id: String,
    },
    /// Give an EIP back that is not associated
    #[command(visible_alias = "rm", alias = "delete")]
    Release(ById),
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
    /// The pool to take the next free address of [default: the first IPv4 pool with one]
    #[arg(long, value_name = "CIDR", value_parser = values::prefix, conflicts_with = "address")]
    pool: Option<IpNet>,
    /// The region that its ENI must share with it
    #[arg(long, value_name = "R", value_parser = values::id)]
    region: Option<String>,
    /// When it expires, such as 2030-12-31T23:59:59Z, 2030-12-31, +30d, or `never`
    #[arg(long, value_name = "TIME|never", allow_hyphen_values = true)]
    expires: Option<Expiry>,
    #[command(flatten)]
    may_exist: MayExist,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `eip set`.
#[derive(Debug, Args)]
pub struct Set {
    /// The EIP, or its address
    #[arg(value_parser = values::name)]
    id: String,
    /// When it expires, such as 2030-12-31T23:59:59Z, 2030-12-31, +30d, or `never`
    #[arg(long, value_name = "TIME|never", allow_hyphen_values = true)]
    expires: Option<Expiry>,
    /// Whether an EIP of the uplink's network is announced, and answered for, while no other host
    /// there has the address (`auto`), or whoever has it: a router with proxy ARP answers for every
    /// address
    #[arg(long, value_parser = values::announce())]
    announce: Option<Announce>,
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
            Self::Release(eip) => eip.change::<Eip>(
                global,
                |id| Command::EipRelease { id },
                |eip| format!("released: {}", eip.address),
            ),
        }
    }
}

impl Set {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open(global)?;
        let id = session.id::<Eip>(&self.id)?;
        let command = Command::EipSet {
            id: id.clone(),
            expires: self.expires,
            announce: self.announce,
        };
        session.change::<Eip>(self.wait, &id, &command, |eip| {
            let line = format!("changed: {}, expires {}", eip.state, expires_at(eip));
            match self.announce {
                Some(announce) => format!("{line}, announced {announce}"),
                None => line,
            }
        })
    }
}

impl Create {
    fn run(self, global: &Global) -> Result<(), Failure> {
        // Without an address any will do, unless a pool was named.
        let wanted = Fields::of(
            &json!({
                "address": self.address,
                "region": self.region,
                "expires_at": self.expires.and_then(Expiry::end).map(storable),
            }),
            if self.address.is_some() {
                &["id", "state", "announce", "former"]
            } else {
                &["id", "state", "announce", "former", "address"]
            },
        );
        let wanted = match self.pool {
            Some(pool) => wanted.within("address", pool),
            None => wanted,
        };
        let command = Command::EipCreate(EipSpec {
            id: self.id.clone(),
            address: self.address,
            pool: self.pool,
            region: self.region,
            expires_at: self.expires.and_then(Expiry::end),
        });
        let line = |eip: &Eip| format!("created: {}", eip.address);
        let session = Session::open_to_make(global)?;
        session.create::<Eip>(self.wait, self.may_exist, &self.id, &command, &wanted, line)
    }
}

fn expires_at(eip: &Eip) -> String {
    eip.expires_at
        .map_or_else(|| "never".to_owned(), |time| time.to_string())
}

/// An EIP and what it stands for.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    eip: &'a Eip,
    #[serde(skip_serializing_if = "Option::is_none")]
    association: Option<ShownAssociation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serving: Option<&'a Verdict>,
}

/// An association as its EIP shows it.
#[derive(Serialize)]
struct ShownAssociation<'a> {
    eni: &'a str,
    private_ip: IpAddr,
    mode: Mode,
    /// Who has the private IP now, where several ENIs share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<ShownHolder<'a>>,
}

/// The ENI that has a shared address, as its EIP shows it.
#[derive(Serialize)]
struct ShownHolder<'a> {
    eni: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    moves: u64,
}

impl<'a> Shown<'a> {
    /// With who has the private IP now.
    fn at(mut self, holder: Option<&'a Holder>) -> Self {
        if let Some(association) = &mut self.association {
            association.holder = holder.map(|holder| ShownHolder {
                eni: &holder.eni,
                since: holder.since,
                moves: holder.moves,
            });
        }
        self
    }

    fn new(
        eip: &'a Eip,
        association: Option<&'a Association>,
        serving: Option<&'a Verdict>,
    ) -> Self {
        Self {
            eip,
            serving,
            association: association.map(|association| ShownAssociation {
                eni: &association.eni,
                private_ip: association.private_ip,
                mode: association.mode,
                holder: None,
            }),
        }
    }
}

fn list(global: &Global) -> Result<(), Failure> {
    let model = Session::open(global)?.model()?;
    let association = |eip: &Eip| model.associations.get(&eip.id);
    session::list(
        global.output,
        model.eips.values(),
        |eip| Shown::new(eip, association(eip), None),
        [
            "ID",
            "ADDRESS",
            "STATE",
            "ENI",
            "PRIVATE-IP",
            "MODE",
            "REGION",
            "EXPIRES",
        ],
        |eip| {
            let association = association(eip);
            [
                eip.id.clone(),
                eip.address.to_string(),
                eip.state.to_string(),
                output::optional(association.map(|it| &it.eni)),
                output::optional(association.map(|it| it.private_ip)),
                output::optional(association.map(|it| it.mode)),
                output::optional(eip.region.as_ref()),
                output::optional(eip.expires_at),
            ]
        },
    )
}

fn show(global: &Global, id: &str) -> Result<(), Failure> {
    let session = Session::open(global)?;
    let (eip, subject) = session.read(|view| {
        let eip: Eip = session::find(view, id)?;
        let subject = Subject::eip(view, &eip.id);
        Ok((eip, subject))
    })?;
    let subject = subject.unwrap_or_else(|| Subject::Eip(eip.clone(), None, Vec::new()));
    let serving = session.verdict(&subject)?;
    let holder = subject.holder(global);
    let Subject::Eip(_, association, _) = &subject else {
        return Err(Failure::failed(format!("`{id}` is no EIP")));
    };
    let association = association.as_ref().map(|(one, _)| one);
    if global.output == Format::Json {
        let shown = Shown::new(&eip, association, Some(&serving));
        return output::json(&shown.at(holder.as_ref()));
    }
    let expires = expires_at(&eip);
    let always = eip.announce == Announce::Always;
    let announce = always.then(|| ("announce", eip.announce.to_string()));
    let mut fields = vec![
        ("id", eip.id),
        ("address", eip.address.to_string()),
        ("region", output::optional(eip.region)),
        ("expires_at", expires),
        ("state", eip.state.to_string()),
        ("eni", output::optional(association.map(|it| &it.eni))),
        (
            "private_ip",
            output::optional(association.map(|it| it.private_ip)),
        ),
        ("mode", output::optional(association.map(|it| it.mode))),
        ("holder", output::optional(holder)),
        ("serving", serving.to_string()),
    ];
    fields.extend(announce);
    output::fields(&fields)
}

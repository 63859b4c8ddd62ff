//! `instance`: machines that ENIs are attached to.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Failure, Format, Global,
    object::{ById, MayExist},
    output,
    session::{self, Fields, Session},
    values,
    wait::Wait,
};
use crate::model::{
    EniFilter, Model,
    command::{Command, OrNone},
    objects::Instance,
};

/// Verbs of `instance`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add an instance
    Create(Create),
    /// Change an instance
    Set(Set),
    /// List all instances
    #[command(visible_alias = "ls")]
    List,
    /// Show one instance
    Show {
        /// The instance, or an address, MAC or port of an ENI on it
        #[arg(value_parser = values::name)]
        id: String,
    },
    /// Remove an instance and its primary ENI
    #[command(visible_alias = "rm")]
    Delete(ById),
}

/// Arguments of `instance create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The instance's id
    #[arg(value_parser = values::id)]
    id: String,
    /// How many ENIs it takes, the primary one included [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_enis: Option<u32>,
    #[command(flatten)]
    may_exist: MayExist,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `instance set`.
#[derive(Debug, Args)]
pub struct Set {
    /// The instance, or an address, MAC or port of an ENI on it
    #[arg(value_parser = values::name)]
    id: String,
    /// How many ENIs it takes from now on, the primary one included, or `none` for no limit
    #[arg(long, required = true, value_name = "N|none", allow_negative_numbers = true, value_parser = values::number_or_none)]
    max_enis: OrNone<u32>,
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
            Self::Delete(instance) => instance.change::<Instance>(
                global,
                |id| Command::InstanceDelete { id },
                |_| "deleted".to_owned(),
            ),
        }
    }
}

impl Create {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let instance = Instance {
            id: self.id.clone(),
            max_enis: self.max_enis,
        };
        let wanted = Fields::of(&instance, &[]);
        let (command, session) = (
            Command::InstanceCreate(instance),
            Session::open_to_make(global)?,
        );
        let line = |_: &Instance| "created".to_owned();
        session.create(self.wait, self.may_exist, &self.id, &command, &wanted, line)
    }
}

impl Set {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open(global)?;
        let id = session.id::<Instance>(&self.id)?;
        let command = Command::InstanceSet {
            id: id.clone(),
            max_enis: Some(self.max_enis),
        };
        session.change::<Instance>(self.wait, &id, &command, |instance| {
            let limit = instance.max_enis.map(|max| max.to_string());
            format!(
                "changed: max_enis {}",
                output::or_none(limit.unwrap_or_default())
            )
        })
    }
}

/// An instance and the ENIs that are attached to it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    instance: &'a Instance,
    enis: &'a [&'a str],
}

/// The ids of the ENIs on each instance.
fn attached(model: &Model) -> BTreeMap<&str, Vec<&str>> {
    let mut attached: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for eni in model.enis.values() {
        if let Some(instance) = &eni.instance {
            attached
                .entry(instance.as_str())
                .or_default()
                .push(eni.id.as_str());
        }
    }
    attached
}

fn list(global: &Global) -> Result<(), Failure> {
    let model = Session::open(global)?.model()?;
    let attached = attached(&model);
    let enis = |instance: &Instance| {
        attached
            .get(instance.id.as_str())
            .map_or(&[][..], Vec::as_slice)
    };
    session::list(
        global.output,
        model.instances.values(),
        |instance| Shown {
            instance,
            enis: enis(instance),
        },
        ["ID", "MAX-ENIS", "ENIS"],
        |instance| {
            [
                instance.id.clone(),
                output::optional(instance.max_enis),
                output::join(enis(instance)),
            ]
        },
    )
}

fn show(global: &Global, id: &str) -> Result<(), Failure> {
    let (instance, enis) = Session::open(global)?.read(|view| {
        let instance: Instance = session::find(view, id)?;
        let mut enis = Vec::new();
        // Taking none, so as to be offered all of them.
        view.find_eni(EniFilter::Instance(&instance.id), &mut |eni| {
            enis.push(eni.to_owned());
            false
        });
        Ok((instance, enis))
    })?;
    if global.output == Format::Json {
        return output::json(&Shown {
            instance: &instance,
            enis: &enis.iter().map(String::as_str).collect::<Vec<_>>(),
        });
    }
    let max_enis = instance
        .max_enis
        .map_or_else(|| "no limit".to_owned(), |max| max.to_string());
    output::fields(&[
        ("id", instance.id),
        ("max_enis", max_enis),
        ("enis", output::or_none(output::join(&enis))),
    ])
}

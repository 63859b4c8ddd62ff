//! What the kinds of objects have in common for the command line.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;

use super::{
    Failure, Global, eni, lookup, output,
    serving::{Subject, Verdict},
    session::Session,
    values,
    wait::Wait,
};
use crate::model::{
    Change, Diff, Kind, View,
    command::Command,
    objects::{Association, Eip, Eni, Instance, Pool, Vpc},
};

/// Arguments of the verbs that name an object and say no more about it.
#[derive(Debug, Args)]
pub struct ById {
    /// Its id, or what else it is known by: an address, a MAC, a port
    #[arg(value_parser = values::name)]
    id: String,
    #[command(flatten)]
    may_be_absent: MayBeAbsent,
    #[command(flatten)]
    wait: Wait,
}

/// The option of the verbs that take something away.
#[derive(Clone, Copy, Debug, Args)]
pub struct MayBeAbsent {
    /// Succeed, too, where there is nothing to take away
    #[arg(long)]
    pub if_exists: bool,
}

/// The option of the verbs that make something.
#[derive(Clone, Copy, Debug, Args)]
pub struct MayExist {
    /// Succeed, too, where the same is there already; where it differs, the refusal says in what
    #[arg(long)]
    pub may_exist: bool,
}

impl ById {
    /// Carries out the command that `command` makes of the id, and tells `line` of the object.
    pub(super) fn change<T: Object>(
        self,
        global: &Global,
        command: impl FnOnce(String) -> Command,
        line: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let session = Session::open(global)?;
        match session.id_or_absent::<T>(&self.id, self.may_be_absent)? {
            Some(id) => session.change(self.wait, &id, &command(id.clone()), line),
            None => Ok(()),
        }
    }
}

/// An object, and whether it is served.
#[derive(Serialize)]
struct With<'a, T> {
    #[serde(flatten)]
    object: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    serving: Option<&'a Verdict>,
}

/// An object of the table.
pub trait Object: Clone + Serialize {
    /// The verbs' and the table file's name for the kind.
    const KIND: &'static str;
    /// The kind in a sentence.
    const NAME: &'static str;

    /// The change, if it is of an object of this kind.
    fn diff(change: &Change) -> Option<&Diff<Self>>;

    /// Its identity as text.
    fn key(&self) -> String;

    /// The kind of its id, if that is its own.
    const ID: Option<Kind> = None;

    /// Writes it as JSON, with what is known about its being served.
    fn print_json(&self, serving: Option<&Verdict>) -> Result<(), Failure> {
        output::json(&With {
            object: self,
            serving,
        })
    }

    /// The ids of those that are known by that address, MAC or port.
    fn meant(_view: &dyn View, _said: &str) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// What tells it from others that are known by the same, for messages: begins with a blank.
    fn place(_view: &dyn View, _id: &str) -> String {
        String::new()
    }

    /// What of it may be served or not.
    fn subject(_view: &dyn View, _id: &str) -> Option<Subject> {
        None
    }

    /// Reads the object of that identity.
    fn find(view: &dyn View, key: &str) -> Option<Self>;
}

impl Object for Pool {
    const KIND: &'static str = "pool";
    const NAME: &'static str = "pool";

    fn diff(change: &Change) -> Option<&Diff<Self>> {
        match change {
            Change::Pool(diff) => Some(diff),
            _ => None,
        }
    }

    fn key(&self) -> String {
        self.cidr.to_string()
    }

    fn find(view: &dyn View, key: &str) -> Option<Self> {
        view.pools().remove(&key.parse().ok()?)
    }
}

impl Object for Eni {
    const KIND: &'static str = "eni";
    const NAME: &'static str = "ENI";
    const ID: Option<Kind> = Some(Kind::Eni);

    fn diff(change: &Change) -> Option<&Diff<Self>> {
        match change {
            Change::Eni(diff) => Some(diff),
            _ => None,
        }
    }

    fn key(&self) -> String {
        self.id.clone()
    }

    fn print_json(&self, serving: Option<&Verdict>) -> Result<(), Failure> {
        output::json(&eni::Shown::new(self, None, serving))
    }

    fn meant(view: &dyn View, said: &str) -> BTreeSet<String> {
        lookup::enis(view, said)
    }

    fn place(view: &dyn View, id: &str) -> String {
        view.eni(id)
            .map_or_else(String::new, |eni| format!(" (VPC {})", eni.vpc))
    }

    fn subject(view: &dyn View, id: &str) -> Option<Subject> {
        Subject::eni(view, id)
    }

    fn find(view: &dyn View, key: &str) -> Option<Self> {
        view.eni(key)
    }
}

/// The kinds whose identity is an id and that the view finds by it.
macro_rules! objects {
    ($($type:ident, $kind:literal, $name:literal, $id:ident, $find:ident, $of:ident, $meant:expr, $subject:expr;)+) => {$(
        impl Object for $type {
            const KIND: &'static str = $kind;
            const NAME: &'static str = $name;
            const ID: Option<Kind> = Some(Kind::$of);

            fn meant(view: &dyn View, said: &str) -> BTreeSet<String> {
                $meant(view, said)
            }

            fn subject(view: &dyn View, id: &str) -> Option<Subject> {
                $subject(view, id)
            }

            fn diff(change: &Change) -> Option<&Diff<Self>> {
                match change {
                    Change::$type(diff) => Some(diff),
                    _ => None,
                }
            }

            fn key(&self) -> String {
                self.$id.clone()
            }

            fn find(view: &dyn View, key: &str) -> Option<Self> {
                view.$find(key)
            }
        }
    )+};
}

objects! {
    Vpc, "vpc", "VPC", id, vpc, Vpc, lookup::vpcs, |_, _| None;
    Instance, "instance", "instance", id, instance, Instance, lookup::instances, |_, _| None;
    Eip, "eip", "EIP", id, eip, Eip, lookup::eips, Subject::eip;
    Association, "association", "association", eip, association, Eip, lookup::eips, Subject::eip;
}

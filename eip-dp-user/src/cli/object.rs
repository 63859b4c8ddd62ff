//! What the kinds of objects have in common for the command line.

use clap::Args;
use serde::Serialize;

use super::{Failure, Global, eni, output, session, values, wait::Wait};
use crate::model::{
    Change, Diff, View,
    command::Command,
    objects::{Association, Eip, Eni, Instance, Pool, Vpc},
};

/// Arguments of the verbs that name an object and say no more about it.
#[derive(Debug, Args)]
pub struct ById {
    /// Its id
    #[arg(value_parser = values::id)]
    id: String,
    #[command(flatten)]
    wait: Wait,
}

impl ById {
    /// Carries out the command that `command` makes of the id, and tells `line` of the object.
    pub(super) fn change<T: Object>(
        self,
        global: &Global,
        command: impl FnOnce(String) -> Command,
        line: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let command = command(self.id.clone());
        session::change(global, self.wait, &self.id, &command, line)
    }
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

    /// Writes it as JSON.
    fn print_json(&self) -> Result<(), Failure> {
        output::json(self)
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

    fn diff(change: &Change) -> Option<&Diff<Self>> {
        match change {
            Change::Eni(diff) => Some(diff),
            _ => None,
        }
    }

    fn key(&self) -> String {
        self.id.clone()
    }

    fn print_json(&self) -> Result<(), Failure> {
        output::json(&eni::Shown::new(self, None))
    }

    fn find(view: &dyn View, key: &str) -> Option<Self> {
        view.eni(key)
    }
}

/// The kinds whose identity is an id and that the view finds by it.
macro_rules! objects {
    ($($type:ident, $kind:literal, $name:literal, $id:ident, $find:ident;)+) => {$(
        impl Object for $type {
            const KIND: &'static str = $kind;
            const NAME: &'static str = $name;

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
    Vpc, "vpc", "VPC", id, vpc;
    Instance, "instance", "instance", id, instance;
    Eip, "eip", "EIP", id, eip;
    Association, "association", "association", eip, association;
}

//! Row-level changes: what a command does to the table, and how it reads as a diff.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use super::objects::{Association, Eip, Eni, Instance, Pool, Vpc};

/// One object before and after a command; never both absent, never both the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff<T> {
    /// The object as it was; `None`: it is new.
    pub before: Option<T>,
    /// The object as it becomes; `None`: it goes.
    pub after: Option<T>,
}

/// A change of one object. Displays as a line of a diff: `+` new, `-` gone, `~` changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Of a pool.
    Pool(Diff<Pool>),
    /// Of a VPC.
    Vpc(Diff<Vpc>),
    /// Of an instance.
    Instance(Diff<Instance>),
    /// Of an ENI.
    Eni(Diff<Eni>),
    /// Of an EIP.
    Eip(Diff<Eip>),
    /// Of an association.
    Association(Diff<Association>),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(diff) => diff.write(f, "pool", "cidr"),
            Self::Vpc(diff) => diff.write(f, "vpc", "id"),
            Self::Instance(diff) => diff.write(f, "instance", "id"),
            Self::Eni(diff) => diff.write(f, "eni", "id"),
            Self::Eip(diff) => diff.write(f, "eip", "id"),
            Self::Association(diff) => diff.write(f, "association", "eip"),
        }
    }
}

impl<T: Serialize> Diff<T> {
    fn write(&self, f: &mut fmt::Formatter<'_>, kind: &str, key: &str) -> fmt::Result {
        let mut before = fields(self.before.as_ref());
        let mut after = fields(self.after.as_ref());
        let (old_id, new_id) = (before.remove(key), after.remove(key));
        let id = new_id.or(old_id).unwrap_or_default();
        match (&self.before, &self.after) {
            (Some(_), Some(_)) => {
                write!(f, "~ {kind} {id}")?;
                let names = before.keys().chain(after.keys());
                for name in names.collect::<std::collections::BTreeSet<_>>() {
                    let (old, new) = (before.get(name), after.get(name));
                    if old != new {
                        let none = "none".to_owned();
                        let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
                        write!(f, " {name}={old}->{new}")?;
                    }
                }
                Ok(())
            }
            (None, Some(_)) => write_all(f, '+', kind, &id, &after),
            (_, None) => write_all(f, '-', kind, &id, &before),
        }
    }
}

fn write_all(
    f: &mut fmt::Formatter<'_>,
    sign: char,
    kind: &str,
    id: &str,
    fields: &BTreeMap<String, String>,
) -> fmt::Result {
    write!(f, "{sign} {kind} {id}")?;
    for (name, value) in fields {
        write!(f, " {name}={value}")?;
    }
    Ok(())
}

/// An object's fields under the names of the contract, as text.
fn fields<T: Serialize>(object: Option<&T>) -> BTreeMap<String, String> {
    match object.map(serde_json::to_value) {
        Some(Ok(Value::Object(map))) => map
            .into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect(),
        _ => BTreeMap::new(),
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Array(values) => values.into_iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

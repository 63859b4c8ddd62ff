//! Row-level changes: what a command does to the table, and how it reads as a diff.

use std::{borrow::Cow, fmt};

use serde::Serialize;
use serde_json::{Map, Value};

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

impl Change {
    /// What the object is, and its id.
    pub fn object(&self) -> (&'static str, Cow<'_, str>) {
        match self {
            Self::Pool(diff) => ("pool", diff.any(|pool| pool.cidr.to_string().into())),
            Self::Vpc(diff) => ("vpc", diff.any(|vpc| (&vpc.id).into())),
            Self::Instance(diff) => ("instance", diff.any(|instance| (&instance.id).into())),
            Self::Eni(diff) => ("eni", diff.any(|eni| (&eni.id).into())),
            Self::Eip(diff) => ("eip", diff.any(|eip| (&eip.id).into())),
            Self::Association(diff) => ("association", diff.any(|link| (&link.eip).into())),
        }
    }
}

impl<T> Diff<T> {
    /// What is the same of the object before and after.
    fn any<'a>(&'a self, read: impl FnOnce(&'a T) -> Cow<'a, str>) -> Cow<'a, str> {
        let object = self.after.as_ref().or(self.before.as_ref());
        object.map(read).unwrap_or_default()
    }
}

impl<T: Serialize> Diff<T> {
    fn write(&self, f: &mut fmt::Formatter<'_>, kind: &str, key: &str) -> fmt::Result {
        let before = fields(self.before.as_ref());
        let after = fields(self.after.as_ref());
        let id = Text(after.get(key).or_else(|| before.get(key)));
        let others = |fields| -> Vec<(&String, &Value)> {
            let all = Map::iter(fields);
            all.filter(|(name, _)| *name != key).collect()
        };
        let (sign, fields) = match (&self.before, &self.after) {
            (Some(_), Some(_)) => {
                write!(f, "~ {kind} {id}")?;
                let mut names = others(&before);
                names.extend(others(&after));
                names.sort_by_key(|(name, _)| *name);
                names.dedup_by_key(|(name, _)| *name);
                for (name, _) in names {
                    let (old, new) = (before.get(name), after.get(name));
                    if old != new {
                        write!(f, " {name}={}->{}", Text(old), Text(new))?;
                    }
                }
                return Ok(());
            }
            (None, Some(_)) => ('+', &after),
            (_, None) => ('-', &before),
        };
        write!(f, "{sign} {kind} {id}")?;
        for (name, value) in others(fields) {
            write!(f, " {name}={}", Text(Some(value)))?;
        }
        Ok(())
    }
}

/// An object's fields under the names of the contract.
fn fields<T: Serialize>(object: Option<&T>) -> Map<String, Value> {
    match object.map(serde_json::to_value) {
        Some(Ok(Value::Object(map))) => map,
        _ => Map::new(),
    }
}

/// A field's value as text.
struct Text<'a>(Option<&'a Value>);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(Value::String(text)) => f.write_str(text),
            Some(Value::Array(values)) => {
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        f.write_str(",")?;
                    }
                    Text(Some(value)).fmt(f)?;
                }
                Ok(())
            }
            Some(other) => other.fmt(f),
        }
    }
}

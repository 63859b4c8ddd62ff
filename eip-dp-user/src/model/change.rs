//! Row-level changes: what a command does to the table, and how it reads as a diff.

use super::objects::{Association, Eip, Eni, Instance, Pool, Vpc};

/// One object before and after a command; never both absent, never both the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff<T> {
    /// The object as it was; `None`: it is new.
    pub before: Option<T>,
    /// The object as it becomes; `None`: it goes.
    pub after: Option<T>,
}

/// A change of one object. Displays as a line of a diff: `+` new, `-` gone, `~` changed.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl std::fmt::Display for Change {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

//! The association table where it is kept: a URL names it, every writer passes the rules.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::model::{
    Change, Context, Model, Refusal,
    command::{Command, Unacceptable},
};

/// An open association table.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The table's revision after it; as before when nothing changed.
    pub revision: u64,
    /// What changed.
    pub changes: Vec<Change>,
    /// What the operator should know, a sentence each.
    pub warnings: Vec<String>,
}

/// The whole table at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Its revision.
    pub revision: u64,
    /// Its objects.
    pub model: Model,
}

/// Why a command was not carried out. The table is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A rule refuses it: exit code 3, and its code is printed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An argument that cannot be meant (exit code 2), or something that is not built yet (exit code 1).
    #[error(transparent)]
    Unacceptable(#[from] Unacceptable),
    /// The table cannot be read or written: exit code 1.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// A table that cannot be opened, read or written; says which one and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The URL names no kind of table.
    #[error("the table `{url}` is not of the form sqlite:PATH")]
    Url {
        /// The URL.
        url: String,
    },
    /// The URL names a kind of table that eip-dp does not have yet.
    #[error("the table `{url}`: etcd is not built yet; use sqlite:PATH")]
    NotBuilt {
        /// The URL.
        url: String,
    },
}

impl Table {
    /// Opens the table that `url` names (`sqlite:PATH`), and creates it where there is none.
    pub fn open(_url: &str) -> Result<Self, TableError> {
        todo!()
    }

    /// Carries out a command in one transaction: all of it, or nothing.
    pub fn execute(
        &mut self,
        _command: &Command,
        _context: &Context,
    ) -> Result<Outcome, ExecuteError> {
        todo!("{}", self.path.display())
    }

    /// What [`Self::execute`] would do, without doing it.
    pub fn preview(&self, _command: &Command, _context: &Context) -> Result<Outcome, ExecuteError> {
        todo!()
    }

    /// Reads everything in one transaction.
    pub fn snapshot(&self) -> Result<Snapshot, TableError> {
        todo!()
    }

    /// The table's revision: one more with each command that changed something.
    pub fn revision(&self) -> Result<u64, TableError> {
        todo!()
    }

    /// The earliest `expires_at` of an EIP that is not `expired` yet.
    pub fn next_expiry(&self) -> Result<Option<Timestamp>, TableError> {
        todo!()
    }
}

//! The association table where it is kept: a URL names it, and every writer passes the rules.
//!
//! [`Table::execute`] is the only way to change it: one transaction in which [`rules::decide`] sees
//! the table and its changes are written. The schema's constraints are a second guard behind the
//! rules.

mod copies;
mod encode;
mod error;
mod identity;
mod log;
mod read;
mod record;
mod schema;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod write;

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use copies::CopyError;
pub use error::{ExecuteError, TableError};
pub use identity::Identity;
pub use log::Trace;
#[cfg(any(test, feature = "testing"))]
pub(crate) use record::hold as hold_records;

use crate::model::{Change, Context, Decision, Model, View, command::Command, rules};
use read::Reader;
use schema::{Cure, Opened, file_at};

/// An open association table.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    connection: Connection,
    file: FileId,
    identity: Option<Identity>,
    is_new: bool,
    /// Whether it is a copy in memory of what may only be read.
    is_copy: bool,
    /// How many bytes of changes are kept for those who follow the table.
    log_limit: usize,
    /// From how many pages on two connections share the work of a snapshot.
    shared_from: u32,
}

/// Pages of a table of some 50,000 associations.
const SHARED_FROM: u32 = 4_096;

/// Which file it is, whatever its name: the device and the inode.
pub type FileId = (u64, u64);

/// When a file was written last, and how long it is.
pub type Stamp = (i64, i64, u64);

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
    /// The objects that cannot be read, a sentence each; the model lacks them.
    pub not_live: Vec<String>,
}

/// What has changed between two moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The revision that the changes lead to.
    pub revision: u64,
    /// The changes, the oldest first: [`Model::change`] makes them, one after the other.
    pub changes: Vec<Change>,
}

impl Table {
    /// Opens the table that `url` names (`sqlite:PATH`), which has to be there.
    pub fn open(url: &str) -> Result<Self, TableError> {
        Self::open_for(url, None)
    }

    /// Likewise. A table of a version before identities gets this one.
    pub fn open_for(url: &str, identity: Option<Identity>) -> Result<Self, TableError> {
        let cure = Cure {
            make: false,
            identity,
        };
        let path = path_of(url)?;
        let opened = schema::open(&path, cure)?;
        Self::of(path, opened)
    }

    /// Opens it, or makes one where there is none; [`Self::is_new`] says so.
    pub fn open_or_make(url: &str, identity: Option<Identity>) -> Result<Self, TableError> {
        let cure = Cure {
            make: true,
            identity,
        };
        let path = path_of(url)?;
        let opened = schema::open(&path, cure)?;
        Self::of(path, opened)
    }

    /// Opens it for reading, which asks for no right to write.
    pub fn open_read_only(url: &str) -> Result<Self, TableError> {
        let path = path_of(url)?;
        let opened = schema::open_read_only(&path)?;
        Self::of(path, opened)
    }

    /// Opens the table for reading in a process that has it open, in another thread: the file is
    /// opened by SQLite alone, because closing any other descriptor of it ends the process's locks.
    /// Refuses every table but that one and its copies.
    pub fn open_beside(url: &str, identity: Option<Identity>) -> Result<Self, TableError> {
        let path = path_of(url)?;
        let opened = schema::open_beside(&path)?;
        let mut table = Self::of(path, opened)?;
        match (identity, table.identity) {
            (Some(wanted), Some(found)) if wanted != found => {
                return Err(TableError::Another {
                    path: table.path,
                    found,
                    wanted,
                });
            }
            _ => {}
        }
        table.be_brief()?;
        Ok(table)
    }

    /// Shows each EIP's id and address, in the order of the ids.
    pub fn each_eip(&self, show: &mut dyn FnMut(&str, IpAddr)) -> Result<(), TableError> {
        read::each_eip(&self.connection, show).map_err(|error| self.failed(error))
    }

    /// An empty table that nobody else sees.
    pub fn in_memory() -> Result<Self, TableError> {
        Ok(Self {
            path: PathBuf::from(":memory:"),
            connection: schema::open_in_memory()?,
            file: (0, 0),
            identity: None,
            is_new: true,
            is_copy: true,
            log_limit: log::LIMIT,
            shared_from: u32::MAX,
        })
    }

    fn of(path: PathBuf, opened: Opened) -> Result<Self, TableError> {
        let Opened {
            connection,
            file,
            made,
            is_copy,
            is_unidentified,
        } = opened;
        let identity = if is_unidentified {
            None
        } else {
            let identity = Identity::read(&connection);
            Some(identity.map_err(|error| TableError::from_sqlite(&path, error))?)
        };
        Ok(Self {
            path,
            connection,
            file,
            identity,
            is_new: made,
            is_copy,
            log_limit: log::LIMIT,
            shared_from: if is_copy { u32::MAX } else { SHARED_FROM },
        })
    }

    /// Whether there was none before it was opened.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// What tells it from all tables but its copies; `None` for one of an earlier version that is
    /// only read.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// The file that is open, which may be at its path no longer.
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Has it wait for other processes only for a moment, as suits who looks again soon.
    pub fn be_brief(&mut self) -> Result<(), TableError> {
        schema::be_brief(&mut self.connection)
            .map_err(|error| TableError::from_sqlite(&self.path, error))
    }

    /// The table that is at its path by now, if that is another file: somebody put a copy back,
    /// say. Without this nothing is seen of what is written there. Refuses what is not whole, and
    /// every table but this one and its copies.
    pub fn at_path(&self) -> Result<Option<Self>, TableError> {
        match file_at(&self.path) {
            // Emptied, and not written yet.
            Ok(file) if file == self.file => schema::check_content(&self.path).map(|()| None),
            Ok(_) => self.opened_anew().map(Some),
            Err(source) => Err(TableError::Gone {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// What is at its path by now, opened by another connection. SQLite keeps what it has read of a
    /// file while the file's counter of changes stays the same: that is so in two copies of a
    /// table, one written over the other, and of half a copy it may have read anything. Refuses
    /// what is not whole, and every table but this one and its copies.
    pub fn opened_anew(&self) -> Result<Self, TableError> {
        let cure = Cure {
            make: false,
            identity: self.identity,
        };
        let mut other = Self::of(self.path.clone(), schema::open(&self.path, cure)?)?;
        other.be_brief()?;
        self.check_is_copy(&other)?;
        other.check_whole()?;
        Ok(other)
    }

    /// Its revision, and what a write to the file changes, whatever is written: both of one moment,
    /// at which no command is writing. If the second changes without the first, somebody wrote over
    /// the file.
    pub fn state(&self) -> Result<(u64, Option<Stamp>), TableError> {
        let transaction = self.begin(TransactionBehavior::Deferred)?;
        // This takes the lock that keeps commands from writing.
        let revision = read::revision(&transaction).map_err(|error| self.failed(error))?;
        Ok((revision, self.stamp()))
    }

    fn stamp(&self) -> Option<Stamp> {
        let found = fs::metadata(&self.path).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.len()))
    }

    fn check_is_copy(&self, other: &Self) -> Result<(), TableError> {
        match (self.identity, other.identity) {
            (Some(wanted), Some(found)) if wanted != found => Err(TableError::Another {
                path: self.path.clone(),
                found,
                wanted,
            }),
            _ => Ok(()),
        }
    }

    /// Whether the file is still that of this table: another program may have written another one
    /// over it.
    pub fn check_identity(&self) -> Result<(), TableError> {
        let found = Identity::read(&self.connection).map_err(|error| self.failed(error))?;
        match self.identity {
            Some(wanted) if wanted != found => Err(TableError::Another {
                path: self.path.clone(),
                found,
                wanted,
            }),
            _ => Ok(()),
        }
    }

    /// Looks at every page: a copy that is still being written lacks some.
    pub fn check_whole(&self) -> Result<(), TableError> {
        let complaints = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self.connection.prepare("PRAGMA quick_check(100)")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        let complaints = complaints().map_err(|error| self.failed(error))?;
        // A value that another program has written is one object's, not the file's: who reads that
        // object finds out.
        let is_of_a_value = |said: &str| {
            said == "ok"
                || said.starts_with("CHECK constraint failed")
                || said.contains(" value in ")
        };
        match complaints.into_iter().find(|said| !is_of_a_value(said)) {
            None => Ok(()),
            Some(detail) => Err(TableError::Damaged {
                path: self.path.clone(),
                detail,
            }),
        }
    }

    /// What tells this history of the table from another one that has a revision of that number,
    /// too; `None` where the table does not remember it.
    pub fn trace(&self, revision: u64) -> Result<Option<Trace>, TableError> {
        log::trace(&self.connection, revision).map_err(|error| self.failed(error))
    }

    /// The database's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Carries out a command in one transaction: all of it, or nothing.
    pub fn execute(
        &mut self,
        command: &Command,
        context: &Context,
    ) -> Result<Outcome, ExecuteError> {
        command.check()?;
        if self.is_copy {
            return Err(TableError::Unwritable {
                path: self.path.clone(),
            }
            .into());
        }
        self.decide_and_write(command, context)
    }

    /// What [`Self::execute`] would do, without doing it. The revision is the present one.
    pub fn preview(&self, command: &Command, context: &Context) -> Result<Outcome, ExecuteError> {
        command.check()?;
        let transaction = self.begin(TransactionBehavior::Deferred)?;
        let decision = self.decide(&transaction, command, context)?;
        let revision = read::revision(&transaction).map_err(|error| self.failed(error))?;
        Ok(outcome(revision, decision))
    }

    /// Reads everything in one transaction.
    pub fn snapshot(&self) -> Result<Snapshot, TableError> {
        let transaction = self.begin(TransactionBehavior::Deferred)?;
        let read = || {
            let revision = read::revision(&transaction)?;
            let second = self.second(revision);
            Ok(Snapshot {
                revision,
                model: read::model(&transaction, second)?,
                not_live: Vec::new(),
            })
        };
        read().map_err(|error| self.failed(error))
    }

    /// Likewise for who forwards by it: one object with a value that no rule lets through, which
    /// another program has written, must not keep all others from being served.
    pub fn sound_snapshot(&self) -> Result<Snapshot, TableError> {
        match self.snapshot() {
            Err(TableError::Damaged { .. }) => {}
            read => return read,
        }
        let transaction = self.begin(TransactionBehavior::Deferred)?;
        let read = || {
            let revision = read::revision(&transaction)?;
            let (model, not_live) = read::sound_model(&transaction)?;
            Ok(Snapshot {
                revision,
                model,
                not_live,
            })
        };
        read().map_err(|error| self.failed(error))
    }

    /// What has changed since the table had that revision; `None` where the table does not remember
    /// that long: only a snapshot tells then. Asks for the revision of the same file: that of
    /// another one means another content.
    pub fn changes_since(&self, revision: u64) -> Result<Option<Delta>, TableError> {
        let transaction = self.begin(TransactionBehavior::Deferred)?;
        log::since(&transaction, revision).map_err(|error| self.failed(error))
    }

    /// Reads what `read` asks for, all of it as it is at one moment.
    pub fn read<T>(&self, read: impl FnOnce(&dyn View) -> T) -> Result<T, TableError> {
        let transaction = self.begin(TransactionBehavior::Deferred)?;
        let reader = Reader::new(&transaction);
        let answer = read(&reader);
        // An answer that failed comes before whatever was made of it.
        reader.finish().map_err(|error| self.failed(error))?;
        Ok(answer)
    }

    /// The table's revision: one more with each command that changed something.
    pub fn revision(&self) -> Result<u64, TableError> {
        read::revision(&self.connection).map_err(|error| self.failed(error))
    }

    /// The earliest `expires_at` of an EIP that is not `expired` yet.
    pub fn next_expiry(&self) -> Result<Option<Timestamp>, TableError> {
        let reader = Reader::new(&self.connection);
        let next = reader.next_expiry();
        reader.finish().map_err(|error| self.failed(error))?;
        Ok(next)
    }

    /// Whether the table is so large that its reading is worth more than one thread.
    pub fn is_large(&self) -> bool {
        let pages = self
            .connection
            .pragma_query_value(None, "page_count", |row| row.get(0));
        pages.is_ok_and(|pages: u32| pages >= self.shared_from)
    }

    /// Another connection that sees the table as the transaction does, where the table is so large
    /// that it is worth it.
    fn second(&self, revision: u64) -> Option<Connection> {
        if !self.is_large() {
            return None;
        }
        let (second, file) = schema::open_reader(&self.path).ok()?;
        let is_same =
            file == self.file && read::revision(&second).is_ok_and(|theirs| theirs == revision);
        is_same.then_some(second)
    }

    fn decide_and_write(
        &self,
        command: &Command,
        context: &Context,
    ) -> Result<Outcome, ExecuteError> {
        let failed = |error| self.failed(error);
        let transaction = self.begin(TransactionBehavior::Immediate)?;
        let decision = self.decide(&transaction, command, context)?;
        let revision = if decision.changes.is_empty() {
            read::revision(&transaction).map_err(failed)?
        } else {
            let changes = &decision.changes;
            let revision = write::write(&transaction, changes).map_err(failed)?;
            log::append(&transaction, revision, changes, self.log_limit).map_err(failed)?;
            transaction.commit().map_err(failed)?;
            self.check_in_place()?;
            revision
        };
        Ok(outcome(revision, decision))
    }

    /// What was written to a file that is at its path no longer, nobody sees.
    fn check_in_place(&self) -> Result<(), TableError> {
        match file_at(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            _ => Err(TableError::Replaced {
                path: self.path.clone(),
            }),
        }
    }

    fn decide(
        &self,
        connection: &Connection,
        command: &Command,
        context: &Context,
    ) -> Result<Decision, ExecuteError> {
        let reader = Reader::new(connection);
        let decision = rules::decide(&reader, command, context);
        // An answer that failed comes before whatever was made of it.
        reader.finish().map_err(|error| self.failed(error))?;
        Ok(decision?)
    }

    /// Begins a transaction; dropped, it is rolled back. A table has one at a time: none outlives
    /// the call that begins it.
    fn begin(&self, behavior: TransactionBehavior) -> Result<Transaction<'_>, TableError> {
        Transaction::new_unchecked(&self.connection, behavior).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> TableError {
        TableError::from_sqlite(&self.path, error)
    }
}

/// The path in a table's URL.
pub fn path_of(url: &str) -> Result<PathBuf, TableError> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(PathBuf::from(path)),
        Some((scheme, _)) if scheme.starts_with("etcd") => Err(TableError::NotBuilt {
            url: url.to_owned(),
        }),
        _ => Err(TableError::Url {
            url: url.to_owned(),
        }),
    }
}

fn outcome(revision: u64, decision: Decision) -> Outcome {
    Outcome {
        revision,
        changes: decision.changes,
        warnings: decision.warnings,
    }
}

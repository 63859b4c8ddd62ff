//! Why a table cannot be used, in words that say what to do.

use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};

use super::identity::Identity;
use crate::model::{Refusal, command::Unacceptable};

/// Why a command was not carried out. The table is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A rule refuses it: exit code 3, and its code is printed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An argument that cannot be meant (exit code 2), or something that is not built yet (exit
    /// code 1).
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
    #[error(
        "the table `{url}` is not of the form sqlite:PATH; name one with --table or EIP_DP_TABLE"
    )]
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
    /// The directory of the file cannot be made.
    #[error(
        "cannot create the directory {path} of the table: {source}; create it, or name another table with --table"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// There is no file.
    #[error(
        "there is no table {path}; name the right one with --table, put a copy there with `eip-dp restore FILE`, or make a new one: `eip-dp apply` and the `create` verbs do"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is a file with nothing in it.
    #[error(
        "the file {path} is empty and no table yet: a copy may be on its way; `eip-dp restore FILE` puts one there at once, `eip-dp apply` and the `create` verbs make a new table of it"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be made.
    #[error(
        "cannot make the table {path}: {source}; check the folder and its permissions, or name another table with --table"
    )]
    Unmakable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A process ended in the middle of a change, and who looks may not write.
    #[error(
        "a change of the table {path} was cut off and has to be undone, for which there is no right to write; run any command as the table's owner, or copy the file and its -journal to where you may write"
    )]
    CutOff {
        /// The file.
        path: PathBuf,
    },
    /// Another file has taken its place while a command was carried out.
    #[error(
        "the table {path} was replaced by another file meanwhile, and the change is in the one before; run the command again"
    )]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// The file that took its place is another table.
    #[error(
        "the file at {path} is another table (identity {found}) than the one that is followed (identity {wanted}), no copy of it; put a copy of that one there (`eip-dp restore FILE`), or stop the daemon and `eip-dp unload` to begin anew"
    )]
    Another {
        /// The file.
        path: PathBuf,
        /// Its identity.
        found: Identity,
        /// That of the table that is followed.
        wanted: Identity,
    },
    /// The table is a copy in memory.
    #[error("the table {path} is of an earlier version and opened for reading alone")]
    Unwritable {
        /// The file.
        path: PathBuf,
    },
    /// The file was there and is no longer.
    #[error("the table {path} is gone: {source}; put it back, or restore a copy of it")]
    Gone {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// An empty table is where one with content was.
    #[error(
        "the table {path} is new and empty, but this gateway forwards by revision {applied} of another; put a copy of that one there (`eip-dp restore FILE`), or stop the daemon and `eip-dp unload` to begin anew"
    )]
    Emptied {
        /// The file.
        path: PathBuf,
        /// The revision that the maps hold.
        applied: u64,
    },
    /// The file cannot be opened or written.
    #[error(
        "cannot open or write the table {path}: {source}; check the path, its permissions and the free space, or name another table with --table"
    )]
    Access {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The file is damaged, or no SQLite file at all.
    #[error(
        "the table {path} is damaged or no SQLite database ({detail}); put a copy there with `eip-dp restore FILE`, or move it away and `eip-dp apply` an export"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A SQLite file of another program.
    #[error(
        "{path} is a database of another program (application_id {found:#x}); name another file with --table"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its `application_id`.
        found: i32,
    },
    /// A pipe, a device or a socket is there: to open it may never end, and nothing of it is a
    /// table.
    #[error("{path} is no file; name the table's file with --table, or remove what is there")]
    NoFile {
        /// What is there.
        path: PathBuf,
    },
    /// A newer eip-dp wrote it.
    #[error(
        "the table {path} has version {found} and this eip-dp reads up to version {known}; use the eip-dp that wrote it, or a newer one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// The newest version that this program knows.
        known: i32,
    },
    /// Another process holds the table for too long.
    #[error(
        "the table {path} is locked by another process for more than {seconds} s; try again, or see who holds it with `fuser {path}`"
    )]
    Busy {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The database itself refuses a change that the rules allow.
    #[error(
        "the database {path} refuses the change ({source}), nothing was changed; its content breaks a rule: compare `eip-dp export` with what you expect"
    )]
    Constraint {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// Anything else that SQLite reports.
    #[error("the table {path}: {source}; nothing was changed")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
}

impl TableError {
    /// Turns SQLite's code into what an operator can act on.
    pub(super) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let extended = source.sqlite_error().map(|error| error.extended_code);
        if extended == Some(ffi::SQLITE_READONLY_DBMOVED) {
            return Self::Replaced { path };
        }
        match source.sqlite_error_code() {
            // `None` is not SQLite's: a value that is not of the column's type, or a column that is
            // missing.
            None | Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy {
                path,
                seconds: super::schema::BUSY.as_secs(),
            },
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure,
            ) => Self::Access { path, source },
            Some(ErrorCode::ConstraintViolation) => Self::Constraint { path, source },
            Some(_) => Self::Sqlite { path, source },
        }
    }
}

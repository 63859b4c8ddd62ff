//! Copies of a table: made while it is used, and put in its place in one step.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{Identity, Table, TableError, read, schema};
use crate::private;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// What is to be copied, or replaced, cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The file cannot be written.
    #[error(
        "cannot write {path}: {source}; the table is as it was: check the folder, its permissions and the free space, or name another file"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// SQLite cannot write it.
    #[error(
        "cannot write {path}: {source}; the table is as it was: check the folder, its permissions and the free space, or name another file"
    )]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The table is of a version that does not tell tables apart.
    #[error(
        "the table {path} is of an earlier version, whose copies nobody could tell from other tables; any command that changes it upgrades it, and so does the daemon: back it up after that"
    )]
    Earlier {
        /// The table.
        path: PathBuf,
    },
}

impl Table {
    /// Writes a copy of the table, as it is at one moment, to a file for this user alone. Another
    /// file there is replaced, in one step. Returns the copy's revision.
    pub fn back_up(&self, file: &Path) -> Result<u64, CopyError> {
        if self.identity.is_none() {
            return Err(CopyError::Earlier {
                path: self.path.clone(),
            });
        }
        let new = Unfinished::beside(file)?;
        let copy = new.fill(self)?;
        let revision = copy.revision()?;
        drop(copy);
        new.put_at(file)?;
        Ok(revision)
    }

    /// Writes a copy of the table, as it is at one moment, for readers: `give` says who may read
    /// it. Returns its revision.
    pub fn copy_for(
        &self,
        file: &Path,
        give: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<u64, CopyError> {
        let new = Unfinished::beside(file)?;
        let mut copy = Connection::open(&new.path).map_err(|source| new.sqlite(source))?;
        schema::copy_briefly(&self.connection, &mut copy)
            .map_err(|error| TableError::from_sqlite(&self.path, error))?;
        let revision = read::revision(&copy).map_err(|source| new.sqlite(source))?;
        drop(copy);
        give(&new.path).map_err(|source| CopyError::File {
            path: file.to_owned(),
            source,
        })?;
        new.put_at(file)?;
        Ok(revision)
    }

    /// Puts a copy of this table at `path`, in one step and while nobody changes what is there. A
    /// copy of a version before identities gets this one. Returns the table that is there now.
    pub fn restore_to(&self, path: &Path, identity: Option<Identity>) -> Result<Self, CopyError> {
        self.check_whole()?;
        // Links stay what they are.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        schema::check_kind(&path)?;
        schema::make_folder(&path)?;
        let new = Unfinished::beside(&path)?;
        let copy = new.fill(self)?;
        if let Some(identity) = identity.filter(|_| self.identity.is_none()) {
            let written = identity.write(&copy.connection);
            written.map_err(|source| new.sqlite(source))?;
        }
        drop(copy);
        // A change that is being written to what is there is finished first; none begins until the
        // copy is in its place. What is no table any more has nobody who changes it.
        let before = schema::lock(&path);
        if let Err(error @ TableError::Busy { .. }) = before {
            return Err(error.into());
        }
        // What is left of the table before is not this one's to be undone or to be redone.
        for suffix in ["-journal", "-wal", "-shm"] {
            let _ = fs::remove_file(schema::beside(&path, suffix));
        }
        new.put_at(&path)?;
        drop(before);
        let url = format!("sqlite:{}", path.display());
        Ok(Self::open_read_only(&url)?)
    }
}

/// A file that takes another one's place once it is whole; else it goes.
struct Unfinished {
    path: PathBuf,
    /// What it is to become, for messages.
    file: PathBuf,
}

impl Unfinished {
    fn beside(file: &Path) -> Result<Self, CopyError> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let path = file.with_file_name(format!(".{name}.{}.new", std::process::id()));
        let made = private::options().create_new(true).open(&path);
        match made {
            Ok(_) => Ok(Self {
                path,
                file: file.to_owned(),
            }),
            Err(source) => Err(CopyError::File {
                path: file.to_owned(),
                source,
            }),
        }
    }

    fn sqlite(&self, source: rusqlite::Error) -> CopyError {
        CopyError::Sqlite {
            path: self.file.clone(),
            source,
        }
    }

    fn fill(&self, table: &Table) -> Result<Table, CopyError> {
        let mut copy = Connection::open(&self.path).map_err(|source| self.sqlite(source))?;
        schema::copy(&table.connection, &mut copy).map_err(|source| self.sqlite(source))?;
        drop(copy);
        let url = format!("sqlite:{}", self.path.display());
        let copy = Table::open(&url)?;
        copy.check_whole()?;
        Ok(copy)
    }

    fn put_at(self, file: &Path) -> Result<(), CopyError> {
        let put = || {
            let _ = fs::remove_file(schema::beside(&self.path, "-journal"));
            File::open(&self.path)?.sync_all()?;
            fs::rename(&self.path, file)?;
            match file
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
            {
                Some(folder) => File::open(folder)?.sync_all(),
                None => File::open(".")?.sync_all(),
            }
        };
        put().map_err(|source| CopyError::File {
            path: file.to_owned(),
            source,
        })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(schema::beside(&self.path, "-journal"));
        let _ = fs::remove_file(&self.path);
    }
}

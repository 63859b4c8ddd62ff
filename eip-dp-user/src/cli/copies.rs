//! `backup` and `restore`: copies of the table's file, made and put back while it is used.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    Failure, Format, Global, failure, output,
    place::{Gateway, Place},
    wait::{self, Wait},
};
use crate::table::{CopyError, Identity, Table, TableError, path_of};

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// Where the copy is written
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The copy to put in the table's place
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    wait: Wait,
}

impl Backup {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        let place = Place::find(global)?;
        let table = place.read(global)?;
        refuse_same(&self.file, table.path())?;
        refuse_what_is_no_copy(&self.file, table.identity())?;
        let revision = table.back_up(&self.file)?;
        let file = self.file.display();
        match global.output {
            Format::Json => output::json(&json!({
                "table": place.url,
                "file": self.file,
                "revision": revision,
            })),
            Format::Text => output::write(|out| {
                writeln!(
                    out,
                    "revision {revision} of {} written to {file}",
                    place.url
                )
            }),
        }
    }
}

impl Restore {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        let place = Place::find(global)?;
        place.tell(global.output);
        let path = path_of(&place.url)?;
        refuse_same(&self.file, &path)?;
        let copy = Table::open_read_only(&format!("sqlite:{}", self.file.display()));
        let copy = copy.map_err(|error| self.is_no_copy(error))?;
        copy.check_whole().map_err(|error| self.is_no_copy(error))?;
        let gateway = Gateway::of(global);
        let before = Table::open_read_only(&place.url).ok();
        let identity = gateway
            .identity()
            .filter(|_| gateway.is_of(&path))
            .or_else(|| before.as_ref().and_then(Table::identity));
        self.check_identity(&place, copy.identity(), identity)?;
        let older = before.as_ref().and_then(|table| table.revision().ok());
        drop(before);
        let table = copy.restore_to(&path, identity)?;
        let revision = table.revision()?;
        if let Some(before) = older.filter(|before| *before > revision) {
            failure::warn(
                global.output,
                &format!(
                    "revision {revision} is older than the table was, which had revision {before}"
                ),
            );
        }
        let file = self.file.display();
        match global.output {
            Format::Json => output::json(&json!({
                "table": place.url,
                "file": self.file,
                "revision": revision,
            }))?,
            Format::Text => output::write(|out| {
                writeln!(out, "table {} is revision {revision} of {file}", place.url)
            })?,
        }
        if self.wait.wait {
            wait::finish(revision, table, global, &[])?;
        }
        Ok(())
    }

    /// What is wrong with what was to be restored.
    fn is_no_copy(&self, error: TableError) -> Failure {
        let file = self.file.display();
        Failure::failed(match error {
            _ if self.file.is_dir() => {
                format!("{file} is a folder; name the copy in it that `eip-dp backup` wrote")
            }
            TableError::Missing { .. } => {
                format!("there is no copy {file}; name the file that `eip-dp backup` wrote")
            }
            TableError::Empty { .. } => {
                format!("the copy {file} is empty; name another, or copy it here once more")
            }
            TableError::Damaged { detail, .. } => format!(
                "the copy {file} is damaged, not whole, or none ({detail}); name another, or copy it here once more"
            ),
            TableError::Access { source, .. } => format!(
                "the copy {file} cannot be read: {source}; check the path and its permissions, or run as root"
            ),
            TableError::NoFile { .. } => {
                format!("{file} is no file; name the one that `eip-dp backup` wrote")
            }
            other => other.to_string(),
        })
    }

    fn check_identity(
        &self,
        place: &Place,
        copy: Option<Identity>,
        wanted: Option<Identity>,
    ) -> Result<(), Failure> {
        match (copy, wanted) {
            (Some(copy), Some(wanted)) if copy != wanted => Err(Failure::failed(format!(
                "{} is no copy of the table {}, but another one (identity {copy}, not {wanted}); `eip-dp export` of it and \
                 `apply` bring its content here; to have that table itself, stop the daemon, `eip-dp unload`, and move the \
                 one that is there away first",
                self.file.display(),
                place.url
            ))),
            _ => Ok(()),
        }
    }
}

fn refuse_same(file: &Path, table: &Path) -> Result<(), Failure> {
    let is_same = match (file.canonicalize(), table.canonicalize()) {
        (Ok(file), Ok(table)) => file == table,
        _ => false,
    };
    if is_same {
        return Err(Failure::Usage(format!(
            "{} is the table itself; name another file",
            file.display()
        )));
    }
    Ok(())
}

/// A mistyped name must not cost somebody's file.
fn refuse_what_is_no_copy(file: &Path, table: Option<Identity>) -> Result<(), Failure> {
    if matches!(file.try_exists(), Ok(false)) {
        return Ok(());
    }
    if file.is_dir() {
        return Err(Failure::Usage(format!(
            "{} is a folder; name a file in it",
            file.display()
        )));
    }
    let there = Table::open_read_only(&format!("sqlite:{}", file.display()));
    match there {
        Ok(there) if there.identity() == table => Ok(()),
        Ok(_) => Err(Failure::failed(format!(
            "{} is there and another table, or a copy of one; name another file, or remove it first",
            file.display()
        ))),
        Err(_) => Err(Failure::failed(format!(
            "{} is there and no copy of a table; name another file, or remove it first",
            file.display()
        ))),
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        Self::Failed(error.to_string())
    }
}

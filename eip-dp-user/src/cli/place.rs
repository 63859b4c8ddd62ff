//! Which table a verb works on, who says so, and how it stands to the one that the gateway forwards
//! by.

use std::{
    fmt, fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{
    DEFAULT_TABLE, Failure, Format, Global, Name, failure,
    readers::{self, Copies},
};
use crate::{
    compile::tag,
    config::{self, DEFAULT_PATH},
    daemon::{Lock, Report, location_of, location_of_path, tag_of_file},
    kernel::{Pins, Relation, ServedTable, Standing},
    model::{Context, command::Command},
    table::{Identity, Table, TableError, path_of},
};

/// A table's location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its URL.
    pub url: String,
    said_by: SaidBy,
}

/// Who says where the table is: the first of these that says anything.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SaidBy {
    /// `--table` or `EIP_DP_TABLE`.
    Operator,
    /// The gateway's daemon, which runs.
    Daemon,
    /// The configuration's file.
    Configuration,
    /// Nobody.
    Default,
    /// The daemon of a gateway of which this user may read copies alone: of which table.
    Copy(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        match &self.said_by {
            SaidBy::Operator | SaidBy::Default => Ok(()),
            SaidBy::Daemon => f.write_str(", which the running daemon has"),
            SaidBy::Configuration => f.write_str(", which the configuration names"),
            SaidBy::Copy(table) => write!(f, ", the copy of {table} that this user may read"),
        }
    }
}

impl Place {
    /// The table of a verb.
    pub fn find(global: &Global) -> Result<Self, Failure> {
        Self::find_with(global, Path::new(DEFAULT_PATH))
    }

    /// Likewise, of a verb with a configuration of its own.
    pub fn find_with(global: &Global, configuration: &Path) -> Result<Self, Failure> {
        if let Some(copies) = Copies::of(global)? {
            return Ok(copies.place());
        }
        if let Some(url) = global.explicit_table() {
            return Ok(Self::new(url, SaidBy::Operator));
        }
        // Who may not see the daemon is not told by it either.
        if Lock::is_held(&global.name).unwrap_or(false)
            && let Some(report) = report_of_daemon(&global.name)?
        {
            return Ok(Self::new(&report.table, SaidBy::Daemon));
        }
        match config::table_of(configuration) {
            Ok(Some(url)) => Ok(Self::new(&url, SaidBy::Configuration)),
            Ok(None) => Ok(Self::new(DEFAULT_TABLE, SaidBy::Default)),
            // The default one instead would be another table.
            Err(error) => Err(Failure::failed(format!(
                "which table is meant is unknown: {error}; correct it, or name the table with --table"
            ))),
        }
    }

    /// A copy of the table at `table`.
    pub fn copy(url: &str, table: &str) -> Self {
        Self::new(url, SaidBy::Copy(table.to_owned()))
    }

    fn new(url: &str, said_by: SaidBy) -> Self {
        Self {
            url: url.to_owned(),
            said_by,
        }
    }

    /// Says which table it is, where the operator may think of another one.
    pub fn tell(&self, format: Format) {
        let is_plain = matches!(
            self.said_by,
            SaidBy::Operator | SaidBy::Default | SaidBy::Copy(_)
        );
        if !is_plain && self.url != DEFAULT_TABLE && format == Format::Text {
            failure::note(format, &format!("the table is {self}"));
        }
    }

    /// Opens the table for reading.
    pub fn read(&self, global: &Global) -> Result<Table, Failure> {
        self.tell(global.output);
        if let SaidBy::Copy(of) = &self.said_by
            && is_nothing(&path_of(&self.url)?)
        {
            return Err(Failure::failed(format!(
                "the copy of {of} that this user may read is gone or empty: {}; a daemon that runs makes it anew within some \
                 seconds: try again",
                self.url
            )));
        }
        let table = match Table::open_read_only(&self.url) {
            Err(TableError::Access { path, .. }) if readers::may_not_read(&path) => {
                return Err(readers::refused(&format!("the table {}", path.display())));
            }
            // What the daemon has, who may not look is not told.
            Err(TableError::Missing { .. })
                if self.said_by == SaidBy::Default && readers::is_hidden(global) =>
            {
                return Err(readers::refused(&format!("gateway `{}`", global.name)));
            }
            opened => opened?,
        };
        if let SaidBy::Copy(of) = &self.said_by {
            readers::tell(global.output, of, &table)?;
            return Ok(table);
        }
        let gateway = Gateway::of(global);
        if gateway.is_of(table.path()) && gateway.relation(&table) == Relation::Another {
            let message = format!(
                "gateway `{}` forwards by another table than the one that is at its place by now",
                global.name
            );
            failure::warn(global.output, &message);
        }
        Ok(table)
    }

    /// Likewise; an empty one where there is none.
    pub fn read_or_begin(&self, global: &Global) -> Result<Table, Failure> {
        // A copy that is not there is no table that nobody has made yet.
        let is_copy = matches!(self.said_by, SaidBy::Copy(_));
        if !is_copy && is_nothing(&path_of(&self.url)?) {
            self.tell(global.output);
            return Ok(Table::in_memory()?);
        }
        self.read(global)
    }

    /// Opens the table to carry out `command`, and makes one for a command that may do so and would
    /// be accepted.
    pub fn write(
        &self,
        global: &Global,
        command: &Command,
        context: &Context,
    ) -> Result<Table, Failure> {
        let path = path_of(&self.url)?;
        if let SaidBy::Copy(of) = &self.said_by {
            return Err(Failure::failed(format!(
                "the table {of}: this user may read a copy of it alone; run as root to change it"
            )));
        }
        let gateway = Gateway::of(global);
        let is_its_own = gateway.is_of(&path);
        let identity = gateway.identity().filter(|_| is_its_own);
        let opened = if command.makes_a_table() && is_nothing(&path) {
            if is_its_own {
                return Err(gateway.lost(&self.url));
            }
            Table::in_memory()?.preview(command, context)?;
            Table::open_or_make(&self.url, identity)
        } else {
            Table::open_for(&self.url, identity)
        };
        let table = opened?;
        if table.is_new() {
            let message = format!("there was no table {}; this has made it", self.url);
            failure::note(global.output, &message);
        }
        // What is written there, nobody follows.
        match gateway.relation(&table) {
            Relation::Another if is_its_own => return Err(gateway.refused(&self.url)),
            Relation::Copy => failure::warn(global.output, &gateway.is_a_copy(&self.url)),
            Relation::Another | Relation::Same => {}
        }
        Ok(table)
    }
}

/// What the running daemon of a gateway reports. A report that is damaged, or that somebody cleaned
/// away, it writes anew when it is asked; `None` if it has ended meanwhile.
pub fn report_of_daemon(name: &Name) -> Result<Option<Report>, Failure> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(50);
    let path = Report::path(name);
    let begin = Instant::now();
    let mut is_asked = false;
    loop {
        if let Some(report) = Report::read(&path) {
            return Ok(Some(report));
        }
        if !Lock::is_held(name)? {
            return Ok(None);
        }
        if begin.elapsed() >= PATIENCE {
            return Err(Failure::failed(format!(
                "the daemon of gateway `{name}` runs, but its report {} cannot be read; name the table with --table, and \
                 see the daemon's log",
                path.display()
            )));
        }
        if !std::mem::replace(&mut is_asked, true) {
            Lock::signal_holder(name, Signal::SIGHUP)?;
        }
        thread::sleep(PAUSE);
    }
}

/// Whether there is no table, and nothing in its place.
pub fn is_nothing(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(file) => file.is_file() && file.len() == 0,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// The gateway that a command is about, and the table that it forwards by.
#[derive(Clone, Debug)]
pub struct Gateway {
    name: String,
    served: Option<ServedTable>,
}

impl Gateway {
    /// As its maps say. Who may not read them hears nothing.
    pub fn of(global: &Global) -> Self {
        Self {
            name: global.name.to_string(),
            served: ServedTable::of(&Pins::new(&global.name)).ok().flatten(),
        }
    }

    /// What tells its table from others, if that is known.
    pub fn identity(&self) -> Option<Identity> {
        self.served.and_then(|served| served.identity)
    }

    /// Whether that path is the one that it has its table from.
    pub fn is_of(&self, path: &Path) -> bool {
        let location = tag(&location_of_path(path));
        self.served
            .is_some_and(|served| served.location == location)
    }

    /// How a table stands to the gateway's. Any is right for one that is not loaded.
    pub fn relation(&self, table: &Table) -> Relation {
        let location = tag(&location_of(table));
        self.served.map_or(Relation::Same, |served| {
            served.relation(location, table.identity())
        })
    }

    /// How a table, which was opened, stands to what the gateway forwards by; `None` for a gateway
    /// that is not loaded.
    pub fn standing(&self, table: &Table) -> Result<Option<Standing>, TableError> {
        let Some(served) = self.served else {
            return Ok(None);
        };
        let location = tag(&location_of(table));
        Ok(Some(served.standing(
            location,
            table.identity(),
            tag_of_file(table.file()),
            table.revision()?,
        )))
    }

    /// Why the gateway does not forward by the table as it is, while no daemon runs that would
    /// follow it; `None`: it does.
    pub fn lag(&self, standing: &Standing) -> Option<String> {
        let Standing {
            revision, applied, ..
        } = standing;
        let name = &self.name;
        if standing.is_older() {
            return Some(format!(
                "the table is at revision {revision}, older than what is forwarded, revision {applied} of it: no daemon runs, and \
                 the next one goes back to it; put a newer copy there with `eip-dp restore FILE`, or start it with `eip-dp \
                 --name {name} run` if going back is meant"
            ));
        }
        if standing.is_newer() {
            return Some(format!(
                "the table is at revision {revision} and what is forwarded at revision {applied}: no daemon runs; start it \
                 with `eip-dp --name {name} run`"
            ));
        }
        let is_replaced = standing.relation == Relation::Same && standing.is_other_file;
        is_replaced.then(|| {
            format!(
                "the table's file is another one than what is forwarded was read from, and its revision {revision} need not \
                 be the same: no daemon runs; start it with `eip-dp --name {name} run`, or compare them with `eip-dp \
                 --name {name} verify`"
            )
        })
    }

    /// What there is to know of a copy at another path than the one that the gateway has its table
    /// from.
    pub fn is_a_copy(&self, url: &str) -> String {
        format!(
            "{url} is a copy of the table that gateway `{}` forwards by, at another path, and is not followed: leave out \
             --table, or start its daemon with this one",
            self.name
        )
    }

    /// The refusal of another table.
    pub fn refused(&self, url: &str) -> Failure {
        let name = &self.name;
        Failure::failed(format!(
            "gateway `{name}` forwards by another table than {url}; leave out --table, name the gateway of that table with \
             `--name`, put a copy of the right one there (`eip-dp restore FILE`), or `eip-dp --name {name} unload` to begin \
             anew"
        ))
    }

    /// The refusal to make a new table where the gateway's was.
    fn lost(&self, url: &str) -> Failure {
        let name = &self.name;
        Failure::failed(format!(
            "the table {url} is gone or empty, and gateway `{name}` forwards by it: a new one would not be followed; put a \
             copy back with `eip-dp restore FILE`, or `eip-dp --name {name} unload` to begin anew"
        ))
    }
}

/// The table by which the gateway is judged: that one, not another. `daemon_runs`: it has to be the
/// very file.
pub fn table_of_gateway(global: &Global, daemon_runs: bool) -> Result<(Place, Table), Failure> {
    let place = Place::find(global)?;
    let table = place.read(global)?;
    let gateway = Gateway::of(global);
    let standing = gateway.standing(&table)?;
    let relation = standing.map_or(Relation::Same, |standing| standing.relation);
    if !daemon_runs {
        let lag = standing.filter(Standing::is_older);
        if let Some(sentence) = lag.and_then(|standing| gateway.lag(&standing)) {
            failure::warn(global.output, &sentence);
        } else if relation == Relation::Copy {
            failure::warn(global.output, &gateway.is_a_copy(&place.url));
        }
    }
    match relation {
        Relation::Another => Err(gateway.refused(&place.url)),
        Relation::Copy if daemon_runs => Err(Failure::failed(format!(
            "{} is a copy of the table that the daemon of gateway `{}` follows, at another path; leave out --table",
            place.url, global.name
        ))),
        Relation::Same | Relation::Copy => Ok((place, table)),
    }
}

/// An error of the table as a verb's own.
impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_not_there_is_no_empty_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("table.db");
        let url = format!("sqlite:{}", path.display());
        let global = Global {
            table: None,
            name: "gw".parse().expect("a name"),
            output: Format::Json,
        };
        let read = || {
            let read = Place::copy(&url, "/its/table.db").read_or_begin(&global);
            read.map(drop).expect_err("no table").to_string()
        };
        assert!(read().contains("the copy of /its/table.db"), "{}", read());
        fs::write(&path, "").expect("written");
        assert!(read().contains("gone or empty"), "{}", read());
        Place::new(&url, SaidBy::Operator)
            .read_or_begin(&global)
            .expect("one that nobody has made yet");
    }
}

//! A table in memory and one in a file, side by side: every command must do the same to both.

use std::path::Path;

use rusqlite::types::Value;
use tempfile::TempDir;

use super::{ExecuteError, Outcome, Table};
use crate::model::{
    Code, Context, Model, Refusal,
    command::Command,
    rules,
    testing::{at, check_invariants, command},
};

/// The tables of the first version, each behind those that it refers to.
pub(crate) const TABLES: [&str; 9] = [
    "meta",
    "pool",
    "vpc",
    "vpc_cidr",
    "instance",
    "eni",
    "eni_ip",
    "eip",
    "association",
];

/// The two tables.
pub(crate) struct Pair {
    pub(crate) model: Model,
    pub(crate) table: Table,
    pub(crate) directory: TempDir,
}

impl Pair {
    /// Two empty tables.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let table = open(&directory.path().join("table.db"));
        Self {
            model: Model::default(),
            table,
            directory,
        }
    }

    /// Two tables after these lines, all of which must be accepted.
    pub(crate) fn with(script: &str) -> Self {
        let mut pair = Self::new();
        pair.accept_all(script);
        pair
    }

    pub(crate) fn accept_all(&mut self, script: &str) {
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            self.accept(line);
        }
    }

    pub(crate) fn accept(&mut self, line: &str) -> Outcome {
        self.accept_at(line, 1_000)
    }

    pub(crate) fn accept_at(&mut self, line: &str, now: i64) -> Outcome {
        let outcome = self.run(&command(line), &at(now));
        outcome.unwrap_or_else(|refusal| panic!("`{line}` is refused: {} {refusal}", refusal.code))
    }

    /// The refusal of a line, whose code must be this one.
    pub(crate) fn refuse(&mut self, code: Code, line: &str) -> Refusal {
        match self.run(&command(line), &at(1_000)) {
            Ok(outcome) => panic!("`{line}` is accepted: {:?}", outcome.changes),
            Err(refusal) => {
                assert_eq!(refusal.code, code, "`{line}`: {refusal}");
                refusal
            }
        }
    }

    /// Runs a command on both, whether or not it is built yet, and compares everything.
    pub(crate) fn run(&mut self, command: &Command, context: &Context) -> Result<Outcome, Refusal> {
        let before = self.dump();
        let revision = self.table.revision().expect("a revision");
        let decision = rules::decide(&self.model, command, context);
        let outcome = match self.table.decide_and_write(command, context) {
            Ok(outcome) => Ok(outcome),
            Err(ExecuteError::Refused(refusal)) => Err(refusal),
            Err(error) => panic!("{command:?}: {error}"),
        };
        if !command.may_serve_eips() {
            let nowhere = Context {
                host_addresses: Vec::new(),
                host_networks: Vec::new(),
                next_hops: Vec::new(),
                ..context.clone()
            };
            let elsewhere = rules::decide(&self.model, command, &nowhere);
            assert_eq!(decision, elsewhere, "{command:?}: on another host");
        }
        match (&decision, &outcome) {
            (Ok(decision), Ok(outcome)) => {
                assert_eq!(decision.changes, outcome.changes, "{command:?}");
                assert_eq!(decision.warnings, outcome.warnings, "{command:?}");
                self.model.change(&decision.changes);
                let changed = u64::from(!outcome.changes.is_empty());
                assert_eq!(outcome.revision, revision + changed, "{command:?}");
            }
            (Err(ours), Err(theirs)) => {
                assert_eq!(ours, theirs, "{command:?}");
                assert_eq!(before, self.dump(), "a refused command changed the table");
            }
            _ => panic!("{command:?}: {decision:?} in memory, {outcome:?} in the file"),
        }
        // By two connections, and by one.
        self.table.shared_from = if revision.is_multiple_of(2) {
            0
        } else {
            u32::MAX
        };
        let snapshot = self.table.snapshot().expect("a snapshot");
        assert_eq!(self.model, snapshot.model, "after {command:?}");
        check_invariants(&self.model);
        self.check_followed();
        outcome
    }

    /// From now on, the file remembers changes of that many bytes.
    pub(crate) fn limit_log(&mut self, limit: usize) {
        self.table.log_limit = limit;
    }

    /// Every row of every table of the database.
    pub(crate) fn dump(&self) -> Vec<(String, Vec<Value>)> {
        let connection = &self.table.connection;
        let mut rows = Vec::new();
        for table in TABLES.into_iter().chain(["log"]) {
            let sql = format!("SELECT * FROM {table} ORDER BY 1, 2");
            let mut statement = connection.prepare_cached(&sql).expect("a table");
            let columns = statement.column_count();
            let all = statement.query_map([], |row| {
                (0..columns).map(|column| row.get(column)).collect()
            });
            for row in all.expect("rows") {
                rows.push((table.to_owned(), row.expect("a row")));
            }
        }
        rows
    }

    fn check_followed(&self) {
        let sql = "SELECT address, followed FROM eip ORDER BY address";
        let mut statement = self.table.connection.prepare_cached(sql).expect("a table");
        let rows = statement.query_map([], |row| {
            Ok((super::encode::read_address(row, 0)?, row.get::<_, bool>(1)?))
        });
        for row in rows.expect("rows") {
            let (address, followed) = row.expect("a row");
            let next = crate::model::next_address(address);
            let taken = self
                .model
                .eips
                .values()
                .any(|eip| Some(eip.address) == next);
            assert_eq!(followed, taken, "{address}");
        }
    }
}

/// Whether the file tells what has changed since it was `model`; that must lead to what it is now.
pub(crate) fn follow(pair: &Pair, revision: u64, mut model: Model) -> bool {
    let Some(delta) = pair.table.changes_since(revision).expect("an answer") else {
        return false;
    };
    model.change(&delta.changes);
    let snapshot = pair.table.snapshot().expect("a snapshot");
    assert_eq!(
        (delta.revision, &model),
        (snapshot.revision, &snapshot.model)
    );
    true
}

/// Opens a table that need not survive a power failure.
pub(crate) fn open(path: &Path) -> Table {
    let table = Table::open_or_make(&format!("sqlite:{}", path.display()), None).expect("a table");
    let fast = table.connection.pragma_update(None, "synchronous", "OFF");
    fast.expect("a pragma");
    table
}

//! `apply` and `export`: the whole table as TOML.

mod source;

use std::{io, path::PathBuf};

use clap::Args;
use serde::Serialize;
use source::Source;

use super::{
    Failure, Format, Global,
    object::Object,
    output::{self, Style},
    session::Session,
    wait::Wait,
};
use crate::{
    model::{
        Change, Code, Diff, Document, Model,
        command::{Command, Prune},
        objects::{Association, Eip, Eni, Instance, Pool, Vpc},
    },
    table::Outcome,
};

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "options of the command line, each by itself"
)]
pub struct Apply {
    /// The table file; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    /// Delete what the file does not name
    #[arg(long)]
    prune: bool,
    /// Prune all the same, where that deletes all objects of a kind or more than half of the
    /// associations
    #[arg(long, requires = "prune")]
    yes: bool,
    /// Print the difference and change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Print the last line alone, which counts the changes
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    wait: Wait,
}

/// Reads a table file as `apply` does; what is wrong with it, as it would be said.
///
/// # Panics
/// If it is another document when it is read in parts.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn read_document(text: &str) -> Result<Document, String> {
    let source = Source::of(text);
    let (whole, parts) = (source.document(), source.in_parts_of(64));
    match (whole, parts) {
        (Ok(whole), Ok(parts)) => {
            assert_eq!(whole, parts);
            Ok(whole)
        }
        (Ok(_), Err(failure)) => panic!("in parts: {failure:?}"),
        (Err(failure), _) => Err(format!("{failure:?}")),
    }
}

impl Apply {
    pub(super) fn run(self, global: &Global) -> Result<(), Failure> {
        let source = Source::read(&self.file)?;
        let mut command = Command::Apply {
            document: source.document()?,
            prune: match (self.prune, self.yes) {
                (false, _) => Prune::No,
                (true, false) => Prune::Few,
                (true, true) => Prune::All,
            },
        };
        let mut session = Session::open_to_make(global)?;
        let outcome = if self.dry_run {
            preview(&session, &mut command)
        } else {
            session.execute(&command)
        };
        // What the arguments of a verb may not say is a usage error; these stand in a file.
        let outcome = outcome.map_err(|failure| match failure {
            Failure::Usage(message) => Failure::Failed(format!("{}: {message}", source.name)),
            other => other,
        })?;
        print(global.output, self.quiet, &outcome.changes)?;
        if self.dry_run {
            return Ok(());
        }
        let finished = session.finish(self.wait, outcome.revision, &outcome.changes);
        // The process ends: to free a million objects one by one takes longer than to have written
        // them.
        std::mem::forget((command, outcome));
        finished
    }
}

/// What the command would do. That it would need `--yes` is a warning then: this is how to find out
/// what it would delete.
fn preview(session: &Session<'_>, command: &mut Command) -> Result<Outcome, Failure> {
    let refused = match session.preview(command) {
        Err(Failure::Refused { code, message }) if code == Code::NeedsYes.as_str() => message,
        outcome => return outcome,
    };
    session.warn(&refused);
    if let Command::Apply { prune, .. } = command {
        *prune = Prune::All;
    }
    session.preview(command)
}

fn print(format: Format, quiet: bool, changes: &[Change]) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(&changes.iter().map(Line::new).collect::<Vec<_>>());
    }
    output::write(|out| {
        if changes.is_empty() {
            return writeln!(out, "no changes");
        }
        for change in changes.iter().filter(|_| !quiet) {
            writeln!(out, "{}", output::in_line(&change.to_string()))?;
        }
        let (mut add, mut change, mut delete) = (0, 0, 0);
        for one in changes {
            *match Line::new(one).action {
                "create" => &mut add,
                "delete" => &mut delete,
                _ => &mut change,
            } += 1;
        }
        writeln!(out, "{add} to add, {change} to change, {delete} to delete")
    })
}

/// `export`.
pub(super) fn export(global: &Global) -> Result<(), Failure> {
    let session = Session::open(global)?;
    let model = session.model()?;
    // Whoever keeps what is exported must not take the wrong table, or one that was lost, for the
    // one that is meant.
    if model == Model::default() {
        return Err(Failure::failed(format!(
            "the table {} is empty, and there is nothing to export; name another with `--table`",
            session.url()
        )));
    }
    let document = Document::from(model);
    if global.output == Format::Json {
        return output::json(&document);
    }
    output::write_as(Style::Toml, |out| {
        let mut first = true;
        section(out, &mut first, &document.pools)?;
        section(out, &mut first, &document.vpcs)?;
        section(out, &mut first, &document.instances)?;
        section(out, &mut first, &document.enis)?;
        section(out, &mut first, &document.eips)?;
        section(out, &mut first, &document.associations)
    })
}

/// Writes each object as an element of its kind's array of tables, so that a large table needs no
/// large text in memory.
fn section<T: Object>(out: &mut dyn io::Write, first: &mut bool, objects: &[T]) -> io::Result<()> {
    for object in objects {
        if !std::mem::take(first) {
            writeln!(out)?;
        }
        let fields = toml::to_string(object).map_err(io::Error::other)?;
        write!(out, "[[{}]]\n{fields}", T::KIND)?;
    }
    Ok(())
}

/// A change of one object as JSON shows it.
#[derive(Serialize)]
struct Line<'a> {
    action: &'static str,
    object: &'static str,
    id: String,
    #[serde(flatten)]
    diff: AnyDiff<'a>,
}

/// `before` and `after`, `null` for an object that is not there.
#[derive(Serialize)]
#[serde(untagged)]
enum AnyDiff<'a> {
    Pool(&'a Diff<Pool>),
    Vpc(&'a Diff<Vpc>),
    Instance(&'a Diff<Instance>),
    Eni(&'a Diff<Eni>),
    Eip(&'a Diff<Eip>),
    Association(&'a Diff<Association>),
}

impl<'a> Line<'a> {
    fn new(change: &'a Change) -> Self {
        match change {
            Change::Pool(diff) => Self::of(diff, AnyDiff::Pool),
            Change::Vpc(diff) => Self::of(diff, AnyDiff::Vpc),
            Change::Instance(diff) => Self::of(diff, AnyDiff::Instance),
            Change::Eni(diff) => Self::of(diff, AnyDiff::Eni),
            Change::Eip(diff) => Self::of(diff, AnyDiff::Eip),
            Change::Association(diff) => Self::of(diff, AnyDiff::Association),
        }
    }

    fn of<T: Object>(diff: &'a Diff<T>, any: impl Fn(&'a Diff<T>) -> AnyDiff<'a>) -> Self {
        let (before, after) = (diff.before.as_ref(), diff.after.as_ref());
        Self {
            action: match (before, after) {
                (None, _) => "create",
                (_, None) => "delete",
                _ => "change",
            },
            object: T::KIND,
            id: after.or(before).map(Object::key).unwrap_or_default(),
            diff: any(diff),
        }
    }
}

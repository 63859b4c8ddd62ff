//! `apply` and `export`: the whole table as TOML.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    ops::Range,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Failure, Format, Global, object::Object, output, session::Session, wait::Wait};
use crate::model::{
    Change, Code, Diff, Document,
    command::Command,
    objects::{Association, Eip, Eni, Instance, Pool, Vpc},
};

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// The table file; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    /// Delete what the file does not name
    #[arg(long)]
    prune: bool,
    /// Print the difference and change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    #[command(flatten)]
    wait: Wait,
}

impl Apply {
    pub(super) fn run(self, global: &Global) -> Result<(), Failure> {
        let source = Source::read(&self.file)?;
        let command = Command::Apply {
            document: source.document()?,
            prune: self.prune,
        };
        let mut session = Session::open(global)?;
        let outcome = if self.dry_run {
            session.preview(&command)
        } else {
            session.execute(&command)
        };
        // What the arguments of a verb may not say is a usage error; these stand in a file.
        let outcome = outcome.map_err(|failure| match failure {
            Failure::Usage(message) => Failure::Failed(format!("{}: {message}", source.name)),
            other => other,
        })?;
        print(global.output, &outcome.changes)?;
        if self.dry_run {
            return Ok(());
        }
        session.finish(self.wait, outcome.revision)
    }
}

fn print(format: Format, changes: &[Change]) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(&changes.iter().map(Line::new).collect::<Vec<_>>());
    }
    output::write(|out| {
        if changes.is_empty() {
            return writeln!(out, "no changes");
        }
        changes
            .iter()
            .try_for_each(|change| writeln!(out, "{change}"))
    })
}

/// `export`.
pub(super) fn export(global: &Global) -> Result<(), Failure> {
    let document = Document::from(Session::open(global)?.model()?);
    if global.output == Format::Json {
        return output::json(&document);
    }
    output::write(|out| {
        let mut first = true;
        section(out, &mut first, &document.pools)?;
        section(out, &mut first, &document.vpcs)?;
        section(out, &mut first, &document.instances)?;
        section(out, &mut first, &document.enis)?;
        section(out, &mut first, &document.eips)?;
        section(out, &mut first, &document.associations)
    })
}

/// Writes each object as an element of its kind's array of tables, so that a large table needs no large text in memory.
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

/// The text of a table file and what to call it in errors.
struct Source {
    name: String,
    text: String,
}

/// A [`Document`] whose objects know where they stand in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Placed {
    #[serde(default)]
    pool: Vec<Spanned<Pool>>,
    #[serde(default)]
    vpc: Vec<Spanned<Vpc>>,
    #[serde(default)]
    instance: Vec<Spanned<Instance>>,
    #[serde(default)]
    eni: Vec<Spanned<Eni>>,
    #[serde(default)]
    eip: Vec<Spanned<Eip>>,
    #[serde(default)]
    association: Vec<Spanned<Association>>,
}

impl Source {
    fn read(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let mut text = String::new();
            return match io::stdin().read_to_string(&mut text) {
                Ok(_) => Ok(Self {
                    name: "standard input".to_owned(),
                    text,
                }),
                Err(error) => Err(Failure::failed(format!(
                    "the table file on standard input cannot be read: {error}"
                ))),
            };
        }
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => Err(Failure::failed(format!(
                "the table file `{name}` cannot be read: {error}; `eip-dp export` prints one to start from"
            ))),
        }
    }

    fn document(&self) -> Result<Document, Failure> {
        let placed: Placed = toml::from_str(&self.text).map_err(|error| {
            let message = error.message();
            Failure::Failed(match error.span() {
                Some(span) => format!("{}: {message}{}", self.position(&span), self.quote(&span)),
                None => format!("{}: {message}", self.name),
            })
        })?;
        Ok(Document {
            pools: self.unique(placed.pool)?,
            vpcs: self.unique(placed.vpc)?,
            instances: self.unique(placed.instance)?,
            enis: self.unique(placed.eni)?,
            eips: self.unique(placed.eip)?,
            associations: self.unique(placed.association)?,
        })
    }

    /// The objects of a kind, each of which stands in the file once.
    fn unique<T: Object>(&self, objects: Vec<Spanned<T>>) -> Result<Vec<T>, Failure> {
        let mut seen = BTreeMap::new();
        for object in &objects {
            if let Some(before) = seen.insert(object.get_ref().key(), object.span().start) {
                return Err(Failure::Refused {
                    code: Code::AlreadyExists.as_str(),
                    message: format!(
                        "{}: {} `{}` stands in line {} already; remove one of the two",
                        self.position(&object.span()),
                        T::KIND,
                        object.get_ref().key(),
                        self.line(before),
                    ),
                });
            }
        }
        Ok(objects.into_iter().map(Spanned::into_inner).collect())
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    fn position(&self, span: &Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or_default();
        let column = before.chars().rev().take_while(|it| *it != '\n').count() + 1;
        format!(
            "{}, line {}, column {column}",
            self.name,
            self.line(span.start)
        )
    }

    /// The line that an error is about; it holds the key and the value.
    fn quote(&self, span: &Range<usize>) -> String {
        let line = self.text.lines().nth(self.line(span.start) - 1);
        match line.map(str::trim) {
            None | Some("") => String::new(),
            Some(line) => format!(" in `{line}`; correct the file, nothing has changed"),
        }
    }
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

//! Writing results to stdout: aligned tables and lines for people, JSON for programs.

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::Failure;

/// How results and errors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Writes to stdout. A reader that went away (`eip-dp eip list | head -1`) is not an error.
pub fn write(content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = content(&mut out).and_then(|()| out.flush());
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "standard output cannot be written: {error}"
        ))),
        _ => {
            // What is left in the buffer has no reader: writing it again on drop would only fail again.
            let _ = out.into_parts();
            Ok(())
        }
    }
}

/// Writes one value as JSON, indented, with a line's end.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    write(|out| {
        serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
        writeln!(out)
    })
}

/// Writes rows under a header, each column as wide as its widest cell. An empty cell is written as `-`.
///
/// The rows are gone through twice rather than kept: a table may hold a million objects.
pub fn table<const N: usize>(
    header: [&str; N],
    mut rows: impl Iterator<Item = [String; N]> + Clone,
) -> Result<(), Failure> {
    let mut widths = header.map(str::len);
    for row in rows.clone() {
        for (width, cell) in widths.iter_mut().zip(&row) {
            *width = cell.chars().count().max(*width);
        }
    }
    write(|out| {
        line(out, &widths, header)?;
        rows.try_for_each(|row| line(out, &widths, row.each_ref().map(String::as_str)))
    })
}

fn line<const N: usize>(
    out: &mut dyn Write,
    widths: &[usize; N],
    cells: [&str; N],
) -> io::Result<()> {
    for (column, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
        let cell = if cell.is_empty() { "-" } else { cell };
        if column + 1 == N {
            writeln!(out, "{cell}")?;
        } else {
            write!(out, "{cell:width$}  ")?;
        }
    }
    Ok(())
}

/// Writes `key: value` lines, the values aligned. An empty value leaves its line out.
pub fn fields(fields: &[(&str, String)]) -> Result<(), Failure> {
    let width = fields.iter().map(|(key, _)| key.len()).max().unwrap_or(0) + 1;
    write(|out| {
        for (key, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            writeln!(out, "{:width$} {value}", format!("{key}:"))?;
        }
        Ok(())
    })
}

/// The texts of several values with `, ` between them.
pub fn join<T: ToString>(values: &[T]) -> String {
    let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// The text of a value that may be missing; empty without one.
pub fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// The text, or `none` for an empty one.
pub fn or_none(text: String) -> String {
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}

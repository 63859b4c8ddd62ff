//! Writing results to stdout: aligned tables and lines for people, JSON for programs.

use std::{
    borrow::Cow,
    io::{self, BufWriter, Write},
};

use clap::ValueEnum;
use serde::Serialize;

use super::Failure;
use crate::model::is_invisible;

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
    write_as(Style::Text, content)
}

/// Likewise what a program reads, with escapes of its language.
pub fn write_as(
    style: Style,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = content(&mut Escaped(&mut out, style)).and_then(|()| out.flush());
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "standard output cannot be written: {error}"
        ))),
        _ => {
            // What is left in the buffer has no reader: writing it again on drop would only fail
            // again.
            let _ = out.into_parts();
            Ok(())
        }
    }
}

/// Escapes what a terminal would take for a command, or show in another order: text of the table
/// may have been written past the rules.
struct Escaped<W>(W, Style);

/// How a character is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As `\u{9b}`.
    Text,
    /// As `\u009b`, of two halves beyond the basic plane (RFC 8259 7).
    Json,
    /// As `\U0000009B` (TOML 1.0, strings).
    Toml,
}

impl Style {
    fn escape(self, c: char, out: &mut String) {
        match self {
            Self::Text => out.extend(c.escape_unicode()),
            Self::Json => {
                for half in c.encode_utf16(&mut [0; 2]) {
                    let digits = format!("{half:04x}");
                    out.extend(["\\u", &digits]);
                }
            }
            Self::Toml => {
                let digits = format!("{:08X}", u32::from(c));
                out.extend(["\\U", &digits]);
            }
        }
    }
}

impl<W: Write> Write for Escaped<W> {
    /// `text` is whole characters: what writes here writes strings.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let is_plain = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
        if text.iter().all(is_plain) {
            self.0.write_all(text)?;
        } else {
            self.0
                .write_all(escape(&String::from_utf8_lossy(text), self.1).as_bytes())?;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The text with each character escaped that is not shown as itself, but for line ends and tabs.
pub fn escape(text: &str, style: Style) -> Cow<'_, str> {
    let is_shown = |c: char| {
        matches!(c, '\n' | '\t') || !c.is_control() && !is_invisible(c) && !is_line_end(c)
    };
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_shown(c) {
            escaped.push(c);
        } else {
            style.escape(c, &mut escaped);
        }
    }
    Cow::Owned(escaped)
}

/// A text that stands in a line with others: line ends and tabs are escaped as well.
pub fn in_line(text: &str) -> Cow<'_, str> {
    let text = escape(text, Style::Text);
    if !text.contains(['\n', '\t']) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' | '\t' => Style::Text.escape(c, &mut escaped),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// The text that was written so: what is escaped as `\u{a}` stands for the character. `None`:
/// nothing is.
pub fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let (mut rest, mut is_escaped) = (text, false);
    while let Some((before, after)) = rest.split_once("\\u{") {
        let (digits, behind) = after.split_once('}')?;
        let character = u32::from_str_radix(digits, 16)
            .ok()
            .and_then(char::from_u32);
        plain.push_str(before);
        plain.push(character?);
        (rest, is_escaped) = (behind, true);
    }
    plain.push_str(rest);
    is_escaped.then_some(plain)
}

/// Unicode's own line ends.
fn is_line_end(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Writes one value as JSON, indented, with a line's end.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    write_as(Style::Json, |out| {
        serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
        writeln!(out)
    })
}

/// No column is wider: one cell that is much longer would move all others off the screen.
const WIDEST: usize = 80;

/// Writes rows under a header, each column as wide as its widest cell. An empty cell is written as
/// `-`.
///
/// The rows are gone through twice rather than kept: a table may hold a million objects.
pub fn table<const N: usize>(
    header: [&str; N],
    mut rows: impl Iterator<Item = [String; N]> + Clone,
) -> Result<(), Failure> {
    let mut widths = header.map(str::len);
    for row in rows.clone() {
        for (width, cell) in widths.iter_mut().zip(&row) {
            *width = in_line(cell).chars().count().min(WIDEST).max(*width);
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
        let cell = in_line(cell);
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
            writeln!(out, "{:width$} {}", format!("{key}:"), in_line(value))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, shown) in [
            ("a\tb\n", "a\tb\n"),
            ("Zürich-日本", "Zürich-日本"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\rb\u{7f}\u{9b}", "a\\u{d}b\\u{7f}\\u{9b}"),
            ("a\u{202e}b\u{2028}", "a\\u{202e}b\\u{2028}"),
        ] {
            assert_eq!(escape(text, Style::Text), shown);
            let mut out = Vec::new();
            write!(Escaped(&mut out, Style::Text), "{text}").expect("written");
            assert_eq!(out, shown.as_bytes());
        }
    }

    #[test]
    fn what_is_escaped_can_be_said_again() {
        for (text, shown) in [
            ("a\nb\t\u{1b}[2J", "a\\u{a}b\\u{9}\\u{1b}[2J"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ] {
            assert_eq!(in_line(text), shown);
            assert_eq!(unescaped(shown).as_deref(), Some(text));
        }
        for plain in ["web-0", "a\\u", "a\\u{", "a\\u{zz}", "a\\u{d800}", ""] {
            assert_eq!(unescaped(plain), None, "{plain}");
        }
    }

    #[test]
    fn programs_read_what_was_meant() {
        let text = "a\u{202e}\u{e0001}\u{9b}b";
        let json = escape(&serde_json::to_string(text).expect("text"), Style::Json).into_owned();
        assert!(json.is_ascii(), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
        let toml = format!("a = {}", toml::Value::String(text.to_owned()));
        let toml = escape(&toml, Style::Toml).into_owned();
        assert!(toml.is_ascii(), "{toml}");
        let read: toml::Table = toml.parse().expect("TOML");
        assert_eq!(read["a"].as_str(), Some(text));
    }

    #[test]
    fn a_cell_of_any_length_is_written() {
        let long = "x".repeat(70_000);
        table(["A", "B"], [[long.clone(), long]].into_iter()).expect("written");
    }
}

//! A table file as text: which objects it has, and where in it something is wrong.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _},
    ops::Range,
    path::Path,
};

use serde::Deserialize;
use toml::Spanned;

use super::{Failure, Object};
use crate::model::{
    Code, Document,
    objects::{Association, Eip, Eni, Instance, Pool, Vpc},
};

/// The text of a table file and what to call it in errors.
pub(super) struct Source {
    pub(super) name: String,
    text: String,
}

/// A large file is read in parts of about that many bytes: the tree that TOML's reader makes takes
/// twenty times the room.
const PART: usize = 1 << 20;

/// A part of a file, whose objects know where they stand in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
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

/// The objects of all parts, each with the offset at which it stands.
#[derive(Default)]
struct Placed {
    pools: Vec<(usize, Pool)>,
    vpcs: Vec<(usize, Vpc)>,
    instances: Vec<(usize, Instance)>,
    enis: Vec<(usize, Eni)>,
    eips: Vec<(usize, Eip)>,
    associations: Vec<(usize, Association)>,
}

impl Placed {
    fn append(&mut self, part: Part, start: usize) {
        append(&mut self.pools, part.pool, start);
        append(&mut self.vpcs, part.vpc, start);
        append(&mut self.instances, part.instance, start);
        append(&mut self.enis, part.eni, start);
        append(&mut self.eips, part.eip, start);
        append(&mut self.associations, part.association, start);
    }
}

fn append<T>(all: &mut Vec<(usize, T)>, part: Vec<Spanned<T>>, start: usize) {
    let placed = part
        .into_iter()
        .map(|one| (start + one.span().start, one.into_inner()));
    all.extend(placed);
}

/// Cuts a file in front of objects. What stands between two cuts means the same alone.
fn parts(text: &str, length: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    // Only in a string of several lines may a line look like a head and be none.
    let is_plain = !text.contains("\"\"\"") && !text.contains("'''");
    if is_plain {
        for (newline, _) in text.match_indices("\n[[") {
            let head = newline + 1;
            if head - start >= length && is_head(&text[head..]) {
                parts.push(start..head);
                start = head;
            }
        }
    }
    parts.push(start..text.len());
    parts
}

/// Whether the text's first line begins an object.
fn is_head(text: &str) -> bool {
    let kinds = [
        Pool::KIND,
        Vpc::KIND,
        Instance::KIND,
        Eni::KIND,
        Eip::KIND,
        Association::KIND,
    ];
    let line = text.lines().next().unwrap_or_default();
    let kind = line
        .strip_prefix("[[")
        .and_then(|line| line.strip_suffix("]]"));
    kind.is_some_and(|kind| kinds.contains(&kind))
}

impl Source {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
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

    /// That of a text from elsewhere.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn of(text: &str) -> Self {
        Self {
            name: "test".to_owned(),
            text: text.to_owned(),
        }
    }

    pub(super) fn document(&self) -> Result<Document, Failure> {
        self.document_by(PART)
    }

    /// Likewise, in parts of about that many bytes.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn in_parts_of(&self, length: usize) -> Result<Document, Failure> {
        self.document_by(length)
    }

    fn document_by(&self, length: usize) -> Result<Document, Failure> {
        let mut all = Placed::default();
        for range in parts(&self.text, length) {
            let start = range.start;
            let text = self.text.get(range).unwrap_or_default();
            let part = toml::from_str(text).map_err(|error| self.malformed(&error, start))?;
            all.append(part, start);
        }
        Ok(Document {
            pools: self.unique(all.pools)?,
            vpcs: self.unique(all.vpcs)?,
            instances: self.unique(all.instances)?,
            enis: self.unique(all.enis)?,
            eips: self.unique(all.eips)?,
            associations: self.unique(all.associations)?,
        })
    }

    /// What is wrong with a part of the file, which starts there.
    fn malformed(&self, error: &toml::de::Error, start: usize) -> Failure {
        let message = error.message();
        Failure::Failed(match error.span() {
            Some(span) => {
                let at = start + span.start;
                format!("{}: {message}{}", self.position(at), self.quote(at))
            }
            None => format!("{}: {message}", self.name),
        })
    }

    /// The objects of a kind, each of which stands in the file once.
    fn unique<T: Object>(&self, objects: Vec<(usize, T)>) -> Result<Vec<T>, Failure> {
        let mut seen = HashMap::with_capacity(objects.len());
        for (start, object) in &objects {
            if let Some(before) = seen.insert(object.key(), *start) {
                return Err(Failure::Refused {
                    code: Code::AlreadyExists.as_str(),
                    message: format!(
                        "{}: {} `{}` stands in line {} already; remove one of the two",
                        self.position(*start),
                        T::KIND,
                        object.key(),
                        self.line(before),
                    ),
                });
            }
        }
        Ok(objects.into_iter().map(|(_, object)| object).collect())
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    fn position(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or_default();
        let column = before.chars().rev().take_while(|it| *it != '\n').count() + 1;
        format!("{}, line {}, column {column}", self.name, self.line(offset))
    }

    /// The line that an error is about; it holds the key and the value.
    fn quote(&self, offset: usize) -> String {
        let line = self.text.lines().nth(self.line(offset) - 1);
        match line.map(str::trim) {
            None | Some("") => String::new(),
            Some(line) => format!(" in `{line}`; correct the file, nothing has changed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RICH: &str = include_str!("../../../tests/golden/rich.toml");

    fn read(text: &str, length: usize) -> Result<Document, String> {
        let source = Source {
            name: "file".to_owned(),
            text: text.to_owned(),
        };
        source.document_by(length).map_err(|failure| match failure {
            Failure::Failed(message) | Failure::Refused { message, .. } => message,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn parts_say_what_the_whole_says() {
        let whole = read(RICH, usize::MAX).unwrap();
        assert_eq!(whole.enis.len(), 5);
        assert!(parts(RICH, 1).len() > 10);
        for length in [1, 100, 500] {
            assert_eq!(read(RICH, length).as_ref(), Ok(&whole), "{length}");
        }
    }

    #[test]
    fn an_error_stands_in_the_line_in_which_it_is() {
        let lines: Vec<&str> = RICH.lines().collect();
        for bad in [
            "what = 1",
            "id = \"x\"\nid = \"x\"",
            "[[eip]",
            "\u{7}",
            "[[thing]]",
        ] {
            for at in 0..lines.len() {
                let text = [&lines[..at], &[bad], &lines[at..]].concat().join("\n");
                let whole = read(&text, usize::MAX).unwrap_err();
                assert_eq!(
                    read(&text, 1).unwrap_err(),
                    whole,
                    "{bad} in line {}",
                    at + 1
                );
            }
        }
    }

    #[test]
    fn an_object_of_two_parts_stands_in_the_file_twice() {
        let text = format!("{RICH}\n{RICH}");
        let whole = read(&text, usize::MAX).unwrap_err();
        assert!(whole.contains("already"), "{whole}");
        assert_eq!(read(&text, 1).unwrap_err(), whole);
    }

    #[test]
    fn what_only_looks_like_an_object_is_not_cut() {
        for quotes in ["\"\"\"", "'''"] {
            let text = format!("[[pool]]\ncidr = {quotes}\n[[pool]]\n{quotes}\n");
            assert_eq!(parts(&text, 1).len(), 1, "{text}");
        }
        let array = "[[vpc]]\nid = \"v\"\ncidrs = [\n[[\"10.0.0.0/8\"]],\n]\n";
        assert_eq!(parts(array, 1).len(), 1);
    }
}

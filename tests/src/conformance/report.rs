//! Who passes what: the table, the list of failures, JSON.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::data::{Case, Family, Table};

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "kebab-case")]
pub enum Verdict {
    /// As it has to be.
    Passed,
    /// Not so, and how.
    Failed(String),
    /// The gateway could not be set up for it: it counts as failed.
    NotSetUp(String),
    /// The gateway does not claim to do this.
    NotApplicable(String),
}

/// A case and what a gateway made of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The gateway.
    pub adapter: String,
    /// The case.
    pub case: String,
    /// Its rows of `docs/packets.md`.
    pub ids: Vec<String>,
    /// The clause that its expectation is taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rfc: Option<String>,
    /// Whether no standard asks for it.
    #[serde(default)]
    pub policy: bool,
    /// Its group.
    pub group: String,
    /// Its family.
    pub family: Family,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Outcome {
    /// Puts them together.
    pub fn new(adapter: &str, table: &Table, case: &Case, verdict: Verdict) -> Self {
        Self {
            adapter: adapter.to_owned(),
            case: case.name.clone(),
            ids: case.ids.clone(),
            rfc: case.rfc.clone(),
            policy: case.policy,
            group: case.group.clone(),
            family: table.bed.family,
            verdict,
        }
    }
}

impl Outcome {
    /// What the expectation rests on, in brackets.
    fn basis(&self) -> String {
        basis(self.rfc.as_deref(), self.policy)
    }
}

/// What an expectation rests on, in brackets: a clause, our policy, or both. Of cases that say
/// neither, nothing.
pub fn basis(rfc: Option<&str>, policy: bool) -> String {
    match (rfc, policy) {
        (None, false) => String::new(),
        (None, true) => " (policy)".to_owned(),
        (Some(rfc), false) => format!(" ({rfc})"),
        (Some(rfc), true) => format!(" (policy, cf. {rfc})"),
    }
}

/// Everything that was found out.
#[derive(Default)]
pub struct Report {
    outcomes: Vec<Outcome>,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Passed.
    pub passed: usize,
    /// Of these, without those that do not apply.
    pub of: usize,
}

impl Score {
    fn text(self) -> String {
        if self.of == 0 {
            return "n/a".to_owned();
        }
        format!("{}/{}", self.passed, self.of)
    }
}

impl Report {
    /// Adds what one gateway did.
    pub fn add(&mut self, outcomes: Vec<Outcome>) {
        self.outcomes.extend(outcomes);
    }

    /// One gateway's score.
    pub fn score(&self, adapter: &str) -> Score {
        self.count(|outcome| outcome.adapter == adapter)
    }

    fn count(&self, which: impl Fn(&Outcome) -> bool) -> Score {
        let mut score = Score::default();
        for outcome in self.outcomes.iter().filter(|outcome| which(outcome)) {
            match outcome.verdict {
                Verdict::Passed => {
                    score.passed += 1;
                    score.of += 1;
                }
                Verdict::Failed(_) | Verdict::NotSetUp(_) => score.of += 1,
                Verdict::NotApplicable(_) => {}
            }
        }
        score
    }

    /// The gateways, as they were tried.
    pub fn adapters(&self) -> Vec<&str> {
        in_order(self.outcomes.iter().map(|outcome| outcome.adapter.as_str()))
    }

    /// The table, in Markdown.
    pub fn table(&self) -> String {
        let adapters = self.adapters();
        let mut head = vec!["group".to_owned(), "IP".to_owned(), "cases".to_owned()];
        head.extend(adapters.iter().map(|name| (*name).to_owned()));
        let mut rows = vec![head];
        let mut row = |group: &str, family: Option<Family>| {
            let of = |outcome: &Outcome| {
                (group == TOTAL || outcome.group == group)
                    && family.is_none_or(|family| outcome.family == family)
            };
            let cases = in_order(
                self.outcomes
                    .iter()
                    .filter(|outcome| of(outcome))
                    .map(|outcome| &outcome.case),
            );
            let version = family.map_or(String::new(), |family| u8::from(family).to_string());
            let mut cells = vec![group.to_owned(), version, cases.len().to_string()];
            cells.extend(adapters.iter().map(|name| {
                self.count(|outcome| outcome.adapter == *name && of(outcome))
                    .text()
            }));
            rows.push(cells);
        };
        let keys = in_order(
            self.outcomes
                .iter()
                .map(|outcome| (outcome.family, outcome.group.as_str())),
        );
        for family in [Family::V4, Family::V6] {
            for (_, group) in keys.iter().filter(|(of, _)| *of == family) {
                row(group, Some(family));
            }
        }
        row(TOTAL, None);
        markdown(&rows)
    }

    /// The failures of one gateway. What could not be set up is said once, and always; the others
    /// if `all` are wanted.
    pub fn failures(&self, adapter: &str, all: bool) -> String {
        let mut text = String::new();
        let mut said = None;
        for outcome in self.outcomes.iter().filter(|of| of.adapter == adapter) {
            let version = u8::from(outcome.family);
            match &outcome.verdict {
                Verdict::Failed(why) if all => {
                    let basis = outcome.basis();
                    let _ = writeln!(text, "{adapter}: {}{basis}: {why}", outcome.case);
                }
                Verdict::NotSetUp(why) if said != Some(outcome.family) => {
                    said = Some(outcome.family);
                    let _ = writeln!(
                        text,
                        "{adapter}: could not be set up for IPv{version}: {why}"
                    );
                }
                Verdict::Passed
                | Verdict::Failed(_)
                | Verdict::NotSetUp(_)
                | Verdict::NotApplicable(_) => {}
            }
        }
        text
    }

    /// Writes every outcome.
    pub fn write_json(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.outcomes)?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }

    /// Puts the table into a document, between its two marks.
    pub fn update(&self, file: &Path) -> Result<()> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let cut = |mark| {
            text.split_once(mark)
                .with_context(|| format!("{} has no line {mark}", file.display()))
        };
        let (before, after) = (cut(BEGIN)?.0, cut(END)?.1);
        let text = format!("{before}{BEGIN}\n{}{END}{after}", self.table());
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// One line for all.
    pub fn summary(&self) -> String {
        let scores: Vec<String> = self
            .adapters()
            .into_iter()
            .map(|adapter| {
                let Score { passed, of } = self.score(adapter);
                format!("{adapter} passes {passed} of {of}")
            })
            .collect();
        scores.join(", ")
    }
}

const TOTAL: &str = "all";
const BEGIN: &str = "<!-- the table: cargo xtask conformance --update docs/conformance.md -->";
const END: &str = "<!-- end of the table -->";

/// Each once, as they come.
fn in_order<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for item in items {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

fn markdown(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if column == 0 {
                write!(text, "| {cell:width$} ")
            } else {
                write!(text, "| {cell:>width$} ")
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(*width);
                let _ = write!(text, "| {dashes}{}", if column == 0 { " " } else { ":" });
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(adapter: &str, case: &str, family: Family, verdict: Verdict) -> Outcome {
        Outcome {
            adapter: adapter.to_owned(),
            case: case.to_owned(),
            ids: Vec::new(),
            rfc: None,
            policy: false,
            group: "errors".to_owned(),
            family,
            verdict,
        }
    }

    fn report() -> Report {
        let failed = || Verdict::Failed("how".to_owned());
        let mut report = Report::default();
        report.add(vec![
            outcome("one", "a", Family::V4, Verdict::Passed),
            outcome("one", "b", Family::V4, failed()),
            outcome("one", "c", Family::V6, Verdict::NotSetUp("why".to_owned())),
            outcome("one", "d", Family::V6, Verdict::NotSetUp("why".to_owned())),
        ]);
        let not = || Verdict::NotApplicable("no IPv6".to_owned());
        report.add(vec![
            outcome("two", "a", Family::V4, Verdict::Passed),
            outcome("two", "b", Family::V4, Verdict::Passed),
            outcome("two", "c", Family::V6, not()),
            outcome("two", "d", Family::V6, not()),
        ]);
        report
    }

    #[test]
    fn the_table_counts_by_group_family_and_gateway() {
        let expected = "\
            | group  | IP | cases | one | two |\n\
            | ------ | --:| -----:| ---:| ---:|\n\
            | errors |  4 |     2 | 1/2 | 2/2 |\n\
            | errors |  6 |     2 | 0/2 | n/a |\n\
            | all    |    |     4 | 1/4 | 2/2 |\n";
        assert_eq!(report().table(), expected);
        assert_eq!(report().summary(), "one passes 1 of 4, two passes 2 of 2");
    }

    #[test]
    fn what_cannot_be_set_up_is_said_once() {
        let set_up = "one: could not be set up for IPv6: why\n";
        assert_eq!(report().failures("one", false), set_up);
        assert_eq!(
            report().failures("one", true),
            format!("one: b: how\n{set_up}")
        );
        assert_eq!(report().failures("two", true), "");
    }

    #[test]
    fn a_document_gets_the_table_between_its_marks() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("x.md");
        for old in ["", "| an older one |\n"] {
            fs::write(&file, format!("before\n{BEGIN}\n{old}{END}\nafter\n"))?;
            report().update(&file)?;
            let expected = format!("before\n{BEGIN}\n{}{END}\nafter\n", report().table());
            assert_eq!(fs::read_to_string(&file)?, expected);
        }
        fs::write(&file, "no marks")?;
        assert!(report().update(&file).is_err());
        Ok(())
    }
}

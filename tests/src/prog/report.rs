//! All failures of a test, not only the first.

use std::fmt::Write as _;

/// Collects what went wrong, case by case.
#[derive(Debug, Default)]
pub struct Failures {
    texts: Vec<String>,
    checked: usize,
}

impl Failures {
    /// One more check, with what it found wrong.
    pub fn check(&mut self, name: &str, problem: Option<String>) {
        self.checked += 1;
        if let Some(problem) = problem {
            self.texts.push(format!("{name}: {problem}"));
        }
    }

    /// How many checks there were.
    pub fn checked(&self) -> usize {
        self.checked
    }

    /// Panics with every failure; also if nothing was checked at all.
    pub fn conclude(self) {
        assert!(self.checked > 0, "nothing was checked");
        assert!(
            self.texts.is_empty(),
            "{} of {} checks failed:\n{}",
            self.texts.len(),
            self.checked,
            self.texts.join("\n")
        );
    }
}

/// The rows of a hexdump in which two frames differ.
pub fn hex_diff(expected: &[u8], actual: &[u8]) -> String {
    const ROW: usize = 16;
    let mut text = String::new();
    if expected.len() != actual.len() {
        let _ = write!(
            text,
            "\n    {} bytes expected, {} found",
            expected.len(),
            actual.len()
        );
    }
    for start in (0..expected.len().max(actual.len())).step_by(ROW) {
        let row = |bytes: &[u8]| {
            let end = bytes.len().min(start + ROW);
            bytes.get(start..end).unwrap_or_default().to_vec()
        };
        let (want, have) = (row(expected), row(actual));
        if want == have {
            continue;
        }
        let words = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let marks = (0..ROW)
            .map(|place| {
                if want.get(place) == have.get(place) {
                    "  "
                } else {
                    "^^"
                }
            })
            .collect::<Vec<_>>()
            .join(" ");
        let _ = write!(
            text,
            "\n    {start:4} expected {}\n    {start:4} found    {}\n                  {}",
            words(&want),
            words(&have),
            marks.trim_end()
        );
    }
    text
}

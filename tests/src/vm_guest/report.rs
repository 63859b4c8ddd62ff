//! One line a check: what was expected, what was seen.

use std::fmt::Display;

use anyhow::Result;

/// The checks so far.
#[derive(Debug, Default)]
pub struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    /// A check whose outcome has to be exactly `expected`.
    pub fn expect<T: Display + PartialEq>(&mut self, what: &str, expected: &T, seen: Result<T>) {
        let is_well = seen.as_ref().is_ok_and(|seen| seen == expected);
        self.line(what, &expected.to_string(), is_well, seen);
    }

    /// A check whose outcome has to satisfy `is_well`, which `expected` says in words.
    pub fn judge<T: Display>(
        &mut self,
        what: &str,
        expected: &str,
        seen: Result<T>,
        is_well: impl FnOnce(&T) -> bool,
    ) {
        let is_well = seen.as_ref().is_ok_and(is_well);
        self.line(what, expected, is_well, seen);
    }

    /// Several checks of which the first failure to set up is one.
    pub fn group(&mut self, what: &str, body: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = body(self) {
            self.line(what, "to be set up", false, Err::<&str, _>(error));
        }
    }

    fn line<T: Display>(&mut self, what: &str, expected: &str, is_well: bool, seen: Result<T>) {
        let verdict = if is_well { "ok  " } else { "FAIL" };
        let seen = seen.map_or_else(|error| format!("{error:#}"), |seen| seen.to_string());
        println!("  {verdict}  {what}: expected {expected}; seen {seen}");
        if is_well {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// The last line, and whether all is well.
    pub fn conclude(&self) -> bool {
        println!("{} checks passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}

//! The demo's table: what was expected, what was seen.

use anyhow::Result;

/// Counts the lines as they are printed.
#[derive(Default)]
pub struct Report {
    lines: u32,
    differing: u32,
}

impl Report {
    /// A heading.
    #[allow(clippy::unused_self, reason = "headings and lines are one report")]
    pub fn heading(&self, text: &str) {
        println!("\n{text}");
    }

    /// One line: `seen` says what was seen and whether it is what was expected. What could not even be tried differs.
    pub fn line(&mut self, what: &str, expected: &str, seen: Result<(bool, String)>) {
        let (good, seen) = seen.unwrap_or_else(|error| (false, format!("{error:#}")));
        self.lines += 1;
        self.differing += u32::from(!good);
        let verdict = if good { "ok     " } else { "DIFFERS" };
        println!(
            "  {:>2} {verdict} {what:<56} expected: {expected:<46} seen: {}",
            self.lines,
            seen.replace('\n', " ")
        );
    }

    /// The last line; whether everything was as expected.
    pub fn summary(&self, seconds: f64) -> bool {
        println!(
            "\n{} lines, {} as expected, {} differ; {seconds:.0} s",
            self.lines,
            self.lines - self.differing,
            self.differing
        );
        self.differing == 0
    }
}

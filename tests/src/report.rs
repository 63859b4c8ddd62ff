//! What was expected and what was seen, line by line, of the demo and of the matrix of protocols.

use anyhow::Result;

/// Counts the lines as they are printed.
pub struct Report {
    /// What a line is called in the summary.
    noun: &'static str,
    lines: u32,
    differing: u32,
}

impl Report {
    /// An empty one; `noun` is what its lines are called in the summary.
    pub fn new(noun: &'static str) -> Self {
        Self {
            noun,
            lines: 0,
            differing: 0,
        }
    }

    /// A heading.
    #[allow(clippy::unused_self, reason = "headings and lines are one report")]
    pub fn heading(&self, text: &str) {
        println!("\n{text}");
    }

    /// One line: `seen` says what was seen and whether it is what was expected, which it returns.
    /// What could not even be tried differs.
    pub fn line(&mut self, what: &str, expected: &str, seen: Result<(bool, String)>) -> bool {
        let (good, seen) = seen.unwrap_or_else(|error| (false, format!("{error:#}")));
        self.lines += 1;
        self.differing += u32::from(!good);
        let verdict = if good { "ok     " } else { "DIFFERS" };
        println!(
            "  {:>2} {verdict} {what:<56} expected: {expected:<46} seen: {}",
            self.lines,
            seen.replace('\n', " ")
        );
        good
    }

    /// The last line; whether everything was as expected.
    pub fn summary(&self, seconds: f64) -> bool {
        println!(
            "\n{} {}, {} as expected, {} differ; {seconds:.0} s",
            self.lines,
            self.noun,
            self.lines - self.differing,
            self.differing
        );
        self.differing == 0
    }
}

//! `cargo xtask test`: every test, with one summary at the end.

use std::{
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    build,
    run::{cargo, is_root, root},
    setup,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// Only the tests that load BPF programs and make network namespaces
    #[arg(long)]
    e2e_only: bool,
    /// Passed to the tests: names to run, `--nocapture`, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// The packages whose tests any user can run.
const ORDINARY: &[&str] = &["eip-dp-common", "eip-dp-user", "eip-dp-vm", "xtask"];

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the tests load BPF programs and make network namespaces, which needs root: run it as root (without: cargo \
         test -p eip-dp-common -p eip-dp-user)"
    );
    let begun = Instant::now();
    setup::run()?;
    build::run(&build::Arguments { release: false })?;
    let mut total = Total::default();
    if !arguments.e2e_only {
        let mut command = cargo();
        command.args(["test", "--no-fail-fast"]);
        for package in ORDINARY {
            command.args(["-p", package]);
        }
        total.add(command.arg("--").args(&arguments.rest))?;
    }
    let mut command = cargo();
    command
        .args(["test", "--no-fail-fast", "-p", "eip-dp-tests", "--"])
        .args(&arguments.rest)
        .env("EIP_DP_BIN", root().join("target/debug/eip-dp"));
    total.add(&mut command)?;
    total.print(begun.elapsed());
    Ok(if total.all_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The sums of what `cargo test` said, and whether it ended well each time.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    passed: u64,
    failed: u64,
    ignored: u64,
    filtered: u64,
    ended_badly: bool,
    failures: Vec<String>,
}

impl Total {
    /// Runs `cargo test`, showing what it says.
    fn add(&mut self, command: &mut Command) -> Result<()> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start cargo")?;
        let output = child.stdout.take().context("cargo has no output")?;
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read what cargo says")?;
            println!("{line}");
            self.read(&line);
        }
        self.ended_badly |= !child.wait()?.success();
        Ok(())
    }

    fn read(&mut self, line: &str) {
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
        let Some(sums) = line.strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<&str> = sums
            .split([' ', ';'])
            .filter(|word| !word.is_empty())
            .collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else {
                continue;
            };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                "filtered" => self.filtered += number,
                _ => {}
            }
        }
    }

    fn all_passed(&self) -> bool {
        !self.ended_badly && self.failed == 0 && self.passed > 0
    }

    /// The form of `cargo test`'s own last line.
    fn print(&self, took: Duration) {
        println!("\nall suites together:");
        for name in &self.failures {
            println!("    failed: {name}");
        }
        if self.ended_badly && self.failed == 0 {
            println!("    a suite did not compile, or ended without a result: see above");
        }
        println!(
            "test result: {}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out; finished in {:.2}s",
            if self.all_passed() { "ok" } else { "FAILED" },
            self.passed,
            self.failed,
            self.ignored,
            self.filtered,
            took.as_secs_f64()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_and_failures_are_named() {
        let mut total = Total::default();
        for line in [
            "test model::a ... ok",
            "test model::b ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            "test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            total.read(line);
        }
        let expected = Total {
            passed: 41,
            failed: 1,
            ignored: 2,
            filtered: 3,
            ended_badly: false,
            failures: vec!["model::b".to_owned()],
        };
        assert_eq!(total, expected);
        assert!(!total.all_passed());
    }

    #[test]
    fn no_test_at_all_is_no_success() {
        assert!(!Total::default().all_passed());
    }
}

//! `cargo xtask test`: every test, level by level, with one summary at the end.
//!
//! Cargo builds the test programs; they are run here, several at a time, because most of their time
//! they wait.

use std::{
    collections::VecDeque,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output, Stdio},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    build,
    run::{cargo, is_root, root},
    setup,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// Only the tests of this level; may be given more than once
    #[arg(long, value_enum)]
    level: Vec<Level>,
    /// Passed to the tests: names to run, `--nocapture`, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// What a test needs, and so how long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    /// Any user on any machine: units, properties, the command line, the documentation
    Fast,
    /// Root: programs in this kernel, maps, links, netlink; packets without a lab
    Kernel,
    /// Root: daemons, guests and routers in network namespaces
    E2e,
}

impl Level {
    const ALL: [Self; 3] = [Self::Fast, Self::Kernel, Self::E2e];

    /// Where the tests of a package's target belong; `is_lib`: beside its code.
    fn of(package: &str, target: &str, is_lib: bool) -> Self {
        match (package, target) {
            _ if is_lib => Self::Fast,
            ("eip-dp-user", "host" | "kernel" | "programs") => Self::Kernel,
            ("eip-dp-tests", name) if name.starts_with("prog") => Self::Kernel,
            ("eip-dp-tests", _) => Self::E2e,
            _ => Self::Fast,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Kernel => "kernel",
            Self::E2e => "e2e",
        }
    }
}

/// The packages that have tests.
const PACKAGES: &[&str] = &[
    "eip-dp-common",
    "eip-dp-user",
    "eip-dp-vm",
    "eip-dp-tests",
    "xtask",
];

/// Those with examples in their documentation.
const DOCUMENTED: &[&str] = &["eip-dp-common", "eip-dp-user", "eip-dp-vm"];

/// The longest suites begin first, so that none of them is left over at the end.
const LONGEST: &[&str] = &[
    "kernel",
    "prog_churn",
    "e2e_shared",
    "e2e_announce",
    "e2e_guests",
    "e2e_ports",
    "e2e_guests6",
    "e2e_neighbours",
    "e2e_table",
    "e2e_daemon",
];

/// How long a suite may take, in seconds; the longest take some five minutes on two cores.
const LONGEST_SUITE: &str = "1200";

/// How many suites run at a time beyond one for each core: most tests wait most of the time, for an
/// answer or for a timer of a protocol.
const BEYOND_CORES: usize = 1;

/// A test program.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Suite {
    level: Level,
    /// The package, and the name of the target.
    name: String,
    program: PathBuf,
    /// Where cargo runs it.
    folder: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let levels: Vec<Level> = Level::ALL
        .into_iter()
        .filter(|level| arguments.level.is_empty() || arguments.level.contains(level))
        .collect();
    ensure!(
        is_root() || levels == [Level::Fast],
        "the tests load BPF programs and make network namespaces, which needs root: run it as root (without: \
         `cargo xtask test --level fast`)"
    );
    let begun = Instant::now();
    setup::run()?;
    build::run(&build::Arguments { release: false })?;
    let suites = suites()?;
    println!("built in {:.0} s", begun.elapsed().as_secs_f64());
    let mut total = Total::default();
    let mut took = Vec::new();
    for level in levels {
        let begun = Instant::now();
        if level == Level::Fast {
            let mut command = cargo();
            command.args(["test", "--no-fail-fast", "--doc"]);
            for package in DOCUMENTED {
                command.args(["-p", package]);
            }
            total.add_output(command.arg("--").args(&arguments.rest))?;
        }
        let of_level = suites.iter().filter(|suite| suite.level == level).cloned();
        total.add_suites(of_level.collect(), &arguments.rest)?;
        took.push((level, begun.elapsed()));
    }
    println!();
    for (level, took) in took {
        println!("level {}: {:.0} s", level.name(), took.as_secs_f64());
    }
    total.print(begun.elapsed());
    Ok(if total.all_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds all test programs; the longest come first.
fn suites() -> Result<Vec<Suite>> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--message-format"]);
    command.arg("json-render-diagnostics");
    for package in PACKAGES {
        command.args(["-p", package]);
    }
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "the tests cannot be built");
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut suites: Vec<Suite> = messages.lines().filter_map(suite).collect();
    suites.sort_by_key(|suite| {
        let target = suite.name.rsplit(' ').next().unwrap_or_default();
        let place = LONGEST.iter().position(|name| *name == target);
        (place.unwrap_or(LONGEST.len()), suite.name.clone())
    });
    Ok(suites)
}

/// The test program that a message of cargo's is about, if it is about one.
fn suite(message: &str) -> Option<Suite> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let program = message["executable"].as_str()?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let package = folder.file_name()?.to_str()?;
    let package = PACKAGES
        .iter()
        .find(|name| **name == package || name.strip_prefix("eip-dp-") == Some(package))?;
    let target = message["target"]["name"].as_str()?;
    let kinds = message["target"]["kind"].as_array()?;
    let is_lib = !kinds.iter().any(|kind| kind == "test");
    Some(Suite {
        level: Level::of(package, target, is_lib),
        name: format!("{package} {target}"),
        program: program.into(),
        folder: folder.to_owned(),
    })
}

impl Suite {
    fn command(&self, rest: &[String]) -> Command {
        // One that hangs is ended, and named as failed, before whoever runs all of it loses
        // patience.
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=10", LONGEST_SUITE])
            .arg(&self.program)
            .args(rest)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("EIP_DP_BIN", root().join("target/debug/eip-dp"));
        command
    }
}

/// The sums of what the suites said, and whether it ended well each time.
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
    /// Runs the suites, several at a time, and shows what each said when it ends.
    fn add_suites(&mut self, suites: Vec<Suite>, rest: &[String]) -> Result<()> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let at_a_time = cores + BEYOND_CORES;
        let queue = Mutex::new(VecDeque::from(suites));
        let (ended, results) = mpsc::channel();
        thread::scope(|threads| {
            for _ in 0..at_a_time {
                let (queue, ended) = (&queue, ended.clone());
                threads.spawn(move || {
                    let next = || queue.lock().ok()?.pop_front();
                    while let Some(suite) = next() {
                        let begun = Instant::now();
                        let output = suite.command(rest).output();
                        if ended.send((suite, begun.elapsed(), output)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(ended);
            for (suite, took, output) in results {
                let output =
                    output.with_context(|| format!("cannot start {}", suite.program.display()))?;
                println!("\n== {} ({:.0} s)", suite.name, took.as_secs_f64());
                self.add(&output);
            }
            Ok(())
        })
    }

    /// Runs a command and shows what it said.
    fn add_output(&mut self, command: &mut Command) -> Result<()> {
        let output = command.output().context("cannot start cargo")?;
        self.add(&output);
        Ok(())
    }

    fn add(&mut self, output: &Output) {
        let said = String::from_utf8_lossy(&output.stdout);
        print!("{said}{}", String::from_utf8_lossy(&output.stderr));
        for line in said.lines() {
            self.read(line);
        }
        self.ended_badly |= !output.status.success();
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
    fn a_suite_is_told_from_other_messages_of_cargo() {
        let message = |folder: &str, kind: &str, name: &str| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "manifest_path": format!("/project/{folder}/Cargo.toml"),
                "target": {"kind": [kind], "name": name},
                "profile": {"test": true},
                "executable": "/project/target/debug/deps/it",
            })
        };
        let level = |folder, kind, name| {
            suite(&message(folder, kind, name).to_string()).map(|suite| suite.level)
        };
        assert_eq!(level("tests", "test", "e2e_table"), Some(Level::E2e));
        assert_eq!(level("tests", "test", "prog_wire"), Some(Level::Kernel));
        assert_eq!(level("tests", "lib", "eip_dp_tests"), Some(Level::Fast));
        assert_eq!(level("eip-dp-user", "test", "kernel"), Some(Level::Kernel));
        assert_eq!(level("eip-dp-user", "test", "cli"), Some(Level::Fast));
        assert_eq!(level("elsewhere", "test", "cli"), None);
        let mut library = message("vm", "lib", "eip_dp_vm");
        library["executable"] = Value::Null;
        assert_eq!(suite(&library.to_string()), None);
        assert_eq!(suite("warning: no message"), None);
    }

    #[test]
    fn no_test_at_all_is_no_success() {
        assert!(!Total::default().all_passed());
    }
}

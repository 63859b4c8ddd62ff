//! A table of its own and the program to run against it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A table that exists as long as the value.
pub struct Bench {
    dir: TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Run {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Bench {
    /// An empty table.
    pub fn new() -> Self {
        let bench = Self::bare();
        bench.file("empty.toml", "");
        let run = bench.run(["apply", "-f", "empty.toml"]);
        assert_eq!(run.exit, 0, "{run:?}");
        bench
    }

    /// The folder alone: there is no table.
    pub fn bare() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { dir }
    }

    /// One VPC, two instances, four ENIs and EIPs, every kind of field in use.
    pub fn rich() -> Self {
        let bench = Self::new();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rich.toml");
        bench.ok(["apply", "-f", file.to_str().expect("a path in UTF-8")]);
        bench
    }

    /// The program with this table, ready to be given arguments.
    pub fn command(&self) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_eip-dp"))
    }

    /// A program that runs eip-dp with this table.
    pub fn command_of(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("EIP_DP_TABLE", self.url())
            .env("EIP_DP_NAME", "cli-test")
            .stdin(Stdio::null())
            .current_dir(self.dir.path());
        command
    }

    /// The whole table as `export` prints it; nothing where it is empty.
    pub fn exported(&self) -> String {
        let run = self.run(["export"]);
        let is_empty = run.exit == 1 && run.stderr.contains("nothing to export");
        assert!(run.exit == 0 || is_empty, "{run:?}");
        run.stdout
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.path("table.db").display())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::of(self.command().args(args))
    }

    /// Runs what must succeed, without a word on stderr, and returns what it printed.
    pub fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        let run = self.run(args);
        assert_eq!((run.exit, run.stderr.as_str()), (0, ""), "{run:?}");
        run.stdout
    }

    /// Runs a line of words that must succeed.
    pub fn line(&self, line: &str) -> String {
        self.ok(line.split_whitespace())
    }

    /// Runs a line of words with `--output json` that must succeed.
    pub fn json(&self, line: &str) -> Value {
        let stdout = self.ok(line.split_whitespace().chain(["--output", "json"]));
        serde_json::from_str(&stdout).expect("JSON on stdout")
    }

    /// Writes a file beside the table, under a name without a path: runs start in that directory.
    pub fn file(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("a file in the temporary directory");
    }
}

impl Run {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program starts");
        Self {
            exit: output.status.code().expect("no signal ends the program"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
        }
    }
}

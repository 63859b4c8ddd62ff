//! What `cargo xtask vm` runs in each virtual machine: the product on this kernel, one line a check.

mod programs;
mod report;

use std::{env, process::ExitCode};

use anyhow::Result;
use report::Report;

/// A set of checks.
type Group = fn(&mut Report) -> Result<()>;

const GROUPS: &[(&str, Group)] = &[
    ("programs", programs::load),
    ("tables", programs::packet_tables),
];

/// Arguments: the groups to run; none: all.
fn main() -> ExitCode {
    let only: Vec<String> = env::args().skip(1).collect();
    let mut report = Report::default();
    for (name, group) in GROUPS {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            report.group(name, group);
        }
    }
    if report.conclude() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

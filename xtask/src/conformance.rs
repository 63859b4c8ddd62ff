//! `cargo xtask conformance`: who passes what of the conformance suite for 1:1 NAT gateways (`docs/conformance.md`).

use std::{
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Result, anyhow, ensure};

use crate::{
    build,
    run::{is_root, root},
    setup,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// Passed to the runner: `--help` after `--` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the conformance suite makes network namespaces, which needs root: run it as root"
    );
    setup::run()?;
    build::run(&build::Arguments { release: false })?;
    let folder = root().join("target/debug");
    let mut runner = Command::new(folder.join("eip-dp-conformance"));
    runner
        .arg("--vm")
        .arg(root().join(".tools/vm"))
        .args(&arguments.rest)
        .env("EIP_DP_BIN", folder.join("eip-dp"));
    // In this process's place: a signal then reaches the runner itself, which cleans up before it ends.
    let error = runner.exec();
    Err(anyhow!(
        "cannot start {}: {error}",
        runner.get_program().display()
    ))
}

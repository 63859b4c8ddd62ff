//! `cargo xtask conformance`: who passes what of the conformance suite for 1:1 NAT gateways
//! (`docs/conformance.md`).

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::{
    build,
    run::{in_the_lab, instead_of_this, is_root, root},
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
    let mut runner = in_the_lab("eip-dp-conformance");
    runner
        .arg("--vm")
        .arg(root().join(".tools/vm"))
        .args(&arguments.rest);
    instead_of_this(runner)
}

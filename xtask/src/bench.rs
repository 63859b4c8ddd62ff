//! `cargo xtask bench`: how fast the product is, beside others (`docs/performance.md`).

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::{
    build,
    run::{instead_of_this, is_root, of_profile, root},
    setup,
};

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// Passed to the bench: --quick, --only PATTERN, --rounds N, --programs …; --help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the bench loads BPF programs and makes network namespaces, which needs root: run it as root"
    );
    setup::run()?;
    build::run(&build::Arguments { release: true })?;
    let mut bench = of_profile("release", "eip-dp-bench");
    bench
        .arg("--folder")
        .arg(root().join("target/bench"))
        .args(&arguments.rest);
    instead_of_this(bench)
}

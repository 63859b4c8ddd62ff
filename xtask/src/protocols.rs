//! `cargo xtask protocols`: real applications through NAT and through cut-through, in network
//! namespaces.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::{
    build,
    run::{in_the_lab, instead_of_this, is_root},
    setup,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// Only the rows whose name contains this, whatever the case
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Leave the network up at the end, and print how to look around in it
    #[arg(long)]
    keep: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the matrix needs network namespaces, and those root: run it as root"
    );
    setup::with_applications()?;
    build::run(&build::Arguments { release: false })?;
    let mut protocols = in_the_lab("eip-dp-protocols");
    if let Some(name) = &arguments.only {
        protocols.args(["--only", name]);
    }
    if arguments.keep {
        protocols.arg("--keep");
    }
    instead_of_this(protocols)
}

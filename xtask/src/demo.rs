//! `cargo xtask demo`: the product at work between an Internet host and two instances, in network namespaces.

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
    /// Leave the network up at the end, and print how to look around in it
    #[arg(long)]
    keep: bool,
    /// Take away what earlier runs with --keep left up
    #[arg(long, conflicts_with = "keep")]
    remove: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "the demo makes network namespaces, which needs root: run it as root"
    );
    setup::run()?;
    build::run(&build::Arguments { release: false })?;
    let folder = root().join("target/debug");
    let mut demo = Command::new(folder.join("eip-dp-demo"));
    demo.env("EIP_DP_BIN", folder.join("eip-dp"));
    if arguments.keep {
        demo.arg("--keep");
    }
    if arguments.remove {
        demo.arg("--remove");
    }
    // In this process's place: a signal then reaches the demo itself, which cleans up before it ends.
    let error = demo.exec();
    Err(anyhow!(
        "cannot start {}: {error}",
        demo.get_program().display()
    ))
}

//! `cargo xtask demo`: the product at work between an Internet host and two instances, in network
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
    let mut demo = in_the_lab("eip-dp-demo");
    if arguments.keep {
        demo.arg("--keep");
    }
    if arguments.remove {
        demo.arg("--remove");
    }
    instead_of_this(demo)
}

//! `cargo xtask build`: the command with the BPF programs in it, and the demo.

use anyhow::Result;

use crate::{
    run::{cargo, show},
    setup,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// With optimisations, as for a gateway (the BPF programs always are)
    #[arg(long)]
    pub release: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    setup::tool_chain()?;
    let mut command = cargo();
    command.args(["build", "-p", "eip-dp-user", "-p", "eip-dp-tests", "--bins"]);
    if arguments.release {
        command.arg("--release");
    }
    show(&mut command)
}

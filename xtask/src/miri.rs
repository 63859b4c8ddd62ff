//! `cargo xtask miri`: the tests of the packet path that touch unsafe code, in Miri.

use std::{
    env,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::Result;

use crate::{
    run::{root, show},
    setup,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// Only tests whose name contains one of these
    names: Vec<String>,
}

/// Seals, checksums, and packets of each kind through all of the path: each line of unsafe code.
/// Miri is a thousand times slower than the machine, so the properties that try every length are
/// not for it.
const TESTS: &[&str] = &[
    "abi::",
    "checksum::",
    "every_kind",
    "a_table_that_changes",
    "neighbours",
    "any_bytes",
];

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let begun = Instant::now();
    let folder = setup::with_miri()?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([folder.clone()].into_iter().chain(env::split_paths(&path)))?;
    let mut command = setup::plain(Command::new(folder.join("cargo-miri")));
    command
        .current_dir(root())
        .args(["miri", "test", "-p", "eip-dp-common", "--lib", "--"])
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", "target/miri")
        // proptest asks for the time and the folder that it is in.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("PROPTEST_CASES", "8");
    if arguments.names.is_empty() {
        command.args(TESTS);
    } else {
        command.args(&arguments.names);
    }
    show(&mut command)?;
    println!(
        "miri: no undefined behaviour in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

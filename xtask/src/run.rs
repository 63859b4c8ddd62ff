//! Commands that the verbs run, and where things are.

use std::{
    env,
    ffi::OsStr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, anyhow, ensure};
pub use eip_dp_vm::find;

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// The cargo that runs this program, in the root of the checkout.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// A program of the lab that this build made, with the command that it is about.
pub fn in_the_lab(program: &str) -> Command {
    of_profile("debug", program)
}

/// The same, of that profile's build.
pub fn of_profile(profile: &str, program: &str) -> Command {
    let folder = root().join("target").join(profile);
    let mut command = Command::new(folder.join(program));
    command.env("EIP_DP_BIN", folder.join("eip-dp"));
    command
}

/// Runs a command in this process's place: a signal then reaches the command itself, which cleans
/// up before it ends.
pub fn instead_of_this(mut command: Command) -> Result<ExitCode> {
    let error = command.exec();
    Err(anyhow!(
        "cannot start {}: {error}",
        command.get_program().display()
    ))
}

/// Whether this process may administer the machine.
pub fn is_root() -> bool {
    capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Runs a command whose output the reader shall see; fails unless it succeeds.
pub fn show(command: &mut Command) -> Result<()> {
    eprintln!("  $ {}", describe(command));
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    ensure!(
        status.success(),
        "`{}` ended with {status}",
        describe(command)
    );
    Ok(())
}

/// Runs a command for its standard output; its complaint is part of the error.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    ensure!(
        output.status.success(),
        "`{}` ended with {}: {}",
        describe(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

//! Miri, which comes with rustup's nightly compilers alone.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::candidates::{Compiler, first_complaint};
use crate::run::{capture, find};

/// The folder of `cargo-miri` beside this compiler; asked for from rustup's server where it is not
/// there.
pub fn ensure(compiler: &Compiler) -> Result<PathBuf> {
    let folder = compiler
        .rustc
        .parent()
        .context("the compiler is in no folder")?;
    if has_miri(folder) {
        return Ok(folder.to_owned());
    }
    add(folder).context(
        "Miri is not here; the cure is rustup with a network that lets `rustup toolchain install nightly --component \
         miri,rust-src` succeed, then `rm .tools/ebpf-toolchain` and this again",
    )?;
    if has_miri(folder) {
        Ok(folder.to_owned())
    } else {
        bail!("rustup added Miri, but not to {}", folder.display())
    }
}

fn has_miri(folder: &Path) -> bool {
    folder.join("cargo-miri").exists() && folder.join("miri").exists()
}

fn add(folder: &Path) -> Result<()> {
    let name = folder.parent().and_then(Path::file_name);
    let (Some(rustup), Some(name)) = (find("rustup"), name) else {
        bail!("{} is not rustup's", folder.display());
    };
    eprintln!("setup: asking rustup's server for Miri");
    let mut command = Command::new(rustup);
    command
        .args(["component", "add", "miri", "--toolchain"])
        .arg(name)
        .env("RUSTUP_MAX_RETRIES", "1");
    capture(&mut command)
        .map(|_| ())
        .map_err(|error| first_complaint(&error))
}

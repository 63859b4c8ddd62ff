//! bpf-linker, which turns LLVM bitcode into a BPF object.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::run::{capture, cargo, find, root, show};

/// The release that is known to fit. Its default features load the LLVM library at run time, so
/// that no LLVM development package is needed.
const VERSION: &str = "0.10.3";

/// A bpf-linker that fits; built if there is none.
pub fn ensure() -> Result<PathBuf> {
    let own = root().join(".tools/bin/bpf-linker");
    if fits(&own) {
        return Ok(own);
    }
    if let Some(installed) = find("bpf-linker").filter(|path| fits(path)) {
        eprintln!("setup: using {}", installed.display());
        return Ok(installed);
    }
    eprintln!("setup: building bpf-linker {VERSION} into .tools (a minute or two)");
    show(
        cargo()
            .args(["install", "bpf-linker", "--version", VERSION, "--locked"])
            .arg("--root")
            .arg(root().join(".tools")),
    )
    .context("cannot build bpf-linker; the cure is a network that reaches crates.io")?;
    Ok(own)
}

fn fits(path: &Path) -> bool {
    capture(Command::new(path).arg("--version"))
        .is_ok_and(|said| said.split_whitespace().any(|word| word == VERSION))
}

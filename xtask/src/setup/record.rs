//! `.tools/ebpf-toolchain`: which compiler, source, linker and LLVM library compile the BPF
//! programs.
//!
//! The build script of `eip-dp-user` reads it. It is written only after a BPF program was really
//! built with what it names, and holds what the compiler and the linker said of themselves then, so
//! that an update is noticed.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    candidates::{self, Compiler},
    linker, probe,
};
use crate::run::{capture, root};

/// Leaves a record that works, bringing whatever it takes.
pub fn ensure() -> Result<()> {
    let recorded = Recorded::read();
    if let Some(recorded) = &recorded
        && recorded.is_current()
    {
        eprintln!("setup: {} compiles the BPF programs", recorded.compiler());
        return Ok(());
    }
    eprintln!("setup: looking for what compiles the BPF programs");
    let linker = linker::ensure()?;
    let mut failures = String::new();
    let earlier = recorded.and_then(Recorded::into_compiler);
    for source in candidates::ALL {
        let found = match source {
            candidates::Source::Recorded => earlier.clone().map_or_else(
                || Err(anyhow::anyhow!("there is no earlier choice")),
                |compiler| Ok(vec![compiler]),
            ),
            other => other.compilers(),
        };
        let tried = found.and_then(|compilers| try_all(&compilers, &linker));
        match tried {
            Ok(()) => return Ok(()),
            Err(error) => {
                let sentence = format!("{}: {error:#}", source.name());
                if !matches!(source, candidates::Source::Recorded) {
                    eprintln!("setup: not {sentence}");
                }
                // A String never refuses a write.
                let _ = writeln!(failures, "  {sentence}");
            }
        }
    }
    bail!(
        "nothing compiles the BPF programs:\n{failures}The cure is one of these: a network that lets `rustup toolchain \
         install nightly --component rust-src` succeed; or, as root on Debian 12 or 13, `apt-get install \
         --no-install-recommends rustc-web cargo-web rust-web-src`; or, on later ones, rustc cargo rust-src. \
         Then run `cargo xtask setup` again"
    )
}

/// The compiler that the record names.
pub fn compiler() -> Result<Compiler> {
    Recorded::read()
        .and_then(Recorded::into_compiler)
        .context("`cargo xtask setup` recorded no compiler")
}

fn try_all(compilers: &[Compiler], linker: &Path) -> Result<()> {
    let mut last = None;
    for compiler in compilers {
        match probe::find_llvm(compiler, linker) {
            Ok(llvm) => return write(compiler, linker, &llvm),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no compiler with its source")))
}

fn write(compiler: &Compiler, linker: &Path, llvm: &Path) -> Result<()> {
    let stamp = stamp(&compiler.rustc, linker)?;
    let text = format!(
        "# Written by `cargo xtask setup`: what compiles the BPF programs.\ncargo={}\nrustc={}\nbootstrap={}\n\
         linker={}\nllvm={}\nstamp={stamp}\n",
        compiler.cargo.display(),
        compiler.rustc.display(),
        u8::from(compiler.bootstrap),
        linker.display(),
        llvm.display(),
    );
    let path = path();
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!(
        "setup: {} compiles the BPF programs (a small one was built and linked)",
        compiler.rustc.display()
    );
    Ok(())
}

/// What both say of themselves, on one line.
fn stamp(rustc: &Path, linker: &Path) -> Result<String> {
    let compiler = capture(Command::new(rustc).arg("-V"))?;
    let linker = capture(Command::new(linker).arg("--version"))?;
    Ok(format!("{}; {}", compiler.trim(), linker.trim()))
}

fn path() -> PathBuf {
    root().join(".tools/ebpf-toolchain")
}

struct Recorded(HashMap<String, String>);

impl Recorded {
    fn read() -> Option<Self> {
        let text = fs::read_to_string(path()).ok()?;
        Some(Self(
            text.lines()
                .filter_map(|line| line.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        ))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn compiler(&self) -> &str {
        self.get("rustc").unwrap_or("?")
    }

    fn is_current(&self) -> bool {
        let exists = |key| self.get(key).is_some_and(|file| Path::new(file).exists());
        let (Some(rustc), Some(linker), Some(stamp_then)) =
            (self.get("rustc"), self.get("linker"), self.get("stamp"))
        else {
            return false;
        };
        exists("cargo")
            && exists("llvm")
            && stamp(Path::new(rustc), Path::new(linker)).is_ok_and(|now| now == stamp_then)
    }

    fn into_compiler(self) -> Option<Compiler> {
        Some(Compiler {
            cargo: self.get("cargo")?.into(),
            rustc: self.get("rustc")?.into(),
            bootstrap: self.get("bootstrap") == Some("1"),
        })
    }
}

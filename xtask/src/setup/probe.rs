//! Builds a small BPF program, as the real ones are built: the proof that compiler, source, linker
//! and LLVM library fit together.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail};

use super::candidates::{Compiler, first_complaint, plain};
use crate::run::{capture, find, root};

const MANIFEST: &str = "[package]\nname = \"probe\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
                        [profile.release]\npanic = \"abort\"\ncodegen-units = 1\ndebug = 2\n";
const PROGRAM: &str = r#"#![no_std]
#![no_main]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn probe(_: *mut core::ffi::c_void) -> u32 {
    2
}
"#;

/// The folder with an LLVM library through which `linker` links what `compiler` compiles.
///
/// bpf-linker opens the first `libLLVM*` of the folders in `LD_LIBRARY_PATH`; a folder of ours
/// holds a link to exactly one, whatever other releases stand beside it.
pub fn find_llvm(compiler: &Compiler, linker: &Path) -> Result<PathBuf> {
    let needed = llvm_of(&compiler.rustc)?;
    let folder = root().join(".tools/llvm");
    let mut last = None;
    for library in libraries(&compiler.rustc, needed) {
        fs::create_dir_all(&folder)?;
        let link = folder.join("libLLVM.so");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&library, &link)
            .with_context(|| format!("cannot link {}", link.display()))?;
        match build(compiler, linker, &folder) {
            Ok(()) => return Ok(folder),
            Err(error) => last = Some(error.context(format!("with {}", library.display()))),
        }
    }
    Err(last.unwrap_or_else(|| anyhow!("no libLLVM of release {needed} or later is here")))
}

fn build(compiler: &Compiler, linker: &Path, llvm: &Path) -> Result<()> {
    let folder = root().join(".tools/probe");
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("Cargo.toml"), MANIFEST)?;
    fs::write(folder.join("src/main.rs"), PROGRAM)?;
    let target = if cfg!(target_endian = "big") {
        "bpfeb-unknown-none"
    } else {
        "bpfel-unknown-none"
    };
    let flags = format!(
        "-Cdebuginfo=2\u{1f}-Clinker={}\u{1f}-Clink-arg=--btf",
        linker.display()
    );
    let mut command = plain(Command::new(&compiler.cargo));
    command
        .current_dir(&folder)
        .args(["build", "--release", "--target", target])
        .args(["-Z", "build-std=core", "--target-dir", "target"])
        .env("RUSTC", &compiler.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("LD_LIBRARY_PATH", llvm);
    if compiler.bootstrap {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    eprintln!(
        "setup: building a small BPF program with {}",
        compiler.rustc.display()
    );
    let outcome = capture(&mut command);
    let _ = fs::remove_dir_all(&folder);
    outcome.map(|_| ()).map_err(|error| first_complaint(&error))
}

/// The LLVM release of a compiler.
fn llvm_of(rustc: &Path) -> Result<u32> {
    let text = capture(plain(Command::new(rustc)).arg("-vV"))?;
    let Some(version) = text
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
    else {
        bail!("{} does not say which LLVM it has", rustc.display());
    };
    version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .with_context(|| format!("{version:?} is no LLVM version"))
}

/// LLVM libraries at least as new as the compiler's: the nearest release first, the compiler's own
/// before others.
fn libraries(rustc: &Path, needed: u32) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(prefix) = rustc.parent().and_then(Path::parent) {
        folders.push(prefix.join("lib"));
    }
    let arch = env::consts::ARCH;
    folders.push(format!("/usr/lib/{arch}-linux-gnu").into());
    for parent in [rustup_toolchains(), Some("/usr/lib".into())]
        .into_iter()
        .flatten()
    {
        folders.extend(entries(&parent).into_iter().map(|path| path.join("lib")));
    }
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for file in folders.iter().flat_map(|folder| entries(folder)) {
        let Some(release) = release_of(&file).filter(|&release| release >= needed) else {
            continue;
        };
        // The many names of a library are links to one file, or a linker script of a few bytes.
        let Ok(real) = file.canonicalize() else {
            continue;
        };
        let large = real
            .metadata()
            .is_ok_and(|metadata| metadata.len() > 1 << 20);
        if large && !found.iter().any(|(_, known)| *known == real) {
            found.push((release, real));
        }
    }
    found.sort_by_key(|(release, _)| *release);
    found.into_iter().map(|(_, path)| path).collect()
}

fn rustup_toolchains() -> Option<PathBuf> {
    let home = match env::var_os("RUSTUP_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(env::var_os("HOME")?).join(".rustup"),
    };
    find("rustup").map(|_| home.join("toolchains"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// `libLLVM-22.so`, `libLLVM.so.22.1`, `libLLVM.so.22.1-rust-1.95.0-stable`: 22.
fn release_of(file: &Path) -> Option<u32> {
    let rest = file.file_name()?.to_str()?.strip_prefix("libLLVM")?;
    rest.split(['-', '.']).find_map(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_every_name_that_libraries_have() {
        for (name, release) in [
            ("libLLVM-22.so", Some(22)),
            ("libLLVM.so.22.1", Some(22)),
            ("libLLVM.so.22.1-rust-1.95.0-stable", Some(22)),
            ("libLLVM-14.0.6.so.1", Some(14)),
            ("libLLVM.so", None),
            ("libLLVMCore.a", None),
            ("libLTO.so.22.1", None),
        ] {
            assert_eq!(release_of(Path::new(name)), release, "{name}");
        }
    }
}

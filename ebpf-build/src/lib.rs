//! Compiles a package for the BPF target with the tool chain that `cargo xtask setup` found, for
//! build scripts.
//!
//! The kernel side needs `-Z build-std=core`, and so the library source of exactly the compiler
//! that is used, which is rarely the compiler of this build. Setup records the pair in
//! `.tools/ebpf-toolchain`.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const RECORD: &str = ".tools/ebpf-toolchain";
/// Whatever is called once becomes part of who calls it, however large.
const INLINING: &str = "-inline-threshold=100000";

const CURE: &str = "run `cargo xtask setup`, which installs what is missing and says what it does";

/// Compiles `package`, whose program has its name, into `OUT_DIR`; again when one of `sources`,
/// paths from the root of the checkout, has changed.
pub fn compile(package: &str, sources: &[&str]) {
    if let Err(message) = build(package, sources) {
        // One line per message: cargo prints each as an error of this package, without a backtrace.
        for line in message.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn build(package: &str, sources: &[&str]) -> Result<(), String> {
    let root = workspace_root()?;
    for path in [RECORD, "Cargo.lock"].iter().chain(sources) {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let tools = Tools::read(&root.join(RECORD))?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    let target_dir = out.join("bpf");
    let target = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let output = tools
        .cargo(&root, &variable("CARGO_CFG_TARGET_ARCH")?)
        .args(["build", "--release", "--package", package, "--bins"])
        .args(["--target", target, "-Z", "build-std=core", "--target-dir"])
        .arg(&target_dir)
        .output()
        .map_err(|error| format!("cannot start {}: {error}; {CURE}", tools.get("cargo")))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "the BPF programs do not compile with {}:\n{log}\nif the tool chain is at fault, {CURE}",
            tools.get("rustc")
        ));
    }
    let object = target_dir.join(target).join("release").join(package);
    fs::copy(&object, out.join(package))
        .map_err(|error| format!("cannot copy {}: {error}", object.display()))?;
    Ok(())
}

fn workspace_root() -> Result<PathBuf, String> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    manifest
        .parent()
        .map(Path::to_path_buf)
        .ok_or_else(|| format!("{} has no parent folder", manifest.display()))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

/// The `key=value` lines of the record.
struct Tools(HashMap<String, String>);

impl Tools {
    fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| {
            format!(
                "no tool chain for the BPF programs ({}: {error}); {CURE}",
                path.display()
            )
        })?;
        let tools = Self(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        );
        for key in ["cargo", "rustc", "linker"] {
            if !Path::new(tools.get(key)).exists() {
                return Err(format!(
                    "the {key} that {} names, {:?}, does not exist; {CURE}",
                    path.display(),
                    tools.get(key)
                ));
            }
        }
        Ok(tools)
    }

    fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// The recorded cargo, free of this build's own settings.
    fn cargo(&self, root: &Path, arch: &str) -> Command {
        let mut command = Command::new(self.get("cargo"));
        for (name, _) in env::vars() {
            if name.starts_with("CARGO") || name.starts_with("RUST") || name.starts_with("CLIPPY") {
                command.env_remove(name);
            }
        }
        if let Ok(home) = env::var("CARGO_HOME") {
            command.env("CARGO_HOME", home);
        }
        if let Ok(home) = env::var("RUSTUP_HOME") {
            command.env("RUSTUP_HOME", home);
        }
        let flags = [
            format!("--cfg=bpf_target_arch=\"{arch}\""),
            "-Cdebuginfo=2".to_owned(),
            format!("-Clinker={}", self.get("linker")),
            "-Clink-arg=--btf".to_owned(),
            // Each program is one body: a call would cost stack, of which a program and what it
            // calls have 512 bytes together.
            format!("-Cllvm-args={INLINING}"),
            format!("-Clink-arg=--llvm-args={INLINING}"),
            "-Ctarget-cpu=v3".to_owned(),
        ];
        command
            .current_dir(root)
            .env("RUSTC", self.get("rustc"))
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        if self.get("bootstrap") == "1" {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        if !self.get("llvm").is_empty() {
            command.env("LD_LIBRARY_PATH", self.get("llvm"));
        }
        command
    }
}

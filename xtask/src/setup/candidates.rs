//! Where a compiler and the library source of exactly its release come from, in the order to try.
//!
//! The BPF target has no prebuilt `core`, so cargo compiles it from source (`-Z build-std`), which
//! works only with the source of the compiler's own release.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, anyhow, bail, ensure};

use super::programs;
use crate::run::{capture, find, root};

/// A cargo and a rustc of one release.
#[derive(Clone)]
pub struct Compiler {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    /// Whether it takes `-Z` options only with `RUSTC_BOOTSTRAP=1`.
    pub bootstrap: bool,
}

impl Compiler {
    /// Its cargo, in the root of the checkout.
    pub fn cargo(&self) -> Command {
        let mut command = plain(Command::new(&self.cargo));
        command.current_dir(root()).env("RUSTC", &self.rustc);
        if self.bootstrap {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }
}

/// A place that may have one.
#[derive(Clone, Copy)]
pub enum Source {
    /// What an earlier setup chose.
    Recorded,
    /// A nightly of rustup that is here, with its source.
    NightlyHere,
    /// A nightly of rustup, from its server.
    NightlyServer,
    /// The distribution's packages, here already.
    DistributionHere,
    /// The distribution's packages, from its archive.
    DistributionArchive,
}

/// In the order to try.
pub const ALL: [Source; 5] = [
    Source::Recorded,
    Source::NightlyHere,
    Source::NightlyServer,
    Source::DistributionHere,
    Source::DistributionArchive,
];

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Self::Recorded => "the earlier choice",
            Self::NightlyHere => "a nightly that rustup has here",
            Self::NightlyServer => "a nightly from rustup's server",
            Self::DistributionHere => "the distribution's compiler that is here",
            Self::DistributionArchive => "the distribution's compiler from its archive",
        }
    }

    /// The compilers that this source has (after fetching them, where that is what it does).
    pub fn compilers(self) -> Result<Vec<Compiler>> {
        match self {
            Self::Recorded => Ok(Vec::new()),
            Self::NightlyHere => nightlies_here(),
            Self::NightlyServer => {
                fetch_nightly()?;
                nightlies_here()
            }
            Self::DistributionHere => distribution_here(),
            Self::DistributionArchive => {
                let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
                programs::apt_install(distribution_packages(&os_release)?)?;
                distribution_here()
            }
        }
    }
}

fn rustup() -> Result<PathBuf> {
    match find("rustup") {
        Some(rustup) => Ok(rustup),
        None => bail!("rustup is not installed"),
    }
}

fn nightly_names() -> Result<Vec<String>> {
    let list = capture(Command::new(rustup()?).args(["toolchain", "list"]))?;
    Ok(list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .map(str::to_owned)
        .collect())
}

fn nightlies_here() -> Result<Vec<Compiler>> {
    let rustup = rustup()?;
    let mut found = Vec::new();
    for name in nightly_names()? {
        let rustc = capture(Command::new(&rustup).args(["which", "--toolchain", &name, "rustc"]))?;
        let compiler = Compiler {
            cargo: Path::new(rustc.trim()).with_file_name("cargo"),
            rustc: rustc.trim().into(),
            bootstrap: false,
        };
        if has_source(&compiler.rustc) {
            found.push(compiler);
        }
    }
    ensure!(!found.is_empty(), "none has the component rust-src");
    Ok(found)
}

fn fetch_nightly() -> Result<()> {
    let rustup = rustup()?;
    let mut command = Command::new(rustup);
    // A nightly that is here stays the release that it is: only its source is added.
    if let Some(name) = nightly_names()?.first() {
        command.args(["component", "add", "rust-src", "--toolchain", name]);
    } else {
        command.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
        command.args(["--component", "rust-src"]);
    }
    eprintln!("setup: asking rustup's server for the library source (about 100 MB at most)");
    command
        .env("RUSTUP_MAX_RETRIES", "1")
        .env("RUST_BACKTRACE", "0");
    capture(&mut command)
        .map(|_| ())
        .map_err(|error| first_complaint(&error))
}

/// A tool's log is long; its first complaint says enough.
pub fn first_complaint(error: &anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("error"))
        .unwrap_or(&text);
    // rustup tells the address twice, the second time in its own words for a program.
    let sentence = line.split(" error=").next().unwrap_or(line);
    anyhow!("{}", sentence.trim())
}

fn distribution_here() -> Result<Vec<Compiler>> {
    let compiler = Compiler {
        cargo: "/usr/bin/cargo".into(),
        rustc: "/usr/bin/rustc".into(),
        bootstrap: true,
    };
    for file in [&compiler.cargo, &compiler.rustc] {
        ensure!(file.exists(), "there is no {}", file.display());
    }
    ensure!(
        has_source(&compiler.rustc),
        "there is no library source beside {}",
        compiler.rustc.display()
    );
    Ok(vec![compiler])
}

/// The packages that hold a matched pair, by what `/etc/os-release` says of the distribution.
fn distribution_packages(os_release: &str) -> Result<&'static [&'static str]> {
    // The pair that Debian keeps up to date in stable releases, for browsers; their `rustc` is
    // older than this project's lowest.
    const STABLE: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];
    const LATER: &[&str] = &["rustc", "cargo", "rust-src"];
    let value = |key: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    let id = value("ID").unwrap_or_default();
    let version = value("VERSION_ID").and_then(|number| number.parse::<u32>().ok());
    match (id.as_str(), version) {
        ("debian", Some(12 | 13)) => Ok(STABLE),
        // Testing and unstable have no number.
        ("debian", None) => Ok(LATER),
        ("debian", Some(number)) if number > 13 => Ok(LATER),
        _ => bail!(
            "this is neither Debian 12 nor later ({id:?} {})",
            value("VERSION_ID").unwrap_or_default()
        ),
    }
}

/// Whether the library source lies where cargo looks for it.
fn has_source(rustc: &Path) -> bool {
    capture(plain(Command::new(rustc)).args(["--print", "sysroot"])).is_ok_and(|sysroot| {
        Path::new(sysroot.trim())
            .join("lib/rustlib/src/rust/library/core/src/lib.rs")
            .exists()
    })
}

/// Takes away what cargo and rustup tell their children, which would choose another compiler.
pub fn plain(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let home = text == "CARGO_HOME" || text == "RUSTUP_HOME";
        if !home && (text.starts_with("CARGO") || text.starts_with("RUST")) {
            command.env_remove(&name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_releases_whose_own_compiler_is_too_old_get_the_other_one() {
        for (os_release, compiler) in [
            ("ID=debian\nVERSION_ID=\"12\"\n", Some("rustc-web")),
            ("VERSION_ID=\"13\"\nID=debian\n", Some("rustc-web")),
            ("ID=debian\nVERSION_ID=\"14\"\n", Some("rustc")),
            ("ID=debian\nVERSION_CODENAME=sid\n", Some("rustc")),
            ("ID=debian\nVERSION_ID=\"11\"\n", None),
            ("ID=ubuntu\nVERSION_ID=\"24.04\"\nID_LIKE=debian\n", None),
            ("", None),
        ] {
            let packages = distribution_packages(os_release);
            assert_eq!(
                packages
                    .as_ref()
                    .ok()
                    .and_then(|names| names.first().copied()),
                compiler,
                "{os_release}"
            );
        }
    }
}

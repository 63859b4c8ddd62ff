//! The programs that the demo and the tests run, from the distribution.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::run::{capture, find, is_root, show};

/// Program and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("arping", "iputils-arping"),
    ("iperf3", "iperf3"),
    ("dhclient", "isc-dhcp-client"),
    ("curl", "curl"),
    ("tshark", "tshark"),
    ("nft", "nftables"),
    ("iptables-legacy", "iptables"),
    ("ethtool", "ethtool"),
    ("udhcpc", "udhcpc"),
    ("setpriv", "util-linux"),
    ("ps", "procps"),
    ("kill", "procps"),
];

/// Module of the distribution's Python, and its package.
const MODULES: &[(&str, &str)] = &[
    ("scapy", "python3-scapy"),
    ("pyftpdlib", "python3-pyftpdlib"),
];

/// Installs what is missing.
pub fn ensure() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        eprintln!("setup: the programs for demo and tests are here");
        return Ok(());
    }
    apt_install(&missing)
}

fn missing() -> Vec<&'static str> {
    let programs = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none());
    let modules = MODULES.iter().filter(|(module, _)| !has_module(module));
    let mut packages: Vec<_> = programs
        .chain(modules)
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

fn has_module(module: &str) -> bool {
    let question =
        format!("import importlib.util as u, sys; sys.exit(u.find_spec('{module}') is None)");
    capture(Command::new("/usr/bin/python3").args(["-c", &question])).is_ok()
}

/// Installs packages with apt-get; no service of theirs starts, and nothing that is here is removed for them.
pub fn apt_install(packages: &[&str]) -> Result<()> {
    let command = format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    ensure!(
        find("apt-get").is_some(),
        "missing: {}. These are Debian's package names and there is no apt-get here; install the like with this \
         system's package manager",
        packages.join(" ")
    );
    ensure!(
        is_root(),
        "missing: {}. Installing them needs root: run `sudo {command}`, then this again",
        packages.join(" ")
    );
    eprintln!("setup: installing {}", packages.join(" "));
    let _quiet = NoServices::new()?;
    show(apt_get().arg("update")).context(
        "the package lists cannot be read; the cure is a network that reaches the archive",
    )?;
    show(
        apt_get()
            .args(["install", "--yes", "--no-remove", "--no-install-recommends"])
            .args(packages),
    )
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-q", "-o", "Dpkg::Use-Pty=0"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// While it exists, no package starts a service: what `policy-rc.d` is for.
struct NoServices(Option<PathBuf>);

impl NoServices {
    fn new() -> Result<Self> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        // The machine's own policy stays as it is.
        if path.exists() {
            return Ok(Self(None));
        }
        fs::write(path, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Some(path.to_owned())))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

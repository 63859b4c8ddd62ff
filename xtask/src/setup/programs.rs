//! The programs that the demo and the tests run, from the distribution.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

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
    ("dhcpcd", "dhcpcd-base"),
    ("rdisc6", "ndisc6"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
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

/// What a `policy-rc.d` of ours says: no.
const POLICY: &str =
    "#!/bin/sh\n# Written by `cargo xtask setup` while it installs packages.\nexit 101\n";

/// While it exists, no package starts a service: what `policy-rc.d` is for. Signals wait until it is gone.
struct NoServices {
    path: Option<&'static Path>,
    signals: &'static Signals,
}

impl NoServices {
    fn new() -> Result<Self> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        let signals = Signals::watched()?;
        // The machine's own policy stays as it is; one that a killed setup left goes.
        if path.exists() && fs::read_to_string(path).is_ok_and(|text| text != POLICY) {
            return Ok(Self {
                path: None,
                signals,
            });
        }
        signals.usual.store(false, Ordering::SeqCst);
        let policy = Self {
            path: Some(path),
            signals,
        };
        fs::write(path, POLICY)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(policy)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = self.path {
            let _ = fs::remove_file(path);
        }
        self.signals.usual.store(true, Ordering::SeqCst);
        if let Some(signal) = self.signals.arrived() {
            // Now it takes the course that it was kept from.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    }
}

/// The signals that end a program, which can be kept from it for a while.
struct Signals {
    /// Whether they take their usual course.
    usual: Arc<AtomicBool>,
    /// Each with whether it has come.
    came: Vec<(i32, Arc<AtomicBool>)>,
}

impl Signals {
    fn watched() -> Result<&'static Self> {
        static WATCHED: OnceLock<Signals> = OnceLock::new();
        if let Some(signals) = WATCHED.get() {
            return Ok(signals);
        }
        let usual = Arc::new(AtomicBool::new(true));
        let mut came = Vec::new();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&usual))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
                .context("cannot watch for signals")?;
            came.push((signal, flag));
        }
        Ok(WATCHED.get_or_init(|| Self { usual, came }))
    }

    fn arrived(&self) -> Option<i32> {
        self.came
            .iter()
            .find(|(_, flag)| flag.load(Ordering::SeqCst))
            .map(|(signal, _)| *signal)
    }
}

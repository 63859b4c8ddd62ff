//! The programs that the demo, the tests and the matrix of protocols run, from the distribution.

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

/// What is asked for, and the Debian package that brings it.
type Wanted = &'static [(&'static str, &'static str)];

/// Programs of the demo and the tests.
const PROGRAMS: Wanted = &[
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
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
    ("nsenter", "util-linux"),
    ("flock", "util-linux"),
    ("ps", "procps"),
    ("kill", "procps"),
    ("vsftpd", "vsftpd"),
    ("dnsmasq", "dnsmasq-base"),
    ("dig", "bind9-dnsutils"),
    ("traceroute", "traceroute"),
    ("keepalived", "keepalived"),
    ("wg", "wireguard-tools"),
];

/// What tells the one that is wanted from others by the same name: what it is asked, and a word of
/// its answer.
const TOLD_BY: &[(&str, &str, &str)] = &[
    ("ping", "-V", "iputils"),
    ("dhclient", "--version", "isc-dhclient"),
    ("udhcpc", "--help", "BusyBox"),
    ("dhcpcd", "--version", "dhcpcd"),
    ("iptables-legacy", "--version", "legacy"),
    ("traceroute", "--version", "Modern traceroute"),
    ("keepalived", "--version", "Keepalived v"),
    ("in.tftpd", "-V", "tftp-hpa"),
    ("tftp", "-V", "tftp-hpa"),
    ("dig", "-v", "DiG"),
];

/// Modules of the distribution's Python for them.
const MODULES: Wanted = &[("scapy", "python3-scapy")];

/// Programs of the matrix of protocols, besides.
const APPLICATIONS: Wanted = &[
    ("in.tftpd", "tftpd-hpa"),
    ("tftp", "tftp-hpa"),
    ("lftp", "lftp"),
    ("sipp", "sip-tester"),
    ("nginx", "nginx"),
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("gst-launch-1.0", "gstreamer1.0-tools"),
];

/// What compiles libFuzzer, which is C++.
const FUZZER: Wanted = &[("c++", "g++")];

/// Modules of the distribution's Python for it.
const APPLICATION_MODULES: Wanted = &[("gi", "python3-gi")];

/// Files of packages that bring no program.
const APPLICATION_FILES: Wanted = &[
    (
        "girepository-1.0/GstRtspServer-1.0.typelib",
        "gir1.2-gst-rtsp-server-1.0",
    ),
    ("gstreamer-1.0/libgstrtp.so", "gstreamer1.0-plugins-good"),
    (
        "gstreamer-1.0/libgstaudiotestsrc.so",
        "gstreamer1.0-plugins-base",
    ),
];

/// Installs what the demo and the tests lack.
pub fn ensure() -> Result<()> {
    let missing = programs(PROGRAMS).chain(modules(MODULES));
    install("demo and tests", missing.collect())
}

/// Installs what the matrix of protocols lacks, too.
pub fn ensure_applications() -> Result<()> {
    let missing = programs(APPLICATIONS)
        .chain(modules(APPLICATION_MODULES))
        .chain(files(APPLICATION_FILES)?);
    install("the matrix of protocols", missing.collect())
}

/// Installs what the fuzz targets lack.
pub fn ensure_fuzzer() -> Result<()> {
    install("fuzzing", programs(FUZZER).collect())
}

fn install(purpose: &str, mut packages: Vec<&'static str>) -> Result<()> {
    packages.dedup();
    if packages.is_empty() {
        eprintln!("setup: the programs for {purpose} are here");
        return Ok(());
    }
    apt_install(&packages)
}

fn programs(wanted: Wanted) -> impl Iterator<Item = &'static str> {
    let missing = wanted.iter().filter(|(program, _)| !is_here(program));
    missing.map(|(_, package)| *package)
}

/// Whether a program is there, and the one that is meant.
fn is_here(program: &str) -> bool {
    find(program).is_some()
        && TOLD_BY
            .iter()
            .filter(|(name, _, _)| *name == program)
            .all(|(_, question, word)| says(program, question, word))
}

/// Whether a program has the word in its answer, on whichever stream and with whichever exit code.
fn says(program: &str, question: &str, word: &str) -> bool {
    let output = Command::new(program)
        .arg(question)
        .stdin(std::process::Stdio::null())
        .output();
    output.is_ok_and(|output| {
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).contains(word)
    })
}

fn modules(wanted: Wanted) -> impl Iterator<Item = &'static str> {
    let missing = wanted.iter().filter(|(module, _)| !has_module(module));
    missing.map(|(_, package)| *package)
}

/// Of files below the folders of libraries: `/usr/lib`, and `/usr/lib/x86_64-linux-gnu` and its
/// like.
fn files(wanted: Wanted) -> Result<impl Iterator<Item = &'static str>> {
    let root = Path::new("/usr/lib");
    let mut folders = vec![root.to_owned()];
    for entry in fs::read_dir(root).context("cannot read /usr/lib")? {
        folders.push(entry?.path());
    }
    let missing = wanted
        .iter()
        .filter(move |(file, _)| !folders.iter().any(|folder| folder.join(file).exists()));
    Ok(missing.map(|(_, package)| *package))
}

fn has_module(module: &str) -> bool {
    let question =
        format!("import importlib.util as u, sys; sys.exit(u.find_spec('{module}') is None)");
    capture(Command::new("/usr/bin/python3").args(["-c", &question])).is_ok()
}

/// Installs packages with apt-get; no service of theirs starts, and nothing that is here is removed
/// for them.
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

/// While it exists, no package starts a service: what `policy-rc.d` is for. Signals wait until it
/// is gone.
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

//! The lab: network namespaces that play an Internet host, a gateway and guests, and that vanish
//! however the process ends.
//!
//! Everything carries the name of the lab, which holds the process id: two runs never meet, and
//! what a killed run left is found and swept away by the next one.

pub mod arp;
pub mod beyond;
pub mod capture;
pub mod case;
pub mod dhcp;
pub mod flood;
pub mod frames;
pub mod ftp;
pub mod gateway;
pub mod guide;
pub mod netns;
pub mod process;
pub mod scene;
pub mod service;
pub mod setting;
pub mod sweep;
pub mod topology;
pub mod traffic;
pub mod trunk;
pub mod tunnel;
pub mod wait;

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use netns::Netns;
use process::{run, run_regardless};

/// What every name of a lab begins with.
pub const PREFIX: &str = "eipdp";

/// The labs of this process, for the signal handler.
static LABS: Mutex<Vec<Arc<Inner>>> = Mutex::new(Vec::new());

/// Whether this process mounted the host's bpffs.
static MOUNTED: AtomicBool = AtomicBool::new(false);

/// A set of network namespaces and a folder, taken away on drop, on panic and on SIGINT, SIGTERM
/// and SIGHUP.
pub struct Lab {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Set while the lab is taken away, so that nothing is added meanwhile.
    closed: bool,
    namespaces: Vec<Netns>,
}

impl Lab {
    /// An empty lab.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static FIRST: Once = Once::new();
        ensure!(
            nix::unistd::geteuid().is_root(),
            "network namespaces need root: run this through `cargo xtask test`, `demo` or `protocols`, as root"
        );
        FIRST.call_once(|| {
            sweep::dead();
            remove_on_signals();
        });
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let inner = Arc::new(Inner {
            name,
            folder,
            state: Mutex::default(),
        });
        let mut labs = lock(&LABS);
        labs.push(Arc::clone(&inner));
        let mounted = mount_bpffs();
        drop(labs);
        let lab = Self { inner };
        mounted.map(|()| lab)
    }

    /// The lab's name; also the name of the gateway instance in it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// A new namespace with its loopback interface up.
    pub fn namespace(&self, role: &str) -> Result<Netns> {
        let mut state = lock(&self.inner.state);
        ensure!(!state.closed, "the lab is being taken away");
        let namespace = Netns::create(&format!("{}-{role}", self.inner.name), self.folder())?;
        state.namespaces.push(namespace.clone());
        drop(state);
        run(namespace
            .command("ip")
            .args(["link", "set", "dev", "lo", "up"]))?;
        Ok(namespace)
    }

    /// Leaves everything up when the process ends.
    pub fn keep(self) -> Result<()> {
        fs::write(self.folder().join(sweep::KEPT), "")?;
        lock(&LABS).retain(|lab| !Arc::ptr_eq(lab, &self.inner));
        // Without its entry in `LABS` nothing takes it away: `Drop` would.
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.inner.close();
        let mut labs = lock(&LABS);
        labs.retain(|lab| !Arc::ptr_eq(lab, &self.inner));
        unmount_after_last(&labs);
    }
}

impl Inner {
    fn close(&self) {
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        state.closed = true;
        let names: Vec<&str> = state.namespaces.iter().map(Netns::name).collect();
        sweep::take_away(&self.name, &names, &self.folder);
    }
}

/// A panic of another test must not keep this one from cleaning up.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove_on_signals() {
    let mut signals = match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("lab: signals cannot be watched ({error}); interrupted, it would stay");
            return;
        }
    };
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            process::start_no_more();
            let labs = lock(&LABS).clone();
            for lab in labs {
                lab.close();
            }
            setting::put_all_back();
            unmount_after_last(&[]);
            std::process::exit(128 + signal);
        }
    });
}

/// The gateway pins its maps in the host's bpffs.
fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    if mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(sweep::BPFFS))
    {
        return Ok(());
    }
    run_regardless(Command::new("mount").args(["-t", "bpf", "bpf", sweep::BPFFS]))?;
    MOUNTED.store(true, Ordering::Relaxed);
    Ok(())
}

fn unmount_after_last(labs: &[Arc<Inner>]) {
    if labs.is_empty() && MOUNTED.swap(false, Ordering::Relaxed) {
        sweep::unmount_bpffs();
    }
}

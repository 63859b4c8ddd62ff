//! `--wait`: return once the daemon has applied what was committed.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aya::maps::{Array, Map, MapData};
use clap::Args;
use eip_dp_common::abi::{StatusWord, maps};

use super::{Failure, Global, Name};

/// The option of every verb that changes the table.
#[derive(Clone, Copy, Debug, Args)]
pub struct Wait {
    /// Return once the daemon has applied the change; fails after 5 s, or at once when no daemon runs
    #[arg(long)]
    pub wait: bool,
}

/// How long a committed change may take to be applied.
const LIMIT: Duration = Duration::from_secs(5);
/// A BPF array raises no event, so it is read again: soon at first, because a change is applied within milliseconds.
const FIRST_PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// What a daemon publishes about itself.
pub trait AppliedRevision {
    /// The table's revision that the kernel's maps hold.
    fn applied(&self) -> anyhow::Result<u64>;
    /// Whether a daemon of this gateway runs: it holds the lock of that name.
    fn daemon_runs(&self) -> anyhow::Result<bool>;
}

/// Waits until `revision` is applied, if the option says so. The change is committed whatever comes of it.
pub(super) fn finish(wait: Wait, revision: u64, global: &Global) -> Result<(), Failure> {
    if !wait.wait {
        return Ok(());
    }
    until_applied(
        revision,
        global.name.as_str(),
        &Published::by(&global.name),
        LIMIT,
    )
}

/// What the daemon of one gateway left in the kernel, and its lock.
pub(super) struct Published {
    status: PathBuf,
    lock: PathBuf,
}

impl Published {
    pub(super) fn by(name: &Name) -> Self {
        Self {
            status: Path::new("/sys/fs/bpf/eip-dp")
                .join(name.as_str())
                .join(maps::STATUS),
            lock: Path::new("/run/eip-dp").join(format!("{name}.lock")),
        }
    }
}

impl AppliedRevision for Published {
    fn applied(&self) -> anyhow::Result<u64> {
        let map = Map::Array(MapData::from_pin(&self.status)?);
        let status: Array<_, u64> = Array::try_from(map)?;
        Ok(status.get(&(StatusWord::Revision as u32), 0)?)
    }

    /// Tries the lock for an instant, which a daemon that starts just then has to outlast.
    fn daemon_runs(&self) -> anyhow::Result<bool> {
        let file = match File::open(&self.lock) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("{} cannot be read", self.lock.display()));
            }
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{} cannot be tried", self.lock.display()))
            }
        }
    }
}

fn until_applied(
    revision: u64,
    name: &str,
    source: &impl AppliedRevision,
    limit: Duration,
) -> Result<(), Failure> {
    let end = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    loop {
        // In this order: what a daemon applied before it ended counts.
        let runs = source.daemon_runs();
        let applied = source.applied();
        if applied.as_ref().is_ok_and(|applied| *applied >= revision) {
            return Ok(());
        }
        let committed = format!("the change is committed as revision {revision} but not applied");
        match runs {
            Ok(true) => {}
            Ok(false) => {
                return Err(Failure::failed(format!(
                    "{committed}: no daemon of gateway `{name}` runs; start it with `eip-dp --name {name} run`"
                )));
            }
            Err(error) => {
                return Err(Failure::failed(format!(
                    "{committed}: whether a daemon of gateway `{name}` runs is unknown: {error:#}"
                )));
            }
        }
        if Instant::now() >= end {
            let state = match applied {
                Ok(applied) => format!("has applied revision {applied}"),
                Err(error) => format!("has published none that could be read ({error:#})"),
            };
            return Err(Failure::failed(format!(
                "{committed} within {} s: the daemon of gateway `{name}` {state}; its log says why, \
                 and whether it serves this table",
                limit.as_secs()
            )));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A daemon that applies one revision each time that somebody looks.
    struct Daemon {
        runs: bool,
        applied: Cell<u64>,
        step: u64,
    }

    impl AppliedRevision for Daemon {
        fn applied(&self) -> anyhow::Result<u64> {
            let applied = self.applied.get();
            anyhow::ensure!(applied > 0, "no map");
            self.applied.set(applied + self.step);
            Ok(applied)
        }

        fn daemon_runs(&self) -> anyhow::Result<bool> {
            Ok(self.runs)
        }
    }

    fn wait(runs: bool, applied: u64, step: u64, limit: Duration) -> Result<(), String> {
        let applied = Cell::new(applied);
        let daemon = Daemon {
            runs,
            applied,
            step,
        };
        until_applied(7, "gw", &daemon, limit).map_err(|failure| match failure {
            Failure::Failed(message) => message,
            other => panic!("{other:?} is another exit code"),
        })
    }

    #[test]
    fn returns_once_the_revision_is_applied() {
        assert_eq!(wait(true, 7, 0, Duration::ZERO), Ok(()));
        assert_eq!(wait(true, 8, 0, Duration::ZERO), Ok(()));
        assert_eq!(wait(true, 3, 1, LIMIT), Ok(()));
    }

    #[test]
    fn a_revision_that_a_daemon_applied_before_it_ended_counts() {
        assert_eq!(wait(false, 7, 0, LIMIT), Ok(()));
    }

    #[test]
    fn fails_at_once_without_a_daemon() {
        for applied in [0, 6] {
            let message = wait(false, applied, 0, LIMIT).unwrap_err();
            assert!(message.contains("committed as revision 7"), "{message}");
            assert!(
                message.contains("no daemon of gateway `gw` runs"),
                "{message}"
            );
        }
    }

    #[test]
    fn fails_when_the_time_is_over() {
        let message = wait(true, 6, 0, Duration::ZERO).unwrap_err();
        assert!(message.contains("committed as revision 7"), "{message}");
        assert!(message.contains("has applied revision 6"), "{message}");
        let message = wait(true, 0, 0, Duration::ZERO).unwrap_err();
        assert!(message.contains("no map"), "{message}");
    }

    #[test]
    fn a_daemon_runs_as_long_as_it_holds_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let published = Published {
            status: dir.path().join("STATUS"),
            lock: dir.path().join("gw.lock"),
        };
        assert!(!published.daemon_runs().unwrap(), "no file");
        let lock = File::create(&published.lock).unwrap();
        assert!(!published.daemon_runs().unwrap(), "nobody holds it");
        lock.lock().unwrap();
        assert!(published.daemon_runs().unwrap());
        lock.unlock().unwrap();
        assert!(!published.daemon_runs().unwrap(), "held no longer");
        assert!(published.applied().is_err(), "no map");
    }
}

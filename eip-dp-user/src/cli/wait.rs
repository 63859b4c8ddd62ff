//! `--wait`: return once the daemon has applied what was committed.

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::Args;

use super::{Failure, Global};

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
    fn daemon_runs(&self) -> bool;
}

/// Waits until `revision` is applied, if the option says so. The change is committed whatever comes of it.
pub(super) fn finish(wait: Wait, revision: u64, global: &Global) -> Result<(), Failure> {
    if !wait.wait {
        return Ok(());
    }
    until_applied(revision, global.name.as_str(), &NoDaemon, LIMIT)
}

/// Stands in until the daemon is there.
struct NoDaemon;

impl AppliedRevision for NoDaemon {
    fn applied(&self) -> anyhow::Result<u64> {
        anyhow::bail!("the data plane is not loaded")
    }

    fn daemon_runs(&self) -> bool {
        false
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
        if !runs {
            return Err(Failure::failed(format!(
                "{committed}: no daemon of gateway `{name}` runs; start it with `eip-dp --name {name} run`"
            )));
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

        fn daemon_runs(&self) -> bool {
            self.runs
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
}

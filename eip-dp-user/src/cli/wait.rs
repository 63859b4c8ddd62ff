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
    until_applied(revision, &global.name.to_string(), &NoDaemon)
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

fn until_applied(revision: u64, name: &str, source: &impl AppliedRevision) -> Result<(), Failure> {
    let end = Instant::now() + LIMIT;
    let mut pause = FIRST_PAUSE;
    loop {
        // The daemon first: what it applied before it ended counts.
        let runs = source.daemon_runs();
        let applied = source.applied();
        if applied.as_ref().is_ok_and(|applied| *applied >= revision) {
            return Ok(());
        }
        let committed =
            format!("the change is committed as revision {revision}, but not yet applied");
        if !runs {
            return Err(Failure::failed(format!(
                "{committed}: no daemon of gateway `{name}` runs; start it with `eip-dp --name {name} run`"
            )));
        }
        if Instant::now() >= end {
            let state = match applied {
                Ok(applied) => {
                    format!("the daemon of gateway `{name}` has applied revision {applied}")
                }
                Err(error) => format!(
                    "what the daemon of gateway `{name}` has applied cannot be read: {error:#}"
                ),
            };
            return Err(Failure::failed(format!(
                "{committed} after {} s: {state}; see its log",
                LIMIT.as_secs()
            )));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

//! Daemons in the foreground, known to listen before anybody asks them.

use std::{
    fs,
    path::Path,
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{
    netns::Netns,
    process::{Job, PATIENCE},
    wait::until,
};

/// A port that a daemon serves.
#[derive(Clone, Copy, Debug)]
pub enum Port {
    /// Over TCP.
    Tcp(u16),
    /// Over UDP.
    Udp(u16),
}

/// A daemon. Dropping the handle asks it to end, so that it ends its own children, and waits for
/// that.
pub struct Service {
    job: Job,
}

impl Service {
    /// Starts it and waits until somebody in its namespace listens on `port`.
    pub fn start(on: &Netns, command: &mut Command, log: &Path, port: Port) -> Result<Self> {
        let mut service = Self {
            job: Job::start(command, log)?,
        };
        until(PATIENCE, &format!("a listener on {port:?}"), || {
            service.job.still_runs()?;
            Ok(on.enter(|| listens(port))?.then_some(()))
        })
        .with_context(|| format!("it said: {}", service.job.said()))?;
        Ok(service)
    }

    /// Waits for its own end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.job.wait()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; what does not end is killed with its job.
        let _ = self.job.signal(Signal::SIGTERM);
        let _ = self.job.wait();
    }
}

/// Whether this thread's network namespace has a socket that waits on `port`, in `/proc/net` of
/// either family.
fn listens(port: Port) -> Result<bool> {
    // The kernel's states: a TCP socket that listens, a UDP socket that is not connected.
    let (files, state, number) = match port {
        Port::Tcp(number) => (["tcp", "tcp6"], "0A", number),
        Port::Udp(number) => (["udp", "udp6"], "07", number),
    };
    let suffix = format!(":{number:04X}");
    for file in files {
        let path = Path::new("/proc/thread-self/net").join(file);
        // A kernel without IPv6 has no file for it.
        if !path.exists() {
            continue;
        }
        let waits = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            let local = words.next().is_some_and(|word| word.ends_with(&suffix));
            local && words.nth(1) == Some(state)
        };
        let text = fs::read_to_string(&path)?;
        if text.lines().skip(1).any(waits) {
            return Ok(true);
        }
    }
    Ok(false)
}

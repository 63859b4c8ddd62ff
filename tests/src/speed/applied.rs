//! How long the daemon takes from a commit of the table until the kernel has it.

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, ensure};
use aya::maps::{Array, Map, MapData};
use eip_dp_common::abi::{StatusWord, maps};
use eip_dp_user::{cli::Name, kernel::Pins, table::Table};

use crate::lab::gateway::Gateway;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_micros(500);

/// How long a change took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// The command, from its start to its end.
    pub command: Duration,
    /// From the commit until the revision was in the kernel; up to a pause more than it was.
    pub daemon: Duration,
}

/// Looks at the table's revision, and at the kernel's.
pub struct Revisions {
    table: Table,
    status: Array<MapData, u64>,
}

impl Revisions {
    /// Of a gateway whose daemon runs.
    pub fn of(gateway: &Gateway) -> Result<Self> {
        let name: Name = gateway.name().parse().map_err(Error::msg)?;
        let status = MapData::from_pin(Pins::new(&name).map(maps::STATUS))?;
        Ok(Self {
            table: Table::open(&gateway.table())?,
            status: Array::try_from(Map::Array(status))?,
        })
    }

    fn in_kernel(&self) -> Result<u64> {
        Ok(self.status.get(&(StatusWord::Revision as u32), 0)?)
    }

    /// Runs a verb that changes the table and waits for the daemon.
    pub fn time(&self, gateway: &Gateway, verb: &[&str]) -> Result<Took> {
        let before = self.table.revision()?;
        ensure!(
            self.in_kernel()? == before,
            "the daemon is behind the table before anything is changed"
        );
        let begun = Instant::now();
        let mut child = gateway
            .command(verb)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("the command cannot be started")?;
        let daemon = self.follow(before, &mut child);
        let status = child.wait()?;
        let command = begun.elapsed();
        ensure!(
            status.success(),
            "`eip-dp {}` ended with {status}",
            verb.join(" ")
        );
        Ok(Took {
            command,
            daemon: daemon?,
        })
    }

    /// The time from the last look that saw no commit until the kernel has what was committed.
    fn follow(&self, before: u64, child: &mut Child) -> Result<Duration> {
        let mut last = Instant::now();
        let committed = loop {
            let look = Instant::now();
            let revision = self.table.revision()?;
            if revision > before {
                break revision;
            }
            ensure!(
                child.try_wait()?.is_none_or(|status| status.success()),
                "nothing was committed"
            );
            last = look;
            thread::sleep(PAUSE);
        };
        while self.in_kernel()? < committed {
            // It waits for the same, and gives up some time.
            ensure!(
                child.try_wait()?.is_none_or(|status| status.success()),
                "revision {committed} is not in the kernel"
            );
            thread::sleep(PAUSE);
        }
        Ok(last.elapsed())
    }
}

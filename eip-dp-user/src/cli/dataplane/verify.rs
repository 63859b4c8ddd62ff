//! `verify`: the table against what the kernel's maps hold, and the programs that work by them.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use eip_dp_common::abi::StatusWord;
use nix::sys::signal::Signal;
use serde::Serialize;

use super::{facts, kernel};
use crate::{
    attach::Attachment,
    cli::{
        Failure, Format, Global, Name, VerifyArgs, output,
        place::{Gateway, report_of_daemon, table_of_gateway},
    },
    compile::{self, Allocations, Applied, Kind, tag},
    config::Config,
    daemon::{Lock, Report, location_of, shared_path, tag_of_file},
    kernel::{self, Kernel, Pinned, Pins, Plane, ProgramLinks, ServedTable, Standing},
    plan::plan,
    shared::Shared,
    table::{Snapshot, Table},
};

/// How long a daemon may take to apply or to mend something.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Serialize)]
struct Verdict {
    /// The table's revision that was compared.
    revision: u64,
    /// What the kernel has otherwise.
    differences: Vec<Difference>,
    /// Whether they are mended now.
    repaired: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    /// The map and the key.
    element: String,
    kind: Kind,
}

/// `verify`: the table against the maps.
pub fn verify(args: &VerifyArgs, global: &Global) -> Result<(), Failure> {
    let mut verifier = Verifier::new(global)?;
    let mut verdict = verifier.settled()?;
    if args.repair && !args.older {
        verifier.refuse_older(global)?;
    }
    if args.repair && !verdict.differences.is_empty() {
        verifier.repair(&global.name)?;
        verdict.repaired = true;
    }
    let good = verdict.differences.is_empty() || verdict.repaired;
    match global.output {
        Format::Json => output::json(&verdict)?,
        Format::Text => output::write(|out| {
            for difference in &verdict.differences {
                writeln!(out, "{}: {}", difference.kind, difference.element)?;
            }
            match (verdict.differences.len(), verdict.repaired) {
                (0, _) => writeln!(
                    out,
                    "the kernel has what the table says, revision {}",
                    verdict.revision
                ),
                (count, true) => writeln!(out, "{count} repaired"),
                (count, false) => {
                    writeln!(
                        out,
                        "{count} differ from revision {}; `verify --repair` mends them",
                        verdict.revision
                    )
                }
            }
        })?,
    }
    if good { Ok(()) } else { Err(Failure::Reported) }
}

/// Everything that the comparison needs.
struct Verifier {
    kernel: Kernel,
    links: ProgramLinks,
    table: Table,
    config: Config,
    daemon_runs: bool,
    shared_path: PathBuf,
}

/// What the table wants.
struct Wanted {
    revision: u64,
    image: compile::DesiredState,
}

impl Verifier {
    fn new(global: &Global) -> Result<Self, Failure> {
        let kernel = kernel(global)?;
        let daemon_runs = Lock::is_held(&global.name)?;
        let report = if daemon_runs {
            report_of_daemon(&global.name)?
        } else {
            Report::read(&Report::path(&global.name))
        };
        let (_, table) = table_of_gateway(global, daemon_runs)?;
        let config = match report {
            Some(report) => report.config,
            None => Config::load(None, &[]).map_err(anyhow::Error::from)?,
        };
        Ok(Self {
            kernel,
            links: ProgramLinks::new(&Pins::new(&global.name)),
            table,
            config,
            daemon_runs,
            shared_path: shared_path(&global.name),
        })
    }

    /// Compares. A daemon that is just applying a change has time to finish it.
    fn settled(&self) -> Result<Verdict, Failure> {
        let start = Instant::now();
        loop {
            let verdict = self.compare()?;
            let pending = self.kernel.word(StatusWord::Revision)? != verdict.revision;
            // What differs although the revision is applied is hardly a change on its way.
            let patience = if pending { PATIENCE } else { PATIENCE / 10 };
            let settled = !pending && verdict.differences.is_empty();
            if settled || !self.daemon_runs || start.elapsed() >= patience {
                return Ok(verdict);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Who repairs by an older copy sets the gateway back.
    fn refuse_older(&self, global: &Global) -> Result<(), Failure> {
        let gateway = Gateway::of(global);
        let standing = gateway.standing(&self.table)?;
        let Some(standing) = standing.filter(Standing::is_older) else {
            return Ok(());
        };
        if self.daemon_runs {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "{} is at revision {}, and gateway `{}` forwards by revision {} of it: to repair by it is to go back; put a newer \
             copy there with `eip-dp restore FILE`, or say `--older` if going back is meant",
            self.table.path().display(),
            standing.revision,
            global.name,
            standing.applied
        )))
    }

    fn wanted(&self, have: &Applied) -> Result<Wanted, Failure> {
        let Snapshot {
            revision,
            mut model,
            ..
        } = self.table.sound_snapshot()?;
        Shared::read(&self.shared_path, self.table.identity()).resolve(&mut model);
        Ok(Wanted {
            revision,
            image: compile::compile(&model, &facts()?, &self.config, have),
        })
    }

    fn compare(&self) -> Result<Verdict, Failure> {
        let have = self.have()?;
        let Wanted { revision, image } = self.wanted(&have)?;
        let mut differences: Vec<_> = compile::differences(&image.content, &have.content)
            .into_iter()
            .map(|(element, kind)| Difference { element, kind })
            .collect();
        differences.extend(self.missing_programs(&image.attachments)?);
        Ok(Verdict {
            revision,
            differences,
            repaired: false,
        })
    }

    /// The tc programs that are not attached: without one nothing passes. XDP is only faster;
    /// `status` tells about it.
    fn missing_programs(&self, wanted: &[Attachment]) -> Result<Vec<Difference>, Failure> {
        let pinned = self.links.pinned()?;
        let mut missing = Vec::new();
        for attachment in wanted {
            for program in attachment.programs.iter().filter(|one| !one.is_xdp()) {
                let pin = Pinned {
                    program: *program,
                    ifindex: attachment.ifindex,
                };
                if !pinned.contains(&pin) {
                    missing.push(Difference {
                        element: format!("program {} on {}", program.name(), attachment.interface),
                        kind: Kind::Missing,
                    });
                }
            }
        }
        Ok(missing)
    }

    fn have(&self) -> Result<Applied, Failure> {
        let limits = self.kernel.limits();
        let content = self.kernel.read()?;
        let allocations = Allocations::recover(&content, &limits, self.kernel.homes());
        Ok(Applied {
            content,
            allocations,
            limits,
        })
    }

    /// Mends the maps, or has the daemon mend them.
    fn repair(&mut self, name: &Name) -> Result<(), Failure> {
        if !self.daemon_runs {
            // No daemon may start meanwhile.
            let _lock = Lock::take(name)?;
            let have = self.have()?;
            let Wanted { revision, image } = self.wanted(&have)?;
            let writes = plan(&image.content, &have.content);
            self.kernel
                .write(&writes)
                .map_err(|error| Failure::failed(error.to_string()))?;
            // It is what the gateway forwards by from now on. A copy elsewhere does not move it
            // there: the next daemon looks where the table was.
            let own = tag(&location_of(&self.table));
            let served = ServedTable::of(&Pins::new(name))?;
            let location = served.map_or(own, |served| match served.location {
                0 => own,
                location => location,
            });
            let file = tag_of_file(self.table.file());
            kernel::publish(&mut self.kernel, location, file, revision)?;
            return match self.missing_programs(&image.attachments)?.first() {
                None => Ok(()),
                Some(missing) => Err(Failure::failed(format!(
                    "{} is missing, and only the daemon attaches it; start it with `eip-dp --name {name} run`",
                    missing.element
                ))),
            };
        }
        let pid = Lock::signal_holder(name, Signal::SIGHUP)?.ok_or_else(|| {
            Failure::failed(format!(
                "the daemon of gateway `{name}` ended meanwhile; try again"
            ))
        })?;
        let end = Instant::now() + PATIENCE;
        while !self.compare()?.differences.is_empty() {
            if Instant::now() >= end {
                return Err(Failure::failed(format!(
                    "the daemon of gateway `{name}` (process {pid}) was asked to mend the maps, but they still differ \
                     after {} s; its log says why",
                    PATIENCE.as_secs()
                )));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

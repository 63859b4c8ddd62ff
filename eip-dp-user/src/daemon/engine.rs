//! The part of the daemon that blocks: table, maps and links. It runs beside the reactor, one sync at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
};

use eip_dp_common::abi::{LinkKey, StatusWord};
use ipnet::IpNet;
use jiff::Timestamp;
use tracing::{debug, error, info, warn};

use super::report::Report;
use crate::{
    attach::{self, Attachment, Program},
    cli::Name,
    config::Config,
    guests::Directory,
    host::{Family, HostFacts, Link, Setting},
    image::{self, Content, Limits, tag},
    model::{Context, command::Command, rules},
    plane::{self, Kernel, Links, Pinned, Pins, PlaneError, Programs},
    reconcile::Reconciler,
    table::{FileId, Snapshot, Table, TableError},
};

/// Everything that a sync needs.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    table: Table,
    location: String,
    snapshot: Snapshot,
    /// The file that the snapshot is of.
    file: FileId,
    reconciler: Reconciler<Kernel>,
    programs: Programs,
    links: Links,
    attached: Vec<Attachment>,
    failures: BTreeMap<Pinned, String>,
    announced_on: Vec<(LinkKey, [u8; 6])>,
    settings: BTreeSet<(u32, Setting)>,
    facts: Arc<HostFacts>,
    /// Whether the last sync did all that it wanted.
    complete: bool,
    /// Whether it did more than is published.
    unpublished: bool,
    report: Option<Report>,
    report_path: PathBuf,
    told: BTreeSet<String>,
}

/// What the reactor has to know after a sync.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What guests are told from now on; `None`: as before.
    pub directory: Option<Arc<Directory>>,
    /// The EIPs to announce.
    pub moved: BTreeSet<IpAddr>,
    /// The EIPs to announce no longer.
    pub silenced: BTreeSet<IpAddr>,
    /// The uplinks on which they are announced, with their Ethernet addresses.
    pub announce_on: Vec<(LinkKey, [u8; 6])>,
    /// The settings of interfaces that are needed.
    pub settings: BTreeSet<(u32, Setting)>,
    /// The next hops to keep resolved.
    pub next_hops: BTreeSet<(u32, IpAddr)>,
    /// When the next EIP expires.
    pub next_expiry: Option<Timestamp>,
    /// Whether it has to be tried again soon.
    pub incomplete: bool,
}

impl Engine {
    /// Reads the table, loads the programs, and adopts what an earlier daemon left.
    pub fn start(
        name: &Name,
        mut table: Table,
        config: Config,
        facts: Arc<HostFacts>,
    ) -> anyhow::Result<Self> {
        let location = location_of(&table);
        // What expired while no daemon ran is not served for another moment.
        expire(&mut table, &facts);
        // A table that cannot be read must not look like an empty one.
        let snapshot = table.snapshot()?;
        let pins = Pins::new(name);
        let (kernel, programs) = plane::load(&pins, &Limits::from(&config.maps), tag(&location))?;
        let applied = kernel.word(StatusWord::Revision)?;
        check_not_emptied(&table, &snapshot, applied)?;
        let reconciler = Reconciler::adopt(kernel)?;
        Ok(Self {
            config,
            file: table.file(),
            table,
            location,
            snapshot,
            reconciler,
            programs,
            links: Links::new(&pins),
            attached: Vec::new(),
            failures: BTreeMap::new(),
            announced_on: Vec::new(),
            settings: BTreeSet::new(),
            facts,
            complete: false,
            unpublished: false,
            report: None,
            report_path: Report::path(name),
            told: BTreeSet::new(),
        })
    }

    /// Makes the kernel what the table wants now, if there is something to do.
    pub fn sync(&mut self, facts: Arc<HostFacts>) -> Outcome {
        let mut outcome = Outcome::default();
        let table_changed = match self.refresh() {
            Ok(changed) => changed,
            Err(error) => {
                error!(%error, "the table cannot be followed; forwarding goes on as it was");
                outcome.incomplete = true;
                false
            }
        };
        let facts_changed = self.relevant(&facts) != self.relevant(&self.facts);
        self.facts = facts;
        if table_changed || facts_changed || !self.complete || self.retry_failures() {
            self.apply(&mut outcome);
        }
        outcome.incomplete |= !self.complete || !self.failures.is_empty();
        outcome.settings.clone_from(&self.settings);
        outcome.next_hops = next_hops(&self.config, &self.facts);
        match self.table.next_expiry() {
            Ok(next) => outcome.next_expiry = next,
            Err(error) => {
                warn!(%error, "when the next EIP expires is unknown");
                outcome.incomplete = true;
            }
        }
        outcome
    }

    /// What of the facts the image hangs on: a busy link has neighbours that come and go all the time.
    fn relevant<'a>(&self, facts: &'a HostFacts) -> Relevant<'a> {
        let next_hops = next_hops(&self.config, facts);
        let macs = next_hops
            .into_iter()
            .map(|(ifindex, address)| (ifindex, address, facts.mac_of(ifindex, address)))
            .collect();
        (&facts.links, &facts.addresses, macs)
    }

    /// Reads the table again if its revision is another one, or its file.
    fn refresh(&mut self) -> Result<bool, TableError> {
        self.table.follow_path()?;
        let is_same_file = self.table.file() == self.file;
        let revision = self.table.revision()?;
        if is_same_file && revision == self.snapshot.revision && self.complete {
            return Ok(false);
        }
        let snapshot = self.table.snapshot()?;
        check_not_emptied(&self.table, &snapshot, self.snapshot.revision)?;
        if !is_same_file {
            warn!(
                revision,
                "another file is at the table's path; following it"
            );
        }
        self.snapshot = snapshot;
        self.file = self.table.file();
        self.cut_off_expired();
        Ok(true)
    }

    fn apply(&mut self, outcome: &mut Outcome) {
        let step = self
            .reconciler
            .step(&self.snapshot.model, &self.facts, &self.config);
        self.complete = step.error.is_none();
        let wanted = self.with_guards(&step.image.attachments);
        if wanted != self.attached || !self.failures.is_empty() || !self.complete {
            match self.links.sync(&mut self.programs, &wanted) {
                Ok(failures) => {
                    self.failures = failures;
                    self.attached = wanted;
                }
                Err(error) => {
                    error!(%error, "programs cannot be attached");
                    self.complete = false;
                }
            }
        }
        if let Some(error) = &step.error {
            error!(%error, "the kernel does not have all that the table wants; trying again");
        }
        self.unpublished = step.error.is_none();
        let (revision, writes) = (self.snapshot.revision, step.writes);
        if writes > 0 {
            info!(revision, writes, complete = self.complete, "synced");
        } else {
            debug!(
                revision,
                complete = self.complete,
                "synced, nothing to write"
            );
        }
        let mut report = Report::new(
            &self.location,
            &self.snapshot.model,
            &self.facts,
            &self.config,
            &step.image,
            &self.attached,
            &self.failures,
        );
        report.error = step.error.as_ref().map(ToString::to_string);
        self.tell(report);
        outcome.moved = step.moved;
        outcome.silenced = step.silenced;
        outcome.announce_on = self.announce_on();
        if outcome.announce_on != self.announced_on {
            // Another uplink, another Ethernet address, a link that came back, or a daemon that just started:
            // neighbours may know another place of any EIP.
            outcome.moved = image::moved(&Content::default(), &step.image.content);
            self.announced_on.clone_from(&outcome.announce_on);
        }
        self.settings = step.image.settings;
        outcome.directory = Some(Arc::new(step.image.directory));
    }

    /// Tries again to attach what could not be attached. Returns whether that changed anything: compiling a large table
    /// every two seconds because another XDP program is on the uplink would be too much.
    fn retry_failures(&mut self) -> bool {
        if self.failures.is_empty() {
            return false;
        }
        match self.links.sync(&mut self.programs, &self.attached) {
            Ok(failures) if failures == self.failures => false,
            Ok(_) | Err(_) => true,
        }
    }

    /// The attachments, and what stays on ports that ENIs have left.
    fn with_guards(&self, attachments: &[Attachment]) -> Vec<Attachment> {
        let mut all = attachments.to_vec();
        let pinned = self.links.pinned().unwrap_or_default();
        let used: BTreeSet<u32> = attachments.iter().map(|one| one.ifindex).collect();
        let guards = pinned
            .iter()
            .filter(|pin| pin.program == Program::PortTc && !used.contains(&pin.ifindex))
            .filter_map(|pin| attach::guard(pin.ifindex, self.facts.links.get(&pin.ifindex)?));
        all.extend(guards);
        all
    }

    /// Publishes what the maps hold. Once the guests' servers know it, too: who waited for it asks them next.
    pub fn publish(&mut self) {
        if !std::mem::take(&mut self.unpublished) {
            return;
        }
        if let Err(error) = self.write_revision() {
            error!(%error, "what is applied cannot be published");
            self.complete = false;
        }
    }

    /// The revision comes last, because others wait for it.
    fn write_revision(&mut self) -> Result<(), PlaneError> {
        let kernel = &mut self.reconciler.plane;
        kernel.set_word(StatusWord::AppliedAt, boot_time())?;
        kernel.set_word(StatusWord::TableFile, tag_of_file(self.file))?;
        kernel.set_word(StatusWord::Revision, self.snapshot.revision)
    }

    /// Lets indexes that were taken back be used again; waits for running programs if there are such.
    pub fn settle(&mut self) {
        if let Err(error) = self.reconciler.settle() {
            warn!(%error, "the end of running programs cannot be awaited");
        }
    }

    /// Writes each new warning to the log, and all of them to the report.
    fn tell(&mut self, report: Report) {
        let warnings: BTreeSet<String> = report.warnings.iter().cloned().collect();
        for warning in warnings.difference(&self.told) {
            warn!("{warning}");
        }
        self.told = warnings;
        if self.report.as_ref() == Some(&report) {
            return;
        }
        match report.write(&self.report_path) {
            Ok(()) => self.report = Some(report),
            Err(error) => {
                warn!(%error, path = %self.report_path.display(), "no report for `status`");
            }
        }
    }

    /// Reads the maps back, looks at each program's link, and mends what another program changed. Fails if the pins are
    /// gone: then nothing is forwarded, and only a daemon that starts anew can load all of it again.
    pub fn audit(&mut self) -> Result<(), PlaneError> {
        self.links.check_maps()?;
        match self.reconciler.audit() {
            Ok(0) => {}
            Ok(differences) => {
                warn!(differences, "mending the kernel's maps");
                self.complete = false;
            }
            Err(error) => warn!(%error, "the maps cannot be verified"),
        }
        self.links.forget();
        match self.links.sync(&mut self.programs, &self.attached) {
            Ok(failures) => self.failures = failures,
            Err(error) => warn!(%error, "the programs' links cannot be verified"),
        }
        Ok(())
    }

    /// Ends the associations of EIPs whose time is over, in the table.
    pub fn expire(&mut self) {
        expire(&mut self.table, &self.facts);
    }

    /// Likewise in what was read of the table: until it is written, or where it cannot be, they are not served all the
    /// same.
    pub fn cut_off_expired(&mut self) {
        let context = context(&self.facts);
        match rules::decide(&self.snapshot.model, &Command::Expire, &context) {
            Ok(decision) if decision.changes.is_empty() => {}
            Ok(decision) => {
                self.snapshot.model.change(&decision.changes);
                self.complete = false;
            }
            Err(error) => error!(%error, "expired EIPs cannot be cut off"),
        }
    }

    fn announce_on(&self) -> Vec<(LinkKey, [u8; 6])> {
        image::ways(&self.config, &self.facts)
            // Nothing is sent where the link is down, and what is behind it may be another switch when it comes back.
            .filter(|way| way.uplink.answer_arp && way.is_up())
            .map(|way| (way.key, way.mac()))
            .collect()
    }
}

/// Interfaces, addresses, and each next hop with its Ethernet address.
type Relevant<'a> = (
    &'a BTreeMap<u32, Link>,
    &'a Vec<(u32, IpNet)>,
    Vec<(u32, IpAddr, Option<[u8; 6]>)>,
);

fn next_hops(config: &Config, facts: &HostFacts) -> BTreeSet<(u32, IpAddr)> {
    image::ways(config, facts)
        .flat_map(|way| Family::ALL.map(|family| image::next_hop(facts, &way, family)))
        .flatten()
        .collect()
}

fn context(facts: &HostFacts) -> Context {
    Context {
        now: Timestamp::now(),
        host_addresses: facts.host_addresses().collect(),
    }
}

/// Ends the associations of EIPs whose time is over, in the table.
fn expire(table: &mut Table, facts: &HostFacts) {
    match table.execute(&Command::Expire, &context(facts)) {
        Ok(outcome) if outcome.changes.is_empty() => debug!("no EIP expired"),
        Ok(outcome) => {
            for change in outcome.changes {
                info!(%change, "expired");
            }
        }
        Err(error) => {
            error!(%error, "expired EIPs cannot be ended in the table; they are cut off, trying again");
        }
    }
}

/// Refuses a table without any content where one with content was: most likely the file was moved away, and the next
/// command made a new one. Nobody wants every guest cut off for it.
fn check_not_emptied(table: &Table, snapshot: &Snapshot, applied: u64) -> Result<(), TableError> {
    if snapshot.revision == 0 && applied > 0 {
        return Err(TableError::Emptied {
            path: table.path().to_owned(),
            applied,
        });
    }
    Ok(())
}

/// What tells a table's file from others at the same location, as it is published.
pub fn tag_of_file((device, inode): FileId) -> u64 {
    tag(&format!("{device}:{inode}"))
}

/// The table's location, the same however its path was written.
pub fn location_of(table: &Table) -> String {
    let path = table.path();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    format!("sqlite:{}", path.display())
}

/// Nanoseconds since the machine started, of `CLOCK_BOOTTIME`.
fn boot_time() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one `timespec`, and `now` is one.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

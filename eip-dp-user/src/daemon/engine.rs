//! The part of the daemon that blocks: table, maps and links. It runs beside the reactor, one sync
//! at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    num::NonZero,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use eip_dp_common::abi::{LinkKey, StatusWord};
use ipnet::IpNet;
use jiff::Timestamp;
use tracing::{debug, error, info, warn};

use super::{
    answering::{Answering, Moves, Orders},
    logging::{Named, milliseconds},
    memory,
    presence::Presence,
    readers::{Followed, Readers},
    report::{self, ConflictReport, Report},
};
use crate::{
    announce::{self, Own},
    attach::{self, Attachment, Program},
    cli::Name,
    compile::{self, Egress, Gateway, Limits, Mouths, tag},
    config::Config,
    guests::LeaseTable,
    host::{self, Doubt, Family, HostFacts, Link, OwnPorts, Resolver, Route, Setting},
    kernel::{
        self, Kernel, Loaded, Pinned, Pins, Plane, PlaneError, ProgramLinks, Programs, Resize,
        ServedTable,
    },
    model::{Change, Context, command::Command, rules},
    reconcile::{Reconciler, Step},
    shared::{Claims, Shared, Sharers},
    survey::ReportContext,
    table::{FileId, Snapshot, Stamp, Table, TableError, Trace},
};

/// Everything that a sync needs.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each says of itself whether one thing is left to do"
)]
pub struct Engine {
    config: Config,
    table: Table,
    location: String,
    snapshot: Snapshot,
    /// The file that the snapshot is of.
    file: FileId,
    /// How often all of it was read.
    generation: u64,
    /// The history that it is of.
    trace: Option<Trace>,
    /// The table's revision and when its file was last written, as of the last look.
    seen: Option<(u64, Option<Stamp>)>,
    /// Whether the table's file was not whole when it was last looked at.
    broken: bool,
    /// Since when another process holds the table.
    busy_since: Option<Instant>,
    /// Why the table is not followed.
    table_error: Option<String>,
    reconciler: Reconciler<Kernel>,
    programs: Programs,
    links: ProgramLinks,
    /// Whose place the maps are to take after the first sync.
    resize: Option<Resize>,
    attached: Vec<Attachment>,
    failures: BTreeMap<Pinned, String>,
    answering: Answering,
    /// What the announcer knows of this host.
    own: Own,
    presence: Presence,
    presence_path: PathBuf,
    settings: Arc<BTreeSet<(u32, Setting)>>,
    facts: Arc<HostFacts>,
    next_hops: BTreeSet<(u32, IpAddr)>,
    /// What was cut off of the model because its time was over, and is not known to be so in the
    /// table.
    cut_off: Vec<Change>,
    /// Which ENIs have the private addresses that several share.
    shared: Shared,
    sharers: Arc<Sharers>,
    claims: Claims,
    /// Whether the model may be another than the table's.
    full_sync_requested: bool,
    /// Whether the last sync did all that it wanted.
    complete: bool,
    /// Whether it did more than is published.
    unpublished: bool,
    /// Why the last step did not do all that it wanted.
    error: Option<String>,
    report: Option<Report>,
    report_path: PathBuf,
    told: BTreeSet<String>,
    /// Whether there is more to tell than is written.
    report_is_due: bool,
    /// Whether the compiler's memory is still this process's.
    has_spare_memory: bool,
    /// Who makes copies for a group of users, if there is such a group.
    readers: Option<Readers>,
}

/// What the reactor has to know after a sync.
#[derive(Debug, Default)]
pub struct SyncOutcome {
    /// What guests are told from now on; `None`: as before.
    pub directory: Option<Arc<LeaseTable>>,
    /// What the announcer is to do about EIPs.
    pub orders: Orders,
    /// The ports on which no gateway is to be announced any longer.
    pub left: BTreeSet<LinkKey>,
    /// The gateways to announce to guests.
    pub gateways: BTreeSet<Gateway>,
    /// The settings of interfaces that are needed.
    pub settings: Arc<BTreeSet<(u32, Setting)>>,
    /// The next hops to keep resolved.
    pub next_hops: BTreeSet<(u32, IpAddr)>,
    /// When the next EIP expires.
    pub next_expiry: Option<Timestamp>,
    /// When a shared address can move again that has been announced elsewhere.
    pub next_claim: Option<Instant>,
    /// Whether it has to be tried again soon.
    pub incomplete: bool,
    /// Whether there is something to do that can wait a little.
    pub has_housekeeping: bool,
}

impl SyncOutcome {
    /// Of two syncs, one after the other.
    fn and(mut self, later: Self) -> Self {
        self.orders.extend(later.orders);
        self.left.extend(later.left);
        self.gateways.extend(later.gateways);
        Self {
            directory: later.directory.or(self.directory),
            orders: self.orders,
            left: self.left,
            gateways: self.gateways,
            ..later
        }
    }
}

/// What the table has that the model has not.
enum TableUpdate {
    /// Nothing.
    None,
    /// Some changes. The model does not have them yet.
    Changes(Vec<Change>),
    /// Anything: the model was read anew.
    All,
}

/// With so many ENIs the report, which looks at all of them, is made after what was waited for, and
/// not for each change.
const LARGE: usize = 4096;

impl Engine {
    /// Reads the table, loads the programs, and adopts what an earlier daemon left.
    pub fn start(
        name: &Name,
        mut table: Table,
        config: Config,
        facts: Arc<HostFacts>,
        readers: Option<Readers>,
    ) -> anyhow::Result<Self> {
        let location = location_of(&table);
        let pins = Pins::new(name);
        let served = ServedTable {
            location: tag(&location),
            identity: table.identity(),
            applied: 0,
            file: 0,
        };
        // What expired while no daemon ran is not served for another moment.
        expire(&mut table, &facts, &config);
        let limits = Limits::from(&config.maps);
        let at_once = programs_at_once(&table);
        let (snapshot, loaded) = thread::scope(|threads| {
            let loading = threads.spawn(|| -> Result<_, PlaneError> {
                let Loaded {
                    kernel,
                    programs,
                    resize,
                } = kernel::load(&pins, &limits, &served, at_once)?;
                let applied = kernel.word(StatusWord::Revision)?;
                Ok((Reconciler::adopt(kernel)?, programs, resize, applied))
            });
            let snapshot = table.sound_snapshot();
            let loaded = loading.join();
            (
                snapshot,
                loaded.unwrap_or_else(|panic| resume_unwind(panic)),
            )
        });
        // A table that cannot be read must not look like an empty one.
        let mut snapshot = snapshot?;
        let mut shared = Shared::open(super::shared_path(name), table.identity());
        let (reconciler, programs, resize, applied) = loaded?;
        check_not_emptied(&table, &snapshot, applied)?;
        shared.resolve(&mut snapshot.model);
        let mut answering = Answering::default();
        answering.know(&snapshot.model);
        let presence = Presence::read(&Presence::path(name));
        let mut presence = presence
            .filter(|one| one.serves(&location, table.identity()))
            .unwrap_or_default();
        presence.table.clone_from(&location);
        presence.identity = table.identity().map(|identity| identity.to_string());
        // The uplinks had these when the last daemon ended.
        let uplinks = reconciler.have().content.uplinks.values();
        presence.note(uplinks.map(|uplink| uplink.mac));
        tell_of_older(&snapshot, applied);
        tell_of_unread(&snapshot, &[]);
        let trace = table.trace(snapshot.revision)?;
        table.be_brief()?;
        Ok(Self {
            trace,
            file: table.file(),
            generation: 0,
            table,
            location,
            snapshot,
            reconciler,
            programs,
            links: ProgramLinks::new(&pins),
            resize,
            attached: Vec::new(),
            failures: BTreeMap::new(),
            answering,
            own: Own::default(),
            presence,
            presence_path: Presence::path(name),
            settings: Arc::default(),
            next_hops: next_hops(&config, &facts),
            config,
            facts,
            cut_off: Vec::new(),
            shared,
            sharers: Arc::default(),
            claims: Claims::default(),
            full_sync_requested: false,
            seen: None,
            broken: false,
            busy_since: None,
            table_error: None,
            complete: false,
            unpublished: false,
            error: None,
            report: None,
            report_path: Report::path(name),
            told: BTreeSet::new(),
            report_is_due: false,
            has_spare_memory: false,
            readers,
        })
    }

    /// Makes the kernel what the table wants now, if there is something to do, and takes note of
    /// what the links say. `is_time`: the time of an EIP is over. Fails if the kernel refuses the
    /// programs, or if the maps cannot get other sizes: those that there were forward on.
    pub fn sync(
        &mut self,
        facts: Arc<HostFacts>,
        heard: &[announce::AnnouncerEvent],
        is_time: bool,
    ) -> Result<SyncOutcome, PlaneError> {
        let mut outcome = SyncOutcome::default();
        let start = Instant::now();
        // First: what is done below goes by it.
        let (kernel, have) = self.reconciler.parts();
        self.answering
            .hear(heard, &have.content, kernel, &mut outcome.orders);
        let news = self.refresh();
        self.tell_of_table(news.as_ref().err());
        let news = news.unwrap_or_else(|_| {
            outcome.incomplete = true;
            TableUpdate::None
        });
        let reading = start.elapsed();
        match self.table.next_expiry() {
            Ok(next) => outcome.next_expiry = next,
            // What is wrong with the table is told.
            Err(error) => {
                debug!(%error, "when the next EIP expires is unknown");
                outcome.incomplete = true;
            }
        }
        let now = Timestamp::now();
        let is_time = is_time || outcome.next_expiry.is_some_and(|next| next <= now);
        let mut came_up = BTreeSet::new();
        let facts_changed = !Arc::ptr_eq(&facts, &self.facts)
            && self.relevant(&facts) != self.relevant(&self.facts);
        let is_first = self.own == Own::default();
        if !Arc::ptr_eq(&facts, &self.facts) || is_first {
            self.next_hops = next_hops(&self.config, &facts);
            came_up = links_that_came_up(&self.facts, &facts);
        }
        let is_anew = facts_changed && self.forget_those_made_anew(&facts);
        self.facts = facts;
        if facts_changed || is_first {
            self.note_host(&mut outcome);
        } else if !self.presence_path.exists() {
            self.write_presence();
        }
        let mut whole = facts_changed || !self.complete || self.retry_failures();
        // What the log says of a sync of everything: what it is for.
        let mut objects = match &news {
            TableUpdate::None if facts_changed => Named::one("all, as the host changed"),
            TableUpdate::None | TableUpdate::All => Named::one("all"),
            TableUpdate::Changes(changes) => Named::of(changes),
        };
        match news {
            TableUpdate::None => {}
            TableUpdate::Changes(changes) if whole => {
                self.answering.follow(&changes);
                self.snapshot.model.change(&changes);
            }
            TableUpdate::Changes(changes) => whole = !self.follow(&changes, reading, &mut outcome),
            TableUpdate::All => {
                self.answering.know(&self.snapshot.model);
                whole = true;
            }
        }
        let claimed = self
            .shared
            .follow(&self.claims, &self.snapshot.model, Instant::now());
        objects.add(&claimed);
        whole = self.also(&claimed, whole, &mut outcome);
        outcome.next_claim = self.shared.next_due();
        if is_time {
            let changes = self.cut_off();
            objects.add(&changes);
            whole = self.also(&changes, whole, &mut outcome);
        }
        if whole {
            let (model, facts) = (&self.snapshot.model, &self.facts);
            let mut step = self.reconciler.step(model, facts, &self.config);
            step.unaware.interfaces = came_up;
            // Nothing is attached before.
            self.programs.wait()?;
            if let Some(resize) = self.resize.take() {
                self.switch(resize, &step)?;
            }
            self.apply(step, true, reading, &objects, &mut outcome);
            let sharers = self.shared.sharers(&self.snapshot.model, &self.facts);
            if *self.sharers != sharers {
                self.sharers = Arc::new(sharers);
                outcome.directory = Some(self.directory());
            }
            if self.bind() {
                let later = self.sync(self.facts.clone(), &[], false)?;
                return Ok(outcome.and(later));
            }
            if is_anew {
                // The kernel took away what of the maps was about those before.
                self.audit()?;
            }
            self.tell();
            self.has_spare_memory |= self.is_large();
        }
        if self.answering.take_news() {
            self.tell();
        }
        outcome.incomplete |= !self.complete || !self.failures.is_empty();
        outcome.settings.clone_from(&self.settings);
        outcome.next_hops.clone_from(&self.next_hops);
        let indexes = &self.reconciler.have().allocations;
        outcome.has_housekeeping =
            self.report_is_due || self.has_spare_memory || indexes.has_quarantined();
        Ok(outcome)
    }

    /// Makes changes that are not the table's, at once unless everything is compiled anyway.
    /// Returns whether it is.
    fn also(&mut self, changes: &[Change], whole: bool, outcome: &mut SyncOutcome) -> bool {
        if whole {
            self.snapshot.model.change(changes);
        }
        whole || (!changes.is_empty() && !self.follow(changes, Duration::ZERO, outcome))
    }

    /// Puts the maps that the step has filled in the place of those in use.
    fn switch(&mut self, resize: Resize, step: &Step) -> Result<(), PlaneError> {
        let refused = |reason: &str| {
            let message = format!("the maps keep the sizes that they have: {reason}");
            Err(PlaneError(message))
        };
        if let Some(error) = &step.error {
            return refused(&error.to_string());
        }
        let limits = self.reconciler.plane.limits();
        if self.reconciler.over_capacity() && resize.is_smaller(&limits) {
            let warnings = self.reconciler.served().warnings();
            let full: Vec<&str> = warnings
                .iter()
                .map(String::as_str)
                .filter(|text| compile::limits::says_full(text))
                .collect();
            return refused(&full.join("; "));
        }
        let kernel = &mut self.reconciler.plane;
        resize.switch(kernel, &mut self.programs, &mut self.links)
    }

    /// What of the facts the image hangs on: a busy link has neighbours that come and go all the
    /// time.
    fn relevant<'a>(&self, facts: &'a HostFacts) -> Relevant<'a> {
        let macs = compile::next_hops(&self.config, facts)
            .map(|(_, (ifindex, address))| (ifindex, address, facts.offered_mac(ifindex, address)))
            .collect();
        // Of a route without a router there is a warning.
        let routes = facts.routes.iter().filter(|route| route.gateway.is_none());
        let routes = routes.copied().collect();
        Relevant {
            links: &facts.links,
            altnames: &facts.altnames,
            addresses: &facts.addresses,
            resolver: &facts.resolver,
            macs,
            routers: compile::routers(&self.config, facts),
            doubts: &facts.doubts,
            routes,
        }
    }

    /// Reads what is new in the table; all of it if its file is another one, or does not tell. What
    /// is not whole, or not this table, is left alone.
    fn refresh(&mut self) -> Result<TableUpdate, TableError> {
        let news = self.read_news();
        match &news {
            Ok(_) => self.broken = false,
            Err(TableError::Busy { .. }) => {}
            Err(_) => self.broken = true,
        }
        news
    }

    /// Whether another program wrote over the table's file since it was looked at last: it has
    /// changed, and its revision has not.
    fn is_written_over(&self) -> Result<bool, TableError> {
        let Some((revision, stamp)) = self.seen else {
            return Ok(false);
        };
        let now = self.table.state()?;
        Ok(now.0 == revision && now.1 != stamp)
    }

    fn read_news(&mut self) -> Result<TableUpdate, TableError> {
        let other = self.table.at_path()?;
        let is_same_file = other.is_none();
        if is_same_file {
            if self.broken || self.is_written_over()? {
                self.table = self.table.opened_anew()?;
                // A row that could not be read may have been corrected.
                self.full_sync_requested |= !self.snapshot.not_live.is_empty();
            }
            let state = self.table.state()?;
            self.seen = Some(state);
            self.table.check_identity()?;
            self.follow_location();
            let is_same_history = self.table.trace(self.snapshot.revision)? == self.trace;
            if is_same_history && !self.full_sync_requested && !self.broken {
                let is_current = state.0 == self.snapshot.revision;
                if is_current && (self.complete || self.cut_off.is_empty()) {
                    return Ok(TableUpdate::None);
                }
                if self.cut_off.is_empty()
                    && let Some(delta) = self.table.changes_since(self.snapshot.revision)?
                    && !self.shared.concerns(&delta.changes)
                {
                    self.trace = self.table.trace(delta.revision)?;
                    self.snapshot.revision = delta.revision;
                    return Ok(TableUpdate::Changes(delta.changes));
                }
            }
        }
        let table = other.as_ref().unwrap_or(&self.table);
        let snapshot = table.sound_snapshot()?;
        tell_of_unread(&snapshot, &self.snapshot.not_live);
        check_not_emptied(table, &snapshot, self.snapshot.revision)?;
        self.trace = table.trace(snapshot.revision)?;
        tell_of_older(&snapshot, self.snapshot.revision);
        if let Some(other) = other {
            let revision = snapshot.revision;
            warn!(
                revision,
                "another file is at the table's path, a copy of it; following it"
            );
            self.table = other;
        }
        self.follow_location();
        self.snapshot = snapshot;
        self.shared.resolve(&mut self.snapshot.model);
        self.file = self.table.file();
        self.generation += 1;
        self.cut_off.clear();
        self.full_sync_requested = false;
        Ok(TableUpdate::All)
    }

    /// The same path may lead elsewhere by now: its folder was moved, a link stands in its place.
    /// Commands find the table by where it is, and whoever looks reads it in the maps.
    fn follow_location(&mut self) {
        let location = location_of(&self.table);
        if location != self.location {
            info!(location, "the table is at another place");
            self.location = location;
            self.presence.table.clone_from(&self.location);
            self.write_presence();
            self.unpublished = true;
            self.report_is_due = true;
        }
    }

    /// Says once why the table is not followed, and once that it is again. That another process
    /// writes to it for a moment is nothing to tell.
    fn tell_of_table(&mut self, error: Option<&TableError>) {
        const LONG: Duration = Duration::from_secs(10);
        if let Some(TableError::Busy { .. }) = error {
            let since = *self.busy_since.get_or_insert_with(Instant::now);
            if since.elapsed() < LONG {
                return;
            }
        } else {
            self.busy_since = None;
        }
        let error = error.map(ToString::to_string);
        if error == self.table_error {
            return;
        }
        if let Some(error) = &error {
            error!(%error, "the table cannot be followed; forwarding goes on as it was");
        } else {
            info!("the table is followed again");
        }
        self.table_error = error;
        self.report_is_due = true;
        self.write_report();
    }

    /// Carries out changes by themselves. `false` if everything has to be compiled.
    fn follow(&mut self, changes: &[Change], reading: Duration, outcome: &mut SyncOutcome) -> bool {
        self.answering.follow(changes);
        let model = &mut self.snapshot.model;
        let followed = self
            .reconciler
            .follow(model, changes, &self.facts, &self.config);
        let Some(step) = followed else { return false };
        let is_told = step.settings
            || step.attachments
            || step.error.is_some()
            || changes.iter().any(|change| self.is_told(change));
        self.apply(step, false, reading, &Named::of(changes), outcome);
        if is_told {
            self.tell();
        }
        true
    }

    /// What a step entails besides the maps.
    fn apply(
        &mut self,
        step: Step,
        is_whole: bool,
        reading: Duration,
        objects: &Named,
        outcome: &mut SyncOutcome,
    ) {
        self.complete = step.error.is_none();
        // What the host uses itself may be another in a whole step, too.
        if is_whole || step.attachments || !self.failures.is_empty() || !self.complete {
            self.attach();
        }
        if let Some(error) = &step.error {
            error!(%error, "the kernel does not have all that the table wants; trying again");
        }
        self.error = step.error.as_ref().map(ToString::to_string);
        self.unpublished = step.error.is_none();
        let (revision, writes, complete) = (self.snapshot.revision, step.writes, self.complete);
        let [read_ms, compile_ms, write_ms] =
            [reading, step.compiling, step.writing].map(milliseconds);
        if writes > 0 && complete {
            info!(
                revision,
                writes, complete, read_ms, compile_ms, write_ms, %objects, "synced"
            );
        } else if writes > 0 {
            // Tried again soon, and the error is said.
            debug!(
                revision,
                writes, complete, read_ms, compile_ms, write_ms, %objects, "synced in part"
            );
        } else {
            debug!(
                revision,
                complete, read_ms, compile_ms, "synced, nothing to write"
            );
        }
        // Uplinks and pools change in whole steps alone.
        let mouths = is_whole.then(|| Mouths::new(&self.snapshot.model, &self.facts, &self.config));
        let moves = Moves {
            moved: step.moved,
            withdrawn: step.withdrawn,
            begun: step.begun,
            ended: step.ended,
        };
        let (kernel, have) = self.reconciler.parts();
        self.answering
            .step(mouths, &moves, &have.content, kernel, &mut outcome.orders);
        let served = self.reconciler.served();
        let content = &self.reconciler.have().content;
        let gateways = step.unaware.gateways(content, &served.directory);
        outcome.gateways.extend(gateways);
        outcome.left.extend(step.unaware.left);
        if step.settings {
            self.settings = Arc::new(served.settings.clone());
        }
        if step.directory {
            outcome.directory = Some(self.directory());
        }
    }

    /// What guests are told, and who of them shares addresses.
    fn directory(&self) -> Arc<LeaseTable> {
        Arc::new(LeaseTable {
            sharers: self.sharers.clone(),
            ..self.reconciler.served().directory.clone()
        })
    }

    /// Follows what guests announce there.
    pub fn hear(&mut self, claims: Claims) {
        self.claims = claims;
    }

    /// Tells others what this host is now: the announcer, and who asks the gateway's file.
    fn note_host(&mut self, outcome: &mut SyncOutcome) {
        let ways = || compile::ways(&self.config, &self.facts);
        let own = Own {
            macs: self.facts.links.values().map(|link| link.mac).collect(),
            uplinks: ways()
                .filter(|way| way.uplink.answer_arp && !way.is_layer3() && way.is_up())
                .filter_map(|way| Some((way.home?.0, way.mac())))
                .collect(),
        };
        if own != self.own {
            self.own.clone_from(&own);
            outcome.orders.own = Some(own);
        }
        let before = self.presence.clone();
        let with_ethernet = ways().filter(|way| !way.is_layer3());
        self.presence.note(with_ethernet.map(|way| way.mac()));
        self.presence.next_hops = compile::routers(&self.config, &self.facts);
        if self.presence != before || !self.presence_path.exists() {
            self.write_presence();
        }
    }

    /// Writes what others on this host have to know, after a change, or because the file is lost.
    fn write_presence(&self) {
        if let Err(error) = self.presence.write(&self.presence_path) {
            warn!(%error, path = %self.presence_path.display(), "other programs do not learn of this gateway's uplinks");
        }
    }

    fn attach(&mut self) {
        let wanted = self.with_guards(&self.reconciler.served().attachments);
        if wanted == self.attached && self.failures.is_empty() && self.complete {
            return;
        }
        self.reconciler.plane.go_live();
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

    /// Notes in the table which interfaces the ports are of ENIs that stay with one. Returns
    /// whether there were such; where the table cannot be written, it is tried again.
    fn bind(&mut self) -> bool {
        let unbound = self.reconciler.served().unbound().to_vec();
        let mut bound = false;
        for (id, ifindex) in unbound {
            let Some(link) = self.facts.links.get(&ifindex) else {
                continue;
            };
            let command = Command::EniBind {
                id: id.clone(),
                bound: host::identity_of(ifindex, link),
            };
            match self
                .table
                .execute(&command, &context(&self.facts, &self.config))
            {
                Ok(outcome) => bound |= !outcome.changes.is_empty(),
                Err(error) => {
                    warn!(%error, eni = id, "its port's interface cannot be noted, so it is not served; trying again");
                    self.complete = false;
                }
            }
        }
        bound
    }

    /// Whether an interface that has programs went, and one with its index is there already: its
    /// links ended with the one before.
    fn forget_those_made_anew(&mut self, facts: &HostFacts) -> bool {
        let mut attached = self.attached.iter();
        let is_any = attached.any(|one| {
            let incarnation = |facts: &HostFacts| facts.links.get(&one.ifindex)?.incarnation;
            let (before, now) = (incarnation(&self.facts), incarnation(facts));
            before.is_some() && now.is_some() && before != now
        });
        if is_any {
            self.links.forget();
        }
        is_any
    }

    /// Tries again to attach what could not be attached. Returns whether that changed anything:
    /// compiling a large table every two seconds because another XDP program is on the uplink would
    /// be too much.
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
        let left = pinned.iter().filter(|pin| pin.program == Program::PortTc);
        let left = left.map(|pin| pin.ifindex);
        let mut guarded: BTreeSet<u32> = left.filter(|ifindex| !used.contains(ifindex)).collect();
        if !guarded.is_empty() {
            // What the host uses itself is given back to it, also as another gateway's uplink.
            let mut uplinks = self.config.own_uplinks();
            uplinks.extend(Report::uplinks_of_all());
            let own = OwnPorts::new(&self.facts, &uplinks);
            guarded.retain(|ifindex| {
                let link = self.facts.links.get(ifindex);
                link.is_some_and(|link| !own.has(*ifindex, link))
            });
        }
        guarded.extend(self.reconciler.served().closed());
        let guarded = guarded.difference(&used);
        let guards = guarded.filter_map(|ifindex| {
            let link = self.facts.links.get(ifindex)?;
            attach::can_be_port(link).ok()?;
            Some(attach::guard(*ifindex, link))
        });
        all.extend(guards);
        all
    }

    /// Publishes what the maps hold. Once the guests' servers know it, too: who waited for it asks
    /// them next.
    pub fn publish(&mut self) {
        if !std::mem::take(&mut self.unpublished) {
            return;
        }
        if let Err(error) = self.write_revision() {
            error!(%error, "what is applied cannot be published");
            self.complete = false;
        }
        self.tell_readers();
    }

    /// What commands of a group of users say is made anew, soon.
    fn tell_readers(&self) {
        if let Some(readers) = &self.readers {
            readers.tell(Followed {
                url: self.location.clone(),
                identity: self.table.identity(),
                applied: (self.file, self.generation, self.snapshot.revision),
            });
        }
    }

    fn write_revision(&mut self) -> Result<(), PlaneError> {
        kernel::publish(
            &mut self.reconciler.plane,
            tag(&self.location),
            tag_of_file(self.file),
            self.snapshot.revision,
        )
    }

    /// Lets indexes that were taken back be used again; waits for running programs if there are
    /// such.
    pub fn reclaim(&mut self) {
        if let Err(error) = self.reconciler.reclaim() {
            warn!(%error, "the end of running programs cannot be awaited");
        }
    }

    /// Writes each new warning to the log, and the report, at once or later.
    fn tell(&mut self) {
        let served = self.reconciler.served().warnings();
        let (conflicts, more) = self.conflicts();
        let mut warnings: BTreeSet<String> = served
            .iter()
            .chain(self.failures.values())
            .cloned()
            .collect();
        warnings.extend(conflicts.iter().map(ToString::to_string));
        warnings.extend(more);
        for warning in warnings.difference(&self.told) {
            warn!("{warning}");
        }
        self.told = warnings;
        self.report_is_due = true;
        if !self.is_large() {
            self.write_report();
        }
    }

    /// Whether a change that is served by itself changes what there is to tell. What is not served
    /// is compiled with everything. Whether there is an EIP of a family matters where nothing can
    /// be sent for it; a large table is not looked through for each association while all can be.
    fn is_told(&self, change: &Change) -> bool {
        let content = &self.reconciler.have().content;
        match change {
            Change::Eni(_) => true,
            Change::Association(diff) => {
                let one = diff.after.as_ref().or(diff.before.as_ref());
                let family = one.map(|one| Family::of(one.private_ip));
                family.is_some_and(|family| content.egress(family) != Egress::Ready)
            }
            _ => false,
        }
    }

    fn conflicts(&self) -> (Vec<ConflictReport>, Option<String>) {
        let (named, more) = report::conflicts(&self.snapshot.model, self.answering.conflicts());
        (named, more_conflicts(more))
    }

    fn is_large(&self) -> bool {
        self.snapshot.model.enis.len() >= LARGE
    }

    /// Gives memory back to the system that compiling a large table needed.
    pub fn give_memory_back(&mut self) {
        if std::mem::take(&mut self.has_spare_memory) {
            memory::give_back();
        }
    }

    /// Tells `status` what there is to tell, if anything is.
    pub fn write_report(&mut self) {
        if !std::mem::take(&mut self.report_is_due) {
            return;
        }
        let served = self.reconciler.served();
        let scene = ReportContext {
            model: &self.snapshot.model,
            facts: &self.facts,
            config: &self.config,
            egress: Family::ALL.map(|family| self.reconciler.have().content.egress(family)),
            unserved: served.unserved(),
            warnings: served.warnings(),
            failures: &self.failures,
        };
        let mut report = Report::new(&self.location, &scene, &self.attached);
        for sentence in &self.snapshot.not_live {
            report.serving.add(|| sentence.clone());
        }
        report.error = self.table_error.clone().or_else(|| self.error.clone());
        report.shared = self.shared.holders();
        let (conflicts, more) = report::conflicts(&self.snapshot.model, self.answering.conflicts());
        report
            .warnings
            .extend(conflicts.iter().map(ToString::to_string));
        report.warnings.extend(more_conflicts(more));
        (report.conflicts, report.more_conflicts) = (conflicts, more);
        // Somebody may have damaged the file, or cleaned it away.
        let is_told = self.report.as_ref() == Some(&report);
        if is_told && Report::read(&self.report_path).as_ref() == Some(&report) {
            return;
        }
        match report.write(&self.report_path) {
            Ok(()) => {
                self.report = Some(report);
                self.tell_readers();
            }
            Err(error) => {
                warn!(%error, path = %self.report_path.display(), "no report for `status`");
            }
        }
    }

    /// Reads the maps back, looks at each program's link, and mends what another program changed.
    /// Fails if the pins are gone: then nothing is forwarded, and only a daemon that starts anew
    /// can load all of it again.
    pub fn audit(&mut self) -> Result<(), PlaneError> {
        self.links.check_maps()?;
        self.report_is_due = true;
        // A cleaner may have taken it away, or somebody damaged it.
        if Presence::read(&self.presence_path).as_ref() != Some(&self.presence) {
            self.write_presence();
        }
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

    /// Has the next sync compile everything, from a table that is read anew.
    pub fn request_full_sync(&mut self) {
        self.full_sync_requested = true;
    }

    /// Ends the associations of EIPs whose time is over, in the table.
    pub fn expire(&mut self) {
        let expired = expire(&mut self.table, &self.facts, &self.config);
        // What the table has by now need not be read of it again.
        if expired == self.cut_off {
            self.cut_off.clear();
        }
    }

    /// Finds out what has to be cut off because its time is over: until it is written to the table,
    /// or where it cannot be, it is not served all the same.
    fn cut_off(&mut self) -> Vec<Change> {
        let context = context(&self.facts, &self.config);
        match rules::decide(&self.snapshot.model, &Command::Expire, &context) {
            Ok(decision) => {
                self.cut_off.extend(decision.changes.iter().cloned());
                decision.changes
            }
            Err(error) => {
                error!(%error, "expired EIPs cannot be cut off");
                Vec::new()
            }
        }
    }
}

/// What is said of those that are not named.
fn more_conflicts(count: usize) -> Option<String> {
    (count > 0).then(|| format!("other hosts have {count} more EIPs"))
}

/// What of the facts the image hangs on.
#[derive(PartialEq)]
struct Relevant<'a> {
    links: &'a BTreeMap<u32, Link>,
    altnames: &'a BTreeMap<String, u32>,
    addresses: &'a Vec<(u32, IpNet)>,
    resolver: &'a Resolver,
    /// Each next hop with its Ethernet address.
    macs: Vec<(u32, IpAddr, Option<[u8; 6]>)>,
    /// None of them is an EIP.
    routers: BTreeSet<IpAddr>,
    doubts: &'a BTreeMap<(u32, Family), Doubt>,
    routes: Vec<Route>,
}

/// The interfaces whose link came up: who is behind it now may know nothing of the gateway.
fn links_that_came_up(before: &HostFacts, now: &HostFacts) -> BTreeSet<u32> {
    let was_down = |index: &u32| before.links.get(index).is_some_and(|link| !link.up);
    let links = now.links.iter();
    links
        .filter(|(index, link)| link.up && was_down(index))
        .map(|(index, _)| *index)
        .collect()
}

/// The next hops that the kernel has to keep resolved.
fn next_hops(config: &Config, facts: &HostFacts) -> BTreeSet<(u32, IpAddr)> {
    compile::next_hops(config, facts)
        .filter(|(way, _)| way.uplink.next_hop_mac.is_none() && !way.is_layer3())
        .map(|(_, hop)| hop)
        .collect()
}

fn context(facts: &HostFacts, config: &Config) -> Context {
    Context {
        now: Timestamp::now(),
        host_addresses: facts.host_addresses().collect(),
        host_networks: facts.addresses.iter().map(|(_, net)| net.trunc()).collect(),
        // It attaches none.
        host_ports: Vec::new(),
        port: None,
        next_hops: compile::routers(config, facts).into_iter().collect(),
    }
}

/// Ends the associations of EIPs whose time is over, in the table.
fn expire(table: &mut Table, facts: &HostFacts, config: &Config) -> Vec<Change> {
    match table.execute(&Command::Expire, &context(facts, config)) {
        Ok(outcome) => {
            for change in &outcome.changes {
                info!(%change, "expired");
            }
            outcome.changes
        }
        Err(error) => {
            error!(%error, "expired EIPs cannot be ended in the table; they are cut off, trying again");
            Vec::new()
        }
    }
}

/// How many programs to have verified at a time: all processors' worth, but for one while a large
/// table is read, compiled and written beside.
fn programs_at_once(table: &Table) -> NonZero<usize> {
    let processors = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    if table.is_large() {
        NonZero::new(processors.get() - 1).unwrap_or(NonZero::<usize>::MIN)
    } else {
        processors
    }
}

/// Refuses a table without any content where one with content was: most likely the file was moved
/// away, and the next command made a new one. Nobody wants every guest cut off for it.
fn check_not_emptied(table: &Table, snapshot: &Snapshot, applied: u64) -> Result<(), TableError> {
    if snapshot.revision == 0 && applied > 0 {
        return Err(TableError::Emptied {
            path: table.path().to_owned(),
            applied,
        });
    }
    Ok(())
}

/// Restoring a copy is a way back that somebody may want, and that somebody else may not expect.
fn tell_of_older(snapshot: &Snapshot, applied: u64) {
    let revision = snapshot.revision;
    if revision < applied {
        warn!(
            revision,
            applied,
            "the table has an older revision than the one that is forwarded by; following it"
        );
    }
}

/// Says which objects are not served because their rows cannot be read, where that is news.
fn tell_of_unread(snapshot: &Snapshot, told: &[String]) {
    const NAMED: usize = 20;
    let news = snapshot.not_live.iter();
    let news: Vec<&String> = news.filter(|sentence| !told.contains(sentence)).collect();
    for sentence in news.iter().take(NAMED) {
        warn!("{sentence}");
    }
    if news.len() > NAMED {
        warn!(rows = news.len(), "and more rows cannot be read");
    }
}

/// What tells a table's file from others at the same location, as it is published.
pub fn tag_of_file((device, inode): FileId) -> u64 {
    tag(&format!("{device}:{inode}"))
}

/// The table's location, the same however its path was written.
pub fn location_of(table: &Table) -> String {
    location_of_path(table.path())
}

/// Likewise, of a table that need not be there.
pub fn location_of_path(path: &Path) -> String {
    /// As many as Linux follows.
    const MOST_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Ok(whole) = path.canonicalize() {
            path = whole;
            break;
        }
        // There is no file: it would be where the folder is, or where a link leads to.
        if let Some(whole) = in_its_folder(&path) {
            path = whole;
        }
        match fs::read_link(&path) {
            Ok(target) => {
                path = path
                    .parent()
                    .map_or(target.clone(), |one| one.join(&target));
            }
            Err(_) => break,
        }
    }
    format!("sqlite:{}", path.display())
}

fn in_its_folder(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_table_that_is_not_there_is_where_its_links_lead() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("one")).expect("made");
        symlink("one/table.db", at("table.db")).expect("linked");
        symlink("loop", at("loop")).expect("linked");
        let gone = location_of_path(&at("table.db"));
        assert_eq!(gone, location_of_path(&at("one/table.db")));
        fs::write(at("one/table.db"), "there").expect("written");
        assert_eq!(location_of_path(&at("table.db")), gone);
        assert!(location_of_path(&at("loop")).ends_with("/loop"));
        assert!(location_of_path(&at("no/table.db")).ends_with("/no/table.db"));
    }
}

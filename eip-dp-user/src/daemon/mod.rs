//! The daemon: keeps the kernel what the table wants.
//!
//! It watches first, then does a full sync, then follows events: the table's file, the host's
//! interfaces, addresses, routes and neighbours, the time at which an EIP expires; and it reads the
//! maps back once a minute. It can be killed at any moment: forwarding goes on, and the next one
//! adopts what is there.

mod answering;
mod engine;
mod lock;
mod logging;
mod memory;
mod presence;
pub mod readers;
mod repeats;
mod report;
mod run_folder;
mod table_watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use nix::sys::signal::SigHandler;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use tracing::{error, info, warn};

pub use engine::{location_of, location_of_path, tag_of_file};
pub use lock::{Holder, Lock, is_locked};
pub use logging::tell_fatal;
pub use presence::Presence;
pub use report::{
    Attached, ConflictReport, LinkState, NameServers, PortReport, Report, UplinkReport,
};
pub use run_folder::RUN_FOLDER;

use crate::{
    announce::{Announcer, AnnouncerEvent, Kin},
    cli::{DEFAULT_TABLE, Name},
    compile::{Content, tag},
    config::Config,
    guests::{self, LeaseTable},
    host::{self, Family, HostFacts, NeighbourKeeper, Setting, Settings, Watcher},
    kernel::{self, Pins, PlaneError, ServedTable},
    model::Model,
    requirements::missing_capabilities,
    schedule::until,
    shared::Claims,
    survey::ReportContext,
    table::{Identity, Table, path_of},
};
use answering::Watch;
use engine::{Engine, SyncOutcome};
use readers::Readers;
use table_watch::TableWatch;

/// How often the maps are read back.
const AUDIT: Duration = Duration::from_mins(1);
/// How long to wait before trying again what failed.
const RETRY: Duration = Duration::from_secs(2);
/// How long what nobody waits for may be put off: the next change, which may come at once, goes
/// first.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Without any news the engine looks again by then.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// How much of what the links say is taken at once.
const MOST_NEWS: usize = 4096;

/// What the command line says about the daemon.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Which gateway.
    pub name: Name,
    /// The configuration's file; `None`: the default one, if it is there.
    pub config: Option<PathBuf>,
    /// Uplinks besides those of the configuration.
    pub uplinks: Vec<String>,
    /// The table's URL; `None`: what the configuration says, or the default.
    pub table: Option<String>,
}

/// Where a gateway remembers the settings of the host that it changed.
pub fn settings_path(name: &Name) -> PathBuf {
    Path::new(RUN_FOLDER).join(format!("{name}.settings.json"))
}

/// Where a gateway remembers which ENIs have the private addresses that several share.
pub fn shared_path(name: &Name) -> PathBuf {
    Path::new(RUN_FOLDER).join(format!("{name}.shared.json"))
}

/// Runs the daemon until it is told to end.
pub fn run(options: &RunOptions) -> anyhow::Result<()> {
    logging::start()?;
    memory::grow_in_large_steps();
    let config = Config::load(options.config.as_deref(), &options.uplinks)?;
    check_privileges()?;
    Pins::check_mounted()?;
    // A command that asks for something may come before there is who answers it.
    // SAFETY: to ignore a signal runs no code of this process.
    unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGHUP, SigHandler::SigIgn) }
        .context("SIGHUP cannot be ignored")?;
    let _lock = Lock::take(&options.name)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(serve(options, config))
}

fn check_privileges() -> anyhow::Result<()> {
    let missing: Vec<String> = missing_capabilities()
        .iter()
        .map(|(capability, _)| capability.to_string())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("the daemon lacks {}; run it as root", missing.join(", "))
}

/// Opens the table, and makes one where there is none. A gateway that forwards already has one: a
/// new one would not be it.
fn open_table(options: &RunOptions, config: &Config) -> anyhow::Result<Table> {
    let said = options.table.as_deref().or(config.table.as_deref());
    let url = said.unwrap_or(DEFAULT_TABLE);
    let location = tag(&location_of_path(&path_of(url)?));
    let served = ServedTable::of(&Pins::new(&options.name))?.filter(|served| served.location != 0);
    let table = match served {
        Some(served) => {
            let identity = served.identity.filter(|_| served.location == location);
            Table::open_for(url, identity)?
        }
        None => Table::open_or_make(url, None)?,
    };
    // Before anything is written about it, or to it.
    let own = ServedTable {
        location,
        identity: table.identity(),
        applied: 0,
        file: 0,
    };
    kernel::check_table(&Pins::new(&options.name), &own)?;
    if table.is_new() {
        info!(table = url, "there was no table; made a new one");
    }
    info!(gateway = %options.name, table = url, "starting");
    Ok(table)
}

#[allow(
    clippy::too_many_lines,
    reason = "the daemon's parts, one after the other"
)]
async fn serve(options: &RunOptions, config: Config) -> anyhow::Result<()> {
    let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    let interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
    let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be awaited")?;
    let table = open_table(options, &config)?;
    let table_watch = TableWatch::start(table.path())
        .with_context(|| format!("{} cannot be watched", table.path().display()))?;
    let host = Watcher::start()
        .await
        .context("the host's networking cannot be watched")?;
    let neighbours = NeighbourKeeper::open().context("next hops cannot be kept resolved")?;
    let (announcer, news) = announcer(location_of(&table), table.identity())?;
    let settings = Settings::open(settings_path(&options.name))
        .context("settings that an earlier daemon changed are unknown")?;
    let mut facts = host.subscribe();
    tell_of_host();
    let now = facts.borrow_and_update().clone();
    let name = options.name.clone();
    report_start(&name, &table, &config, &now)?;
    let readers = Readers::start(&name, config.group.as_deref())?;
    let mut engine =
        Some(blocking(move || Engine::start(&name, table, config, now, readers)).await??);
    let (directories, answers) = watch::channel(Arc::new(LeaseTable::default()));
    let claims = Claims::default();
    let server = server_of_guests(&options.name, claims.clone())?;
    let server = tokio::spawn(server.run(answers));
    if let Some(engine) = &mut engine {
        engine.hear(claims.clone());
    }
    let mut daemon = Servers {
        directories,
        announcer,
        neighbours,
        settings,
        wanted: Arc::default(),
        is_set: false,
        host,
    };

    let audit = audits().await;
    let watchdog = interval(sd_notify::watchdog_enabled().map_or(LONGEST_SLEEP, |limit| limit / 2));
    let mut sources = Sources {
        facts,
        table: table_watch,
        news,
        heard: Vec::new(),
        audit,
        watchdog,
        hangup,
        terminate,
        interrupt,
        claims,
    };
    let mut ready = false;
    let mut work = Task::Sync;
    let mut housekeeping_at = None;
    loop {
        let facts_now = sources.facts.borrow_and_update().clone();
        let heard = std::mem::take(&mut sources.heard);
        let mut taken = engine.take().context("the engine is gone")?;
        let (mut back, outcome) = blocking(move || {
            let outcome = work.carry_out(&mut taken, facts_now, &heard);
            (taken, outcome)
        })
        .await?;
        let outcome = outcome?;
        let is_set = daemon.tell(&outcome).await;
        back.publish();
        if !ready {
            ready = true;
            info!("ready");
            notify(&[NotifyState::Ready]);
        }
        let pause = daemon.follow(&outcome, is_set).await;
        engine = Some(
            blocking(move || {
                work.finish(&mut back);
                back
            })
            .await?,
        );
        let soon = Instant::now() + HOUSEKEEPING;
        housekeeping_at = outcome
            .has_housekeeping
            .then(|| housekeeping_at.unwrap_or(soon));
        // An expiry that could not be carried out is tried again, but not at once.
        let overdue = outcome
            .next_expiry
            .is_some_and(|time| time <= Timestamp::now());
        let expiry_floor = if overdue && matches!(work, Task::Expire) {
            RETRY
        } else {
            Duration::ZERO
        };
        let expiry = (outcome.next_expiry, expiry_floor);
        let Some(next) = sources.next(expiry, pause, housekeeping_at).await? else {
            break;
        };
        work = next;
    }
    notify(&[NotifyState::Stopping]);
    server.abort();
    info!("ending; forwarding goes on");
    Ok(())
}

/// Where there may be news from.
struct Sources {
    facts: watch::Receiver<Arc<HostFacts>>,
    table: TableWatch,
    news: mpsc::UnboundedReceiver<AnnouncerEvent>,
    /// What of them was taken.
    heard: Vec<AnnouncerEvent>,
    audit: Interval,
    watchdog: Interval,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    claims: Claims,
}

impl Sources {
    /// What to do next; `None`: the daemon is told to end. Without news it is a sync after `pause`.
    async fn next(
        &mut self,
        (expiry, expiry_floor): (Option<Timestamp>, Duration),
        pause: Duration,
        housekeeping_at: Option<Instant>,
    ) -> anyhow::Result<Option<Task>> {
        let work = tokio::select! {
            changed = self.facts.changed() => {
                changed.context("the host's networking is watched no longer")?;
                Task::Sync
            }
            changed = self.table.changed() => {
                changed.context("the table is watched no longer")?;
                Task::Sync
            }
            () = self.claims.some() => Task::Sync,
            _ = self.news.recv_many(&mut self.heard, MOST_NEWS) => Task::Sync,
            () = wait_until(expiry, expiry_floor) => Task::Expire,
            () = sleep_until(Instant::now() + pause) => Task::Sync,
            _ = self.audit.tick() => Task::Audit,
            // `verify --repair` asks for it.
            _ = self.hangup.recv() => Task::Repair,
            () = until(housekeeping_at) => Task::Housekeeping,
            _ = self.watchdog.tick() => {
                notify(&[NotifyState::Watchdog]);
                // Without news it does nothing, and shows that the engine still moves.
                Task::Sync
            }
            _ = self.terminate.recv() => return Ok(None),
            _ = self.interrupt.recv() => return Ok(None),
        };
        Ok(Some(work))
    }
}

/// Says which table it is before anything is forwarded by it: commands ask for that.
fn report_start(
    name: &Name,
    table: &Table,
    config: &Config,
    facts: &HostFacts,
) -> anyhow::Result<()> {
    let (model, failures) = (Model::default(), BTreeMap::new());
    let content = Content::default();
    let scene = ReportContext {
        model: &model,
        facts,
        config,
        egress: Family::ALL.map(|family| content.egress(family)),
        unserved: &[],
        warnings: &[],
        failures: &failures,
    };
    let mut report = Report::new(&location_of(table), &scene, &[]);
    report.starting = true;
    let path = Report::path(name);
    let written = report.write(&path);
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// When the maps are read back: not at once.
async fn audits() -> Interval {
    let mut audit = interval(AUDIT);
    audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    audit.tick().await;
    audit
}

/// Announces EIPs, and finds out whose they are: what it finds is what is received.
fn announcer(
    table: String,
    identity: Option<Identity>,
) -> anyhow::Result<(Announcer, mpsc::UnboundedReceiver<AnnouncerEvent>)> {
    let (tell, news) = mpsc::unbounded_channel();
    let announcer =
        Announcer::start(kin_of(table, identity), tell).context("EIPs cannot be announced")?;
    Ok((announcer, news))
}

/// Who of the other gateways on this host serves the table, as their files say.
fn kin_of(location: String, identity: Option<Identity>) -> Kin {
    Box::new(move || {
        let gateways = Presence::all().into_iter();
        let gateways = gateways.filter(|gateway| gateway.serves(&location, identity));
        gateways
            .flat_map(|gateway| gateway.macs)
            .map(|mac| mac.0)
            .collect()
    })
}

/// Answers guests. The maps have to be there; the ring among them stays when others take their
/// place.
fn server_of_guests(name: &Name, claims: Claims) -> anyhow::Result<guests::Server> {
    let ring = kernel::requests(&Pins::new(name))?;
    let requests = guests::Requests::new(ring).context("guests' requests cannot be awaited")?;
    guests::Server::open(requests, claims).context("the socket to answer guests cannot be opened")
}

/// An operator may believe that these rules protect the guests, or that nobody else gets at the
/// pins.
fn tell_of_host() {
    if let Some((seen, cure)) = Pins::lax_mount() {
        warn!("{seen}; {cure}");
    }
    match host::forward_hook_rules() {
        Ok(chains) => {
            for chain in chains {
                warn!(%chain, "packets of EIPs do not pass the firewall's forward hook");
            }
        }
        Err(error) => {
            warn!(%error, "whether there are firewall rules on the forward hook is unknown");
        }
    }
}

/// What to do before the next sync.
#[derive(Clone, Copy, Debug)]
enum Task {
    Sync,
    Audit,
    Repair,
    Expire,
    Housekeeping,
}

impl Task {
    /// What has to be done before anybody is told.
    fn carry_out(
        self,
        engine: &mut Engine,
        facts: Arc<HostFacts>,
        news: &[AnnouncerEvent],
    ) -> Result<SyncOutcome, PlaneError> {
        match self {
            Self::Sync | Self::Expire => {}
            Self::Audit => engine.audit()?,
            Self::Repair => {
                engine.audit()?;
                engine.request_full_sync();
            }
            Self::Housekeeping => {
                engine.reclaim();
                engine.write_report();
                engine.give_memory_back();
            }
        }
        engine.sync(facts, news, matches!(self, Self::Expire))
    }

    /// What can wait until then.
    fn finish(self, engine: &mut Engine) {
        // After the cut: the table may be locked by somebody else, for seconds.
        if matches!(self, Self::Expire) {
            engine.expire();
        }
    }
}

/// The servers and helpers around the engine.
struct Servers {
    directories: watch::Sender<Arc<LeaseTable>>,
    announcer: Announcer,
    neighbours: NeighbourKeeper,
    settings: Settings,
    /// The settings that were last asked for, and whether they are made.
    wanted: Arc<BTreeSet<(u32, Setting)>>,
    is_set: bool,
    host: Watcher,
}

impl Servers {
    /// What has to be so before anybody is told that a revision is applied: the next thing may be a
    /// guest that asks for its lease. Returns whether all of it is.
    async fn tell(&mut self, outcome: &SyncOutcome) -> bool {
        if let Some(directory) = &outcome.directory {
            self.directories.send_replace(directory.clone());
        }
        if self.is_set && Arc::ptr_eq(&self.wanted, &outcome.settings) {
            return true;
        }
        self.wanted.clone_from(&outcome.settings);
        self.is_set = match self.settings.reconcile(&outcome.settings).await {
            Ok(()) => true,
            Err(error) => {
                warn!(%error, "a setting of the host is not as the data plane needs it");
                false
            }
        };
        self.is_set
    }

    /// Carries on what a sync found, and tells when to look again.
    async fn follow(&mut self, outcome: &SyncOutcome, is_set: bool) -> Duration {
        let orders = &outcome.orders;
        if let Some(own) = &orders.own {
            self.announcer.know(own.clone());
        }
        for address in &orders.cancel {
            for link in &orders.links {
                self.announcer.cancel(*link, *address);
            }
        }
        for (link, mac, address) in &orders.announce {
            self.announcer.announce(*link, *mac, *address);
        }
        for watch in &orders.watch {
            match watch {
                Watch::Claim(claim) => self.announcer.claim(*claim),
                Watch::Release(address) => self.announcer.release(*address),
            }
        }
        for port in &outcome.left {
            self.announcer.leave(*port);
        }
        for (port, mac, address) in &outcome.gateways {
            self.announcer.announce_gateway(*port, *mac, *address);
        }
        let facts = self.host.facts();
        if let Err(error) = self.neighbours.reconcile(&facts, &outcome.next_hops).await {
            warn!(%error, "a next hop is not kept resolved");
        }
        let pause = if outcome.incomplete || !is_set {
            RETRY
        } else {
            LONGEST_SLEEP
        };
        let due = outcome
            .next_claim
            .map(|due| due.saturating_duration_since(std::time::Instant::now()));
        due.map_or(pause, |due| pause.min(due))
    }
}

/// Runs what blocks beside the reactor.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a part of the daemon failed")
}

/// Returns when `time` has come, not before `at_least` has passed; never without a time. The clock
/// may be set meanwhile: it is looked at every second.
async fn wait_until(time: Option<Timestamp>, at_least: Duration) {
    const LOOK: Duration = Duration::from_secs(1);
    let Some(time) = time else {
        return std::future::pending().await;
    };
    tokio::time::sleep(at_least).await;
    loop {
        let left = time.duration_since(Timestamp::now());
        match Duration::try_from(left) {
            // A moment later rather than earlier, so that it is over by then.
            Ok(left) => tokio::time::sleep(LOOK.min(left + Duration::from_millis(10))).await,
            Err(_) => return,
        }
    }
}

/// Tells systemd, if it is there.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        error!(%error, "systemd cannot be told");
    }
}

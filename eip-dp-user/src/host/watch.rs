//! Keeps [`HostFacts`] current.
//!
//! Notifications are subscribed to first, then everything is dumped, then notifications are
//! applied, so that nothing falls between. When the kernel says that it lost notifications, all of
//! that is done anew; every few minutes, in any case, everything is dumped again.

use std::{future::Future, io, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, TryStreamExt, channel::mpsc::UnboundedReceiver};
use genetlink::{GenetlinkHandle, message::RawGenlMessage};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage, route::RouteMessage};
use netlink_sys::{AsyncSocket, SocketAddr};
use rtnetlink::{IpVersion, MulticastGroup};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, Interval},
};
use tracing::{debug, warn};

use super::{
    Family, HostError, HostFacts, Resolver, drivers,
    incarnation::Sysfs,
    netdev,
    nexthops::{self, News},
    offloads,
    resolver::ResolverWatch,
    routing,
    state::State,
};

/// How often everything is asked again, whatever the notifications said.
const RESYNC: Duration = Duration::from_mins(5);

/// How long a dump may take; a table of a million routes takes about two seconds.
const DUMP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait before everything is set up anew after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// How much the kernel may queue for us before it drops notifications.
const RECEIVE_BUFFER: usize = 4 << 20;

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// A task that keeps the facts of the network namespace in which it was started. Dropping it ends
/// the task; the receivers then keep the last facts.
#[derive(Debug)]
pub struct Watcher {
    facts: watch::Receiver<Arc<HostFacts>>,
    _task: Task,
}

impl Watcher {
    /// Starts to watch, and returns once the first complete facts are there.
    pub async fn start() -> Result<Self, HostError> {
        let session = Session::complete().await?;
        let (publish, facts) = watch::channel(Arc::new(session.state.facts()));
        let task = Task(tokio::spawn(keep_watching(session, publish)));
        Ok(Self { facts, _task: task })
    }

    /// The facts as they are now.
    pub fn facts(&self) -> Arc<HostFacts> {
        self.facts.borrow().clone()
    }

    /// A receiver that is told whenever a fact changed, and only then.
    pub fn subscribe(&self) -> watch::Receiver<Arc<HostFacts>> {
        self.facts.clone()
    }
}

/// The facts at this moment, without watching them.
pub async fn snapshot() -> Result<HostFacts, HostError> {
    Ok(Session::complete().await?.state.facts())
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep_watching(mut session: Session, publish: watch::Sender<Arc<HostFacts>>) {
    loop {
        let error = session.follow(&publish).await;
        warn!(%error, "watching the kernel's networking failed; starting again");
        session = loop {
            tokio::time::sleep(RETRY).await;
            // Complete, because whatever it knows is published: without the interfaces everything
            // would be withdrawn.
            match Session::complete().await {
                Ok(session) => break session,
                Err(error) => {
                    warn!(%error, "the kernel's networking cannot be watched; trying again");
                }
            }
        };
    }
}

type Notifications<T> = UnboundedReceiver<(NetlinkMessage<T>, SocketAddr)>;

/// The sockets, and what they told so far.
struct Session {
    state: State,
    /// `None`: there is no sysfs.
    sysfs: Option<Sysfs>,
    requests: rtnetlink::Handle,
    notifications: Notifications<RouteNetlinkMessage>,
    /// `None`: the kernel has no nexthop objects.
    nexthops: Option<nexthops::Notifications>,
    /// `None`: the kernel has no `netdev` family.
    netdev: Option<NetdevSession>,
    /// `None`: it cannot be watched, and is read when everything is.
    resolver: Option<ResolverWatch>,
    _tasks: Vec<Task>,
}

struct NetdevSession {
    requests: GenetlinkHandle,
    notifications: Notifications<RawGenlMessage>,
}

/// Why the session woke up.
enum Event {
    Notified,
    Resync,
}

impl Session {
    /// A session that knows everything already.
    async fn complete() -> Result<Self, HostError> {
        let mut session = Self::open().await?;
        session.resync().await?;
        Ok(session)
    }

    /// Opens the sockets, those for notifications first.
    async fn open() -> Result<Self, HostError> {
        let mut tasks = Vec::new();
        let (mut connection, _, notifications) = rtnetlink::new_multicast_connection(&GROUPS)
            .map_err(|error| HostError::open("rtnetlink", error))?;
        enlarge(connection.socket_mut());
        tasks.push(Task(tokio::spawn(connection)));
        let (connection, requests, _) =
            rtnetlink::new_connection().map_err(|error| HostError::open("rtnetlink", error))?;
        tasks.push(Task(tokio::spawn(connection)));
        let nexthops = nexthops::Notifications::open()?;
        let netdev = NetdevSession::open(&mut tasks).await?;
        Ok(Self {
            state: State::default(),
            sysfs: Sysfs::open(),
            requests,
            notifications,
            nexthops,
            netdev,
            resolver: watch_resolver(),
            _tasks: tasks,
        })
    }

    /// Asks the kernel for everything and forgets what was known.
    async fn resync(&mut self) -> Result<(), HostError> {
        let mut state = State::default();
        let requests = &self.requests;
        for message in dump("links", requests.link().get().execute()).await? {
            state.apply(&RouteNetlinkMessage::NewLink(message));
        }
        for message in dump("addresses", requests.address().get().execute()).await? {
            state.apply(&RouteNetlinkMessage::NewAddress(message));
        }
        for message in dump("neighbours", requests.neighbours().get().execute()).await? {
            state.apply(&RouteNetlinkMessage::NewNeighbour(message));
        }
        state.set_resolver(Resolver::read());
        self.state = state;
        self.state.refresh_tags(takes_tags);
        self.refresh_incarnations();
        self.refresh_rules().await?;
        self.refresh_routes().await?;
        self.state.follow_routing();
        self.refresh_xdp().await
    }

    fn refresh_incarnations(&mut self) {
        if let Some(sysfs) = &self.sysfs {
            self.state
                .refresh_incarnations(|name, index| sysfs.incarnation(name, index));
        }
    }

    async fn refresh_rules(&mut self) -> Result<(), HostError> {
        for (family, version) in [(Family::V4, IpVersion::V4), (Family::V6, IpVersion::V6)] {
            let answers = self.requests.rule().get(version).execute();
            let rules: Result<Vec<_>, _> = in_time("rules", async {
                Ok::<_, HostError>(answers.try_collect().await)
            })
            .await?;
            match rules {
                Ok(rules) => self.state.set_rules(family, &rules),
                // A kernel without such rules, or without the family.
                Err(error) => debug!(%family, %error, "no rules of routing"),
            }
        }
        Ok(())
    }

    async fn refresh_routes(&mut self) -> Result<(), HostError> {
        // First: a route that is dumped names objects that are there by then.
        let objects = match &self.nexthops {
            Some(_) => in_time("nexthop objects", nexthops::dump()).await?,
            None => Vec::new(),
        };
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            // Only what stands for a default route is kept while the dump runs: there may be a
            // million others.
            let answers = self
                .requests
                .route()
                .get(request)
                .execute()
                .try_filter(|route| futures::future::ready(routing::is_kept(route)));
            routes.extend(dump("routes", answers).await?);
        }
        self.state.set_routes(&routes, objects);
        Ok(())
    }

    async fn refresh_xdp(&mut self) -> Result<(), HostError> {
        let Some(netdev) = &mut self.netdev else {
            self.state.fill_xdp(drivers::features);
            return Ok(());
        };
        for change in in_time("XDP features", netdev::dump(&mut netdev.requests)).await? {
            apply_xdp(&mut self.state, change);
        }
        Ok(())
    }

    /// Applies notifications for ever, and publishes what they change. Returns the error that ended
    /// it.
    async fn follow(&mut self, publish: &watch::Sender<Arc<HostFacts>>) -> HostError {
        let mut resync = tokio::time::interval_at(Instant::now() + RESYNC, RESYNC);
        loop {
            let facts = self.state.facts();
            publish.send_if_modified(|published| {
                let changed = **published != facts;
                if changed {
                    *published = Arc::new(facts);
                }
                changed
            });
            if let Err(error) = self.step(&mut resync).await {
                return error;
            }
        }
    }

    /// Waits for something to happen and takes in all that is there.
    async fn step(&mut self, resync: &mut Interval) -> Result<(), HostError> {
        let mut overrun = false;
        let event = tokio::select! {
            _ = resync.tick() => Event::Resync,
            message = self.notifications.next() => {
                self.take_route_message(message, &mut overrun)?;
                Event::Notified
            }
            news = next_nexthops(&mut self.nexthops) => {
                self.take_nexthops(news?, &mut overrun);
                Event::Notified
            }
            message = next_netdev(&mut self.netdev) => {
                self.take_netdev_message(message, &mut overrun)?;
                Event::Notified
            }
            changed = next_resolver(&mut self.resolver) => {
                if let Err(error) = changed {
                    warn!(%error, "the host's name servers are looked up every few minutes only");
                    self.resolver = None;
                }
                self.state.set_resolver(Resolver::read());
                Event::Notified
            }
        };
        while let Some(message) = self.notifications.next().now_or_never() {
            self.take_route_message(message, &mut overrun)?;
        }
        while let Some(nexthops) = &mut self.nexthops
            && let Some(news) = nexthops.next_now()?
        {
            self.take_nexthops(news, &mut overrun);
        }
        while let Some(message) = next_netdev(&mut self.netdev).now_or_never() {
            self.take_netdev_message(message, &mut overrun)?;
        }
        if overrun {
            // What is still queued is older than what a dump tells now, and what would correct it
            // is lost: new sockets have no such queue.
            debug!("the kernel dropped notifications; asking for everything again");
            *self = Self::complete().await?;
            return Ok(());
        }
        if matches!(event, Event::Resync) {
            return self.resync().await;
        }
        self.state.refresh_tags(takes_tags);
        self.refresh_incarnations();
        if self.state.rules_stale() {
            self.refresh_rules().await?;
        }
        if self.state.routes_stale() {
            self.refresh_routes().await?;
        }
        self.state.follow_routing();
        // A new interface and its features come over different sockets.
        if self.state.lacks_xdp() {
            self.refresh_xdp().await?;
        }
        Ok(())
    }

    fn take_route_message(
        &mut self,
        message: Option<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
        overrun: &mut bool,
    ) -> Result<(), HostError> {
        let (message, _) = message.ok_or_else(|| HostError::closed("rtnetlink"))?;
        match message.payload {
            NetlinkPayload::InnerMessage(message) => self.state.apply(&message),
            NetlinkPayload::Overrun(_) => *overrun = true,
            _ => {}
        }
        Ok(())
    }

    fn take_nexthops(&mut self, news: News, overrun: &mut bool) {
        match news {
            News::Changes(changes) => {
                for change in changes {
                    self.state.set_nexthop(change);
                }
            }
            News::Lost => *overrun = true,
        }
    }

    fn take_netdev_message(
        &mut self,
        message: Option<(NetlinkMessage<RawGenlMessage>, SocketAddr)>,
        overrun: &mut bool,
    ) -> Result<(), HostError> {
        let (message, _) = message.ok_or_else(|| HostError::closed("generic netlink"))?;
        match message.payload {
            NetlinkPayload::InnerMessage(raw) => {
                let change = raw
                    .parse_into_genlmsg::<netdev::Netdev>()
                    .ok()
                    .and_then(|message| message.payload.change());
                if let Some(change) = change {
                    apply_xdp(&mut self.state, change);
                }
            }
            NetlinkPayload::Overrun(_) => *overrun = true,
            _ => {}
        }
        Ok(())
    }
}

impl NetdevSession {
    async fn open(tasks: &mut Vec<Task>) -> Result<Option<Self>, HostError> {
        let open = |error| HostError::open("generic netlink", error);
        let (connection, requests, _) = genetlink::new_connection().map_err(open)?;
        tasks.push(Task(tokio::spawn(connection)));
        let Ok(family) = requests.resolve_family::<netdev::Netdev>().await else {
            return Ok(None);
        };
        let Some(group) = family.multicast_groups.get(netdev::GROUP) else {
            return Ok(None);
        };
        let (mut connection, _, notifications) = genetlink::new_connection().map_err(open)?;
        let socket = connection.socket_mut().socket_mut();
        socket.bind_auto().map_err(open)?;
        socket.add_membership(*group).map_err(open)?;
        tasks.push(Task(tokio::spawn(connection)));
        Ok(Some(Self {
            requests,
            notifications,
        }))
    }
}

/// The next messages about nexthop objects; never, where the kernel has none.
async fn next_nexthops(
    notifications: &mut Option<nexthops::Notifications>,
) -> Result<News, HostError> {
    match notifications {
        Some(notifications) => notifications.next().await,
        None => futures::future::pending().await,
    }
}

/// The next message about XDP features; never, where the kernel has none.
async fn next_netdev(
    session: &mut Option<NetdevSession>,
) -> Option<(NetlinkMessage<RawGenlMessage>, SocketAddr)> {
    match session {
        Some(session) => session.notifications.next().await,
        None => futures::future::pending().await,
    }
}

/// Returns when the host's name servers may be others; never, where they cannot be watched.
async fn next_resolver(watch: &mut Option<ResolverWatch>) -> io::Result<()> {
    match watch {
        Some(watch) => watch.changed().await,
        None => futures::future::pending().await,
    }
}

fn watch_resolver() -> Option<ResolverWatch> {
    ResolverWatch::start()
        .inspect_err(|error| {
            warn!(%error, "the host's name servers are looked up every few minutes only");
        })
        .ok()
}

fn takes_tags(interface: &str) -> Option<bool> {
    let offloads = offloads(interface).ok()?;
    Some(offloads.rx_vlan)
}

fn apply_xdp(state: &mut State, change: netdev::Change) {
    match change {
        netdev::Change::Features(interface, features) => state.set_xdp(interface, features),
        netdev::Change::Gone(interface) => state.remove_xdp(interface),
    }
}

/// A larger receive buffer makes losses rare; without the privilege the default has to do.
fn enlarge(socket: &mut impl AsyncSocket) {
    if let Err(error) = socket.socket_ref().set_rx_buf_sz(RECEIVE_BUFFER) {
        debug!(%error, "the netlink receive buffer stays as it is");
    }
}

async fn dump<T>(
    what: &'static str,
    answers: impl futures::Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Vec<T>, HostError> {
    let all = async {
        answers
            .try_collect()
            .await
            .map_err(|error| HostError::netlink(what, error.to_string()))
    };
    in_time(what, all).await
}

async fn in_time<T>(
    what: &'static str,
    work: impl Future<Output = Result<T, HostError>>,
) -> Result<T, HostError> {
    tokio::time::timeout(DUMP_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| Err(HostError::netlink(what, "no answer in time".to_owned())))
}

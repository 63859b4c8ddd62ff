//! When to advertise, and to whom.

use std::{collections::HashMap, net::Ipv6Addr, sync::Arc, time::Duration};

use eip_dp_common::abi::LinkKey;
use fastrand::Rng;
use tokio::time::Instant;

use super::message::{Prefix, advertisement};
use crate::{
    frame::{
        Ethernet,
        v6::{ALL_NODES, Envelope, link_local},
    },
    guests::{Client, Lease6, LeaseTable},
    schedule::Schedule,
};

/// Between two advertisements to all nodes that nobody asked for, at the longest
/// (`MaxRtrAdvInterval`) …
const LONGEST_INTERVAL: Duration = Duration::from_mins(10);
/// … and at the shortest (`MinRtrAdvInterval`).
const SHORTEST_INTERVAL: Duration = Duration::from_secs(198);
/// How long a guest keeps what it was told (`AdvDefaultLifetime`). As long as may be: forwarding
/// goes on while no daemon runs, and who is not served any more is told so.
const LIFETIME: Duration = Duration::from_mins(150);
/// The first few follow each other sooner (`MAX_INITIAL_RTR_ADVERTISEMENTS`,
/// `MAX_INITIAL_RTR_ADVERT_INTERVAL`).
const INITIAL: u8 = 3;
const INITIAL_INTERVAL: Duration = Duration::from_secs(16);
/// So many take back what was said (`MAX_FINAL_RTR_ADVERTISEMENTS`).
const FINAL: u8 = 3;
/// Between any two advertisements to all nodes (`MIN_DELAY_BETWEEN_RAS`).
const DISTANCE: Duration = Duration::from_secs(3);
/// An answer is late by up to this (`MAX_RA_DELAY_TIME`).
const LONGEST_DELAY: Duration = Duration::from_millis(500);

/// Every guest's advertisements: those that are asked for, those that are due, and the last ones.
#[derive(Debug)]
pub(in crate::guests) struct Advertiser {
    routers: HashMap<Router, State>,
    schedule: Schedule<Router>,
    directory: Arc<LeaseTable>,
    random: Rng,
}

/// The gateway as a guest knows it: by the port's Ethernet address. With another one it is another
/// router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Router {
    guest: Client,
    mac: [u8; 6],
}

#[derive(Debug)]
struct State {
    /// What the guest has now; had, if it is not served any more.
    lease: Lease6,
    is_served: bool,
    /// How many advertisements are left of those that follow each other soon.
    soon: u8,
    /// A prefix that was another one before: on the link, or one to make an address of.
    gone: Option<Prefix>,
    /// When the last advertisement to all nodes was sent.
    last: Option<Instant>,
    /// When the next one is due.
    next: Instant,
    /// When a solicitation is answered, and to whom.
    answer: Option<(Instant, Ipv6Addr)>,
}

impl State {
    fn due(&self) -> Instant {
        self.answer.map_or(self.next, |(due, _)| due.min(self.next))
    }

    /// The next advertisement to all nodes is to be sent then, or as soon after it as is allowed.
    fn hasten(&mut self, wanted: Instant) {
        self.next = self.last.map_or(wanted, |last| wanted.max(last + DISTANCE));
    }

    fn message(&self, without_prefix: bool) -> Vec<u8> {
        let lifetime = if self.is_served {
            LIFETIME
        } else {
            Duration::ZERO
        };
        if without_prefix {
            let lease = Lease6 {
                on_link: None,
                ..self.lease.clone()
            };
            return advertisement(&lease, lifetime, None);
        }
        advertisement(&self.lease, lifetime, self.gone)
    }

    /// Settles when the next one to all nodes is due; `false` if this was the last.
    fn sent_to_all(&mut self, now: Instant, interval: Duration) -> bool {
        self.last = Some(now);
        self.soon = self.soon.saturating_sub(1);
        let interval = match (self.is_served, self.soon) {
            (false, 0) => return false,
            (false, _) => DISTANCE,
            (true, 0) => {
                self.gone = None;
                interval
            }
            (true, _) => interval.min(INITIAL_INTERVAL),
        };
        self.next = now + interval;
        true
    }
}

impl Advertiser {
    pub(in crate::guests) fn new(random: Rng) -> Self {
        Self {
            routers: HashMap::new(),
            schedule: Schedule::default(),
            directory: Arc::default(),
            random,
        }
    }

    /// Advertises from now on what the directory says, at once where that is new.
    pub(in crate::guests) fn follow(&mut self, directory: &Arc<LeaseTable>, now: Instant) {
        let before = std::mem::replace(&mut self.directory, Arc::clone(directory));
        let changed = directory.leases6.changed_since(&before.leases6);
        for guest in &changed {
            let Some(old) = before.leases6.get(guest) else {
                continue;
            };
            let router = Router {
                guest: *guest,
                mac: old.port_mac,
            };
            let lease = directory.leases6.get(guest);
            let is_served = lease.is_some_and(|lease| lease.port_mac == router.mac);
            if let Some(state) = self.routers.get_mut(&router)
                && state.is_served
                && !is_served
            {
                state.is_served = false;
                state.soon = FINAL;
                state.answer = None;
                state.hasten(now);
                self.schedule.set(router, state.due());
            }
        }
        for guest in &changed {
            let Some(lease) = directory.leases6.get(guest) else {
                continue;
            };
            let router = Router {
                guest: *guest,
                mac: lease.port_mac,
            };
            let state = self.routers.entry(router).or_insert_with(|| State {
                lease: lease.clone(),
                is_served: false,
                soon: INITIAL,
                gone: None,
                last: None,
                next: now,
                answer: None,
            });
            if state.is_served && state.lease == *lease {
                continue;
            }
            let gone = Prefix::of(&state.lease).and_then(|old| old.without(Prefix::of(lease)));
            state.gone = gone.or(state.gone);
            // What is back is not taken away any more.
            state.gone = state.gone.and_then(|old| old.without(Prefix::of(lease)));
            state.lease.clone_from(lease);
            state.is_served = true;
            state.soon = INITIAL;
            state.hasten(now);
            self.schedule.set(router, state.due());
        }
    }

    /// Answers a solicitation of `guest`, sent from `source`: to that address, or to all nodes if
    /// it has none yet (RFC 4861, 6.2.6).
    pub(in crate::guests) fn answer(&mut self, guest: Client, source: Ipv6Addr, now: Instant) {
        let Some(lease) = self.directory.leases6.get(&guest) else {
            return;
        };
        let router = Router {
            guest,
            mac: lease.port_mac,
        };
        let due = now + self.random_between(Duration::ZERO, LONGEST_DELAY);
        let Some(state) = self.routers.get_mut(&router) else {
            return;
        };
        if source.is_unspecified() {
            if due < state.next {
                state.hasten(due);
            }
        } else {
            // One answer to many solicitations; its delay counts from the first.
            let due = state.answer.map_or(due, |(first, _)| first);
            state.answer = Some((due, source));
        }
        self.schedule.set(router, state.due());
    }

    /// The next frame that is due, and the port to send it on.
    pub(in crate::guests) fn pop(&mut self, now: Instant) -> Option<(LinkKey, Vec<u8>)> {
        let router = self.schedule.pop(now)?;
        let interval = self.random_between(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        let state = self.routers.get_mut(&router)?;
        let answer = state.answer.take_if(|(due, _)| *due <= now);
        let destination = answer.map_or(ALL_NODES, |(_, source)| source);
        // Where the guest has another router by now, that one says what is on the link.
        let has_other = !state.is_served && self.directory.leases6.contains_key(&router.guest);
        let frame = frame(router, destination, state.message(has_other));
        let over = destination == ALL_NODES && !state.sent_to_all(now, interval);
        if over {
            self.routers.remove(&router);
        } else {
            self.schedule.set(router, state.due());
        }
        Some((router.guest.port(), frame))
    }

    /// When the next frame is due.
    pub(in crate::guests) fn next_due(&self) -> Option<Instant> {
        self.schedule.next_due()
    }

    fn random_between(&mut self, from: Duration, to: Duration) -> Duration {
        from + to.saturating_sub(from).mul_f64(self.random.f64())
    }
}

/// A frame to the guest alone, whatever its IPv6 destination.
fn frame(router: Router, destination: Ipv6Addr, message: Vec<u8>) -> Vec<u8> {
    let envelope = Envelope {
        ethernet: Ethernet {
            destination: router.guest.mac,
            source: router.mac,
        },
        source: link_local(router.mac),
        destination,
    };
    envelope.icmp(message)
}

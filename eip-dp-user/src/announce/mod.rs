//! Tells the neighbours on an uplink where an EIP is now, and the guests on a port where their
//! gateway is: gratuitous ARP (RFC 5227, 3) and unsolicited neighbour advertisements (RFC 4861,
//! 7.2.6). Before that it asks the link of an EIP whether somebody has it, see [`claims`].
//!
//! Who still sends to another Ethernet address learns the new one at once. Each address is
//! announced three times, with growing distance, because nothing confirms that an announcement
//! arrived. Thousands of EIPs may move together: what is due is sent at a bounded rate, and a newer
//! announcement of an address takes the place of an older one.

mod claims;
mod listener;

use std::{
    collections::{BTreeMap, HashSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use eip_dp_common::abi::LinkKey;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tracing::debug;

pub use claims::{Claim, Verdict};

use crate::{
    frame::{
        Ethernet, ethertype,
        v6::{ALL_NODES, ALL_NODES_MAC, Envelope},
    },
    host::packet_socket::PacketSender,
    schedule::{Schedule, until},
};
use claims::{Claims, Probe};
use listener::Listener;

/// How long after the announcement before it the next one of the same EIP is sent.
const REPEATS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// So many announcements may be sent …
const BURST: u32 = 32;
/// … and so many probes, which every host on the link has to look at, …
const PROBES: u32 = 16;
/// … in this time: 3,200 and 1,600 a second at most.
const PAUSE: Duration = Duration::from_millis(10);

/// How long what is known of other gateways is taken for true.
const KIN: Duration = Duration::from_secs(1);

/// Announces EIPs on uplinks and gateways on ports, and finds out which EIPs somebody else has.
/// Dropping it ends all of that.
#[derive(Debug)]
pub struct Announcer {
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

/// What the links say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnouncerEvent {
    /// Whose a claimed EIP is.
    Verdict(Verdict),
    /// What is sent on the uplink of the one interface comes in on that of the other: they are on
    /// one link.
    SameLink(u32, u32),
}

/// The Ethernet addresses of the other gateways that serve the same table, whose answers are no
/// conflict, and those that this one's uplinks had before. It is asked once in a while.
pub type Kin = Box<dyn Fn() -> HashSet<[u8; 6]> + Send>;

/// What of this host matters to who listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// The Ethernet addresses of its interfaces.
    pub macs: HashSet<[u8; 6]>,
    /// The uplinks on which EIPs are announced, those that are up: the interface whose neighbours
    /// are there, and the Ethernet address.
    pub uplinks: Vec<(u32, [u8; 6])>,
}

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    link: LinkKey,
    role: Role,
    address: IpAddr,
}

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Role {
    /// An EIP, on an uplink.
    Eip,
    /// The gateway of the guests, on a port.
    Gateway,
}

#[derive(Clone, Debug)]
enum Order {
    Announce(Place, [u8; 6]),
    Cancel(Place),
    Leave(LinkKey),
    Claim(Claim),
    Release(IpAddr),
    Know(Own),
}

impl Announcer {
    /// Starts the task that announces and listens, in the network namespace of the calling thread.
    /// What it finds out goes to `news`. Needs `CAP_NET_RAW`.
    pub fn start(kin: Kin, news: mpsc::UnboundedSender<AnnouncerEvent>) -> io::Result<Self> {
        let (orders, receiver) = mpsc::unbounded_channel();
        let work = Work {
            socket: PacketSender::open()?,
            listener: Listener::open()?,
            queue: Queue::default(),
            claims: Claims::default(),
            own: Own::default(),
            kin: Relatives {
                ask: kin,
                macs: HashSet::new(),
                asked: None,
            },
            budget: Budget::default(),
            same_link: HashSet::new(),
            news,
        };
        let task = tokio::spawn(work.run(receiver));
        Ok(Self { orders, task })
    }

    /// Finds out whether somebody else has an EIP, and goes on listening until it is released.
    pub fn claim(&self, claim: Claim) {
        self.order(Order::Claim(claim));
    }

    /// An EIP need not be claimed any longer.
    pub fn release(&self, address: IpAddr) {
        self.order(Order::Release(address));
    }

    /// Says what this host is by now.
    pub fn know(&self, own: Own) {
        self.order(Order::Know(own));
    }

    /// Announces that `address` is at `mac` on that uplink, at once and again later.
    pub fn announce(&self, link: LinkKey, mac: [u8; 6], address: IpAddr) {
        let role = Role::Eip;
        let place = Place {
            link,
            role,
            address,
        };
        self.order(Order::Announce(place, mac));
    }

    /// Announces to the guests on a port that their gateway is at `mac`, likewise.
    pub fn announce_gateway(&self, link: LinkKey, mac: [u8; 6], address: IpAddr) {
        let role = Role::Gateway;
        let place = Place {
            link,
            role,
            address,
        };
        self.order(Order::Announce(place, mac));
    }

    /// Ends the announcements of an EIP that is no longer served here.
    pub fn cancel(&self, link: LinkKey, address: IpAddr) {
        let role = Role::Eip;
        self.order(Order::Cancel(Place {
            link,
            role,
            address,
        }));
    }

    /// Ends the announcements of gateways on a port that guests have left.
    pub fn leave(&self, link: LinkKey) {
        self.order(Order::Leave(link));
    }

    fn order(&self, order: Order) {
        // The task ends with `self`, so that it is there to receive.
        let _ = self.orders.send(order);
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task.
struct Work {
    socket: PacketSender,
    listener: Listener,
    queue: Queue,
    claims: Claims,
    own: Own,
    kin: Relatives,
    budget: Budget,
    /// What was told of already since this host is what it is.
    same_link: HashSet<(u32, u32)>,
    news: mpsc::UnboundedSender<AnnouncerEvent>,
}

/// See [`Kin`].
struct Relatives {
    ask: Kin,
    macs: HashSet<[u8; 6]>,
    asked: Option<Instant>,
}

impl Relatives {
    fn have(&mut self, mac: [u8; 6], now: Instant) -> bool {
        if self.asked.is_none_or(|asked| now - asked >= KIN) {
            self.macs = (self.ask)();
            self.asked = Some(now);
        }
        self.macs.contains(&mac)
    }
}

/// What may still be sent.
#[derive(Debug, Default)]
struct Budget {
    until: Option<Instant>,
    announcements: u32,
    probes: u32,
}

impl Budget {
    fn renew(&mut self, now: Instant) {
        if self.until.is_none_or(|until| now >= until) {
            *self = Self {
                until: Some(now + PAUSE),
                announcements: BURST,
                probes: PROBES,
            };
        }
    }

    /// When what is due then may be sent.
    fn defer(&self, due: Option<Instant>, left: u32) -> Option<Instant> {
        match self.until {
            Some(until) if left == 0 => due.map(|due| due.max(until)),
            _ => due,
        }
    }
}

impl Work {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let due = self.next_due();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.take(order),
                    None => return,
                },
                heard = self.listener.hear() => self.listen(&heard),
                () = until(due) => {}
            }
            while let Ok(order) = orders.try_recv() {
                self.take(order);
            }
            self.send();
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let Budget {
            announcements,
            probes,
            ..
        } = self.budget;
        let both = [
            self.budget.defer(self.queue.next_due(), announcements),
            self.budget.defer(self.claims.next_due(), probes),
        ];
        both.into_iter().flatten().min()
    }

    fn take(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Claim(claim) => self.claims.claim(claim, now),
            Order::Release(address) => self.claims.release(address),
            Order::Know(own) => {
                self.own = own;
                self.same_link.clear();
            }
            Order::Announce(..) | Order::Cancel(_) | Order::Leave(_) => {
                self.queue.take(&order, now);
            }
        }
    }

    fn listen(&mut self, heard: &[listener::Heard]) {
        let now = Instant::now();
        for one in heard {
            let mut uplinks = self.own.uplinks.iter();
            let sender = uplinks.find(|(home, mac)| *mac == one.source && *home != one.home);
            if let Some((home, _)) = sender
                && self.own.uplinks.iter().any(|(home, _)| *home == one.home)
                && self.same_link.insert((*home, one.home))
            {
                let _ = self.news.send(AnnouncerEvent::SameLink(*home, one.home));
            }
            let Some(evidence) = &one.evidence else {
                continue;
            };
            // What this host says itself comes back where a link has a loop, and from what it said
            // before, caches answer.
            if !self.claims.has(evidence.address)
                || self.own.macs.contains(&evidence.mac)
                || self.kin.have(evidence.mac, now)
            {
                continue;
            }
            match self.claims.hear(evidence, now) {
                Some(claims::Heard::Lost(verdict)) => self.tell(verdict),
                Some(claims::Heard::Defend(probe)) => self.queue.defend(probe, now),
                None => {}
            }
        }
    }

    fn send(&mut self) {
        let now = Instant::now();
        self.budget.renew(now);
        while self.budget.announcements > 0
            && let Some((place, mac)) = self.queue.pop(now)
        {
            let Place { link, address, .. } = place;
            if let Err(error) = self.socket.send(link, &frame(mac, place)) {
                debug!(?link, %address, %error, "not announced");
            }
            self.budget.announcements -= 1;
        }
        while self.budget.probes > 0
            && let Some(next) = self.claims.next(now)
        {
            match next {
                Ok(Probe { link, mac, address }) => {
                    if let Err(error) = self.socket.send(link, &probe(mac, address)) {
                        debug!(?link, %address, %error, "not asked for");
                    }
                    self.budget.probes -= 1;
                }
                Err(verdict) => self.tell(verdict),
            }
        }
    }

    fn tell(&self, verdict: Verdict) {
        // Without anybody who wants to know, the daemon ends.
        let _ = self.news.send(AnnouncerEvent::Verdict(verdict));
    }
}

/// What is still to be sent, and when.
#[derive(Debug, Default)]
struct Queue {
    schedule: Schedule<Place>,
    pending: BTreeMap<Place, Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    mac: [u8; 6],
    sent: usize,
}

impl Queue {
    fn take(&mut self, order: &Order, now: Instant) {
        match *order {
            Order::Announce(place, mac) => {
                self.schedule.set(place, now);
                self.pending.insert(place, Pending { mac, sent: 0 });
            }
            Order::Cancel(place) => {
                self.schedule.remove(place);
                self.pending.remove(&place);
            }
            Order::Leave(link) => {
                let end = |address| Place {
                    link,
                    role: Role::Gateway,
                    address,
                };
                let first = end(Ipv4Addr::UNSPECIFIED.into());
                let last = end(Ipv6Addr::from_bits(u128::MAX).into());
                let left: Vec<Place> = self
                    .pending
                    .range(first..=last)
                    .map(|(one, _)| *one)
                    .collect();
                for place in left {
                    self.schedule.remove(place);
                    self.pending.remove(&place);
                }
            }
            Order::Claim(_) | Order::Release(_) | Order::Know(_) => {}
        }
    }

    /// Announces an EIP once, unless it is being announced anyway.
    fn defend(&mut self, probe: Probe, now: Instant) {
        let place = Place {
            link: probe.link,
            role: Role::Eip,
            address: probe.address,
        };
        let mac = probe.mac;
        let sent = self
            .pending
            .get(&place)
            .map_or(REPEATS.len(), |one| one.sent);
        self.schedule.set(place, now);
        self.pending.insert(place, Pending { mac, sent });
    }

    /// The announcement that has been due for longest, if any is.
    fn pop(&mut self, now: Instant) -> Option<(Place, [u8; 6])> {
        let place = self.schedule.pop(now)?;
        let pending = self.pending.get_mut(&place)?;
        let mac = pending.mac;
        if let Some(distance) = REPEATS.get(pending.sent) {
            pending.sent += 1;
            self.schedule.set(place, now + *distance);
        } else {
            self.pending.remove(&place);
        }
        Some((place, mac))
    }

    fn next_due(&self) -> Option<Instant> {
        self.schedule.next_due()
    }
}

/// What makes the neighbours change their entries of the address.
fn frame(mac: [u8; 6], place: Place) -> Vec<u8> {
    match place.address {
        IpAddr::V4(address) => arp_request(mac, address, address),
        IpAddr::V6(address) => neighbour_advertisement(mac, address, place.role),
    }
}

/// What somebody answers who has the address.
fn probe(mac: [u8; 6], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp_request(mac, Ipv4Addr::UNSPECIFIED, address),
        IpAddr::V6(address) => neighbour_solicitation(mac, address),
    }
}

/// An ARP request for `address` to everybody, padded to the shortest frame of Ethernet. From the
/// address itself it announces it.
fn arp_request(mac: [u8; 6], sender: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    /// Without the frame check sequence.
    const SHORTEST: usize = 60;
    let ethernet = Ethernet {
        destination: [0xff; 6],
        source: mac,
    };
    let mut frame = ethernet.begin(ethertype::ARP);
    // Ethernet, IPv4, lengths 6 and 4, request.
    frame.extend([0, 1, 0x08, 0x00, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(SHORTEST, 0);
    frame
}

/// A solicitation of who has no address yet, to those who may have this one (RFC 4862 5.4.2).
fn neighbour_solicitation(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    const TYPE: u8 = 135;
    let mut message = vec![TYPE, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    let [.., a, b, c] = address.octets();
    // The solicited-node address (RFC 4291 2.7.1).
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&[a, b, c]);
    let envelope = Envelope {
        ethernet: Ethernet {
            destination: [0x33, 0x33, 0xff, a, b, c],
            source: mac,
        },
        source: Ipv6Addr::UNSPECIFIED,
        destination: group.into(),
    };
    envelope.icmp(message)
}

/// An advertisement that nobody asked for, to every node: it overrides what they know. An EIP is an
/// address of a guest, and only a gateway is a router: who hears otherwise of its router takes it
/// off its list (RFC 4861, 7.2.5).
fn neighbour_advertisement(mac: [u8; 6], address: Ipv6Addr, role: Role) -> Vec<u8> {
    const TYPE: u8 = 136;
    const ROUTER: u8 = 0x80;
    const OVERRIDE: u8 = 0x20;
    /// Option target link-layer address, of 8 bytes.
    const TARGET_ADDRESS: [u8; 2] = [2, 1];
    let flags = match role {
        Role::Eip => OVERRIDE,
        Role::Gateway => ROUTER | OVERRIDE,
    };
    let mut message = vec![TYPE, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    message.extend(TARGET_ADDRESS);
    message.extend(mac);
    let envelope = Envelope {
        ethernet: Ethernet {
            destination: ALL_NODES_MAC,
            source: mac,
        },
        source: address,
        destination: ALL_NODES,
    };
    envelope.icmp(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn place(last: u8) -> Place {
        Place {
            link: LinkKey::untagged(3),
            role: Role::Eip,
            address: Ipv4Addr::new(203, 0, 113, last).into(),
        }
    }

    /// The gateway of the guests on that VLAN.
    fn gateway(vlan: u16, address: &str) -> Place {
        Place {
            link: LinkKey::tagged(3, vlan),
            role: Role::Gateway,
            address: address.parse().unwrap(),
        }
    }

    /// Everything that is sent from now on, with the seconds since `start`.
    fn drain(queue: &mut Queue, start: Instant) -> Vec<(u64, Place, [u8; 6])> {
        let mut sent = Vec::new();
        while let Some(due) = queue.next_due() {
            let (place, mac) = queue.pop(due).unwrap();
            sent.push(((due - start).as_secs(), place, mac));
        }
        sent
    }

    #[test]
    fn an_eip_is_announced_three_times_with_growing_distance() {
        let mut queue = Queue::default();
        let start = Instant::now();
        queue.take(&Order::Announce(place(9), MAC), start);
        assert_eq!(
            drain(&mut queue, start),
            [(0, place(9), MAC), (1, place(9), MAC), (4, place(9), MAC)]
        );
        assert!(queue.pending.is_empty());
    }

    #[test]
    fn a_newer_announcement_replaces_an_older_and_a_cancelled_one_ends() {
        let other = [2, 0, 0, 0, 0, 2];
        let mut queue = Queue::default();
        let start = Instant::now();
        queue.take(&Order::Announce(place(1), MAC), start);
        queue.take(&Order::Announce(place(2), MAC), start);
        assert_eq!(queue.pop(start), Some((place(1), MAC)));
        queue.take(&Order::Announce(place(1), other), start);
        queue.take(&Order::Cancel(place(2)), start);
        queue.take(&Order::Cancel(place(77)), start);
        assert_eq!(
            drain(&mut queue, start),
            [
                (0, place(1), other),
                (1, place(1), other),
                (4, place(1), other)
            ]
        );
    }

    #[test]
    fn first_announcements_go_before_repeats() {
        let mut queue = Queue::default();
        let start = Instant::now();
        queue.take(&Order::Announce(place(1), MAC), start);
        queue.pop(start).unwrap();
        queue.take(&Order::Announce(place(2), MAC), start + REPEATS[0] / 2);
        let late = start + REPEATS[0] * 2;
        assert_eq!(queue.pop(late).unwrap().0, place(2));
        assert_eq!(queue.pop(late).unwrap().0, place(1));
        assert_eq!(queue.pop(late), None);
    }

    #[test]
    fn an_ipv4_eip_is_announced_by_a_gratuitous_request() {
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2,
            0, 0, 0, 0, 1, 203, 0, 113, 9, 0, 0, 0, 0, 0, 0, 203, 0, 113, 9, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(frame(MAC, place(9)), expected);
    }

    #[test]
    fn an_ipv6_eip_is_announced_by_an_advertisement_that_overrides() {
        let address: Ipv6Addr = "2001:db8::9".parse().unwrap();
        // The checksum was computed by scapy.
        let expected = [
            0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255,
            0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 2, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 1, 136, 0, 0xf9, 0x1a, 0x20, 0, 0, 0, 0x20, 1, 0x0d, 0xb8, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 9, 2, 1, 2, 0, 0, 0, 0, 1,
        ];
        let mut place = place(9);
        place.address = address.into();
        assert_eq!(frame(MAC, place), expected);

        // A gateway is a router, and by that its checksum is another one.
        place.role = Role::Gateway;
        let mut router = expected;
        router[58] |= 0x80;
        let [high, low] = (u16::from_be_bytes([router[56], router[57]]) - 0x8000).to_be_bytes();
        (router[56], router[57]) = (high, low);
        assert_eq!(frame(MAC, place), router);
    }

    #[test]
    fn an_eip_is_defended_by_one_announcement() {
        let mut queue = Queue::default();
        let start = Instant::now();
        let probe = Probe {
            link: place(9).link,
            mac: MAC,
            address: place(9).address,
        };
        queue.defend(probe, start);
        assert_eq!(drain(&mut queue, start), [(0, place(9), MAC)]);
        queue.take(&Order::Announce(place(9), MAC), start);
        queue.defend(probe, start);
        assert_eq!(drain(&mut queue, start).len(), 3);
    }

    /// By scapy:
    /// `Ether(src=…,dst='33:33:ff:00:00:09')/IPv6(src='::',dst='ff02::1:ff00:9',hlim=255)` and
    /// `/ICMPv6ND_NS(tgt=…)`.
    #[test]
    fn an_ipv6_eip_is_asked_for_as_a_duplicate_is() {
        let expected = [
            0x33, 0x33, 0xff, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0xff, 0, 0, 9, 135, 0, 0x4c, 0xdd, 0, 0, 0, 0, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 9,
        ];
        assert_eq!(probe(MAC, "2001:db8::9".parse().unwrap()), expected);
    }

    #[test]
    fn nothing_of_a_gateway_is_said_on_a_port_that_guests_have_left() {
        let mut queue = Queue::default();
        let start = Instant::now();
        let kept = [place(1), gateway(8, "10.0.0.1"), gateway(0, "10.0.0.1")];
        let left = [
            gateway(7, "10.0.0.1"),
            gateway(7, "fd00::1"),
            gateway(7, "ff:ff::"),
        ];
        for place in kept.into_iter().chain(left) {
            queue.take(&Order::Announce(place, MAC), start);
        }
        queue.take(&Order::Leave(LinkKey::tagged(3, 7)), start);
        let said = drain(&mut queue, start);
        assert_eq!(said.len(), 3 * kept.len());
        assert!(said.iter().all(|(_, place, _)| kept.contains(place)));
        assert!(queue.pending.is_empty());
    }
}

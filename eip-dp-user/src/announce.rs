//! Tells the neighbours on an uplink where an EIP is now: gratuitous ARP (RFC 5227, 3).
//!
//! A router that still sends to another Ethernet address learns the new one at once. Each EIP is announced three
//! times, with growing distance, because nothing confirms that an announcement arrived. Thousands of EIPs may move
//! together: what is due is sent at a bounded rate, and a newer announcement of an EIP takes the place of an older one.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::Ipv4Addr,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tracing::debug;

use crate::host::packet_socket::PacketSender;

/// How long after the announcement before it the next one of the same EIP is sent.
const REPEATS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// So many frames may be sent in one go …
const BURST: u32 = 32;
/// … and then this pause is made: 3,200 frames a second at most.
const PAUSE: Duration = Duration::from_millis(10);

/// Announces EIPs on uplinks. Dropping it ends all announcements.
#[derive(Debug)]
pub struct Announcer {
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

/// An EIP on an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    interface: u32,
    address: Ipv4Addr,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Announce(Place, [u8; 6]),
    Cancel(Place),
}

impl Announcer {
    /// Starts the task that announces, in the network namespace of the calling thread. Needs `CAP_NET_RAW`.
    pub fn start() -> io::Result<Self> {
        let socket = PacketSender::open()?;
        let (orders, receiver) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(socket, receiver));
        Ok(Self { orders, task })
    }

    /// Announces that `address` is at `mac` on the interface of that index, at once and again later.
    pub fn announce(&self, interface: u32, mac: [u8; 6], address: Ipv4Addr) {
        self.order(Order::Announce(Place { interface, address }, mac));
    }

    /// Ends the announcements of an EIP that is no longer served here.
    pub fn cancel(&self, interface: u32, address: Ipv4Addr) {
        self.order(Order::Cancel(Place { interface, address }));
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

async fn run(socket: PacketSender, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut queue = Queue::default();
    loop {
        let due = queue.next_due();
        let order = tokio::select! {
            order = orders.recv() => match order {
                Some(order) => Some(order),
                None => return,
            },
            () = until(due) => None,
        };
        let now = Instant::now();
        if let Some(order) = order {
            queue.take(order, now);
        }
        while let Ok(order) = orders.try_recv() {
            queue.take(order, now);
        }
        let mut sent = 0;
        while sent < BURST
            && let Some((place, mac)) = queue.pop(now)
        {
            if let Err(error) = socket.send(place.interface, &frame(mac, place.address)) {
                debug!(interface = place.interface, address = %place.address, %error, "not announced");
            }
            sent += 1;
        }
        if sent == BURST {
            sleep(PAUSE).await;
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What is still to be sent, and when.
#[derive(Debug, Default)]
struct Queue {
    order: BTreeSet<(Instant, Place)>,
    pending: HashMap<Place, Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    mac: [u8; 6],
    due: Instant,
    sent: usize,
}

impl Queue {
    fn take(&mut self, order: Order, now: Instant) {
        match order {
            Order::Announce(place, mac) => {
                self.remove(place);
                self.insert(
                    place,
                    Pending {
                        mac,
                        due: now,
                        sent: 0,
                    },
                );
            }
            Order::Cancel(place) => self.remove(place),
        }
    }

    /// The announcement that has been due for longest, if any is.
    fn pop(&mut self, now: Instant) -> Option<(Place, [u8; 6])> {
        let (due, place) = *self.order.first()?;
        if due > now {
            return None;
        }
        let mut pending = self.pending[&place];
        self.remove(place);
        if let Some(distance) = REPEATS.get(pending.sent) {
            pending.sent += 1;
            pending.due = now + *distance;
            self.insert(place, pending);
        }
        Some((place, pending.mac))
    }

    fn next_due(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    fn insert(&mut self, place: Place, pending: Pending) {
        self.order.insert((pending.due, place));
        self.pending.insert(place, pending);
    }

    fn remove(&mut self, place: Place) {
        if let Some(pending) = self.pending.remove(&place) {
            self.order.remove(&(pending.due, place));
        }
    }
}

/// An ARP request for `address` from `address` itself, to everybody, padded to the shortest frame of Ethernet.
fn frame(mac: [u8; 6], address: Ipv4Addr) -> [u8; 60] {
    let address = address.octets();
    let mut frame = [0; 60];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac);
    // EtherType ARP, Ethernet, IPv4, lengths 6 and 4, request.
    frame[12..22].copy_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&address);
    frame[38..42].copy_from_slice(&address);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn place(last: u8) -> Place {
        Place {
            interface: 3,
            address: Ipv4Addr::new(203, 0, 113, last),
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
        queue.take(Order::Announce(place(9), MAC), start);
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
        queue.take(Order::Announce(place(1), MAC), start);
        queue.take(Order::Announce(place(2), MAC), start);
        assert_eq!(queue.pop(start), Some((place(1), MAC)));
        queue.take(Order::Announce(place(1), other), start);
        queue.take(Order::Cancel(place(2)), start);
        queue.take(Order::Cancel(place(77)), start);
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
        queue.take(Order::Announce(place(1), MAC), start);
        queue.pop(start).unwrap();
        queue.take(Order::Announce(place(2), MAC), start + REPEATS[0] / 2);
        let late = start + REPEATS[0] * 2;
        assert_eq!(queue.pop(late).unwrap().0, place(2));
        assert_eq!(queue.pop(late).unwrap().0, place(1));
        assert_eq!(queue.pop(late), None);
    }

    #[test]
    fn the_frame_is_a_gratuitous_request() {
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2,
            0, 0, 0, 0, 1, 203, 0, 113, 9, 0, 0, 0, 0, 0, 0, 203, 0, 113, 9, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(frame(MAC, place(9).address), expected);
    }
}

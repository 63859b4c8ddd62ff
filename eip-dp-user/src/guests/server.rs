//! What stands around the servers: the ring that requests come by, and the socket that answers
//! leave by.

use std::{io, sync::Arc, time::Duration};

use eip_dp_common::abi::LinkKey;
use fastrand::Rng;
use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, sleep},
};
use tracing::{debug, warn};

use super::{
    Client, LeaseTable, Requests,
    buckets::Buckets,
    dhcp4, dhcp6,
    ra::{self, Advertiser},
    requests::{fresh, now},
};
use crate::{
    frame::{
        ethertype,
        v6::{self, Message},
    },
    host::packet_socket::PacketSender,
    schedule::until,
    shared::Claims,
};

/// How many requests are handled, or advertisements sent, before others on the runtime get their
/// turn.
const BATCH: usize = 64;

/// How long to pause after an error of the ring itself.
const PAUSE: Duration = Duration::from_millis(100);

/// How long advertisements pause after a batch of them: 6,400 a second at most. Requests are
/// answered meanwhile.
const ADVERTISING_PAUSE: Duration = Duration::from_millis(10);

/// The servers of a gateway's guests.
#[derive(Debug)]
pub struct Server {
    requests: Requests,
    answers: Answers,
    /// Advertisements that are due before wait until then.
    advertise_from: Instant,
}

impl Server {
    /// Serves whose requests come there. Opens the socket for answers in the network namespace of
    /// the calling thread, for which it needs `CAP_NET_RAW`.
    pub fn open(requests: Requests, claims: Claims) -> io::Result<Self> {
        Ok(Self {
            requests,
            answers: Answers {
                socket: PacketSender::open()?,
                claims,
                buckets4: Buckets::default(),
                buckets6: Buckets::default(),
                advertiser: Advertiser::new(Rng::new()),
            },
            advertise_from: Instant::now(),
        })
    }

    /// Serves from the newest directory for as long as it is polled.
    pub async fn run(mut self, mut directory: watch::Receiver<Arc<LeaseTable>>) {
        directory.mark_changed();
        loop {
            if let Err(error) = self.next(&mut directory).await {
                warn!(%error, "the ring of guests' requests cannot be read");
                sleep(PAUSE).await;
            }
        }
    }

    async fn next(&mut self, directory: &mut watch::Receiver<Arc<LeaseTable>>) -> io::Result<()> {
        let due = self.answers.advertiser.next_due();
        let due = due.map(|due| due.max(self.advertise_from));
        tokio::select! {
            ready = self.requests.readable() => {
                ready?;
                let directory = directory.borrow().clone();
                self.batch(&directory)?;
                yield_now().await;
            }
            () = changed(directory) => {
                let directory = directory.borrow_and_update().clone();
                self.answers.follow(&directory);
            }
            () = until(due) => {
                if self.answers.advertise() {
                    self.advertise_from = Instant::now() + ADVERTISING_PAUSE;
                }
            }
        }
        Ok(())
    }

    /// Handles what is there, as far as it is one's turn: what is left is still there at the next.
    fn batch(&mut self, directory: &LeaseTable) -> io::Result<()> {
        let (clock, instant) = (now(), Instant::now());
        let Self {
            requests, answers, ..
        } = self;
        for _ in 0..BATCH {
            let handled = requests.next(|element| {
                if let Some((port, frame)) = fresh(element, clock) {
                    answers.handle(frame, port, directory, instant);
                }
            })?;
            if handled.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// What is said to guests.
#[derive(Debug)]
struct Answers {
    socket: PacketSender,
    claims: Claims,
    buckets4: Buckets,
    buckets6: Buckets,
    advertiser: Advertiser,
}

impl Answers {
    fn follow(&mut self, directory: &Arc<LeaseTable>) {
        self.buckets4.keep_only_those_of(&directory.leases4);
        self.buckets6.keep_only_those_of(&directory.leases6);
        self.advertiser.follow(directory, Instant::now());
    }

    fn handle(&mut self, frame: &[u8], port: LinkKey, directory: &LeaseTable, now: Instant) {
        if let Some(frames) = directory.sharers.take(port, frame, &self.claims) {
            for (port, frame) in frames {
                if let Err(error) = self.socket.send(port, &frame) {
                    debug!(?port, %error, "an advertisement could not be passed on");
                }
            }
            return;
        }
        let reply = match frame.get(12..).and_then(|rest| rest.first_chunk()) {
            Some(found) if *found == ethertype::IPV4.to_be_bytes() => {
                let allow = |client| self.buckets4.take(client, now);
                dhcp4::answer(frame, port, directory, allow)
            }
            Some(found) if *found == ethertype::IPV6.to_be_bytes() => {
                self.answer6(frame, port, directory, now)
            }
            _ => None,
        };
        if let Some(reply) = reply
            && let Err(error) = self.socket.send(port, &reply)
        {
            debug!(?port, %error, "a reply could not be sent");
        }
    }

    fn answer6(
        &mut self,
        frame: &[u8],
        port: LinkKey,
        directory: &LeaseTable,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let received = v6::parse(frame)?;
        let mut allow = |client| self.buckets6.take(client, now);
        match received.message {
            Message::Dhcp(message) => dhcp6::answer(&received, message, port, directory, allow),
            Message::Icmp(message) => {
                let source = ra::solicitor(received.source, received.hop_limit, message)?;
                let guest = Client::on(port, received.mac);
                if directory.leases6.contains_key(&guest) && allow(guest) {
                    self.advertiser.answer(guest, source, now);
                }
                None
            }
        }
    }

    /// Sends a batch of the advertisements that are due. Returns whether more may be.
    fn advertise(&mut self) -> bool {
        let now = Instant::now();
        for _ in 0..BATCH {
            let Some((port, frame)) = self.advertiser.pop(now) else {
                return false;
            };
            if let Err(error) = self.socket.send(port, &frame) {
                debug!(?port, %error, "not advertised");
            }
        }
        true
    }
}

/// Returns when there is a newer directory; never once nobody is left to publish one.
async fn changed(directory: &mut watch::Receiver<Arc<LeaseTable>>) {
    if directory.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

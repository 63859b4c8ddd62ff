//! The sockets around the servers.

use std::{io, sync::Arc, time::Duration};

use eip_dp_common::abi::LinkKey;
use fastrand::Rng;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{debug, warn};

use super::{
    Client, Directory,
    buckets::Buckets,
    dhcp4, dhcp6, filter,
    ra::{self, Advertiser},
};
use crate::{
    frame::{
        ethertype,
        v6::{self, Message},
    },
    host::packet_socket::PacketSocket,
    schedule::until,
};

/// How many frames are handled, or advertisements sent, before others on the runtime get their turn.
const BATCH: usize = 64;

/// Longer frames are no request of any client in use.
const LONGEST_FRAME: usize = 2048;

/// How long to pause after an error of the socket itself.
const PAUSE: Duration = Duration::from_millis(100);

/// How long to pause after a batch of advertisements: 6,400 a second at most.
const ADVERTISING_PAUSE: Duration = Duration::from_millis(10);

/// The servers of guests in one network namespace.
#[derive(Debug)]
pub struct Server {
    ipv4: PacketSocket,
    ipv6: PacketSocket,
}

impl Server {
    /// Opens the sockets in the network namespace of the calling thread. Needs `CAP_NET_RAW`.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            ipv4: PacketSocket::open(ethertype::IPV4, &filter::ipv4())?,
            ipv6: PacketSocket::open(ethertype::IPV6, &filter::ipv6())?,
        })
    }

    /// Serves from the newest directory for as long as it is polled.
    pub async fn run(self, directory: watch::Receiver<Arc<Directory>>) {
        let ipv4 = Ipv4 {
            socket: self.ipv4,
            buckets: Buckets::default(),
            directory: directory.clone(),
        };
        let ipv6 = Ipv6 {
            socket: self.ipv6,
            buckets: Buckets::default(),
            advertiser: Advertiser::new(Rng::new()),
            directory,
        };
        tokio::join!(ipv4.run(), ipv6.run());
    }
}

struct Ipv4 {
    socket: PacketSocket,
    buckets: Buckets,
    directory: watch::Receiver<Arc<Directory>>,
}

impl Ipv4 {
    async fn run(mut self) {
        loop {
            if let Err(error) = self.batch().await {
                warn!(%error, "the DHCP socket failed to receive");
                sleep(PAUSE).await;
            }
        }
    }

    async fn batch(&mut self) -> io::Result<()> {
        self.socket.readable().await?;
        let directory = self.directory.borrow().clone();
        self.buckets.keep_only_those_of(&directory.leases4);
        let buckets = &mut self.buckets;
        let now = Instant::now();
        handle(&self.socket, |frame, link| {
            let allow = |client| buckets.take(client, now);
            dhcp4::answer(frame, link, &directory, allow)
        })?;
        tokio::task::yield_now().await;
        Ok(())
    }
}

struct Ipv6 {
    socket: PacketSocket,
    buckets: Buckets,
    advertiser: Advertiser,
    directory: watch::Receiver<Arc<Directory>>,
}

impl Ipv6 {
    async fn run(mut self) {
        self.directory.mark_changed();
        loop {
            if let Err(error) = self.next().await {
                warn!(%error, "the socket for DHCPv6 and router solicitations failed to receive");
                sleep(PAUSE).await;
            }
        }
    }

    async fn next(&mut self) -> io::Result<()> {
        tokio::select! {
            ready = self.socket.readable() => {
                ready?;
                self.batch()?;
                tokio::task::yield_now().await;
            }
            () = changed(&mut self.directory) => {
                let directory = self.directory.borrow_and_update().clone();
                self.buckets.keep_only_those_of(&directory.leases6);
                self.advertiser.follow(&directory, Instant::now());
            }
            () = until(self.advertiser.next_due()) => self.advertise().await,
        }
        Ok(())
    }

    fn batch(&mut self) -> io::Result<()> {
        let directory = self.directory.borrow().clone();
        let Self {
            socket,
            buckets,
            advertiser,
            ..
        } = self;
        let now = Instant::now();
        handle(socket, |frame, link| {
            let received = v6::parse(frame)?;
            let mut allow = |client| buckets.take(client, now);
            match received.message {
                Message::Dhcp(message) => {
                    dhcp6::answer(&received, message, link, &directory, allow)
                }
                Message::Icmp(message) => {
                    let source = ra::solicitor(received.source, received.hop_limit, message)?;
                    let guest = Client::on(link, received.mac);
                    if directory.leases6.contains_key(&guest) && allow(guest) {
                        advertiser.answer(guest, source, now);
                    }
                    None
                }
            }
        })
    }

    async fn advertise(&mut self) {
        let now = Instant::now();
        for _ in 0..BATCH {
            let Some((port, frame)) = self.advertiser.pop(now) else {
                return;
            };
            if let Err(error) = self.socket.send(port, &frame) {
                debug!(?port, %error, "not advertised");
            }
        }
        sleep(ADVERTISING_PAUSE).await;
    }
}

/// Hands a batch of frames to `answer`, and sends what it gives.
fn handle(
    socket: &PacketSocket,
    mut answer: impl FnMut(&[u8], LinkKey) -> Option<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = [0; LONGEST_FRAME];
    for _ in 0..BATCH {
        let Some((length, link)) = socket.receive(&mut buffer)? else {
            return Ok(());
        };
        let Some(reply) = answer(&buffer[..length], link) else {
            continue;
        };
        if let Err(error) = socket.send(link, &reply) {
            debug!(?link, %error, "a reply could not be sent");
        }
    }
    Ok(())
}

/// Returns when there is a newer directory; never once nobody is left to publish one.
async fn changed(directory: &mut watch::Receiver<Arc<Directory>>) {
    if directory.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

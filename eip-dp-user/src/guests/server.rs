//! The socket around [`answer`].
//!
//! The program on a port marks its guests' DHCP packets as meant for another host and lets them pass. So they end
//! here and nowhere else on this host, and the host's own DHCP traffic never comes here.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::SockFilter;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::{Client, Directory, answer};
use crate::host::packet_socket::PacketSocket;

const ETHERTYPE_IPV4: u16 = 0x0800;

/// How many frames are handled before others on the runtime get their turn.
const BATCH: usize = 64;

/// Longer frames are no DHCP request of any client in use.
const LONGEST_FRAME: usize = 2048;

/// A client may send this many requests at once …
const BURST: u32 = 16;
/// … and one more for each such interval; what goes beyond is dropped.
const REFILL: Duration = Duration::from_millis(250);

/// How long to pause after an error of the socket itself.
const PAUSE: Duration = Duration::from_millis(100);

/// The DHCP server of one network namespace.
#[derive(Debug)]
pub struct Server {
    socket: PacketSocket,
}

impl Server {
    /// Opens the socket in the network namespace of the calling thread. Needs `CAP_NET_RAW`.
    pub fn open() -> io::Result<Self> {
        PacketSocket::open(ETHERTYPE_IPV4, &filter()).map(|socket| Self { socket })
    }

    /// Answers requests from the newest directory for as long as it is polled.
    pub async fn run(self, directory: watch::Receiver<Arc<Directory>>) {
        let mut buckets = Buckets::default();
        let mut buffer = [0; LONGEST_FRAME];
        loop {
            if let Err(error) = self.batch(&directory, &mut buckets, &mut buffer).await {
                warn!(%error, "the DHCP socket failed to receive");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn batch(
        &self,
        directory: &watch::Receiver<Arc<Directory>>,
        buckets: &mut Buckets,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        self.socket.readable().await?;
        let directory = directory.borrow().clone();
        buckets.keep_only_those_of(&directory);
        let now = Instant::now();
        for _ in 0..BATCH {
            let Some((length, interface)) = self.socket.receive(buffer)? else {
                return Ok(());
            };
            let allow = |client| buckets.take(client, now);
            let Some(reply) = answer(&buffer[..length], interface, &directory, allow) else {
                continue;
            };
            if let Err(error) = self.socket.send(interface, &reply) {
                debug!(interface, %error, "a DHCP reply could not be sent");
            }
        }
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// Token buckets, one for each client of the directory that ever asked.
#[derive(Debug, Default)]
struct Buckets(HashMap<Client, Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    /// Up to when the refill is counted in.
    since: Instant,
}

impl Buckets {
    fn take(&mut self, client: Client, now: Instant) -> bool {
        let bucket = self.0.entry(client).or_insert(Bucket {
            tokens: BURST,
            since: now,
        });
        let refills = now.saturating_duration_since(bucket.since).as_millis() / REFILL.as_millis();
        let refills = u32::try_from(refills).unwrap_or(u32::MAX);
        if refills > 0 {
            bucket.tokens = bucket.tokens.saturating_add(refills).min(BURST);
            bucket.since = now;
        }
        let allowed = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        allowed
    }

    /// Forgets clients that left, so that there are never more than the directory has.
    fn keep_only_those_of(&mut self, directory: &Directory) {
        if self.0.len() > directory.leases.len() {
            self.0
                .retain(|client, _| directory.leases.contains_key(client));
        }
    }
}

/// Passes whole IPv4 frames to UDP port 67 that the kernel believes to be for another host.
///
/// A VLAN tag that nobody on this host handles is no longer there when a frame gets here: such a request is answered
/// as if it had none, with the lease of its own sender, on the port where it came in.
fn filter() -> [SockFilter; 13] {
    let packet_type = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
    let load = |size: u32, offset: u32| op(libc::BPF_LD | size | libc::BPF_ABS, 0, 0, offset);
    let unless_equal = |value: u32, skip: u8| op(libc::BPF_JMP | libc::BPF_JEQ, 0, skip, value);
    [
        load(libc::BPF_W, packet_type),
        unless_equal(libc::PACKET_OTHERHOST.into(), 10),
        load(libc::BPF_H, 12),
        unless_equal(ETHERTYPE_IPV4.into(), 8),
        load(libc::BPF_B, 14 + 9),
        unless_equal(17, 6),
        // More fragments, or not the first.
        load(libc::BPF_H, 14 + 6),
        op(libc::BPF_JMP | libc::BPF_JSET, 4, 0, 0x3fff),
        // The length of the IP header, into the index register.
        op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 14),
        op(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 0, 0, 14 + 2),
        unless_equal(67, 1),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "every code is a combination of constants below 256"
)]
fn op(code: u32, if_true: u8, if_false: u8, value: u32) -> SockFilter {
    SockFilter::new(code as u16, if_true, if_false, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_a_patient_client_is_served_again() {
        let client = |last| Client {
            interface: 1,
            vlan: 0,
            mac: [2, 0, 0, 0, 0, last],
        };
        let mut buckets = Buckets::default();
        let start = Instant::now();
        let served = (0..100).filter(|_| buckets.take(client(1), start)).count();
        assert_eq!(served, 16);
        assert!(buckets.take(client(2), start), "others are not affected");
        assert!(!buckets.take(client(1), start + REFILL / 2));
        assert!(buckets.take(client(1), start + REFILL));
        assert!(!buckets.take(client(1), start + REFILL));
        let later = start + REFILL * 1000;
        let served = (0..100).filter(|_| buckets.take(client(1), later)).count();
        assert_eq!(served, 16);

        buckets.keep_only_those_of(&Directory::default());
        assert!(buckets.0.is_empty());
    }
}

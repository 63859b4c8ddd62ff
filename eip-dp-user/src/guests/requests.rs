//! What guests ask, as the ports' programs hand it over: a ring that they put each frame into,
//! checked, within the sender's budget, and beside the port that it came from. Nothing else comes
//! here: no socket receives frames.

use std::{io, time::Duration};

use aya::maps::{MapData, RingBuf};
use eip_dp_common::abi::{LinkKey, RequestHeader};
use nix::time::{ClockId, clock_gettime};
use tokio::io::{Interest, unix::AsyncFd};

/// What is older waited for a daemon to start: its client has asked again since, or has given up.
const STALE: Duration = Duration::from_secs(2);

/// The reading end of the ring. There is one at a time: the daemon's.
pub struct Requests(AsyncFd<RingBuf<MapData>>);

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl Requests {
    /// Reads from that ring. Must be called within a tokio runtime.
    pub fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring owns its map's descriptor, always the same one, and closes it when it is
        // dropped, which `AsyncFd` does only after it has deregistered it; nothing here takes the
        // descriptor out of the ring.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        ring.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Waits until there may be one.
    pub(super) async fn readable(&mut self) -> io::Result<()> {
        self.0
            .readable_mut()
            .await
            .map(|mut guard| guard.retain_ready())
    }

    /// Hands the next element to `read`, and gives its room back. `None`: there is none.
    pub(super) fn next<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<Option<R>> {
        let taken = self.0.try_io_mut(Interest::READABLE, |ring| {
            let element = ring.next().ok_or(io::ErrorKind::WouldBlock)?;
            Ok(read(&element))
        });
        match taken {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The port that a request came from, and its frame. `None`: it is stale, or nothing that a program
/// writes.
pub(super) fn fresh(element: &[u8], now: Duration) -> Option<(LinkKey, &[u8])> {
    let (header, frame) = RequestHeader::read(element)?;
    let age = now.saturating_sub(Duration::from_nanos(header.received_at));
    let port = LinkKey::stacked(header.ifindex, header.outer, header.vlan);
    (age <= STALE).then_some((port, frame))
}

/// The time of the clock that programs stamp requests by. Were it unknown, no request would be
/// stale.
pub(super) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element as a program writes it, with the padding that the ring adds.
    fn element(header: RequestHeader, frame: &[u8]) -> Vec<u8> {
        let mut element = Vec::new();
        element.extend(header.received_at.to_ne_bytes());
        element.extend(header.ifindex.to_ne_bytes());
        element.extend(header.vlan.to_ne_bytes());
        element.extend(header.outer.to_ne_bytes());
        element.extend(header.length.to_ne_bytes());
        element.extend(header.reserved.to_ne_bytes());
        element.extend(frame);
        element.resize(element.len().next_multiple_of(8), 0);
        element
    }

    fn header(received_at: Duration, length: u32) -> RequestHeader {
        RequestHeader {
            received_at: u64::try_from(received_at.as_nanos()).unwrap(),
            ifindex: 7,
            vlan: 20,
            outer: 3,
            length,
            reserved: 0,
        }
    }

    #[test]
    fn a_request_is_of_the_port_that_its_header_names() {
        let at = Duration::from_secs(1000);
        let element = element(header(at, 3), &[1, 2, 3]);
        let port = LinkKey::stacked(7, 3, 20);
        assert_eq!(fresh(&element, at), Some((port, &[1, 2, 3][..])));
    }

    #[test]
    fn what_waited_for_longer_than_two_seconds_is_skipped() {
        let at = Duration::from_secs(1000);
        let element = element(header(at, 3), &[1, 2, 3]);
        assert!(fresh(&element, at + STALE).is_some());
        assert_eq!(fresh(&element, at + STALE + Duration::from_nanos(1)), None);
        // One that came between the look at the clock and that at the ring.
        assert!(fresh(&element, Duration::from_secs(999)).is_some());
        assert!(now() > Duration::ZERO);
    }

    #[test]
    fn a_length_beyond_the_element_is_no_request() {
        let at = Duration::from_secs(1000);
        assert_eq!(fresh(&element(header(at, 9), &[1, 2, 3]), at), None);
        assert_eq!(fresh(&element(header(at, u32::MAX), &[]), at), None);
        assert_eq!(fresh(&[0; 23], at), None);
        assert_eq!(fresh(&[], at), None);
    }
}

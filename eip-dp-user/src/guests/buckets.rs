//! How much a client may ask.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{Client, Leases};

/// A client may send this many requests at once …
const BURST: u32 = 40;
/// … and one more for each such interval; what goes beyond is dropped. As much as the programs hand
/// over of an ENI ([`eip_dp_common::budget`]).
const REFILL: Duration = Duration::from_millis(50);

/// Token buckets, one for each client of the directory that ever asked.
#[derive(Debug, Default)]
pub(super) struct Buckets(HashMap<Client, Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    /// Up to when the refill is counted in.
    since: Instant,
}

impl Buckets {
    /// Whether a request of the client is to be answered now.
    pub(super) fn take(&mut self, client: Client, now: Instant) -> bool {
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
    pub(super) fn keep_only_those_of<L: Clone + PartialEq>(&mut self, leases: &Leases<L>) {
        if self.0.len() > leases.len() {
            self.0.retain(|client, _| leases.contains_key(client));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guests::Lease6;

    #[test]
    fn a_flood_is_cut_and_a_patient_client_is_served_again() {
        let client = |last| Client {
            interface: 1,
            vlan: 0,
            outer: 0,
            mac: [2, 0, 0, 0, 0, last],
        };
        let mut buckets = Buckets::default();
        let start = Instant::now();
        let served = (0..100).filter(|_| buckets.take(client(1), start)).count();
        assert_eq!(served, BURST as usize);
        assert!(buckets.take(client(2), start), "others are not affected");
        assert!(!buckets.take(client(1), start + REFILL / 2));
        assert!(buckets.take(client(1), start + REFILL));
        assert!(!buckets.take(client(1), start + REFILL));
        let later = start + REFILL * 1000;
        let served = (0..100).filter(|_| buckets.take(client(1), later)).count();
        assert_eq!(served, BURST as usize);

        buckets.keep_only_those_of(&Leases::<Lease6>::default());
        assert!(buckets.0.is_empty());
    }
}

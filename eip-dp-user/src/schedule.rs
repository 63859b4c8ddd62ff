//! What is to be done next, and when.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use tokio::time::{Instant, sleep_until};

/// Keys, each due at one time.
#[derive(Debug)]
pub struct Schedule<K> {
    order: BTreeSet<(Instant, K)>,
    due: HashMap<K, Instant>,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self {
            order: BTreeSet::new(),
            due: HashMap::new(),
        }
    }
}

impl<K: Copy + Ord + Hash> Schedule<K> {
    /// From now on `key` is due then, whenever it was before.
    pub fn set(&mut self, key: K, due: Instant) {
        self.remove(key);
        self.order.insert((due, key));
        self.due.insert(key, due);
    }

    /// `key` is not due any more.
    pub fn remove(&mut self, key: K) {
        if let Some(due) = self.due.remove(&key) {
            self.order.remove(&(due, key));
        }
    }

    /// Takes out the key that has been due for longest, if any is by `now`.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        let (due, key) = *self.order.first()?;
        if due > now {
            return None;
        }
        self.remove(key);
        Some(key)
    }

    /// When the next key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }
}

/// Returns when `due` has come; never without a time.
pub async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

//! Leases by client, such that the next version of a million of them costs what it differs in.

use std::{collections::hash_map, ops::Index, sync::Arc};

use super::Client;

/// Into so many parts the leases are divided. A change copies one of them.
const SHARDS: usize = 1024;

type Shard<L> = std::collections::HashMap<Client, L, foldhash::fast::FixedState>;

/// The lease of each client. A clone shares what neither changes.
#[derive(Clone, Debug)]
pub struct Leases<L> {
    /// None while there is no lease at all, else [`SHARDS`].
    shards: Vec<Arc<Shard<L>>>,
    len: usize,
}

impl<L> Default for Leases<L> {
    fn default() -> Self {
        Self {
            shards: Vec::new(),
            len: 0,
        }
    }
}

fn place(client: &Client) -> usize {
    let mac = client.mac.iter();
    let mac = mac.fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    let port = u64::from(client.interface) << 16 | u64::from(client.vlan);
    let mixed = (mac ^ port.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The upper bits of a product are the mixed ones.
    usize::try_from(mixed >> 48).unwrap_or_default() % SHARDS
}

impl<L: Clone + PartialEq> Leases<L> {
    /// The client's lease.
    pub fn get(&self, client: &Client) -> Option<&L> {
        self.shards.get(place(client))?.get(client)
    }

    /// Whether the client has one.
    pub fn contains_key(&self, client: &Client) -> bool {
        self.get(client).is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives a client a lease in place of the one that it has.
    pub fn insert(&mut self, client: Client, lease: L) {
        if self.shards.is_empty() {
            self.shards = vec![Arc::default(); SHARDS];
        }
        let shard = Arc::make_mut(&mut self.shards[place(&client)]);
        self.len += usize::from(shard.insert(client, lease).is_none());
    }

    /// Takes a client's lease away.
    pub fn remove(&mut self, client: &Client) {
        if !self.contains_key(client) {
            return;
        }
        let shard = Arc::make_mut(&mut self.shards[place(client)]);
        shard.remove(client);
        self.len -= 1;
    }

    /// All of them, in no order.
    pub fn iter(&self) -> Iter<'_, L> {
        Iter {
            shards: self.shards.iter(),
            shard: None,
        }
    }

    /// The leases, in no order.
    pub fn values(&self) -> impl Iterator<Item = &L> {
        self.iter().map(|(_, lease)| lease)
    }

    /// The clients whose leases are others than in `before`, or that have none in one of both.
    pub fn changed_since(&self, before: &Self) -> Vec<Client> {
        let mut changed = Vec::new();
        for place in 0..SHARDS {
            let (old, new) = (before.shards.get(place), self.shards.get(place));
            if let (Some(old), Some(new)) = (old, new)
                && Arc::ptr_eq(old, new)
            {
                continue;
            }
            for (client, lease) in new.into_iter().flat_map(|shard| shard.iter()) {
                if old.and_then(|old| old.get(client)) != Some(lease) {
                    changed.push(*client);
                }
            }
            for client in old.into_iter().flat_map(|shard| shard.keys()) {
                if new.is_none_or(|new| !new.contains_key(client)) {
                    changed.push(*client);
                }
            }
        }
        changed
    }
}

/// An iterator over leases.
#[derive(Debug)]
pub struct Iter<'a, L> {
    shards: std::slice::Iter<'a, Arc<Shard<L>>>,
    shard: Option<hash_map::Iter<'a, Client, L>>,
}

impl<'a, L> Iterator for Iter<'a, L> {
    type Item = (&'a Client, &'a L);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(lease) = self.shard.as_mut().and_then(Iterator::next) {
                return Some(lease);
            }
            self.shard = Some(self.shards.next()?.iter());
        }
    }
}

impl<'a, L: Clone + PartialEq> IntoIterator for &'a Leases<L> {
    type Item = (&'a Client, &'a L);
    type IntoIter = Iter<'a, L>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<L: Clone + PartialEq> PartialEq for Leases<L> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.changed_since(other).is_empty()
    }
}

impl<L: Clone + Eq> Eq for Leases<L> {}

impl<L: Clone + PartialEq> FromIterator<(Client, L)> for Leases<L> {
    fn from_iter<I: IntoIterator<Item = (Client, L)>>(leases: I) -> Self {
        let mut all = Self::default();
        for (client, lease) in leases {
            all.insert(client, lease);
        }
        all
    }
}

impl<L: Clone + PartialEq, const N: usize> From<[(Client, L); N]> for Leases<L> {
    fn from(leases: [(Client, L); N]) -> Self {
        leases.into_iter().collect()
    }
}

impl<L: Clone + PartialEq> Index<&Client> for Leases<L> {
    type Output = L;

    fn index(&self, client: &Client) -> &L {
        self.get(client).expect("the client has a lease")
    }
}

#[cfg(test)]
mod tests {
    use eip_dp_common::abi::LinkKey;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn client(number: u8) -> Client {
        let key = LinkKey::untagged(u32::from(number % 3));
        Client::on(key, [2, 0, 0, 0, 0, number])
    }

    fn check(steps: &[(u8, Option<u8>)], later: &[(u8, Option<u8>)]) {
        let mut leases = Leases::default();
        let mut model = std::collections::BTreeMap::new();
        let mut run = |leases: &mut Leases<u8>, steps: &[(u8, Option<u8>)]| {
            for (number, lease) in steps {
                if let Some(lease) = lease {
                    leases.insert(client(*number), *lease);
                    model.insert(client(*number), *lease);
                } else {
                    leases.remove(&client(*number));
                    model.remove(&client(*number));
                }
            }
            model.clone()
        };
        let old_model = run(&mut leases, steps);
        let old = leases.clone();
        let new_model = run(&mut leases, later);
        assert_eq!(leases.len(), new_model.len());
        assert_eq!(leases, new_model.clone().into_iter().collect());
        let mut changed = leases.changed_since(&old);
        changed.sort_unstable();
        let mut differing: Vec<Client> = (0..=u8::MAX)
            .map(client)
            .filter(|client| old_model.get(client) != new_model.get(client))
            .collect();
        differing.sort_unstable();
        assert_eq!(changed, differing);
        assert_eq!(old, old_model.into_iter().collect());
    }

    proptest! {
        #[test]
        fn versions_share_nothing_that_one_changes(
            steps in vec(any::<(u8, Option<u8>)>(), 0..60),
            later in vec(any::<(u8, Option<u8>)>(), 0..20),
        ) {
            check(&steps, &later);
        }
    }
}

//! Which changed objects have a key: one flat set, because most keys have one object, and a
//! document may have a million.

use std::collections::BTreeSet;

/// Keys, each with the ids of its objects.
pub(super) struct Index<K>(BTreeSet<(K, String)>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Clone> Index<K> {
    /// From now on the object has the key, or has it no longer.
    pub(super) fn mark(&mut self, key: K, id: &str, insert: bool) {
        let entry = (key, id.to_owned());
        if insert {
            self.0.insert(entry);
        } else {
            self.0.remove(&entry);
        }
    }

    /// The ids of the key, sorted.
    pub(super) fn of(&self, key: K) -> impl Iterator<Item = &str> {
        self.range(key.clone(), key)
    }

    /// The ids of all keys from `first` to `last`, sorted by key.
    pub(super) fn range(&self, first: K, last: K) -> impl Iterator<Item = &str> {
        // No id is empty: none sorts before this.
        let all = self.0.range((first, String::new())..);
        all.take_while(move |(key, _)| *key <= last)
            .map(|(_, id)| id.as_str())
    }
}

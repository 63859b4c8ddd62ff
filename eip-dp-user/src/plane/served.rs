//! Whose table a gateway forwards by. The kernel's maps say so, whether a daemon runs or not.

use eip_dp_common::abi::StatusWord;

use super::{Kernel, Pins, PlaneError, kernel};
use crate::table::Identity;

/// The table that maps are filled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The tag of its location; 0 where nothing is known.
    pub location: u64,
    /// What tells it from others; `None` in maps that an earlier version filled.
    pub identity: Option<Identity>,
}

/// How a table stands to the one that a gateway forwards by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is that one.
    Same,
    /// It is that one, or a copy of it, at another path.
    Copy,
    /// It has nothing to do with it.
    Another,
}

impl Served {
    /// What the maps of the gateway say; `None` if it is not loaded.
    pub fn of(pins: &Pins) -> Result<Option<Self>, PlaneError> {
        if !pins.exist()? {
            return Ok(None);
        }
        let word = |word| kernel::word_of(pins, word).map(Option::unwrap_or_default);
        Ok(Some(Self {
            location: word(StatusWord::Table)?,
            identity: Identity::of_words([
                word(StatusWord::Identity)?,
                word(StatusWord::IdentityEnd)?,
            ]),
        }))
    }

    /// How that table stands to this one. A table of an earlier version that is only read has no
    /// identity.
    pub fn relation(&self, location: u64, identity: Option<Identity>) -> Relation {
        let is_there = self.location == 0 || self.location == location;
        match (self.identity, identity) {
            (Some(ours), Some(theirs)) if ours != theirs => Relation::Another,
            (Some(_), Some(_)) if is_there => Relation::Same,
            (Some(_), Some(_)) => Relation::Copy,
            _ if is_there => Relation::Same,
            _ => Relation::Another,
        }
    }

    /// Marks the maps as filled from it.
    pub(super) fn claim(&self, kernel: &mut Kernel) -> Result<(), PlaneError> {
        let [first, end] = self.identity.map_or([0, 0], Identity::words);
        kernel.set_word(StatusWord::Table, self.location)?;
        kernel.set_word(StatusWord::Identity, first)?;
        kernel.set_word(StatusWord::IdentityEnd, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_told_from_another_table() {
        let identity = |number| Identity::of_words([number, number]);
        let served = Served {
            location: 7,
            identity: identity(1),
        };
        assert_eq!(served.relation(7, identity(1)), Relation::Same);
        assert_eq!(served.relation(8, identity(1)), Relation::Copy);
        assert_eq!(served.relation(7, identity(2)), Relation::Another);
        assert_eq!(served.relation(8, identity(2)), Relation::Another);
        assert_eq!(served.relation(7, None), Relation::Same);
        assert_eq!(served.relation(8, None), Relation::Another);
        // Of an earlier version the path is all that is known.
        let earlier = Served {
            identity: None,
            ..served
        };
        assert_eq!(earlier.relation(7, identity(2)), Relation::Same);
        assert_eq!(earlier.relation(8, identity(2)), Relation::Another);
    }
}

//! Whose table a gateway forwards by. The kernel's maps say so, whether a daemon runs or not.

use eip_dp_common::abi::StatusWord;

use super::{Kernel, Pins, PlaneError, kernel_maps};
use crate::table::Identity;

/// The table that maps are filled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedTable {
    /// The tag of its location; 0 where nothing is known.
    pub location: u64,
    /// What tells it from others; `None` in maps that an earlier version filled.
    pub identity: Option<Identity>,
    /// The revision of it that is forwarded by; 0 before the first.
    pub applied: u64,
    /// The tag of the file that this revision was read from; 0 where nothing is known.
    pub file: u64,
}

/// How a table stands to what a gateway forwards by: every verb and the daemon judge it by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is that table.
    pub relation: Relation,
    /// Its revision.
    pub revision: u64,
    /// The revision that is forwarded by; 0 where nothing is.
    pub applied: u64,
    /// Whether that was read from another file: then equal revisions need not be equal tables.
    pub is_other_file: bool,
}

impl Standing {
    /// Whether the gateway forwards by a later revision of it: to follow it is to go back.
    pub fn is_older(&self) -> bool {
        self.relation != Relation::Another && self.revision < self.applied
    }

    /// Whether the gateway forwards by an earlier revision of it.
    pub fn is_newer(&self) -> bool {
        self.relation != Relation::Another && self.revision > self.applied
    }
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

impl ServedTable {
    /// What the maps of the gateway say; `None` if it is not loaded.
    pub fn of(pins: &Pins) -> Result<Option<Self>, PlaneError> {
        if !pins.exist()? {
            return Ok(None);
        }
        let word = |word| kernel_maps::word_of(pins, word).map(Option::unwrap_or_default);
        Ok(Some(Self {
            applied: word(StatusWord::Revision)?,
            file: word(StatusWord::TableFile)?,
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

    /// Likewise, and by which revision of it the gateway forwards.
    pub fn standing(
        &self,
        location: u64,
        identity: Option<Identity>,
        file: u64,
        revision: u64,
    ) -> Standing {
        Standing {
            relation: self.relation(location, identity),
            revision,
            applied: self.applied,
            is_other_file: self.file != 0 && self.file != file,
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

/// Publishes what the maps hold: that revision of the table whose location and file have these
/// tags. The revision comes last, because others wait for it.
pub fn publish(
    kernel: &mut Kernel,
    location: u64,
    file: u64,
    revision: u64,
) -> Result<(), PlaneError> {
    kernel.set_word(StatusWord::AppliedAt, boot_time())?;
    kernel.set_word(StatusWord::Table, location)?;
    kernel.set_word(StatusWord::TableFile, file)?;
    kernel.set_word(StatusWord::Revision, revision)
}

/// Nanoseconds since the machine started, of `CLOCK_BOOTTIME`.
pub fn boot_time() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one `timespec`, and `now` is one.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_told_from_another_table() {
        let identity = |number| Identity::of_words([number, number]);
        let served = ServedTable {
            location: 7,
            identity: identity(1),
            applied: 5,
            file: 9,
        };
        assert_eq!(served.relation(7, identity(1)), Relation::Same);
        assert_eq!(served.relation(8, identity(1)), Relation::Copy);
        assert_eq!(served.relation(7, identity(2)), Relation::Another);
        assert_eq!(served.relation(8, identity(2)), Relation::Another);
        assert_eq!(served.relation(7, None), Relation::Same);
        assert_eq!(served.relation(8, None), Relation::Another);
        // Of an earlier version the path is all that is known.
        let earlier = ServedTable {
            identity: None,
            ..served
        };
        assert_eq!(earlier.relation(7, identity(2)), Relation::Same);
        assert_eq!(earlier.relation(8, identity(2)), Relation::Another);
        // A later revision of another table says nothing.
        let is_older = |location, number, revision| {
            let standing = served.standing(location, identity(number), 9, revision);
            standing.is_older()
        };
        let is_other = |file| served.standing(7, identity(1), file, 5).is_other_file;
        assert!(is_other(8) && !is_other(9));
        assert!(is_older(7, 1, 4) && is_older(8, 1, 4));
        assert!(!is_older(7, 1, 5) && !is_older(8, 2, 4));
    }
}

//! What tells a table from all others, whatever its path.

use std::fmt;

use rusqlite::{Connection, Result};

/// Drawn when a table is made, and kept in its file: copies and backups have it, a table made anew
/// has another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity([u8; 16]);

impl Identity {
    /// That of the table.
    pub(super) fn read(connection: &Connection) -> Result<Self> {
        let mut statement = connection.prepare_cached("SELECT identity FROM meta")?;
        statement.query_row([], |row| row.get(0)).map(Self)
    }

    /// Gives it to a table.
    pub(super) fn write(self, connection: &Connection) -> Result<()> {
        let sql = "UPDATE meta SET identity = ?1";
        connection.execute(sql, [self.0]).map(drop)
    }

    /// As two words, the way the kernel's maps keep it.
    pub fn words(self) -> [u64; 2] {
        let all = u128::from_be_bytes(self.0);
        #[allow(clippy::cast_possible_truncation, reason = "the two halves of it")]
        let words = [(all >> 64) as u64, all as u64];
        words
    }

    /// Of two words; `None` for those of no table.
    pub fn of_words([high, low]: [u64; 2]) -> Option<Self> {
        let all = u128::from(high) << 64 | u128::from(low);
        (all != 0).then(|| Self(all.to_be_bytes()))
    }
}

/// In hexadecimal digits.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_kept_in_two_words() {
        let identity = Identity(*b"0123456789abcdef");
        assert_eq!(Identity::of_words(identity.words()), Some(identity));
        assert_eq!(Identity::of_words([0, 0]), None);
        assert_eq!(identity.to_string(), "30313233343536373839616263646566");
    }
}

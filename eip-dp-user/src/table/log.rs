//! What the last revisions changed, so that a follower of the table need not read all of it again.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::{Delta, read, record};
use crate::model::Change;

/// How many bytes of changes are kept: those of some 300,000 new associations.
pub(super) const LIMIT: usize = 32 << 20;

/// Notes what made the table that revision. Older revisions leave when the log would be longer than
/// `limit`; more changes than that empty it. Run it inside the transaction that makes the changes.
pub(super) fn append(
    connection: &Connection,
    revision: u64,
    changes: &[Change],
    limit: usize,
) -> Result<()> {
    let Some(changes) = record::encode(changes, limit) else {
        return clear(connection);
    };
    let sql = "INSERT INTO log (revision, start, changes) VALUES (\
               ?1, ifnull((SELECT start + length(changes) FROM log ORDER BY revision DESC LIMIT 1), 0), ?2) \
               RETURNING start + length(changes)";
    let end: i64 = connection
        .prepare_cached(sql)?
        .query_row(params![revision.cast_signed(), changes], |row| row.get(0))?;
    let start = end.saturating_sub_unsigned(limit as u64);
    let sql = "DELETE FROM log WHERE revision = (SELECT min(revision) FROM log) AND start < ?1";
    let mut oldest = connection.prepare_cached(sql)?;
    while oldest.execute([start])? > 0 {}
    Ok(())
}

/// What tells a revision of one history from that of the same number in another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// How many bytes of changes there were before it.
    start: i64,
    length: i64,
    /// The first of its own.
    changes: Vec<u8>,
}

/// The trace of a revision; `None` where the log does not have it.
pub(super) fn trace(connection: &Connection, revision: u64) -> Result<Option<Trace>> {
    let sql =
        "SELECT start, length(changes), substr(changes, 1, 4096) FROM log WHERE revision = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let trace = statement.query_row([revision.cast_signed()], |row| {
        Ok(Trace {
            start: row.get(0)?,
            length: row.get(1)?,
            changes: row.get(2)?,
        })
    });
    trace.optional()
}

/// Forgets all revisions: nobody can follow from one of them any more.
pub(super) fn clear(connection: &Connection) -> Result<()> {
    connection.execute("DELETE FROM log", []).map(drop)
}

/// What has changed since `revision`; `None` where the log does not say. Run it inside a
/// transaction.
pub(super) fn since(connection: &Connection, revision: u64) -> Result<Option<Delta>> {
    let now = read::revision(connection)?;
    if revision > now {
        return Ok(None);
    }
    let mut delta = Delta {
        revision,
        changes: Vec::new(),
    };
    let mut statement = connection.prepare_cached("SELECT changes FROM log WHERE revision = ?1")?;
    while delta.revision < now {
        delta.revision += 1;
        let changes = statement
            .query_row([delta.revision.cast_signed()], |row| {
                Ok(record::decode(
                    row.get_ref(0)?.as_blob()?,
                    &mut delta.changes,
                ))
            })
            .optional()?;
        if changes.flatten().is_none() {
            return Ok(None);
        }
    }
    Ok(Some(delta))
}

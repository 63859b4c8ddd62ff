//! The database file: whose it is, which version it has, and how it gets to the newest.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior,
};

use super::{error::TableError, log};

/// `EIPD`: tells a table from the SQLite files of other programs.
pub(super) const APPLICATION_ID: i32 = 0x4549_5044;
/// How long a command waits for another one.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// `MIGRATIONS[n]` takes a table from version n to version n + 1.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// The version that this program writes.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the number of migrations is a small constant"
)]
pub(super) const VERSION: i32 = MIGRATIONS.len() as i32;

/// Opens the file, creates or upgrades the table in it, and refuses what is not a table.
pub(super) fn open(path: &Path) -> Result<Connection, TableError> {
    if let Some(directory) = path.parent().filter(|one| !one.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(|source| TableError::Directory {
            path: directory.to_owned(),
            source,
        })?;
    }
    let failed = |source| TableError::from_sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    if header(&connection).map_err(failed)? != (APPLICATION_ID, VERSION) {
        upgrade(&mut connection, path)?;
    }
    configure(&connection).map_err(failed)?;
    Ok(connection)
}

/// A second connection to a table that is open, inside a transaction for reading.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch("BEGIN")?;
    Ok(connection)
}

/// `application_id` and `user_version`.
fn header(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    Ok((pragma("application_id")?, pragma("user_version")?))
}

fn upgrade(connection: &mut Connection, path: &Path) -> Result<(), TableError> {
    let failed = |source| TableError::from_sqlite(path, source);
    // A migration may put a table in another's place; inside a transaction this changes nothing.
    let pragma = connection.pragma_update(None, "foreign_keys", false);
    pragma.map_err(failed)?;
    // What another process may have done meanwhile is seen inside the transaction.
    let transaction =
        Transaction::new(connection, TransactionBehavior::Immediate).map_err(failed)?;
    let (application, version) = header(&transaction).map_err(failed)?;
    let objects: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    let new = application == 0 && version == 0 && objects == 0;
    if application != APPLICATION_ID && !new {
        return Err(TableError::Foreign {
            path: path.to_owned(),
            found: application,
        });
    }
    if version > VERSION {
        return Err(TableError::Newer {
            path: path.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    let done = usize::try_from(version).map_err(|_| TableError::Damaged {
        path: path.to_owned(),
        detail: format!("version {version}"),
    })?;
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    let astray = transaction
        .query_row("PRAGMA foreign_key_check", [], |row| {
            row.get::<_, String>(0)
        })
        .optional()
        .map_err(failed)?;
    if let Some(astray) = astray {
        return Err(TableError::Damaged {
            path: path.to_owned(),
            detail: format!("a row of `{astray}` refers to one that is not there"),
        });
    }
    // What an earlier version noted has other fields.
    log::clear(&transaction).map_err(failed)?;
    let pragma = |name, value| transaction.pragma_update(None, name, value);
    pragma("application_id", APPLICATION_ID).map_err(failed)?;
    pragma("user_version", VERSION).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    write_ahead(connection)?;
    // The table is the truth: a command that was reported as done survives a power failure.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cache_size", -32_768)
}

/// Readers never wait for a writer with a write-ahead log. The switch to it is the one statement for which SQLite does
/// not wait for other processes by itself.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY;
    loop {
        let switched = connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()));
        match switched {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

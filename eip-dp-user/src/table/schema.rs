//! The database file: whose it is, which version it has, and how it gets to the newest.
//!
//! Changes go through a rollback journal. A write-ahead log would come with memory that processes
//! share by mapping a file beside the table: whoever cuts that file short, or puts another table in
//! this one's place, ends every process that reads it (SIGBUS), and the log of the one before would
//! be taken for the new one's. With a journal nothing is mapped, one file is the whole table
//! between two changes, and it can be read where nobody may write.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior,
    backup::{Backup, StepResult},
    ffi,
};

use super::{FileId, error::TableError, identity::Identity, log};
use crate::private;

/// `EIPD`: tells a table from the SQLite files of other programs.
pub(super) const APPLICATION_ID: i32 = 0x4549_5044;
/// How long a command waits for another one.
pub(super) const BUSY: Duration = Duration::from_secs(10);
/// How long the daemon does: it has other things to do, and looks again soon.
pub(super) const BUSY_FOLLOWER: Duration = Duration::from_millis(250);

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

/// The first version with an identity.
pub(super) const IDENTIFIED: i32 = 4;

/// An open database.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// The file that it was read from.
    pub(super) file: FileId,
    /// Whether there was no table, and this has made one.
    pub(super) made: bool,
    /// Whether it is a copy in memory of a table of an earlier version, which may not be changed.
    pub(super) is_copy: bool,
    /// Whether the identity was drawn for that copy alone.
    pub(super) is_unidentified: bool,
}

/// What to do with a file that is no table of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cure {
    /// Whether an empty file becomes a table.
    pub(super) make: bool,
    /// The identity of one that has none yet.
    pub(super) identity: Option<Identity>,
}

/// Opens the table, upgrades it, and refuses what is not one. Makes one only where `cure` says so.
pub(super) fn open(path: &Path, cure: Cure) -> Result<Opened, TableError> {
    if cure.make {
        make_file(path)?;
    } else {
        check_content(path)?;
    }
    let failed = |source| TableError::from_sqlite(path, source);
    let is_write_ahead = is_write_ahead(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let (mut connection, file) = connect(path, path, flags).map_err(failed)?;
    prepare(&mut connection).map_err(failed)?;
    if is_write_ahead {
        leave_write_ahead(&connection).map_err(failed)?;
        // The memory that its users shared; there are none.
        let _ = fs::remove_file(beside(path, "-shm"));
    }
    configure(&connection).map_err(failed)?;
    let mut made = false;
    if header(&connection).map_err(failed)? != (APPLICATION_ID, VERSION) {
        made = upgrade(&mut connection, path, cure)? == 0;
        tuned(&connection).map_err(failed)?;
    }
    tighten(path);
    Ok(Opened {
        connection,
        file,
        made,
        is_copy: false,
        is_unidentified: false,
    })
}

/// Opens the table for reading. That asks for no right to write, neither to the file nor to the
/// file system.
pub(super) fn open_read_only(path: &Path) -> Result<Opened, TableError> {
    check_content(path)?;
    let failed = |source| TableError::from_sqlite(path, source);
    // One of an earlier version, that nobody has open: to read it otherwise is to make its log.
    let connection = if is_write_ahead(path) && has_no_log(path) {
        immutable(path)
    } else {
        read_only(path)
    };
    let (connection, file) = connection.map_err(failed)?;
    let found = match header(&connection) {
        Ok(found) => found,
        Err(error) if is_cut_off(&error) => {
            // A process ended in the middle of a change. To undo that is to write.
            let cure = Cure {
                make: false,
                identity: None,
            };
            return open(path, cure).map_err(|_| TableError::CutOff {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(failed(error)),
    };
    let mut opened = Opened {
        connection,
        file,
        made: false,
        is_copy: false,
        is_unidentified: false,
    };
    if found != (APPLICATION_ID, VERSION) {
        let before = check_version(&opened.connection, path)?;
        if before == 0 {
            return Err(TableError::Empty {
                path: path.to_owned(),
            });
        }
        opened = Opened {
            connection: in_memory(&opened.connection, path)?,
            file,
            made: false,
            is_copy: true,
            is_unidentified: before < IDENTIFIED,
        };
    }
    tuned(&opened.connection).map_err(failed)?;
    Ok(opened)
}

/// Opens a table of this version for reading, by SQLite alone.
pub(super) fn open_beside(path: &Path) -> Result<Opened, TableError> {
    check_content(path)?;
    let failed = |source| TableError::from_sqlite(path, source);
    let (connection, file) = read_only(path).map_err(failed)?;
    if header(&connection).map_err(failed)? != (APPLICATION_ID, VERSION) {
        check_version(&connection, path)?;
        // Whoever follows it brings it up to this one.
        return Err(TableError::Busy {
            path: path.to_owned(),
            seconds: 0,
        });
    }
    tuned(&connection).map_err(failed)?;
    Ok(Opened {
        connection,
        file,
        made: false,
        is_copy: false,
        is_unidentified: false,
    })
}

/// An empty table in memory.
pub(super) fn open_in_memory() -> Result<Connection, TableError> {
    let path = Path::new(":memory:");
    let failed = |source| TableError::from_sqlite(path, source);
    let mut connection = Connection::open_in_memory().map_err(failed)?;
    let cure = Cure {
        make: true,
        identity: None,
    };
    upgrade(&mut connection, path, cure)?;
    tuned(&connection).map_err(failed)?;
    Ok(connection)
}

/// A copy of a table of an earlier version, brought up to this one.
fn in_memory(table: &Connection, path: &Path) -> Result<Connection, TableError> {
    let failed = |source| TableError::from_sqlite(path, source);
    let mut memory = Connection::open_in_memory().map_err(failed)?;
    copy(table, &mut memory).map_err(failed)?;
    let cure = Cure {
        make: false,
        identity: None,
    };
    upgrade(&mut memory, path, cure)?;
    Ok(memory)
}

/// Copies all of a database into another one, as it is at one moment.
pub(super) fn copy(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    const PAGES: i32 = 4096;
    Backup::new(from, to)?.run_to_completion(PAGES, Duration::ZERO, None)
}

/// Likewise, of one that others may go on changing: each change has the copy begin anew, and after
/// a few of them it is given up as busy.
pub(super) fn copy_briefly(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    const PAGES: i32 = 4096;
    const BEGINNINGS: i32 = 4;
    let backup = Backup::new(from, to)?;
    let mut steps = 0_i32;
    loop {
        match backup.step(PAGES)? {
            StepResult::Done => return Ok(()),
            StepResult::More => steps += 1,
            // `Busy`, `Locked`: somebody writes.
            _ => break,
        }
        let whole = backup.progress().pagecount / PAGES + 1;
        if steps > whole.saturating_mul(BEGINNINGS) {
            break;
        }
    }
    let error = ffi::Error::new(ffi::SQLITE_BUSY);
    Err(rusqlite::Error::SqliteFailure(error, None))
}

/// A second connection to a table that is open, inside a transaction for reading. It waits for
/// nobody: who writes may be waiting for the first one.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<(Connection, FileId)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let (connection, file) = connect(path, path, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.execute_batch("BEGIN")?;
    Ok((connection, file))
}

/// Opens the database at `path`, which SQLite is told as `name`, and tells which file it is.
///
/// A file that is renamed over another one while SQLite opens it would be taken for the one that
/// SQLite has, and its changes never be seen. So the path must lead to the same file before and
/// after. The inode of the first one is held meanwhile, so that its number is nobody else's; by
/// `O_PATH`, because closing any other descriptor ends the process's locks on the file (fcntl(2)).
fn connect(
    path: &Path,
    name: impl AsRef<Path>,
    flags: OpenFlags,
) -> rusqlite::Result<(Connection, FileId)> {
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        let mut pinning = OpenOptions::new();
        pinning.read(true).custom_flags(libc::O_PATH);
        let pinned = pinning.open(path).and_then(|file| file.metadata());
        let connection = Connection::open_with_flags(name.as_ref(), flags)?;
        // Where there is no file, or no right to it, SQLite has said so.
        let Ok(pinned) = pinned.map(|file| id_of(&file)) else {
            continue;
        };
        if file_at(path).is_ok_and(|file| file == pinned) {
            return Ok((connection, pinned));
        }
    }
    // Whoever looks again soon takes that for a file in use, which it is.
    let error = ffi::Error::new(ffi::SQLITE_BUSY);
    let message = "the file at this path changes all the time".to_owned();
    Err(rusqlite::Error::SqliteFailure(error, Some(message)))
}

/// Which file is at the path.
pub(super) fn file_at(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|file| id_of(&file))
}

fn id_of(file: &fs::Metadata) -> FileId {
    (file.dev(), file.ino())
}

/// Keeps others from changing the table for as long as the connection lives. A change that was cut
/// off is undone.
pub(super) fn lock(path: &Path) -> Result<Connection, TableError> {
    let cure = Cure {
        make: false,
        identity: None,
    };
    let connection = open(path, cure)?.connection;
    connection
        .execute_batch("BEGIN EXCLUSIVE")
        .map_err(|source| TableError::from_sqlite(path, source))?;
    Ok(connection)
}

/// Lets the connection wait for others as long as a follower does.
pub(super) fn be_brief(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(wait_briefly))
}

/// What is to be done before anything is read.
fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(wait))?;
    connection.set_prepared_statement_cache_capacity(64);
    // What is mapped ends the process when somebody cuts the file short.
    connection.pragma_update(None, "mmap_size", 0)
}

fn wait(tries: i32) -> bool {
    wait_at_most(BUSY, tries)
}

fn wait_briefly(tries: i32) -> bool {
    wait_at_most(BUSY_FOLLOWER, tries)
}

/// Waits before another try; `false` once so many tries have taken `limit`. A change takes a few
/// milliseconds, so the first pauses are short.
fn wait_at_most(limit: Duration, tries: i32) -> bool {
    const SHORTEST: Duration = Duration::from_micros(100);
    const LONGEST: Duration = Duration::from_millis(10);
    const DOUBLINGS: u32 = 7;
    let tries = u32::try_from(tries).unwrap_or(0);
    let pause = (SHORTEST * (1 << tries.min(DOUBLINGS))).min(LONGEST);
    let waited = SHORTEST * (1 << tries.min(DOUBLINGS)) + LONGEST * tries.saturating_sub(DOUBLINGS);
    if waited >= limit {
        return false;
    }
    thread::sleep(pause);
    true
}

/// `application_id` and `user_version`.
fn header(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    Ok((pragma("application_id")?, pragma("user_version")?))
}

/// The version of a table; 0 for a database with nothing in it. Everything else is refused.
fn check_version(connection: &Connection, path: &Path) -> Result<i32, TableError> {
    let failed = |source| TableError::from_sqlite(path, source);
    let (application, version) = header(connection).map_err(failed)?;
    let objects: i64 = connection
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
    Ok(version)
}

/// Brings the table up to the newest version; returns which one it had.
fn upgrade(connection: &mut Connection, path: &Path, cure: Cure) -> Result<i32, TableError> {
    let failed = |source| TableError::from_sqlite(path, source);
    // A migration may put a table in another's place; inside a transaction this changes nothing.
    let pragma = connection.pragma_update(None, "foreign_keys", false);
    pragma.map_err(failed)?;
    // What another process may have done meanwhile is seen inside the transaction.
    let transaction =
        Transaction::new(connection, TransactionBehavior::Immediate).map_err(failed)?;
    let version = check_version(&transaction, path)?;
    if version == 0 && !cure.make {
        return Err(TableError::Empty {
            path: path.to_owned(),
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
    if version != 0
        && version < IDENTIFIED
        && let Some(identity) = cure.identity
    {
        identity.write(&transaction).map_err(failed)?;
    }
    // What an earlier version noted has other fields.
    log::clear(&transaction).map_err(failed)?;
    let pragma = |name, value| transaction.pragma_update(None, name, value);
    pragma("application_id", APPLICATION_ID).map_err(failed)?;
    pragma("user_version", VERSION).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(version)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // The journal stays beside the table, emptied: to make one for each change would take longer.
    set_journal(connection, "persist")?;
    connection.pragma_update_and_check(None, "journal_size_limit", 1 << 20, |_| Ok(()))?;
    // The table is the truth: a command that was reported as done survives a power failure.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A large change is written once it is whole: until then others read.
    connection.pragma_update(None, "cache_spill", false)?;
    tuned(connection)
}

/// What both readers and writers want.
fn tuned(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cache_size", -32_768)
}

/// Takes a table of an earlier version out of the mode in which it was kept. Others must not use it
/// meanwhile, and while nobody else may, the memory that they would share is this process's own.
fn leave_write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
    set_journal(connection, "persist")?;
    connection.pragma_update_and_check(None, "locking_mode", "normal", |_| Ok(()))?;
    // The lock goes with the next look.
    header(connection).map(drop)
}

/// The switch is the one statement for which SQLite does not wait for other processes by itself.
fn set_journal(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY;
    loop {
        let switched = connection.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(()));
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

/// Whether the file is there, with something in it.
pub(super) fn check_content(path: &Path) -> Result<(), TableError> {
    match fs::metadata(path) {
        Ok(file) if file.is_file() && file.len() == 0 => Err(TableError::Empty {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(TableError::Missing {
            path: path.to_owned(),
        }),
        _ => check_kind(path),
    }
}

/// Refuses what is neither a file nor a folder. Whatever else is wrong, SQLite says why it cannot
/// be read.
pub(super) fn check_kind(path: &Path) -> Result<(), TableError> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => Err(TableError::NoFile {
            path: path.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Makes the file and its folders, for this user alone.
fn make_file(path: &Path) -> Result<(), TableError> {
    if path.exists() {
        return check_kind(path);
    }
    make_folder(path)?;
    match private::options().create_new(true).open(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Ok(_) => Ok(()),
        Err(source) => Err(TableError::Unmakable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Makes the folders that a file is to stand in, for this user alone.
pub(super) fn make_folder(path: &Path) -> Result<(), TableError> {
    if let Some(directory) = path.parent().filter(|one| !one.as_os_str().is_empty()) {
        private::folders()
            .create(directory)
            .map_err(|source| TableError::Directory {
                path: directory.to_owned(),
                source,
            })?;
    }
    Ok(())
}

/// Takes away what others may do with the table's files, which an earlier version made readable:
/// who may read one can lock it. Only the default folder is eip-dp's own.
fn tighten(path: &Path) {
    let files = ["", "-journal", "-wal", "-shm"];
    for file in files.map(|suffix| beside(path, suffix)) {
        private::close(&file, 0o077);
    }
    if let Some(folder) = path.parent().filter(|folder| *folder == Path::new(FOLDER)) {
        private::close(folder, 0o077);
    }
}

/// The folder of the default table.
const FOLDER: &str = "/var/lib/eip-dp";

/// The file beside the table whose name has that at its end, where SQLite looks for it: it follows
/// links.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path
        .canonicalize()
        .unwrap_or_else(|_| path.to_owned())
        .into_os_string();
    name.push(suffix);
    name.into()
}

/// Whether the file says that its changes are in a log beside it.
fn is_write_ahead(path: &Path) -> bool {
    const VERSIONS: std::ops::Range<usize> = 18..20;
    let mut start = [0; VERSIONS.end];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start[VERSIONS].contains(&2)
}

fn has_no_log(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).map_or(true, |log| log.len() == 0)
}

fn read_only(path: &Path) -> rusqlite::Result<(Connection, FileId)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let (mut connection, file) = connect(path, path, flags)?;
    prepare(&mut connection)?;
    Ok((connection, file))
}

/// Opens a file of which nothing can change.
fn immutable(path: &Path) -> rusqlite::Result<(Connection, FileId)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let escaped: String = path
        .to_string_lossy()
        .chars()
        .map(|letter| match letter {
            '%' => "%25".to_owned(),
            '?' => "%3f".to_owned(),
            '#' => "%23".to_owned(),
            other => other.to_string(),
        })
        .collect();
    let name = format!("file:{escaped}?immutable=1");
    let (mut connection, file) = connect(path, name, flags)?;
    prepare(&mut connection)?;
    Ok((connection, file))
}

/// Whether a journal has to be rolled back first.
fn is_cut_off(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    code == Some(ffi::SQLITE_READONLY_ROLLBACK) || code == Some(ffi::SQLITE_READONLY_RECOVERY)
}

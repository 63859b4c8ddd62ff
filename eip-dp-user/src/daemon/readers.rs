//! What a group of users may read of a gateway, as the configuration says (`[files] group`): copies
//! of the table and of what `status`, `stats` and `drops` say, in a folder of the group's own.
//!
//! They are copies because who may read the table's file may hold its locks, and because nobody but
//! root can read the kernel's maps. A thread makes them, which spends a fiftieth of its time on it
//! at most: copies of a large table are made less often.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, Permissions},
    io::{self, BufRead, BufWriter, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use eip_dp_common::abi::{EipCounters, Event, Reason};
use nix::unistd::{Gid, Group};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::{
    lock::{Place, is_locked, place_of},
    run_folder::{self, RUN_FOLDER},
};
use crate::{
    cli::{Name, dataplane::Status},
    kernel::{Kernel, Pins, PlaneError, boot_time},
    private,
    table::{CopyError, FileId, Identity, Table, TableError},
};

/// How the folders' names end.
pub(super) const SUFFIX: &str = ".readers";

/// A copy follows what it is of after that, at the earliest.
const SOON: Duration = Duration::from_secs(1);
/// What is counted is copied so often.
const COUNTING: Duration = Duration::from_secs(10);
/// A copy that took a second is made once in so many.
const SHARE: u32 = 50;

/// The folder of the gateway's copies.
pub fn folder(name: &Name) -> PathBuf {
    Path::new(RUN_FOLDER).join(format!("{name}{SUFFIX}"))
}

/// The copy of the table.
pub fn table_in(folder: &Path) -> PathBuf {
    folder.join("table.db")
}

fn status_file(folder: &Path) -> PathBuf {
    folder.join("status.json")
}

fn counters_file(folder: &Path) -> PathBuf {
    folder.join("stats.json")
}

fn daemon_file(folder: &Path) -> PathBuf {
    folder.join("daemon.json")
}

/// Whether the daemon runs that makes the copies in the folder; `None` if it has not said who it
/// is.
pub fn is_served(folder: &Path) -> Option<bool> {
    let content = private::read(&daemon_file(folder)).ok()?;
    let lock: Option<Place> = serde_json::from_slice(&content).ok()?;
    lock.map(is_locked)
}

/// What `status` said, and when.
#[derive(Debug, Serialize, Deserialize)]
pub struct StatusCopy {
    /// Nanoseconds since the machine started.
    pub at: u64,
    /// In so many seconds there is another one.
    pub again_in: u64,
    /// What the daemon holds for as long as it runs.
    pub lock: Option<Place>,
    /// What it said.
    pub status: Status,
}

impl StatusCopy {
    /// Reads the one in the folder.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let content = private::read(&status_file(folder))?;
        serde_json::from_slice(&content).map_err(io::Error::from)
    }
}

/// What was counted, beside each EIP's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// When: nanoseconds since the machine started.
    pub at: u64,
    /// In so many seconds it is counted again.
    pub again_in: u64,
    /// Dropped packets, by the reason's number.
    pub drops: BTreeMap<u32, u64>,
    /// By the event's number.
    pub events: BTreeMap<u32, u64>,
    /// Why not every EIP that the kernel knows is there.
    #[serde(skip)]
    pub incomplete: Option<String>,
}

/// A line of the copy, after the first.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Content {
    Eip(Line),
    /// Why there are no more.
    Incomplete(String),
}

/// What was counted of an EIP: its id, its address, what came in as packets, bytes and drops, what
/// went out.
type Line = (String, IpAddr, [u64; 3], [u64; 3]);

impl Counted {
    /// Reads the copy, and shows each EIP's counters.
    pub fn read(
        folder: &Path,
        mut show: impl FnMut(String, IpAddr, EipCounters),
    ) -> io::Result<Self> {
        let mut lines = io::BufReader::new(private::open(&counters_file(folder))?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut counted: Self = serde_json::from_str(&first)?;
        for line in lines {
            let (id, address, received, sent) = match serde_json::from_str(&line?)? {
                Content::Eip(line) => line,
                Content::Incomplete(why) => {
                    counted.incomplete = Some(why);
                    continue;
                }
            };
            let [in_packets, in_bytes, in_dropped] = received;
            let [out_packets, out_bytes, out_dropped] = sent;
            let counters = EipCounters {
                in_packets,
                in_bytes,
                in_dropped,
                out_packets,
                out_bytes,
                out_dropped,
            };
            show(id, address, counters);
        }
        Ok(counted)
    }

    /// Reads the maps. In `again_in` they are read again.
    pub fn of(kernel: &Kernel, again_in: Duration) -> Result<Self, PlaneError> {
        let mut counted = Self {
            at: boot_time(),
            again_in: again_in.as_secs(),
            ..Self::default()
        };
        for reason in Reason::ALL {
            counted.drops.insert(reason.index(), kernel.drops(*reason)?);
        }
        for event in Event::ALL {
            counted.events.insert(event.index(), kernel.events(*event)?);
        }
        Ok(counted)
    }
}

/// The table that the daemon follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its location.
    pub url: String,
    /// What tells it from others.
    pub identity: Option<Identity>,
    /// The file, how often it was read as a whole, and the revision of it that is applied. A file
    /// that was written over may come to the same revision with other content.
    pub applied: (FileId, u64, u64),
}

/// Who makes the copies. It ends with this value.
#[derive(Debug)]
pub struct Readers(Sender<Followed>);

impl Readers {
    /// Makes copies for the group from now on; `None`: takes away those that there are, and nobody
    /// reads anything.
    pub fn start(name: &Name, group: Option<&str>) -> anyhow::Result<Option<Self>> {
        let folder = folder(name);
        // None of it is worth a daemon that does not start.
        if let Err(error) = remove(name) {
            warn!(
                error = format!("{error:#}"),
                "copies that a group of users could read are still there"
            );
        }
        let Some(group) = group else {
            return Ok(None);
        };
        let gid = Group::from_name(group)
            .ok()
            .flatten()
            .with_context(|| format!("`[files] group`: there is no group {group:?} any more"))?
            .gid;
        let (tell, told) = channel();
        let clerk = Clerk {
            name: name.clone(),
            folder,
            gid,
            table: Pace::default(),
            status: Pace::default(),
            counters: Pace::default(),
            pause: COUNTING,
            status_pause: SOON,
            copied: None,
            marks: [None; 4],
        };
        thread::Builder::new()
            .name("readers".to_owned())
            .spawn(move || clerk.work(&told))
            .context("no thread for the group's copies")?;
        Ok(Some(Self(tell)))
    }

    /// Has what changed copied soon.
    pub fn tell(&self, followed: Followed) {
        // The thread ends with this value alone.
        let _ = self.0.send(followed);
    }
}

/// Takes the gateway's copies away, or what is in their place, and gives the folder above back to
/// root.
pub fn remove(name: &Name) -> anyhow::Result<()> {
    let folder = folder(name);
    let removed = private::remove(&folder)
        .with_context(|| format!("cannot remove {}; remove it (`rm -r`)", folder.display()));
    if Path::new(RUN_FOLDER).exists() {
        run_folder::reclaim()?;
    }
    removed
}

/// Makes the folder, where it is not. What is another user's, or no folder, is refused: nothing is
/// given away that is not this daemon's own.
fn make(folder: &Path, gid: Gid) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot create {}", folder.display()));
        }
        _ => {}
    }
    let held = private::open_folder(folder).with_context(|| {
        format!(
            "{0} is no folder of this daemon's own; look who made it, and remove it: `rm -r {0}`",
            folder.display()
        )
    })?;
    let found = held.metadata()?;
    if found.gid() != gid.as_raw() || found.mode() & 0o7777 != 0o750 {
        give(&held, gid, 0o750).with_context(|| {
            format!(
                "{} cannot be given to group {gid} (`[files] group`); the daemon needs CAP_CHOWN, or to be a member (under \
                 systemd `SupplementaryGroups=`)",
                folder.display()
            )
        })?;
    }
    Ok(())
}

/// Lets the group read.
fn give(file: &File, gid: Gid, mode: u32) -> io::Result<()> {
    fchown(file, None, Some(gid.as_raw()))?;
    file.set_permissions(Permissions::from_mode(mode))
}

/// What tells whether a copy is still the one that was written: its inode, its length and when it
/// last changed; `None` if it is not there.
type Mark = Option<(u64, u64, i64, i64)>;

fn mark(path: &Path) -> Mark {
    let found = fs::symlink_metadata(path).ok()?;
    let changed = (found.ctime(), found.ctime_nsec());
    Some((found.ino(), found.len(), changed.0, changed.1))
}

/// The groups that may read something below the folder of all gateways.
pub(super) fn groups(run_folder: &Path) -> BTreeSet<u32> {
    let entries = fs::read_dir(run_folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(SUFFIX))
        .filter_map(|entry| entry.metadata().ok())
        .filter(|found| found.is_dir() && private::is_own(found.uid()))
        .filter(|found| found.mode() & 0o050 == 0o050)
        .map(|found| found.gid())
        .collect()
}

/// When something is made again.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// At the earliest.
    from: Option<Instant>,
    /// Whether there is reason to.
    is_due: bool,
}

impl Pace {
    /// There is reason to make it.
    fn ask(&mut self) {
        self.is_due = true;
        self.from.get_or_insert_with(|| Instant::now() + SOON);
    }

    /// When it is to be made.
    fn at(&self) -> Option<Instant> {
        self.from.filter(|_| self.is_due)
    }

    fn is_now(&self) -> bool {
        self.at().is_some_and(|at| at <= Instant::now())
    }

    /// It was made, which took so long; returns after how long it may be made again.
    fn made(&mut self, took: Duration, pause: Duration) -> Duration {
        let pause = pause.max(took * SHARE);
        self.from = Some(Instant::now() + pause);
        self.is_due = false;
        pause
    }
}

/// The thread that makes them.
struct Clerk {
    name: Name,
    folder: PathBuf,
    gid: Gid,
    table: Pace,
    status: Pace,
    counters: Pace,
    /// After so long what is counted is copied again.
    pause: Duration,
    /// After so long `status` is, at the earliest.
    status_pause: Duration,
    /// What the copy of the table is of.
    copied: Option<(FileId, u64, u64)>,
    /// The copies as they were written: of the table, the status, the counters; who makes them.
    marks: [Mark; 4],
}

impl Clerk {
    fn work(mut self, told: &Receiver<Followed>) {
        let Ok(mut followed) = told.recv() else {
            return;
        };
        self.counters.ask();
        loop {
            self.status.ask();
            if self.copied != Some(followed.applied) {
                self.table.ask();
            }
            // Until there is something else to say.
            loop {
                let paces = [self.table, self.status, self.counters];
                let next = paces.iter().filter_map(Pace::at).min();
                // A cleaner may take them away meanwhile.
                let look = Instant::now() + COUNTING;
                let until = next.map_or(look, |next| next.min(look));
                match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(news) => {
                        followed = news;
                        break;
                    }
                    Err(RecvTimeoutError::Timeout) => self.make(&followed),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }

    /// Makes what is due.
    fn make(&mut self, followed: &Followed) {
        // A service manager, or a cleaner, may have changed it.
        if let Err(error) = self.look() {
            warn!(
                error = format!("{error:#}"),
                "the group `[files] group` cannot read"
            );
            for pace in [&mut self.table, &mut self.status, &mut self.counters] {
                if pace.is_now() {
                    pace.made(Duration::ZERO, COUNTING);
                    pace.ask();
                }
            }
            return;
        }
        if self.table.is_now() {
            let start = Instant::now();
            match self.copy_table(followed) {
                Ok(()) => {
                    self.copied = Some(followed.applied);
                    self.marks[0] = mark(&table_in(&self.folder));
                }
                // It is copied once it is at rest.
                Err(CopyError::Table(error @ TableError::Busy { .. })) => {
                    debug!(%error, "the group's copy of the table is made later");
                }
                Err(error) => warn!(%error, "no copy of the table for the group"),
            }
            self.table.made(start.elapsed(), SOON);
            if self.copied != Some(followed.applied) {
                self.table.ask();
            }
            self.status.ask();
        }
        if self.status.is_now() {
            let start = Instant::now();
            if let Err(error) = self.copy_status(followed) {
                warn!(error = format!("{error:#}"), "no status for the group");
            }
            self.status_pause = self.status.made(start.elapsed(), SOON);
            self.marks[1] = mark(&status_file(&self.folder));
        }
        if self.counters.is_now() {
            let start = Instant::now();
            // The next one takes about as long as the last.
            if let Err(error) = self.copy_counters(self.pause) {
                warn!(error = format!("{error:#}"), "no counters for the group");
            }
            self.pause = self.counters.made(start.elapsed(), COUNTING);
            self.marks[2] = mark(&counters_file(&self.folder));
            self.counters.ask();
            self.status.ask();
        }
    }

    /// Makes the folder, and has made again what is not there as it was written.
    fn look(&mut self) -> anyhow::Result<()> {
        make(&self.folder, self.gid)?;
        run_folder::reclaim()?;
        let folder = &self.folder;
        let now = [
            table_in(folder),
            status_file(folder),
            counters_file(folder),
            daemon_file(folder),
        ];
        let [table, status, _, daemon] = now.map(|path| mark(&path));
        if table != self.marks[0] {
            self.copied = None;
            self.table.ask();
        }
        if status != self.marks[1] {
            self.status.ask();
        }
        // Counters come again and again by themselves.
        if daemon.is_none() || daemon != self.marks[3] {
            let lock = place_of(&self.name);
            self.write(&daemon_file(folder), |out| {
                serde_json::to_writer(out, &lock).map_err(io::Error::from)
            })?;
            self.marks[3] = mark(&daemon_file(folder));
        }
        Ok(())
    }

    fn copy_table(&self, followed: &Followed) -> Result<(), CopyError> {
        let table = Table::open_beside(&followed.url, followed.identity)?;
        let give = |path: &Path| give(&private::open(path)?, self.gid, 0o640);
        table.copy_for(&table_in(&self.folder), give).map(drop)
    }

    fn copy_status(&self, followed: &Followed) -> anyhow::Result<()> {
        let revision =
            Table::open_beside(&followed.url, followed.identity).and_then(|table| table.revision());
        let copy = StatusCopy {
            at: boot_time(),
            again_in: self.pause.max(self.status_pause).as_secs(),
            lock: place_of(&self.name),
            status: Status::for_readers(&self.name, &followed.url, revision)
                .map_err(|failure| anyhow::anyhow!("{failure}"))?,
        };
        self.write(&status_file(&self.folder), |out| {
            serde_json::to_writer_pretty(out, &copy).map_err(io::Error::from)
        })
    }

    fn copy_counters(&self, pause: Duration) -> anyhow::Result<()> {
        let kernel = Kernel::open(&Pins::new(&self.name))?.context("the maps are gone")?;
        let counted = Counted::of(&kernel, pause)?;
        let path = table_in(&self.folder);
        let copy = Table::open_read_only(&format!("sqlite:{}", path.display()));
        self.write(&counters_file(&self.folder), |out| {
            serde_json::to_writer(&mut *out, &counted)?;
            let mut written = Ok(());
            let each = copy.and_then(|copy| {
                copy.each_eip(&mut |id, address| {
                    if written.is_ok() {
                        written = line(&kernel, id, address, out);
                    }
                })
            });
            written?;
            // Drops and events are counted all the same.
            if let Err(error) = each {
                writeln!(out)?;
                serde_json::to_writer(&mut *out, &Content::Incomplete(error.to_string()))?;
            }
            writeln!(out)
        })
    }

    /// Writes a file for the group, in one step.
    fn write(
        &self,
        path: &Path,
        content: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let written = private::write_with(path, |file| {
            let mut out = BufWriter::new(&*file);
            content(&mut out)?;
            out.flush()?;
            drop(out);
            give(file, self.gid, 0o640)
        });
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Writes what is counted of an EIP; one that the kernel does not know has no line.
fn line(kernel: &Kernel, id: &str, address: IpAddr, out: &mut impl Write) -> io::Result<()> {
    let counted = kernel.counters_of(address).map_err(io::Error::other)?;
    let Some(counted) = counted else {
        return Ok(());
    };
    let received = [counted.in_packets, counted.in_bytes, counted.in_dropped];
    let sent = [counted.out_packets, counted.out_bytes, counted.out_dropped];
    writeln!(out)?;
    serde_json::to_writer(out, &(id, address, received, sent)).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_takes_long_is_made_seldom() {
        let mut pace = Pace::default();
        assert_eq!(pace.at(), None);
        pace.ask();
        assert!(pace.at().is_some() && !pace.is_now());
        assert_eq!(pace.made(Duration::from_millis(2), SOON), SOON);
        assert_eq!(pace.at(), None, "nothing asks for it");
        let long = Duration::from_secs(3);
        assert_eq!(pace.made(long, SOON), Duration::from_secs(150));
        pace.ask();
        assert!(pace.at() > Some(Instant::now() + Duration::from_secs(100)));
    }

    #[test]
    fn only_a_folder_of_ones_own_is_given_away() {
        let above = tempfile::tempdir().expect("a folder");
        let (folder, other) = (above.path().join("gw.readers"), above.path().join("other"));
        let gid = Gid::current();
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o7777;
        fs::create_dir(&other).expect("made");
        fs::set_permissions(&other, Permissions::from_mode(0o1777)).expect("set");
        std::os::unix::fs::symlink(&other, &folder).expect("linked");
        let error = make(&folder, gid).expect_err("a link").to_string();
        assert!(
            error.contains("gw.readers") && error.contains("rm -r"),
            "{error}"
        );
        assert_eq!(mode(&other), 0o1777);
        fs::remove_file(&folder).expect("removed");
        fs::write(&folder, "").expect("written");
        make(&folder, gid).expect_err("a file");
        private::remove(&folder).expect("removed");
        make(&folder, gid).expect("made");
        assert_eq!(mode(&folder), 0o750);
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("set");
        make(&folder, gid).expect("set again");
        assert_eq!(mode(&folder), 0o750);
        // Only root can give it to somebody else.
        if nix::unistd::geteuid().is_root() {
            nix::unistd::chown(&folder, Some(65_533.into()), None).expect("given");
            let error = format!("{:#}", make(&folder, gid).expect_err("another's"));
            assert!(error.contains("user 65533"), "{error}");
        }
    }

    #[test]
    fn a_copy_that_is_damaged_is_told_from_the_one_that_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = table_in(folder.path());
        assert_eq!(mark(&path), None);
        fs::write(&path, "whole").expect("written");
        let whole = mark(&path);
        assert_eq!(mark(&path), whole);
        for damage in ["", "longer than it was"] {
            fs::write(&path, damage).expect("written");
            assert_ne!(mark(&path), whole, "{damage}");
        }
        fs::remove_file(&path).expect("removed");
        assert_ne!(mark(&path), whole);
    }

    #[test]
    fn counters_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let counted = Counted {
            at: 7,
            again_in: 10,
            drops: [(1, 2)].into(),
            ..Counted::default()
        };
        let first = serde_json::to_string(&counted).expect("JSON");
        let text = format!("{first}\n[\"a\",\"192.0.2.1\",[1,2,3],[4,5,6]]\n");
        let file = counters_file(folder.path());
        fs::write(&file, text).expect("written");
        let mut eips = Vec::new();
        let read = Counted::read(folder.path(), |id, address, all| {
            eips.push((id, address.to_string(), all.in_bytes, all.out_dropped));
        });
        assert_eq!(read.expect("read"), counted);
        assert_eq!(eips, [("a".to_owned(), "192.0.2.1".to_owned(), 2, 6)]);
        fs::write(&file, format!("{first}\n\"why\"\n")).expect("written");
        let read = Counted::read(folder.path(), |_, _, _| {}).expect("read");
        assert_eq!(read.incomplete.as_deref(), Some("why"));
        for damaged in ["", "{}", "[]\n", &format!("{first}\n[1]\n")] {
            fs::write(&file, damaged).expect("written");
            Counted::read(folder.path(), |_, _, _| {}).expect_err(damaged);
        }
    }
}

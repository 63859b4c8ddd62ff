//! Tells when the table's file changes, by inotify: no polling while nothing happens, and no waking
//! for other files.
//!
//! Watched are the file and its journal, and for another file that takes its place every folder on
//! the way to it, links followed, each for one name alone. A mount that comes or goes on the way is
//! no event of inotify: the list of mounts says so.
//!
//! A change is readable a moment after its last write, when its locks go, which nobody is told. So
//! after a write the table is looked at a few times more, at growing distances.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env,
    ffi::{CString, OsStr, OsString},
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};

/// The first look after a write …
const FIRST_LOOK: Duration = Duration::from_micros(250);
/// … and the last; each comes after twice the pause of the one before. Slow disks take longest to
/// sync a commit.
const LAST_LOOK: Duration = Duration::from_secs(2);
/// So many links are followed, as the kernel does.
const MOST_LINKS: usize = 40;

/// What a folder tells: that a name leads elsewhere, or that it is itself at its path no longer.
const FOLDER_EVENTS: u32 = libc::IN_CREATE
    | libc::IN_DELETE
    | libc::IN_MOVED_FROM
    | libc::IN_MOVED_TO
    | libc::IN_DELETE_SELF
    | libc::IN_MOVE_SELF
    | libc::IN_ONLYDIR;
/// What a file tells.
const FILE_EVENTS: u32 = libc::IN_MODIFY | libc::IN_CLOSE_WRITE | libc::IN_ATTRIB;
/// What its journal tells. Not what becomes of its attributes: SQLite gives the journal to the
/// table's owner whenever it looks at it (unixOpen, `robustFchown`), so that each look of the
/// daemon would wake it for the next one. That another file is in its place, the folder tells.
const JOURNAL_EVENTS: u32 = libc::IN_MODIFY | libc::IN_CLOSE_WRITE;

/// A watch on the table's file.
#[derive(Debug)]
pub struct TableWatch {
    path: PathBuf,
    inotify: AsyncFd<OwnedFd>,
    mounts: AsyncFd<File>,
    /// The names that matter of each watched folder; of a watched file there are none.
    watched: BTreeMap<i32, BTreeSet<OsString>>,
    /// The next look, and the pause before the one after it.
    look: Option<(Instant, Duration)>,
}

/// What there is on the way to a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Way {
    /// Folders, and the names in each that matter.
    folders: BTreeMap<PathBuf, BTreeSet<OsString>>,
    /// The file, and its journal, which may stand beside it.
    files: Vec<PathBuf>,
}

impl TableWatch {
    /// Watches the file, which need not be there.
    pub fn start(file: &Path) -> io::Result<Self> {
        // SAFETY: the call takes flags only.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: an owned descriptor stays open, and the same, until it is dropped with this
        // value.
        let inotify = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        let mounts = File::open("/proc/self/mountinfo")?;
        // SAFETY: an open file stays open, and the same, until it is dropped with this value.
        let mounts = unsafe { AsyncFd::register_with_interest(mounts, Interest::PRIORITY) }?;
        let mut watch = Self {
            path: env::current_dir()?.join(file),
            inotify,
            mounts,
            watched: BTreeMap::new(),
            look: None,
        };
        watch.follow_way()?;
        if watch.watched.is_empty() {
            return Err(io::Error::last_os_error());
        }
        Ok(watch)
    }

    /// Returns when the table may have changed.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let at = self.look.map(|(at, _)| at);
            let later = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ready = self.inotify.readable() => {
                    let mut ready = ready?;
                    let events = read(&self.inotify)?;
                    ready.clear_ready();
                    drop(ready);
                    if !self.take(&events)? {
                        continue;
                    }
                    self.look = Some((Instant::now() + FIRST_LOOK, FIRST_LOOK));
                }
                ready = self.mounts.ready(Interest::PRIORITY) => {
                    ready?.clear_ready();
                    if !self.follow_way()? {
                        continue;
                    }
                }
                () = later => {
                    self.look = self.look.and_then(|(at, pause)| {
                        let pause = pause * 2;
                        (pause <= LAST_LOOK).then_some((at + pause, pause))
                    });
                }
            }
            return Ok(());
        }
    }

    /// Whether any of the events is about the table. If one says that the way to it may be another,
    /// that is followed.
    fn take(&mut self, events: &[Event]) -> io::Result<bool> {
        let mut matters = false;
        let mut is_another_way = false;
        for event in events {
            // What was lost may be anything.
            if event.mask & libc::IN_Q_OVERFLOW != 0 {
                (matters, is_another_way) = (true, true);
            }
            let Some(names) = self.watched.get(&event.watch) else {
                continue;
            };
            let is_file = names.is_empty();
            let is_itself = event.name.is_empty();
            if is_itself || names.contains(&event.name) {
                matters = true;
                is_another_way |=
                    !is_file || event.mask & (libc::IN_ATTRIB | libc::IN_IGNORED) != 0;
            }
        }
        if is_another_way {
            self.follow_way()?;
        }
        Ok(matters)
    }

    /// Watches what is on the way by now. Returns whether that is something else than before.
    fn follow_way(&mut self) -> io::Result<bool> {
        let mut watched: BTreeMap<i32, BTreeSet<OsString>> = BTreeMap::new();
        let mut way = Way::to(&self.path);
        loop {
            for (folder, names) in &way.folders {
                if let Some(watch) = self.add(folder, FOLDER_EVENTS)? {
                    watched
                        .entry(watch)
                        .or_default()
                        .extend(names.iter().cloned());
                }
            }
            for (file, events) in way.files.iter().zip([FILE_EVENTS, JOURNAL_EVENTS]) {
                if let Some(watch) = self.add(file, events)? {
                    watched.entry(watch).or_default();
                }
            }
            // What came before it was watched told nobody.
            let now = Way::to(&self.path);
            if now == way {
                break;
            }
            way = now;
        }
        for gone in self
            .watched
            .keys()
            .filter(|watch| !watched.contains_key(watch))
        {
            // SAFETY: the call takes numbers only. One that the kernel has removed itself is an
            // error that does not matter.
            unsafe { libc::inotify_rm_watch(self.inotify.as_raw_fd(), *gone) };
        }
        let is_another = watched != self.watched;
        self.watched = watched;
        Ok(is_another)
    }

    /// Watches one file or folder; `None` if it is not there, or not to be looked at.
    fn add(&self, path: &Path, events: u32) -> io::Result<Option<i32>> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path is a string with a final zero that lives longer than the call.
        let watch =
            unsafe { libc::inotify_add_watch(self.inotify.as_raw_fd(), path.as_ptr(), events) };
        if watch >= 0 {
            return Ok(Some(watch));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ELOOP) => Ok(None),
            _ => Err(error),
        }
    }
}

impl Way {
    /// The way to the file of that absolute path, as far as it goes.
    fn to(path: &Path) -> Self {
        let mut way = Self::default();
        let mut here = PathBuf::from("/");
        let mut left: VecDeque<OsString> = names(path);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            way.name(&here, &name);
            let next = here.join(&name);
            match fs::symlink_metadata(&next) {
                Ok(found) if found.is_symlink() && links < MOST_LINKS => {
                    links += 1;
                    let Ok(target) = fs::read_link(&next) else {
                        return way;
                    };
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    for name in names(&target).into_iter().rev() {
                        left.push_front(name);
                    }
                }
                Ok(_) if left.is_empty() => {
                    let mut journal = name;
                    journal.push("-journal");
                    way.name(&here, &journal);
                    way.files = vec![next, here.join(journal)];
                    return way;
                }
                Ok(_) => here = next,
                Err(_) => return way,
            }
        }
        way
    }

    fn name(&mut self, folder: &Path, name: &OsStr) {
        let names = self.folders.entry(folder.to_owned()).or_default();
        names.insert(name.to_owned());
    }
}

/// The steps of a path.
fn names(path: &Path) -> VecDeque<OsString> {
    let steps = path.components();
    steps
        .filter_map(|step| match step {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
        })
        .collect()
}

/// What inotify tells.
#[derive(Debug)]
struct Event {
    watch: i32,
    mask: u32,
    /// Of the entry in a folder; empty for the watched thing itself.
    name: OsString,
}

/// Reads all events that there are.
fn read(inotify: &AsyncFd<OwnedFd>) -> io::Result<Vec<Event>> {
    let mut buffer = [0_u8; 4096];
    let mut events = Vec::new();
    loop {
        // SAFETY: the buffer is writable for its whole length, and the kernel writes no more than
        // that.
        let read = unsafe {
            libc::read(
                inotify.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        if let Ok(read @ 1..) = usize::try_from(read) {
            parse(buffer.get(..read).unwrap_or_default(), &mut events);
            continue;
        }
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock => Ok(events),
            io::ErrorKind::Interrupted => continue,
            _ if read == 0 => Ok(events),
            _ => Err(error),
        };
    }
}

/// Takes apart what was read: for each event four numbers, and a name that is filled up with zeros.
fn parse(mut bytes: &[u8], events: &mut Vec<Event>) {
    while let Some((head, rest)) = bytes.split_first_chunk::<16>() {
        let number = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&head[at..at + 4]);
            u32::from_ne_bytes(word)
        };
        let length = number(12) as usize;
        let Some((name, after)) = rest.split_at_checked(length) else {
            return;
        };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        events.push(Event {
            watch: number(0).cast_signed(),
            mask: number(4),
            name: OsString::from_vec(name.to_vec()),
        });
        bytes = after;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    async fn told(watch: &mut TableWatch) {
        tokio::time::timeout(LONG, watch.changed())
            .await
            .expect("told in time")
            .expect("no error");
    }

    /// All that is to come of what happened so far.
    async fn quiet(watch: &mut TableWatch) {
        while watch.look.is_some() {
            told(watch).await;
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_write_is_told_and_looked_at_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("table.db");
        fs::write(&file, "table").expect("written");
        let mut watch = TableWatch::start(&file).expect("watched");
        fs::write(folder.path().join("table.db-journal"), "commit").expect("written");
        for _ in 0..3 {
            told(&mut watch).await;
        }
        quiet(&mut watch).await;
        // The journal stays, and is watched by now.
        let journal = folder.path().join("table.db-journal");
        fs::write(journal, "another").expect("written");
        told(&mut watch).await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn other_files_are_nobodys_business() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("table.db");
        fs::write(&file, "table").expect("written");
        let mut watch = TableWatch::start(&file).expect("watched");
        let other = folder.path().join("table.db.backup");
        for content in ["one", "two"] {
            fs::write(&other, content).expect("written");
        }
        fs::rename(&other, folder.path().join("elsewhere")).expect("renamed");
        fs::write(&file, "changed").expect("written");
        let events = read(&watch.inotify).expect("events");
        let (last, before) = events.split_last().expect("some");
        assert!(watch.take(std::slice::from_ref(last)).expect("an answer"));
        let is_other = |event: &&Event| event.name.to_string_lossy() != "";
        let others: Vec<_> = before.iter().filter(is_other).collect();
        assert!(!others.is_empty(), "a folder tells of what comes and goes");
        for event in others {
            assert!(
                !watch.take(std::slice::from_ref(event)).expect("an answer"),
                "{event:?}"
            );
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn links_and_folders_on_the_way_are_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str| folder.path().join(path);
        for name in ["one", "two"] {
            fs::create_dir(at(name)).expect("made");
            fs::write(at(name).join("table.db"), name).expect("written");
        }
        symlink("one", at("current")).expect("linked");
        symlink("current/table.db", at("table.db")).expect("linked");
        let mut watch = TableWatch::start(&at("table.db")).expect("watched");
        fs::write(at("one/table.db"), "changed").expect("written");
        told(&mut watch).await;
        quiet(&mut watch).await;
        // Another place.
        symlink("two", at("new")).expect("linked");
        fs::rename(at("new"), at("current")).expect("renamed");
        told(&mut watch).await;
        quiet(&mut watch).await;
        fs::write(at("two/table.db"), "changed").expect("written");
        told(&mut watch).await;
        quiet(&mut watch).await;
        // The folder goes, and another one comes.
        fs::rename(at("two"), at("three")).expect("renamed");
        told(&mut watch).await;
        quiet(&mut watch).await;
        fs::create_dir(at("two")).expect("made");
        told(&mut watch).await;
        quiet(&mut watch).await;
        fs::write(at("two/table.db"), "anew").expect("written");
        told(&mut watch).await;
        quiet(&mut watch).await;
        fs::write(at("two/table.db"), "changed").expect("written");
        told(&mut watch).await;
    }

    #[test]
    fn a_way_ends_where_there_is_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("a path");
        symlink("loop", path.join("loop")).expect("linked");
        for name in ["loop/table.db", "nothing/table.db", "loop"] {
            let way = Way::to(&path.join(name));
            assert!(way.folders.contains_key(&path), "{way:?}");
            assert!(!way.files.contains(&path.join("nothing/table.db")));
        }
    }

    #[test]
    fn whatever_is_read_is_taken_apart() {
        let mut events = Vec::new();
        parse(&[7; 15], &mut events);
        parse(&[0xff; 64], &mut events);
        assert!(events.is_empty());
    }
}

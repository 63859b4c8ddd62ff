//! One daemon for each gateway: the lock that says so.
//!
//! It is a folder among the gateway's pins, which is this user's alone: nobody else can open it, so
//! nobody else can lock it, and nothing that cleans up old files comes there. Versions before this
//! one locked a file beside the reports, which is locked, too, and tells people the number of the
//! process.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::sys::signal::Signal;

use super::run_folder::{self, RUN_FOLDER};
use crate::{cli::Name, kernel::Pins, private};

/// The lock of a gateway, held for as long as this value lives.
#[derive(Debug)]
pub struct Lock {
    place: PathBuf,
    _folder: File,
    _file: File,
}

/// The process that holds the lock of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number, as far as it is known.
    pub pid: Option<i32>,
}

/// ` (process N)`, as far as it is known.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pid.map_or(Ok(()), |pid| write!(f, " (process {pid})"))
    }
}

/// Others try the lock for an instant to see whether a daemon runs, so one failure is none.
const PATIENCE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(5);

/// The file that an earlier version locked.
fn path(name: &Name) -> PathBuf {
    Path::new(RUN_FOLDER).join(format!("{name}.lock"))
}

impl Lock {
    /// Takes the lock.
    pub fn take(name: &Name) -> anyhow::Result<Self> {
        run_folder::make()?;
        let pins = Pins::new(name);
        Self::take_at(|| Ok(pins.make_lock()?), &path(name), name)
    }

    /// `make` makes the folder, where there is none, and says where it is.
    fn take_at(
        make: impl Fn() -> anyhow::Result<PathBuf>,
        file: &Path,
        name: &Name,
    ) -> anyhow::Result<Self> {
        let end = Instant::now() + PATIENCE;
        let (place, folder) = loop {
            let place = make()?;
            let folder = open_folder(&place)?;
            match folder.try_lock() {
                // It may have been taken away by who had it.
                Ok(()) if is_at(&folder, &place) => break (place, folder),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(taken(name, holder_of(&folder))),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", place.display()));
                }
            }
        };
        let mut file = take_file(file, name)?;
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).with_context(|| format!("cannot write {}", path(name).display()))?;
        Ok(Self {
            place,
            _folder: folder,
            _file: file,
        })
    }

    /// Whether a daemon of the gateway runs.
    pub fn is_held(name: &Name) -> anyhow::Result<bool> {
        Ok(Self::holder(name)?.is_some())
    }

    /// The process that holds the lock of the gateway; `None` if no daemon runs.
    pub fn holder(name: &Name) -> anyhow::Result<Option<Holder>> {
        Self::holder_at(&Pins::new(name).lock(), &path(name))
    }

    fn holder_at(place: &Path, file: &Path) -> anyhow::Result<Option<Holder>> {
        for path in [place, file] {
            let Some(held) = held(path)? else { continue };
            let holder = holder_of(&held);
            // Who else locks the file of an earlier version is no daemon.
            if path == place || may_be_a_daemon(holder) {
                return Ok(Some(holder));
            }
        }
        Ok(None)
    }

    /// Sends the holder a signal. Returns its number; `None` if no daemon runs.
    pub fn signal_holder(name: &Name, signal: Signal) -> anyhow::Result<Option<i32>> {
        let Some(Holder { pid: Some(pid) }) = Self::holder(name)? else {
            return Ok(None);
        };
        let process = match open_process(pid) {
            Ok(process) => process,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot open process {pid}"));
            }
        };
        // What is open stays that process: if it holds the lock now, it is the daemon, whatever
        // gets its number later.
        if Self::holder(name)?.and_then(|holder| holder.pid) != Some(pid) {
            return Ok(None);
        }
        // SAFETY: the call takes numbers and a null pointer, which stands for no further
        // information.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                process.as_raw_fd(),
                signal as libc::c_int,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        match sent {
            0 => Ok(Some(pid)),
            _ => Err(io::Error::last_os_error())
                .with_context(|| format!("cannot send {signal} to process {pid}")),
        }
    }
}

/// The folder goes, where it can, so that a gateway that was never loaded leaves nothing. Who waits
/// for it makes it again.
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.place);
        for folder in self.place.ancestors().skip(1).take(2) {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn taken(name: &Name, holder: Holder) -> anyhow::Error {
    anyhow::anyhow!(
        "a daemon of gateway `{name}` runs already{holder}; stop it first, or run this one under another name with `--name`"
    )
}

fn open_folder(path: &Path) -> anyhow::Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
        .with_context(|| format!("cannot open {}; run as root", path.display()))
}

/// Locks the file that an earlier version locks. One that others could open is replaced, if it is
/// no daemon that has it.
fn take_file(path: &Path, name: &Name) -> anyhow::Result<File> {
    let end = Instant::now() + PATIENCE;
    loop {
        // What is no file tells nobody anything, and nobody locks it.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            private::remove(path).with_context(|| format!("cannot replace {}", path.display()))?;
        }
        let file = private::options()
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .with_context(|| format!("cannot open {}; run as root", path.display()))?;
        private::close(path, 0o077);
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) if may_be_a_daemon(holder_of(&file)) => {
                return Err(taken(name, holder_of(&file)));
            }
            Err(TryLockError::WouldBlock) => {
                fs::remove_file(path)
                    .with_context(|| format!("cannot replace {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

/// What is locked at that path, if somebody has it.
fn held(path: &Path) -> anyhow::Result<Option<File>> {
    let opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A link, or a socket: nobody's lock.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(file)),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot try {}", path.display()))
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let there = fs::symlink_metadata(path);
    match (file.metadata(), there) {
        (Ok(file), Ok(there)) => (file.dev(), file.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Who has the lock, as the kernel says; it knows of no process outside of this one's namespace.
fn holder_of(file: &File) -> Holder {
    let listed = || {
        let file = file.metadata().ok()?;
        let locks = fs::read_to_string("/proc/locks").ok()?;
        find_holder(&locks, file.dev(), file.ino())
    };
    Holder {
        pid: listed().or_else(|| written(file)),
    }
}

/// A folder that a daemon locks, as the kernel's list of locks names it.
pub type Place = (u64, u64);

/// That of the gateway, while it is there.
pub fn place_of(name: &Name) -> Option<Place> {
    let found = fs::symlink_metadata(Pins::new(name).lock()).ok()?;
    Some((found.dev(), found.ino()))
}

/// Whether somebody has locked it for himself. Everybody may read that.
pub fn is_locked((device, inode): Place) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    find_holder(&locks, device, inode).is_some()
}

/// The process that has the file locked for itself, in the kernel's list of locks.
fn find_holder(locks: &str, device: u64, inode: u64) -> Option<i32> {
    let place = format!(
        "{:02x}:{:02x}:{inode}",
        libc::major(device),
        libc::minor(device)
    );
    let mut any = None;
    for line in locks.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, kind, pid, at, ..] = words[..] else {
            continue;
        };
        if at != place {
            continue;
        }
        let pid = pid.parse().ok().filter(|pid| *pid > 0);
        if kind == "WRITE" && pid.is_some() {
            return pid;
        }
        any = any.or(pid);
    }
    any
}

/// The number that a daemon wrote into its lock.
fn written(file: &File) -> Option<i32> {
    let mut text = String::new();
    let mut file = file;
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

/// Whether it is a process of this user's or of root's. One that nothing is known of may be.
fn may_be_a_daemon(holder: Holder) -> bool {
    let Some(pid) = holder.pid else { return true };
    fs::metadata(format!("/proc/{pid}")).is_ok_and(|process| private::is_own(process.uid()))
}

fn open_process(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_the_first_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("pins/gw/lock");
        let file = folder.path().join("gw.lock");
        let name: Name = "gw".parse().expect("a name");
        let take = || {
            let make = || {
                fs::create_dir_all(&place)?;
                Ok(place.clone())
            };
            Lock::take_at(make, &file, &name)
        };
        let holder = || Lock::holder_at(&place, &file).expect("a lock to look at");
        assert_eq!(holder(), None, "no folder yet");
        let first = take().expect("free");
        let own = i32::try_from(std::process::id()).expect("a number");
        assert_eq!(holder(), Some(Holder { pid: Some(own) }));
        let error = take().expect_err("held").to_string();
        assert!(error.contains("gateway `gw` runs already"), "{error}");
        assert!(error.contains(&format!("process {own}")), "{error}");
        // The file is only for people, and for earlier versions.
        fs::remove_file(&file).expect("removed");
        assert!(holder().is_some());
        take().expect_err("held all the same");
        drop(first);
        assert!(!place.exists());
        assert_eq!(holder(), None, "held no longer");
        take().expect("free again");
    }

    #[test]
    fn the_kernel_s_list_names_the_holder() {
        let list = "1: POSIX  ADVISORY  WRITE 7 00:1a:99 0 EOF\n\
                    2: FLOCK  ADVISORY  READ  8 00:1a:99 0 EOF\n\
                    3: FLOCK  ADVISORY  WRITE 9 00:1a:98 0 EOF\n\
                    3: -> FLOCK  ADVISORY  WRITE 10 00:1a:98 0 EOF\n\
                    nonsense\n4: FLOCK\n";
        let device = libc::makedev(0, 0x1a);
        assert_eq!(find_holder(list, device, 98), Some(9));
        assert_eq!(find_holder(list, device, 99), Some(8));
        assert_eq!(find_holder(list, device, 97), None);
    }
}

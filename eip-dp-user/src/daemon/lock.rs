//! One daemon for each gateway: the lock that says so.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::cli::Name;

/// Where locks and reports are.
pub const RUN_FOLDER: &str = "/run/eip-dp";

/// The lock of a gateway, held for as long as this value lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Where the lock of the gateway is.
pub fn path(name: &Name) -> PathBuf {
    Path::new(RUN_FOLDER).join(format!("{name}.lock"))
}

impl Lock {
    /// Takes the lock. Others try it for an instant to see whether a daemon runs, so one failure is none.
    pub fn take(name: &Name) -> anyhow::Result<Self> {
        Self::take_at(&path(name), name)
    }

    fn take_at(path: &Path, name: &Name) -> anyhow::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}; run as root", folder.display()))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("cannot open {}; run as root", path.display()))?;
        let end = Instant::now() + Duration::from_millis(200);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => bail!(
                    "a daemon of gateway `{name}` runs already{}; stop it first, or run this one under another \
                     name with `--name`",
                    holder(&mut file)
                ),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { _file: file })
    }

    /// The process that holds the lock of the gateway; `None` if no daemon runs.
    pub fn holder(name: &Name) -> anyhow::Result<Option<String>> {
        Ok(Self::held(name)?.map(|mut file| holder(&mut file)))
    }

    /// Its number, if it can be read.
    pub fn holder_pid(name: &Name) -> anyhow::Result<Option<i32>> {
        Ok(Self::held(name)?.and_then(|mut file| pid(&mut file)))
    }

    /// The lock's file, if somebody holds it.
    fn held(name: &Name) -> anyhow::Result<Option<File>> {
        Self::held_at(&path(name))
    }

    fn held_at(path: &Path) -> anyhow::Result<Option<File>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
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
}

/// ` (process N)`, as far as it is known.
fn holder(file: &mut File) -> String {
    pid(file).map_or_else(String::new, |pid| format!(" (process {pid})"))
}

fn pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_the_first_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/gw.lock");
        let name: Name = "gw".parse().expect("a name");
        let held = || Lock::held_at(&path).expect("a lock to look at").is_some();
        assert!(!held(), "no file yet");
        let first = Lock::take_at(&path, &name).expect("free");
        assert!(held());
        let error = Lock::take_at(&path, &name).expect_err("held").to_string();
        assert!(error.contains("gateway `gw` runs already"), "{error}");
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        assert!(!held(), "held no longer");
        Lock::take_at(&path, &name).expect("free again");
    }
}

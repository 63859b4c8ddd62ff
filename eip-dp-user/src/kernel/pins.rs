//! Where a gateway's maps and links are pinned: a folder of its own on the BPF file system.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use eip_dp_common::abi::maps;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::{PlaneError, with_cure};
use crate::{cli::Name, private, requirements::BPFFS};

/// The folder of the links.
const LINKS: &str = "links";
/// The folder of maps that are to take the place of others.
const NEXT: &str = "next";
/// The folder that a daemon locks.
const LOCK: &str = "lock";

/// The folder of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    name: String,
    root: PathBuf,
    /// The gateway's folder, also where these maps are to take the place of those in it.
    home: PathBuf,
}

impl Pins {
    /// The folder of the gateway of that name, which need not exist.
    pub fn new(name: &Name) -> Self {
        let home = Path::new(BPFFS).join("eip-dp").join(name.as_str());
        Self {
            name: name.to_string(),
            root: home.clone(),
            home,
        }
    }

    /// The gateway's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a map is pinned.
    ///
    /// The ring of requests is the gateway's own and never replaced: its size is fixed, so that
    /// programs of new maps write to the one that the daemon reads, and nothing has to change over.
    pub fn map(&self, name: &str) -> PathBuf {
        match name {
            maps::REQUESTS => self.home.join(name),
            _ => self.root.join(name),
        }
    }

    /// Where links are pinned.
    pub fn links(&self) -> PathBuf {
        self.root.join(LINKS)
    }

    /// Where the maps are that are to take the place of these.
    #[must_use]
    pub fn next(&self) -> Self {
        Self {
            name: self.name.clone(),
            root: self.root.join(NEXT),
            home: self.home.clone(),
        }
    }

    /// Whether the BPF file system is there.
    pub fn check_mounted() -> Result<(), PlaneError> {
        let mounted = statfs(BPFFS).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC);
        if mounted {
            return Ok(());
        }
        Err(PlaneError(format!(
            "no BPF file system is mounted at {BPFFS}; mount it with `mount -t bpf bpf {BPFFS}` (inside a network \
             namespace use `nsenter --net=…`, because `ip netns exec` hides the host's)"
        )))
    }

    /// What is said of a BPF file system in which anybody may make a folder, and the cure; `None`
    /// where only root may.
    pub fn lax_mount() -> Option<(String, String)> {
        let mode = fs::metadata(BPFFS).ok()?.mode() & 0o7777;
        (mode & 0o022 != 0).then(|| {
            let seen = format!(
                "{BPFFS} is open to every user (mode {mode:o}): one may take the place of this gateway's folder before it is \
                 made"
            );
            (seen, format!("`mount -o remount,mode=700 {BPFFS}`"))
        })
    }

    /// The folder that a daemon of the gateway locks.
    pub fn lock(&self) -> PathBuf {
        self.home.join(LOCK)
    }

    /// Makes it, with the folders above; returns where it is.
    pub fn make_lock(&self) -> Result<PathBuf, PlaneError> {
        Self::check_mounted()?;
        let lock = self.lock();
        // Nothing is made where somebody's link leads to.
        self.check_own()?;
        self.make_folder(&lock)?;
        self.check_own()?;
        Ok(lock)
    }

    /// Makes a folder that is this user's alone.
    fn make_folder(&self, path: &Path) -> Result<(), PlaneError> {
        // Another gateway that ends may take away the folder of all in between.
        const TRIES: usize = 10;
        let mut made = private::folders().create(path);
        for _ in 1..TRIES {
            match &made {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    made = private::folders().create(path);
                }
                _ => break,
            }
        }
        made.map_err(|error| self.failed("create", path, &error))
    }

    /// Refuses folders that others may have written to. Those of an earlier version, which others
    /// could look into, are closed.
    fn check_own(&self) -> Result<(), PlaneError> {
        let below = [LOCK, LINKS, NEXT].map(|name| self.home.join(name));
        let above = self.home.parent().map(Path::to_owned);
        for folder in above.into_iter().chain([self.home.clone()]).chain(below) {
            let found = match fs::symlink_metadata(&folder) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(self.failed("look at", &folder, &error)),
            };
            if !found.is_dir() || !private::is_own(found.uid()) || found.mode() & 0o022 != 0 {
                return Err(PlaneError(format!(
                    "gateway `{}`: {} is not root's alone (user {}, mode {:o}), so somebody else may have pinned what is in it; \
                     look who it was, remove it (`rm -r {}`, which ends what it forwards), and start again",
                    self.name,
                    folder.display(),
                    found.uid(),
                    found.mode() & 0o7777,
                    folder.display(),
                )));
            }
            private::close(&folder, 0o077);
        }
        Ok(())
    }

    /// Whether anything of this gateway is pinned. Asks for the privileges that tell.
    pub fn exist(&self) -> Result<bool, PlaneError> {
        match fs::read_dir(&self.root) {
            Ok(mut entries) => {
                self.check_own()?;
                Ok(entries.any(|entry| entry.map_or(true, |entry| entry.file_name() != LOCK)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("read", &self.root, &error)),
        }
    }

    /// Creates the folders.
    pub fn create(&self) -> Result<(), PlaneError> {
        self.make_folder(&self.links())?;
        self.check_own()
    }

    /// Creates the folder alone.
    pub fn create_folder(&self) -> Result<(), PlaneError> {
        let made = private::folders().recursive(false).create(&self.root);
        made.map_err(|error| self.failed("create", &self.root, &error))
    }

    /// Removes the maps that were to take the place of these, if there are any.
    pub fn remove_next(&self) -> Result<bool, PlaneError> {
        self.remove_files(&self.next().root)
    }

    /// Puts the maps that are to take the place of these there, and removes their folder.
    pub fn replace(&self, maps: impl IntoIterator<Item = &'static str>) -> Result<(), PlaneError> {
        let next = self.next();
        for map in maps {
            let from = next.map(map);
            match fs::rename(&from, self.map(map)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed("rename", &from, &error)),
            }
        }
        fs::remove_dir(&next.root).map_err(|error| self.failed("remove", &next.root, &error))
    }

    /// Removes everything of this gateway but its lock: links first, so that no program runs
    /// without its maps. Returns whether there was anything. Without a lock the folders go, too.
    pub fn remove(&self) -> Result<bool, PlaneError> {
        let removed_links = self.remove_files(&self.links())?;
        self.remove_next()?;
        let removed_maps = self.remove_files(&self.root)?;
        // The folder of all gateways stays while another one uses it.
        if let Some(parent) = self.root.parent() {
            let _ = fs::remove_dir(parent);
        }
        Ok(removed_links || removed_maps)
    }

    fn remove_files(&self, folder: &Path) -> Result<bool, PlaneError> {
        let mut is_locked = false;
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(self.failed("read", folder, &error)),
        };
        for entry in entries {
            let path = entry
                .map_err(|error| self.failed("read", folder, &error))?
                .path();
            if path == self.lock() {
                is_locked = true;
                continue;
            }
            fs::remove_file(&path).map_err(|error| self.failed("remove", &path, &error))?;
        }
        // Who has the lock takes it away, and this folder with it.
        if !is_locked {
            fs::remove_dir(folder).map_err(|error| self.failed("remove", folder, &error))?;
        }
        Ok(true)
    }

    fn failed(&self, verb: &str, path: &Path, error: &io::Error) -> PlaneError {
        let message = format!(
            "gateway `{}`: cannot {verb} {}: {error}",
            self.name,
            path.display()
        );
        with_cure(message, error.raw_os_error())
    }
}

//! Where a gateway's maps and links are pinned: a folder of its own on the BPF file system.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use eip_dp_common::abi::maps;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::{PlaneError, with_cure};
use crate::{cli::Name, requirements::BPFFS};

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
        self.root.join("links")
    }

    /// Where the maps are that are to take the place of these.
    #[must_use]
    pub fn next(&self) -> Self {
        Self {
            name: self.name.clone(),
            root: self.root.join("next"),
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

    /// Whether anything of this gateway is pinned. Asks for the privileges that tell.
    pub fn exist(&self) -> Result<bool, PlaneError> {
        match fs::read_dir(&self.root) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("read", &self.root, &error)),
        }
    }

    /// Creates the folders.
    pub fn create(&self) -> Result<(), PlaneError> {
        fs::create_dir_all(self.links())
            .map_err(|error| self.failed("create", &self.links(), &error))
    }

    /// Creates the folder alone.
    pub fn create_folder(&self) -> Result<(), PlaneError> {
        fs::create_dir(&self.root).map_err(|error| self.failed("create", &self.root, &error))
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

    /// Removes everything of this gateway: links first, so that no program runs without its maps. Returns whether
    /// there was anything.
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
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(self.failed("read", folder, &error)),
        };
        for entry in entries {
            let path = entry
                .map_err(|error| self.failed("read", folder, &error))?
                .path();
            fs::remove_file(&path).map_err(|error| self.failed("remove", &path, &error))?;
        }
        fs::remove_dir(folder).map_err(|error| self.failed("remove", folder, &error))?;
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

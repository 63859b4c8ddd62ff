//! Settings of interfaces that the data plane needs, put back once it needs them no longer.
//!
//! What a setting was is written to a file before it is changed, so that the next daemon, or
//! `unload`, can put it back after this one was killed. Forwarding goes on without a daemon, so the
//! settings do, too: they end with `unload`. One that somebody else has changed since is left as it
//! is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use nix::net::if_::if_indextoname;
use rtnetlink::LinkUnspec;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tracing::warn;

use super::{HostError, offloads::flags};
use crate::private;

/// A setting of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// It receives frames to every multicast address (`ip link set … allmulticast on`): neighbour
    /// solicitations for EIPs and for gateways come to addresses that the host itself has not
    /// joined.
    AllMulticast,
    /// The kernel forwards IPv4 packets that come in on it (`net.ipv4.conf.….forwarding`). Nothing
    /// asks for it any more: versions before this one did, and it is put back.
    Forwarding,
    /// The kernel takes packets although the route to their source leads elsewhere
    /// (`net.ipv4.conf.….rp_filter`); likewise.
    NoReversePath,
}

/// A setting that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The interface's index.
    pub interface: u32,
    /// What was set.
    pub setting: Setting,
    /// What it was before.
    pub before: u8,
}

/// The settings of one gateway.
#[derive(Debug)]
pub struct Settings {
    file: PathBuf,
    handle: rtnetlink::Handle,
    task: JoinHandle<()>,
    changed: BTreeMap<(u32, Setting), u8>,
    /// What is as it is wanted.
    set: BTreeSet<(u32, Setting)>,
}

impl Setting {
    /// What it has to be.
    pub fn wanted(self) -> u8 {
        match self {
            Self::AllMulticast | Self::Forwarding => 1,
            Self::NoReversePath => 0,
        }
    }

    /// Its name for an interface, as the operator knows it.
    pub fn name(self, interface: &str) -> String {
        match self {
            Self::AllMulticast => format!("allmulticast of {interface}"),
            Self::Forwarding => format!("net.ipv4.conf.{interface}.forwarding"),
            Self::NoReversePath => format!("net.ipv4.conf.{interface}.rp_filter"),
        }
    }

    /// The file of a sysctl. The kernel shows those of the calling thread's network namespace.
    fn sysctl(self, interface: &str) -> Option<PathBuf> {
        let name = match self {
            Self::AllMulticast => return None,
            Self::Forwarding => "forwarding",
            Self::NoReversePath => "rp_filter",
        };
        Some(
            Path::new("/proc/sys/net/ipv4/conf")
                .join(interface)
                .join(name),
        )
    }
}

/// The setting, its value and the one before.
impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = name_of(self.interface).unwrap_or_else(|_| self.interface.to_string());
        let (wanted, before) = (self.setting.wanted(), self.before);
        write!(f, "{} = {wanted} (was {before})", self.setting.name(&name))
    }
}

/// What a gateway has changed, by the file that it keeps.
pub fn changed(file: &Path) -> io::Result<Vec<Changed>> {
    match private::read(file) {
        Ok(content) => read_changed(&content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Reads such a file's content.
pub(crate) fn read_changed(content: &[u8]) -> io::Result<Vec<Changed>> {
    serde_json::from_slice(content).map_err(io::Error::from)
}

impl Settings {
    /// Takes over what an earlier daemon has changed, as `file` says. Must be called within a tokio
    /// runtime, in the network namespace of the interfaces.
    pub fn open(file: PathBuf) -> Result<Self, HostError> {
        let before = match changed(&file) {
            Ok(before) => before,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                // What it said is lost; what is asked for from now on is written anew.
                warn!(%error, file = %file.display(), "what an earlier daemon set is unknown, and stays as it is");
                private::remove(&file).map_err(|error| HostError::settings(&file, error))?;
                Vec::new()
            }
            Err(error) => return Err(HostError::settings(&file, error)),
        };
        private::close(&file, 0o077);
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| HostError::open("rtnetlink", error))?;
        Ok(Self {
            file,
            handle,
            task: tokio::spawn(connection),
            changed: before
                .into_iter()
                .map(|one| ((one.interface, one.setting), one.before))
                .collect(),
            set: BTreeSet::new(),
        })
    }

    /// Makes the settings as wanted, and puts back those that are wanted no longer. It does nothing
    /// when there is nothing to do. Every setting is tried; the first error is returned.
    pub async fn reconcile(&mut self, wanted: &BTreeSet<(u32, Setting)>) -> Result<(), HostError> {
        let mut outcome = Ok(());
        self.set.retain(|key| wanted.contains(key));
        for key in wanted {
            if !self.set.contains(key) {
                outcome = outcome.and(self.make(*key).await);
            }
        }
        let gone: Vec<_> = self.changed.keys().copied().collect();
        for key in gone.into_iter().filter(|key| !wanted.contains(key)) {
            outcome = outcome.and(self.put_back(key).await);
        }
        outcome
    }

    /// Puts all of them back.
    pub async fn release_all(mut self) -> Result<(), HostError> {
        self.reconcile(&BTreeSet::new()).await
    }

    async fn make(&mut self, key: (u32, Setting)) -> Result<(), HostError> {
        let (interface, setting) = key;
        let failed = |error| HostError::setting("change", interface, setting, error);
        // The interface may have gone a moment ago: then it is wanted no longer, as soon as that is
        // known.
        let before = read(interface, setting).map_err(failed)?;
        if before != setting.wanted() {
            // What another daemon found there before counts, not what somebody made of it since.
            self.changed.entry(key).or_insert(before);
            self.remember()?;
            self.write(interface, setting, setting.wanted())
                .await
                .map_err(failed)?;
        }
        self.set.insert(key);
        Ok(())
    }

    async fn put_back(&mut self, key: (u32, Setting)) -> Result<(), HostError> {
        let (interface, setting) = key;
        let Some(before) = self.changed.get(&key).copied() else {
            return Ok(());
        };
        match read(interface, setting) {
            Ok(now) if now == setting.wanted() => self
                .write(interface, setting, before)
                .await
                .map_err(|error| HostError::setting("put back", interface, setting, error))?,
            // Somebody else's by now, or no interface to put it back on.
            Ok(_) | Err(_) => {}
        }
        self.changed.remove(&key);
        self.remember()
    }

    async fn write(&self, interface: u32, setting: Setting, value: u8) -> io::Result<()> {
        if let Some(path) = setting.sysctl(&name_of(interface)?) {
            return fs::write(path, value.to_string());
        }
        let message = LinkUnspec::new_with_index(interface).allmulticast(value != 0);
        let request = self.handle.link().change(message.build());
        request.execute().await.map_err(|error| match error {
            rtnetlink::Error::NetlinkError(error) => error.to_io(),
            other => io::Error::other(other.to_string()),
        })
    }

    /// Writes what is to be put back to the file, in one step.
    fn remember(&self) -> Result<(), HostError> {
        let changed: Vec<_> = self
            .changed
            .iter()
            .map(|((interface, setting), before)| Changed {
                interface: *interface,
                setting: *setting,
                before: *before,
            })
            .collect();
        let result = if changed.is_empty() {
            match fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        } else {
            serde_json::to_vec_pretty(&changed)
                .map_err(io::Error::from)
                .and_then(|content| private::write(&self.file, &content))
        };
        result.map_err(|error| HostError::settings(&self.file, error))
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn read(interface: u32, setting: Setting) -> io::Result<u8> {
    let name = name_of(interface)?;
    match setting.sysctl(&name) {
        Some(path) => read_sysctl(&path),
        None => Ok(u8::from(flags(&name)? & libc::IFF_ALLMULTI != 0)),
    }
}

fn read_sysctl(path: &Path) -> io::Result<u8> {
    let text = fs::read_to_string(path)?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, text))
}

fn name_of(interface: u32) -> io::Result<String> {
    let name = if_indextoname(interface).map_err(io::Error::from)?;
    name.into_string()
        .map_err(|name| io::Error::other(format!("{name:?} is no UTF-8")))
}

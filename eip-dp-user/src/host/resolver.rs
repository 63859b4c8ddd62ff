//! The name servers that this host itself asks.

use std::{
    fs::File,
    io::{self, Read},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};
use tracing::debug;

/// What the C library reads.
const FILE: &str = "/etc/resolv.conf";
/// Where systemd-resolved writes the servers behind its own.
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
/// Nobody's is longer.
const LONGEST: u64 = 1 << 16;
/// So many are used, as of those that are configured.
const MOST: usize = 16;
/// An editor empties a file before it fills it: what is read is what stays for that long.
const QUIET: Duration = Duration::from_millis(300);

/// Name servers, and where they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Their addresses, in their order. Never one that only this host can ask: loopback, or of a
    /// link.
    pub servers: Vec<IpAddr>,
    /// The file that they are from; `None` without any.
    pub file: Option<PathBuf>,
}

impl Resolver {
    /// Reads them as they are now.
    pub fn read() -> Self {
        Self::of(&[Path::new(FILE), Path::new(BEHIND_RESOLVED)])
    }

    /// Those of the first file that has any for others than this host.
    fn of(files: &[&Path]) -> Self {
        for file in files {
            let mut text = Vec::new();
            let read = File::open(file).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
            if let Err(error) = read {
                debug!(file = %file.display(), %error, "no name servers are read");
                continue;
            }
            let servers = servers(&text);
            if !servers.is_empty() {
                return Self {
                    servers,
                    file: Some(file.to_path_buf()),
                };
            }
        }
        Self::default()
    }
}

/// The servers in a `resolv.conf` that guests may ask.
pub(super) fn servers(text: &[u8]) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(line) = str::from_utf8(line) else {
            continue;
        };
        let Some(rest) = line.strip_prefix("nameserver") else {
            continue;
        };
        if !rest.starts_with([' ', '\t']) {
            continue;
        }
        let mut words = rest.split_ascii_whitespace();
        // One with a scope (`fe80::1%eth0`) is of a link of this host.
        let address = words.next().and_then(|word| word.parse().ok());
        if let Some(address) = address.filter(|address| is_for_guests(*address))
            && !servers.contains(&address)
            && servers.len() < MOST
        {
            servers.push(address);
        }
    }
    servers
}

/// Whether anybody but this host can ask there.
fn is_for_guests(address: IpAddr) -> bool {
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return false;
    }
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && v6.to_ipv4_mapped().is_none(),
    }
}

/// An [`Inotify`] in the form that the reactor takes.
#[derive(Debug)]
struct Source(Inotify);

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Tells when the files may have changed.
#[derive(Debug)]
pub(super) struct ResolverWatch {
    inotify: AsyncFd<Source>,
    /// When to read after what was told last.
    read_at: Option<Instant>,
}

impl ResolverWatch {
    /// Watches them; must be called within a tokio runtime.
    pub(super) fn start() -> io::Result<Self> {
        let source = Source(Inotify::init(
            InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC,
        )?);
        // SAFETY: an `Inotify` owns its descriptor, which stays open, and the same, until it is
        // dropped with this value.
        let inotify = unsafe { AsyncFd::register_with_interest(source, Interest::READABLE) }?;
        let watch = Self {
            inotify,
            read_at: None,
        };
        watch.look_on();
        Ok(watch)
    }

    /// Watches what is there now: the folders, in which files are replaced, those that symbolic
    /// links lead to, and the files themselves, which may be mounts. What is watched already stays
    /// so.
    fn look_on(&self) {
        for file in [FILE, BEHIND_RESOLVED].map(Path::new) {
            let real = file.canonicalize().ok();
            // Of a folder that is still to come, the one that it will be in.
            file.ancestors().skip(1).find(|folder| self.add(folder));
            if let Some(real) = real {
                self.add(&real);
                real.parent().map(|folder| self.add(folder));
            }
        }
    }

    /// Whether the place is there and watched.
    fn add(&self, place: &Path) -> bool {
        let events = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_MOVE_SELF;
        let added = self.inotify.get_ref().0.add_watch(place, events);
        if let Err(error) = added {
            debug!(place = %place.display(), %error, "not watched");
        }
        added.is_ok()
    }

    /// Returns when they may have changed, and are quiet again. Can be dropped and called anew at
    /// any time.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        loop {
            let read_at = self.read_at;
            let quiet = async {
                match read_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ready = self.inotify.readable() => {
                    let mut ready = ready?;
                    // Which of them it was does not matter.
                    match ready.get_inner().0.read_events() {
                        Ok(_) => {}
                        Err(nix::errno::Errno::EAGAIN) => ready.clear_ready(),
                        Err(error) => return Err(error.into()),
                    }
                    self.read_at = Some(Instant::now() + QUIET);
                }
                () = quiet => {
                    self.read_at = None;
                    self.look_on();
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use similar_asserts::assert_eq;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        let parsed = texts.iter().map(|text| text.parse().expect("an address"));
        parsed.collect()
    }

    #[test]
    fn only_servers_that_guests_can_ask_are_read() {
        let text = b"# nameserver 192.0.2.1\n\
            search example.org\n\
            nameserver 127.0.0.53\n\
            nameserver\t192.0.2.53 # the first\nnameserver   2001:db8::53\n\
            ; nameserver 192.0.2.2\n nameserver 192.0.2.3\n\
            nameserver ::1\nnameserver 0.0.0.0\nnameserver fe80::1%eth0\nnameserver fe80::1\n\
            nameserver 169.254.1.1\nnameserver ::ffff:192.0.2.9\nnameserver 224.0.0.1\n\
            nameserver 192.0.2.53\nnameserver nonsense\nnameserver\nnameservers 192.0.2.7\n\xff\xfe\n\
            nameserver 10.0.0.2";
        let expected = addresses(&["192.0.2.53", "2001:db8::53", "10.0.0.2"]);
        assert_eq!(servers(text), expected);
        let many: Vec<_> = (0..100)
            .map(|last| format!("nameserver 10.0.0.{last}"))
            .collect();
        assert_eq!(servers(many.join("\n").as_bytes()).len(), MOST);
    }

    #[test]
    fn the_file_behind_a_local_resolver_is_looked_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        let read = || Resolver::of(&[&first, &second]);
        assert_eq!(read(), Resolver::default());
        fs::write(&second, "nameserver 192.0.2.54\n").expect("written");
        assert_eq!(read().file.as_ref(), Some(&second), "there is no first");
        fs::write(&first, "nameserver 127.0.0.53\n").expect("written");
        assert_eq!(read().servers, addresses(&["192.0.2.54"]));
        fs::write(&first, "nameserver 127.0.0.53\nnameserver 192.0.2.53\n").expect("written");
        assert_eq!(read().servers, addresses(&["192.0.2.53"]));
        assert_eq!(read().file, Some(first));
    }
}

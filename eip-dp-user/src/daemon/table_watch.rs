//! Tells when the table's file changes, by inotify: no polling while nothing happens.
//!
//! A commit appends to the write-ahead log, and only after that marks itself as readable in shared memory, which
//! inotify does not see. So after the last write the table is looked at a few times more, at growing distances.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};

/// The first look after a write …
const FIRST_LOOK: Duration = Duration::from_micros(250);
/// … and the last; each comes after twice the pause of the one before. Slow disks take longest to sync a commit.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// A watch on the folder of the table's file.
#[derive(Debug)]
pub struct TableWatch {
    inotify: AsyncFd<OwnedFd>,
    /// The next look, and the pause before the one after it.
    look: Option<(Instant, Duration)>,
}

impl TableWatch {
    /// Watches the folder of `file`: the write-ahead log beside it comes and goes.
    pub fn start(file: &Path) -> io::Result<Self> {
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = CString::new(folder.as_os_str().as_bytes())?;
        // SAFETY: the call takes flags only.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let events = libc::IN_MODIFY
            | libc::IN_CLOSE_WRITE
            | libc::IN_CREATE
            | libc::IN_DELETE
            | libc::IN_MOVE;
        // SAFETY: the path is a string with a final zero that lives longer than the call.
        let watch = unsafe { libc::inotify_add_watch(fd.as_raw_fd(), folder.as_ptr(), events) };
        if watch < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: an owned descriptor stays open, and the same, until it is dropped with this value.
        let inotify = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self {
            inotify,
            look: None,
        })
    }

    /// Returns when the table may have changed.
    pub async fn changed(&mut self) -> io::Result<()> {
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
                drain(&self.inotify)?;
                ready.clear_ready();
                self.look = Some((Instant::now() + FIRST_LOOK, FIRST_LOOK));
            }
            () = later => {
                self.look = self.look.and_then(|(at, pause)| {
                    let pause = pause * 2;
                    (pause <= LAST_LOOK).then_some((at + pause, pause))
                });
            }
        }
        Ok(())
    }
}

/// Reads all events away: which file it was does not matter.
fn drain(inotify: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut buffer = [0_u8; 4096];
    loop {
        // SAFETY: the buffer is writable for its whole length, and the kernel writes no more than that.
        let read = unsafe {
            libc::read(
                inotify.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        if read > 0 {
            continue;
        }
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock => Ok(()),
            io::ErrorKind::Interrupted => continue,
            _ if read == 0 => Ok(()),
            _ => Err(error),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_write_is_told_and_looked_at_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("table.db");
        let mut watch = TableWatch::start(&file).expect("watched");
        std::fs::write(folder.path().join("table.db-wal"), "commit").expect("written");
        for _ in 0..3 {
            tokio::time::timeout(Duration::from_secs(10), watch.changed())
                .await
                .expect("told in time")
                .expect("no error");
        }
    }
}

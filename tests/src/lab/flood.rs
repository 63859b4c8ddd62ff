//! Frames as fast as they go, or at a rate, bounded in count and time: what somebody sends who
//! wants to take something from others.

use std::{
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::sys::socket::{MsgFlags, send};

use super::{capture::open, netns::Netns, wait::until};

/// It ends by then, whatever becomes of its test.
const LONGEST: Duration = Duration::from_mins(1);
const MOST: u64 = 20_000_000;

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As fast as it goes, on a wire of the flood's own.
    Full,
    /// Some thousand a second, on a wire that its victim sends on, too: many times any budget, and
    /// the wire is not full.
    Shared,
}

/// A flood; it ends when it is dropped.
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Sends these frames out of `interface` of `namespace`, one after the other and again from the
    /// first, at a [`Rate`].
    pub fn start(
        namespace: &Netns,
        interface: &str,
        frames: Vec<Vec<u8>>,
        rate: Rate,
    ) -> Result<Self> {
        ensure!(!frames.is_empty(), "nothing to send");
        let socket = namespace.enter(|| open(interface))?;
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let thread = {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            thread::spawn(move || {
                let start = Instant::now();
                let mut next = frames.iter().cycle();
                while !stop.load(Ordering::Relaxed)
                    && sent.load(Ordering::Relaxed) < MOST
                    && start.elapsed() < LONGEST
                {
                    let Some(frame) = next.next() else { return };
                    // A full queue is what a flood fills.
                    if send(socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT).is_ok()
                        && sent.fetch_add(1, Ordering::Relaxed) % 8 == 7
                        && rate == Rate::Shared
                    {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            })
        };
        Ok(Self {
            stop,
            sent,
            thread: Some(thread),
        })
    }

    /// How many frames were sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many were sent.
    pub fn wait_for(&self, frames: u64) -> Result<()> {
        until(LONGEST, "the flood", || {
            Ok((self.sent() >= frames).then_some(()))
        })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has sent what it could.
            let _ = thread.join();
        }
    }
}

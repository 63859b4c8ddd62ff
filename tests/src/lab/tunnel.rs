//! An uplink without Ethernet: a tun at either end, and a thread that carries packets between them.

use std::{
    io::{self, PipeWriter},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Result, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{read, write},
};

use super::{
    netns::Netns,
    topology::{Backbone, GATEWAY, GATEWAY6, INTERNET, INTERNET6, UPLINK},
};
use crate::conformance::tap;

/// An address behind the other end, which is no next hop's.
pub const FAR: &str = "192.0.2.99";
/// Likewise of IPv6.
pub const FAR6: &str = "2001:db8:99::1";

/// Gives the Internet host the addresses that are behind the tunnel.
pub fn add_far(internet: &Netns) -> Result<()> {
    internet.ip("link set dev lo up")?;
    internet.ip(&format!("address add {FAR}/32 dev lo"))?;
    internet.ip(&format!("address add {FAR6}/128 dev lo"))?;
    Ok(())
}

/// The tunnel, until it is dropped.
pub struct Tunnel {
    /// The gateway's end.
    gateway: Arc<OwnedFd>,
    to_internet: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Option<PipeWriter>,
    carrier: Option<JoinHandle<()>>,
}

impl Tunnel {
    /// In place of the backbone's wire: interfaces of the same name, with the same addresses and
    /// `mtu`, and the pools' routes.
    pub fn replace_wire(backbone: &Backbone, mtu: u32, pools: &[&str]) -> Result<Self> {
        backbone.gateway.ip(&format!("link delete dev {UPLINK}"))?;
        let sides = [&backbone.internet, &backbone.gateway];
        let [internet, gateway] = sides.map(|side| side.enter(|| tap::open_tun(UPLINK)));
        let (internet, gateway) = (internet?, Arc::new(gateway?));
        for (side, address, address6) in [
            (sides[0], INTERNET, INTERNET6),
            (sides[1], GATEWAY, GATEWAY6),
        ] {
            side.ip(&format!("link set dev {UPLINK} mtu {mtu} up"))?;
            side.ip(&format!("address add {address}/24 dev {UPLINK}"))?;
            side.ip(&format!("address add {address6}/64 dev {UPLINK} nodad"))?;
        }
        for pool in pools {
            sides[0].ip(&format!("route add {pool} dev {UPLINK}"))?;
        }
        add_far(sides[0])?;
        let (stopped, stop) = io::pipe()?;
        let to_internet: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let carrier = {
            let (gateway, seen) = (Arc::clone(&gateway), Arc::clone(&to_internet));
            thread::spawn(move || {
                let ends = [internet.as_fd(), gateway.as_fd()];
                let mut bytes = vec![0; 1 << 16];
                loop {
                    let mut all = [ends[0], ends[1], stopped.as_fd()]
                        .map(|end| PollFd::new(end, PollFlags::POLLIN));
                    match poll(&mut all, PollTimeout::NONE) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(_) => return,
                    }
                    if all[2].any().unwrap_or(true) {
                        return;
                    }
                    for (from, to) in [(0, 1), (1, 0)] {
                        while let Ok(length) = read(ends[from], &mut bytes) {
                            if from == 1 {
                                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                                seen.push(bytes[..length].to_vec());
                            }
                            // What an end does not take is lost, as on a wire.
                            let _ = write(ends[to], &bytes[..length]);
                        }
                    }
                }
            })
        };
        Ok(Self {
            gateway,
            to_internet,
            stop: Some(stop),
            carrier: Some(carrier),
        })
    }

    /// Has a packet come in at the gateway's end.
    pub fn send_to_gateway(&self, packet: &[u8]) -> Result<()> {
        let sent = write(&self.gateway, packet)?;
        ensure!(sent == packet.len(), "half a packet was sent");
        Ok(())
    }

    /// Forgets what was seen so far.
    pub fn forget(&self) {
        let seen = self.to_internet.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The packets that the gateway has sent.
    pub fn sent_by_gateway(&self) -> Vec<Vec<u8>> {
        let seen = self.to_internet.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // The reading end hears of it.
        self.stop.take();
        if let Some(carrier) = self.carrier.take() {
            let _ = carrier.join();
        }
    }
}

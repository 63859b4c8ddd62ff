//! The sides of the bed: packet sockets that send frames to the gateway and see what comes out of it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, recv, send},
};

use super::{
    data::{Family, Sent},
    ip::without_padding,
};
use crate::lab::{capture, netns::Netns};

/// The Internet side's name.
pub const INTERNET: &str = "internet";

const ETHERNET: usize = 14;

/// One end of a wire whose other end is the gateway's.
pub struct Side {
    /// `internet` or the guest's name.
    pub name: String,
    /// This end's Ethernet address.
    pub own: [u8; 6],
    /// The gateway's.
    pub gateway: [u8; 6],
    socket: OwnedFd,
}

impl Side {
    /// Opens the packet socket on the interface of that name.
    pub fn new(namespace: &Netns, name: &str, own: [u8; 6], gateway: [u8; 6]) -> Result<Self> {
        let socket = namespace
            .enter(|| {
                let socket = capture::open(name)?;
                capture::set(
                    &socket,
                    libc::SOL_PACKET,
                    libc::PACKET_IGNORE_OUTGOING,
                    &1_i32,
                )?;
                Ok(socket)
            })
            .with_context(|| format!("cannot listen on {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            own,
            gateway,
            socket,
        })
    }
}

/// A packet that came out of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where.
    pub at: String,
    /// From the IP header on, without padding.
    pub packet: Vec<u8>,
    /// Whether the frame was from the gateway's Ethernet address for that interface to this side's.
    pub addressed: bool,
}

/// All sides.
pub struct Wire {
    family: Family,
    sides: Vec<Side>,
}

impl Wire {
    /// The sides of a bed.
    pub fn new(family: Family, sides: Vec<Side>) -> Self {
        Self { family, sides }
    }

    fn side(&self, name: &str) -> Result<&Side> {
        self.sides
            .iter()
            .find(|side| side.name == name)
            .with_context(|| format!("there is no side {name}"))
    }

    /// Sends a case's packet.
    pub fn send(&self, sent: &Sent) -> Result<()> {
        let mut packet = sent.packet.0.clone();
        packet.extend(vec![0xa5; sent.padding]);
        self.send_frame(&sent.from, &packet, sent.other_mac)
    }

    /// Sends a packet from a side to the gateway.
    pub fn send_packet(&self, from: &str, packet: &[u8]) -> Result<()> {
        self.send_frame(from, packet, false)
    }

    fn send_frame(&self, from: &str, packet: &[u8], other_mac: bool) -> Result<()> {
        let side = self.side(from)?;
        let mut frame = Vec::with_capacity(ETHERNET + packet.len());
        frame.extend(if other_mac {
            [0x02, 0, 0, 0, 0xde, 0xad]
        } else {
            side.gateway
        });
        frame.extend(side.own);
        frame.extend(self.family.ethertype());
        frame.extend(packet);
        let sent = send(side.socket.as_raw_fd(), &frame, MsgFlags::empty())?;
        ensure!(sent == frame.len(), "half a frame was sent");
        Ok(())
    }

    /// Waits for something to come out, no longer than `patience`; returns all that has.
    pub fn receive(&self, patience: Duration) -> Result<Vec<Seen>> {
        let mut watched: Vec<PollFd> = self
            .sides
            .iter()
            .map(|side| PollFd::new(side.socket.as_fd(), PollFlags::POLLIN))
            .collect();
        let patience = PollTimeout::try_from(patience.as_millis()).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen = Vec::new();
        let mut frame = vec![0; 1 << 16];
        for side in &self.sides {
            loop {
                match recv(side.socket.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
                    Ok(length) => seen.extend(self.understand(side, &frame[..length])),
                    Err(Errno::EAGAIN) => break,
                    Err(error) => return Err(io::Error::from(error).into()),
                }
            }
        }
        Ok(seen)
    }

    /// A frame as a packet of this family; none if it is something that hosts say by themselves.
    fn understand(&self, side: &Side, frame: &[u8]) -> Option<Seen> {
        let payload = frame.get(ETHERNET..)?;
        if frame[12..ETHERNET] != self.family.ethertype() {
            return None;
        }
        let packet = without_padding(self.family, payload).to_vec();
        if self.family == Family::V6 && is_neighbourly(&packet) {
            return None;
        }
        Some(Seen {
            at: side.name.clone(),
            packet,
            addressed: frame[..6] == side.own && frame[6..12] == side.gateway,
        })
    }
}

/// Multicast on the link, and neighbour discovery (types 133 to 137 with a hop limit of 255, RFC 4861).
fn is_neighbourly(packet: &[u8]) -> bool {
    let multicast = packet.get(24..26) == Some(&[0xff, 0x02]);
    let discovery = packet.get(6..8) == Some(&[58, 255])
        && packet
            .get(40)
            .is_some_and(|kind| (133..=137).contains(kind));
    multicast || discovery
}

//! The sides of the bed: packet sockets and taps that send frames to the gateway and see what comes
//! out of it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, send},
};

use super::{
    data::{Ethertype, Family, Sent, Virtio},
    ip::without_padding,
    offload, tap,
};
use crate::lab::{capture, netns::Netns};

/// The Internet side's name.
pub const INTERNET: &str = "internet";

/// The management network's host.
pub const MANAGEMENT: &str = "management";

const ETHERNET: usize = 14;

/// The length of an ARP message about IPv4 over Ethernet.
const ARP: usize = 28;

/// One end of a wire whose other end is the gateway's.
pub struct Side {
    /// `internet`, the guest's name, or that of the host in the management network.
    pub name: String,
    /// This end's Ethernet address.
    pub own: [u8; 6],
    /// The gateway's.
    pub gateway: [u8; 6],
    /// The tags that frames have here.
    pub tags: Vec<u8>,
    /// Where the gateway's host has no interface for them: what comes out may lack them, and
    /// packets larger than this are sent without them.
    pub untagged_above: Option<usize>,
    /// The Ethernet addresses of the other sides on the same link, who get what is for them.
    pub others: Vec<[u8; 6]>,
    /// Whether another side gets what is for all of that link.
    pub only_own: bool,
    /// The socket, or the tap.
    pub end: End,
}

impl Side {
    /// The tags of the frame for a packet of that length.
    fn tags(&self, length: usize) -> &[u8] {
        match self.untagged_above {
            Some(most) if length > most => &[],
            _ => &self.tags,
        }
    }
}

/// What a side sends and receives by.
pub enum End {
    /// A packet socket on the other end of the gateway's interface.
    Socket(OwnedFd),
    /// The machine behind a tap.
    Tap(OwnedFd),
}

impl End {
    /// Opens the packet socket on an interface.
    pub fn socket(namespace: &Netns, interface: &str) -> Result<Self> {
        let socket = namespace
            .enter(|| {
                let socket = capture::open(interface)?;
                capture::set(
                    &socket,
                    libc::SOL_PACKET,
                    libc::PACKET_IGNORE_OUTGOING,
                    &1_i32,
                )?;
                Ok(socket)
            })
            .with_context(|| format!("cannot listen on {interface}"))?;
        Ok(Self::Socket(socket))
    }

    /// Makes the tap in the gateway's namespace.
    pub fn tap(gateway: &Netns, name: &str) -> Result<Self> {
        let device = gateway
            .enter(|| tap::open(name))
            .with_context(|| format!("cannot make the tap {name}"))?;
        Ok(Self::Tap(device))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(descriptor) | Self::Tap(descriptor) => descriptor.as_fd(),
        }
    }

    /// The next frame; `None` if there is none.
    fn receive(&self) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Tap(device) => tap::receive(device),
            Self::Socket(socket) => match capture::receive(socket, MsgFlags::MSG_DONTWAIT) {
                Ok(frame) => Ok(Some(frame.bytes)),
                Err(error) => match error.downcast_ref::<io::Error>() {
                    Some(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(None),
                    _ => Err(error),
                },
            },
        }
    }
}

/// A packet that came out of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where.
    pub at: String,
    /// What the frame said that it carries.
    pub ethertype: [u8; 2],
    /// What follows the Ethernet header, without padding.
    pub packet: Vec<u8>,
    /// Whether the frame was from the gateway's Ethernet address for that interface to this side's,
    /// with its tags.
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
        let side = self.side(&sent.from)?;
        let to = match sent.to_mac {
            Some(mac) => mac.0,
            None if sent.other_mac => [0x02, 0, 0, 0, 0xde, 0xad],
            None => side.gateway,
        };
        let mut tags = side.tags(sent.packet.0.len()).to_vec();
        if let Some(priority) = sent.priority {
            // In front of VLANs that are there, a priority says nothing about what follows.
            ensure!(tags.is_empty(), "the side's frames have a tag already");
            tags.extend([0x81, 0x00, priority << 5, 0]);
        }
        tags.extend(sent.ethertype(self.family));
        let head = [&to[..], &side.own, &tags].concat();
        let mut packet = sent.packet.0.clone();
        packet.extend(vec![0xa5; sent.padding]);
        self.send_frame(side, &head, packet, sent.virtio)
    }

    /// Sends a packet from a side to the gateway.
    pub fn send_packet(&self, from: &str, packet: &[u8]) -> Result<()> {
        let side = self.side(from)?;
        let ethertype = self.family.ethertype();
        let tags = side.tags(packet.len());
        let head = [&side.gateway[..], &side.own, tags, &ethertype].concat();
        self.send_frame(side, &head, packet.to_vec(), None)
    }

    fn send_frame(
        &self,
        side: &Side,
        head: &[u8],
        mut packet: Vec<u8>,
        virtio: Option<Virtio>,
    ) -> Result<()> {
        match &side.end {
            End::Socket(socket) => {
                ensure!(virtio.is_none(), "only a tap has virtio headers");
                let frame = [head, &packet].concat();
                let sent = send(socket.as_raw_fd(), &frame, MsgFlags::empty())?;
                ensure!(sent == frame.len(), "half a frame was sent");
                Ok(())
            }
            End::Tap(device) => {
                let ip = head.ends_with(&self.family.ethertype());
                let virtio = virtio.unwrap_or_else(|| {
                    let open = offload::leave_open(self.family, &packet).filter(|_| ip);
                    let Some((open, mut virtio)) = open else {
                        return Virtio::default();
                    };
                    packet = open;
                    // A tag moves it.
                    virtio.csum_start += u16::try_from(head.len() - ETHERNET).unwrap_or_default();
                    virtio
                });
                tap::send(device, &[head, &packet].concat(), virtio)
            }
        }
    }

    /// Waits for something to come out, no longer than `patience`; returns all that has.
    pub fn receive(&self, patience: Duration) -> Result<Vec<Seen>> {
        let mut watched: Vec<PollFd> = self
            .sides
            .iter()
            .map(|side| PollFd::new(side.end.descriptor(), PollFlags::POLLIN))
            .collect();
        let patience = PollTimeout::try_from(patience.as_millis()).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen = Vec::new();
        for (side, watched) in self.sides.iter().zip(&watched) {
            if watched.any() != Some(true) {
                continue;
            }
            while let Some(frame) = side.end.receive()? {
                seen.extend(self.understand(side, &frame));
            }
        }
        Ok(seen)
    }

    /// What a frame carries; none if it is half a header.
    fn understand(&self, side: &Side, frame: &[u8]) -> Option<Seen> {
        let addresses = frame.get(..12)?;
        let is_for = |mac: &[u8; 6]| addresses.starts_with(mac);
        if side.others.iter().any(is_for) || side.only_own && !is_for(&side.own) {
            return None;
        }
        let rest = frame.get(12..)?;
        let (tagged, rest) = match rest.strip_prefix(&side.tags[..]) {
            Some(rest) => (true, rest),
            None => (side.untagged_above.is_some(), rest),
        };
        let (ethertype, payload) = rest.split_first_chunk::<2>()?;
        let packet = if *ethertype == self.family.ethertype() {
            without_padding(self.family, payload)
        } else if *ethertype == Ethertype::Arp.bytes() {
            payload.get(..ARP).unwrap_or(payload)
        } else {
            payload
        };
        Some(Seen {
            at: side.name.clone(),
            ethertype: *ethertype,
            packet: packet.to_vec(),
            addressed: tagged && addresses == [side.own, side.gateway].concat(),
        })
    }
}

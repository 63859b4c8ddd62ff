//! Frames as they are on an interface: seen, kept, verified by tshark, and sent.
//!
//! A packet socket and not a capture program: a test can wait for the frame it is about, and none
//! is lost in a buffer when the capture ends.

use std::{
    fs,
    io::{self, IoSliceMut, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use eip_dp_user::model::Vlan;
use nix::{
    libc,
    net::if_::if_nametoindex,
    sys::socket::{MsgFlags, recv, send},
};

use super::{netns::Netns, process::run, wait::until};

/// How long a frame may take through a lab.
const PATIENCE: Duration = Duration::from_mins(1);

/// A frame that was seen.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When.
    pub at: SystemTime,
    /// Whether it came in over the interface; else this side sent it.
    pub incoming: bool,
    /// Whether the sender left the transport checksum to the network card (a stack on this machine,
    /// whose packet has not been on a wire).
    pub checksum_left_open: bool,
    /// From the Ethernet header on, with the tag that the kernel has taken off.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// What follows the Ethernet header, up to the length that an IPv4 header gives; padding is
    /// left out.
    pub fn packet(&self) -> &[u8] {
        ip_of(&self.bytes)
    }

    /// The VLAN of the frame's 802.1Q tag, with that of an 802.1ad tag around it; `None` without
    /// one.
    pub fn vlan(&self) -> Option<Vlan> {
        let id = |high, low| u16::from_be_bytes([high, low]) & 0xfff;
        match *self.bytes.get(12..)? {
            [0x88, 0xa8, a, b, 0x81, 0, c, d, ..] => Some(Vlan::within(id(a, b), id(c, d))),
            [0x81, 0, high, low, ..] => Some(Vlan::of(id(high, low))),
            _ => None,
        }
    }

    /// The frame without the tags that [`Self::vlan`] reads.
    #[must_use]
    pub fn untagged(&self) -> Self {
        let mut frame = self.clone();
        if let Some(vlan) = self.vlan() {
            let tags = if vlan.outer.is_some() { 8 } else { 4 };
            frame.bytes.drain(12..12 + tags);
        }
        frame
    }
}

/// The IPv4 packet in `frame` without padding; all that follows the Ethernet header if it is
/// something else.
pub fn ip_of(frame: &[u8]) -> &[u8] {
    let payload = frame.get(14..).unwrap_or_default();
    if frame.get(12..14) != Some(&[8, 0]) {
        return payload;
    }
    match payload.get(2..4) {
        Some(&[high, low]) => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            payload.get(..length).unwrap_or(payload)
        }
        _ => payload,
    }
}

/// A capture that runs until it is dropped.
pub struct Capture {
    socket: Arc<OwnedFd>,
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Captures what comes in and goes out over `interface` of `namespace`.
    pub fn start(namespace: &Netns, interface: &str) -> Result<Self> {
        let socket = namespace
            .enter(|| open(interface))
            .with_context(|| format!("cannot capture on {interface} of {}", namespace.name()))?;
        let socket = Arc::new(socket);
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (socket, frames, stop) =
                (Arc::clone(&socket), Arc::clone(&frames), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // The receive timeout ends the wait now and then.
                    if let Ok(frame) = receive(&socket, MsgFlags::empty()) {
                        frames
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(frame);
                    }
                }
            })
        };
        Ok(Self {
            socket,
            frames,
            stop,
            thread: Some(thread),
        })
    }

    /// Sends a frame out of the interface.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty())?;
        ensure!(
            sent == frame.len(),
            "only {sent} bytes of a frame were sent"
        );
        Ok(())
    }

    /// What was seen so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The incoming frames that `wanted` picks.
    pub fn incoming(&self, wanted: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = self.frames();
        frames.retain(|frame| frame.incoming && wanted(frame));
        frames
    }

    /// Waits for the first incoming frame that `wanted` picks.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Result<Frame> {
        until(PATIENCE, what, || {
            Ok(self.incoming(&wanted).into_iter().next())
        })
    }

    /// Has tshark check every checksum of every frame; returns how many frames it checked. Where a
    /// sender on this machine left the transport checksum open, the field has to hold what a
    /// network card goes on from. `expected_wrong` picks the frames that are sent wrong on purpose.
    pub fn verify(&self, file: &Path, expected_wrong: impl Fn(&Frame) -> bool) -> Result<usize> {
        let mut frames = self.frames();
        frames.retain(|frame| !expected_wrong(frame));
        verify(&frames, file)?;
        Ok(frames.len())
    }
}

/// What [`Capture::verify`] does, for some frames.
pub fn verify(frames: &[Frame], file: &Path) -> Result<()> {
    write_pcap(file, frames)?;
    let text = run(std::process::Command::new("tshark")
        .args(["-n", "-r"])
        .arg(file)
        .args(["-o", "ip.check_checksum:TRUE"])
        .args(["-o", "tcp.check_checksum:TRUE"])
        .args(["-o", "udp.check_checksum:TRUE"])
        .args(["-T", "fields", "-E", "separator=;"])
        .args(["-e", "ip.checksum.status", "-e", "tcp.checksum.status"])
        .args(["-e", "udp.checksum.status", "-e", "icmp.checksum.status"])
        .args(["-e", "icmpv6.checksum.status", "-e", "tcp.checksum.ffff"]))?;
    let rows: Vec<&str> = text.lines().collect();
    ensure!(
        rows.len() == frames.len(),
        "tshark read {} of {} frames of {}",
        rows.len(),
        frames.len(),
        file.display()
    );
    for (number, (row, frame)) in rows.iter().zip(frames).enumerate() {
        let fields: Vec<&str> = row.split(';').collect();
        let [header, tcp, udp, icmp, icmp6, ones] = fields[..] else {
            bail!("tshark printed {row:?}");
        };
        // Of several headers the outer one comes first. Where there is one of ICMP, the transport's
        // is quoted: cut short, or never complete.
        let bad = |field: &str| field.split(',').next() == Some(BAD);
        let transport = if icmp.is_empty() && icmp6.is_empty() {
            // All ones stand for zero: Linux writes them into TCP too where a checksum comes out as
            // 0.
            (bad(tcp) && ones.is_empty()) || bad(udp)
        } else {
            bad(icmp) || bad(icmp6)
        };
        let wrong = if frame.checksum_left_open {
            !is_ready_to_complete(&frame.bytes)
        } else {
            transport
        };
        if bad(header) || wrong {
            bail!(
                "frame {} of {} has a wrong checksum ({row}): {:02x?}",
                number + 1,
                file.display(),
                frame.bytes
            );
        }
    }
    Ok(())
}

/// Whether the checksum of a TCP segment or a UDP datagram is the sum of its pseudo-header (RFC
/// 9293, RFC 8200 8.1), to which a network card adds the segment's.
fn is_ready_to_complete(frame: &[u8]) -> bool {
    let packet = ip_of(frame);
    let (addresses, protocol, segment) = match packet.first().map(|first| (first >> 4, first & 15))
    {
        Some((4, words)) => (
            packet.get(12..20),
            packet.get(9),
            packet.get(usize::from(words) * 4..),
        ),
        Some((6, _)) => (packet.get(8..40), packet.get(6), packet.get(40..)),
        _ => (None, None, None),
    };
    let (Some(addresses), Some(&protocol), Some(segment)) = (addresses, protocol, segment) else {
        return false;
    };
    let at = match protocol {
        6 => 16,
        17 => 6,
        _ => return false,
    };
    let Some(&[high, low]) = segment.get(at..at + 2) else {
        return false;
    };
    let words = addresses
        .chunks(2)
        .map(|word| u64::from(word[0]) << 8 | u64::from(word[1]));
    let mut sum = words.sum::<u64>() + u64::from(protocol) + segment.len() as u64;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == u64::from(u16::from_be_bytes([high, low]))
}

/// tshark's word for a wrong checksum (1 is good, 2 not verified, 3 not present).
const BAD: &str = "0";

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing to add here.
            let _ = thread.join();
        }
    }
}

/// A packet socket on an interface of this thread's namespace.
pub(crate) fn open(interface: &str) -> Result<OwnedFd> {
    let protocol = u16::try_from(libc::ETH_P_ALL)?.to_be();
    // SAFETY: a plain system call; the descriptor it returns is owned by nobody else.
    let socket = unsafe {
        let raw = libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            i32::from(protocol),
        );
        ensure!(raw >= 0, io::Error::last_os_error());
        OwnedFd::from_raw_fd(raw)
    };
    let wait = libc::timeval {
        tv_sec: 0,
        tv_usec: 50_000,
    };
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &wait)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(32 << 20))?;
    set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET)?,
        sll_protocol: protocol,
        sll_ifindex: i32::try_from(if_nametoindex(interface)?)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: `address` is a socket address of the length that is given.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            u32::try_from(size_of_val(&address))?,
        )
    };
    ensure!(bound == 0, io::Error::last_os_error());
    // What came before the socket was bound came from any interface.
    while recv(socket.as_raw_fd(), &mut [0; 1], MsgFlags::MSG_DONTWAIT).is_ok() {}
    Ok(socket)
}

/// Sets an option of a socket.
pub fn set<T>(socket: &impl AsRawFd, level: i32, option: i32, value: &T) -> Result<()> {
    // SAFETY: `value` is read for its own length.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            u32::try_from(size_of::<T>())?,
        )
    };
    ensure!(outcome == 0, io::Error::last_os_error());
    Ok(())
}

/// The next frame that a socket of [`open`] has seen.
pub(crate) fn receive(socket: &OwnedFd, flags: MsgFlags) -> Result<Frame> {
    let mut bytes = vec![0; 1 << 18];
    // The kernel's record is 20 bytes behind a header of 16; aligned as a header is.
    let mut control = [0_u64; 16];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    // SAFETY: both are plain data, for which zero is a value.
    let (mut from, mut message): (libc::sockaddr_ll, libc::msghdr) = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = u32::try_from(size_of_val(&from))?;
    message.msg_iov = parts.as_mut_ptr().cast();
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer of `message` is to a live buffer of the length beside it.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags.bits()) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    bytes.truncate(length);
    let mut checksum_left_open = false;
    // SAFETY: the kernel filled `message`, whose control buffer is alive; the first record, if
    // there is one, is read as what its type says it is.
    unsafe {
        let record = libc::CMSG_FIRSTHDR(&raw const message);
        if !record.is_null()
            && (*record).cmsg_level == libc::SOL_PACKET
            && (*record).cmsg_type == libc::PACKET_AUXDATA
        {
            let data: libc::tpacket_auxdata =
                std::ptr::read_unaligned(libc::CMSG_DATA(record).cast());
            checksum_left_open = data.tp_status & libc::TP_STATUS_CSUMNOTREADY != 0;
            if data.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                let [t0, t1] = data.tp_vlan_tpid.to_be_bytes();
                let [high, low] = data.tp_vlan_tci.to_be_bytes();
                bytes.splice(12..12, [t0, t1, high, low]);
            }
        }
    }
    Ok(Frame {
        at: SystemTime::now(),
        incoming: from.sll_pkttype != libc::PACKET_OUTGOING,
        checksum_left_open,
        bytes,
    })
}

/// Writes frames in the format that every capture tool reads.
pub fn write_pcap(file: &Path, frames: &[Frame]) -> Result<()> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const ETHERNET: u32 = 1;
    let mut out = Vec::new();
    out.write_all(&MAGIC.to_ne_bytes())?;
    out.write_all(&2_u16.to_ne_bytes())?;
    out.write_all(&4_u16.to_ne_bytes())?;
    for word in [0, 0, 1 << 18, ETHERNET] {
        out.write_all(&u32::to_ne_bytes(word))?;
    }
    for frame in frames {
        let at = frame.at.duration_since(SystemTime::UNIX_EPOCH)?;
        let length = u32::try_from(frame.bytes.len())?;
        for word in [
            u32::try_from(at.as_secs())?,
            at.subsec_micros(),
            length,
            length,
        ] {
            out.write_all(&word.to_ne_bytes())?;
        }
        out.write_all(&frame.bytes)?;
    }
    fs::write(file, out).with_context(|| format!("cannot write {}", file.display()))
}

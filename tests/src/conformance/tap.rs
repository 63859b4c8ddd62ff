//! A port as a virtual machine has it: a tap, with a virtio header in front of each frame.

use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    unistd::{read, write},
};

use super::{data::Virtio, offload};

/// `TUNSETIFF`, `TUNSETOFFLOAD` and what they are given: the kernel's ABI.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const IFF_TUN: u16 = 0x0001;
const IFF_TAP: u16 = 0x0002;
const IFF_NAPI: u16 = 0x0010;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
const TUN_F_CSUM: libc::c_ulong = 1;

/// The length of `struct virtio_net_hdr`.
const HEADER: usize = 10;
const NEEDS_CSUM: u8 = 1;

/// `struct ifreq`, as far as these calls read it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Makes the interface in this thread's namespace; it is there until the descriptor is closed.
pub fn open(name: &str) -> Result<OwnedFd> {
    let device = make(name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)?;
    // As a guest that completes checksums, and takes no segments larger than its MTU.
    // SAFETY: the argument is a number.
    let told = unsafe { libc::ioctl(device.as_raw_fd(), TUNSETOFFLOAD, TUN_F_CSUM) };
    ensure!(told == 0, io::Error::last_os_error());
    Ok(device)
}

/// Likewise a tun: what is read and written are IP packets, with nothing in front. What is written
/// goes through the kernel's receive offload (GRO), as what comes in by WireGuard or GRE does.
pub fn open_tun(name: &str) -> Result<OwnedFd> {
    make(name, IFF_TUN | IFF_NO_PI | IFF_NAPI)
}

fn make(name: &str, flags: u16) -> Result<OwnedFd> {
    let device: OwnedFd = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .context("cannot open /dev/net/tun")?
        .into();
    let mut request = Request {
        name: [0; 16],
        flags,
        rest: [0; 22],
    };
    ensure!(name.len() < request.name.len(), "{name} is too long a name");
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the request is as long as the kernel's structure, and lives until the call is over.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, &raw const request) };
    ensure!(made == 0, io::Error::last_os_error());
    Ok(device)
}

/// Sends a frame as the guest behind the tap does. A frame that the device does not take, because
/// its virtio header makes no sense, is gone.
pub fn send(device: &OwnedFd, frame: &[u8], virtio: Virtio) -> Result<()> {
    let flags = if virtio.csum_start == 0 {
        0
    } else {
        NEEDS_CSUM
    };
    let mut bytes = vec![flags, virtio.gso_type];
    for field in [
        virtio.header,
        virtio.gso_size,
        virtio.csum_start,
        virtio.csum_offset,
    ] {
        bytes.extend(field.to_ne_bytes());
    }
    bytes.extend(frame);
    match write(device, &bytes) {
        Err(Errno::EINVAL) => Ok(()),
        Err(error) => Err(error).context("the tap does not take the frame"),
        Ok(sent) => {
            ensure!(sent == bytes.len(), "half a frame was sent");
            Ok(())
        }
    }
}

/// The next frame that the guest gets, its checksum complete; `None` if there is none.
pub fn receive(device: &OwnedFd) -> Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; 1 << 16];
    let length = match read(device, &mut bytes) {
        Ok(length) => length,
        Err(Errno::EAGAIN) => return Ok(None),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    ensure!(length >= HEADER, "the tap gave half a header");
    let field = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let (flags, gso_type) = (bytes[0], bytes[1]);
    let (start, offset) = (usize::from(field(6)), usize::from(field(8)));
    ensure!(
        gso_type == 0,
        "the guest got segments that it does not take"
    );
    let mut frame = bytes[HEADER..length].to_vec();
    if flags & NEEDS_CSUM != 0 {
        offload::complete(&mut frame, start, offset)?;
    }
    Ok(Some(frame))
}

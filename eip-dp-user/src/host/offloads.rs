//! Offloads of an interface that change what XDP gets to see, and its flags.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `ETHTOOL_GFLAGS`: the offloads as flags.
const GET_FLAGS: u32 = 0x25;
const FLAG_RX_VLAN: u32 = 1 << 8;
const FLAG_LRO: u32 = 1 << 15;

/// The offloads of an interface that matter to the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// The NIC takes VLAN tags off: XDP then takes a frame of any VLAN for an untagged one.
    pub rx_vlan: bool,
    /// The NIC merges segments into packets that cannot be forwarded as they are.
    pub lro: bool,
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Asks for the offloads of the interface of that name, in the network namespace of the calling thread.
pub fn offloads(interface: &str) -> io::Result<Offloads> {
    let socket = any_socket()?;
    let mut value = Value {
        command: GET_FLAGS,
        data: 0,
    };
    let mut request = libc::ifreq {
        ifr_name: name(interface)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: (&raw mut value).cast(),
        },
    };
    // SAFETY: the request holds the name of an interface, ended by a zero, and a pointer to a `struct ethtool_value`
    // that outlives the call; this command reads and writes nothing beyond it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Offloads {
        rx_vlan: value.data & FLAG_RX_VLAN != 0,
        lro: value.data & FLAG_LRO != 0,
    })
}

/// The flags of the interface of that name (`IFF_…`), in the network namespace of the calling thread.
pub(super) fn flags(interface: &str) -> io::Result<i32> {
    let socket = any_socket()?;
    let mut request = libc::ifreq {
        ifr_name: name(interface)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 },
    };
    // SAFETY: the request holds the name of an interface, ended by a zero; the kernel writes the flags into it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: that is what the kernel wrote.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(i32::from(flags.cast_unsigned()))
}

/// A socket to ask about interfaces with.
fn any_socket() -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::Inet, SockType::Datagram);
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?)
}

fn name(interface: &str) -> io::Result<[libc::c_char; libc::IFNAMSIZ]> {
    let mut name = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    Ok(name)
}

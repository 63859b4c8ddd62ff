//! What ethtool tells of an interface: offloads that change what XDP gets to see, and its driver;
//! and its flags.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    ptr,
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

/// `ETHTOOL_GDRVINFO`: who drives it.
const GET_DRIVER: u32 = 3;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct Driver {
    command: u32,
    name: [u8; 32],
    /// Versions, places and sizes.
    rest: [u8; 160],
}

/// Asks for the offloads of the interface of that name, in the network namespace of the calling
/// thread.
pub fn offloads(interface: &str) -> io::Result<Offloads> {
    let mut value = Value {
        command: GET_FLAGS,
        data: 0,
    };
    ethtool(interface, &mut value)?;
    Ok(Offloads {
        rx_vlan: value.data & FLAG_RX_VLAN != 0,
        lro: value.data & FLAG_LRO != 0,
    })
}

/// The name of the driver of the interface of that name, likewise.
pub(super) fn driver(interface: &str) -> io::Result<String> {
    let mut value = Driver {
        command: GET_DRIVER,
        name: [0; 32],
        rest: [0; 160],
    };
    ethtool(interface, &mut value)?;
    let name = value.name.split(|byte| *byte == 0).next();
    Ok(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
}

/// The structs that the commands of this module are made of, each as large as the kernel takes it.
trait Command {}
impl Command for Value {}
impl Command for Driver {}

fn ethtool<T: Command>(interface: &str, value: &mut T) -> io::Result<()> {
    let socket = any_socket()?;
    let mut request = libc::ifreq {
        ifr_name: name(interface)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: ptr::from_mut(value).cast(),
        },
    };
    // SAFETY: the request holds the name of an interface, ended by a zero, and a pointer to the
    // struct of its command, which outlives the call; these commands read and write nothing beyond
    // it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The flags of the interface of that name (`IFF_…`), in the network namespace of the calling
/// thread.
pub(super) fn flags(interface: &str) -> io::Result<i32> {
    let socket = any_socket()?;
    let mut request = libc::ifreq {
        ifr_name: name(interface)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 },
    };
    // SAFETY: the request holds the name of an interface, ended by a zero; the kernel writes the
    // flags into it.
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

//! The far ends of the interfaces: frames are sent and caught there.

use std::{collections::BTreeMap, io, mem, os::fd::AsRawFd as _, ptr, time::Duration};

use anyhow::{Context as _, Result};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::{namespace, table::Interface};

/// Longer than any frame.
const ROOM: usize = 16 * 1024;
/// How long a frame that must come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// The length of a frame's addresses, behind which its tag is, and how that begins.
const ADDRESSES: usize = 12;
const TAG: [u8; 2] = [0x81, 0];
const OUTER_TAG: [u8; 2] = [0x88, 0xa8];

/// A packet socket on every far end.
pub struct Wires(BTreeMap<String, Socket>);

impl Wires {
    /// Opens them, by the names of the near ends.
    pub fn open(interfaces: &[Interface]) -> Result<Self> {
        let mut wires = BTreeMap::new();
        for interface in interfaces {
            let far = namespace::peer(&interface.name);
            let socket = socket_on(&far).with_context(|| format!("no packet socket on {far}"))?;
            wires.insert(interface.name.clone(), socket);
        }
        Ok(Self(wires))
    }

    /// Sends a frame into an interface, from its far end.
    pub fn send(&self, interface: &str, frame: &[u8]) -> Result<()> {
        self.socket(interface)?
            .send(frame)
            .with_context(|| format!("cannot send {} bytes into {interface}", frame.len()))?;
        Ok(())
    }

    /// Waits for a frame out of an interface; `None` if there is none for a long time.
    pub fn next(&self, interface: &str) -> Result<Option<Vec<u8>>> {
        receive(self.socket(interface)?, 0)
    }

    /// Every frame that has come out of an interface by now.
    pub fn rest(&self, interface: &str) -> Result<Vec<Vec<u8>>> {
        let socket = self.socket(interface)?;
        std::iter::from_fn(|| receive(socket, libc::MSG_DONTWAIT).transpose()).collect()
    }

    fn socket(&self, interface: &str) -> Result<&Socket> {
        self.0
            .get(interface)
            .with_context(|| format!("no interface {interface}"))
    }
}

/// A frame with the tag that was taken off it and stands beside it (packet(7), `PACKET_AUXDATA`).
fn receive(socket: &Socket, flags: libc::c_int) -> Result<Option<Vec<u8>>> {
    let mut frame = vec![0_u8; ROOM];
    // Aligned as control messages want it.
    let mut control = [0_u64; 16];
    let mut part = libc::iovec {
        iov_base: frame.as_mut_ptr().cast(),
        iov_len: frame.len(),
    };
    // SAFETY: all zeros is a `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message's pointers are to the buffers above, with their lengths.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let Ok(len) = usize::try_from(len) else {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock => Ok(None),
            _ => Err(error.into()),
        };
    };
    frame.truncate(len);
    Ok(Some(match tag_beside(&message) {
        Some((protocol, tag)) => with_tag(&frame, protocol, tag),
        None => frame,
    }))
}

/// The tag of a message that was received.
fn tag_beside(message: &libc::msghdr) -> Option<([u8; 2], u16)> {
    // SAFETY: the kernel has filled the control messages in, within the buffer that `message`
    // points to.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: the pointer is one of libc's to a control message of the buffer.
        let found = unsafe { ptr::read_unaligned(header) };
        if (found.cmsg_level, found.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            // SAFETY: the data of such a control message is a `tpacket_auxdata`.
            let beside: libc::tpacket_auxdata =
                unsafe { ptr::read_unaligned(libc::CMSG_DATA(header).cast()) };
            let valid = beside.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
            return valid.then_some((beside.tp_vlan_tpid.to_be_bytes(), beside.tp_vlan_tci));
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}

/// The frame with the tags of an outer VLAN and an inner one, 0 for none.
pub fn in_vlans(frame: &[u8], (outer, vlan): (u16, u16)) -> Vec<u8> {
    let mut tagged = frame.to_vec();
    for (protocol, vlan) in [(TAG, vlan), (OUTER_TAG, outer)] {
        if vlan != 0 {
            tagged = with_tag(&tagged, protocol, vlan);
        }
    }
    tagged
}

fn with_tag(frame: &[u8], [a, b]: [u8; 2], tag: u16) -> Vec<u8> {
    let [high, low] = tag.to_be_bytes();
    let (addresses, rest) = frame.split_at(ADDRESSES);
    [addresses, &[a, b, high, low], rest].concat()
}

/// The frame without its outermost tag.
pub fn untagged(frame: &[u8]) -> Vec<u8> {
    match frame.get(ADDRESSES..ADDRESSES + 4) {
        Some([high, low, ..]) if [TAG, OUTER_TAG].contains(&[*high, *low]) => {
            [&frame[..ADDRESSES], &frame[ADDRESSES + 4..]].concat()
        }
        _ => frame.to_vec(),
    }
}

fn socket_on(name: &str) -> Result<Socket> {
    // In network order.
    let every_protocol = u16::try_from(libc::ETH_P_ALL)?.to_be();
    let protocol = Protocol::from(i32::from(every_protocol));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // It is not to see what it sends itself.
    turn_on(&socket, libc::PACKET_IGNORE_OUTGOING)?;
    turn_on(&socket, libc::PACKET_AUXDATA)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is large enough for any address, and all zeros is a `sockaddr_ll`.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    address.sll_protocol = every_protocol;
    address.sll_ifindex = i32::try_from(if_nametoindex(name)?)?;
    let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>())?;
    // SAFETY: the storage holds a `sockaddr_ll` of this length.
    let address = unsafe { SockAddr::new(storage, len) };
    socket.bind(&address)?;
    Ok(socket)
}

fn turn_on(socket: &Socket, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int, of which pointer and length are given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const on).cast(),
            libc::socklen_t::try_from(size_of_val(&on)).expect("an int is short"),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

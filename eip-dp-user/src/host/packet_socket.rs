//! Raw packet sockets: whole Ethernet frames, of any interface of the network namespace.

use std::{
    io::{self, IoSliceMut},
    mem::size_of,
    os::fd::AsRawFd,
};

use eip_dp_common::abi::LinkKey;
use nix::{
    cmsg_space,
    sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg},
};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// `SO_RCVMARK` of include/uapi/asm-generic/socket.h, Linux 5.19.
const SO_RCVMARK: libc::c_int = 75;

const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

/// A socket that receives frames, and sends others.
#[derive(Debug)]
pub(crate) struct PacketSocket(AsyncFd<Socket>);

impl PacketSocket {
    /// Receives the frames of one `EtherType`, from every interface, that pass `filter` (classic BPF). The filter is
    /// in place before the first frame can arrive. Must be called within a tokio runtime.
    pub(crate) fn open(ethertype: u16, filter: &[SockFilter]) -> io::Result<Self> {
        let socket = silent()?;
        socket.attach_filter(filter)?;
        // What a frame's mark says, and the interface that it came in on, not one that the kernel handed it to.
        set_option(&socket, libc::SOL_SOCKET, SO_RCVMARK)?;
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_ORIGDEV)?;
        socket.bind(&link_address(0, ethertype)?)?;
        // SAFETY: the socket owns its descriptor and closes it when it is dropped, which `AsyncFd` does only after it
        // has deregistered it; nothing here takes the descriptor out of the socket.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        socket.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Waits until a frame may be there.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0
            .readable()
            .await
            .map(|mut guard| guard.retain_ready())
    }

    /// The next frame, cut to the buffer and without VLAN tags, and the link that it came in on. `None`: there is none.
    ///
    /// The kernel takes the tag of a VLAN that it has no interface for off a frame and forgets it before a socket of one
    /// `EtherType` gets the frame (`__netif_receive_skb_core` in net/core/dev.c). So the programs leave the VLAN in the
    /// lower half of the mark of what they pass to the daemon, and an outer one in the upper.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, LinkKey)>> {
        let received = self.0.try_io(Interest::READABLE, |socket| {
            let mut control = cmsg_space!(u32);
            let mut parts = [IoSliceMut::new(buffer)];
            let message = recvmsg::<LinkAddr>(
                socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::empty(),
            )?;
            let address = message.address.ok_or(io::ErrorKind::InvalidData)?;
            let ifindex =
                u32::try_from(address.ifindex()).map_err(|_| io::ErrorKind::InvalidData)?;
            let mark = message.cmsgs()?.find_map(|one| mark(&one)).unwrap_or(0);
            // A mark that is no VLAN is another program's: such a frame is on no port, and so no guest's.
            let [a, b, c, d] = mark.to_be_bytes();
            let (outer, vlan) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            Ok((message.bytes, LinkKey::stacked(ifindex, outer, vlan)))
        });
        match received {
            Ok(frame) => Ok(Some(frame)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a frame out of a link, with the link's VLAN tags. A full queue or an interface that is down is an error:
    /// nothing waits.
    pub(crate) fn send(&self, link: LinkKey, frame: &[u8]) -> io::Result<()> {
        send(self.0.get_ref(), link, frame)
    }
}

/// A socket that only sends.
#[derive(Debug)]
pub(crate) struct PacketSender(Socket);

impl PacketSender {
    pub(crate) fn open() -> io::Result<Self> {
        silent().map(Self)
    }

    /// As [`PacketSocket::send`].
    pub(crate) fn send(&self, link: LinkKey, frame: &[u8]) -> io::Result<()> {
        send(&self.0, link, frame)
    }
}

fn send(socket: &Socket, link: LinkKey, frame: &[u8]) -> io::Result<()> {
    let Some((macs, [high, low, ..])) = frame.split_at_checked(12) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if link.vlan == 0 {
        let address = link_address(link.ifindex, u16::from_be_bytes([*high, *low]))?;
        return socket.send_to(frame, &address).map(|_| ());
    }
    let tag = [ETHERTYPE_VLAN.to_be_bytes(), link.vlan.to_be_bytes()].concat();
    let (outer, ethertype) = if link.outer == 0 {
        (Vec::new(), ETHERTYPE_VLAN)
    } else {
        let outer = [ETHERTYPE_QINQ.to_be_bytes(), link.outer.to_be_bytes()].concat();
        (outer, ETHERTYPE_QINQ)
    };
    let tagged = [macs, &outer, &tag, &frame[12..]].concat();
    let address = link_address(link.ifindex, ethertype)?;
    socket.send_to(&tagged, &address).map(|_| ())
}

/// The mark of a received packet.
fn mark(message: &ControlMessageOwned) -> Option<u32> {
    let ControlMessageOwned::Unknown(unknown) = message else {
        return None;
    };
    let header = &unknown.cmsg_header;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_SOCKET, libc::SO_MARK) {
        return None;
    }
    let bytes = unknown.data_bytes.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// Switches an option of the socket on.
fn set_option(socket: &Socket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    #[allow(clippy::cast_possible_truncation, reason = "the size is 4")]
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one integer of that length, which is there until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A socket with protocol 0, which receives nothing until it is bound.
fn silent() -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the address family is 17 and the size of an address is 20"
)]
fn link_address(interface: u32, ethertype: u16) -> io::Result<SockAddr> {
    let index = i32::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.cast_unsigned() as u16,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>();
    // SAFETY: `sockaddr_ll` is one of the socket addresses for which the storage has room and alignment; it is written
    // whole, with its own family, and the length is its size.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, size| {
            storage.cast::<libc::sockaddr_ll>().write(address);
            *size = length as libc::socklen_t;
            Ok(())
        })?
    };
    Ok(address)
}

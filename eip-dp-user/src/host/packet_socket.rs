//! Raw packet sockets: whole Ethernet frames, of any interface of the network namespace.

use std::{io, mem::size_of, os::fd::AsRawFd};

use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// A socket that receives frames, and sends others.
#[derive(Debug)]
pub(crate) struct PacketSocket(AsyncFd<Socket>);

impl PacketSocket {
    /// Receives the frames of one `EtherType`, from every interface, that pass `filter` (classic BPF). The filter is
    /// in place before the first frame can arrive. Must be called within a tokio runtime.
    pub(crate) fn open(ethertype: u16, filter: &[SockFilter]) -> io::Result<Self> {
        let socket = silent()?;
        socket.attach_filter(filter)?;
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

    /// The next frame, cut to the buffer, and the index of the interface that it came in on. `None`: there is none.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, u32)>> {
        let received = self.0.try_io(Interest::READABLE, |socket| {
            let (length, address) = recvfrom::<LinkAddr>(socket.as_raw_fd(), buffer)?;
            let interface = address.and_then(|address| u32::try_from(address.ifindex()).ok());
            Ok((length, interface.ok_or(io::ErrorKind::InvalidData)?))
        });
        match received {
            Ok(frame) => Ok(Some(frame)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a frame out of an interface. A full queue or an interface that is down is an error: nothing waits.
    pub(crate) fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        send(self.0.get_ref(), interface, frame)
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
    pub(crate) fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        send(&self.0, interface, frame)
    }
}

fn send(socket: &Socket, interface: u32, frame: &[u8]) -> io::Result<()> {
    let Some([high, low]) = frame.get(12..14) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let address = link_address(interface, u16::from_be_bytes([*high, *low]))?;
    socket.send_to(frame, &address).map(|_| ())
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

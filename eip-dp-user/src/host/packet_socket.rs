//! Raw packet sockets: whole Ethernet frames, out of and from any interface of the network
//! namespace.

use std::{
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use eip_dp_common::abi::LinkKey;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

/// A socket that only sends: what is received on the host's interfaces is none of its business.
#[derive(Debug)]
pub(crate) struct PacketSender(Socket);

impl PacketSender {
    /// With protocol 0, and never bound: so it receives nothing.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Sends a frame out of a link, with the link's VLAN tags. A full queue or an interface that is
    /// down is an error: nothing waits.
    pub(crate) fn send(&self, link: LinkKey, frame: &[u8]) -> io::Result<()> {
        let Some((macs, [high, low, ..])) = frame.split_at_checked(12) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if link.vlan == 0 {
            let address = link_address(link.ifindex, u16::from_be_bytes([*high, *low]))?;
            return self.0.send_to(frame, &address).map(|_| ());
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
        self.0.send_to(&tagged, &address).map(|_| ())
    }
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
    // SAFETY: `sockaddr_ll` is one of the socket addresses for which the storage has room and
    // alignment; it is written whole, with its own family, and the length is its size.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, size| {
            storage.cast::<libc::sockaddr_ll>().write(address);
            *size = length as libc::socklen_t;
            Ok(())
        })?
    };
    Ok(address)
}

/// A socket that only receives what hosts say of their addresses, and that the programs left to the
/// kernel.
#[derive(Debug)]
pub(crate) struct PacketReceiver(Socket);

impl PacketReceiver {
    /// For ARP.
    pub(crate) fn arp() -> io::Result<Self> {
        Self::open(libc::ETH_P_ARP, &[])
    }

    /// For neighbour solicitations and advertisements.
    pub(crate) fn neighbour_discovery() -> io::Result<Self> {
        // A filter as the kernel's `struct sock_filter` has it: other IPv6 packets of the host's
        // never come here.
        let load = |at: u32| filter(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, at, [0, 0]);
        // Goes on with the next where it is equal, else so many further.
        let equal = |value: u32, otherwise: u8| {
            filter(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                value,
                [0, otherwise],
            )
        };
        let give = |length: u32| filter(libc::BPF_RET | libc::BPF_K, length, [0, 0]);
        let take_if = |value: u32, after: u8, otherwise: u8| {
            filter(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                value,
                [after, otherwise],
            )
        };
        Self::open(
            libc::ETH_P_IPV6,
            &[
                // Next header, hop limit, type: behind an Ethernet header without a tag, and
                // without extension headers.
                load(20),
                equal(58, 6),
                load(21),
                equal(255, 4),
                load(54),
                take_if(135, 1, 0),
                take_if(136, 0, 1),
                give(u32::MAX),
                give(0),
            ],
        )
    }

    fn open(protocol: i32, filters: &[SockFilter]) -> io::Result<Self> {
        // It receives nothing before it is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        if !filters.is_empty() {
            socket.attach_filter(filters)?;
        }
        let protocol = u16::try_from(protocol).map_err(|_| io::ErrorKind::InvalidInput)?;
        socket.bind(&link_address(0, protocol)?)?;
        Ok(Self(socket))
    }

    /// The next frame, and the interface that it came to. One that was for another host, or another
    /// VLAN, is empty.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<(&'a [u8], u32)> {
        let mut from = SockAddrStorage::zeroed();
        let mut length = from.size_of();
        // SAFETY: the kernel writes at most as many bytes as either has, and both live till it
        // returns.
        let received = unsafe {
            libc::recvfrom(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                (&raw mut from).cast(),
                &raw mut length,
            )
        };
        let Ok(received) = usize::try_from(received) else {
            return Err(io::Error::last_os_error());
        };
        // SAFETY: a packet socket's addresses are `sockaddr_ll`, for which the storage has room and
        // alignment; it was zeroed.
        let from = unsafe { (&raw const from).cast::<libc::sockaddr_ll>().read() };
        let ours = ![libc::PACKET_OTHERHOST, libc::PACKET_OUTGOING].contains(&from.sll_pkttype);
        let received = if ours { received } else { 0 };
        let frame = buffer.get(..received).unwrap_or_default();
        Ok((frame, from.sll_ifindex.cast_unsigned()))
    }
}

impl AsRawFd for PacketReceiver {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for PacketReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[allow(clippy::cast_possible_truncation, reason = "instructions have 16 bits")]
fn filter(code: u32, k: u32, [jt, jf]: [u8; 2]) -> SockFilter {
    SockFilter::new(code as u16, jt, jf, k)
}

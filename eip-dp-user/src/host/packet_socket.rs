//! A raw packet socket: whole Ethernet frames, out of any interface of the network namespace.

use std::{io, mem::size_of};

use eip_dp_common::abi::LinkKey;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

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

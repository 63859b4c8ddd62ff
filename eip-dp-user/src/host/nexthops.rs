//! Nexthop objects (`ip nexthop`), which routes may name in place of routers.
//!
//! The kernel has them since Linux 5.3. No crate in use here knows their messages, which are few:
//! see include/uapi/linux/nexthop.h.

use std::{io, net::IpAddr};

use futures::FutureExt;
use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NlasIterator, parse_u32,
};
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};

use super::{HostError, routing::Object};

const RTNLGRP_NEXTHOP: u32 = 32;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;

/// `struct nhmsg`, in front of the attributes.
const HEADER: usize = 8;
/// `struct nexthop_grp`, which begins with the id.
const MEMBER: usize = 8;
/// `RTNH_F_DEAD`, the interface is down.
const DEAD: u32 = 1;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// There is this object, or another one of this id.
    Put(u32, Object),
    /// It is gone.
    Gone(u32),
}

/// The socket for notifications.
pub(super) struct Notifications(TokioSocket);

/// What a look at [`Notifications`] found.
pub(super) enum News {
    Changes(Vec<Change>),
    /// The kernel dropped some.
    Lost,
}

impl Notifications {
    /// Opens it; `None` where the kernel has no such objects.
    pub(super) fn open() -> Result<Option<Self>, HostError> {
        let mut socket = open().map_err(failed)?;
        match socket.socket_mut().add_membership(RTNLGRP_NEXTHOP) {
            Ok(()) => Ok(Some(Self(socket))),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Waits for the next ones.
    pub(super) async fn next(&mut self) -> Result<News, HostError> {
        match receive(&self.0).await {
            Ok(bytes) => Ok(News::Changes(
                messages(&bytes)
                    .filter_map(|message| change(&message))
                    .collect(),
            )),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(News::Lost),
            Err(error) => Err(failed(error)),
        }
    }

    /// Those that are there already.
    pub(super) fn next_now(&mut self) -> Result<Option<News>, HostError> {
        self.next().now_or_never().transpose()
    }
}

/// Asks for all of them.
pub(super) async fn dump() -> Result<Vec<(u32, Object)>, HostError> {
    let socket = open().map_err(failed)?;
    let kernel = SocketAddr::new(0, 0);
    socket
        .send_to(&dump_request(), &kernel)
        .await
        .map_err(failed)?;
    let mut objects = Vec::new();
    loop {
        let bytes = receive(&socket).await.map_err(failed)?;
        for message in messages(&bytes) {
            match message.message_type() {
                NLMSG_DONE => return Ok(objects),
                // Before Linux 5.3 nobody knows the request.
                NLMSG_ERROR => return Ok(Vec::new()),
                _ => objects.extend(change(&message).and_then(|change| match change {
                    Change::Put(id, object) => Some((id, object)),
                    Change::Gone(_) => None,
                })),
            }
        }
    }
}

/// The changes in a datagram.
#[cfg(any(test, feature = "testing"))]
pub(super) fn read(bytes: &[u8]) -> Vec<Change> {
    messages(bytes)
        .filter_map(|message| change(&message))
        .collect()
}

fn open() -> io::Result<TokioSocket> {
    let mut socket = <TokioSocket as AsyncSocket>::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind_auto()?;
    Ok(socket)
}

/// One datagram.
async fn receive(socket: &TokioSocket) -> io::Result<Vec<u8>> {
    /// The kernel makes none that is larger (`netlink_dump`).
    const LARGEST: usize = 1 << 16;
    let mut bytes = Vec::with_capacity(LARGEST);
    socket.recv_from(&mut bytes).await?;
    Ok(bytes)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the form that map_err asks for"
)]
fn failed(error: io::Error) -> HostError {
    HostError::netlink("nexthop objects", error.to_string())
}

/// The request for a dump: all families, no filter.
fn dump_request() -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    let length = header.buffer_len() + HEADER;
    header.length = u32::try_from(length).unwrap_or_default();
    header.message_type = RTM_GETNEXTHOP;
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut bytes = vec![0; length];
    header.emit(&mut bytes);
    bytes
}

/// The messages of one datagram, as far as they are whole.
fn messages(bytes: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let length = message.length() as usize;
        // Each begins at a multiple of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// What a message says; `None` for others, and for what cannot be read.
fn change(message: &NetlinkBuffer<&[u8]>) -> Option<Change> {
    let payload = message.payload();
    let header = payload.get(..HEADER)?;
    let flags = u32::from_ne_bytes(header.get(4..8)?.try_into().ok()?);
    let (mut id, mut interface, mut gateway) = (None, None, None);
    let (mut group, mut is_dead) = (None, flags & DEAD != 0);
    for attribute in NlasIterator::new(payload.get(HEADER..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            NHA_ID => id = parse_u32(value).ok(),
            NHA_OIF => interface = parse_u32(value).ok(),
            NHA_GATEWAY => gateway = address(value),
            NHA_GROUP => group = Some(members(value)),
            NHA_BLACKHOLE => is_dead = true,
            _ => {}
        }
    }
    let id = id?;
    match message.message_type() {
        RTM_NEWNEXTHOP => {}
        RTM_DELNEXTHOP => return Some(Change::Gone(id)),
        _ => return None,
    }
    let object = match (group, interface) {
        (Some(members), _) => Object::Group(members),
        (None, Some(interface)) if !is_dead => Object::Hop { interface, gateway },
        // Those of a bridge's forwarding table have no interface either.
        (None, _) => Object::Dead,
    };
    Some(Change::Put(id, object))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn members(bytes: &[u8]) -> Vec<u32> {
    let ids = bytes.chunks_exact(MEMBER);
    ids.filter_map(|member| parse_u32(member.get(..4)?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with these attributes, as the kernel writes it.
    fn message(kind: u16, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![2, 0, 4, 0];
        body.extend(flags.to_ne_bytes());
        for (kind, value) in attributes {
            let length = u16::try_from(value.len() + 4).unwrap();
            body.extend(length.to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut all = u32::try_from(body.len() + 16)
            .unwrap()
            .to_ne_bytes()
            .to_vec();
        all.extend(kind.to_ne_bytes());
        all.extend([0; 10]);
        all.extend(body);
        all
    }

    fn read(bytes: &[u8]) -> Vec<Change> {
        messages(bytes)
            .filter_map(|message| change(&message))
            .collect()
    }

    #[test]
    fn objects_are_read_one_after_the_other() {
        let id = |id: u32| id.to_ne_bytes();
        let mut bytes = message(
            RTM_NEWNEXTHOP,
            0,
            &[
                (NHA_ID, &id(7)),
                (NHA_OIF, &id(3)),
                (NHA_GATEWAY, &[192, 0, 2, 1]),
            ],
        );
        let members = [id(7), [1, 0, 0, 0], id(9), [1, 0, 0, 0]].concat();
        bytes.extend(message(
            RTM_NEWNEXTHOP,
            0,
            &[(NHA_ID, &id(8)), (NHA_GROUP, &members), (3, &[0, 0])],
        ));
        bytes.extend(message(RTM_DELNEXTHOP, 0, &[(NHA_ID, &id(6))]));
        bytes.extend(message(
            RTM_NEWNEXTHOP,
            0,
            &[(NHA_ID, &id(5)), (NHA_BLACKHOLE, &[])],
        ));
        bytes.extend(message(
            RTM_NEWNEXTHOP,
            DEAD,
            &[(NHA_ID, &id(4)), (NHA_OIF, &id(3))],
        ));
        let hop = Object::Hop {
            interface: 3,
            gateway: Some([192, 0, 2, 1].into()),
        };
        assert_eq!(
            read(&bytes),
            [
                Change::Put(7, hop),
                Change::Put(8, Object::Group(vec![7, 9])),
                Change::Gone(6),
                Change::Put(5, Object::Dead),
                Change::Put(4, Object::Dead),
            ]
        );
    }

    #[test]
    fn what_is_cut_or_of_another_kind_says_nothing() {
        let bytes = message(RTM_NEWNEXTHOP, 0, &[(NHA_ID, &[7, 0, 0, 0])]);
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), []);
        }
        assert_eq!(read(&message(24, 0, &[(NHA_ID, &[7, 0, 0, 0])])), []);
        assert_eq!(read(&message(RTM_NEWNEXTHOP, 0, &[])), []);
        // A length that leads nowhere.
        let mut endless = bytes;
        endless[..4].copy_from_slice(&0u32.to_ne_bytes());
        assert_eq!(read(&endless), []);
    }
}

//! The DHCP server for ports: every attached ENI gets the one address that it is meant to have.
//!
//! There is no pool and no lease file. The daemon publishes a [`Directory`] of what each ENI behind each port is
//! to be told; [`answer`] is the whole server as a pure function, from frame to frame; [`Server`] is the socket around
//! it. An ENI that asks for another address than its own is refused (NAK), so that it asks afresh and gets the right
//! one after an association changed.

mod frame;
mod protocol;
mod request;
mod server;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, net::Ipv4Addr, time::Duration};

use dhcproto::Encodable;
use tracing::debug;

use request::Request;
pub use server::Server;

/// Whom to answer, and with what. An ENI without a lease (stranded, detached, IPv6 only) is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// The lease of each ENI.
    pub leases: HashMap<Client, Lease>,
}

/// Where an ENI stands: the port, and its Ethernet address there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client {
    /// The index of the port's interface.
    pub interface: u32,
    /// The 802.1Q VLAN on it; 0 is none.
    pub vlan: u16,
    /// The ENI's Ethernet address.
    pub mac: [u8; 6],
}

/// What an ENI is told about its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address that it is to use: its primary private IP, or its cut-through EIP.
    pub address: Ipv4Addr,
    /// The length of the prefix that is on the link; 32 in a routed pool.
    pub prefix_len: u8,
    /// How it reaches everything else.
    pub router: Router,
    /// Who answers: the gateway's address, in the packet's source and as the server identifier.
    pub server: Ipv4Addr,
    /// The MTU of the port.
    pub mtu: u16,
    /// Name servers, if any are configured.
    pub dns: Vec<Ipv4Addr>,
    /// For how long; the client asks again after half of it.
    pub duration: Duration,
    /// The port's own Ethernet address, the source of the answers.
    pub port_mac: [u8; 6],
}

/// The default route of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Router {
    /// An address on the guest's link (option 3).
    OnLink(Ipv4Addr),
    /// An address outside the guest's prefix, which is made reachable first (option 121): for a
    /// routed pool.
    OffLink(Ipv4Addr),
}

/// The frame that answers `frame`, which came in on the interface of that index, if it gets an answer.
///
/// `allow` is asked once it is known whose request it is, before any further work.
pub fn answer(
    frame: &[u8],
    interface: u32,
    directory: &Directory,
    allow: impl FnOnce(Client) -> bool,
) -> Option<Vec<u8>> {
    let datagram = frame::parse(frame)?;
    let client = Client {
        interface,
        vlan: 0,
        mac: datagram.source,
    };
    let lease = directory.leases.get(&client)?;
    let request = Request::parse(datagram.payload).filter(|request| request.mac == client.mac)?;
    if !allow(client) {
        return None;
    }
    let reply = protocol::respond(&request, lease)?;
    let payload = match reply.message.to_vec() {
        Ok(payload) => payload,
        Err(error) => {
            debug!(interface, address = %lease.address, %error, "a DHCP reply cannot be written");
            return None;
        }
    };
    let destination_mac = if reply.broadcast {
        [0xff; 6]
    } else {
        client.mac
    };
    Some(frame::build(&frame::Datagram {
        source: lease.port_mac,
        destination: destination_mac,
        source_address: lease.server,
        destination_address: reply.to,
        payload: &payload,
    }))
}

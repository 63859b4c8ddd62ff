//! The DHCP server for ports: every attached ENI gets the one address that it is meant to have.
//!
//! An ENI that asks for another address than its own is refused (NAK), so that it asks afresh and
//! gets the right one after an association changed.

mod protocol;
mod request;
#[cfg(test)]
mod tests;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use dhcproto::Encodable;
use eip_dp_common::abi::LinkKey;
use tracing::debug;

use super::{Client, LeaseTable, Parameters};
use crate::frame::{Ethernet, v4};
use request::Request;

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
    /// Name servers, if there are any.
    pub dns: Vec<Ipv4Addr>,
    /// What all guests are told.
    pub site: Arc<Parameters>,
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

/// The frame that answers `frame`, which came in on `link`, if it gets an answer.
///
/// `allow` is asked once it is known whose request it is, before any further work.
pub fn answer(
    frame: &[u8],
    link: LinkKey,
    directory: &LeaseTable,
    allow: impl FnOnce(Client) -> bool,
) -> Option<Vec<u8>> {
    let datagram = v4::parse(frame)?;
    let client = Client::on(link, datagram.source);
    let lease = directory.leases4.get(&client)?;
    let request = Request::parse(datagram.payload).filter(|request| request.mac == client.mac)?;
    if !allow(client) {
        return None;
    }
    let reply = protocol::respond(&request, lease)?;
    let payload = match reply.message.to_vec() {
        Ok(payload) => payload,
        Err(error) => {
            debug!(interface = link.ifindex, address = %lease.address, %error, "a DHCP reply cannot be written");
            return None;
        }
    };
    let destination = if reply.broadcast {
        [0xff; 6]
    } else {
        client.mac
    };
    Some(v4::build(&v4::Datagram {
        ethernet: Ethernet {
            destination,
            source: lease.port_mac,
        },
        source: lease.server,
        destination: reply.to,
        payload: &payload,
    }))
}

//! The DHCPv6 server for ports (RFC 8415): every attached ENI gets the one IPv6 address that it is
//! meant to have.
//!
//! Nothing is remembered of a client: its binding is what the table says. A client that comes with
//! an address of before an association changed is told that it is not of this link, or, as it
//! renews, that its time is over and which one has taken its place.

mod protocol;
mod request;
#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

use dhcproto::Encodable;
use eip_dp_common::abi::LinkKey;
use tracing::debug;

use super::{Client, LeaseTable};
use crate::{
    compile::tag,
    frame::{
        Ethernet,
        v6::{Envelope, Received, link_local},
    },
};
use request::Request;

/// Where clients send to.
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// The identifier (DUID) of the server that the ENIs of a VPC have: a UUID (RFC 6355) made of the
/// VPC's id.
///
/// So it is the same on whichever host, port and address an ENI comes to be: a client that moved
/// renews its lease as it did before, and learns at once what has changed. A DUID of the port's
/// Ethernet address would leave it without an answer until it asks any server there is. Two VPCs
/// have two servers, for each is a network of its own.
pub fn server_identifier(vpc: &str) -> [u8; 18] {
    const DUID_UUID: [u8; 2] = [0, 4];
    let halves = [tag(vpc), tag(&format!("dhcpv6 server of {vpc}"))];
    let mut identifier = [0; 18];
    identifier[..2].copy_from_slice(&DUID_UUID);
    identifier[2..10].copy_from_slice(&halves[0].to_be_bytes());
    identifier[10..].copy_from_slice(&halves[1].to_be_bytes());
    // Version 8, whose other bits are whatever its maker wants, and the variant of RFC 9562.
    identifier[8] = identifier[8] & 0x0f | 0x80;
    identifier[10] = identifier[10] & 0x3f | 0x80;
    identifier
}

/// The frame that answers a message to the server port, which came in on `link`, if it gets an
/// answer.
///
/// `allow` is asked once it is known whose request it is, before any further work.
pub fn answer(
    received: &Received<'_>,
    message: &[u8],
    link: LinkKey,
    directory: &LeaseTable,
    allow: impl FnOnce(Client) -> bool,
) -> Option<Vec<u8>> {
    let client = Client::on(link, received.mac);
    let lease = directory.leases6.get(&client)?;
    if !received.source.is_unicast_link_local() {
        return None;
    }
    let request = Request::parse(message)?;
    if !allow(client) {
        return None;
    }
    let reply = if received.destination == ALL_SERVERS {
        protocol::respond(&request, lease)?
    } else {
        protocol::refuse_unicast(&request, lease)?
    };
    let payload = match reply.to_vec() {
        Ok(payload) => payload,
        Err(error) => {
            debug!(interface = link.ifindex, address = %lease.address, %error, "a DHCPv6 reply cannot be written");
            return None;
        }
    };
    let envelope = Envelope {
        ethernet: Ethernet {
            destination: client.mac,
            source: lease.port_mac,
        },
        source: link_local(lease.port_mac),
        destination: received.source,
    };
    Some(envelope.dhcp(&payload))
}

//! What guests are told by the network: DHCP, and the router advertisements that IPv6 begins with.
//!
//! There is no pool and no lease file. The daemon publishes a [`Directory`] of what each ENI behind
//! each port is to be told. [`dhcp4`] and [`dhcp6`] are servers as pure functions, from frame to
//! frame; [`ra`] decides when to advertise what; [`Requests`] is where frames come from, [`Server`]
//! what stands around all of it.

mod buckets;
pub mod dhcp4;
pub mod dhcp6;
mod leases;
mod names;
mod parameters;
pub mod ra;
mod requests;
mod server;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::{net::Ipv6Addr, sync::Arc, time::Duration};

use eip_dp_common::abi::LinkKey;
use ipnet::Ipv6Net;

pub use leases::Leases;
pub use parameters::Parameters;
pub use requests::Requests;
pub use server::Server;

use crate::shared::Sharers;

/// Whom to answer, and with what. An ENI that is not served (stranded, detached) is in none of it;
/// one with addresses of one family is in that half.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseTable {
    /// The IPv4 lease of each ENI.
    pub leases4: Leases<dhcp4::Lease>,
    /// The IPv6 lease of each ENI.
    pub leases6: Leases<Lease6>,
    /// The ENIs that share private addresses.
    pub sharers: Arc<Sharers>,
}

impl LeaseTable {
    /// Gives a client these leases, and no other.
    pub fn tell(&mut self, client: Client, lease4: Option<dhcp4::Lease>, lease6: Option<Lease6>) {
        match lease4 {
            Some(lease) => self.leases4.insert(client, lease),
            None => self.leases4.remove(&client),
        }
        match lease6 {
            Some(lease) => self.leases6.insert(client, lease),
            None => self.leases6.remove(&client),
        }
    }
}

/// Where an ENI stands: the port, and its Ethernet address there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client {
    /// The index of the port's interface.
    pub interface: u32,
    /// The 802.1Q VLAN on it; 0 is none.
    pub vlan: u16,
    /// The 802.1ad VLAN outside of that; 0 is none.
    pub outer: u16,
    /// The ENI's Ethernet address.
    pub mac: [u8; 6],
}

impl Client {
    /// The one with that Ethernet address on a port.
    pub fn on(port: LinkKey, mac: [u8; 6]) -> Self {
        Self {
            interface: port.ifindex,
            vlan: port.vlan,
            outer: port.outer,
            mac,
        }
    }

    /// The port.
    pub fn port(&self) -> LinkKey {
        LinkKey::stacked(self.interface, self.outer, self.vlan)
    }
}

/// What an ENI is told about IPv6, by advertisements and by DHCPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease6 {
    /// The address that it is to use: its primary private address, or its cut-through EIP.
    pub address: Ipv6Addr,
    /// The prefix that is on its link; `None` in a routed pool.
    pub on_link: Option<Ipv6Net>,
    /// The MTU of the port.
    pub mtu: u32,
    /// Whether the guest may make the address itself, of the prefix and its Ethernet address: then
    /// that is the one which it is to use (RFC 4862).
    pub autonomous: bool,
    /// Name servers, if there are any.
    pub dns: Vec<Ipv6Addr>,
    /// What all guests are told.
    pub site: Arc<Parameters>,
    /// For how long it has the address.
    pub duration: Duration,
    /// Who leases it: the same for all ENIs of a VPC, see [`dhcp6::server_identifier`].
    pub server: [u8; 18],
    /// The port's own Ethernet address: the source of the answers, and by it the router's address.
    pub port_mac: [u8; 6],
}

/// A lease's time in seconds; the largest value would mean "for ever".
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs())
        .unwrap_or(u32::MAX)
        .min(u32::MAX - 1)
}

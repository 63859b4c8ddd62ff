//! The DHCP server for ports: every attached ENI gets the one address that it is meant to have.
//!
//! There is no pool and no lease file. The daemon publishes a [`Directory`] of what each ENI behind each port is
//! to be told.

use std::{collections::HashMap, net::Ipv4Addr, time::Duration};

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
    /// An address on the guest's link (options 3 and 121).
    OnLink(Ipv4Addr),
    /// An address outside the guest's prefix, which is made reachable first (option 121): a routed pool.
    OffLink(Ipv4Addr),
}

//! What a site gives its guests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Dhcp, DomainName};

/// What all guests of a gateway are told, beside their addresses and name servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The domain that they are in.
    pub domain: Option<DomainName>,
    /// The domains in which they look for a name.
    pub search: Vec<DomainName>,
    /// Time servers for those with an IPv4 address.
    pub ntp4: Vec<Ipv4Addr>,
    /// Time servers for those with an IPv6 address.
    pub ntp6: Vec<Ipv6Addr>,
    /// The server that they boot from.
    pub next_server: Option<Ipv4Addr>,
    /// The file there.
    pub boot_file: Option<String>,
}

impl Parameters {
    /// Those of a configuration.
    pub fn new(dhcp: &Dhcp) -> Self {
        let (mut ntp4, mut ntp6) = (Vec::new(), Vec::new());
        for server in &dhcp.ntp {
            match server {
                IpAddr::V4(server) => ntp4.push(*server),
                IpAddr::V6(server) => ntp6.push(*server),
            }
        }
        Self {
            domain: dhcp.domain.clone(),
            search: dhcp.search.clone(),
            ntp4,
            ntp6,
            next_server: dhcp.next_server,
            boot_file: dhcp.boot_file.clone(),
        }
    }

    /// The search list, where there is no word for the domain itself: by DHCPv6 and in
    /// advertisements.
    pub(super) fn search_or_domain(&self) -> &[DomainName] {
        match &self.domain {
            Some(domain) if self.search.is_empty() => std::slice::from_ref(domain),
            _ => &self.search,
        }
    }
}

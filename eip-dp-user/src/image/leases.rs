//! What the DHCP server tells each ENI.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::{
    Image,
    enis::{Placed, Scene, networks},
};
use crate::{
    config::Config,
    dhcp::{Client, Lease, Router},
    host::Link,
    model::objects::EniState,
};

/// The router that a guest in a routed pool is told. It has no address in the pool to name, and what it says in ARP
/// is the port's MAC, so an address that is no one's serves: link-local, and the same on every port.
const ROUTER_OF_ROUTED_POOLS: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// Fills in the directory. A stranded ENI, and one whose port is not there, gets no lease.
pub fn compile(image: &mut Image, scene: &Scene<'_>, config: &Config) {
    for placed in &scene.enis {
        let Some(stand) = &placed.stand else {
            continue;
        };
        if placed.eni.state == EniState::Stranded {
            continue;
        }
        let network = match placed.cut_through::<[u8; 4]>() {
            Some(eip) => public(scene, eip.into()),
            // Of a guest whose only EIP is an IPv6 one, the private networking is off all the same.
            None if placed.is_cut_through() => None,
            None => private(scene, placed),
        };
        let Some((address, prefix_len, router)) = network else {
            continue;
        };
        let client = Client {
            interface: stand.key.ifindex,
            vlan: stand.key.vlan,
            mac: placed.eni.mac.0,
        };
        let lease = lease(stand.link, config, address, prefix_len, router);
        image.directory.leases.insert(client, lease);
    }
}

/// The address, its prefix length and its router.
type Network = (Ipv4Addr, u8, Router);

fn public(scene: &Scene<'_>, address: Ipv4Addr) -> Option<Network> {
    let pool = scene
        .model
        .pools
        .values()
        .find(|pool| pool.cidr.contains(&IpAddr::V4(address)))?;
    Some(match pool.router().and_then(v4) {
        Some(gateway) => (address, pool.cidr.prefix_len(), Router::OnLink(gateway)),
        None => (address, 32, Router::OffLink(ROUTER_OF_ROUTED_POOLS)),
    })
}

fn private(scene: &Scene<'_>, placed: &Placed<'_>) -> Option<Network> {
    let address = placed.eni.private_ips.iter().find_map(|ip| v4(*ip))?;
    let vpc = scene.model.vpcs.get(&placed.eni.vpc)?;
    let contains = |cidr: &IpNet| cidr.contains(&IpAddr::V4(address));
    let (cidr, gateway) = networks::<[u8; 4]>(vpc).find(|(cidr, _)| contains(cidr))?;
    Some((address, cidr.prefix_len(), Router::OnLink(v4(gateway)?)))
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn lease(link: &Link, config: &Config, address: Ipv4Addr, prefix_len: u8, router: Router) -> Lease {
    let (Router::OnLink(server) | Router::OffLink(server)) = router;
    Lease {
        address,
        prefix_len,
        router,
        server,
        mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
        dns: config.dhcp.dns.clone(),
        duration: config.dhcp.lease,
        port_mac: link.mac,
    }
}

//! What guests are told of their addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::{
    Address,
    enis::{Placed, Scene, networks},
    place::Stand,
};
use crate::{
    config::Config,
    guests::{
        Client, Lease6,
        dhcp4::{self, Router},
        dhcp6,
    },
    model::objects::{EniState, Pool},
};

/// The router that a guest in a routed pool is told. It has no address in the pool to name, and what it says in ARP
/// is the port's MAC, so an address that is no one's serves: link-local, and the same on every port. (In IPv6 every
/// router goes by its link-local address.)
const ROUTER_OF_ROUTED_POOLS: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// What one guest is told: it has a lease of one family, of both, or of none.
pub type Told = (Client, Option<dhcp4::Lease>, Option<Lease6>);

/// What the guests of a scene are told. A stranded ENI, and one whose port is not there, gets no lease.
pub fn compile<'a>(scene: &'a Scene<'_>, config: &'a Config) -> impl Iterator<Item = Told> + 'a {
    scene.enis.iter().filter_map(|placed| {
        let stand = placed.stand.as_ref()?;
        if placed.eni.state == EniState::Stranded {
            return None;
        }
        let client = Client::on(stand.key, placed.eni.mac.0);
        let lease4 = lease4(scene, placed, stand, config);
        let lease6 = lease6(scene, placed, stand, config);
        Some((client, lease4, lease6))
    })
}

/// The address of a family that a guest is to use, and where it is from.
enum Leased<'a> {
    /// An EIP of that pool.
    Public(IpAddr, &'a Pool),
    /// An address of the VPC, in that prefix, with its router.
    Private(IpAddr, IpNet, IpAddr),
}

fn leased<'a, A: Address>(scene: &Scene<'a>, placed: &Placed<'a>) -> Option<Leased<'a>> {
    if placed.is_cut_through() {
        // Of a guest whose only EIP is of the other family, the private networking is off all the same.
        let eip = placed.cut_through::<A>()?.ip();
        let mut pools = scene.model.pools.values();
        let pool = pools.find(|pool| pool.cidr.contains(&eip))?;
        return Some(Leased::Public(eip, pool));
    }
    let mut addresses = placed.eni.private_ips.iter().copied();
    let address = addresses.find(|address| A::of(*address).is_some())?;
    let vpc = scene.model.vpcs.get(&placed.eni.vpc)?;
    let (cidr, router) = networks::<A>(vpc).find(|(cidr, _)| cidr.contains(&address))?;
    Some(Leased::Private(address, cidr, router))
}

fn lease4(
    scene: &Scene<'_>,
    placed: &Placed<'_>,
    stand: &Stand<'_>,
    config: &Config,
) -> Option<dhcp4::Lease> {
    let (address, prefix_len, router) = match leased::<[u8; 4]>(scene, placed)? {
        Leased::Public(address, pool) => match pool.router() {
            Some(router) => (address, pool.cidr.prefix_len(), Router::OnLink(v4(router)?)),
            None => (address, 32, Router::OffLink(ROUTER_OF_ROUTED_POOLS)),
        },
        Leased::Private(address, cidr, router) => {
            (address, cidr.prefix_len(), Router::OnLink(v4(router)?))
        }
    };
    let (Router::OnLink(server) | Router::OffLink(server)) = router;
    Some(dhcp4::Lease {
        address: v4(address)?,
        prefix_len,
        router,
        server,
        mtu: u16::try_from(stand.mtu()).unwrap_or(u16::MAX),
        dns: config.dhcp.dns.iter().filter_map(|dns| v4(*dns)).collect(),
        duration: config.dhcp.lease,
        port_mac: stand.link.mac,
    })
}

fn lease6(
    scene: &Scene<'_>,
    placed: &Placed<'_>,
    stand: &Stand<'_>,
    config: &Config,
) -> Option<Lease6> {
    let (address, on_link) = match leased::<[u8; 16]>(scene, placed)? {
        Leased::Public(address, pool) => (address, pool.router().map(|_| pool.cidr)),
        Leased::Private(address, cidr, _) => (address, Some(cidr)),
    };
    Some(Lease6 {
        address: v6(address)?,
        on_link: on_link.and_then(v6_net),
        mtu: stand.mtu(),
        dns: config.dhcp.dns.iter().filter_map(|dns| v6(*dns)).collect(),
        duration: config.dhcp.lease,
        server: dhcp6::server_identifier(&placed.eni.vpc),
        port_mac: stand.link.mac,
    })
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

fn v6_net(net: IpNet) -> Option<Ipv6Net> {
    match net {
        IpNet::V6(net) => Some(net.trunc()),
        IpNet::V4(_) => None,
    }
}

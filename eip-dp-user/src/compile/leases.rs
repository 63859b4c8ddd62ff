//! What guests are told of their addresses.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use ipnet::{IpNet, Ipv6Net};

use super::{
    Address,
    enis::{Resolved, ResolvedEni, networks},
    port_binding::PortBinding,
};
use crate::{
    config::Config,
    frame::v6::link_local,
    guests::{
        Client, Lease6, Parameters,
        dhcp4::{self, Router},
        dhcp6,
    },
    host::HostFacts,
    model::objects::{EniState, Mac, Pool},
};

/// The router that a guest in a routed pool is told. It has no address in the pool to name, and
/// what it says in ARP is the port's MAC, so an address that is no one's serves: link-local, and
/// the same on every port. (In IPv6 every router goes by its link-local address.)
const ROUTER_OF_ROUTED_POOLS: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// What one guest is told: it has a lease of one family, of both, or of none.
pub type Told = (Client, Option<dhcp4::Lease>, Option<Lease6>);

/// The part of every lease that is the same for all guests.
struct Common {
    dns4: Vec<Ipv4Addr>,
    dns6: Vec<Ipv6Addr>,
    site: Arc<Parameters>,
    duration: Duration,
}

impl Common {
    fn new(config: &Config, facts: &HostFacts) -> Self {
        let dns = name_servers(config, facts);
        Self {
            dns4: dns.iter().copied().filter_map(v4).collect(),
            dns6: dns.iter().copied().filter_map(v6).collect(),
            site: Arc::new(Parameters::new(&config.dhcp)),
            duration: config.dhcp.lease,
        }
    }
}

/// The name servers that guests are told: those of the configuration, else those that the host
/// itself asks.
pub fn name_servers<'a>(config: &'a Config, facts: &'a HostFacts) -> &'a [IpAddr] {
    let configured = config.dhcp.dns.as_ref();
    configured.unwrap_or(&facts.resolver.servers)
}

/// What the guests of a scene are told. A stranded ENI, and one whose port is not there, gets no
/// lease.
pub fn compile<'a>(
    scene: &'a Resolved<'_>,
    config: &Config,
    facts: &HostFacts,
) -> impl Iterator<Item = Told> + 'a {
    let common = Common::new(config, facts);
    scene.enis.iter().filter_map(move |placed| {
        let stand = placed.stand.as_ref()?;
        if placed.eni.state == EniState::Stranded {
            return None;
        }
        let client = Client::on(stand.key, placed.eni.mac.0);
        let lease4 = lease4(scene, placed, stand, &common);
        let lease6 = lease6(scene, placed, stand, &common);
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

fn leased<'a, A: Address>(scene: &Resolved<'a>, placed: &ResolvedEni<'a>) -> Option<Leased<'a>> {
    if placed.is_cut_through() {
        // Of a guest whose only EIP is of the other family, the private networking is off all the
        // same.
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
    scene: &Resolved<'_>,
    placed: &ResolvedEni<'_>,
    stand: &PortBinding<'_>,
    common: &Common,
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
        dns: common.dns4.clone(),
        site: Arc::clone(&common.site),
        duration: common.duration,
        port_mac: stand.link.mac,
    })
}

fn lease6(
    scene: &Resolved<'_>,
    placed: &ResolvedEni<'_>,
    stand: &PortBinding<'_>,
    common: &Common,
) -> Option<Lease6> {
    let (address, on_link) = match leased::<[u8; 16]>(scene, placed)? {
        Leased::Public(address, pool) => (address, pool.router().map(|_| pool.cidr)),
        Leased::Private(address, cidr, _) => (address, Some(cidr)),
    };
    let (address, on_link) = (v6(address)?, on_link.and_then(v6_net));
    Some(Lease6 {
        address,
        on_link,
        autonomous: on_link.is_some_and(|net| made_of(net, placed.eni.mac) == Some(address)),
        mtu: stand.mtu(),
        dns: common.dns6.clone(),
        site: Arc::clone(&common.site),
        duration: common.duration,
        server: dhcp6::server_identifier(&placed.eni.vpc),
        port_mac: stand.link.mac,
    })
}

/// The address that a guest makes of a prefix and its Ethernet address (RFC 2464, 4): only of one
/// of 64 bits.
fn made_of(net: Ipv6Net, Mac(mac): Mac) -> Option<Ipv6Addr> {
    if net.prefix_len() != 64 {
        return None;
    }
    let mut octets = net.network().octets();
    octets[8..].copy_from_slice(&link_local(mac).octets()[8..]);
    Some(octets.into())
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

//! The wires: an uplink between the Internet host and the gateway, ports between the gateway and
//! guests.

use anyhow::{Context as _, Result};

use super::{Lab, netns::Netns, process::run};

/// The Internet host's address on the uplink.
pub const INTERNET: &str = "198.51.100.1";
/// The gateway's.
pub const GATEWAY: &str = "198.51.100.2";
/// The Internet host's IPv6 address on the uplink.
pub const INTERNET6: &str = "2001:db8:ffff::1";
/// The gateway's.
pub const GATEWAY6: &str = "2001:db8:ffff::2";
/// The interface of either end of the uplink.
pub const UPLINK: &str = "up0";
/// The Internet host's Ethernet address.
pub const INTERNET_MAC: &str = "02:00:00:00:01:01";
/// The gateway's on the uplink.
pub const GATEWAY_MAC: &str = "02:00:00:00:01:02";

/// An Internet host and a gateway with a wire between them.
pub struct Backbone {
    /// The Internet host.
    pub internet: Netns,
    /// The gateway.
    pub gateway: Netns,
}

impl Backbone {
    /// Both, with addresses on the wire. Neither has a route besides the wire's own.
    pub fn new(lab: &Lab) -> Result<Self> {
        let internet = lab.namespace("internet")?;
        let gateway = lab.namespace("gateway")?;
        internet.ip(&format!(
            "link add {UPLINK} address {INTERNET_MAC} type veth peer name {UPLINK} address {GATEWAY_MAC} netns {}",
            gateway.name()
        ))?;
        for (side, address) in [(&internet, INTERNET), (&gateway, GATEWAY)] {
            // This pair plays a wire: what goes over it is complete, as a network card would have
            // made it.
            run(side.command("ethtool").args(["-K", UPLINK, "tx", "off"]))?;
            side.ip(&format!("address add {address}/24 dev {UPLINK}"))?;
            side.ip(&format!("link set dev {UPLINK} up"))?;
        }
        Ok(Self { internet, gateway })
    }

    /// As an Internet provider would: the route to a pool that stands behind the gateway.
    pub fn route_pool(&self, pool: &str) -> Result<()> {
        self.internet
            .ip(&format!("route add {pool} via {GATEWAY}"))?;
        Ok(())
    }

    /// IPv6 on the wire too, and the route to a pool of it.
    pub fn with_ipv6(&self, pool: &str) -> Result<()> {
        for (side, address) in [(&self.internet, INTERNET6), (&self.gateway, GATEWAY6)] {
            side.ip(&format!("address add {address}/64 dev {UPLINK} nodad"))?;
        }
        self.internet
            .ip(&format!("route add {pool} via {GATEWAY6}"))?;
        Ok(())
    }

    /// Plugs an ENI into `guest`: `port` is the gateway's end, `interface` the guest's.
    pub fn plug(&self, port: &str, guest: &Netns, interface: &str, mac: &str) -> Result<()> {
        self.gateway.ip(&format!(
            "link add {port} type veth peer name {interface} address {mac} netns {}",
            guest.name()
        ))?;
        self.gateway.ip(&format!("link set dev {port} up"))?;
        Ok(())
    }

    /// Pulls the plug, and plugs another guest in whose port has the name and the index of the one
    /// before.
    pub fn replug(&self, port: &str, guest: &Netns, interface: &str, mac: &str) -> Result<()> {
        let shown = self.gateway.ip(&format!("-oneline link show dev {port}"))?;
        let index = shown.split(':').next().context("no index")?;
        self.unplug(port)?;
        self.gateway.ip(&format!(
            "link add {port} index {index} type veth peer name {interface} address {mac} netns {}",
            guest.name()
        ))?;
        self.gateway.ip(&format!("link set dev {port} up"))?;
        Ok(())
    }

    /// Pulls the plug: both ends vanish.
    pub fn unplug(&self, port: &str) -> Result<()> {
        self.gateway.ip(&format!("link delete dev {port}"))?;
        Ok(())
    }
}

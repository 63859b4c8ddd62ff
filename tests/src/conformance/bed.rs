//! The bed: a gateway's network namespace with an uplink and ports, whose other ends are packet sockets.

use std::{fs, net::IpAddr, path::Path};

use anyhow::{Context, Result};
use eip_dp_user::model::objects::Mac;

use super::{
    data::{Family, World},
    wire::{INTERNET, Side, Wire},
};
use crate::lab::{Lab, netns::Netns, process::run};

/// The gateway's interface towards the Internet.
pub const UPLINK: &str = "up0";

/// Everything around one gateway. The gateway has its interfaces, its address on the uplink, the default route and the next
/// hop's Ethernet address; all else is the adapter's.
pub struct Bed {
    /// What the gateway is to be set up for.
    pub world: World,
    /// Where the gateway runs.
    pub gateway: Netns,
    /// Where the sides are.
    outside: Netns,
    /// What is sent and seen.
    pub wire: Wire,
    /// The lab that holds it.
    pub lab: Lab,
}

impl Bed {
    /// Builds it.
    pub fn new(world: &World) -> Result<Self> {
        let lab = Lab::new()?;
        let (gateway, outside) = (lab.namespace("gateway")?, lab.namespace("outside")?);
        // The sides are silent: no stack answers there.
        outside.without_ipv6()?;
        if world.family == Family::V4 {
            gateway.without_ipv6()?;
        }
        let mut sides = Vec::new();
        let guests = world.guests.iter().map(|guest| {
            (
                guest.name.as_str(),
                guest.port.as_str(),
                guest.mtu,
                guest.mac,
            )
        });
        let internet = (INTERNET, UPLINK, world.uplink_mtu, world.next_hop_mac);
        for (number, (name, port, mtu, own)) in (1..).zip([internet].into_iter().chain(guests)) {
            let theirs = Mac([2, 0, 0, 0, 0xfe, number]);
            gateway.ip(&format!(
                "link add {port} mtu {mtu} address {theirs} type veth peer name {name} mtu {mtu} address {own} netns {}",
                outside.name()
            ))?;
            for (side, interface) in [(&gateway, port), (&outside, name)] {
                // A wire: frames on it are complete.
                run(side.command("ethtool").args(["-K", interface, "tx", "off"]))?;
                side.ip(&format!("link set dev {interface} up"))?;
            }
            sides.push(Side::new(&outside, name, own.0, theirs.0)?);
        }
        let bed = Self {
            wire: Wire::new(world.family, sides),
            world: world.clone(),
            gateway,
            outside,
            lab,
        };
        bed.connect()?;
        Ok(bed)
    }

    fn connect(&self) -> Result<()> {
        let World {
            family,
            uplink,
            uplink_length,
            next_hop,
            next_hop_mac,
            ..
        } = &self.world;
        let address = format!("{uplink}/{uplink_length}");
        self.ip(&format!(
            "address add {address} dev {UPLINK}{}",
            nodad(*family)
        ))?;
        self.neighbour(*next_hop, UPLINK, *next_hop_mac)?;
        self.ip(&format!("route add default via {next_hop} dev {UPLINK}"))
    }

    /// Makes every side poll, as a network card does: a veth takes XDP frames only then.
    pub fn poll_sides(&self) -> Result<()> {
        for name in self.world.guests.iter().map(|guest| guest.name.as_str()) {
            let mut command = self.outside.command("ethtool");
            run(command.args(["-K", name, "gro", "on"]))?;
        }
        Ok(())
    }

    /// `ip -4` or `ip -6` in the gateway's namespace.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        let flag = self.world.family.flag();
        self.gateway.ip(&format!("{flag} {arguments}")).map(|_| ())
    }

    /// Tells the gateway's kernel the Ethernet address of a neighbour.
    pub fn neighbour(&self, address: IpAddr, interface: &str, mac: Mac) -> Result<()> {
        self.ip(&format!(
            "neighbour replace {address} lladdr {mac} dev {interface} nud permanent"
        ))
    }

    /// Writes a sysctl of the gateway's namespace; `name` is a path under `/proc/sys/net`.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(name);
        self.gateway.enter(|| {
            fs::write(&path, value).with_context(|| format!("cannot write {}", path.display()))
        })
    }
}

/// What `ip address add` is told so that an address can be used at once.
pub fn nodad(family: Family) -> &'static str {
    match family {
        Family::V4 => "",
        Family::V6 => " nodad",
    }
}

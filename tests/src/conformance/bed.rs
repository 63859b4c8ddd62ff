//! The bed: a gateway's network namespace with an uplink and ports, whose other ends are packet
//! sockets.

use std::{fs, net::IpAddr, path::Path};

use anyhow::{Context, Result};
use eip_dp_user::model::{Vlan, objects::Mac};

use super::{
    data::{Family, World},
    host::Host,
    wire::{End, INTERNET, MANAGEMENT, Side, Wire},
    wiring::{self, Wiring},
};
use crate::lab::{Lab, netns::Netns, process::run};

/// The gateway's interface towards the Internet.
pub const UPLINK: &str = "up0";

/// Everything around one gateway. The gateway has its interfaces, its address on the uplink, the
/// default route and the next hop's Ethernet address; all else is the adapter's.
pub struct Bed {
    /// What the gateway is to be set up for.
    pub world: World,
    /// How the sides are plugged in.
    pub wiring: Wiring,
    /// The gateway's interface that has its address on the uplink. It is the uplink itself, or the
    /// host's own interface for the uplink's VLAN, on kernels that have such.
    pub home: String,
    /// Where the gateway runs.
    pub gateway: Netns,
    /// Where the sides are.
    outside: Netns,
    /// What is sent and seen.
    pub wire: Wire,
    /// What the gateway's own kernel gets to see.
    pub host: Host,
    /// The lab that holds it.
    pub lab: Lab,
}

/// A wire that is to be made.
struct Plan<'a> {
    /// The side's name.
    side: &'a str,
    /// The gateway's interface.
    interface: &'a str,
    /// How large packets are there.
    mtu: u32,
    /// The side's Ethernet address.
    own: Mac,
    /// The gateway's.
    theirs: Mac,
    vlan: Option<Vlan>,
    is_port: bool,
}

/// What a side's MTU is larger than the gateway's: packet sockets send no frame that is tags longer
/// than it.
const TAGS: u32 = 8;

impl Bed {
    /// Builds it.
    pub fn new(world: &World, wiring: Wiring) -> Result<Self> {
        let lab = Lab::new()?;
        let (gateway, outside) = (lab.namespace("gateway")?, lab.namespace("outside")?);
        // The sides are silent: no stack answers there.
        outside.without_ipv6()?;
        if world.family == Family::V4 {
            gateway.without_ipv6()?;
        }
        let mut sides = Vec::new();
        for plan in plans(world, wiring) {
            let end = plug(&gateway, &outside, &plan, wiring)?;
            sides.push(Side {
                name: plan.side.to_owned(),
                own: plan.own.0,
                gateway: plan.theirs.0,
                tags: wiring::tags(plan.vlan),
                untagged_above: None,
                others: Vec::new(),
                only_own: false,
                end,
            });
        }
        share_uplink(world, &outside, &mut sides)?;
        let mut home = UPLINK.to_owned();
        if let Some(vlan) = wiring.vlan(0) {
            if let Some(own) = wiring::uplink_in(&gateway, vlan, world.uplink_mtu)? {
                home = own;
            } else {
                // Such an uplink receives and answers. What is sent needs a next hop, and leaves by
                // the untagged one, whose MTU is that of packets.
                let mtu = world.uplink_mtu;
                gateway.ip(&format!("link set dev {UPLINK} mtu {mtu}"))?;
                let most = Some(usize::try_from(mtu - wiring.beside_mtu())?);
                for side in &mut sides {
                    if side.gateway == world.uplink_mac.0 {
                        side.untagged_above = most;
                    }
                }
            }
        }
        let bed = Self {
            wire: Wire::new(world.family, sides),
            world: world.clone(),
            wiring,
            home,
            host: Host::new(&gateway)?,
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
            management,
            ..
        } = &self.world;
        let home = &self.home;
        for (address, length, interface) in [
            (uplink, uplink_length, home),
            (
                &management.address,
                &management.length,
                &management.interface,
            ),
        ] {
            self.ip(&format!(
                "address add {address}/{length} dev {interface}{}",
                nodad(*family)
            ))?;
        }
        self.neighbour(*next_hop, home, *next_hop_mac)?;
        for neighbour in &self.world.neighbours {
            self.neighbour(neighbour.address, home, neighbour.mac)?;
        }
        self.neighbour(management.host, &management.interface, management.mac)?;
        self.ip(&format!("route add default via {next_hop} dev {home}"))
    }

    /// Makes every side poll, as a network card does: a veth takes XDP frames only then.
    pub fn poll_sides(&self) -> Result<()> {
        if self.wiring == Wiring::Tap {
            return Ok(());
        }
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

/// The uplink, the ports, and the management network.
fn plans(world: &World, wiring: Wiring) -> Vec<Plan<'_>> {
    let mut plans = vec![Plan {
        side: INTERNET,
        interface: UPLINK,
        mtu: world.uplink_mtu,
        own: world.next_hop_mac,
        theirs: world.uplink_mac,
        vlan: wiring.vlan(0),
        is_port: false,
    }];
    plans.extend(world.guests.iter().map(|guest| Plan {
        side: &guest.name,
        interface: &guest.port,
        mtu: guest.mtu,
        own: guest.mac,
        theirs: guest.port_mac,
        vlan: wiring.vlan_of(world, &guest.name),
        is_port: true,
    }));
    let management = &world.management;
    plans.push(Plan {
        side: MANAGEMENT,
        interface: &management.interface,
        mtu: world.uplink_mtu,
        own: management.mac,
        theirs: management.interface_mac,
        vlan: None,
        is_port: false,
    });
    plans
}

/// Puts the neighbours on the uplink's link, beside the router.
fn share_uplink(world: &World, outside: &Netns, sides: &mut Vec<Side>) -> Result<()> {
    let router = &mut sides[0];
    router.others = world
        .neighbours
        .iter()
        .map(|neighbour| neighbour.mac.0)
        .collect();
    let (gateway, tags) = (router.gateway, router.tags.clone());
    for neighbour in &world.neighbours {
        sides.push(Side {
            name: neighbour.name.clone(),
            own: neighbour.mac.0,
            gateway,
            tags: tags.clone(),
            untagged_above: None,
            others: Vec::new(),
            only_own: true,
            end: End::socket(outside, INTERNET)?,
        });
    }
    Ok(())
}

/// Makes the interface, and the side's end of it.
fn plug(gateway: &Netns, outside: &Netns, plan: &Plan<'_>, wiring: Wiring) -> Result<End> {
    let Plan {
        side: name,
        interface,
        own,
        theirs,
        ..
    } = plan;
    let beside = plan.vlan.map_or(0, |_| wiring.beside_mtu());
    let mtu = plan.mtu + beside;
    if wiring == Wiring::Tap && plan.is_port {
        let end = End::tap(gateway, interface)?;
        gateway.ip(&format!(
            "link set dev {interface} mtu {mtu} address {theirs} up"
        ))?;
        return Ok(end);
    }
    gateway.ip(&format!(
        "link add {interface} mtu {mtu} address {theirs} type veth peer name {name} mtu {} address {own} netns {}",
        mtu + TAGS,
        outside.name()
    ))?;
    for (side, interface) in [(gateway, interface), (outside, name)] {
        // A wire: frames on it are complete.
        run(side.command("ethtool").args(["-K", interface, "tx", "off"]))?;
        side.ip(&format!("link set dev {interface} up"))?;
    }
    End::socket(outside, name)
}

/// What `ip address add` is told so that an address can be used at once.
pub fn nodad(family: Family) -> &'static str {
    match family {
        Family::V4 => "",
        Family::V6 => " nodad",
    }
}

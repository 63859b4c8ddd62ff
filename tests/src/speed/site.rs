//! The namespaces of one candidate: source, gateway, guests, and the links between them.

use anyhow::Result;
use eip_dp_bench_ebpf::programs;
use eip_dp_user::model::objects::Mac;
use nix::net::if_::if_nametoindex;

use super::{
    object::{Object, cpus},
    plan::{PORT_MAC, SOURCE_MAC, UPLINK_MAC},
    shape::{Family, Gateway, Shape},
};
use crate::lab::{Lab, netns::Netns, process::run};

/// The interface of either end of the uplink.
pub const UPLINK: &str = "up0";

/// The gateway's address on the uplink, and the next hop's.
pub const OWN4: &str = "198.51.100.2";
/// The next hop's address.
pub const NEXT_HOP4: &str = "198.51.100.1";
/// The gateway's address of IPv6.
pub const OWN6: &str = "3fff:0:ffff::2";
/// The next hop's address of IPv6.
pub const NEXT_HOP6: &str = "3fff:0:ffff::1";

/// Where one candidate stands.
pub struct Site {
    /// Generator and sinks.
    pub object: Object,
    /// What it is set up for.
    pub shape: Shape,
    /// Where packets from the Internet are made.
    pub source: Netns,
    /// Where the candidate runs.
    pub gateway: Netns,
    /// Where those of the guests are made.
    pub guests: Netns,
    source_interfaces: Vec<u32>,
    guest_interfaces: Vec<u32>,
    /// The lab that holds it.
    pub lab: Lab,
}

/// The gateway's interface of a VPC.
pub fn port(vpc: u32) -> String {
    format!("p{vpc}")
}

fn guest(vpc: u32) -> String {
    format!("e{vpc}")
}

impl Site {
    /// Builds it; the candidate is not there yet.
    pub fn new(shape: Shape, gateway_kind: Gateway) -> Result<Self> {
        let lab = Lab::new()?;
        let source = lab.namespace("source")?;
        let gateway = lab.namespace("gateway")?;
        let guests = lab.namespace("guests")?;
        // Nobody but the generator speaks there.
        source.without_ipv6()?;
        guests.without_ipv6()?;
        let translated = if gateway_kind == Gateway::Textbook {
            shape.eips
        } else {
            0
        };
        let mut object = Object::load(translated)?;
        pair(&gateway, UPLINK, UPLINK_MAC, &source, UPLINK, SOURCE_MAC)?;
        for vpc in 0..shape.vpcs {
            let far = super::plan::eni_mac(vpc, 0x00ff_ffff);
            pair(&gateway, &port(vpc), PORT_MAC, &guests, &guest(vpc), far)?;
        }
        let sink = match shape.family {
            Family::V4 => programs::SINK4,
            Family::V6 => programs::SINK6,
        };
        let source_interfaces = source.enter(|| {
            object.attach(sink, UPLINK)?;
            // One uplink for all VPCs.
            Ok(vec![if_nametoindex(UPLINK)?; shape.vpcs as usize])
        })?;
        let guest_interfaces = guests.enter(|| {
            (0..shape.vpcs)
                .map(|vpc| {
                    object.attach(sink, &guest(vpc))?;
                    Ok(if_nametoindex(guest(vpc).as_str())?)
                })
                .collect::<Result<Vec<_>>>()
        })?;
        for (own, next_hop, length) in [(OWN4, NEXT_HOP4, 24), (OWN6, NEXT_HOP6, 64)] {
            let nodad = if length == 64 { " nodad" } else { "" };
            gateway.ip(&format!("address add {own}/{length} dev {UPLINK}{nodad}"))?;
            gateway.ip(&format!(
                "neighbour replace {next_hop} lladdr {SOURCE_MAC} dev {UPLINK} nud permanent"
            ))?;
            let flag = if length == 64 { "-6 " } else { "" };
            gateway.ip(&format!(
                "{flag}route add default via {next_hop} dev {UPLINK}"
            ))?;
        }
        Ok(Self {
            object,
            shape,
            source,
            gateway,
            guests,
            source_interfaces,
            guest_interfaces,
            lab,
        })
    }

    /// Lets the generator send from the guests, or else from the source.
    pub fn send_from_guests(&mut self, guests: bool) -> Result<()> {
        let interfaces = if guests {
            self.guest_interfaces.clone()
        } else {
            self.source_interfaces.clone()
        };
        self.object.send_through(&interfaces)
    }

    /// The index of an interface of the gateway.
    pub fn index_of(&self, interface: &str) -> Result<u32> {
        self.gateway.enter(|| Ok(if_nametoindex(interface)?))
    }
}

/// A veth pair with a queue for each CPU, both ends up; the first takes frames by NAPI.
fn pair(
    gateway: &Netns,
    own: &str,
    own_mac: Mac,
    other: &Netns,
    far: &str,
    far_mac: Mac,
) -> Result<()> {
    let queues = cpus()?;
    let queues = format!("numtxqueues {queues} numrxqueues {queues}");
    gateway.ip(&format!(
        "link add {own} address {own_mac} {queues} type veth peer name {far} address {far_mac} {queues} netns {}",
        other.name()
    ))?;
    // A veth takes the generator's frames only while it polls.
    run(gateway.command("ethtool").args(["-K", own, "gro", "on"]))?;
    gateway.ip(&format!("link set dev {own} up"))?;
    other.ip(&format!("link set dev {far} up"))?;
    Ok(())
}

//! Transfers of iperf3 between an unmodified guest and an Internet host.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    object::cpus,
    report::{BULK_RIVAL, Bulk},
};
use crate::lab::{
    Lab,
    gateway::Gateway,
    netns::Netns,
    process::{outcome, run, write},
    topology::{Backbone, INTERNET, UPLINK},
    traffic::IperfServer,
};

const POOL: &str = "203.0.113.0/24";
const EIP: &str = "203.0.113.10";
const VPC: &str = "10.0.0.0/24";
const ROUTER: &str = "10.0.0.1";
const GUEST: &str = "10.0.0.10";
const GUEST_MAC: &str = "02:00:00:00:0a:01";
const PORT: &str = "p0";

/// What and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds.
    pub rounds: u32,
    /// Whether more is measured than what is judged: the other ways of delivery, and UDP.
    pub all: bool,
}

/// How long a transfer is: many short ones, in turn, are held against each other in what the
/// machine does just then.
const SECONDS: u32 = 1;

/// A gateway between the two.
struct Scene {
    name: String,
    // Dropped in this order.
    _server: IperfServer,
    _gateway: Option<Gateway>,
    guest: Netns,
    _lab: Lab,
}

/// Runs all of them in turn.
pub fn run_all(effort: &Effort, say: &mut dyn FnMut(&str)) -> Result<Vec<Bulk>> {
    let (deliveries, protocols): (&[&str], &[&str]) = if effort.all {
        (&["auto", "xdp", "tcx"], &["tcp", "udp"])
    } else {
        (&["auto"], &["tcp"])
    };
    let mut scenes = vec![kernel()?];
    for delivery in deliveries {
        scenes.push(eip_dp(delivery)?);
    }
    // Those that are held against each other follow each other.
    let mut all = Vec::new();
    for protocol in protocols {
        for direction in ["out", "in"] {
            for scene in &scenes {
                let bulk = Bulk {
                    gateway: scene.name.clone(),
                    protocol: (*protocol).to_owned(),
                    direction: direction.to_owned(),
                    rates: Vec::new(),
                };
                all.push((bulk, &scene.guest));
            }
        }
    }
    for round in 1..=effort.rounds {
        say(&format!("iperf3, round {round} of {}", effort.rounds));
        // Who is first in one round is last in the next.
        all.reverse();
        for (bulk, guest) in &mut all {
            let rate = transfer(guest, &bulk.protocol, bulk.direction == "in")?;
            if rate == 0.0 {
                let Bulk {
                    gateway,
                    protocol,
                    direction,
                    ..
                } = bulk;
                bail!("{gateway} forwards nothing of {protocol} {direction}");
            }
            bulk.rates.push(rate / 1e9);
        }
    }
    let mut all: Vec<Bulk> = all.into_iter().map(|(bulk, _)| bulk).collect();
    if effort.rounds % 2 == 1 {
        all.reverse();
    }
    Ok(all)
}

/// The guest's program and the Internet's each on a core of its own, where there are two: the same
/// for all.
fn placement() -> Result<Option<[&'static str; 2]>> {
    Ok((cpus()? > 1).then_some(["-A", "0,1"]))
}

/// As much as goes in; the bits a second that arrive.
fn transfer(guest: &Netns, protocol: &str, reverse: bool) -> Result<f64> {
    let mut command = guest.command("iperf3");
    command.args(["-J", "-p", "5201", "-B", GUEST, "-c", INTERNET]);
    command.args(["-t", &SECONDS.to_string()]);
    command.args(placement()?.into_iter().flatten());
    if protocol == "udp" {
        // In frames of full size.
        command.args(["-u", "-b", "0", "-l", DATAGRAM]);
    }
    if reverse {
        command.arg("-R");
    }
    let output = outcome(&mut command)?;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let end = &report["end"];
    let rate = || {
        if protocol == "tcp" {
            return end["sum_received"]["bits_per_second"].as_f64();
        }
        let sum = &end["sum"];
        let (packets, lost) = (sum["packets"].as_f64()?, sum["lost_packets"].as_f64()?);
        let bits = DATAGRAM.parse::<f64>().ok()? * 8.0;
        Some((packets - lost).max(0.0) * bits / sum["seconds"].as_f64()?)
    };
    rate().with_context(|| format!("iperf3 over {protocol} printed no sum: {report}"))
}

/// The payload of a datagram, in bytes.
const DATAGRAM: &str = "1448";

fn scene(
    name: &str,
    start: impl FnOnce(&Lab, &Backbone, &Netns) -> Result<Option<Gateway>>,
) -> Result<Scene> {
    let lab = Lab::new()?;
    let backbone = Backbone::new(&lab)?;
    backbone.route_pool(POOL)?;
    let guest = lab.namespace("guest")?;
    backbone.plug(PORT, &guest, "eth0", GUEST_MAC)?;
    guest.ip(&format!("address add {GUEST}/24 dev eth0"))?;
    guest.ip("link set dev eth0 up")?;
    guest.ip(&format!("route add default via {ROUTER}"))?;
    // What an uplink's NIC does for its host, this end of the wire does too: segments and
    // checksums.
    run(backbone
        .gateway
        .command("ethtool")
        .args(["-K", UPLINK, "tx", "on"]))?;
    let gateway = start(&lab, &backbone, &guest).with_context(|| name.to_owned())?;
    let server = IperfServer::start(&backbone.internet, &lab.folder().join("iperf.log"))?;
    Ok(Scene {
        name: name.to_owned(),
        _server: server,
        _gateway: gateway,
        guest,
        _lab: lab,
    })
}

fn eip_dp(delivery: &str) -> Result<Scene> {
    scene(&format!("eip-dp {delivery}"), |lab, backbone, guest| {
        let configuration = format!(
            "[[uplink]]\ninterface = \"{UPLINK}\"\nnext_hop = \"{INTERNET}\"\n[ports]\ndelivery = \"{delivery}\"\n"
        );
        if delivery == "xdp" {
            // A veth takes XDP frames only while its peer polls.
            run(guest.command("ethtool").args(["-K", "eth0", "gro", "on"]))?;
        }
        with_gro(&backbone.gateway)?;
        let mut gateway = Gateway::new(lab, &backbone.gateway, &configuration)?;
        for verb in [
            format!("pool create {POOL}"),
            format!("vpc create v --cidr {VPC}"),
            "instance create a".to_owned(),
            format!("eni create n --vpc v --kind primary --mac {GUEST_MAC} --private-ip {GUEST}"),
            format!("eni attach n --instance a --port {PORT}"),
            format!("eip create e --address {EIP}"),
            "associate e n".to_owned(),
        ] {
            gateway.ok(&verb)?;
        }
        gateway.start()?;
        if delivery == "xdp" {
            gateway.wait_for_delivery("xdp", 1)?;
        }
        Ok(Some(gateway))
    })
}

/// Has the gateway's interfaces poll, and merge what belongs together: off for a veth, on for a
/// NIC.
fn with_gro(gateway: &Netns) -> Result<()> {
    for interface in [UPLINK, PORT] {
        run(gateway
            .command("ethtool")
            .args(["-K", interface, "gro", "on"]))?;
    }
    Ok(())
}

/// nftables, stateless, with GRO on.
fn kernel() -> Result<Scene> {
    scene(BULK_RIVAL, |lab, backbone, _| {
        let gateway = &backbone.gateway;
        gateway.ip(&format!("address add {ROUTER}/24 dev {PORT}"))?;
        with_gro(gateway)?;
        gateway.enter(|| {
            let path = Path::new("/proc/sys/net/ipv4/ip_forward");
            fs::write(path, "1").context("cannot make the gateway a router")
        })?;
        let rules = format!(
            "table ip bench {{
map inward {{ type ipv4_addr : ipv4_addr; elements = {{ {EIP} : {GUEST} }} }}
map outward {{ type ipv4_addr : ipv4_addr; elements = {{ {GUEST} : {EIP} }} }}
chain prerouting {{ type filter hook prerouting priority raw; notrack; ip daddr set ip daddr map @inward; }}
chain postrouting {{ type filter hook postrouting priority srcnat; oifname \"{UPLINK}\" ip saddr set ip saddr map @outward; }}
}}
"
        );
        let file = lab.folder().join("rules.nft");
        write(&file, &rules)?;
        run(gateway.command("nft").arg("-f").arg(&file))?;
        Ok(None)
    })
}

//! traceroute between a guest and the distant host: the gateway is one of the hops.

use anyhow::Result;

use super::{Party, Seen, Stage};
use crate::lab::{
    beyond::{DISTANT, INTERNET_ON_SMALL_LINK, ROUTER, ROUTER_NEAR_DISTANT},
    netns::Netns,
    process::run,
    topology::{GATEWAY, INTERNET},
};

/// What a traceroute sends.
#[derive(Clone, Copy, Debug)]
pub enum Probe {
    /// Datagrams to ports that nobody listens on.
    Udp,
    /// Echo requests.
    Icmp,
    /// The beginning of a connection.
    Tcp,
}

/// From the guest.
pub fn out(party: &Party, probe: Probe) -> Result<Seen> {
    let hops = [party.router, INTERNET, ROUTER, DISTANT];
    trace(party.guest, party.inside(), probe, &hops)
}

/// To the guest.
pub fn into(stage: &Stage, party: &Party, probe: Probe) -> Result<Seen> {
    let hops = [
        ROUTER_NEAR_DISTANT,
        INTERNET_ON_SMALL_LINK,
        GATEWAY,
        party.eip.address,
    ];
    trace(&stage.beyond.distant, DISTANT, probe, &hops)
}

/// The last hop is where the trace goes to.
fn trace(from: &Netns, source: &str, probe: Probe, hops: &[&str; 4]) -> Result<Seen> {
    let mut command = from.command("traceroute");
    // One probe at a time: routers answer only so many at once.
    command.args(["-n", "-q", "1", "-N", "1", "-w", "2", "-m", "6"]);
    command.args(["-s", source]);
    match probe {
        Probe::Udp => &mut command,
        Probe::Icmp => command.arg("-I"),
        Probe::Tcp => command.args(["-T", "-p", "9"]),
    };
    let text = run(command.arg(hops[3]))?;
    // " 1  10.0.0.1  0.042 ms" or " 1  *", below a line that says what is traced.
    let seen: Vec<&str> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    Ok(Seen::when(seen == *hops, seen.join(" ")))
}

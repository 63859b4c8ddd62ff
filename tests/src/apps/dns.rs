//! DNS: dnsmasq and dig.

use std::{fmt::Write as _, process::Command};

use anyhow::{Context, Result};

use super::{Ends, Party, Seen, Stage, said};
use crate::lab::{
    netns::Netns,
    process::outcome,
    service::{Port, Service},
    topology::INTERNET,
    traffic::ping,
};

/// The address that a name of the server has.
const ANSWER: &str = "192.0.2.53";

/// How a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In a datagram.
    Udp,
    /// In a datagram, for an answer that takes several frames.
    UdpFragments,
    /// In a connection.
    Tcp,
}

/// The client asks for a name that the server knows.
pub fn ask(stage: &Stage, ends: &Ends, way: Way) -> Result<Seen> {
    let (server, bound) = ends.server;
    let _server = start(stage, server, bound, &[])?;
    let mut dig = dig(ends)?;
    let record = match way {
        Way::Udp => dig.args(["+notcp", "a.test", "A"]),
        Way::UdpFragments => dig.args(["+notcp", "+bufsize=4096", "large.test", "TXT"]),
        Way::Tcp => dig.args(["+tcp", "a.test", "A"]),
    };
    let output = outcome(record)?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let good = match way {
        Way::Udp | Way::Tcp => answer == ANSWER,
        Way::UdpFragments => answer.matches(&"x".repeat(PIECE)).count() == PIECES,
    };
    let words = match way {
        _ if !good => said(&output),
        Way::UdpFragments => format!("all {} bytes of the record arrive", PIECE * PIECES),
        Way::Udp | Way::Tcp => format!("answered {answer}"),
    };
    Ok(Seen::when(good, words))
}

/// A server in the guest that answers with the guest's own address, as dynamic DNS and service
/// discovery do; the client on the Internet then turns to that address.
pub fn own_address(stage: &Stage, party: &Party) -> Result<Seen> {
    let ends = stage.into(party);
    let name = format!("--host-record=self.test,{}", party.inside());
    let _server = start(stage, party.guest, party.inside(), &[&name])?;
    let output = outcome(dig(&ends)?.args(["+notcp", "self.test", "A"]))?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let reached = ping(stage.internet(), Some(INTERNET), &answer, 1)
        .with_context(|| format!("dig said: {}", said(&output)))?;
    Ok(Seen::judged(
        reached.lost_nothing(),
        answer == party.eip.private,
        format!("answered {answer}, where a ping finds {reached}"),
    ))
}

/// The length of a string in the large record, and how many there are.
const PIECE: usize = 250;
const PIECES: usize = 12;

fn start(stage: &Stage, on: &Netns, address: &str, more: &[&str]) -> Result<Service> {
    let mut large = "--txt-record=large.test".to_owned();
    for _ in 0..PIECES {
        // A String never refuses a write.
        let _ = write!(large, ",{}", "x".repeat(PIECE));
    }
    let mut command = on.guest_command("/usr/sbin/dnsmasq")?;
    command
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file",
        ])
        .args(["--user=nobody", "--group=nogroup", "--log-facility=-"])
        .args(["--no-resolv", "--no-hosts", "--bind-interfaces"])
        .args(["--except-interface=lo", "--edns-packet-max=4096"])
        .arg(format!("--listen-address={address}"))
        .arg(format!("--host-record=a.test,{ANSWER}"))
        .arg(&large)
        .args(more);
    let log = stage.folder("dns")?.join("log");
    Service::start(on, &mut command, &log, Port::Tcp(53))
}

fn dig(ends: &Ends) -> Result<Command> {
    let (client, source) = ends.client;
    let mut command = client.guest_command("dig")?;
    command
        .args(["-b", source, &format!("@{}", ends.target)])
        .args(["+short", "+time=2", "+tries=2"]);
    Ok(command)
}

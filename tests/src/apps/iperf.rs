//! iperf3 over TCP and UDP, in both directions of the data.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Ends, Seen, Stage};
use crate::lab::traffic::{Amount, IperfServer, iperf, iperf_udp};

/// What a transfer over TCP has to bring at the very least.
const LEAST: u64 = 4 << 20;

/// A part of a second of TCP from the client, and one to it.
pub fn tcp(stage: &Stage, ends: &Ends) -> Result<Seen> {
    let (client, source) = ends.client;
    let _server = IperfServer::start(ends.server.0, &stage.folder("iperf")?.join("log"))?;
    let mut words = String::new();
    let mut good = true;
    for (reverse, direction) in [(false, "there"), (true, "back")] {
        let amount = Amount::Megabytes(8);
        let sent = iperf(client, Some(source), ends.target, amount, reverse)?;
        good &= sent.received >= LEAST;
        let comma = if reverse { ", " } else { "" };
        // A String never refuses a write.
        let _ = write!(
            words,
            "{comma}{:.1} Gbit/s {direction}",
            sent.bits_per_second / 1e9
        );
    }
    Ok(Seen::when(good, words))
}

/// Datagrams of one frame and datagrams of several, in both directions.
pub fn udp(stage: &Stage, ends: &Ends) -> Result<Seen> {
    /// Of a hundred datagrams: what a busy machine may lose in its own queues.
    const TOLERATED: u64 = 5;
    let (client, source) = ends.client;
    let _server = IperfServer::start(ends.server.0, &stage.folder("iperf")?.join("log"))?;
    let (mut sent, mut lost) = (0, 0);
    for length in [1200, 4000] {
        for reverse in [false, true] {
            let seen = iperf_udp(client, source, ends.target, length, reverse)?;
            sent += seen.sent;
            lost += seen.lost;
        }
    }
    Ok(Seen::when(
        sent > 0 && lost * 100 <= sent * TOLERATED,
        format!("{} of {sent} datagrams arrive", sent - lost),
    ))
}

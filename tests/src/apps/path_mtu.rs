//! Path-MTU discovery: TCP across a link that is smaller than either end knows.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::{Party, Seen, Stage};
use crate::lab::{
    beyond::{DISTANT, SMALL_MTU, forward},
    netns::Netns,
    process::run,
    traffic::{Amount, IperfServer, Transferred, iperf},
};

/// The small link is on the Internet. The guest sends too much, and what the router there says
/// about it has to reach the guest's stack as one about its own packet.
pub fn beyond(stage: &Stage, party: &Party) -> Result<Seen> {
    let distant = &stage.beyond.distant;
    let _server = IperfServer::start(distant, &stage.folder("path-mtu")?.join("log"))?;
    let there = transfer(party.guest, Some(party.inside()), DISTANT, false);
    let learned = path_mtu(party.guest, DISTANT)?;
    let back = transfer(party.guest, Some(party.inside()), DISTANT, true);
    Ok(judge(&there, &back, learned, SMALL_MTU))
}

/// The small link is behind the guest, which forwards to something of its own as a container host
/// does. The Internet host sends too much, and what the guest says about it has to reach that host
/// as one about a packet to the EIP.
pub fn behind(stage: &Stage, party: &Party) -> Result<Seen> {
    let inner = stage
        .scene
        .lab
        .namespace(&format!("behind-{}", party.eip.id))?;
    let begun = contain(party, &inner);
    let seen = begun.and_then(|()| {
        let _server = IperfServer::start(&inner, &stage.folder("path-mtu")?.join("log"))?;
        let there = transfer(stage.internet(), None, party.eip.address, false);
        let learned = path_mtu(stage.internet(), party.eip.address)?;
        let back = transfer(stage.internet(), None, party.eip.address, true);
        Ok(judge(&there, &back, learned, INNER_MTU))
    });
    // The guest goes on as it was, whatever came of it.
    let _ = party.guest.ip(&format!("link delete dev {INNER_LINK}"));
    let _ = run(party.guest.command("nft").arg("delete table ip inner"));
    seen
}

const INNER_LINK: &str = "inner0";
const INNER_MTU: u32 = 1300;

/// Gives the guest a container: a link whose guest's end is small, and what comes to the EIP for
/// iperf3 goes there.
fn contain(party: &Party, inner: &Netns) -> Result<()> {
    let guest = party.guest;
    guest.ip(&format!(
        "link add {INNER_LINK} mtu {INNER_MTU} type veth peer name eth0 mtu 1500 netns {}",
        inner.name()
    ))?;
    guest.ip(&format!("address add 172.31.0.1/30 dev {INNER_LINK}"))?;
    guest.ip(&format!("link set dev {INNER_LINK} up"))?;
    inner.ip("address add 172.31.0.2/30 dev eth0")?;
    inner.ip("link set dev eth0 up")?;
    inner.ip("route add default via 172.31.0.1")?;
    forward(guest)?;
    let rules = format!(
        "add table ip inner; add chain ip inner before {{ type nat hook prerouting priority dstnat; }}; add rule ip inner \
         before ip daddr {} tcp dport 5201 dnat to 172.31.0.2",
        party.inside()
    );
    run(guest.command("nft").arg(rules)).context("the guest's own forwarding")?;
    Ok(())
}

fn transfer(
    client: &Netns,
    source: Option<&str>,
    target: &str,
    reverse: bool,
) -> Result<Transferred> {
    iperf(client, source, target, Amount::Megabytes(2), reverse)
}

/// The MTU that a stack has learned for the way to `target`.
fn path_mtu(namespace: &Netns, target: &str) -> Result<Option<u32>> {
    let text = namespace.ip(&format!("route get {target}"))?;
    let mut words = text.split_whitespace();
    Ok(words
        .find(|word| *word == "mtu")
        .and_then(|_| words.next()?.parse().ok()))
}

fn judge(
    there: &Result<Transferred>,
    back: &Result<Transferred>,
    learned: Option<u32>,
    small: u32,
) -> Seen {
    let mut words = match learned {
        Some(mtu) => format!("the sender learns an MTU of {mtu}"),
        None => "the sender learns no MTU".to_owned(),
    };
    let mut good = learned == Some(small);
    for (transfer, direction) in [(there, "there"), (back, "back")] {
        let arrived = transfer.as_ref().map_or(0, |transfer| transfer.received);
        good &= arrived >= 1 << 20;
        // A String never refuses a write.
        let _ = match transfer {
            Ok(_) => write!(words, "; {arrived} bytes {direction}"),
            Err(error) => write!(words, "; {direction}: {error:#}"),
        };
    }
    Seen::when(good, words)
}

//! Connection tracking: room for every flow of a row, and all of them in the table before frames
//! are counted. What is measured are packets of connections that the tracker knows; those that it
//! has to enter first cost it more.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use eip_dp_bench_ebpf::FLOWS;

use super::{
    generator::Sender,
    shape::{Gateway, Shape},
};
use crate::lab::{netns::Netns, setting::Raised};

/// How many connections the whole host may have, in each namespace, and how many chains they are
/// kept in.
const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";
/// A namespace's: how long, in seconds, one is kept that nobody answers.
const TIMEOUT: &str = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout";
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

/// Longer than any run.
const SECONDS: u32 = 86_400;

/// Whether a candidate keeps connections.
pub fn is_in(gateway: Gateway) -> bool {
    matches!(gateway, Gateway::NftConntrack | Gateway::Netmap)
}

/// How many flows there are between the Internet and a table's EIPs. Those of pktgen have the same
/// ports.
pub fn flows(shape: &Shape, sender: Sender) -> u64 {
    let of_eip = match sender {
        Sender::LiveFrames => FLOWS,
        Sender::Pktgen => 1,
    };
    u64::from(shape.eips) * u64::from(of_eip)
}

/// How many chains there are for each flow. The kernel's defaults have one, but all candidates that
/// stand share them, and a flow is in two.
const CHAINS: u64 = 4;

/// Room for the flows of one candidate.
pub struct Room {
    _raised: [Option<Raised>; 2],
}

impl Room {
    /// Makes it.
    pub fn make(flows: u64) -> Result<Self> {
        // What else a namespace has is little beside them.
        let max = Raised::to(Path::new(MAX), flows + flows / 8);
        let buckets = Raised::to(Path::new(BUCKETS), CHAINS * flows);
        Ok(Self {
            _raised: [max?, buckets?],
        })
    }
}

/// Has what a gateway tracks last.
pub fn keep(gateway: &Netns) -> Result<()> {
    gateway.enter(|| {
        fs::write(TIMEOUT, SECONDS.to_string()).with_context(|| format!("cannot write {TIMEOUT}"))
    })
}

/// How many connections a gateway tracks.
pub fn count(gateway: &Netns) -> Result<u64> {
    gateway.enter(|| {
        let text = fs::read_to_string(COUNT).with_context(|| format!("cannot read {COUNT}"))?;
        Ok(text.trim().parse()?)
    })
}

/// Fails if a gateway has lost connections since it was filled.
pub fn check(gateway: &Netns, shape: &Shape, sender: Sender) -> Result<()> {
    let (has, wanted) = (count(gateway)?, flows(shape, sender));
    ensure!(
        has >= wanted,
        "{has} connections are tracked of {wanted} that were entered"
    );
    Ok(())
}

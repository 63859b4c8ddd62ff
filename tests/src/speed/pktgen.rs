//! The kernel's packet generator in place of the bench's own, on hosts that have it: whole packets
//! of its own making, sent through the stack's transmit path.

use std::{fs, path::Path as File};

use anyhow::{Context, Result, ensure};

use super::{
    plan::{self, SOURCE_MAC, UPLINK_MAC},
    shape::{Draw, Family, Path, Row, Size},
    site::UPLINK,
};

/// Where its files are, for the calling thread's network namespace.
const FOLDER: &str = "/proc/thread-self/net/pktgen";

/// Fails with the cure where there is none.
pub fn check() -> Result<()> {
    ensure!(
        File::new("/proc/net/pktgen").exists(),
        "this kernel has no pktgen: `modprobe pktgen` where it is a module (Debian's kernels); where it was left out, run without \
         --pktgen"
    );
    Ok(())
}

/// Whether it can send what the row is about: UDP over IPv4 from the Internet, to EIPs that are
/// drawn uniformly.
pub fn can_send(row: &Row) -> bool {
    row.path == Path::In
        && row.shape.family == Family::V4
        && row.shape.vpcs == 1
        && row.draw == Draw::Uniform
        && row.size != Size::Mix
}

/// The kernel's thread that sends on a core.
pub fn thread(core: usize) -> String {
    format!("kpktgend_{core}")
}

/// Its device on a core: one queue, one thread.
fn device(core: usize) -> String {
    format!("{UPLINK}@{core}")
}

fn tell(file: &str, words: &str) -> Result<()> {
    fs::write(format!("{FOLDER}/{file}"), format!("{words}\n"))
        .with_context(|| format!("pktgen's {file} refuses `{words}`"))
}

/// Prepares the calling thread's namespace, the source's, for a row.
pub fn prepare(row: &Row, cores: &[usize]) -> Result<()> {
    /// It counts without the checksum that a wire adds, and takes no less.
    const LEAST: u16 = 60;
    let Size::Bytes(bytes) = row.size else {
        anyhow::bail!("pktgen sends frames of one size");
    };
    let [first, last] = plan::destinations(row);
    let source = plan::remote(row.shape.family);
    for core in cores {
        let (thread, device) = (thread(*core), device(*core));
        tell(&thread, "rem_device_all")?;
        tell(&thread, &format!("add_device {device}"))?;
        for words in [
            "count 0".to_owned(),
            "clone_skb 0".to_owned(),
            "delay 0".to_owned(),
            "flag UDPCSUM".to_owned(),
            "flag IPDST_RND".to_owned(),
            format!("queue_map_min {core}"),
            format!("queue_map_max {core}"),
            format!("pkt_size {}", bytes.max(LEAST)),
            format!("src_mac {SOURCE_MAC}"),
            format!("dst_mac {UPLINK_MAC}"),
            format!("src_min {source}"),
            format!("src_max {source}"),
            format!("dst_min {first}"),
            format!("dst_max {last}"),
            format!("udp_src_min {}", eip_dp_bench_ebpf::PORT_MARK),
            format!("udp_src_max {}", eip_dp_bench_ebpf::PORT_MARK),
            format!("udp_dst_min {}", eip_dp_bench_ebpf::PORT_MARK),
            format!("udp_dst_max {}", eip_dp_bench_ebpf::PORT_MARK),
        ] {
            tell(&device, &words)?;
        }
    }
    Ok(())
}

/// Sends until [`stop`] is called, from another thread.
pub fn start() -> Result<()> {
    tell("pgctrl", "start")
}

/// Ends it.
pub fn stop() -> Result<()> {
    tell("pgctrl", "stop")
}

/// How many packets it has sent since it was started.
pub fn sent(cores: &[usize]) -> Result<u64> {
    let of_core = |core: &usize| {
        let text = fs::read_to_string(format!("{FOLDER}/{}", device(*core)))?;
        let mut words = text
            .split_whitespace()
            .skip_while(|word| *word != "pkts-sofar:");
        let count = words
            .nth(1)
            .context("pktgen says nothing of what it sent")?;
        Ok(count.parse::<u64>()?)
    };
    cores.iter().map(of_core).sum()
}

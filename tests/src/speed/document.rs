//! `docs/performance.md`: the text around a report's tables and plots.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use super::{plots, report::Report};

const ABOUT: &str = r"# How fast it is

Written by `cargo xtask bench` from the figures of one run; only ratios within a run mean anything on another machine.

    cargo xtask bench --quick             # under three minutes: IPv4, 1,024 and 65,536 EIPs
    cargo xtask bench                     # all of it; then docs/performance.md from it:
    cargo xtask bench --report target/bench/full.json --document docs/performance.md
    cargo xtask bench --list              # the rows; --only PATTERN measures those whose name contains it
    cargo xtask bench --programs          # size of each BPF program beside the recorded one, time of each path
    cargo xtask bench --pktgen            # the kernel's pktgen in place of the bench's own generator

## Method

- Each candidate has a gateway in network namespaces of its own, between veth pairs with a queue for each CPU. All stand at the same
  time; rounds go over the rows in turn, and the bare redirect is measured anew before every three rows. A row's share is that of
  the bare redirect just before it.
- The generator is `BPF_PROG_TEST_RUN` with live frames: an XDP program writes the headers of each recycled frame (addresses drawn at
  random, uniformly or by Zipf's law, ports, valid checksums) and redirects it into the veth. An XDP program at the far end counts frames
  whose addresses (and MAC) are what they have to be; one wrong frame ends the bench. Before the rounds every row is run with
  checksums verified.
- Generator, gateway and sink run on one core, in a closed loop: nothing is lost, and a row's nanoseconds a frame contain one
  generator, two links and one sink, as the bare redirect's do. Two cores are two such loops over the same interfaces.
- One long call is made for each row and round, and a window inside it counted. Rates are frames a second of the core's time that the loop
  had (its thread's, and the kernel's softirq thread's): on a machine where others run too, it is less than what passed.
- NAT: 16 private addresses, and so 16 EIPs, an ENI, all ENIs behind one port. Cut-through: an ENI for each EIP, all behind one port,
  told apart by MAC. Rows with 64 VPCs have 64 ports and the same private addresses in each VPC; 64 frames in a row are of
  one VPC.
- Each EIP has 16 flows, told apart by a port that is drawn at random (with pktgen one). Who tracks connections is sent each flow once
  before the rounds, and has to know all of them before and after each: what is measured is packets of known connections, and none is
  entered, verifier_opaque or refused meanwhile. For that the kernel's limit of connections is raised for the time of the run, to more than
  there are, and its chains, which all candidates share, to four a flow.
- eip-dp is the release build with every feature on, its daemon stopped while packets are counted. Rows of `eip-dp` have
  `delivery = xdp`, those of `eip-dp-auto` the default.
- iperf3 runs between a guest as it comes and a host on the Internet, for a second at a time: all gateways in turn, in many rounds, each
  round in the other order, and a gateway's times are those of its transfer over the rival's in the same round. Client and server have a
  core each. The gateway's end of the uplink takes segments and checksums off it, as a NIC does; the Internet's end sends complete frames.
- The kernel's forwarding, nftables and iptables do one direction only, with one map or one rule for all addresses.
- `cold-load-N`: from the start of the daemon, with nothing in the kernel and a table of N associations, until it says that it is
  ready; `cold-load-maps-N` is what its log says that writing the maps took of that. `memory-N` is what the kernel says that all maps hold.
- `apply-M-of-N` is the command `apply --wait` with a file of M new associations, from its start to its end. `delta-M-of-N` is the
  daemon's part of it: from the last look, twice a millisecond, that saw the table as it was before, until the kernel has what was committed.
";

/// Writes the document, with its plots in a folder of its name beside it.
pub fn write(report: &Report, path: &Path) -> Result<()> {
    let folder = path.with_extension("");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let plots = plots::draw(report, &folder)?;
    let name = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let machine = &report.machine;
    let mut text = ABOUT.to_owned();
    let _ = write!(
        text,
        "\n## The last {} run\n\n{}, {} CPUs, {} GiB; Linux {}; {}; revision {}; {} UTC; generator {}; took {:.0} minutes.\n\
         Others: {}.\n",
        if report.quick { "quick" } else { "full" },
        machine.processor,
        machine.cpus,
        machine.memory >> 30,
        machine.kernel,
        machine.eip_dp,
        machine.revision,
        machine.time,
        report.generator,
        report.took / 60.0,
        machine.programs.join("; "),
    );
    for plot in plots {
        let _ = write!(text, "\n![{}]({name}/{})\n", plot.title, plot.file);
    }
    let _ = write!(text, "\n```text\n{}```\n", report.text());
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

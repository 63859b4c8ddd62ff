//! `cargo xtask vm`: the product on other kernels, in virtual machines.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use eip_dp_vm::{Cache, Kernel, Machine, Payload};
use serde_json::Value;

use crate::{
    build,
    run::{capture, cargo, root},
    setup,
};

/// The kernels that are tried: the oldest that is supported, and the first long-lived one with tcx.
const SERIES: [&str; 2] = ["6.1", "6.12"];

/// How long one machine may take, on a slow and busy host.
const LIMIT: Duration = Duration::from_hours(1);

/// What the gateway needs, and what the checks play with.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_net",
    "veth",
    "tun",
    "8021q",
    "sch_ingress",
    "cls_bpf",
    "cls_matchall",
    "act_gact",
    "pktgen",
    "sctp",
    "xfrm_user",
    "esp4",
    "authenc",
    "echainiv",
    "ctr",
    "sha512_generic",
    "drbg",
    "nf_tables",
    "wireguard",
    "ip_gre",
    "ip6_gre",
];

/// Programs of this machine that the checks run.
const PROGRAMS: &[&str] = &["ip", "tc", "ethtool", "ping", "iperf3", "wg"];

/// What busybox's DHCP client runs in a guest when it has a lease.
const LEASE_SCRIPT: &str = r#"#!/bin/sh
case "$1" in
deconfig)
    ip link set dev "$interface" up ;;
bound)
    ip address add "$ip/$mask" dev "$interface"
    for router in $router; do
        ip route add default via "$router" dev "$interface" onlink
    done ;;
esac
"#;

/// The driver in the machine.
const GUEST: &str = "eip-dp-vm-guest";

#[derive(clap::Args)]
pub struct Arguments {
    /// Only this kernel series
    #[arg(long, value_parser = SERIES)]
    kernel: Option<String>,
    /// Keep what each kernel said, in .tools/vm/
    #[arg(long)]
    keep_log: bool,
    /// Only this group of checks (programs, tables, life, veth, virtio, vlan, qinq, wireguard, gre,
    /// ip6gre, pktgen); again for more
    #[arg(long)]
    only: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let begun = Instant::now();
    setup::run()?;
    build::run(&build::Arguments { release: false })?;
    let payload = payload(&arguments.only)?;
    let cache = Cache::new(&root().join(".tools/vm"));
    let mut all_well = true;
    let mut summary = Vec::new();
    for series in SERIES {
        if arguments
            .kernel
            .as_deref()
            .is_some_and(|only| only != series)
        {
            continue;
        }
        let kernel = cache.kernel(series)?;
        println!("\nLinux {}", kernel.release());
        let line = one(&cache, &kernel, &payload, arguments.keep_log, series);
        all_well &= line.is_ok();
        let line = line.unwrap_or_else(|error| format!("{series}: FAILED: {error:#}"));
        println!("{line}");
        summary.push(line.lines().next().unwrap_or_default().to_owned());
    }
    println!(
        "\nvm: {}. {}; {:.0} s",
        if all_well { "ok" } else { "FAILED" },
        summary.join("; "),
        begun.elapsed().as_secs_f64()
    );
    Ok(if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs all checks on one kernel; returns its summary.
fn one(
    cache: &Cache,
    kernel: &Kernel,
    payload: &Payload,
    keep_log: bool,
    series: &str,
) -> Result<String> {
    let begun = Instant::now();
    let mut machine = Machine::new(LIMIT).with_wire();
    if keep_log {
        machine = machine.with_log(&cache.folder().join(format!("{series}.log")));
    }
    let mut last = String::new();
    let status = machine.run(cache, kernel, payload, &mut |line| {
        println!("{line}");
        line.clone_into(&mut last);
    })?;
    let took = begun.elapsed().as_secs_f64();
    anyhow::ensure!(status == 0, "{last}, exit status {status}, {took:.0} s");
    Ok(format!("{series}: {last}, {took:.0} s"))
}

fn payload(only: &[String]) -> Result<Payload> {
    let folder = root().join("target/debug");
    let tests = test_program("prog")?;
    let guest = format!("/usr/bin/{GUEST}");
    let command: Vec<&str> = [&guest]
        .into_iter()
        .chain(only)
        .map(String::as_str)
        .collect();
    let mut payload = Payload::new(&command);
    for program in [GUEST, "eip-dp", "eip-dp-bench"] {
        payload.program(&folder.join(program), &format!("/usr/bin/{program}"))?;
    }
    payload.program(&tests, "/usr/bin/packet-tables")?;
    for program in PROGRAMS {
        payload.installed(program)?;
    }
    // The test program looks for its tables where it was built.
    for entry in std::fs::read_dir(root().join("tests/cases"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == "json") {
            payload.file(&path, &path.to_string_lossy());
        }
    }
    payload.text("/usr/share/lease", LEASE_SCRIPT);
    payload.modules(MODULES);
    Ok(payload)
}

/// Builds a test program of the package `eip-dp-tests` without running it.
fn test_program(name: &str) -> Result<PathBuf> {
    let messages = capture(cargo().args([
        "test",
        "-p",
        "eip-dp-tests",
        "--test",
        name,
        "--no-run",
        "--message-format",
        "json",
    ]))?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| {
            message["executable"]
                .as_str()
                .map(|path| Path::new(path).to_owned())
        })
        .with_context(|| format!("cargo built no test program `{name}`"))
}

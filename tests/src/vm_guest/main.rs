//! What `cargo xtask vm` runs in each virtual machine: the product on this kernel, one line a
//! check.

mod bench;
mod esp;
mod life;
mod programs;
mod report;
mod sctp;
mod site;
mod traffic;
mod tunnel;

use std::{env, process::ExitCode};

use anyhow::{Context, Result};
use eip_dp_user::requirements::has_tcx;
use report::Report;
use site::{Site, Wire};

/// A set of checks.
type Group = fn(&mut Report) -> Result<()>;

const GROUPS: &[(&str, Group)] = &[
    ("programs", programs::load),
    ("tables", |report| {
        programs::packet_tables(report);
        Ok(())
    }),
    ("life", life::all),
    ("veth", |report| traffic_over(report, Wire::Veth)),
    ("virtio", |report| traffic_over(report, Wire::Virtio)),
    ("vlan", |report| traffic_over(report, Wire::Vlan)),
    ("qinq", |report| traffic_over(report, Wire::Stack)),
    ("wireguard", |report| tunnel::over(report, Wire::Wireguard)),
    ("gre", |report| tunnel::over(report, Wire::Gre)),
    ("ip6gre", |report| tunnel::over(report, Wire::Gre6)),
    ("pktgen", bench::pktgen),
];

/// What the DHCP client in a guest runs; `cargo xtask vm` puts it there.
const LEASE_SCRIPT: &str = "/usr/share/lease";

fn traffic_over(report: &mut Report, wire: Wire) -> Result<()> {
    let site = Site::new(wire, |_| Ok(()))?;
    let status = site.gateway.status()?;
    let mode = status["uplinks"][0]["attached"]["mode"].as_str();
    let tc = if has_tcx() { "tcx" } else { "clsact" };
    let expected = if wire.has_xdp() {
        format!("xdp+{tc}")
    } else {
        tc.to_owned()
    };
    let seen = mode.map(str::to_owned).context("no mode");
    report.expect(&format!("{wire}: the uplink's programs"), &expected, seen);
    traffic::all(report, &site);
    Ok(())
}

/// Arguments: the groups to run; none: all.
fn main() -> ExitCode {
    let only: Vec<String> = env::args().skip(1).collect();
    let mut report = Report::default();
    for (name, group) in GROUPS {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            report.group(name, group);
        }
    }
    if report.conclude() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

//! How programs come onto interfaces, stay there, and go, on a kernel with tcx and on one without.

use std::env;

use anyhow::{Context, Result};
use aya::programs::{SchedClassifier, TcAttachType};
use eip_dp_common::abi::programs;
use eip_dp_tests::lab::{
    netns::Netns,
    process::{outcome, run},
    traffic::{Pinging, ping},
};
use eip_dp_user::requirements::has_tcx;

use crate::{
    report::Report,
    site::{Site, Wire},
};

/// The filter of an operator, who has a clsact of his own on the uplink.
const FOREIGN: &str = "pref 77";

/// From the first start to `unload`.
pub fn all(report: &mut Report) -> Result<()> {
    let mut site = Site::new(Wire::Veth, |gateway| {
        tc(gateway, "qdisc add dev up0 clsact")?;
        tc(
            gateway,
            "filter add dev up0 ingress pref 77 matchall action pass",
        )?;
        Ok(())
    })?;
    let gateway = site.backbone.gateway.clone();
    let port = site.guests[0].port;
    let address = site.guests[0].address;
    check(report, &site);
    let status = site.gateway.status()?;
    let mode = |list: &str| {
        status[list][0]["attached"]["mode"]
            .as_str()
            .map(str::to_owned)
            .context("no mode")
    };
    let hook = if has_tcx() { "tcx" } else { "clsact" };
    report.expect(
        "status: the uplink's programs",
        &format!("xdp+{hook}"),
        mode("uplinks"),
    );
    report.expect("status: a port's program", &hook.to_owned(), mode("ports"));

    let log = env::temp_dir().join("ping.log");
    let mut pinging = Pinging::start(site.internet(), address, &log)?;
    site.gateway.kill()?;
    pinging.wait_for_replies(5)?;
    site.start()?;
    pinging.wait_for_replies(5)?;
    site.gateway.stop()?;
    site.start()?;
    pinging.wait_for_replies(5)?;
    let seen = pinging.stop()?;
    report.judge(
        "daemon killed, started, stopped, started: ping",
        "nothing lost",
        Ok(seen),
        |seen| seen.lost_nothing(),
    );
    for interface in ["up0", port] {
        let what = format!("programs of ours on {interface} after that");
        report.expect(&what, &1, ours(&gateway, interface));
    }
    // An operator's hand slips; the daemon that starts next puts it right.
    if !has_tcx() {
        tc(&gateway, &format!("qdisc del dev {port} clsact"))?;
        report.expect(
            "programs of ours on a port whose clsact was taken away",
            &0,
            ours(&gateway, port),
        );
        site.gateway.stop()?;
        site.start()?;
        report.expect(
            "and once the daemon has started again",
            &1,
            ours(&gateway, port),
        );
    }

    site.gateway.stop()?;
    let pinged = ping(site.internet(), None, address, 5).map(|pinged| pinged.to_string());
    report.expect(
        "ping while no daemon runs",
        &"5 of 5 replies".to_owned(),
        pinged,
    );
    site.gateway.ok("unload")?;
    for interface in ["up0", port] {
        let what = format!("programs of ours on {interface} after unload");
        report.expect(&what, &0, ours(&gateway, interface));
    }
    let foreign = tc(&gateway, "filter show dev up0 ingress").map(|text| text.contains(FOREIGN));
    report.expect(
        "the operator's filter is there after unload",
        &true,
        foreign,
    );
    let clsact =
        tc(&gateway, &format!("qdisc show dev {port}")).map(|text| text.contains("clsact"));
    report.expect("a clsact on the port after unload", &false, clsact);
    Ok(())
}

/// `eip-dp check` in the gateway's network.
fn check(report: &mut Report, site: &Site) {
    let seen = || -> Result<String> {
        let configuration = site.gateway.configuration();
        let output = outcome(&mut site.gateway.command(&[
            "check",
            "--config",
            &configuration.to_string_lossy(),
        ]))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for line in said.lines() {
            println!("        {line}");
        }
        let failed = said.lines().filter(|line| line.starts_with("fail")).count();
        Ok(format!("{}, {failed} failures", output.status))
    };
    report.expect("check", &"exit status: 0, 0 failures".to_owned(), seen());
}

/// How many tc programs of ours run on the ingress side of an interface.
fn ours(gateway: &Netns, interface: &str) -> Result<usize> {
    let names = [programs::UPLINK_TC, programs::PORT_TC];
    if has_tcx() {
        return gateway.enter(|| {
            let (_, found) = SchedClassifier::query_tcx(interface, TcAttachType::Ingress)?;
            let is_ours = |name: Option<&str>| name.is_some_and(|name| names.contains(&name));
            Ok(found
                .iter()
                .filter(|program| is_ours(program.name_as_str()))
                .count())
        });
    }
    let text = tc(gateway, &format!("filter show dev {interface} ingress"))?;
    Ok(text
        .lines()
        .filter(|line| names.iter().any(|name| line.contains(name)))
        .count())
}

fn tc(gateway: &Netns, arguments: &str) -> Result<String> {
    run(gateway.command("tc").args(arguments.split_whitespace()))
}

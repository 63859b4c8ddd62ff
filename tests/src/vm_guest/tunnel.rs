//! Uplinks without Ethernet: this kernel's own WireGuard and GRE between the Internet host and the
//! gateway.

use anyhow::{Context, Result};
use eip_dp_tests::lab::{
    netns::Netns,
    process::outcome,
    topology::{GATEWAY, GATEWAY6, INTERNET, INTERNET6},
    traffic::{Amount, IperfServer, iperf, ping, udp},
    tunnel::{FAR, FAR6},
};
use eip_dp_user::requirements::has_tcx;

use crate::{
    report::Report,
    site::{Guest, Site, Wire},
};

/// All of it, over one of them.
pub fn over(report: &mut Report, wire: Wire) -> Result<()> {
    let mut site = Site::new(wire, |_| Ok(()))?;
    let status = site.gateway.status()?;
    let uplink = &status["uplinks"][0];
    let mode = uplink["attached"]["mode"].as_str().context("no mode");
    let tc = if has_tcx() { "tcx" } else { "clsact" };
    report.expect(
        &format!("{wire}: the uplink's programs"),
        &tc.to_owned(),
        mode.map(str::to_owned),
    );
    let seen = uplink["layer3"]["kind"].as_str().context("no kind");
    report.expect(
        &format!("{wire}: what `status` says it is"),
        &wire.to_string(),
        seen.map(str::to_owned),
    );
    host(report, &site);
    for guest in &site.guests {
        let [address6, inside6] = guest.ipv6;
        traffic(report, &site, guest, [guest.address, guest.inside, FAR]);
        traffic(report, &site, guest, [address6, inside6, FAR6]);
    }
    site.gateway.kill()?;
    let address = site.guests[0].address;
    pinged(
        report,
        &format!("{wire}: ping without a daemon"),
        site.internet(),
        None,
        address,
    );
    site.start()?;
    pinged(
        report,
        &format!("{wire}: ping with the next one"),
        site.internet(),
        None,
        address,
    );
    let said = site
        .gateway
        .ok("verify")
        .map(|_| "no difference".to_owned());
    report.expect(
        &format!("{wire}: verify"),
        &"no difference".to_owned(),
        said,
    );
    Ok(())
}

fn pinged(report: &mut Report, what: &str, from: &Netns, source: Option<&str>, target: &str) {
    let seen = ping(from, source, target, 5).map(|pinged| pinged.to_string());
    report.expect(what, &"5 of 5 replies".to_owned(), seen);
}

/// The host's own packets.
fn host(report: &mut Report, site: &Site) {
    let wire = site.wire;
    for (here, there) in [(GATEWAY, INTERNET), (GATEWAY6, INTERNET6)] {
        let what = format!("{wire}: ping of the host itself, {here}");
        pinged(report, &what, site.internet(), None, here);
        let what = format!("{wire}: ping by the host itself, {there}");
        pinged(report, &what, &site.backbone.gateway, None, there);
    }
}

/// To and from an EIP, of which the guest has `inside`.
fn traffic(report: &mut Report, site: &Site, guest: &Guest, addresses: [&str; 3]) {
    const MEGABYTES: u32 = 4;
    let [address, inside, there] = addresses;
    let (wire, internet) = (site.wire, site.internet());
    let about = |what: &str| format!("{wire}, {}, {address}: {what}", guest.mode);
    pinged(
        report,
        &about("ping from the Internet"),
        internet,
        None,
        address,
    );
    let namespace = &guest.namespace;
    let what = about("ping to the Internet");
    pinged(report, &what, namespace, Some(inside), there);
    let exchanged = udp(namespace, inside, internet, there, there, 7000);
    report.expect(
        &about("UDP client that a server sees"),
        &address.to_owned(),
        exchanged.map(|exchanged| exchanged.client.ip().to_string()),
    );
    let least = u64::from(MEGABYTES) * 1024 * 1024 * 8 / 10;
    let log = std::env::temp_dir().join("iperf.log");
    for (reverse, way) in [(false, "to the Internet"), (true, "from the Internet")] {
        let seen = || -> Result<u64> {
            let _server = IperfServer::start(internet, &log)?;
            let amount = Amount::Megabytes(MEGABYTES);
            Ok(iperf(namespace, Some(inside), there, amount, reverse)?.received)
        };
        let what = about(&format!("TCP {way}, bytes"));
        report.judge(&what, &format!("at least {least}"), seen(), |bytes| {
            *bytes >= least
        });
    }
    // Each kind takes less than Ethernet does.
    let large = || -> Result<String> {
        let mut command = namespace.command("ping");
        command.args(["-n", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do"]);
        let output = outcome(command.args(["-s", "1450", "-I", inside, there]))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    report.judge(
        &about("what a guest is told of a packet that is too big"),
        "an MTU",
        large().map(|said| said.lines().skip(1).take(1).collect::<String>()),
        |line| line.contains("mtu"),
    );
    let from = |options: &[&str]| -> Result<String> {
        let mut command = internet.command("ping");
        command.args(["-I", there]);
        command.args(["-n", "-c", "2", "-i", "0.2", "-W", "1"]);
        let output = outcome(command.args(options).arg(address))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    report.judge(
        &about("what the Internet is told of a packet whose time is over"),
        "time exceeded",
        from(&["-t", "1"]).map(|said| said.lines().skip(1).take(1).collect::<String>()),
        |line| line.contains("exceeded"),
    );
}

//! Traffic of this kernel's own stacks through the daemon's data plane.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use eip_dp_tests::lab::{
    netns::Netns,
    topology::{GATEWAY_MAC, INTERNET},
    traffic::{Amount, IperfServer, iperf, ping, udp},
    wait::until,
};

use crate::{
    esp,
    report::Report,
    sctp,
    site::{Guest, Site},
};

/// How many packets pktgen sends.
const PACKETS: u64 = 20_000;

/// All of it, over one uplink.
pub fn all(report: &mut Report, site: &Site) {
    let (wire, internet) = (site.wire, site.internet());
    for guest in &site.guests {
        let Guest {
            namespace,
            mode,
            address,
            inside,
            ..
        } = guest;
        let about = |what: &str| format!("{wire}, {mode}: {what}");
        let pinged = ping(internet, None, address, 10).map(|pinged| pinged.to_string());
        report.expect(
            &about("ping from the Internet"),
            &"10 of 10 replies".to_owned(),
            pinged,
        );
        let pinged = ping(namespace, Some(inside), INTERNET, 10).map(|pinged| pinged.to_string());
        report.expect(
            &about("ping to the Internet"),
            &"10 of 10 replies".to_owned(),
            pinged,
        );
        let exchanged = udp(namespace, inside, internet, INTERNET, INTERNET, 7000);
        let seen = exchanged.map(|exchanged| exchanged.client.ip().to_string());
        report.expect(
            &about("UDP client that a server sees"),
            &(*address).to_owned(),
            seen,
        );
        tcp(report, site, guest);
        sctp::both_ways(report, site, guest);
        esp::transport(report, site, guest);
        let seen = flood(site, guest);
        report.expect(&about("pktgen, delivered to the guest"), &PACKETS, seen);
    }
    let [nat, cut] = &site.guests;
    let pinged =
        ping(&nat.namespace, Some(nat.inside), cut.address, 10).map(|pinged| pinged.to_string());
    report.expect(
        &format!("{wire}: ping between the EIPs"),
        &"10 of 10 replies".to_owned(),
        pinged,
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
}

/// Large segments and checksums that the stacks leave to the interfaces.
fn tcp(report: &mut Report, site: &Site, guest: &Guest) {
    const MEGABYTES: u32 = 8;
    let least = u64::from(MEGABYTES) * 1024 * 1024 * 9 / 10;
    let folder = std::env::temp_dir();
    for (reverse, way) in [(false, "to the Internet"), (true, "from the Internet")] {
        let seen = || -> Result<u64> {
            let _server = IperfServer::start(site.internet(), &folder.join("iperf.log"))?;
            let amount = Amount::Megabytes(MEGABYTES);
            let done = iperf(
                &guest.namespace,
                Some(guest.inside),
                INTERNET,
                amount,
                reverse,
            )?;
            Ok(done.received)
        };
        let what = format!("{}, {}: TCP {way}, bytes", site.wire, guest.mode);
        report.judge(&what, &format!("at least {least}"), seen(), |bytes| {
            *bytes >= least
        });
    }
}

/// Sends [`PACKETS`] to the EIP with pktgen; how many the guest's stack got. What the gateway
/// counted has to be the same.
fn flood(site: &Site, guest: &Guest) -> Result<u64> {
    let counted = || -> Result<u64> {
        let stats = site.gateway.json(&format!("stats {}", guest.eip))?;
        stats["in_packets"]
            .as_u64()
            .context("`stats` has no in_packets")
    };
    let (counted_before, got_before) = (counted()?, unclaimed_datagrams(&guest.namespace)?);
    let sent = pktgen(site.internet(), site.wire.interface(), guest.address)?;
    let got = || Ok::<_, anyhow::Error>(unclaimed_datagrams(&guest.namespace)? - got_before);
    // The last ones may still be on their way; what is lost stays lost.
    let _ = until(Duration::from_secs(5), "all packets", || {
        Ok((got()? >= PACKETS).then_some(()))
    });
    let passed = counted()? - counted_before;
    anyhow::ensure!(
        sent == PACKETS && passed == PACKETS,
        "pktgen sent {sent}, the gateway counted {passed} in, the guest got {}",
        got()?
    );
    got()
}

/// Has the kernel's packet generator send [`PACKETS`] from `interface` to `address`; how many it
/// says that it sent.
fn pktgen(internet: &Netns, interface: &str, address: &str) -> Result<u64> {
    const FOLDER: &str = "/proc/thread-self/net/pktgen";
    const THREAD: &str = "kpktgend_0";
    let read = |file: &str| Ok::<_, anyhow::Error>(fs::read_to_string(format!("{FOLDER}/{file}"))?);
    let tell = |file: &str, words: &str| {
        fs::write(format!("{FOLDER}/{file}"), format!("{words}\n"))
            .with_context(|| format!("pktgen refuses `{words}`"))
    };
    internet.enter(|| {
        tell(THREAD, &format!("add_device {interface}"))?;
        for words in [
            format!("count {PACKETS}"),
            "ratep 5000".to_owned(),
            "pkt_size 200".to_owned(),
            format!("dst {address}"),
            format!("dst_mac {GATEWAY_MAC}"),
            format!("src_min {INTERNET}"),
            format!("src_max {INTERNET}"),
            "udp_dst_min 9".to_owned(),
            "udp_dst_max 9".to_owned(),
        ] {
            tell(interface, &words)?;
        }
        // Returns once all are sent.
        tell("pgctrl", "start")?;
        let said = read(interface)?;
        let sent = said
            .split_whitespace()
            .skip_while(|word| *word != "pkts-sofar:")
            .nth(1)
            .context("pktgen says nothing of what it sent")?
            .parse()?;
        // The thread does it in its own time; one that is told more meanwhile does that before.
        tell(THREAD, "rem_device_all")?;
        until(Duration::from_secs(10), "pktgen to let go", || {
            Ok((!read(THREAD)?.contains(interface)).then_some(()))
        })?;
        Ok(sent)
    })
}

/// How many UDP datagrams came for which no socket was open: pktgen's, in a guest where nothing
/// else listens.
fn unclaimed_datagrams(guest: &Netns) -> Result<u64> {
    let text = guest.enter(|| Ok(fs::read_to_string("/proc/thread-self/net/snmp")?))?;
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("Udp: "))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let [names, values] = &rows[..] else {
        anyhow::bail!("no UDP counters in {text}");
    };
    let at = names.iter().position(|name| *name == "NoPorts");
    let value = at
        .and_then(|at| values.get(at))
        .context("no counter NoPorts")?;
    Ok(value.parse()?)
}

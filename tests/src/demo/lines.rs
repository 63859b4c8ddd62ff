//! What the demo shows, in order.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    capture::{Capture, Frame},
    dhcp,
    ftp::{Data, FtpServer},
    netns::Netns,
    scene::{EIPS, Scene, SceneEip},
    topology::{INTERNET, UPLINK},
    traffic::{Amount, IperfServer, Pinging, Transferred, addresses, iperf, ping, udp},
    wait::until,
};

use eip_dp_tests::report::Report;

/// What a second of TCP carries at the very least.
const LEAST: u64 = 1 << 20;

/// Every line. One that fails does not keep the next from being shown.
pub fn all(scene: &mut Scene, report: &mut Report) {
    report.heading("Addresses");
    guests_addresses(scene, report, "b", "a", "B", "A");

    report.heading("To and from every EIP");
    for eip in &EIPS {
        let mode = if eip.cut_through {
            "cut-through"
        } else {
            "NAT"
        };
        ping_both_ways(scene, report, eip, mode);
    }
    if let Err(error) = tcp(scene, report) {
        report.line("TCP", "iperf3 runs", Err(error));
    }
    for eip in &EIPS {
        udp_both_ways(scene, report, eip);
    }

    report.heading("Private networking");
    private(scene, report);

    report.heading("FTP: the server outside, the client in the guest");
    if let Err(error) = ftp(scene, report) {
        report.line("FTP", "a server runs", Err(error));
    }

    report.heading("A forged source");
    report.line(
        "a packet from A as 192.0.2.66",
        "dropped as spoofed-source, none outside",
        spoofed(scene),
    );

    report.heading("The daemon is killed (SIGKILL) and started again while a ping runs");
    for (eip, name) in [(&EIPS[0], "NAT"), (&EIPS[3], "cut-through")] {
        report.line(
            &format!("ping {} ({name})", eip.address),
            "every request answered",
            killed(scene, eip),
        );
    }

    report.heading("B's secondary ENI moves to A while its EIP is pinged");
    report.line(
        "ping 203.0.113.20",
        "answered by B before and by A after",
        moved(scene),
    );
    guests_addresses(scene, report, "a", "b", "A", "B");
    report.line(
        "counters",
        "packets in and out for every EIP",
        counted(scene),
    );
}

fn guests_addresses(
    scene: &Scene,
    report: &mut Report,
    with: &str,
    without: &str,
    with_name: &str,
    without_name: &str,
) {
    let eip = EIPS[3].address;
    let has = |instance: &str, expected: bool| -> Result<(bool, String)> {
        let list = addresses(scene.guest(instance))?;
        let seen = list
            .iter()
            .any(|entry| entry.split('/').next() == Some(eip));
        Ok((seen == expected, list.join(" ")))
    };
    report.line(
        &format!("`ip addr` of {with_name}"),
        &format!("has {eip}"),
        has(with, true),
    );
    report.line(
        &format!("`ip addr` of {without_name}"),
        &format!("has no {eip}"),
        has(without, false),
    );
}

fn ping_both_ways(scene: &Scene, report: &mut Report, eip: &SceneEip, mode: &str) {
    let guest = scene.guest_of(eip);
    let internet = &scene.backbone.internet;
    report.line(
        &format!("ping to {} ({mode})", eip.address),
        "3 of 3 replies",
        ping(internet, None, eip.address, 3)
            .map(|pinged| (pinged.lost_nothing(), pinged.to_string())),
    );
    let from = || -> Result<(bool, String)> {
        let outside = Capture::start(internet, UPLINK)?;
        let pinged = ping(guest, Some(eip.inside()), INTERNET, 3)?;
        let request = outside.wait_for("a ping from a guest", is_echo_request)?;
        let source = source_of(&request).context("a request without a source")?;
        Ok((
            pinged.lost_nothing() && source == eip.address,
            format!("{pinged}, outside as {source}"),
        ))
    };
    report.line(
        &format!("ping from {} of the guest", eip.inside()),
        &format!("3 of 3 replies, outside as {}", eip.address),
        from(),
    );
}

fn tcp(scene: &Scene, report: &mut Report) -> Result<()> {
    let internet = &scene.backbone.internet;
    let log = |name: &str| scene.lab.folder().join(format!("iperf-{name}.log"));
    let _outside = IperfServer::start(internet, &log("internet"))?;
    let _on_a = IperfServer::start(&scene.a, &log("a"))?;
    let _on_b = IperfServer::start(&scene.b, &log("b"))?;
    let expected = "a second of data there, and one back";
    for eip in &EIPS {
        let guest = scene.guest_of(eip);
        let to = transfers(internet, None, eip.address);
        report.line(&format!("TCP to {}", eip.address), expected, to);
        let from = transfers(guest, Some(eip.inside()), INTERNET);
        report.line(
            &format!("TCP from {} of the guest", eip.inside()),
            expected,
            from,
        );
    }
    Ok(())
}

fn transfers(client: &Netns, source: Option<&str>, target: &str) -> Result<(bool, String)> {
    let second = Amount::Seconds(1);
    let there = iperf(client, source, target, second, false)?;
    let back = iperf(client, source, target, second, true)?;
    let rate = |transfer: &Transferred| format!("{:.1} Gbit/s", transfer.bits_per_second / 1e9);
    Ok((
        there.received >= LEAST && back.received >= LEAST,
        format!("{} there, {} back", rate(&there), rate(&back)),
    ))
}

fn udp_both_ways(scene: &Scene, report: &mut Report, eip: &SceneEip) {
    let guest = scene.guest_of(eip);
    let internet = &scene.backbone.internet;
    let to = || -> Result<(bool, String)> {
        let seen = udp(internet, INTERNET, guest, eip.inside(), eip.address, 7001)?;
        let (client, server) = (seen.client.ip().to_string(), seen.server.ip().to_string());
        Ok((
            client == INTERNET && server == eip.address,
            format!("answered by {server}"),
        ))
    };
    report.line(
        &format!("UDP to {}", eip.address),
        &format!("answered by {}", eip.address),
        to(),
    );
    let from = || -> Result<(bool, String)> {
        let seen = udp(guest, eip.inside(), internet, INTERNET, INTERNET, 7002)?;
        let client = seen.client.ip().to_string();
        Ok((client == eip.address, format!("the server sees {client}")))
    };
    report.line(
        &format!("UDP from {} of the guest", eip.inside()),
        &format!("the server sees {}", eip.address),
        from(),
    );
}

fn private(scene: &Scene, report: &mut Report) {
    for (what, source, target) in [
        ("A's primary to B's primary", "10.0.0.10", "10.0.0.20"),
        ("A's secondary to B's primary", "10.0.0.12", "10.0.0.20"),
    ] {
        report.line(
            &format!("{what} ({source} to {target})"),
            "3 of 3 replies",
            ping(&scene.a, Some(source), target, 3)
                .map(|pinged| (pinged.lost_nothing(), pinged.to_string())),
        );
    }
    for (what, guest, source, target) in [
        (
            "A to the cut-through ENI",
            &scene.a,
            "10.0.0.10",
            "10.0.0.21",
        ),
        (
            "the cut-through ENI to A",
            &scene.b,
            "203.0.113.20",
            "10.0.0.10",
        ),
    ] {
        let off = || -> Result<(bool, String)> {
            let before = scene.gateway.dropped("private-network-off")?;
            let pinged = ping(guest, Some(source), target, 2)?;
            let dropped = scene.gateway.dropped("private-network-off")? - before;
            Ok((
                pinged.received == 0 && dropped >= 2,
                format!("{pinged}, {dropped} dropped as private-network-off"),
            ))
        };
        report.line(
            &format!("{what} ({source} to {target})"),
            "0 of 2 replies, dropped as private-network-off",
            off(),
        );
    }
}

fn ftp(scene: &Scene, report: &mut Report) -> Result<()> {
    let server = FtpServer::start(&scene.backbone.internet, INTERNET, scene.lab.folder())?;
    let say = |outcome: &Result<(), String>| match outcome {
        Ok(()) => "the file arrives".to_owned(),
        Err(complaint) => complaint.clone(),
    };
    let cut = server.fetch(&scene.b, "203.0.113.20", INTERNET, Data::Port);
    report.line(
        "active mode (PORT) through cut-through",
        "the file arrives",
        Ok((cut.is_ok(), say(&cut))),
    );
    let nat = server.fetch(&scene.a, "10.0.0.10", INTERNET, Data::Port);
    let words = server.refusal();
    report.line(
        "active mode (PORT) through NAT",
        "refused: the guest can name only 10.0.0.10",
        Ok((
            nat.is_err()
                && words
                    .as_deref()
                    .is_some_and(|words| words.contains("10.0.0.10")),
            words.unwrap_or_else(|| say(&nat)),
        )),
    );
    let passive = server.fetch(&scene.a, "10.0.0.10", INTERNET, Data::Pasv);
    report.line(
        "passive mode through NAT",
        "the file arrives",
        Ok((passive.is_ok(), say(&passive))),
    );
    Ok(())
}

fn spoofed(scene: &Scene) -> Result<(bool, String)> {
    let outside = Capture::start(&scene.backbone.internet, UPLINK)?;
    let before = scene.gateway.dropped("spoofed-source")?;
    let packet = format!("IP(src='192.0.2.66',dst='{INTERNET}')/ICMP()");
    scene.send_from("a1", &packet)?;
    let dropped = scene.gateway.wait_for_drop("spoofed-source", before)?;
    let escaped = outside
        .incoming(|frame| source_of(frame).as_deref() == Some("192.0.2.66"))
        .len();
    Ok((
        dropped == 1 && escaped == 0,
        format!("{dropped} dropped as spoofed-source, {escaped} outside"),
    ))
}

fn killed(scene: &mut Scene, eip: &SceneEip) -> Result<(bool, String)> {
    let log = scene.lab.folder().join("killed.log");
    let mut pinging = Pinging::start(&scene.backbone.internet, eip.address, &log)?;
    scene.gateway.kill()?;
    pinging.wait_for_replies(25)?;
    scene.gateway.start()?;
    pinging.wait_for_replies(25)?;
    let pinged = pinging.stop()?;
    Ok((
        pinged.lost_nothing(),
        format!("{pinged}, killed and started again meanwhile"),
    ))
}

fn moved(scene: &mut Scene) -> Result<(bool, String)> {
    let log = scene.lab.folder().join("moved.log");
    let eip = EIPS[3].address;
    let mut pinging = Pinging::start(&scene.backbone.internet, eip, &log)?;
    ensure!(
        addresses(&scene.b)?
            .iter()
            .any(|entry| entry.starts_with(eip)),
        "B has no {eip} to begin with"
    );
    scene.gateway.ok("eni detach b-secondary --wait")?;
    scene.backbone.unplug("b2")?;
    scene
        .backbone
        .plug("a3", &scene.a, "eth2", "02:00:00:00:0b:02")?;
    scene
        .gateway
        .ok("eni attach b-secondary --instance a --port a3 --wait")?;
    dhcp::bind(&scene.a, "eth2")?;
    let on_a = Capture::start(&scene.a, "eth2")?;
    until(
        Duration::from_secs(5),
        "a ping at A's new interface",
        || Ok(on_a.incoming(is_echo_request).into_iter().next()),
    )?;
    pinging.wait_for_replies(10)?;
    let pinged = pinging.stop()?;
    Ok((
        true,
        format!("{pinged}; the others fell between unplugging and the new lease"),
    ))
}

fn counted(scene: &Scene) -> Result<(bool, String)> {
    let stats = scene.gateway.json("stats")?;
    let rows = stats.as_array().context("`stats` printed no list")?;
    let mut words = Vec::new();
    let mut good = rows.len() == EIPS.len();
    for row in rows {
        let (packets_in, packets_out) = (&row["in_packets"], &row["out_packets"]);
        good &= packets_in.as_u64() > Some(0) && packets_out.as_u64() > Some(0);
        let name = row["eip"].as_str().unwrap_or("?");
        words.push(format!("{name} {packets_in}/{packets_out}"));
    }
    Ok((good, words.join(", ")))
}

fn is_echo_request(frame: &Frame) -> bool {
    let packet = frame.packet();
    frame.bytes.get(12..14) == Some(&[8, 0])
        && packet.get(9) == Some(&1)
        && packet.get(20) == Some(&8)
}

fn source_of(frame: &Frame) -> Option<String> {
    let [a, b, c, d] = *frame.packet().get(12..16)? else {
        return None;
    };
    (frame.bytes.get(12..14) == Some(&[8, 0])).then(|| format!("{a}.{b}.{c}.{d}"))
}

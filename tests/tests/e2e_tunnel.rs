//! An uplink without Ethernet headers (a tun, as WireGuard and GRE are): packets of EIPs come and
//! go there, the host's own are not touched, and nobody is asked who has which address.

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    gateway::Gateway,
    netns::Netns,
    process::{PATIENCE, outcome},
    scene::{EIPS, EIPS6, ENIS, Options, POOL, POOL6, Scene, SceneEip},
    topology::{GATEWAY, GATEWAY6, INTERNET, INTERNET6, UPLINK},
    traffic::{Amount, IperfServer, iperf, ping, udp},
    tunnel::{FAR, FAR6, Tunnel},
    wait::until,
};

/// WireGuard's.
const MTU: u32 = 1420;

/// Each mode in each family.
const ALL: [&SceneEip; 4] = [&EIPS[0], &EIPS[3], &EIPS6[0], &EIPS6[1]];

/// A scene whose uplink is a tunnel, and who is there.
fn with_tunnel() -> Result<(Scene, Tunnel)> {
    let mut scene = Scene::new(&Options {
        dual_stack: true,
        ..Options::default()
    })?;
    scene.gateway.stop()?;
    let tunnel = Tunnel::replace_wire(&scene.backbone, MTU, &[POOL, POOL6])?;
    scene.gateway.start()?;
    Ok((scene, tunnel))
}

/// The Internet host's addresses of the EIP's family: one behind the tunnel's other end, and that
/// end's own, the next hop.
fn internet_of(eip: &SceneEip) -> [&'static str; 2] {
    if eip.address.contains(':') {
        [FAR6, INTERNET6]
    } else {
        [FAR, INTERNET]
    }
}

/// What a ping with these options says, however it ends.
fn said(from: &Netns, source: Option<&str>, target: &str, options: &str) -> Result<String> {
    let mut command = from.command("ping");
    command.args(["-n", "-c", "2", "-i", "0.2", "-W", "1"]);
    command.args(options.split_whitespace());
    if let Some(source) = source {
        command.args(["-I", source]);
    }
    let output = outcome(command.arg(target))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn says(said: &str, words: &str) -> Result<()> {
    ensure!(said.contains(words), "no `{words}` in: {said}");
    Ok(())
}

/// Every EIP is reached, and reaches.
fn all_go_both_ways(scene: &Scene) -> Result<()> {
    let internet = &scene.backbone.internet;
    for eip in ALL {
        for there in internet_of(eip) {
            let guest = scene.guest_of(eip);
            let both = || -> Result<()> {
                let pinged = ping(internet, Some(there), eip.address, 3)?;
                ensure!(pinged.lost_nothing(), "from the Internet: {pinged}");
                let pinged = ping(guest, Some(eip.inside()), there, 3)?;
                ensure!(pinged.lost_nothing(), "to the Internet: {pinged}");
                let exchanged = udp(guest, eip.inside(), internet, there, there, 7000)?;
                let client = exchanged.client.ip().to_string();
                ensure!(client == eip.address, "a server sees {client}");
                Ok(())
            };
            both().with_context(|| format!("{} ({there})", eip.id))?;
        }
    }
    Ok(())
}

fn no_drops(gateway: &Gateway, before: u64) -> Result<()> {
    let now = gateway.all_dropped()?;
    ensure!(now == before, "{}", gateway.ok("drops")?);
    Ok(())
}

#[test]
fn an_uplink_without_ethernet_carries_packets_of_eips() -> Result<()> {
    let (mut scene, tunnel) = with_tunnel()?;
    status_tells_the_truth(&scene)?;
    let before = scene.gateway.all_dropped()?;
    all_go_both_ways(&scene).with_context(|| scene.gateway.ok("drops").unwrap_or_default())?;
    streams(&scene)?;
    no_drops(&scene.gateway, before)?;
    the_host_s_own_is_not_touched(&scene, &tunnel)?;
    what_is_ours_stays_out_of_the_host(&scene, &tunnel)?;

    // Without a daemon, and with the next one, which goes by the host's routes.
    scene.gateway.kill()?;
    all_go_both_ways(&scene)?;
    for family in ["-4", "-6"] {
        let gateway = &scene.backbone.gateway;
        gateway.ip(&format!("{family} route add default dev {UPLINK}"))?;
    }
    let by_routes = format!("[[uplink]]\ninterface = \"{UPLINK}\"\n");
    scene.gateway.configure(&by_routes)?;
    scene.gateway.start()?;
    status_tells_the_truth(&scene)?;
    all_go_both_ways(&scene)?;
    scene.gateway.ok("verify")?;
    // A family that no route leads there for any more.
    let gateway = &scene.backbone.gateway;
    gateway.ip("-6 route del default")?;
    until(PATIENCE, "IPv6 to be sent no more", || {
        let status = scene.gateway.status()?;
        Ok((status["uplinks"][0]["layer3"]["ipv6"] == false).then_some(()))
    })?;
    let before = scene.gateway.dropped("no-next-hop")?;
    ping(&scene.a, Some(EIPS6[0].inside()), FAR6, 1)?;
    scene.gateway.wait_for_drop("no-next-hop", before)?;
    ensure!(ping(&scene.backbone.internet, None, EIPS[0].address, 1)?.lost_nothing());
    a_vlan_is_refused(&mut scene)
}

/// What `status` and `check` say of it.
fn status_tells_the_truth(scene: &Scene) -> Result<()> {
    let status = scene.gateway.status()?;
    let uplink = &status["uplinks"][0];
    let expected = serde_json::json!({"kind": "tun", "ipv4": true, "ipv6": true});
    ensure!(uplink["layer3"] == expected, "{uplink}");
    ensure!(uplink["next_hop_mac"].is_null(), "{uplink}");
    let attached = &uplink["attached"];
    let mode = attached["mode"].as_str().unwrap_or_default();
    ensure!(["tcx", "clsact"].contains(&mode), "{attached}");
    ensure!(attached["delivery"] == "tcx", "{attached}");
    ensure!(status["serving"]["ok"] == true, "{status}");
    let settings = status["settings"].as_array().cloned().unwrap_or_default();
    ensure!(
        settings
            .iter()
            .all(|setting| setting["interface"] != UPLINK),
        "{settings:?}"
    );
    let text = scene.gateway.status_text()?;
    says(&text, "without Ethernet (tun), IPv4 and IPv6 are sent")?;
    let configuration = scene.gateway.configuration();
    let checked = scene
        .gateway
        .outcome(&format!("check -c {}", configuration.display()))?;
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    says(&checked, "IPv4 packets are sent to its other end")?;
    says(&checked, "IPv6 packets are sent to its other end")?;
    // Nobody is asked.
    let neighbours = scene
        .backbone
        .gateway
        .ip(&format!("neighbour show dev {UPLINK}"))?;
    ensure!(!neighbours.contains("proto 225"), "{neighbours}");
    Ok(())
}

/// Large segments and checksums that the guests' stacks leave to the interfaces.
fn streams(scene: &Scene) -> Result<()> {
    const MEGABYTES: u32 = 2;
    let internet = &scene.backbone.internet;
    let log = scene.lab.folder().join("iperf.log");
    let _server = IperfServer::start(internet, &log)?;
    for eip in ALL {
        for reverse in [false, true] {
            let amount = Amount::Megabytes(MEGABYTES);
            let (guest, [there, _]) = (scene.guest_of(eip), internet_of(eip));
            let done = iperf(guest, Some(eip.inside()), there, amount, reverse)
                .with_context(|| format!("{}, reverse {reverse}", eip.id))?;
            let least = u64::from(MEGABYTES) * 1024 * 1024 * 8 / 10;
            ensure!(done.received >= least, "{} {reverse}: {done:?}", eip.id);
        }
    }
    Ok(())
}

fn the_host_s_own_is_not_touched(scene: &Scene, tunnel: &Tunnel) -> Result<()> {
    let (internet, gateway) = (&scene.backbone.internet, &scene.backbone.gateway);
    for (here, there) in [(GATEWAY, INTERNET), (GATEWAY6, INTERNET6)] {
        ensure!(ping(internet, None, here, 2)?.lost_nothing(), "{here}");
        ensure!(ping(gateway, None, there, 2)?.lost_nothing(), "{there}");
        let exchanged = udp(gateway, here, internet, there, there, 7001)?;
        ensure!(exchanged.client.ip().to_string() == here, "{exchanged:?}");
        // In fragments, too.
        let large = said(gateway, None, there, "-s 3000 -M dont")?;
        says(&large, " 0% packet loss")?;
    }
    // What is no IP packet, or none of a known version, is the kernel's to drop.
    for packet in [&[0x45][..], &[0x45, 0, 0, 20], &[0; 40], &[0x60; 39]] {
        // The device itself refuses some.
        let _ = tunnel.send_to_gateway(packet);
    }
    ensure!(ping(internet, None, GATEWAY, 1)?.lost_nothing());
    Ok(())
}

/// A host that forwards would send back by the tunnel what reached its stack.
fn what_is_ours_stays_out_of_the_host(scene: &Scene, tunnel: &Tunnel) -> Result<()> {
    let internet = &scene.backbone.internet;
    let gateway = &scene.gateway;
    scene.backbone.gateway.enter(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
        Ok(())
    })?;
    tunnel.forget();
    for nobody in ["203.0.113.99", "2001:db8:cb::99"] {
        let before = gateway.dropped("no-association")?;
        ping(internet, None, nobody, 2)?;
        ensure!(gateway.wait_for_drop("no-association", before)? == 2);
    }
    // A neighbour solicitation to an EIP: who has an address is no question here.
    let before = gateway.dropped("arp-ignored")?;
    tunnel.send_to_gateway(&solicitation(EIPS6[0].address)?)?;
    gateway.wait_for_drop("arp-ignored", before)?;
    // What is shorter than it says.
    let before = gateway.dropped("malformed")?;
    let mut short = solicitation(EIPS6[0].address)?;
    short.truncate(40);
    tunnel.send_to_gateway(&short)?;
    gateway.wait_for_drop("malformed", before)?;
    ensure!(ping(internet, None, EIPS[0].address, 1)?.lost_nothing());
    // The answer to the last ping, and not one thing more, but for what the host says to groups of
    // its own accord.
    let mut sent = tunnel.sent_by_gateway();
    sent.retain(|packet| packet[0] >> 4 == 4 || packet[24] != 0xff);
    ensure!(sent.len() == 1, "{sent:?}");
    scene.backbone.gateway.enter(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0")?;
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "0")?;
        Ok(())
    })
}

/// A neighbour solicitation for an address, to that address.
fn solicitation(target: &str) -> Result<Vec<u8>> {
    let (source, target): (std::net::Ipv6Addr, std::net::Ipv6Addr) =
        (INTERNET6.parse()?, target.parse()?);
    let header = [0x60, 0, 0, 0, 0, 24, 58, 255];
    let message = [135, 0, 0, 0, 0, 0, 0, 0];
    let parts = [
        &header[..],
        &source.octets(),
        &target.octets(),
        &message,
        &target.octets(),
    ];
    Ok(parts.concat())
}

#[test]
fn senders_learn_what_a_tunnel_does_not_take() -> Result<()> {
    let (scene, _tunnel) = with_tunnel()?;
    let internet = &scene.backbone.internet;
    for eip in ALL {
        let (guest, [there, _]) = (scene.guest_of(eip), internet_of(eip));
        let is_ipv6 = eip.address.contains(':');
        let told = |mtu: u32| {
            if is_ipv6 {
                format!("mtu={mtu}")
            } else {
                format!("mtu = {mtu}")
            }
        };
        let every_way = || -> Result<()> {
            // Larger than the tunnel takes.
            let text = said(guest, Some(eip.inside()), there, "-s 1440 -M do")?;
            says(&text, &told(MTU))?;
            // Than the guest's port does.
            let eni = ENIS.iter().find(|eni| eni.id == eip.eni);
            let eni = eni.context("no such ENI")?;
            let resize = |mtu: u32| -> Result<()> {
                let gateway = &scene.backbone.gateway;
                gateway.ip(&format!("link set dev {} mtu {mtu}", eni.port))?;
                guest.ip(&format!("link set dev {} mtu {mtu}", eni.interface))?;
                Ok(())
            };
            resize(1300)?;
            until(PATIENCE, "the smaller MTU", || {
                let text = said(
                    internet,
                    Some(internet_of(eip)[0]),
                    eip.address,
                    "-s 1340 -M do",
                )?;
                Ok(text.contains(&told(1300)).then_some(()))
            })?;
            resize(1500)?;
            if !is_ipv6 {
                cut_and_come_in_again(&scene, eip)?;
            }
            // Older than it may become.
            for (from, source, to) in [
                (internet, Some(there), eip.address),
                (guest, Some(eip.inside()), there),
            ] {
                let text = said(from, source, to, "-t 1")?;
                says(&text, "Time ")?;
                says(&text, "exceeded")?;
            }
            Ok(())
        };
        every_way()
            .with_context(|| scene.gateway.ok("drops").unwrap_or_default())
            .with_context(|| eip.id)?;
    }
    Ok(())
}

/// What may be cut is cut by the gateway, where the sender knows of no smaller MTU, and comes in
/// once more: from the port, and from the tunnel.
fn cut_and_come_in_again(scene: &Scene, eip: &SceneEip) -> Result<()> {
    let (guest, internet) = (scene.guest_of(eip), &scene.backbone.internet);
    let cut = || -> Result<u64> {
        let drops = scene.gateway.json("drops")?;
        let events = drops["events"].as_array().context("no events")?;
        let mut cut = events.iter().filter(|row| row["event"] == "fragmented");
        Ok(cut
            .next()
            .map_or(0, |row| row["count"].as_u64().unwrap_or(0)))
    };
    let before = cut()?;
    for side in [guest, internet] {
        side.ip("route flush cache")?;
    }
    let text = said(guest, Some(eip.inside()), FAR, "-s 1441 -M dont")?;
    says(&text, " 0% packet loss")?;
    ensure!(cut()? >= before + 2, "{}", scene.gateway.ok("drops")?);
    // A larger one from the Internet, whose answers the guest cuts itself.
    let before = cut()?;
    internet.ip(&format!("link set dev {UPLINK} mtu 2000"))?;
    let gateway = &scene.backbone.gateway;
    gateway.ip(&format!("link set dev {UPLINK} mtu 2000"))?;
    let text = said(
        internet,
        Some(internet_of(eip)[0]),
        eip.address,
        "-s 1700 -M dont",
    )?;
    says(&text, " 0% packet loss")?;
    ensure!(cut()? >= before + 2, "{}", scene.gateway.ok("drops")?);
    internet.ip(&format!("link set dev {UPLINK} mtu {MTU}"))?;
    gateway.ip(&format!("link set dev {UPLINK} mtu {MTU}"))?;
    Ok(())
}

/// A VLAN, which a tunnel has none of.
fn a_vlan_is_refused(scene: &mut Scene) -> Result<()> {
    scene.gateway.stop()?;
    scene.gateway.configure(&format!(
        "[[uplink]]\ninterface = \"{UPLINK}\"\nvlan = 7\nnext_hop = \"{INTERNET}\"\n"
    ))?;
    scene.gateway.start()?;
    let words = "which have no VLANs";
    says(&scene.gateway.status_text()?, words)?;
    says(&scene.gateway.log(), words)?;
    let configuration = scene.gateway.configuration();
    let checked = scene
        .gateway
        .outcome(&format!("check -c {}", configuration.display()))?;
    ensure!(checked.status.code() == Some(1), "{checked:?}");
    says(&String::from_utf8_lossy(&checked.stdout), words)
}

//! Traffic of real stacks and programs, with the offloads that the kernel gives a guest, and every checksum of every
//! frame checked by tshark on both sides.

use std::{io, net::UdpSocket, time::Duration};

use anyhow::Result;
use eip_dp_tests::lab::{
    capture::Capture,
    ftp::{Data, FtpServer},
    netns::Netns,
    process::run,
    scene::{EIPS, ENIS, Options, Scene},
    topology::{INTERNET, UPLINK},
    traffic::{Amount, IperfServer, iperf, ping, udp},
};

#[test]
fn every_checksum_is_right_with_the_kernels_own_offloads() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let status = scene.gateway.json("status")?;
    assert_eq!(
        status["uplinks"][0]["attached"]["mode"], "xdp+tcx",
        "{status}"
    );
    for port in 0..ENIS.len() {
        let attached = &status["ports"][port]["attached"];
        assert_eq!(attached["delivery"], "tcx", "{status}");
    }
    all_traffic(&scene)
}

/// XDP frames to guests: a port can take them once its peer polls, which `gro on` makes it do.
#[test]
fn every_checksum_is_right_where_ports_take_xdp_frames() -> Result<()> {
    let scene = Scene::new(&Options {
        configuration: "[ports]\ndelivery = \"xdp\"",
        ..Options::default()
    })?;
    scene.deliver_by_xdp()?;
    all_traffic(&scene)
}

fn all_traffic(scene: &Scene) -> Result<()> {
    let (internet, a, b) = (&scene.backbone.internet, &scene.a, &scene.b);
    let outside = Capture::start(internet, UPLINK)?;
    let inside = ENIS
        .iter()
        .map(|eni| Capture::start(scene.guest(eni.instance), eni.interface))
        .collect::<Result<Vec<_>>>()?;
    let log = |name: &str| scene.lab.folder().join(name);
    let _servers = [
        IperfServer::start(internet, &log("iperf-internet"))?,
        IperfServer::start(a, &log("iperf-a"))?,
        IperfServer::start(b, &log("iperf-b"))?,
    ];
    for eip in &EIPS {
        let guest = scene.guest_of(eip);
        both_ways(internet, None, eip.address)?;
        both_ways(guest, Some(eip.inside()), INTERNET)?;
        let seen = udp(guest, eip.inside(), internet, INTERNET, INTERNET, 7010)?;
        assert_eq!(seen.client.ip().to_string(), eip.address);
        let seen = udp(internet, INTERNET, guest, eip.inside(), eip.address, 7011)?;
        assert_eq!(seen.server.ip().to_string(), eip.address);
    }
    // O12 and O11 with partial checksums and segments larger than a frame.
    both_ways(a, Some("10.0.0.10"), "203.0.113.20")?;
    both_ways(b, Some("203.0.113.20"), "203.0.113.11")?;
    both_ways(a, Some("10.0.0.12"), "10.0.0.20")?;
    let frames = outside.frames();
    assert!(frames.iter().all(|frame| !frame.checksum_left_open));
    outside.verify(&log("outside.pcap"), |_| false)?;
    for (number, capture) in inside.iter().enumerate() {
        capture.verify(&log(&format!("inside-{number}.pcap")), |_| false)?;
    }
    Ok(())
}

fn both_ways(client: &Netns, source: Option<&str>, target: &str) -> Result<()> {
    let pinged = ping(client, source, target, 3)?;
    assert!(
        pinged.lost_nothing(),
        "ping {target} from {source:?}: {pinged}"
    );
    // Larger than a frame: fragments, there and back.
    let large = run(client.command("ping").args([
        "-n",
        "-c",
        "1",
        "-W",
        "2",
        "-s",
        "4000",
        "-I",
        source.unwrap_or(INTERNET),
        target,
    ]));
    assert!(
        large.is_ok(),
        "large ping {target} from {source:?}: {large:?}"
    );
    for reverse in [false, true] {
        let sent = iperf(client, source, target, Amount::Megabytes(2), reverse)?;
        assert!(sent.received >= 1 << 20, "{target}: {sent:?}");
    }
    Ok(())
}

#[test]
fn counters_count_what_was_sent() -> Result<()> {
    const PINGS: u32 = 7;
    let scene = Scene::new(&Options::default())?;
    for eip in &EIPS {
        let before = counters(&scene, eip.id)?;
        assert!(ping(&scene.backbone.internet, None, eip.address, PINGS)?.lost_nothing());
        let after = counters(&scene, eip.id)?;
        let packets = u64::from(PINGS);
        // 20 bytes of IP header, 8 of ICMP, 56 of data.
        let expected = [packets, packets * 84, packets, packets * 84];
        let grown: Vec<u64> = after
            .iter()
            .zip(before)
            .map(|(now, then)| now - then)
            .collect();
        assert_eq!(grown, expected, "{}", eip.id);
    }
    Ok(())
}

fn counters(scene: &Scene, eip: &str) -> Result<[u64; 4]> {
    let rows = scene.gateway.json(&format!("stats {eip}"))?;
    let row = rows.get(0).unwrap_or(&rows);
    Ok(
        ["in_packets", "in_bytes", "out_packets", "out_bytes"].map(|field| {
            row[field]
                .as_u64()
                .unwrap_or_else(|| panic!("no {field} in {rows}"))
        }),
    )
}

/// T9, T10: the kernel finds the socket that an ICMP error is about only if the packet that it quotes was translated back.
#[test]
fn senders_learn_that_a_port_is_closed() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let internet = &scene.backbone.internet;
    for eip in &EIPS {
        for (client, source, target) in [
            (internet, INTERNET, eip.address),
            (scene.guest_of(eip), eip.inside(), INTERNET),
        ] {
            let told = client.enter(|| answer_of_a_closed_port(source, target))?;
            assert_eq!(
                told,
                Err(io::ErrorKind::ConnectionRefused),
                "{source} to {target}"
            );
        }
    }
    Ok(())
}

/// What a UDP socket hears when it sends to a port that nobody listens on.
fn answer_of_a_closed_port(source: &str, target: &str) -> Result<Result<usize, io::ErrorKind>> {
    const CLOSED: u16 = 7999;
    let socket = UdpSocket::bind((source, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    socket.connect((target, CLOSED))?;
    socket.send(b"anybody?")?;
    Ok(socket.recv(&mut [0; 16]).map_err(|error| error.kind()))
}

/// What names an address in its payload works through cut-through, and not through NAT.
#[test]
fn active_ftp_works_through_cut_through_only() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let server = FtpServer::start(&scene.backbone.internet, INTERNET, scene.lab.folder())?;
    let cut_through = server.fetch(&scene.b, "203.0.113.20", INTERNET, Data::Port);
    assert_eq!(cut_through, Ok(()));
    for eip in EIPS.iter().filter(|eip| !eip.cut_through) {
        let refused = server.fetch(&scene.a, eip.private, INTERNET, Data::Port);
        assert!(refused.is_err(), "through NAT, {}", eip.private);
        let words = server.refusal().unwrap_or_default();
        assert!(words.contains(eip.private), "{words}");
        // It is PORT that fails, not the way there.
        let passive = server.fetch(&scene.a, eip.private, INTERNET, Data::Pasv);
        assert_eq!(passive, Ok(()));
    }
    Ok(())
}

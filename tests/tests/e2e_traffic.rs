//! Traffic of real stacks and programs, with the offloads that the kernel gives a guest, and every
//! checksum of every frame checked by tshark on both sides.

use std::{io, net::UdpSocket};

use anyhow::Result;
use eip_dp_tests::lab::{
    capture::{Capture, Frame},
    ftp::{Data, FtpServer},
    netns::Netns,
    process::{PATIENCE, run},
    scene::{EIPS, EIPS6, ENIS, Options, Scene},
    topology::{INTERNET, INTERNET6, UPLINK},
    traffic::{Amount, IperfServer, iperf, ping, udp, udp_segmented},
};

/// Whether guests leave checksums and segmentation to their interfaces, as the kernel has it, or do
/// it all themselves.
#[derive(Clone, Copy, PartialEq)]
enum Offload {
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn is_of(self, address: &str) -> bool {
        (self == Self::V6) == address.contains(':')
    }

    /// The Internet host's address.
    fn internet(self) -> &'static str {
        match self {
            Self::V4 => INTERNET,
            Self::V6 => INTERNET6,
        }
    }
}

#[test]
fn checksums_are_right_by_tc_with_offloads_ipv4() -> Result<()> {
    every_checksum_is_right("tcx", Offload::On, Family::V4)
}

#[test]
fn checksums_are_right_by_tc_without_offloads_ipv4() -> Result<()> {
    every_checksum_is_right("tcx", Offload::Off, Family::V4)
}

#[test]
fn checksums_are_right_by_xdp_with_offloads_ipv4() -> Result<()> {
    every_checksum_is_right("xdp", Offload::On, Family::V4)
}

#[test]
fn checksums_are_right_by_xdp_without_offloads_ipv4() -> Result<()> {
    every_checksum_is_right("xdp", Offload::Off, Family::V4)
}

#[test]
fn checksums_are_right_by_tc_with_offloads_ipv6() -> Result<()> {
    every_checksum_is_right("tcx", Offload::On, Family::V6)
}

#[test]
fn checksums_are_right_by_tc_without_offloads_ipv6() -> Result<()> {
    every_checksum_is_right("tcx", Offload::Off, Family::V6)
}

#[test]
fn checksums_are_right_by_xdp_with_offloads_ipv6() -> Result<()> {
    every_checksum_is_right("xdp", Offload::On, Family::V6)
}

#[test]
fn checksums_are_right_by_xdp_without_offloads_ipv6() -> Result<()> {
    every_checksum_is_right("xdp", Offload::Off, Family::V6)
}

/// Ports are delivered to by `hook`: they can take XDP frames once their peers poll, which `gro on`
/// makes them do.
fn every_checksum_is_right(hook: &str, offload: Offload, family: Family) -> Result<()> {
    let scene = Scene::new(&Options {
        configuration: if hook == "xdp" {
            "[ports]\ndelivery = \"xdp\""
        } else {
            ""
        },
        dual_stack: family == Family::V6,
        ..Options::default()
    })?;
    let status = scene.gateway.status()?;
    let attached = &status["uplinks"][0]["attached"];
    let mode = if hook == "xdp" { "xdp+tcx" } else { "tcx" };
    assert_eq!(attached["mode"], mode, "{status}");
    if hook == "xdp" {
        scene.deliver_by_xdp()?;
    } else {
        scene.gateway.wait_for_delivery(hook, ENIS.len())?;
    }
    all_traffic(&scene, offload, family)
}

/// From guest to guest: who sends, from which address, to which, which is whose address inside. O12
/// and O11.
#[rustfmt::skip] // A table: a row a line.
const BETWEEN_GUESTS: [(&str, &str, &str, &str); 6] = [
    ("a", "10.0.0.10", "203.0.113.20", "203.0.113.20"),
    ("b", "203.0.113.20", "203.0.113.11", "10.0.0.11"),
    ("a", "10.0.0.12", "10.0.0.20", "10.0.0.20"),
    ("a", "fd00:10::10", "2001:db8:cb::20", "2001:db8:cb::20"),
    ("b", "2001:db8:cb::20", "2001:db8:cb::10", "fd00:10::10"),
    ("a", "fd00:10::11", "fd00:10::20", "fd00:10::20"),
];

fn all_traffic(scene: &Scene, offload: Offload, family: Family) -> Result<()> {
    let (internet, a, b) = (&scene.backbone.internet, &scene.a, &scene.b);
    if offload == Offload::Off {
        for eni in &ENIS {
            run(scene.guest(eni.instance).command("ethtool").args([
                "-K",
                eni.interface,
                "tx",
                "off",
            ]))?;
        }
    }
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
    let internets = family.internet();
    let eips = EIPS.iter().chain(&EIPS6);
    for eip in eips.filter(|eip| family.is_of(eip.address)) {
        let guest = scene.guest_of(eip);
        both_ways(internet, internets, eip.address)?;
        both_ways(guest, eip.inside(), internets)?;
        let seen = udp(guest, eip.inside(), internet, internets, internets, 7010)?;
        assert_eq!(seen.client.ip().to_string(), eip.address);
        let seen = udp(internet, internets, guest, eip.inside(), eip.address, 7011)?;
        assert_eq!(seen.server.ip().to_string(), eip.address);
        if offload == Offload::On {
            udp_segmented(guest, eip.inside(), internet, internets, internets, 7012)?;
        }
    }
    let between = BETWEEN_GUESTS.iter();
    for &(from, source, target, inside) in between.filter(|row| family.is_of(row.1)) {
        let (from, to) = if from == "a" { (a, b) } else { (b, a) };
        both_ways(from, source, target)?;
        udp(from, source, to, inside, target, 7013)?;
        if offload == Offload::On {
            udp_segmented(from, source, to, inside, target, 7014)?;
        }
    }
    let frames = outside.frames();
    assert!(frames.iter().all(|frame| !frame.checksum_left_open));
    outside.verify(&log("outside.pcap"), |_| false)?;
    // That the offload is under test, or not.
    let left_open = |frame: &Frame| frame.checksum_left_open && !frame.incoming;
    let any = inside
        .iter()
        .any(|capture| capture.frames().iter().any(left_open));
    assert_eq!(any, offload == Offload::On, "offloads of guests");
    for (number, capture) in inside.iter().enumerate() {
        capture.verify(&log(&format!("inside-{number}.pcap")), |_| false)?;
    }
    Ok(())
}

fn both_ways(client: &Netns, source: &str, target: &str) -> Result<()> {
    let pinged = ping(client, Some(source), target, 3)?;
    assert!(
        pinged.lost_nothing(),
        "ping {target} from {source}: {pinged}"
    );
    // Larger than a frame: fragments, there and back.
    let large = run(client.command("ping").args([
        "-n", "-c", "1", "-W", "2", "-s", "4000", "-I", source, target,
    ]));
    assert!(
        large.is_ok(),
        "large ping {target} from {source}: {large:?}"
    );
    for reverse in [false, true] {
        let sent = iperf(client, Some(source), target, Amount::Megabytes(2), reverse)?;
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

/// T9, T10: the kernel finds the socket that an ICMP error is about only if the packet that it
/// quotes was translated back.
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
    socket.set_read_timeout(Some(PATIENCE))?;
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

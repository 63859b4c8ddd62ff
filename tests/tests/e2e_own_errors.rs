//! R2 about packets of real stacks: the gateway's ICMP errors have right checksums also where a
//! guest left its packet's checksum to its interface, and reach the socket that they are about.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    capture::{Capture, Frame, set, verify},
    process::run,
    scene::{EIPS, EIPS6, ENIS, Options, Scene, SceneEip},
    topology::{INTERNET, INTERNET6},
};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, connect, recv, send,
        socket,
    },
};

#[test]
fn a_guest_learns_that_its_packets_died() -> Result<()> {
    learns(&EIPS, false)
}

#[test]
fn a_guest_learns_that_its_ipv6_packets_died() -> Result<()> {
    learns(&EIPS6, true)
}

fn learns(eips: &[SceneEip], dual_stack: bool) -> Result<()> {
    let scene = Scene::new(&Options {
        dual_stack,
        ..Options::default()
    })?;
    for offload in [true, false] {
        for eni in &ENIS {
            let state = if offload { "on" } else { "off" };
            run(scene.guest(eni.instance).command("ethtool").args([
                "-K",
                eni.interface,
                "tx",
                state,
            ]))?;
        }
        every_socket_hears(&scene, eips, offload).with_context(|| format!("offload {offload}"))?;
    }
    Ok(())
}

fn every_socket_hears(scene: &Scene, eips: &[SceneEip], offload: bool) -> Result<()> {
    let captures = ENIS
        .iter()
        .map(|eni| Capture::start(scene.guest(eni.instance), eni.interface))
        .collect::<Result<Vec<_>>>()?;
    let mut asked = 0;
    for eip in eips {
        let [internet, hairpin] = targets(eip);
        // A SYN is heard of the second time only: the first error comes while the socket is still
        // sending.
        for (kind, target) in [
            (SockType::Datagram, internet),
            (SockType::Datagram, hairpin),
            (SockType::Stream, internet),
        ] {
            let told = scene
                .guest_of(eip)
                .enter(|| last_words(kind, eip.inside(), target))?;
            ensure!(
                told == Errno::EHOSTUNREACH,
                "{kind:?} from {} to {target}: {told}",
                eip.inside()
            );
            asked += 1;
        }
    }
    let mut errors = Vec::new();
    for capture in &captures {
        let frames = capture.frames();
        let mut dying = frames
            .iter()
            .filter(|frame| !frame.incoming && is_dying(frame));
        ensure!(
            dying.all(|frame| frame.checksum_left_open == offload),
            "guests do not send what is to be tested"
        );
        errors.extend(capture.incoming(is_time_exceeded));
    }
    // A stack that sends the same again is told again.
    ensure!(errors.len() >= asked, "{} of {asked} errors", errors.len());
    // The kernel may still call the quoted packet's checksum open; the error's own has to be right
    // as it is.
    for error in &mut errors {
        error.checksum_left_open = false;
    }
    verify(&errors, &scene.lab.folder().join("errors.pcap"))
}

/// A host on the Internet, and another EIP of this gateway.
fn targets(eip: &SceneEip) -> [&'static str; 2] {
    match (eip.address.contains(':'), eip.cut_through) {
        (false, false) => [INTERNET, EIPS[3].address],
        (false, true) => [INTERNET, EIPS[0].address],
        (true, false) => [INTERNET6, EIPS6[1].address],
        (true, true) => [INTERNET6, EIPS6[0].address],
    }
}

/// What a socket hears whose packets have a TTL, or hop limit, of 1.
fn last_words(kind: SockType, source: &str, target: &str) -> Result<Errno> {
    const PORT: u16 = 7999;
    let (source, target): (IpAddr, IpAddr) = (source.parse()?, target.parse()?);
    let (family, level, ttl, errors) = if source.is_ipv4() {
        (
            AddressFamily::Inet,
            libc::SOL_IP,
            libc::IP_TTL,
            libc::IP_RECVERR,
        )
    } else {
        let hops = libc::IPV6_UNICAST_HOPS;
        (
            AddressFamily::Inet6,
            libc::SOL_IPV6,
            hops,
            libc::IPV6_RECVERR,
        )
    };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    set(&socket, level, ttl, &1)?;
    set(&socket, level, errors, &1)?;
    let wait = libc::timeval {
        tv_sec: 3,
        tv_usec: 0,
    };
    for direction in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        set(&socket, libc::SOL_SOCKET, direction, &wait)?;
    }
    let raw = socket.as_raw_fd();
    bind(raw, &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    let connected = connect(raw, &SockaddrStorage::from(SocketAddr::new(target, PORT)));
    if kind == SockType::Stream {
        return connected.err().context("it is connected");
    }
    connected?;
    send(raw, b"last words", MsgFlags::empty())?;
    let heard = recv(raw, &mut [0; 16], MsgFlags::empty());
    heard.err().context("there is an answer")
}

fn is_time_exceeded(frame: &Frame) -> bool {
    let packet = frame.packet();
    match frame.bytes.get(12..14) {
        Some([8, 0]) => packet.get(9) == Some(&1) && packet.get(20) == Some(&11),
        Some([0x86, 0xdd]) => packet.get(6) == Some(&58) && packet.get(40) == Some(&3),
        _ => false,
    }
}

/// Whether it is TCP or UDP with its last TTL.
fn is_dying(frame: &Frame) -> bool {
    let packet = frame.packet();
    let (ttl, protocol) = match frame.bytes.get(12..14) {
        Some([8, 0]) => (packet.get(8), packet.get(9)),
        Some([0x86, 0xdd]) => (packet.get(7), packet.get(6)),
        _ => (None, None),
    };
    ttl == Some(&1) && matches!(protocol, Some(6 | 17))
}

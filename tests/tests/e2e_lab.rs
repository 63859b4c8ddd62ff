//! The lab itself: its wires carry traffic, and nothing of it stays.

use std::{fs, panic, path::Path, process::Command};

use anyhow::Result;
use eip_dp_tests::lab::{
    Lab,
    capture::Capture,
    frames,
    ftp::{Data, FtpServer},
    process,
    topology::{Backbone, GATEWAY, GATEWAY_MAC, INTERNET, INTERNET_MAC, UPLINK},
    traffic::{Amount, IperfServer, addresses, iperf, ping, udp},
};
use nix::sys::signal::Signal;

#[test]
fn the_wire_carries_every_kind_of_traffic_with_whole_checksums() -> Result<()> {
    let lab = Lab::new()?;
    let wire = Backbone::new(&lab)?;
    let capture = Capture::start(&wire.internet, UPLINK)?;
    assert!(ping(&wire.gateway, None, INTERNET, 3)?.lost_nothing());
    let seen = udp(
        &wire.gateway,
        GATEWAY,
        &wire.internet,
        INTERNET,
        INTERNET,
        7000,
    )?;
    assert_eq!(seen.client.ip().to_string(), GATEWAY);
    let _server = IperfServer::start(&wire.internet, &lab.folder().join("iperf.log"))?;
    let sent = iperf(
        &wire.gateway,
        Some(GATEWAY),
        INTERNET,
        Amount::Megabytes(1),
        true,
    )?;
    assert!(sent.received >= 1 << 20);
    let ftp = FtpServer::start(&wire.internet, INTERNET, lab.folder())?;
    for data in [Data::Port, Data::Pasv] {
        let fetched = ftp.fetch(&wire.gateway, GATEWAY, INTERNET, data);
        assert_eq!(fetched, Ok(()));
    }
    assert_eq!(addresses(&wire.gateway)?, [format!("{GATEWAY}/24")]);
    let frames = capture.frames();
    assert!(frames.iter().all(|frame| !frame.checksum_left_open));
    capture.verify(&lab.folder().join("wire.pcap"), |_| false)?;
    Ok(())
}

#[test]
fn a_wrong_checksum_is_found() -> Result<()> {
    let lab = Lab::new()?;
    let wire = Backbone::new(&lab)?;
    let capture = Capture::start(&wire.internet, UPLINK)?;
    let sender = Capture::start(&wire.gateway, UPLINK)?;
    let packet = format!(
        "Ether(src='{GATEWAY_MAC}',dst='{INTERNET_MAC}')/IP(src='{GATEWAY}',dst='{INTERNET}')/UDP(sport=1,dport=9,\
         chksum=0x1234)/b'wrong on purpose'"
    );
    let frame = frames::build("", &[&packet])?.remove(0);
    sender.send(&frame)?;
    capture.wait_for("the frame", |seen| seen.bytes == frame)?;
    let file = lab.folder().join("wrong.pcap");
    assert!(capture.verify(&file, |_| false).is_err());
    capture.verify(&file, |seen| seen.bytes.ends_with(b"on purpose"))?;
    Ok(())
}

#[test]
fn a_lab_is_gone_after_a_panic() -> Result<()> {
    let lab = Lab::new()?;
    let folder = lab.folder().to_owned();
    let namespace = lab.namespace("x")?;
    let job = process::Job::start(
        namespace.command("sleep").arg("600"),
        &folder.join("sleep.log"),
    )?;
    let id = job.id();
    job.leave();
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let _taken_along = lab;
        panic!("as a failed assertion would");
    }));
    assert!(outcome.is_err());
    assert!(!folder.exists());
    assert!(!Path::new("/run/netns").join(namespace.name()).exists());
    let state = process::run(Command::new("ps").args(["-o", "stat=", "-p", &id.to_string()]));
    assert!(
        state.as_deref().is_err() || state.as_deref().is_ok_and(|state| state.starts_with('Z')),
        "the program in the namespace still runs: {state:?}"
    );
    Ok(())
}

/// The demo, stopped in the middle, leaves nothing: neither by Ctrl-C nor by SIGTERM.
#[test]
fn an_interrupted_demo_leaves_nothing_behind() -> Result<()> {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let folder = tempfile::tempdir()?;
        let mut demo = process::Job::start(
            &mut Command::new(env!("CARGO_BIN_EXE_eip-dp-demo")),
            &folder.path().join("demo.log"),
        )?;
        // By then the daemon runs, and guests have leases.
        demo.wait_for("To and from every EIP")?;
        let lab = format!("eipdp-{}-0", demo.id());
        assert!(traces(&lab)?.len() > 4);
        demo.signal(signal)?;
        assert_eq!(demo.wait()?.code(), Some(code));
        assert_eq!(traces(&lab)?, Vec::<String>::new());
    }
    Ok(())
}

/// Namespaces, files, pinned objects and running programs that carry a lab's name.
fn traces(lab: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["/run/netns", "/run/eip-dp", "/tmp", "/sys/fs/bpf/eip-dp"] {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(lab) {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    let programs = process::run(Command::new("ps").args(["-eo", "args="]))?;
    found.extend(
        programs
            .lines()
            .filter(|program| program.contains(lab))
            .map(str::to_owned),
    );
    Ok(found)
}

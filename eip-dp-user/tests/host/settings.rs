//! Settings of the host: changed, remembered, put back; and what the kernel makes of large packets
//! with them.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

use eip_dp_user::host::{Setting, Settings, changed_settings, snapshot};
use nix::sys::socket::{MsgFlags, recv, send};
use tempfile::TempDir;

use crate::{
    guest::packet_socket,
    netns::{run, sh},
};

const ALL: [Setting; 3] = [
    Setting::AllMulticast,
    Setting::Forwarding,
    Setting::NoReversePath,
];

fn sysctl(interface: &str, name: &str) -> String {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/{name}");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

fn set_sysctl(interface: &str, name: &str, value: &str) {
    fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/{name}"), value).unwrap();
}

fn takes_all_multicast(interface: &str) -> bool {
    sh(&format!("ip link show dev {interface}")).contains("ALLMULTI")
}

/// A port whose peer is the guest, and a file to remember settings in.
async fn port() -> (u32, TempDir, PathBuf) {
    sh("ip link add port address 02:00:00:00:ff:01 mtu 9000 type veth peer name guest mtu 9000");
    sh("ip link set port up");
    sh("ip link set guest up");
    set_sysctl("port", "rp_filter", "2");
    set_sysctl("port", "forwarding", "0");
    let index = snapshot().await.unwrap().link_named("port").unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.json");
    (index, folder, file)
}

fn of(interface: u32, settings: &[Setting]) -> BTreeSet<(u32, Setting)> {
    settings.iter().map(|one| (interface, *one)).collect()
}

#[test]
fn settings_are_remembered_and_put_back_by_whoever_comes_next() {
    run(|| async {
        let (port, _folder, file) = port().await;
        let as_wanted = || {
            let forwarding = sysctl("port", "forwarding") == "1";
            let reverse_path = sysctl("port", "rp_filter") == "0";
            [takes_all_multicast("port"), forwarding, reverse_path]
        };
        let mut settings = Settings::open(file.clone()).unwrap();
        settings.reconcile(&of(port, &ALL)).await.unwrap();
        assert_eq!(as_wanted(), [true; 3]);
        let remembered = changed_settings(&file).unwrap();
        assert_eq!(
            remembered
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [
                "allmulticast of port = 1 (was 0)",
                "net.ipv4.conf.port.forwarding = 1 (was 0)",
                "net.ipv4.conf.port.rp_filter = 0 (was 2)",
            ]
        );

        // The daemon is killed; the next one needs less.
        drop(settings);
        let mut settings = Settings::open(file.clone()).unwrap();
        assert_eq!(as_wanted(), [true; 3]);
        settings
            .reconcile(&of(port, &[Setting::AllMulticast]))
            .await
            .unwrap();
        assert_eq!(as_wanted(), [true, false, false]);
        assert_eq!(sysctl("port", "rp_filter"), "2");
        assert_eq!(changed_settings(&file).unwrap().len(), 1);

        let settings = Settings::open(file.clone()).unwrap();
        settings.release_all().await.unwrap();
        assert_eq!(as_wanted(), [false; 3]);
        assert!(!file.exists());
    });
}

#[test]
fn what_others_set_stays_theirs() {
    run(|| async {
        let (port, _folder, file) = port().await;
        // So it was before: there is nothing to put back.
        set_sysctl("port", "forwarding", "1");
        let mut settings = Settings::open(file.clone()).unwrap();
        settings.reconcile(&of(port, &ALL)).await.unwrap();
        assert_eq!(changed_settings(&file).unwrap().len(), 2);
        // Somebody has changed it since.
        set_sysctl("port", "rp_filter", "1");
        settings.reconcile(&BTreeSet::new()).await.unwrap();
        assert_eq!(sysctl("port", "forwarding"), "1");
        assert_eq!(sysctl("port", "rp_filter"), "1");
        assert!(!takes_all_multicast("port"));

        // A renamed interface is the same; one that is gone has nothing to put back, and is an
        // error to whoever wants it.
        settings.reconcile(&of(port, &ALL)).await.unwrap();
        sh("ip link set port down");
        sh("ip link set port name renamed");
        settings
            .reconcile(&of(port, &[Setting::AllMulticast]))
            .await
            .unwrap();
        assert_eq!(sysctl("renamed", "rp_filter"), "1");
        sh("ip link del renamed");
        settings.reconcile(&BTreeSet::new()).await.unwrap();
        assert!(!file.exists());
        let error = settings.reconcile(&of(port, &ALL)).await.unwrap_err();
        assert!(error.to_string().contains("allmulticast"), "{error}");
    });
}

/// A frame with a UDP packet of that many bytes from 203.0.113.10 to 198.51.100.7, which may be
/// fragmented: what the port's program leaves to the kernel is translated already.
fn large(length: u16, identification: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0xff, 1, 2, 0, 0, 0, 0, 1, 8, 0];
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0, identification, 0, 0, 64, 17, 0, 0]);
    header.extend([203, 0, 113, 10, 198, 51, 100, 7]);
    let sum: u32 = header
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(header);
    frame.extend([0x13, 0x88, 0x13, 0x89]);
    frame.extend((length - 20).to_be_bytes());
    frame.resize(14 + usize::from(length), 0);
    frame
}

/// Returns once the host has handled what the guest sent: it answers a question whether 192.0.2.2
/// is taken (RFC 5227).
fn barrier(guest: &OwnedFd) {
    let mut probe = vec![0xff; 6];
    probe.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    probe.extend([2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    probe.extend([192, 0, 2, 2]);
    send(guest.as_raw_fd(), &probe, MsgFlags::empty()).unwrap();
    let mut buffer = [0; 64];
    let mut is_answer = false;
    while !is_answer {
        recv(guest.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("an answer by ARP");
        is_answer = buffer[12..14] == [8, 6] && buffer[20..22] == [0, 2];
    }
}

/// R4: only with both settings does the kernel send on, in fragments, what came in on a port
/// without an address.
#[test]
fn the_kernel_fragments_what_ports_send() {
    run(|| async {
        let (port, _folder, file) = port().await;
        sh("ip link add wan type veth peer name isp");
        sh("ip link set wan up");
        sh("ip link set isp up");
        sh("ip addr add 192.0.2.2/24 dev wan");
        sh("ip route add default via 192.0.2.1");
        sh("ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:fe dev wan");
        let (guest, isp) = (packet_socket("guest"), packet_socket("isp"));
        let emit = |identification| {
            let frame = large(3000, identification);
            send(guest.as_raw_fd(), &frame, MsgFlags::empty()).unwrap();
            barrier(&guest);
        };
        // Lengths of IPv4 packets that the router gets, with their identification, to the last one
        // of 9.
        let seen = || {
            let mut seen = Vec::new();
            let mut buffer = [0; 9100];
            while seen.last().is_none_or(|(number, _)| *number != 9) {
                let length = recv(isp.as_raw_fd(), &mut buffer, MsgFlags::empty())
                    .expect("packets to the router");
                let is_ours = buffer[12..14] == [8, 0] && buffer[26..30] == [203, 0, 113, 10];
                if is_ours {
                    seen.push((buffer[19], length - 14));
                }
            }
            seen
        };
        emit(1);
        let mut settings = Settings::open(file).unwrap();
        settings
            .reconcile(&of(port, &[Setting::Forwarding]))
            .await
            .unwrap();
        emit(2);
        set_sysctl("port", "rp_filter", "2");
        emit(3);
        let both = [Setting::Forwarding, Setting::NoReversePath];
        settings.reconcile(&of(port, &both)).await.unwrap();
        emit(4);
        settings.reconcile(&BTreeSet::new()).await.unwrap();
        emit(5);
        settings.reconcile(&of(port, &both)).await.unwrap();
        emit(9);
        let mut got = seen();
        while got.len() < 6 {
            got.extend(seen());
        }
        let packets = |number| [(number, 1500), (number, 1500), (number, 40)];
        assert_eq!(got, [packets(4), packets(9)].concat());
    });
}

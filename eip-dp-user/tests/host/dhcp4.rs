//! The DHCP server's socket: which frames reach it, and a client from Debian that is content with the answers.

use std::{net::Ipv4Addr, os::fd::AsRawFd, process::Command, sync::Arc, time::Duration};

use eip_dp_user::guests::{
    Directory, Server,
    dhcp4::{Lease, Router},
};
use nix::sys::socket::{MsgFlags, recv, send};
use tokio::{sync::watch, task::spawn_blocking};

use crate::{
    guest::{GUEST_MAC, PORT_MAC, mark, packet_socket, plug},
    netns::run,
};

const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
const BROADCAST: [u8; 6] = [0xff; 6];

fn lease(address: Ipv4Addr) -> Lease {
    Lease {
        address,
        prefix_len: 24,
        router: Router::OnLink(Ipv4Addr::new(10, 0, 0, 1)),
        server: Ipv4Addr::new(10, 0, 0, 1),
        mtu: 1400,
        dns: vec![],
        duration: Duration::from_hours(1),
        port_mac: PORT_MAC,
    }
}

/// A DISCOVER in transaction `xid`.
fn discover(destination: [u8; 6], xid: u32) -> Vec<u8> {
    let mut dhcp = vec![1, 1, 6, 0];
    dhcp.extend(xid.to_be_bytes());
    dhcp.resize(28, 0);
    dhcp.extend(GUEST_MAC);
    dhcp.resize(236, 0);
    dhcp.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    let mut frame = [destination, GUEST_MAC].concat();
    frame.extend([8, 0, 0x45, 0, 1, 16, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend([0, 0, 0, 0, 255, 255, 255, 255]);
    frame.extend([0, 68, 0, 67, 0, 252, 0, 0]);
    frame.extend(dhcp);
    frame
}

#[test]
fn only_whole_requests_that_the_port_passed_on_are_answered() {
    run(|| async {
        let client = plug().await;
        let server = Server::open().unwrap();
        let directory = Directory {
            leases4: [(client, lease(Ipv4Addr::new(10, 0, 0, 5)))].into(),
            ..Directory::default()
        };
        let (_sender, receiver) = watch::channel(Arc::new(directory));
        let server = tokio::spawn(server.run(receiver));
        let socket = packet_socket("guest");

        // Frames to another host's address are what the port's program makes of a guest's requests.
        let changed = |xid, changes: &[(usize, u8)]| {
            let mut frame = discover(OTHER_MAC, xid);
            for (offset, value) in changes {
                frame[*offset] = *value;
            }
            frame
        };
        let mut with_options = discover(OTHER_MAC, 101);
        with_options[14] = 0x46;
        with_options[17] += 4;
        with_options.splice(34..34, [1, 1, 1, 1]);
        let frames = [
            discover(BROADCAST, 0),
            discover(PORT_MAC, 1),
            changed(3, &[(20, 0x20)]),
            changed(4, &[(21, 1)]),
            changed(5, &[(23, 6)]),
            changed(6, &[(37, 68)]),
            changed(7, &[(13, 6)]),
            discover(OTHER_MAC, 8)[..60].to_vec(),
            discover(OTHER_MAC, 100),
            with_options,
        ];
        let answered = spawn_blocking(move || {
            for frame in &frames {
                send(socket.as_raw_fd(), frame, MsgFlags::empty()).unwrap();
            }
            let mut answered = Vec::new();
            let mut buffer = [0; 2048];
            while answered.last() != Some(&101) {
                let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
                    .expect("an answer to the last request");
                let frame = &buffer[..length];
                if frame[6..14] == [2, 0, 0, 0, 0xff, 1, 8, 0] {
                    answered.push(u32::from_be_bytes(frame[46..50].try_into().unwrap()));
                }
            }
            answered
        })
        .await
        .unwrap();
        assert_eq!(answered, [100, 101]);
        server.abort();
    });
}

/// One run of Debian's `udhcpc`: the variables that its script is called with once it has a lease.
async fn udhcpc(arguments: &'static str) -> String {
    spawn_blocking(move || {
        let script = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempfile()
            .unwrap();
        std::fs::write(
            script.path(),
            "#!/bin/sh\necho \"$1 $ip/$subnet via $router mtu $mtu routes $staticroutes server $serverid lease $lease\"\n",
        )
        .unwrap();
        let script = script.into_temp_path();
        let output = Command::new("udhcpc")
            .args(["-i", "guest", "-q", "-n", "-f", "-t", "5", "-T", "1", "-O", "mtu"])
            .args(["-O", "staticroutes", "-s"])
            .arg(&*script)
            .args(arguments.split_whitespace())
            .output()
            .expect("udhcpc");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        told
    })
    .await
    .unwrap()
}

#[test]
fn a_real_client_gets_its_address_and_after_a_change_the_new_one() {
    run(|| async {
        let client = plug().await;
        mark(&["udp dport 67"]);
        let (directory, receiver) = watch::channel(Arc::new(Directory {
            leases4: [(client, lease(Ipv4Addr::new(10, 0, 0, 5)))].into(),
            ..Directory::default()
        }));
        let server = tokio::spawn(Server::open().unwrap().run(receiver));
        let told = udhcpc("").await;
        let expected =
            "bound 10.0.0.5/255.255.255.0 via 10.0.0.1 mtu 1400 routes  server 10.0.0.1 lease 3600";
        assert!(told.contains(expected), "{told}");

        let routed = Lease {
            prefix_len: 32,
            router: Router::OffLink(Ipv4Addr::new(169, 254, 1, 1)),
            server: Ipv4Addr::new(169, 254, 1, 1),
            ..lease(Ipv4Addr::new(203, 0, 113, 9))
        };
        directory.send_replace(Arc::new(Directory {
            leases4: [(client, routed)].into(),
            ..Directory::default()
        }));
        let told = udhcpc("-r 10.0.0.5").await;
        let expected = "bound 203.0.113.9/255.255.255.255 via 169.254.1.1 mtu 1400 \
                        routes 169.254.1.1/32 0.0.0.0 0.0.0.0/0 169.254.1.1 \
                        server 169.254.1.1 lease 3600";
        assert!(told.contains(expected), "{told}");
        server.abort();
    });
}

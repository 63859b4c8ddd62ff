//! The DHCP server: which frames it answers, and a client from Debian that is content with the
//! answers.

use std::{net::Ipv4Addr, os::fd::AsRawFd, process::Command, sync::Arc, time::Duration};

use eip_dp_user::guests::{
    Client, LeaseTable, Parameters, Server,
    dhcp4::{Lease, Router},
};
use nix::sys::socket::{MsgFlags, recv, send};
use tokio::{sync::watch, task::spawn_blocking};

use crate::{
    guest::{GUEST_MAC, PORT_MAC, packet_socket, plug},
    netns::run,
    ring::{Ring, is_request, now},
};

/// Of frames that stand for what the port's program hands over.
const HANDOFF: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
/// Another host's.
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x78];
const BROADCAST: [u8; 6] = [0xff; 6];

fn lease(address: Ipv4Addr) -> Lease {
    Lease {
        address,
        prefix_len: 24,
        router: Router::OnLink(Ipv4Addr::new(10, 0, 0, 1)),
        server: Ipv4Addr::new(10, 0, 0, 1),
        mtu: 1400,
        dns: vec![],
        site: Arc::default(),
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
fn only_whole_requests_that_the_port_handed_over_are_answered() {
    run(|| async {
        let client = plug().await;
        let ring = Ring::new();
        let (_sender, receiver) = watch::channel(directory(client));
        let server = Server::open(ring.requests(), eip_dp_user::shared::Claims::default()).unwrap();
        let server = tokio::spawn(server.run(receiver));
        let _taken = ring.take_over(client.port(), |frame| frame[..6] == HANDOFF);
        let socket = packet_socket("guest");

        let changed = |xid, changes: &[(usize, u8)]| {
            let mut frame = discover(HANDOFF, xid);
            for (offset, value) in changes {
                frame[*offset] = *value;
            }
            frame
        };
        // The kernel takes the tag off: a socket cannot tell it from the untagged guest's.
        let mut of_another_vlan = discover(OTHER_MAC, 9);
        of_another_vlan.splice(12..12, [0x81, 0, 0, 20]);
        let mut with_options = discover(HANDOFF, 101);
        with_options[14] = 0x46;
        with_options[17] += 4;
        with_options.splice(34..34, [1, 1, 1, 1]);
        let frames = [
            discover(BROADCAST, 0),
            discover(PORT_MAC, 1),
            discover(OTHER_MAC, 2),
            of_another_vlan,
            changed(3, &[(20, 0x20)]),
            changed(4, &[(21, 1)]),
            changed(5, &[(23, 6)]),
            changed(6, &[(37, 68)]),
            changed(7, &[(13, 6)]),
            discover(HANDOFF, 8)[..60].to_vec(),
            discover(HANDOFF, 100),
            with_options,
        ];
        let answered = spawn_blocking(move || {
            for frame in &frames {
                send(socket.as_raw_fd(), frame, MsgFlags::empty()).unwrap();
            }
            answered(&socket, 101)
        })
        .await
        .unwrap();
        assert_eq!(answered, [100, 101]);
        server.abort();
    });
}

fn directory(client: Client) -> Arc<LeaseTable> {
    Arc::new(LeaseTable {
        leases4: [(client, lease(Ipv4Addr::new(10, 0, 0, 5)))].into(),
        ..LeaseTable::default()
    })
}

/// The transactions that the server answers, up to the last one.
fn answered(socket: &impl AsRawFd, last: u32) -> Vec<u32> {
    let mut answered = Vec::new();
    let mut buffer = [0; 2048];
    while answered.last() != Some(&last) {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
            .expect("an answer to the last request");
        let frame = &buffer[..length];
        if frame[6..14] == [2, 0, 0, 0, 0xff, 1, 8, 0] {
            answered.push(u32::from_be_bytes(frame[46..50].try_into().unwrap()));
        }
    }
    answered
}

#[test]
fn a_daemon_that_starts_frees_the_ring_and_answers_what_is_not_stale() {
    run(|| async {
        let client = plug().await;
        let mut ring = Ring::new();
        let socket = packet_socket("guest");
        let long_ago = now() - 2_100_000_000;
        let mut xid = 0;
        while ring.put_of(long_ago, client.port(), &discover(BROADCAST, xid)) {
            xid += 1;
        }
        assert!(xid > 1000, "{xid} fill it");

        let (_sender, receiver) = watch::channel(directory(client));
        let server = Server::open(ring.requests(), eip_dp_user::shared::Claims::default()).unwrap();
        let mut server = tokio::spawn(server.run(receiver.clone()));
        let mut ask = async |xid| {
            while !ring.put(client.port(), &discover(BROADCAST, xid)) {
                tokio::task::yield_now().await;
            }
        };
        ask(5000).await;
        let (socket, seen) = spawn_blocking(|| {
            let seen = answered(&socket, 5000);
            (socket, seen)
        })
        .await
        .unwrap();
        assert_eq!(seen, [5000]);

        // A daemon that is killed, with a request on its way, and the next one.
        server.abort();
        assert!((&mut server).await.unwrap_err().is_cancelled());
        ask(5001).await;
        let server = Server::open(ring.requests(), eip_dp_user::shared::Claims::default()).unwrap();
        let server = tokio::spawn(server.run(receiver));
        let seen = spawn_blocking(move || answered(&socket, 5001)).await;
        assert_eq!(seen.unwrap(), [5001]);
        server.abort();
    });
}

#[test]
fn beside_a_guest_that_floods_another_is_answered_at_once() {
    run(|| async {
        let flooder = plug().await;
        let victim = Client {
            mac: [2, 0, 0, 0, 0, 2],
            ..flooder
        };
        let mut ring = Ring::new();
        let address = |last| lease(Ipv4Addr::new(10, 0, 0, last));
        let directory = LeaseTable {
            leases4: [(flooder, address(5)), (victim, address(6))].into(),
            ..LeaseTable::default()
        };
        let (_sender, receiver) = watch::channel(Arc::new(directory));
        let server = Server::open(ring.requests(), eip_dp_user::shared::Claims::default()).unwrap();
        let server = tokio::spawn(server.run(receiver));
        let socket = packet_socket("guest");
        let flood = discover(BROADCAST, 0);
        for round in 0..10 {
            for _ in 0..500 {
                assert!(ring.put(flooder.port(), &flood));
            }
            let mut request = discover(BROADCAST, 6000 + round);
            request[6..12].copy_from_slice(&victim.mac);
            request[70..76].copy_from_slice(&victim.mac);
            assert!(ring.put(victim.port(), &request));
            // Others of the runtime have their turns while the ring is drained.
            let mut turns = 0;
            let seen = loop {
                let mut buffer = [0; 2048];
                match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                    Ok(_) if buffer[6..14] == [2, 0, 0, 0, 0xff, 1, 8, 0] => {
                        let xid = u32::from_be_bytes(buffer[46..50].try_into().unwrap());
                        if xid != 0 {
                            break xid;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => {
                        turns += 1;
                        tokio::task::yield_now().await;
                    }
                }
            };
            assert_eq!(seen, 6000 + round);
            assert!(turns >= 7, "{turns} turns beside 501 requests");
        }
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
            "#!/bin/sh\necho \"$1 $ip/$subnet via $router mtu $mtu routes $staticroutes server $serverid lease $lease \
             domain $domain search $search ntp $ntpsrv next $siaddr file $boot_file $bootfile tftp $tftp\"\n",
        )
        .unwrap();
        let script = script.into_temp_path();
        let output = Command::new("udhcpc")
            .args(["-i", "guest", "-q", "-n", "-f", "-t", "5", "-T", "1", "-O", "mtu"])
            .args(["-O", "staticroutes", "-O", "domain", "-O", "search", "-O", "ntpsrv"])
            .args(["-O", "bootfile", "-O", "tftp", "-s"])
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
        let ring = Ring::new();
        let (directory, receiver) = watch::channel(directory(client));
        let server = tokio::spawn(
            Server::open(ring.requests(), eip_dp_user::shared::Claims::default())
                .unwrap()
                .run(receiver),
        );
        let _taken = ring.take_over(client.port(), is_request);
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
        directory.send_replace(Arc::new(LeaseTable {
            leases4: [(client, routed)].into(),
            ..LeaseTable::default()
        }));
        let told = udhcpc("-r 10.0.0.5").await;
        let expected = "bound 203.0.113.9/255.255.255.255 via 169.254.1.1 mtu 1400 \
                        routes 169.254.1.1/32 0.0.0.0 0.0.0.0/0 169.254.1.1 \
                        server 169.254.1.1 lease 3600";
        assert!(told.contains(expected), "{told}");
        server.abort();
    });
}

#[test]
fn a_real_client_reads_what_the_site_gives() {
    run(|| async {
        let client = plug().await;
        let ring = Ring::new();
        let name = |text: &str| text.parse().unwrap();
        let lease = Lease {
            site: Arc::new(Parameters {
                domain: Some(name("example.org")),
                search: vec![name("lab.example.org"), name("example.org"), name("x.net")],
                ntp4: vec![[192, 0, 2, 123].into(), [192, 0, 2, 124].into()],
                ntp6: Vec::new(),
                next_server: Some([192, 0, 2, 67].into()),
                boot_file: Some("boot/pxelinux.0".to_owned()),
            }),
            ..lease(Ipv4Addr::new(10, 0, 0, 5))
        };
        let directory = Arc::new(LeaseTable {
            leases4: [(client, lease)].into(),
            ..LeaseTable::default()
        });
        let (_directory, receiver) = watch::channel(directory);
        let server = tokio::spawn(
            Server::open(ring.requests(), eip_dp_user::shared::Claims::default())
                .unwrap()
                .run(receiver),
        );
        let _taken = ring.take_over(client.port(), is_request);
        let told = udhcpc("").await;
        let expected = "domain example.org search lab.example.org example.org x.net \
                        ntp 192.0.2.123 192.0.2.124 next 192.0.2.67 \
                        file boot/pxelinux.0 boot/pxelinux.0 tftp 192.0.2.67";
        assert!(told.contains(expected), "{told}");
        server.abort();
    });
}

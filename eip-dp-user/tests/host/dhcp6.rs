//! IPv6 for guests: the kernel's own handling of router advertisements, and Debian's DHCPv6
//! clients.

use std::{net::Ipv6Addr, os::fd::AsRawFd, sync::Arc, time::Duration};

use eip_dp_user::{
    guests::{Client, Lease6, LeaseTable, Parameters, Server, dhcp6::server_identifier},
    host::{Family, Watcher},
};
use nix::sys::socket::{MsgFlags, recv, send};
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    guest::{GUEST_MAC, PORT_MAC, Running, packet_socket, plug},
    netns::{run, sh, until, until_printed},
    ring::{Ring, TakenOver, is_request},
};

/// The gateway as the guest knows it.
const ROUTER: &str = "fe80::ff:fe00:ff01";

fn lease(address: &str) -> Lease6 {
    Lease6 {
        address: address.parse().unwrap(),
        on_link: Some("fd00::/64".parse().unwrap()),
        autonomous: false,
        mtu: 1400,
        dns: vec!["2001:db8::53".parse().unwrap()],
        site: Arc::default(),
        duration: Duration::from_hours(1),
        server: server_identifier("v"),
        port_mac: PORT_MAC,
    }
}

/// With all that a site may give.
fn lease_of_a_site(address: &str) -> Lease6 {
    let name = |text: &str| text.parse().unwrap();
    Lease6 {
        site: Arc::new(Parameters {
            domain: Some(name("example.org")),
            search: vec![name("lab.example.org"), name("example.org")],
            ntp6: vec!["2001:db8::123".parse().unwrap()],
            ..Parameters::default()
        }),
        ..lease(address)
    }
}

fn directory(client: Client, lease: Option<Lease6>) -> Arc<LeaseTable> {
    Arc::new(LeaseTable {
        leases6: lease.map(|lease| (client, lease)).into_iter().collect(),
        ..LeaseTable::default()
    })
}

struct Served {
    directories: watch::Sender<Arc<LeaseTable>>,
    server: JoinHandle<()>,
    _taken: TakenOver,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Serves a client, whose requests the port's program hands over.
fn serve(client: Client, lease: Lease6) -> Served {
    let ring = Ring::new();
    let (directories, receiver) = watch::channel(directory(client, Some(lease)));
    let server = Server::open(ring.requests(), eip_dp_user::shared::Claims::default()).unwrap();
    Served {
        directories,
        server: tokio::spawn(server.run(receiver)),
        _taken: ring.take_over(client.port(), is_request),
    }
}

#[test]
fn the_kernel_takes_its_default_route_and_makes_no_address_of_the_prefix() {
    run(|| async {
        let client = plug().await;
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let served = serve(client, lease("fd00::5"));
        let router: Ipv6Addr = ROUTER.parse().unwrap();
        let guest = watcher.facts().link_named("guest").unwrap().0;
        let has_route = |facts: &eip_dp_user::host::HostFacts| {
            facts.routes.iter().any(|route| {
                (route.interface, route.family, route.gateway)
                    == (guest, Family::V6, Some(router.into()))
            })
        };
        until(&mut facts, "the default route", has_route).await;
        let table = sh("ip -6 route show dev guest");
        assert!(table.contains("fd00::/64 proto kernel"), "{table}");
        let mtu = std::fs::read_to_string("/proc/sys/net/ipv6/conf/guest/mtu").unwrap();
        assert_eq!(mtu.trim(), "1400");
        let addresses = sh("ip -6 address show dev guest scope global");
        assert_eq!(addresses, "", "an address that nobody leased");

        served.directories.send_replace(directory(client, None));
        until(&mut facts, "the end of the default route", |facts| {
            !has_route(facts)
        })
        .await;
        assert!(!sh("ip -6 route show dev guest").contains("fd00::/64"));
    });
}

#[test]
fn a_solicitation_is_answered_with_all_that_is_known() {
    run(|| async {
        let client = plug().await;
        let _served = serve(client, lease_of_a_site("fd00::5"));
        let mut rdisc6 = Running::start("rdisc6", "", |_, _| {
            ["-1", "-r", "5", "-w", "1500", "guest"]
                .map(str::to_owned)
                .to_vec()
        });
        let mut told = Vec::new();
        for field in [
            "Hop limit",
            "Stateful address conf.",
            "Stateful other conf.",
            "Router lifetime",
            "Source link-layer address",
            "MTU",
            "Prefix",
            "On-link",
            "Autonomous address conf.",
            "Valid time",
            "Recursive DNS server",
            "DNS search list",
        ] {
            let line = rdisc6.line(field).await;
            told.push(line.split_once(':').unwrap().1.trim().to_owned());
        }
        let expected = [
            "64 (      0x40)",
            "Yes",
            "Yes",
            "9000 (0x00002328) seconds",
            "02:00:00:00:FF:01",
            "1400 bytes (valid)",
            "fd00::/64",
            "Yes",
            "No",
            "9000 (0x00002328) seconds",
            "2001:db8::53",
            "lab.example.org example.org",
        ];
        assert_eq!(told, expected);
    });
}

fn dhclient(leases: &std::path::Path) -> Running {
    let line = "$reason $old_ip6_address > $new_ip6_address/$new_ip6_prefixlen $new_max_life \
                dns $new_dhcp6_name_servers";
    let leases = leases.display().to_string();
    Running::start("dhclient", line, |folder, script| {
        let folder = folder.display();
        [
            "-6",
            "-d",
            "-q",
            "-1",
            "-cf",
            "/dev/null",
            "-lf",
            &leases,
            "-pf",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain([
            format!("{folder}/pid"),
            "-sf".to_owned(),
            script.display().to_string(),
            "guest".to_owned(),
        ])
        .collect()
    })
}

#[test]
fn dhclient_gets_its_address_and_after_a_change_the_new_one() {
    run(|| async {
        let client = plug().await;
        let short = Lease6 {
            duration: Duration::from_secs(6),
            ..lease("fd00::5")
        };
        let served = serve(client, short);
        let leases = tempfile::NamedTempFile::new().unwrap();
        let mut running = dhclient(leases.path());
        let told = running.line("BOUND6").await;
        assert_eq!(told, "> fd00::5/128 6 dns 2001:db8::53");

        // As it renews, the old address goes and the new one comes.
        served
            .directories
            .send_replace(directory(client, Some(lease("fd00::6"))));
        let told = running.line("RENEW6").await;
        assert_eq!(told, "> fd00::6/128 3600 dns 2001:db8::53");
        drop(running);

        // As it starts with an old lease, it is told to forget it.
        served
            .directories
            .send_replace(directory(client, Some(lease("2001:db8:1::9"))));
        let mut running = dhclient(leases.path());
        let told = running.line("BOUND6").await;
        assert_eq!(told, "> 2001:db8:1::9/128 3600 dns 2001:db8::53");
    });
}

#[test]
fn dhcpcd_gets_its_address_by_what_the_advertisement_says() {
    run(|| async {
        let client = plug().await;
        let _served = serve(client, lease_of_a_site("fd00::5"));
        let line = "$reason $new_dhcp6_ia_na1_ia_addr1 $new_dhcp6_ia_na1_ia_addr1_vltime \
                    dns $new_dhcp6_name_servers search $new_dhcp6_domain_search \
                    sntp $new_dhcp6_sntp_servers ntp $new_dhcp6_ntp_server_addr";
        let mut running = Running::start("dhcpcd", line, |_, script| {
            let script = script.display().to_string();
            let wanted =
                "dhcp6_name_servers,dhcp6_domain_search,dhcp6_sntp_servers,dhcp6_ntp_server";
            [
                "-6",
                "-B",
                "-q",
                "-f",
                "/dev/null",
                "-o",
                wanted,
                "-c",
                &script,
                "guest",
            ]
            .map(str::to_owned)
            .to_vec()
        });
        let told = running.line("BOUND6").await;
        let expected = "fd00::5 3600 dns 2001:db8::53 search lab.example.org example.org \
                        sntp 2001:db8::123 ntp 2001:db8::123";
        assert_eq!(told, expected);
        // It makes addresses and routes itself.
        let addresses = sh("ip -6 -o address show dev guest scope global");
        assert_eq!(addresses.lines().count(), 1, "{addresses}");
        assert!(addresses.contains(" fd00::5/"), "{addresses}");
        let routes = sh("ip -6 route show default");
        assert!(routes.contains(ROUTER), "{routes}");
    });
}

/// A guest without any DHCPv6 client: its kernel makes the address, of the prefix and its Ethernet
/// address.
#[test]
fn a_guest_makes_its_address_itself_where_it_may() {
    run(|| async {
        let client = plug().await;
        let own = Lease6 {
            autonomous: true,
            ..lease("fd00::ff:fe00:1")
        };
        let served = serve(client, own);
        let address = "ip -6 -o address show dev guest scope global";
        let made = until_printed(address, |it| it.contains(" fd00::ff:fe00:1/64 ")).await;
        assert_eq!(made.lines().count(), 1, "{made}");
        let routes = sh("ip -6 route show default");
        assert!(routes.contains(ROUTER), "{routes}");
        // The ENI has another address by now: the one that it made is not for new connections.
        let other = Some(lease("fd00::5"));
        served.directories.send_replace(directory(client, other));
        until_printed(address, |it| it.contains(" deprecated ")).await;
    });
}

#[test]
fn the_request_says_on_which_vlan_a_guest_is() {
    advertised_to(9, 0, &[0x81, 0, 0, 9]);
}

#[test]
fn the_request_says_on_which_vlan_within_another_a_guest_is() {
    advertised_to(9, 5, &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 9]);
}

fn advertised_to(vlan: u16, outer: u16, tags: &'static [u8]) {
    run(move || async move {
        let client = plug().await;
        let tagged = Client {
            vlan,
            outer,
            ..client
        };
        let _served = serve(tagged, lease("fd00::5"));
        // A tag is in the frame where it leaves; where it arrives the kernel takes it off.
        let (guest, port) = (packet_socket("guest"), packet_socket("port"));
        let answer = spawn_blocking(move || {
            let solicitor = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2];
            let solicitation = [
                &[0x33, 0x33, 0, 0, 0, 2][..],
                &GUEST_MAC,
                &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 58, 255],
                &solicitor,
                &[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
                &[133, 0, 0x7d, 0x34, 0, 0, 0, 0],
            ]
            .concat();
            send(guest.as_raw_fd(), &solicitation, MsgFlags::empty()).unwrap();
            let mut buffer = [0; 2048];
            loop {
                recv(port.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("an advertisement");
                if buffer[38 + tags.len()..][..16] == solicitor {
                    return buffer[..16 + tags.len()].to_vec();
                }
            }
        })
        .await
        .unwrap();
        let header = [0x86, 0xdd, 0x60, 0];
        assert_eq!(answer, [&GUEST_MAC[..], &PORT_MAC, tags, &header].concat());
    });
}

//! What the gateway answers itself, and says unasked: ARP on the uplink (R8, R11) and on ports (R9,
//! R12), DHCP (R10).

use anyhow::{Context, Result, anyhow};
use eip_dp_tests::lab::{
    arp::{probe, who_has},
    capture::{Capture, Frame},
    dhcp,
    process::PATIENCE,
    scene::{Options, Scene, name_servers},
    topology::{GATEWAY, GATEWAY_MAC, INTERNET, UPLINK},
    traffic::{addresses, ping},
    wait::until,
};

#[test]
fn on_link_pools_are_answered_for_associated_eips_only() -> Result<()> {
    let scene = Scene::new(&Options {
        on_link: true,
        ..Options::default()
    })?;
    let internet = &scene.backbone.internet;
    for eip in ["203.0.113.10", "203.0.113.12", "203.0.113.20"] {
        assert_eq!(
            who_has(internet, UPLINK, eip, GATEWAY)?.as_deref(),
            Some(GATEWAY_MAC),
            "R8 {eip}"
        );
        assert!(ping(internet, None, eip, 3)?.lost_nothing(), "{eip}");
    }
    assert_eq!(
        who_has(internet, UPLINK, "203.0.113.99", GATEWAY)?,
        None,
        "R8 no EIP"
    );
    assert_eq!(
        who_has(internet, UPLINK, "10.0.0.10", GATEWAY)?,
        None,
        "R8 private"
    );
    scene.gateway.ok("disassociate eip-a --wait")?;
    assert_eq!(
        who_has(internet, UPLINK, "203.0.113.10", GATEWAY)?,
        None,
        "R8 free"
    );
    Ok(())
}

#[test]
fn arp_on_the_uplink_can_be_switched_off() -> Result<()> {
    let scene = Scene::new(&Options {
        on_link: true,
        silent: true,
        configuration: "answer_arp = false",
        ..Options::default()
    })?;
    let internet = &scene.backbone.internet;
    assert_eq!(who_has(internet, UPLINK, "203.0.113.10", GATEWAY)?, None);
    Ok(())
}

/// R11: whoever asked before learns at once where an EIP is now.
#[test]
fn an_eip_that_arrives_or_moves_is_announced() -> Result<()> {
    let scene = Scene::new(&Options {
        on_link: true,
        silent: true,
        ..Options::default()
    })?;
    let outside = Capture::start(&scene.backbone.internet, UPLINK)?;
    let announcements = |eip: [u8; 4]| outside.incoming(|frame| is_announcement(frame, eip)).len();
    scene.gateway.ok("eip create late --address 203.0.113.40")?;
    scene.gateway.ok("associate late b-primary --wait")?;
    outside.wait_for("an announcement of a new EIP", |frame| {
        is_announcement(frame, [203, 0, 113, 40])
    })?;
    let before = announcements([203, 0, 113, 20]);
    scene
        .gateway
        .ok("eni attach b-secondary --instance a --port b2 --wait")?;
    until(
        PATIENCE,
        "repeated announcements of an EIP that moved",
        || Ok((announcements([203, 0, 113, 20]) >= before + 2).then_some(())),
    )
}

/// R11: what is behind the uplink when its link comes back may be another switch, which knows no
/// EIP's place.
#[test]
fn eips_are_announced_again_when_the_link_comes_back() -> Result<()> {
    const EACH: usize = 3;
    let scene = Scene::new(&Options {
        on_link: true,
        silent: true,
        ..Options::default()
    })?;
    let internet = &scene.backbone.internet;
    let outside = Capture::start(internet, UPLINK)?;
    let eip = [203, 0, 113, 40];
    let announced = |times: usize| {
        until(PATIENCE, "announcements of an EIP", || {
            let seen = outside.incoming(|frame| is_announcement(frame, eip)).len();
            Ok((seen >= times).then_some(()))
        })
    };
    scene.gateway.ok("eip create late --address 203.0.113.40")?;
    scene.gateway.ok("associate late b-primary --wait")?;
    announced(EACH)?;
    internet.ip(&format!("link set dev {UPLINK} down"))?;
    until(PATIENCE, "the link to be down", || {
        let status = scene.gateway.status()?;
        Ok((status["uplinks"][0]["link"] == "down").then_some(()))
    })?;
    internet.ip(&format!("link set dev {UPLINK} up"))?;
    announced(2 * EACH)
}

/// An ARP packet whose sender and target are the EIP, from the uplink's MAC.
fn is_announcement(frame: &Frame, eip: [u8; 4]) -> bool {
    let arp = frame.bytes.get(14..42).unwrap_or_default();
    frame.bytes.get(12..14) == Some(&[8, 6])
        && arp.get(8..14) == Some(&[2, 0, 0, 0, 1, 2])
        && arp.get(14..18) == Some(&eip)
        && arp.get(24..28) == Some(&eip)
}

#[test]
fn guests_find_their_gateway_and_everybody_else_at_their_port() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    for (guest, interface, port, address) in [
        (&scene.a, "eth0", "a1", "10.0.0.1"),
        (&scene.a, "eth0", "a1", "10.0.0.20"),
        (&scene.a, "eth1", "a2", "10.0.0.77"),
        (&scene.b, "eth1", "b2", "203.0.113.1"),
        (&scene.b, "eth1", "b2", "203.0.113.10"),
    ] {
        // What everybody there is answered for.
        let fence = if port == "b2" {
            "203.0.113.1"
        } else {
            "10.0.0.1"
        };
        assert_eq!(
            who_has(guest, interface, address, fence)?,
            Some(scene.mac_of(port)?),
            "R9 {address} from {port}"
        );
    }
    // A guest that probes whether its own address is free must find it free.
    let own = probe(&scene.a, "eth0", "10.0.0.10", "10.0.0.1")?;
    assert_eq!(own, None, "R9 own address");
    let before = scene.gateway.dropped("spoofed-source")?;
    scene.send_from(
        "a1",
        "ARP(op=1,hwsrc='02:00:00:00:0a:01',psrc='192.0.2.66',pdst='10.0.0.1')",
    )?;
    // A guest's own stack may say something from an address that is not its yet, meanwhile.
    assert!(scene.gateway.wait_for_drop("spoofed-source", before)? >= 1);
    Ok(())
}

/// R12: who knows the gateway goes on at once when its port has another Ethernet address, as after
/// a card is replaced. Linux would ask again after half a minute.
#[test]
fn guests_learn_the_new_mac_of_their_port_at_once() -> Result<()> {
    const NEW: [u8; 6] = [2, 0, 0, 0, 0xcc, 0xcc];
    const NEWER: [u8; 6] = [2, 0, 0, 0, 0xcc, 0xcd];
    let mut scene = Scene::new(&Options {
        dual_stack: true,
        ..Options::default()
    })?;
    let inside = Capture::start(&scene.a, "eth0")?;
    assert!(ping(&scene.a, Some("10.0.0.10"), INTERNET, 3)?.lost_nothing());
    assert_eq!(
        inside
            .incoming(|frame| is_announcement_of(frame, NEW, GATEWAY4))
            .len(),
        0
    );
    let change = |scene: &Scene, mac: &str| {
        scene
            .backbone
            .gateway
            .ip(&format!("link set dev a1 address {mac}"))
    };
    change(&scene, "02:00:00:00:cc:cc")?;
    inside.wait_for("the gateway's new Ethernet address", |frame| {
        is_announcement_of(frame, NEW, GATEWAY4)
    })?;
    let pinged = ping(&scene.a, Some("10.0.0.10"), INTERNET, 3)?;
    assert!(pinged.lost_nothing(), "R12: {pinged}");
    inside.wait_for("the gateway's new Ethernet address in IPv6", |frame| {
        is_router_advertised(frame, NEW, GATEWAY6)
    })?;
    let count = |mac| {
        let arp = inside.incoming(|frame| is_announcement_of(frame, mac, GATEWAY4));
        let nd = inside.incoming(|frame| is_router_advertised(frame, mac, GATEWAY6));
        (arp.len(), nd.len())
    };
    until(PATIENCE, "the repetitions", || {
        Ok((count(NEW) == (3, 3)).then_some(()))
    })?;
    // A daemon that takes over has nothing new to say.
    scene.gateway.stop()?;
    scene.gateway.start()?;
    change(&scene, "02:00:00:00:cc:cd")?;
    inside.wait_for("the address after that", |frame| {
        is_announcement_of(frame, NEWER, GATEWAY4)
    })?;
    assert_eq!(count(NEW), (3, 3), "a restart is no change");
    Ok(())
}

/// R12: the guest behind a port may know the gateway of another host, or of the port that it had
/// before.
#[test]
fn guests_learn_of_their_gateway_when_they_are_attached() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let gateway = &scene.gateway;
    let mac = scene.mac_of("b2")?;
    let mac: Vec<u8> = mac
        .split(':')
        .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    let mac = <[u8; 6]>::try_from(mac).map_err(|_| anyhow!("no Ethernet address"))?;
    let inside = Capture::start(&scene.b, "eth1")?;
    gateway.ok("eni detach b-secondary --wait")?;
    gateway.ok("eni attach b-secondary --instance b --port b2 --wait")?;
    // The router of its VPC, and that of its lease: it is in cut-through mode.
    for router in [GATEWAY4, [203, 0, 113, 1]] {
        inside.wait_for("an announcement of the gateway", |frame| {
            is_announcement_of(frame, mac, router)
        })?;
    }
    Ok(())
}

/// The router of the scene's VPC.
const GATEWAY4: [u8; 4] = [10, 0, 0, 1];
const GATEWAY6: [u8; 16] = [0xfd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// A broadcast ARP packet whose sender and target have that address.
fn is_announcement_of(frame: &Frame, mac: [u8; 6], address: [u8; 4]) -> bool {
    let arp = frame.bytes.get(14..42).unwrap_or_default();
    frame.bytes.get(..6) == Some(&[0xff; 6])
        && frame.bytes.get(12..14) == Some(&[8, 6])
        && arp.get(8..14) == Some(&mac)
        && arp.get(14..18) == Some(&address)
        && arp.get(24..28) == Some(&address)
}

/// A neighbour advertisement to all nodes, of a router, that overrides.
fn is_router_advertised(frame: &Frame, mac: [u8; 6], address: [u8; 16]) -> bool {
    let message = frame.bytes.get(54..).unwrap_or_default();
    frame.bytes.get(..6) == Some(&[0x33, 0x33, 0, 0, 0, 1])
        && frame.bytes.get(20) == Some(&58)
        && message.first() == Some(&136)
        && message.get(4) == Some(&0xa0)
        && message.get(8..24) == Some(&address)
        && message.get(26..32) == Some(&mac)
}

#[test]
fn leases_say_what_an_eni_is() -> Result<()> {
    let scene = Scene::new(&Options {
        configuration: "[dhcp]\ndns = [\"192.0.2.53\"]\nlease = 900",
        ..Options::default()
    })?;
    for (guest, interface, address, router) in [
        (&scene.a, "eth0", "10.0.0.10", "10.0.0.1"),
        (&scene.a, "eth1", "10.0.0.11", "10.0.0.1"),
        (&scene.b, "eth0", "10.0.0.20", "10.0.0.1"),
        (&scene.b, "eth1", "203.0.113.20", "203.0.113.1"),
    ] {
        let lease = dhcp::leases(guest, interface)?;
        for line in [
            format!("fixed-address {address};"),
            "option subnet-mask 255.255.255.0;".to_owned(),
            format!("option routers {router};"),
            "option interface-mtu 1500;".to_owned(),
            "option domain-name-servers 192.0.2.53;".to_owned(),
            "option dhcp-lease-time 900;".to_owned(),
        ] {
            assert!(lease.contains(&line), "R10 {line} is not in: {lease}");
        }
    }
    assert!(name_servers(&scene.a)?.contains("192.0.2.53"));
    Ok(())
}

/// A routed pool of which every address is usable: /32, and a route to a router that is in no
/// prefix of the guest's.
#[test]
fn a_pool_without_gateway_gives_a_host_address_and_routes() -> Result<()> {
    let scene = Scene::new(&Options {
        pool: "--gateway none",
        ..Options::default()
    })?;
    let list = addresses(&scene.b)?;
    assert!(
        list.contains(&"203.0.113.20/32".to_owned()),
        "R10 gateway none: {list:?}"
    );
    let lease = dhcp::leases(&scene.b, "eth1")?;
    assert!(
        lease.contains("option rfc3442-classless-static-routes"),
        "R10 option 121: {lease}"
    );
    let pinged = ping(&scene.b, Some("203.0.113.20"), INTERNET, 3)?;
    assert!(pinged.lost_nothing(), "{pinged}");
    // Without its primary interface the guest has only what the second lease gave it.
    scene.b.ip("link set dev eth0 down")?;
    dhcp::bind(&scene.b, "eth1")?;
    let routes = scene.b.ip("route")?;
    let pinged = ping(&scene.b, Some("203.0.113.20"), INTERNET, 3)?;
    assert!(pinged.lost_nothing(), "{pinged} by {routes}");
    Ok(())
}

#[test]
fn a_stranded_eni_gets_no_lease_and_a_changed_one_a_new_one() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let gateway = &scene.gateway;
    gateway.ok("disassociate eip-b --wait")?;
    assert!(!dhcp::gets_lease(&scene.b, "eth1", 3)?, "R10 stranded");
    gateway.ok("eni detach b-secondary")?;
    gateway.ok("eni attach b-secondary --instance b --port b2 --wait")?;
    dhcp::bind(&scene.b, "eth1")?;
    let list = addresses(&scene.b)?;
    assert!(list.contains(&"10.0.0.21/24".to_owned()), "{list:?}");

    // The address that the guest has becomes another one.
    gateway.ok("eni add-ip b-secondary 10.0.0.22")?;
    gateway.ok("eni remove-ip b-secondary 10.0.0.21 --wait")?;
    dhcp::bind(&scene.b, "eth1").context("after the private IP changed")?;
    let list = addresses(&scene.b)?;
    assert!(list.contains(&"10.0.0.22/24".to_owned()), "{list:?}");
    assert!(ping(&scene.a, Some("10.0.0.10"), "10.0.0.22", 3)?.lost_nothing());
    Ok(())
}

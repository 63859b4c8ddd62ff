//! What the gateway tells guests with IPv6 (R10), and what they do with it.

use anyhow::Result;
use eip_dp_tests::lab::{
    dhcp,
    process::PATIENCE,
    scene::{EIPS6, ENIS, Options, Scene, mac_of, name_servers},
    topology::INTERNET6,
    traffic::ping,
    wait::until,
};

fn scene(configuration: &'static str) -> Result<Scene> {
    Scene::new(&Options {
        dual_stack: true,
        configuration,
        ..Options::default()
    })
}

/// The link-local address that belongs to an Ethernet address, as `ip` prints it.
fn link_local(mac: &str) -> String {
    let bytes: Vec<u16> = mac
        .split(':')
        .filter_map(|byte| u16::from_str_radix(byte, 16).ok())
        .collect();
    let word = |high: u16, low: u16| high << 8 | low;
    std::net::Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        word(bytes[0] ^ 2, bytes[1]),
        word(bytes[2], 0xff),
        word(0xfe, bytes[3]),
        word(bytes[4], bytes[5]),
    )
    .to_string()
}

#[test]
fn a_guest_has_its_router_by_advertisement_and_its_one_address_by_dhcp() -> Result<()> {
    let scene = scene("[dhcp]\ndns = [\"192.0.2.53\", \"2001:db8::53\"]\nlease = 900")?;
    for eni in &ENIS {
        let guest = scene.guest(eni.instance);
        let (address, on_link) = if eni.id == "b-secondary" {
            (EIPS6[1].address, "2001:db8:cb::/64")
        } else {
            (eni.private6, "fd00:10::/64")
        };
        assert_eq!(
            dhcp::addresses6(guest, eni.interface)?,
            [address],
            "R10 {}",
            eni.id
        );
        let router = link_local(&mac_of(&scene.backbone.gateway, eni.port)?);
        let table = guest.ip(&format!("-6 route show dev {}", eni.interface))?;
        assert!(table.contains(&format!("default via {router} ")), "{table}");
        assert!(table.contains(on_link), "{table}");
        let lease = dhcp::leases6(guest, eni.interface)?;
        for line in ["max-life 900;", "option dhcp6.name-servers 2001:db8::53;"] {
            assert!(lease.contains(line), "R10 {line} is not in: {lease}");
        }
        // The router is there, and so is the Internet, for those who have an EIP.
        let scoped = format!("{router}%{}", eni.interface);
        assert!(ping(guest, None, &scoped, 3)?.lost_nothing(), "{}", eni.id);
    }
    assert!(name_servers(&scene.a)?.contains("2001:db8::53"));
    for eip in &EIPS6 {
        let guest = scene.guest_of(eip);
        let out = ping(guest, Some(eip.inside()), INTERNET6, 3)?;
        assert!(out.lost_nothing(), "{} out: {out}", eip.id);
        let back = ping(&scene.backbone.internet, None, eip.address, 3)?;
        assert!(back.lost_nothing(), "{} in: {back}", eip.id);
    }
    // Private networking.
    let across = ping(&scene.a, Some(ENIS[0].private6), ENIS[2].private6, 3)?;
    assert!(across.lost_nothing(), "{across}");
    Ok(())
}

#[test]
fn a_stranded_eni_loses_its_router_and_a_changed_one_gets_a_new_lease() -> Result<()> {
    let scene = scene("")?;
    let (gateway, guest) = (&scene.gateway, &scene.b);
    gateway.ok("disassociate eip-b --wait")?;
    gateway.ok("disassociate eip6-b --wait")?;
    until(PATIENCE, "the end of the default route", || {
        let routes = guest.ip("-6 route show default dev eth1")?;
        Ok(routes.is_empty().then_some(()))
    })?;
    assert!(!dhcp::gets_lease6(guest, "eth1", 3)?, "R10 stranded");

    gateway.ok("eni detach b-secondary")?;
    gateway.ok("eni attach b-secondary --instance b --port b2 --wait")?;
    dhcp::bind6(guest, "eth1")?;
    let addresses = dhcp::addresses6(guest, "eth1")?;
    assert!(
        addresses.contains(&ENIS[3].private6.to_owned()),
        "{addresses:?}"
    );
    let across = ping(&scene.a, Some(ENIS[0].private6), ENIS[3].private6, 3)?;
    assert!(across.lost_nothing(), "{across}");
    Ok(())
}

//! Whose an address on the uplink's link is: EIPs that other hosts have, next hops, and several
//! ways onto one link (R8, R11).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    capture::{Capture, Frame},
    gateway::Gateway,
    scene::{Options, Scene, mac_of},
    topology::{GATEWAY_MAC, INTERNET, INTERNET_MAC, UPLINK},
    wait::until,
};

const PATIENCE: Duration = Duration::from_mins(1);

const GATEWAY: [u8; 6] = [2, 0, 0, 0, 1, 2];
/// A host that only the frames of these tests are from.
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0x88, 0x88];
const NOBODY: [u8; 4] = [0; 4];

/// The EIP of the scene that nobody contests.
const OURS: [u8; 4] = [203, 0, 113, 10];

/// The scene where the pools are the uplink's own networks.
fn lan(dual_stack: bool) -> Result<Scene> {
    let scene = Scene::new(&Options {
        on_link: true,
        silent: true,
        dual_stack,
        ..Options::default()
    })?;
    on_link(&scene.backbone.gateway, "203.0.113.2/24")?;
    if dual_stack {
        on_link(&scene.backbone.gateway, "2001:db8:cb::2/64")?;
    }
    Ok(scene)
}

fn on_link(host: &eip_dp_tests::lab::netns::Netns, address: &str) -> Result<()> {
    host.ip(&format!("address add {address} dev {UPLINK} nodad"))?;
    Ok(())
}

/// Gives an EIP of its own to an ENI that has none.
fn associate(scene: &Scene, id: &str, address: &str) -> Result<()> {
    scene
        .gateway
        .ok(&format!("eip create {id} --address {address}"))?;
    scene
        .gateway
        .ok(&format!("associate {id} b-primary --wait"))?;
    Ok(())
}

fn arp(operation: u8, mac: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = [[0xff; 6], mac].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(mac);
    frame.extend(sender);
    frame.extend([0; 6]);
    frame.extend(target);
    frame.resize(60, 0);
    frame
}

/// An ARP packet from that Ethernet address that says this of the sender's address.
fn says(frame: &Frame, operation: u8, mac: [u8; 6], sender: [u8; 4]) -> bool {
    let packet = frame.bytes.get(14..42).unwrap_or_default();
    frame.bytes.get(12..14) == Some(&[8, 6])
        && packet.get(7) == Some(&operation)
        && packet.get(8..14) == Some(&mac)
        && packet.get(14..18) == Some(&sender)
}

fn is_announced(frame: &Frame, mac: [u8; 6], eip: [u8; 4]) -> bool {
    says(frame, 1, mac, eip) && frame.bytes.get(38..42) == Some(&eip)
}

fn is_probed(frame: &Frame, eip: [u8; 4]) -> bool {
    says(frame, 1, GATEWAY, NOBODY) && frame.bytes.get(38..42) == Some(&eip)
}

/// Whether the gateway answers for an address: an answer for another that was asked for after it
/// says that none comes.
fn is_answered(outside: &Capture, eip: [u8; 4]) -> Result<bool> {
    let count = |eip| outside.incoming(|frame| says(frame, 2, GATEWAY, eip)).len();
    let (before, ours) = (count(eip), count(OURS));
    for address in [eip, OURS] {
        outside.send(&arp(1, STRANGER, [203, 0, 113, 3], address))?;
    }
    until(PATIENCE, "the answer for an EIP that is ours", || {
        Ok((count(OURS) > ours).then_some(()))
    })?;
    Ok(count(eip) > before)
}

fn wait_for_conflict(scene: &Scene, eip: &str) -> Result<String> {
    until(PATIENCE, &format!("a conflict about {eip}"), || {
        conflict(&scene.gateway, eip)
    })
}

/// Who else has an EIP, as `status` says it.
fn conflict(gateway: &Gateway, eip: &str) -> Result<Option<String>> {
    let status = gateway.status()?;
    let all = status["conflicts"].as_array().cloned().unwrap_or_default();
    let mut ours = all.iter().filter(|one| one["eip"] == eip);
    Ok(ours
        .next()
        .and_then(|one| one["mac"].as_str())
        .map(str::to_owned))
}

#[test]
fn an_address_that_another_host_has_is_left_to_it_until_it_goes() -> Result<()> {
    const EIP: [u8; 4] = [203, 0, 113, 66];
    let scene = lan(false)?;
    let internet = &scene.backbone.internet;
    on_link(internet, "203.0.113.66/32")?;
    let outside = Capture::start(internet, UPLINK)?;
    // It is served before it is known whose it is.
    associate(&scene, "late", "203.0.113.66")?;
    assert_eq!(wait_for_conflict(&scene, "late")?, INTERNET_MAC);
    let text = scene.gateway.status_text()?;
    assert!(text.contains("--announce always"), "{text}");
    assert!(!is_answered(&outside, EIP)?, "R8: another host has it");
    assert_eq!(
        outside
            .incoming(|frame| is_announced(frame, GATEWAY, EIP))
            .len(),
        0,
        "R11"
    );
    // The one that the kernel remembers from the conflict is no holder.
    internet.ip(&format!("address del 203.0.113.66/32 dev {UPLINK}"))?;
    outside.wait_for(
        "the announcement of an EIP that nobody has any more",
        |frame| is_announced(frame, GATEWAY, EIP),
    )?;
    assert!(is_answered(&outside, EIP)?);
    until(PATIENCE, "the end of the conflict", || {
        Ok(conflict(&scene.gateway, "late")?.is_none().then_some(()))
    })
}

#[test]
fn an_eip_is_asked_for_before_it_is_announced() -> Result<()> {
    /// How often what begins, or moves, is announced: at once, and twice more.
    const TIMES: usize = 3;
    const EIP: [u8; 4] = [203, 0, 113, 67];
    let scene = lan(false)?;
    let (internet, gateway) = (&scene.backbone.internet, &scene.backbone.gateway);
    let outside = Capture::start(internet, UPLINK)?;
    // A neighbour entry of who had the address says nothing.
    gateway.ip(&format!(
        "neigh replace 203.0.113.67 lladdr 02:00:00:00:00:66 dev {UPLINK} nud stale"
    ))?;
    associate(&scene, "late", "203.0.113.67")?;
    outside.wait_for("the announcement", |frame| {
        is_announced(frame, GATEWAY, EIP)
    })?;
    let probes = outside.incoming(|frame| is_probed(frame, EIP));
    assert_eq!(probes.len(), 3, "RFC 5227 2.1.1");
    assert!(is_answered(&outside, EIP)?);
    let announced = |times: usize| {
        until(PATIENCE, &format!("announcement {times}"), || {
            let seen = outside.incoming(|frame| is_announced(frame, GATEWAY, EIP));
            Ok((seen.len() >= times).then_some(()))
        })
    };
    announced(TIMES)?;
    // One that is answered for already, and only moves, is not asked for again, and announced at
    // once.
    scene
        .gateway
        .ok("eni add-ip a-secondary 10.0.0.15 --wait")?;
    let file = scene.lab.folder().join("moved.toml");
    std::fs::write(
        &file,
        "[[association]]\neip = \"late\"\neni = \"a-secondary\"\nprivate_ip = \"10.0.0.15\"\nmode = \"nat\"\n",
    )?;
    scene
        .gateway
        .ok(&format!("apply -f {} --wait", file.display()))?;
    announced(TIMES + 1)?;
    assert!(is_answered(&outside, EIP)?);
    assert_eq!(outside.incoming(|frame| is_probed(frame, EIP)).len(), 3);
    assert_eq!(conflict(&scene.gateway, "late")?, None);
    Ok(())
}

/// A router with proxy ARP answers for every address.
#[test]
fn an_eip_can_be_announced_whoever_has_it() -> Result<()> {
    const EIP: [u8; 4] = [203, 0, 113, 68];
    let scene = lan(false)?;
    let internet = &scene.backbone.internet;
    on_link(internet, "203.0.113.68/32")?;
    let outside = Capture::start(internet, UPLINK)?;
    associate(&scene, "late", "203.0.113.68")?;
    wait_for_conflict(&scene, "late")?;
    let gateway = &scene.gateway;
    gateway.ok("eip set late --announce always --wait")?;
    assert!(is_answered(&outside, EIP)?);
    outside.wait_for("the announcement", |frame| {
        is_announced(frame, GATEWAY, EIP)
    })?;
    until(PATIENCE, "the end of the conflict", || {
        Ok(conflict(gateway, "late")?.is_none().then_some(()))
    })?;
    gateway.ok("eip set late --announce auto --wait")?;
    wait_for_conflict(&scene, "late")?;
    assert!(!is_answered(&outside, EIP)?);
    Ok(())
}

/// RFC 5227 2.4: who says that it has an address of ours is contradicted once.
#[test]
fn an_address_that_somebody_takes_later_is_defended_once() -> Result<()> {
    const EIP: [u8; 4] = [203, 0, 113, 69];
    let scene = lan(false)?;
    let outside = Capture::start(&scene.backbone.internet, UPLINK)?;
    associate(&scene, "late", "203.0.113.69")?;
    let announced = || {
        outside
            .incoming(|frame| is_announced(frame, GATEWAY, EIP))
            .len()
    };
    until(PATIENCE, "all announcements", || {
        Ok((announced() == 3).then_some(()))
    })?;
    // An Ethernet address that the uplink had is no other host's: a switch may answer for us by
    // what it remembers.
    let gateway = &scene.backbone.gateway;
    gateway.ip(&format!("link set dev {UPLINK} address 02:00:00:00:01:03"))?;
    until(PATIENCE, "the new Ethernet address", || {
        let new = [2, 0, 0, 0, 1, 3];
        let seen = outside.incoming(|frame| is_announced(frame, new, EIP));
        Ok((!seen.is_empty()).then_some(()))
    })?;
    for _ in 0..3 {
        outside.send(&arp(2, GATEWAY, EIP, [203, 0, 113, 2]))?;
    }
    gateway.ip(&format!("link set dev {UPLINK} address {GATEWAY_MAC}"))?;
    until(PATIENCE, "the old Ethernet address", || {
        Ok((announced() == 6).then_some(()))
    })?;
    assert_eq!(conflict(&scene.gateway, "late")?, None);

    outside.send(&arp(1, STRANGER, EIP, EIP))?;
    until(PATIENCE, "the defence", || {
        Ok((announced() == 7).then_some(()))
    })?;
    assert!(is_answered(&outside, EIP)?);
    outside.send(&arp(1, STRANGER, EIP, EIP))?;
    assert_eq!(wait_for_conflict(&scene, "late")?, "02:00:00:00:88:88");
    assert!(!is_answered(&outside, EIP)?);
    // Nobody answers the probes: it was a moment's mistake.
    until(PATIENCE, "the end of the conflict", || {
        Ok((announced() > 7).then_some(()))
    })?;
    assert!(is_answered(&outside, EIP)?);
    Ok(())
}

#[test]
fn an_ipv6_address_that_another_host_has_is_left_to_it_until_it_goes() -> Result<()> {
    const EIP: [u8; 16] = [
        0x20, 1, 0x0d, 0xb8, 0, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66,
    ];
    let scene = lan(true)?;
    let internet = &scene.backbone.internet;
    on_link(internet, "2001:db8:cb::66/128")?;
    let outside = Capture::start(internet, UPLINK)?;
    let advertised = |frame: &Frame| {
        frame.bytes.get(6..12) == Some(&GATEWAY)
            && frame.bytes.get(20) == Some(&58)
            && frame.bytes.get(54) == Some(&136)
            && frame.bytes.get(62..78) == Some(&EIP)
    };
    associate(&scene, "late", "2001:db8:cb::66")?;
    assert_eq!(wait_for_conflict(&scene, "late")?, INTERNET_MAC);
    outside.wait_for("a solicitation of who has no address yet", |frame| {
        frame.bytes.get(..6) == Some(&[0x33, 0x33, 0xff, 0, 0, 0x66])
            && frame.bytes.get(22..38) == Some(&[0; 16])
            && frame.bytes.get(54) == Some(&135)
    })?;
    assert_eq!(outside.incoming(advertised).len(), 0);
    internet.ip(&format!("address del 2001:db8:cb::66/128 dev {UPLINK}"))?;
    outside.wait_for(
        "the advertisement of an EIP that nobody has any more",
        advertised,
    )?;
    until(PATIENCE, "the end of the conflict", || {
        Ok(conflict(&scene.gateway, "late")?.is_none().then_some(()))
    })
}

#[test]
fn a_next_hop_is_no_eip() -> Result<()> {
    let mut scene = lan(false)?;
    let outside = Capture::start(&scene.backbone.internet, UPLINK)?;
    let configuration = format!("[[uplink]]\ninterface = \"{UPLINK}\"\n");
    scene.gateway.configure(&configuration)?;
    let host = scene.backbone.gateway.clone();
    host.ip("route add default via 203.0.113.3")?;
    scene.gateway.stop()?;
    scene.gateway.start()?;
    let gateway = &scene.gateway;
    gateway.ok("eip create next --wait")?;
    let next = gateway.json("eip show next")?;
    assert_eq!(next["address"], "203.0.113.4", "the lowest that is free");
    let refused = |arguments: &str| -> Result<()> {
        let outcome = gateway.outcome(arguments)?;
        let said = String::from_utf8_lossy(&outcome.stderr);
        ensure!(outcome.status.code() == Some(3), "{arguments}: {outcome:?}");
        ensure!(said.contains("reserved-address"), "{arguments}: {said}");
        Ok(())
    };
    refused("eip create hop --address 203.0.113.3")?;

    // One that was an EIP before.
    assert!(is_answered(&outside, [203, 0, 113, 12])?);
    host.ip("route replace default via 203.0.113.12")?;
    until(PATIENCE, "the EIP to be served no more", || {
        let status = gateway.status_text()?;
        let said = "eip eip-a3: the next hop of an uplink has the address 203.0.113.12";
        Ok(status.contains(said).then_some(()))
    })?;
    assert!(!is_answered(&outside, [203, 0, 113, 12])?);
    gateway.ok("disassociate eip-a3 --wait")?;
    refused("associate eip-a3 a-secondary --private-ip 10.0.0.12")?;
    host.ip("route replace default via 203.0.113.3")?;
    until(PATIENCE, "the EIP to be served again", || {
        let said = gateway.status_text()?.contains("eip eip-a3");
        Ok((!said).then_some(()))
    })?;
    gateway.ok("associate eip-a3 a-secondary --private-ip 10.0.0.12 --wait")?;
    Ok(())
}

/// Two uplinks on one LAN, with a network there and without: the first that is up answers and
/// announces.
#[test]
fn of_two_uplinks_on_one_link_one_answers() -> Result<()> {
    const SECOND: [u8; 6] = [2, 0, 0, 0, 1, 0x22];
    let mut scene = Scene::new(&Options {
        on_link: true,
        silent: true,
        ..Options::default()
    })?;
    let (internet, host) = (&scene.backbone.internet, &scene.backbone.gateway);
    internet.ip(&format!(
        "link add second type veth peer name up1 address 02:00:00:00:01:22 netns {}",
        host.name()
    ))?;
    // Its own address is whom the answers of these tests are to.
    internet.ip("link add lan address 02:00:00:00:88:88 type bridge")?;
    internet.ip(&format!("address flush dev {UPLINK}"))?;
    for port in [UPLINK, "second"] {
        internet.ip(&format!("link set dev {port} master lan"))?;
        internet.ip(&format!("link set dev {port} up"))?;
    }
    internet.ip("link set dev lan up")?;
    internet.ip(&format!("address add {INTERNET}/24 dev lan"))?;
    host.ip("link set dev up1 up")?;
    let outside = Capture::start(internet, "lan")?;
    let uplink =
        |name: &str| format!("[[uplink]]\ninterface = \"{name}\"\nnext_hop = \"{INTERNET}\"\n");
    scene
        .gateway
        .configure(&[uplink(UPLINK), uplink("up1")].concat())?;
    scene.gateway.stop()?;
    scene.gateway.start()?;
    let count = |mac| outside.incoming(|frame| says(frame, 2, mac, OURS)).len();
    let ask = || outside.send(&arp(1, STRANGER, [203, 0, 113, 3], OURS));
    // Asks until this one answers; returns whether the other did meanwhile.
    let answers = |mac: [u8; 6], other: [u8; 6]| -> Result<bool> {
        let (before, others) = (count(mac), count(other));
        until(PATIENCE, "an answer", || {
            ask()?;
            Ok((count(mac) > before).then_some(()))
        })?;
        Ok(count(other) > others)
    };
    // Each hears what the other announces.
    until(PATIENCE, "one to be silent", || {
        Ok((!answers(GATEWAY, SECOND)?).then_some(()))
    })?;
    let host = &scene.backbone.gateway;
    for (interface, address) in [(UPLINK, "203.0.113.2/24"), ("up1", "203.0.113.4/24")] {
        host.ip(&format!("address add {address} dev {interface}"))?;
    }
    for _ in 0..3 {
        assert!(!answers(GATEWAY, SECOND)?, "the first one answers");
    }
    host.ip(&format!("link set dev {UPLINK} down"))?;
    outside.wait_for("the announcement by the other one", |frame| {
        is_announced(frame, SECOND, OURS)
    })?;
    assert!(!answers(SECOND, GATEWAY)?);
    host.ip(&format!("link set dev {UPLINK} up"))?;
    until(PATIENCE, "the first one to answer again", || {
        Ok((!answers(GATEWAY, SECOND)?).then_some(()))
    })
}

/// Another gateway of the table answers for an EIP while this one takes over, and later: no
/// conflict.
#[test]
fn another_gateway_of_the_table_is_no_other_host() -> Result<()> {
    const OTHER: [u8; 6] = [2, 0, 0, 0, 1, 0x33];
    let mut scene = lan(false)?;
    let internet = &scene.backbone.internet;
    let host = scene.lab.namespace("other")?;
    internet.ip(&format!(
        "link add third type veth peer name {UPLINK} address 02:00:00:00:01:33 netns {}",
        host.name()
    ))?;
    // Its own address is whom the answers of these tests are to.
    internet.ip("link add lan address 02:00:00:00:88:88 type bridge")?;
    for port in [UPLINK, "third"] {
        internet.ip(&format!("link set dev {port} master lan"))?;
        internet.ip(&format!("link set dev {port} up"))?;
    }
    internet.ip("link set dev lan up")?;
    on_link(&host, "203.0.113.5/24")?;
    host.ip(&format!("link set dev {UPLINK} up"))?;
    let outside = Capture::start(internet, "lan")?;
    let name = format!("{}-o", scene.gateway.name());
    let configuration =
        format!("[[uplink]]\ninterface = \"{UPLINK}\"\nnext_hop = \"{INTERNET}\"\n");
    let mut other = Gateway::named(&scene.lab, &host, &name, &configuration)?;
    other.share_table_of(&scene.gateway);
    assert!(is_answered(&outside, OURS)?, "by the first gateway");
    other.start()?;
    until(PATIENCE, "the other gateway to answer", || {
        outside.send(&arp(1, STRANGER, [203, 0, 113, 3], OURS))?;
        let answers = outside.incoming(|frame| says(frame, 2, OTHER, OURS));
        Ok((!answers.is_empty()).then_some(()))
    })?;
    // The first one heard its announcements.
    for gateway in [&scene.gateway, &other] {
        assert_eq!(conflict(gateway, "eip-a")?, None, "{}", gateway.name());
    }
    // So it is after that one's daemon has ended.
    scene.gateway.kill()?;
    other.stop()?;
    other.start()?;
    assert_eq!(conflict(&other, "eip-a")?, None);
    other.stop()?;
    other.ok("unload")?;
    let mac = mac_of(&scene.backbone.gateway, UPLINK).context("the first uplink")?;
    assert_eq!(mac, GATEWAY_MAC);
    Ok(())
}

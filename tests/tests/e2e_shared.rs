//! Private addresses that several ENIs share: guests with keepalived, and their EIPs that follow
//! whoever is the master.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    Lab,
    capture::{Capture, Frame},
    frames,
    gateway::Gateway,
    netns::Netns,
    process::{Job, PATIENCE},
    scene::{POOL, POOL6, VPC, VPC6, mac_of},
    topology::{Backbone, INTERNET, INTERNET6, UPLINK},
    traffic::{Pinging, ping},
    wait::until,
};
use nix::sys::signal::Signal;

const SHARED: &str = "10.0.0.100";
const SHARED6: &str = "fd00:10::100";
const EIP: &str = "203.0.113.10";
const EIP6: &str = "2001:db8:cb::10";
const VIRTUAL_MAC: &str = "00:00:5e:00:01:33";
const VIRTUAL_MAC6: &str = "00:00:5e:00:02:33";

/// Two guests that share an address of each family, and a third of the same VPC that does not.
struct Routers {
    gateway: Gateway,
    backbone: Backbone,
    guests: [Netns; 3],
    lab: Lab,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Routers {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let backbone = Backbone::new(&lab)?;
        backbone.route_pool(POOL)?;
        backbone.with_ipv6(POOL6)?;
        let configuration = format!(
            "[[uplink]]\ninterface = \"{UPLINK}\"\nnext_hop = [\"{INTERNET}\", \"{INTERNET6}\"]\n"
        );
        let mut gateway = Gateway::new(&lab, &backbone.gateway, &configuration)?;
        gateway.ok(&format!("pool create {POOL}"))?;
        gateway.ok(&format!("pool create {POOL6}"))?;
        gateway.ok(&format!("vpc create v --cidr {VPC} --cidr {VPC6}"))?;
        let mut guests = Vec::new();
        for (index, name) in NAMES.iter().enumerate() {
            let (number, mac) = (index + 11, mac(index));
            gateway.ok(&format!("instance create {name}"))?;
            gateway.ok(&format!(
                "eni create {name} --vpc v --kind primary --mac {mac} --private-ip 10.0.0.{number} \
                 --private-ip fd00:10::{number}"
            ))?;
            if *name != "c" {
                gateway.ok(&format!("eni add-ip {name} {SHARED} --shared"))?;
                gateway.ok(&format!("eni add-ip {name} {SHARED6} --shared"))?;
            }
            gateway.ok(&format!(
                "eni attach {name} --instance {name} --port p{index}"
            ))?;
            let guest = lab.namespace(name)?;
            backbone.plug(&format!("p{index}"), &guest, "eth0", &mac)?;
            guest.ip("link set dev eth0 up")?;
            address(&guest, index)?;
            guests.push(guest);
        }
        // At the one that is to be the backup.
        for (id, eip, private) in [("e", EIP, SHARED), ("e6", EIP6, SHARED6)] {
            gateway.ok(&format!("eip create {id} --address {eip}"))?;
            gateway.ok(&format!("associate {id} b --private-ip {private}"))?;
        }
        gateway.start()?;
        let guests = guests.try_into().ok().context("three guests")?;
        Ok(Self {
            gateway,
            backbone,
            guests,
            lab,
        })
    }

    /// Who has an address, and how often it has moved.
    fn holder(&self, address: &str) -> Result<(String, u64)> {
        let status = self.gateway.status()?;
        let shared = status["shared"].as_array().context("no list")?;
        let one = shared.iter().find(|one| one["address"] == address);
        let one = one.with_context(|| format!("{address} is not in {status}"))?;
        let eni = one["eni"].as_str().context("no ENI")?;
        Ok((eni.to_owned(), one["moves"].as_u64().context("no number")?))
    }

    /// Waits until both addresses are a guest's, and are reached there from everywhere.
    fn wait_for_master(&self, name: &str) -> Result<()> {
        until(PATIENCE, &format!("both addresses to be {name}'s"), || {
            let both = self.holder(SHARED)?.0 == name && self.holder(SHARED6)?.0 == name;
            Ok(both.then_some(()))
        })
        .with_context(|| self.gateway.log())?;
        self.is_reached()?;
        self.gateway.ok("verify")?;
        Ok(())
    }

    /// From the Internet by the EIPs, and from the third guest.
    fn is_reached(&self) -> Result<()> {
        for (from, target) in [
            (&self.backbone.internet, EIP),
            (&self.backbone.internet, EIP6),
            (&self.guests[2], SHARED),
            (&self.guests[2], SHARED6),
        ] {
            until(PATIENCE, &format!("{target} to answer"), || {
                let pinged = ping(from, None, target, 2)?;
                Ok(pinged.lost_nothing().then_some(()))
            })?;
        }
        Ok(())
    }

    /// Sends a frame, given in scapy's words, from a guest; `P` is its port's Ethernet address, `M`
    /// its own.
    fn send(&self, index: usize, frame: &str) -> Result<()> {
        let port = mac_of(&self.backbone.gateway, &format!("p{index}"))?;
        let setup = format!("P = '{port}'; M = '{}'", mac(index));
        let frames = frames::build(&setup, &[frame])?;
        Capture::start(&self.guests[index], "eth0")?.send(&frames[0])
    }
}

fn mac(index: usize) -> String {
    format!("02:00:00:00:0a:{:02x}", index + 1)
}

fn address(guest: &Netns, index: usize) -> Result<()> {
    let number = index + 11;
    guest.ip(&format!("address replace 10.0.0.{number}/24 dev eth0"))?;
    guest.ip(&format!(
        "address replace fd00:10::{number}/64 dev eth0 nodad"
    ))?;
    guest.ip("route replace default via 10.0.0.1")?;
    guest.ip("-6 route replace default via fd00:10::1 dev eth0 metric 10")?;
    Ok(())
}

/// keepalived in a guest.
fn keepalived(lab: &Lab, guest: &Netns, name: &str, priority: u8, vmac: bool) -> Result<Job> {
    let use_vmac = if vmac { "use_vmac" } else { "" };
    let instance = |family: &str, address: &str, more: &str| {
        format!(
            "vrrp_instance {family} {{\n state BACKUP\n interface eth0\n {use_vmac}\n virtual_router_id 51\n \
             priority {priority}\n advert_int 1\n {more}\n virtual_ipaddress {{\n {address}\n }}\n}}\n"
        )
    };
    let text = format!(
        "global_defs {{\n router_id {name}\n vrrp_version 3\n}}\n{}{}",
        instance("V4", &format!("{SHARED}/24"), ""),
        instance("V6", &format!("{SHARED6}/64"), "native_ipv6"),
    );
    let file = lab.folder().join(format!("keepalived-{name}.conf"));
    fs::write(&file, text)?;
    let mut command = guest.guest_command("keepalived")?;
    command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]);
    let mut job = Job::start(
        command.arg(&file),
        &lab.folder().join(format!("keepalived-{name}.log")),
    )?;
    job.wait_for("Entering BACKUP STATE")
        .context("`cargo xtask setup` installs keepalived")?;
    Ok(job)
}

fn end(mut job: Job) -> Result<()> {
    job.signal(Signal::SIGTERM)?;
    job.wait().map(drop)
}

/// An advertisement of VRRP, of either family.
fn is_advertisement(frame: &Frame) -> bool {
    let bytes = &frame.bytes;
    let group = bytes.get(..6);
    (group == Some(&[1, 0, 0x5e, 0, 0, 0x12]) && bytes.get(23) == Some(&112))
        || (group == Some(&[0x33, 0x33, 0, 0, 0, 0x12]) && bytes.get(20) == Some(&112))
}

fn is_of_ipv6(frame: &Frame) -> bool {
    frame.bytes.get(12..14) == Some(&[0x86, 0xdd])
}

fn the_eip_follows_the_master(vmac: bool) -> Result<()> {
    let mut routers = Routers::new()?;
    let [a, b, c] = routers.guests.clone();
    let seen = [Capture::start(&b, "eth0")?, Capture::start(&c, "eth0")?];
    assert_eq!(routers.holder(SHARED)?, ("b".to_owned(), 0));
    let first = keepalived(&routers.lab, &a, "a", 150, vmac)?;
    let _second = keepalived(&routers.lab, &b, "b", 100, vmac)?;
    routers.wait_for_master("a")?;

    // Advertisements come to who shares, from the port, and to nobody else.
    let port: Vec<u8> = mac_of(&routers.backbone.gateway, "p1")?
        .split(':')
        .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    for of_ipv6 in [false, true] {
        let frame = seen[0].wait_for("an advertisement", |frame| {
            frame.incoming && is_advertisement(frame) && is_of_ipv6(frame) == of_ipv6
        })?;
        assert_eq!(frame.bytes[6..12], port[..]);
    }

    // The master's link fails, and comes back.
    a.ip("link set dev eth0 down")?;
    routers.wait_for_master("b")?;
    a.ip("link set dev eth0 up")?;
    address(&a, 0)?;
    routers.wait_for_master("a")?;
    // It is stopped, and started again.
    end(first)?;
    routers.wait_for_master("b")?;
    let first = keepalived(&routers.lab, &a, "a", 150, vmac)?;
    routers.wait_for_master("a")?;
    end(first)?;
    routers.wait_for_master("b")?;
    let log = routers.gateway.log();
    assert!(log.contains("a shared address moves"), "{log}");
    assert_eq!(seen[1].incoming(is_advertisement).len(), 0);

    // Without a daemon the one that had it last goes on, and so it does with the next one.
    let mut pings = Vec::new();
    for eip in [EIP, EIP6] {
        let log = routers.lab.folder().join(eip);
        pings.push(Pinging::start(&routers.backbone.internet, eip, &log)?);
    }
    let (_, moves) = routers.holder(SHARED)?;
    routers.gateway.kill()?;
    for pinging in &mut pings {
        pinging.wait_for_replies(20)?;
    }
    routers.gateway.start()?;
    for pinging in &mut pings {
        pinging.wait_for_replies(20)?;
    }
    for pinging in pings {
        let pinged = pinging.stop()?;
        assert!(pinged.lost_nothing(), "{pinged}");
    }
    assert_eq!(routers.holder(SHARED)?, ("b".to_owned(), moves));
    routers.wait_for_master("b")
}

#[test]
fn an_eip_follows_the_master_of_vrrp() -> Result<()> {
    the_eip_follows_the_master(false)
}

#[test]
fn an_eip_follows_the_master_of_vrrp_with_virtual_macs() -> Result<()> {
    the_eip_follows_the_master(true)
}

fn announcement(source: &str, address: &str, operation: u8) -> String {
    format!(
        "Ether(src={source},dst='ff:ff:ff:ff:ff:ff')/ARP(op={operation},hwsrc={source},psrc='{address}',pdst='{address}')"
    )
}

fn advertised(source: &str, address: &str) -> String {
    format!(
        "Ether(src={source},dst='33:33:00:00:00:01')/IPv6(src='{address}',dst='ff02::1',hlim=255)/\
         ICMPv6ND_NA(tgt='{address}',R=0,S=0,O=1)/ICMPv6NDOptDstLLAddr(lladdr={source})"
    )
}

/// Frames of the test's own, with addresses in the guests that both of them have.
fn silent() -> Result<Routers> {
    let routers = Routers::new()?;
    for guest in &routers.guests[..2] {
        guest.ip(&format!("address add {SHARED}/32 dev lo"))?;
        guest.ip(&format!("-6 address add {SHARED6}/128 dev lo nodad"))?;
    }
    Ok(routers)
}

fn wait_for(routers: &Routers, address: &str, name: &str) -> Result<()> {
    let what = format!("{address} to be {name}'s");
    until(PATIENCE, &what, || {
        Ok((routers.holder(address)?.0 == name).then_some(()))
    })
}

#[test]
fn who_may_have_an_address_moves_it_and_nobody_else() -> Result<()> {
    let routers = silent()?;
    let (of_own, of_virtual) = ("M", format!("'{VIRTUAL_MAC}'"));
    let virtual6 = format!("'{VIRTUAL_MAC6}'");
    // By requests and replies, by the ENI's own address and the virtual router's, in both families.
    for (index, name, operation, source) in [
        (0, "a", 1, of_own),
        (1, "b", 2, of_own),
        (0, "a", 1, &of_virtual),
        (1, "b", 2, &of_virtual),
    ] {
        routers.send(index, &announcement(source, SHARED, operation))?;
        wait_for(&routers, SHARED, name)?;
        routers.is_reached()?;
    }
    for (index, name, source) in [(0, "a", of_own), (1, "b", &virtual6), (0, "a", &virtual6)] {
        routers.send(index, &advertised(source, SHARED6))?;
        wait_for(&routers, SHARED6, name)?;
        routers.is_reached()?;
    }
    routers.gateway.ok("verify")?;
    let before = [routers.holder(SHARED)?, routers.holder(SHARED6)?];

    // A third ENI's, from whichever address; each is dropped and counted.
    for (reason, frame) in [
        ("spoofed-source", announcement("M", SHARED, 1)),
        ("spoofed-source", announcement("M", SHARED, 2)),
        ("spoofed-mac", announcement(&of_virtual, SHARED, 1)),
        ("spoofed-mac", advertised(&virtual6, SHARED6)),
        ("arp-ignored", advertised("M", SHARED6)),
    ] {
        let dropped = routers.gateway.dropped(reason)?;
        routers.send(2, &frame)?;
        routers
            .gateway
            .wait_for_drop(reason, dropped)
            .with_context(|| frame.clone())?;
    }
    // A sharer's of what is not shared moves nothing, either: one that is another's, and the
    // other's own.
    routers.send(1, &announcement("M", "10.0.0.13", 1))?;
    routers.send(1, &announcement("M", "10.0.0.11", 1))?;
    // The last one of all is followed, so that those before were looked at.
    routers.send(0, &announcement("M", SHARED, 1))?;
    wait_for(&routers, SHARED, "a")?;
    assert_eq!(routers.holder(SHARED)?.1, before[0].1 + 1);
    assert_eq!(routers.holder(SHARED6)?, before[1]);
    assert!(ping(&routers.guests[2], None, "10.0.0.11", 2)?.lost_nothing());
    routers.gateway.ok("verify")?;
    Ok(())
}

/// The one that has it says so again after another has: the other has lost.
#[test]
fn the_last_announcement_counts_while_an_address_rests() -> Result<()> {
    let routers = silent()?;
    routers.send(0, &announcement("M", SHARED, 1))?;
    wait_for(&routers, SHARED, "a")?;
    let moved = Instant::now();
    routers.send(1, &announcement("M", SHARED, 1))?;
    routers.send(0, &announcement("M", SHARED, 1))?;
    // What is held back is followed after a second: wrongly, this would be b's.
    until(PATIENCE, "the second to be over", || {
        Ok((moved.elapsed() > Duration::from_secs(2)).then_some(()))
    })?;
    wait_for(&routers, SHARED, "a").with_context(|| routers.gateway.log())
}

#[test]
fn an_address_moves_once_a_second_at_most() -> Result<()> {
    let routers = silent()?;
    let begin = Instant::now();
    for _ in 0..8 {
        routers.send(0, &announcement("M", SHARED, 1))?;
        routers.send(1, &announcement("M", SHARED, 1))?;
    }
    wait_for(&routers, SHARED, "b")?;
    let (_, moves) = routers.holder(SHARED)?;
    let seconds = begin.elapsed().as_secs() + 1;
    ensure!(
        (1..=seconds).contains(&moves),
        "{moves} moves in {seconds} s"
    );
    routers.is_reached()
}

/// With `use_vmac` a guest sends from the virtual router's Ethernet address.
#[test]
fn packets_of_a_virtual_router_go_both_ways() -> Result<()> {
    let routers = silent()?;
    let outside = Capture::start(&routers.backbone.internet, UPLINK)?;
    let third = Capture::start(&routers.guests[2], "eth0")?;
    let has = |payload: &'static [u8]| {
        move |frame: &Frame| {
            frame.incoming && frame.bytes.windows(payload.len()).any(|one| one == payload)
        }
    };
    let source = |frame: &Frame| frame.packet()[12..16].to_vec();
    // b has it.
    routers.send(
        1,
        &format!("Ether(src='{VIRTUAL_MAC}',dst=P)/IP(src='{SHARED}',dst='{INTERNET}')/UDP(dport=53)/b'from a virtual MAC'"),
    )?;
    let frame = outside.wait_for("it to arrive", has(b"from a virtual MAC"))?;
    assert_eq!(source(&frame), [203, 0, 113, 10]);
    routers.send(
        1,
        &format!("Ether(src='{VIRTUAL_MAC6}',dst=P)/IPv6(src='{SHARED6}',dst='{INTERNET6}')/UDP(dport=53)/b'and of IPv6'"),
    )?;
    outside.wait_for("it to arrive", has(b"and of IPv6"))?;
    routers.send(
        1,
        &format!("Ether(src='{VIRTUAL_MAC}',dst=P)/IP(src='{SHARED}',dst='10.0.0.13')/UDP(dport=53)/b'to a neighbour'"),
    )?;
    third.wait_for("it to arrive", has(b"to a neighbour"))?;

    // Who does not have it does not send from it; who does not share has no virtual address.
    for (reason, index, frame) in [
        (
            "spoofed-source",
            0,
            format!(
                "Ether(src='{VIRTUAL_MAC}',dst=P)/IP(src='{SHARED}',dst='{INTERNET}')/UDP()/b'x'"
            ),
        ),
        (
            "spoofed-mac",
            2,
            format!(
                "Ether(src='{VIRTUAL_MAC}',dst=P)/IP(src='10.0.0.13',dst='{INTERNET}')/UDP()/b'x'"
            ),
        ),
        (
            "spoofed-mac",
            1,
            format!(
                "Ether(src='00:00:5e:00:03:33',dst=P)/IP(src='{SHARED}',dst='{INTERNET}')/UDP()/b'x'"
            ),
        ),
    ] {
        let before = routers.gateway.dropped(reason)?;
        routers.send(index, &frame)?;
        routers
            .gateway
            .wait_for_drop(reason, before)
            .with_context(|| frame.clone())?;
    }
    Ok(())
}

#[test]
fn only_vrrp_passes_between_those_who_share() -> Result<()> {
    let routers = silent()?;
    let seen: Vec<Capture> = routers
        .guests
        .iter()
        .map(|guest| Capture::start(guest, "eth0"))
        .collect::<Result<_>>()?;
    let from = "IP(src='10.0.0.11',dst=";
    for (reason, frame) in [
        ("martian-destination", format!("Ether(src=M,dst='01:00:5e:00:00:fb')/{from}'224.0.0.251',ttl=255)/UDP(dport=5353)/b'unheard'")),
        ("martian-destination", "Ether(src=M,dst='33:33:00:00:00:fb')/IPv6(src='fd00:10::11',dst='ff02::fb',hlim=255)/UDP(dport=5353)/b'unheard'".to_owned()),
        ("martian-destination", format!("Ether(src=M,dst='ff:ff:ff:ff:ff:ff')/{from}'10.0.0.255')/UDP(dport=137)/b'unheard'")),
        // Of another protocol to VRRP's group, and of one hop less than VRRP has.
        ("martian-destination", format!("Ether(src=M,dst='01:00:5e:00:00:12')/{from}'224.0.0.18',ttl=255)/UDP(dport=112)/b'unheard'")),
        ("martian-destination", format!("Ether(src=M,dst='01:00:5e:00:00:12')/{from}'224.0.0.18',ttl=254,proto=112)/b'unheard'")),
        ("spoofed-source", "Ether(src=M,dst='01:00:5e:00:00:12')/IP(src='10.0.0.13',dst='224.0.0.18',ttl=255,proto=112)/b'unheard'".to_owned()),
    ] {
        let before = routers.gateway.dropped(reason)?;
        routers.send(0, &frame)?;
        routers.gateway.wait_for_drop(reason, before).with_context(|| frame.clone())?;
    }
    // From a third it is multicast as any other.
    let before = routers.gateway.dropped("martian-destination")?;
    routers.send(2, "Ether(src=M,dst='01:00:5e:00:00:12')/IP(src='10.0.0.13',dst='224.0.0.18',ttl=255,proto=112)/b'unheard'")?;
    routers
        .gateway
        .wait_for_drop("martian-destination", before)?;
    routers.send(
        0,
        &format!(
            "Ether(src=M,dst='01:00:5e:00:00:12')/{from}'224.0.0.18',ttl=255,proto=112)/b'heard'"
        ),
    )?;
    let contains = |word: &'static [u8]| {
        move |frame: &Frame| {
            frame.incoming && frame.bytes.windows(word.len()).any(|one| one == word)
        }
    };
    seen[1].wait_for("the advertisement", contains(b"heard"))?;
    for (index, capture) in seen.iter().enumerate() {
        assert_eq!(capture.incoming(contains(b"unheard")).len(), 0, "{index}");
    }
    assert_eq!(seen[0].incoming(contains(b"heard")).len(), 0);
    assert_eq!(seen[2].incoming(contains(b"heard")).len(), 0);
    Ok(())
}

/// An ENI that is detached loses its shared addresses to the others, and does not get them back by
/// being attached.
#[test]
fn a_detached_eni_loses_its_shared_addresses() -> Result<()> {
    let mut routers = silent()?;
    let gateway = &routers.gateway;
    gateway.ok("instance create d")?;
    gateway.ok(
        "eni create d --vpc v --kind secondary --mac 02:00:00:00:0a:09 --private-ip 10.0.0.19",
    )?;
    gateway.ok(&format!("eni add-ip d {SHARED} --shared"))?;
    gateway.ok("eni attach d --instance d --port p9")?;
    let guest = routers.lab.namespace("d")?;
    routers
        .backbone
        .plug("p9", &guest, "eth0", "02:00:00:00:0a:09")?;
    guest.ip("link set dev eth0 up")?;
    let claim = announcement("'02:00:00:00:0a:09'", SHARED, 1);
    let frames = frames::build("", &[&claim])?;
    let inside = Capture::start(&guest, "eth0")?;
    until(PATIENCE, "it to be the new one's", || {
        inside.send(&frames[0])?;
        Ok((routers.holder(SHARED)?.0 == "d").then_some(()))
    })?;
    gateway.ok("eni detach d --wait")?;
    let (holder, _) = routers.holder(SHARED)?;
    assert_ne!(holder, "d");
    routers.is_reached()?;
    gateway.ok("verify")?;
    gateway.ok("eni attach d --instance d --port p9 --wait")?;
    assert_eq!(routers.holder(SHARED)?.0, holder);
    routers.gateway.kill()?;
    routers.gateway.start()?;
    assert_eq!(
        routers.holder(SHARED)?.0,
        holder,
        "the file says who had it last"
    );
    routers.is_reached()?;
    routers.gateway.ok("verify")?;
    Ok(())
}

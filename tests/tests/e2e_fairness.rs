//! What several share, nobody can take: beside any flood a victim gets what it gets alone.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use eip_dp_tests::lab::{
    capture::{Capture, Frame},
    case::OUTSIDE,
    flood::{Flood, Rate},
    frames,
    netns::Netns,
    scene::{Options, Scene},
    topology::{GATEWAY_MAC, INTERNET_MAC, UPLINK},
};

const SILENT: Options = Options {
    silent: true,
    pool: "",
    configuration: "",
    on_link: false,
    dual_stack: false,
    resolver: None,
};

/// How often a victim tries.
const TRIES: usize = 200;
/// Of so many tries it has to get as much as alone, but for what a busy machine loses.
const LEAST: usize = TRIES * 95 / 100;
/// How many frames a flood has sent before the victim begins: more than any budget.
const BEFORE: u64 = 20_000;

/// Sends each of the frames once, at a pace within the victim's own budget, and counts the answers.
fn tries(
    capture: &Capture,
    frames: &[Vec<u8>],
    pace: Duration,
    is_answer: impl Fn(&Frame) -> bool,
) -> Result<usize> {
    let before = capture.incoming(&is_answer).len();
    for frame in frames {
        capture.send(frame)?;
        thread::sleep(pace);
    }
    // The last answer is a moment behind.
    let mut got = capture.incoming(&is_answer).len() - before;
    for _ in 0..50 {
        if got >= frames.len() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
        got = capture.incoming(&is_answer).len() - before;
    }
    Ok(got)
}

/// Sends them so, and fails if fewer than [`LEAST`] of the [`TRIES`] are answered.
fn enough(
    what: &str,
    capture: &Capture,
    frames: &[Vec<u8>],
    pace: Duration,
    is_answer: impl Fn(&Frame) -> bool,
) -> Result<()> {
    let got = tries(capture, frames, pace, is_answer)?;
    println!("{what}: {got} of {TRIES}");
    ensure!(got >= LEAST, "{what}: {got} of {TRIES}");
    Ok(())
}

/// ICMP time exceeded (RFC 792).
fn is_time_exceeded(frame: &Frame) -> bool {
    let packet = frame.packet();
    packet.len() > 20 && packet[9] == 1 && packet[20] == 11
}

/// UDP whose TTL ends at the gateway, from these sources.
fn dying(
    mac: &str,
    gateway: &str,
    sources: &[String],
    destination: &str,
    count: usize,
) -> Result<Vec<Vec<u8>>> {
    let expressions: Vec<String> = sources
        .iter()
        .cycle()
        .take(count)
        .enumerate()
        .map(|(id, source)| {
            format!(
                "Ether(src='{mac}',dst='{gateway}')/IP(src='{source}',dst='{destination}',ttl=1,id={id})/UDP(sport=5000,dport=33434)"
            )
        })
        .collect();
    frames::build("", &expressions)
}

/// A flood that has begun.
fn flood(namespace: &Netns, interface: &str, frames: Vec<Vec<u8>>, rate: Rate) -> Result<Flood> {
    let flood = Flood::start(namespace, interface, frames, rate)?;
    flood.wait_for(BEFORE)?;
    Ok(flood)
}

/// A victim with an EIP, its neighbours in the VPC, and strangers on the Internet.
struct Town {
    scene: Scene,
}

impl Town {
    fn new() -> Result<Self> {
        let scene = Scene::new(&SILENT)?;
        // Many addresses of one neighbour, each with an EIP.
        for number in 30..50 {
            scene
                .gateway
                .ok(&format!("eni add-ip a-secondary 10.0.0.{number}"))?;
            scene.gateway.ok(&format!(
                "eip create many-{number} --address 203.0.113.{number}"
            ))?;
            scene.gateway.ok(&format!(
                "associate many-{number} a-secondary --private-ip 10.0.0.{number}"
            ))?;
        }
        scene
            .gateway
            .ok("eip create last --address 203.0.113.99 --wait")?;
        Ok(Self { scene })
    }

    fn of_a(&self, port: &str, mac: &str, sources: &[String]) -> Result<Vec<Vec<u8>>> {
        dying(mac, &self.scene.mac_of(port)?, sources, OUTSIDE, 64)
    }

    /// Somebody on the Internet, each packet from another address, to an EIP of A.
    fn strangers(&self) -> Result<Flood> {
        let sources: Vec<String> = (0..250)
            .map(|low| format!("192.0.2.{low}"))
            .chain((1..250).map(|low| format!("198.18.0.{low}")))
            .collect();
        let frames = dying(
            INTERNET_MAC,
            GATEWAY_MAC,
            &sources,
            "203.0.113.10",
            sources.len(),
        )?;
        flood(&self.scene.backbone.internet, UPLINK, frames, Rate::Full)
    }
}

/// Time exceeded to a guest: beside a neighbour's flood, one of many addresses, and one from the
/// Internet.
#[test]
fn a_neighbours_flood_takes_no_icmp_errors_from_a_guest() -> Result<()> {
    let town = Town::new()?;
    let scene = &town.scene;
    let victim = Capture::start(&scene.b, "eth1")?;
    let frames = dying(
        "02:00:00:00:0b:02",
        &scene.mac_of("b2")?,
        &["203.0.113.20".to_owned()],
        OUTSIDE,
        TRIES,
    )?;
    let pace = Duration::from_millis(15);
    let got = |what: &str| enough(what, &victim, &frames, pace, is_time_exceeded);
    got("alone")?;
    let one = vec!["10.0.0.10".to_owned()];
    let attack = flood(
        &scene.a,
        "eth0",
        town.of_a("a1", "02:00:00:00:0a:01", &one)?,
        Rate::Full,
    )?;
    got("beside a neighbour")?;
    drop(attack);
    let many: Vec<String> = (30..50).map(|number| format!("10.0.0.{number}")).collect();
    let attack = flood(
        &scene.a,
        "eth1",
        town.of_a("a2", "02:00:00:00:0a:02", &many)?,
        Rate::Full,
    )?;
    got("beside a neighbour of many addresses")?;
    drop(attack);
    let _flood = town.strangers()?;
    got("beside strangers")
}

/// Time exceeded to somebody on the Internet about one EIP, beside a flood to another, and one from
/// a guest.
#[test]
fn a_flood_to_one_eip_takes_no_icmp_errors_from_another() -> Result<()> {
    let town = Town::new()?;
    let scene = &town.scene;
    let victim = Capture::start(&scene.backbone.internet, UPLINK)?;
    let frames = dying(
        INTERNET_MAC,
        GATEWAY_MAC,
        &["192.0.2.200".to_owned()],
        "203.0.113.20",
        TRIES,
    )?;
    let is_answer =
        |frame: &Frame| is_time_exceeded(frame) && frame.packet()[16..20] == [192, 0, 2, 200];
    let pace = Duration::from_millis(15);
    let got = |what: &str| enough(what, &victim, &frames, pace, is_answer);
    got("alone")?;
    let attack = {
        let sources: Vec<String> = (0..199).map(|low| format!("192.0.2.{low}")).collect();
        let frames = dying(
            INTERNET_MAC,
            GATEWAY_MAC,
            &sources,
            "203.0.113.10",
            sources.len(),
        )?;
        flood(&scene.backbone.internet, UPLINK, frames, Rate::Shared)?
    };
    got("beside a flood to another EIP")?;
    drop(attack);
    let one = vec!["10.0.0.10".to_owned()];
    let _flood = flood(
        &scene.a,
        "eth0",
        town.of_a("a1", "02:00:00:00:0a:01", &one)?,
        Rate::Full,
    )?;
    got("beside a guest's flood")
}

/// Too big apart from time exceeded: who floods with the one still learns of the other.
#[test]
fn path_mtu_discovery_goes_on_beside_ones_own_traceroutes() -> Result<()> {
    let town = Town::new()?;
    let scene = &town.scene;
    let victim = Capture::start(&scene.a, "eth0")?;
    scene.backbone.gateway.ip("link set dev a1 mtu 9000")?;
    scene.a.ip("link set dev eth0 mtu 9000")?;
    scene.gateway.ok("verify --repair")?;
    let (mac, gateway) = ("02:00:00:00:0a:01", scene.mac_of("a1")?);
    let expressions: Vec<String> = (0..TRIES)
        .map(|id| format!("Ether(src='{mac}',dst='{gateway}')/IP(src='10.0.0.10',dst='{OUTSIDE}',flags='DF',id={id})/UDP()/Raw(b'x'*2000)"))
        .collect();
    let frames = frames::build("", &expressions)?;
    let is_too_big = |frame: &Frame| {
        let packet = frame.packet();
        packet.len() > 21 && packet[9] == 1 && packet[20..22] == [3, 4]
    };
    let one = vec!["10.0.0.10".to_owned()];
    let _flood = flood(&scene.a, "eth0", town.of_a("a1", mac, &one)?, Rate::Shared)?;
    let pace = Duration::from_millis(15);
    enough("beside traceroutes", &victim, &frames, pace, is_too_big)
}

/// DHCP: a guest's flood of requests, with its own MAC, costs another guest no answer.
#[test]
fn a_flood_of_requests_takes_no_answers_from_another_guest() -> Result<()> {
    let town = Town::new()?;
    let scene = &town.scene;
    let discover = |mac: &str, xid: usize| {
        format!(
            "Ether(src='{mac}',dst='ff:ff:ff:ff:ff:ff')/IP(src='0.0.0.0',dst='255.255.255.255')/UDP(sport=68,dport=67)/BOOTP(chaddr=bytes.fromhex('{}'),xid={xid})/DHCP(options=[('message-type','discover'),'end'])",
            mac.replace(':', "")
        )
    };
    let victim = Capture::start(&scene.b, "eth1")?;
    let expressions: Vec<String> = (0..TRIES)
        .map(|xid| discover("02:00:00:00:0b:02", xid))
        .collect();
    let frames = frames::build("", &expressions)?;
    // BOOTP from the server's port to the client's.
    let is_answer = |frame: &Frame| {
        let packet = frame.packet();
        packet.len() > 28 && packet[9] == 17 && packet[20..24] == [0, 67, 0, 68]
    };
    let pace = Duration::from_millis(60);
    let got = |what: &str| enough(what, &victim, &frames, pace, is_answer);
    got("alone")?;
    let requests = frames::build("", &[discover("02:00:00:00:0a:01", 1)])?;
    let before = scene.gateway.dropped("rate-limited")?;
    let _flood = flood(&scene.a, "eth0", requests, Rate::Full)?;
    got("beside a flood of requests")?;
    ensure!(scene.gateway.dropped("rate-limited")? > before + BEFORE / 2);
    Ok(())
}

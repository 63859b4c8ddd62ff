//! The daemon's life: started, stopped, killed, refused; interfaces and neighbours that come,
//! change and go.

use std::{os::unix::process::CommandExt, path::Path, process::Output, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    arp, dhcp,
    gateway::Gateway,
    process::{outcome, run},
    scene::{EIPS, Options, Scene},
    topology::{INTERNET, UPLINK},
    traffic::{Pinging, addresses, ping},
    wait::until,
};

const LONG: Duration = Duration::from_mins(1);

fn pins(gateway: &Gateway) -> std::path::PathBuf {
    Path::new("/sys/fs/bpf/eip-dp").join(gateway.name())
}

#[test]
fn no_packet_is_lost_while_the_daemon_is_stopped_killed_and_started() -> Result<()> {
    let mut scene = Scene::new(&Options::default())?;
    let internet = scene.backbone.internet.clone();
    let mut pings = Vec::new();
    for eip in [&EIPS[0], &EIPS[3]] {
        let log = scene.lab.folder().join(eip.id);
        pings.push(Pinging::start(&internet, eip.address, &log)?);
    }
    let more = |pings: &mut Vec<Pinging>| -> Result<()> {
        pings
            .iter_mut()
            .try_for_each(|pinging| pinging.wait_for_replies(15))
    };
    scene.gateway.stop()?;
    more(&mut pings)?;
    scene.gateway.start()?;
    more(&mut pings)?;
    scene.gateway.kill()?;
    more(&mut pings)?;
    scene.gateway.start()?;
    more(&mut pings)?;
    for pinging in pings {
        let pinged = pinging.stop()?;
        assert!(pinged.lost_nothing(), "{pinged}");
    }
    scene.gateway.ok("verify")?;
    Ok(())
}

/// What was changed while no daemon ran takes effect when one starts.
#[test]
fn a_new_daemon_catches_up_with_the_table() -> Result<()> {
    let mut scene = Scene::new(&Options::default())?;
    let internet = scene.backbone.internet.clone();
    scene.gateway.kill()?;
    scene.gateway.ok("disassociate eip-a")?;
    scene.gateway.ok("eip create new --address 203.0.113.50")?;
    scene.gateway.ok("associate new b-primary")?;
    let outcome = scene
        .gateway
        .outcome("eip create waits --address 203.0.113.51 --wait")?;
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    scene.gateway.start()?;
    assert!(ping(&internet, None, "203.0.113.50", 3)?.lost_nothing());
    let before = scene.gateway.dropped("no-association")?;
    assert_eq!(ping(&internet, None, "203.0.113.10", 1)?.received, 0);
    assert_eq!(scene.gateway.dropped("no-association")?, before + 1);
    scene.gateway.ok("eip show waits")?;
    Ok(())
}

#[test]
fn a_second_daemon_of_the_same_name_is_refused() -> Result<()> {
    let mut scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    let configuration = scene.gateway.configuration();
    let second = scene
        .gateway
        .outcome(&format!("run --config {}", configuration.display()))?;
    assert_eq!(second.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(complaint.contains(scene.gateway.name()), "{complaint}");
    scene.gateway.daemon()?.still_runs()
}

#[test]
fn unload_takes_everything_away() -> Result<()> {
    let mut scene = Scene::new(&Options::default())?;
    let internet = scene.backbone.internet.clone();
    assert!(pins(&scene.gateway).exists());
    assert!(ping(&internet, None, EIPS[0].address, 1)?.lost_nothing());
    scene.gateway.stop()?;
    scene.gateway.ok("unload")?;
    assert!(!pins(&scene.gateway).exists());
    let link = scene
        .backbone
        .gateway
        .ip(&format!("-d link show dev {UPLINK}"))?;
    assert!(!link.contains("xdp"), "{link}");
    for eip in &EIPS {
        assert_eq!(
            ping(&internet, None, eip.address, 1)?.received,
            0,
            "{}",
            eip.id
        );
    }
    assert!(ping(&internet, None, "198.51.100.2", 1)?.lost_nothing());
    // And from nothing again.
    scene.gateway.start()?;
    assert!(ping(&internet, None, EIPS[0].address, 3)?.lost_nothing());
    Ok(())
}

#[test]
fn ports_may_come_late_vanish_and_come_again() -> Result<()> {
    let mut scene = Scene::new(&Options::default())?;
    let internet = scene.backbone.internet.clone();
    let c = scene.lab.namespace("c")?;
    let mac = "02:00:00:00:0c:01";
    for command in [
        "instance create c",
        "eni create c-primary --vpc v --kind primary --mac 02:00:00:00:0c:01 --private-ip 10.0.0.30",
        "eip create eip-c --address 203.0.113.30",
        "associate eip-c c-primary",
    ] {
        scene.gateway.ok(command)?;
    }
    let attach = "eni attach c-primary --instance c --port c1 --wait";
    let attached = scene.gateway.outcome(attach)?;
    assert_eq!(attached.status.code(), Some(4), "{attached:?}");
    let answers = |eip: &str| -> Result<bool> { Ok(ping(&internet, None, eip, 1)?.received == 1) };
    let before = scene.gateway.dropped("eni-detached")?;
    assert!(!answers("203.0.113.30")?);
    assert_eq!(scene.gateway.dropped("eni-detached")?, before + 1);
    for round in 1..=2 {
        scene.backbone.plug("c1", &c, "eth0", mac)?;
        dhcp::bind(&c, "eth0").with_context(|| format!("round {round}"))?;
        assert_eq!(addresses(&c)?, ["10.0.0.30/24"]);
        assert!(answers("203.0.113.30")?, "round {round}");
        scene.backbone.unplug("c1")?;
        scene.gateway.daemon()?.still_runs()?;
        until(LONG, "the vanished port to count as detached", || {
            let before = scene.gateway.dropped("eni-detached")?;
            assert!(!answers("203.0.113.30")?);
            Ok((scene.gateway.dropped("eni-detached")? > before).then_some(()))
        })?;
    }
    // The others never noticed.
    assert!(answers(EIPS[0].address)? && answers(EIPS[3].address)?);
    Ok(())
}

#[test]
fn an_eni_that_moves_takes_its_eips_along() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let internet = &scene.backbone.internet;
    let log = scene.lab.folder().join("moves");
    let mut pinging = Pinging::start(internet, "203.0.113.12", &log)?;
    // In one step, without a detach: what `eni attach` of an attached ENI is.
    scene
        .backbone
        .plug("b3", &scene.b, "eth2", "02:00:00:00:0a:02")?;
    let attach = "eni attach a-secondary --instance b --port b3 --wait";
    let attached = scene.gateway.outcome(attach)?;
    // The guest has not set its end up yet.
    assert_eq!(attached.status.code(), Some(4), "{attached:?}");
    scene.backbone.unplug("a2")?;
    dhcp::bind(&scene.b, "eth2")?;
    scene.b.ip("address add 10.0.0.12/24 dev eth2")?;
    pinging.wait_for_replies(5)?;
    for eip in ["203.0.113.11", "203.0.113.12"] {
        assert!(ping(internet, None, eip, 3)?.lost_nothing(), "{eip}");
    }
    assert!(addresses(&scene.b)?.contains(&"10.0.0.11/24".to_owned()));
    Ok(())
}

#[test]
fn the_next_hop_is_followed_when_its_mac_changes() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let internet = &scene.backbone.internet;
    assert!(ping(&scene.a, Some("10.0.0.10"), INTERNET, 3)?.lost_nothing());
    internet.ip(&format!("link set dev {UPLINK} address 02:00:00:00:01:77"))?;
    // As a router that takes over does. (The kernel believes a second MAC only after a while: again
    // and again.)
    until(LONG, "packets to go to the new MAC", || {
        arp::announce(internet, UPLINK, INTERNET)?;
        let pinged = ping(&scene.a, Some("10.0.0.10"), INTERNET, 1)?;
        Ok(pinged.lost_nothing().then_some(()))
    })
}

#[test]
fn an_expired_eip_ends_by_itself() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let internet = &scene.backbone.internet;
    let time = run(std::process::Command::new("date").args([
        "--utc",
        "--date=+4 seconds",
        "+%Y-%m-%dT%H:%M:%S.%NZ",
    ]))?;
    scene
        .gateway
        .ok(&format!("eip set eip-b --expires {} --wait", time.trim()))?;
    assert!(ping(internet, None, "203.0.113.20", 3)?.lost_nothing());
    // By the clock that the time is of, which may be set while this runs.
    let expires: jiff::Timestamp = time.trim().parse()?;
    loop {
        let eip = scene.gateway.json("eip show eip-b")?;
        if eip["state"] == "expired" {
            break;
        }
        let late = jiff::Timestamp::now().duration_since(expires);
        ensure!(
            late.as_secs_f64() < LONG.as_secs_f64(),
            "expired {late:?} ago, and is {}; the daemon logged: {}",
            eip["state"],
            scene.gateway.log()
        );
        thread::sleep(Duration::from_millis(50));
    }
    until(LONG, "forwarding to end", || {
        let before = scene.gateway.dropped("no-association")?;
        ping(internet, None, "203.0.113.20", 1)?;
        Ok((scene.gateway.dropped("no-association")? > before).then_some(()))
    })?;
    let eni = scene.gateway.json("eni show b-secondary")?;
    assert_eq!(eni["state"], "stranded");
    Ok(())
}

#[test]
fn two_gateways_live_on_one_host() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let internet = &scene.backbone.internet;
    let host = &scene.backbone.gateway;
    internet.ip(&format!(
        "link add up1 type veth peer name up1 netns {}",
        host.name()
    ))?;
    for (side, address) in [(internet, "192.0.2.1/25"), (host, "192.0.2.2/25")] {
        run(side.command("ethtool").args(["-K", "up1", "tx", "off"]))?;
        side.ip(&format!("address add {address} dev up1"))?;
        side.ip("link set dev up1 up")?;
    }
    internet.ip("route add 192.0.2.128/25 via 192.0.2.2")?;
    let c = scene.lab.namespace("c")?;
    scene.backbone.plug("c1", &c, "eth0", "02:00:00:00:0c:01")?;
    let name = format!("{}-second", scene.lab.name());
    let mut second = Gateway::named(
        &scene.lab,
        host,
        &name,
        "[[uplink]]\ninterface = \"up1\"\nnext_hop = \"192.0.2.1\"\n",
    )?;
    for command in [
        "pool create 192.0.2.128/25",
        "vpc create v --cidr 10.0.0.0/24",
        "instance create c",
        "eni create c-primary --vpc v --kind primary --mac 02:00:00:00:0c:01 --private-ip 10.0.0.10",
        "eip create e --address 192.0.2.200",
        "associate e c-primary",
        "eni attach c-primary --instance c --port c1",
    ] {
        second.ok(command)?;
    }
    second.start()?;
    dhcp::bind(&c, "eth0")?;
    assert!(ping(internet, None, "192.0.2.200", 3)?.lost_nothing());
    assert!(ping(internet, None, EIPS[0].address, 3)?.lost_nothing());
    second.stop()?;
    second.ok("unload")?;
    assert_eq!(ping(internet, None, "192.0.2.200", 1)?.received, 0);
    assert!(ping(internet, None, EIPS[0].address, 3)?.lost_nothing());
    Ok(())
}

fn silent_scene() -> Result<Scene> {
    Scene::new(&Options {
        silent: true,
        ..Options::default()
    })
}

/// Another gateway on the scene's host, not started, with this uplink.
fn second_gateway(scene: &Scene, suffix: &str, uplink: &str) -> Result<Gateway> {
    Gateway::named(
        &scene.lab,
        &scene.backbone.gateway,
        &format!("{}-{suffix}", scene.lab.name()),
        &format!("[[uplink]]\ninterface = \"{uplink}\"\n"),
    )
}

/// What a command that has to fail complained about.
fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_bpffs_the_daemon_names_the_cure() -> Result<()> {
    let scene = silent_scene()?;
    let gateway = second_gateway(&scene, "nofs", UPLINK)?;
    let configuration = gateway.configuration();
    let mut command = gateway.command(&["run", "--config"]);
    command.arg(configuration);
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            use nix::{mount, sched};
            sched::unshare(sched::CloneFlags::CLONE_NEWNS)?;
            let none = None::<&std::ffi::CStr>;
            let private = mount::MsFlags::MS_REC | mount::MsFlags::MS_PRIVATE;
            mount::mount(none, c"/", none, private, none)?;
            mount::umount(c"/sys/fs/bpf")?;
            Ok(())
        });
    }
    let complaint = complaint(&outcome(&mut command)?);
    for word in ["/sys/fs/bpf", "mount"] {
        assert!(complaint.contains(word), "no {word:?} in: {complaint}");
    }
    Ok(())
}

#[test]
fn without_privileges_the_daemon_names_what_it_lacks() -> Result<()> {
    let scene = silent_scene()?;
    let gateway = &scene.gateway;
    let mut command = scene.backbone.gateway.command("setpriv");
    command
        .args(["--bounding-set", "-all", "--inh-caps", "-all", "--"])
        .arg(gateway.program())
        .args(["--table", &gateway.table(), "--name"])
        .arg(format!("{}-weak", gateway.name()))
        .args(["run", "--config"])
        .arg(gateway.configuration());
    let complaint = complaint(&outcome(&mut command)?);
    assert!(complaint.contains("CAP_"), "{complaint}");
    Ok(())
}

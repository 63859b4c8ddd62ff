//! Objects that change where they stand take effect at once, and others' packets pass meanwhile.

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    dhcp,
    gateway::Gateway,
    process::PATIENCE,
    scene::{EIPS, Options, Scene},
    topology::INTERNET,
    traffic::{Pinging, ping},
    wait::until,
};

/// Another ENI's packets, of which none may be lost while something else changes.
struct Others {
    pings: Vec<Pinging>,
}

impl Others {
    fn of(scene: &Scene, eips: &[usize]) -> Result<Self> {
        let start = |index: &usize| {
            let eip = &EIPS[*index];
            let log = scene.lab.folder().join(format!("others-{}", eip.id));
            Pinging::start(&scene.backbone.internet, eip.address, &log)
        };
        let pings = eips.iter().map(start).collect::<Result<_>>()?;
        Ok(Self { pings })
    }

    fn lost_nothing(self) -> Result<()> {
        for mut pinging in self.pings {
            pinging.wait_for_replies(5)?;
            let pinged = pinging.stop()?;
            ensure!(pinged.lost_nothing(), "{pinged}");
        }
        Ok(())
    }
}

/// That a command is refused by a rule.
fn refused(gateway: &Gateway, command: &str, code: &str) -> Result<()> {
    let output = gateway.outcome(command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(3) && said.contains(code),
        "`{command}`: {output:?}"
    );
    Ok(())
}

fn answers(scene: &Scene, address: &str) -> Result<()> {
    let pinged = ping(&scene.backbone.internet, None, address, 3)?;
    ensure!(pinged.lost_nothing(), "{address}: {pinged}");
    Ok(())
}

#[test]
fn an_eni_gets_another_mac_and_region() -> Result<()> {
    let scene = Scene::new(&Options {
        configuration: "[gateway]\nregion = \"eu-1\"",
        ..Options::default()
    })?;
    let gateway = &scene.gateway;
    // Each guest answers by the interface that it had first: the others are those of the other
    // guest.
    let others = Others::of(&scene, &[3])?;
    let private = || ping(&scene.b, Some("10.0.0.20"), "10.0.0.10", 2);

    // a's card is replaced: its EIP, its private network, and its lease.
    gateway.ok("eni set a-primary --mac 02:00:00:00:0a:99 --wait")?;
    let before = gateway.dropped("spoofed-mac")?;
    ensure!(ping(&scene.a, Some("10.0.0.10"), INTERNET, 1)?.received == 0);
    gateway.wait_for_drop("spoofed-mac", before)?;
    scene.a.ip("link set dev eth0 address 02:00:00:00:0a:99")?;
    dhcp::bind(&scene.a, "eth0")?;
    answers(&scene, EIPS[0].address)?;
    ensure!(private()?.lost_nothing());
    ensure!(ping(&scene.a, Some("10.0.0.10"), INTERNET, 2)?.lost_nothing());
    refused(
        gateway,
        "eni set a-primary --mac 02:00:00:00:0b:01",
        "duplicate-mac",
    )?;
    others.lost_nothing()?;

    // Of another region it is another gateway's.
    let others = Others::of(&scene, &[0, 1])?;
    gateway.ok("eni set b-primary --region eu-1 --wait")?;
    ensure!(private()?.lost_nothing());
    gateway.ok("eni set b-primary --region eu-2")?;
    until(PATIENCE, "it to be served no longer", || {
        Ok((private()?.received == 0).then_some(()))
    })?;
    gateway.ok("verify")?;
    let mut none = gateway.command(&["eni", "set", "b-primary", "--region", "", "--wait"]);
    eip_dp_tests::lab::process::run(&mut none)?;
    ensure!(private()?.lost_nothing());
    others.lost_nothing()?;
    gateway.ok("verify")?;
    Ok(())
}

#[test]
fn a_vpc_gets_and_loses_prefixes() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let gateway = &scene.gateway;
    let others = Others::of(&scene, &[0, 3])?;
    gateway.ok("vpc set v --add-cidr 10.0.1.0/24 --add-cidr 10.0.2.0/24 --wait")?;
    gateway.ok("eni add-ip b-primary 10.0.1.20 --wait")?;
    scene.b.ip("address add 10.0.1.20/32 dev eth0")?;
    let reached = || ping(&scene.a, Some("10.0.0.10"), "10.0.1.20", 2);
    ensure!(reached()?.lost_nothing());
    // Its routers answer.
    ensure!(ping(&scene.a, Some("10.0.0.10"), "10.0.1.1", 2)?.lost_nothing());
    refused(
        gateway,
        "vpc set v --remove-cidr 10.0.1.0/24",
        "outside-vpc",
    )?;
    refused(gateway, "vpc set v --remove-cidr 10.0.9.0/24", "not-found")?;
    refused(
        gateway,
        "vpc set v --add-cidr 10.0.1.0/25",
        "overlapping-cidr",
    )?;
    gateway.ok("vpc set v --remove-cidr 10.0.2.0/24 --wait")?;
    ensure!(reached()?.lost_nothing());
    gateway.ok("eni remove-ip b-primary 10.0.1.20 --wait")?;
    let before = gateway.dropped("no-such-eni")?;
    ensure!(reached()?.received == 0);
    gateway.wait_for_drop("no-such-eni", before)?;
    gateway.ok("vpc set v --remove-cidr 10.0.1.0/24 --wait")?;
    let before = gateway.dropped("no-such-eni")?;
    ensure!(reached()?.received == 0);
    ensure!(gateway.dropped("no-such-eni")? == before, "outside by now");
    // The VPC's router, in the prefix that stays.
    gateway.ok("vpc set v --gateway 10.0.0.254 --wait")?;
    dhcp::bind(&scene.a, "eth0")?;
    ensure!(dhcp::leases(&scene.a, "eth0")?.contains("option routers 10.0.0.254;"));
    answers(&scene, EIPS[0].address)?;
    gateway.ok("vpc set v --gateway default --wait")?;
    others.lost_nothing()?;
    gateway.ok("verify")?;
    Ok(())
}

#[test]
fn a_pool_gets_another_gateway_and_reserves_addresses() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let gateway = &scene.gateway;
    let others = Others::of(&scene, &[0, 1])?;
    gateway.ok("pool set 203.0.113.0/24 --gateway 203.0.113.254 --wait")?;
    dhcp::bind(&scene.b, "eth1")?;
    let lease = dhcp::leases(&scene.b, "eth1")?;
    ensure!(lease.contains("option routers 203.0.113.254;"), "{lease}");
    answers(&scene, EIPS[3].address)?;
    // What was the router is an address as any other, and the other way round.
    gateway.ok("eip create first --address 203.0.113.1")?;
    gateway.ok("eni add-ip a-secondary 10.0.0.13")?;
    gateway.ok("associate first a-secondary --private-ip 10.0.0.13 --wait")?;
    scene.a.ip("address add 10.0.0.13/24 dev eth1")?;
    answers(&scene, "203.0.113.1")?;
    let set = "pool set 203.0.113.0/24";
    refused(
        gateway,
        "eip create last --address 203.0.113.254",
        "reserved-address",
    )?;
    refused(
        gateway,
        &format!("{set} --gateway 203.0.113.1"),
        "reserved-address",
    )?;
    refused(
        gateway,
        &format!("{set} --gateway default"),
        "reserved-address",
    )?;
    refused(
        gateway,
        &format!("{set} --reserve 203.0.113.10-203.0.113.12"),
        "reserved-address",
    )?;
    gateway.ok(&format!(
        "{set} --reserve 203.0.113.200-203.0.113.210 --wait"
    ))?;
    refused(
        gateway,
        "eip create last --address 203.0.113.205",
        "reserved-address",
    )?;
    gateway.ok(&format!("{set} --no-reserve --wait"))?;
    gateway.ok("eip create last --address 203.0.113.205")?;
    gateway.ok(&format!("{set} --gateway none --wait"))?;
    dhcp::bind(&scene.b, "eth1")?;
    answers(&scene, EIPS[3].address)?;
    others.lost_nothing()?;
    gateway.ok("verify")?;
    Ok(())
}

#[test]
fn an_instance_takes_more_or_fewer_enis() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let gateway = &scene.gateway;
    let others = Others::of(&scene, &[0, 3])?;
    refused(gateway, "instance set b --max-enis 1", "instance-eni-limit")?;
    gateway.ok("instance set b --max-enis 2 --wait")?;
    gateway.ok(
        "eni create c --vpc v --kind secondary --mac 02:00:00:00:0c:01 --private-ip 10.0.0.30",
    )?;
    let attach = "eni attach c --instance b --port c1";
    refused(gateway, attach, "instance-eni-limit")?;
    gateway.ok("instance set b --max-enis none --wait")?;
    scene
        .backbone
        .plug("c1", &scene.b, "eth2", "02:00:00:00:0c:01")?;
    gateway.ok(&format!("{attach} --wait"))?;
    scene.b.ip("link set dev eth2 up")?;
    scene.b.ip("address add 10.0.0.30/32 dev eth2")?;
    until(PATIENCE, "the new ENI to be reached", || {
        let pinged = ping(&scene.a, Some("10.0.0.10"), "10.0.0.30", 1)?;
        Ok(pinged.lost_nothing().then_some(()))
    })?;
    others.lost_nothing()
}

/// NAT and cut-through, whose ENI was stranded meanwhile.
#[test]
fn a_renewed_eip_forwards_again() -> Result<()> {
    let scene = Scene::new(&Options::default())?;
    let gateway = &scene.gateway;
    let others = Others::of(&scene, &[1])?;
    for (eip, eni) in [(&EIPS[0], "a-primary"), (&EIPS[3], "b-secondary")] {
        gateway.ok(&format!("eip set {} --expires +1s", eip.id))?;
        until(PATIENCE, "the EIP to expire", || {
            let shown = gateway.json(&format!("eip show {}", eip.id))?;
            Ok((shown["state"] == "expired").then_some(()))
        })?;
        until(PATIENCE, "forwarding to end", || {
            let pinged = ping(&scene.backbone.internet, None, eip.address, 1)?;
            Ok((pinged.received == 0).then_some(()))
        })?;
        gateway.ok(&format!("eip set {} --expires never --wait", eip.id))?;
        answers(&scene, eip.address).with_context(|| gateway.log())?;
        ensure!(gateway.json(&format!("eni show {eni}"))?["state"] == "attached");
    }

    // Its place was taken meanwhile: it stays free, and who has the place keeps it.
    gateway.ok("eip set eip-a --expires +1s")?;
    until(PATIENCE, "the EIP to expire", || {
        Ok((gateway.json("eip show eip-a")?["state"] == "expired").then_some(()))
    })?;
    gateway.ok("eip create other --address 203.0.113.77")?;
    gateway.ok("associate other a-primary --wait")?;
    gateway.ok("eip set eip-a --expires never --wait")?;
    ensure!(gateway.json("eip show eip-a")?["state"] == "free");
    answers(&scene, "203.0.113.77")?;
    others.lost_nothing()?;
    gateway.ok("verify")?;
    Ok(())
}

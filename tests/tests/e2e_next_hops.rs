//! Where the host's own routing says that the Internet is: whatever form that takes, packets of
//! EIPs follow.

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    process::{PATIENCE, run},
    scene::{Options, POOL, Scene},
    topology::{GATEWAY, INTERNET, INTERNET6, UPLINK},
    traffic::ping,
    wait::until,
};
use serde_json::Value;

/// The link-local address of the Internet host's end of the uplink, by its Ethernet address.
const LINK_LOCAL: &str = "fe80::ff:fe00:101";
const EIP: &str = "203.0.113.10";
const EIP6: &str = "2001:db8:cb::10";

/// A scene whose daemon is told nothing but the uplink's name.
fn by_routes(options: &Options) -> Result<Scene> {
    let mut scene = Scene::new(options)?;
    scene.gateway.stop()?;
    scene
        .gateway
        .configure(&format!("[[uplink]]\ninterface = \"{UPLINK}\"\n"))?;
    scene.gateway.start()?;
    Ok(scene)
}

/// What the host's administrator enters: one command of `ip` a line.
fn enter(scene: &Scene, commands: &[&str]) -> Result<()> {
    for command in commands {
        scene.backbone.gateway.ip(command)?;
    }
    Ok(())
}

/// Waits until `status` says that the next hop of that key is this one.
fn wait_for(scene: &Scene, key: &str, hop: Option<&str>) -> Result<()> {
    let what = format!("{key} to be {hop:?}");
    let mut last = Value::Null;
    let found = until(PATIENCE, &what, || {
        last = scene.gateway.status()?;
        Ok((last["uplinks"][0][key].as_str() == hop).then_some(()))
    });
    found.with_context(|| format!("{}\n{}", last["uplinks"], scene.gateway.log()))
}

/// Waits until packets of an EIP come and go.
fn wait_for_traffic(scene: &Scene, eip: &str) -> Result<()> {
    let internet = &scene.backbone.internet;
    until(PATIENCE, &format!("an answer of {eip}"), || {
        Ok(ping(internet, None, eip, 1)?.lost_nothing().then_some(()))
    })
    .with_context(|| scene.gateway.ok("drops").unwrap_or_default())
    .with_context(|| scene.gateway.log())
}

fn warnings(scene: &Scene) -> Result<String> {
    let status = scene.gateway.status()?;
    let list = status["warnings"].as_array().cloned().unwrap_or_default();
    let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    Ok(texts.join("\n"))
}

/// Enters routes, sees that packets of EIPs of that key's family follow, and takes the routes away
/// again.
fn follows(scene: &Scene, key: &str, hop: &str, there: &[&str], back: &[&str]) -> Result<()> {
    let eip = if key == "next_hop" { EIP } else { EIP6 };
    let way = || -> Result<()> {
        enter(scene, there)?;
        wait_for(scene, key, Some(hop))?;
        wait_for_traffic(scene, eip)?;
        let said = warnings(scene)?;
        ensure!(!said.contains("ip rule"), "{said}");
        enter(scene, back)?;
        wait_for(scene, key, None)
    };
    way().with_context(|| there.join("; "))
}

#[test]
fn ipv4_goes_where_the_host_s_routes_lead() -> Result<()> {
    let scene = by_routes(&Options::default())?;
    let default = format!("route add default via {INTERNET}");
    let in_table = format!("route add default via {INTERNET} table 100");
    let low = format!("route add 0.0.0.0/1 via {INTERNET}");
    let high = format!("route add 128.0.0.0/1 via {INTERNET}");
    let inet6 = format!("-4 route add default via inet6 {LINK_LOCAL} dev {UPLINK}");
    let hop = "next_hop";
    let gone = "route del default";
    follows(&scene, hop, INTERNET, &[&default], &[gone])?;
    follows(&scene, hop, LINK_LOCAL, &[&inet6], &[gone])?;
    let halves_gone = ["route del 0.0.0.0/1", "route del 128.0.0.0/1"];
    follows(&scene, hop, INTERNET, &[&low, &high], &halves_gone)?;
    for rule in [
        "table 100".to_owned(),
        format!("from {POOL} table 100"),
        "fwmark 7 table 100".to_owned(),
        "iif a1 table 100".to_owned(),
        format!("oif {UPLINK} table 100"),
        "not fwmark 7 table 100".to_owned(),
    ] {
        let (there, back) = (format!("rule add {rule}"), format!("rule del {rule}"));
        let gone = [back.as_str(), "route flush table 100"];
        follows(&scene, hop, INTERNET, &[&in_table, &there], &gone)?;
    }
    Ok(())
}

#[test]
fn ipv6_goes_where_the_host_s_routes_lead() -> Result<()> {
    let scene = by_routes(&Options {
        dual_stack: true,
        ..Options::default()
    })?;
    let hop = "next_hop6";
    let low = format!("-6 route add ::/1 via {INTERNET6}");
    let high = format!("-6 route add 8000::/1 via {INTERNET6}");
    let global = format!("-6 route add 2000::/3 via {LINK_LOCAL} dev {UPLINK}");
    let in_table = format!("-6 route add default via {INTERNET6} table 100");
    let halves_gone = ["-6 route del ::/1", "-6 route del 8000::/1"];
    follows(&scene, hop, INTERNET6, &[&low, &high], &halves_gone)?;
    follows(
        &scene,
        hop,
        LINK_LOCAL,
        &[&global],
        &["-6 route del 2000::/3"],
    )?;
    let gone = ["-6 rule del table 100", "-6 route flush table 100"];
    follows(
        &scene,
        hop,
        INTERNET6,
        &[&in_table, "-6 rule add table 100"],
        &gone,
    )
}

/// A route may name a nexthop object in place of a router; the kernel then tells the router with
/// the route, or does not.
#[test]
fn nexthop_objects_are_followed() -> Result<()> {
    let scene = by_routes(&Options {
        dual_stack: true,
        ..Options::default()
    })?;
    let one = format!("nexthop add id 7 via {INTERNET} dev {UPLINK}");
    let six = format!("nexthop add id 8 via {LINK_LOCAL} dev {UPLINK}");
    for mode in ["0", "1"] {
        run(scene
            .backbone
            .gateway
            .command("sysctl")
            .args(["-qw", &format!("net.ipv4.nexthop_compat_mode={mode}")]))?;
        let by_it = "route add default nhid 7";
        // With the object its routes go, without a word of them.
        follows(
            &scene,
            "next_hop",
            INTERNET,
            &[&one, by_it],
            &["nexthop del id 7"],
        )?;
        let group = [&one, "nexthop add id 9 group 7", "route add default nhid 9"];
        let gone = ["nexthop del id 9", "nexthop del id 7"];
        follows(&scene, "next_hop", INTERNET, &group, &gone)?;
        // IPv4 by an IPv6 router.
        let gone = ["nexthop del id 8"];
        follows(
            &scene,
            "next_hop",
            LINK_LOCAL,
            &[&six, "route add default nhid 8"],
            &gone,
        )?;
        let by_six = [&six, "-6 route add default nhid 8"];
        follows(&scene, "next_hop6", LINK_LOCAL, &by_six, &gone)?;
        // Another router in its place: the route stays as it is.
        let dead = format!("nexthop add id 7 via 198.51.100.9 dev {UPLINK}");
        enter(&scene, &[&dead, by_it])?;
        wait_for(&scene, "next_hop", Some("198.51.100.9"))?;
        let replaced = one.replace("add", "replace");
        follows(
            &scene,
            "next_hop",
            INTERNET,
            &[&replaced],
            &["nexthop del id 7"],
        )?;
    }
    Ok(())
}

/// A router beside the uplink's network, and an uplink of two addresses or one.
#[test]
fn small_uplinks_and_routers_beside_them() -> Result<()> {
    let scene = by_routes(&Options::default())?;
    let flush = format!("address flush dev {UPLINK} scope global");
    let single = format!("address add {GATEWAY}/32 dev {UPLINK}");
    let on_link = format!("route add default via {INTERNET} dev {UPLINK} onlink");
    let gone = ["route del default"];
    follows(
        &scene,
        "next_hop",
        INTERNET,
        &[&flush, &single, &on_link],
        &gone,
    )?;
    // No address at all: an IPv6 router, or the kernel asks with another interface's.
    let other = ["address add 192.0.2.77/32 dev lo", &flush, &on_link];
    follows(&scene, "next_hop", INTERNET, &other, &gone)?;
    // The other address of 198.51.100.2/31.
    let internet = &scene.backbone.internet;
    internet.ip(&format!("address add 198.51.100.3/31 dev {UPLINK}"))?;
    let pair = format!("address add {GATEWAY}/31 dev {UPLINK}");
    let default = "route add default via 198.51.100.3";
    follows(&scene, "next_hop", "198.51.100.3", &[&pair, default], &gone)
}

/// Where the rules choose by packets, nobody can say what is next for those of EIPs but the
/// operator.
#[test]
fn where_rules_choose_a_warning_names_the_routers_and_the_key() -> Result<()> {
    let mut scene = by_routes(&Options::default())?;
    enter(
        &scene,
        &[
            "route add default via 198.51.100.8 table 100",
            &format!("route add default via {INTERNET} table 101"),
            "rule add fwmark 7 table 100",
            "rule add fwmark 8 table 101",
        ],
    )?;
    let said = until(PATIENCE, "a warning of the rules", || {
        Ok(Some(warnings(&scene)?).filter(|text| text.contains("ip rule")))
    })?;
    for want in [
        "198.51.100.8",
        INTERNET,
        "table 100",
        "table 101",
        "`next_hop`",
        UPLINK,
    ] {
        ensure!(said.contains(want), "{want} in {said}");
    }
    wait_for(&scene, "next_hop", None)?;
    scene.gateway.stop()?;
    scene.gateway.configure(&format!(
        "[[uplink]]\ninterface = \"{UPLINK}\"\nnext_hop = {{ ipv4 = \"{LINK_LOCAL}\" }}\n"
    ))?;
    scene.gateway.start()?;
    wait_for_traffic(&scene, EIP)?;
    let said = warnings(&scene)?;
    ensure!(!said.contains("ip rule"), "{said}");
    // A default route without a router takes every address for a neighbour's.
    scene.gateway.stop()?;
    scene
        .gateway
        .configure(&format!("[[uplink]]\ninterface = \"{UPLINK}\"\n"))?;
    enter(
        &scene,
        &[
            "rule del fwmark 7 table 100",
            "rule del fwmark 8 table 101",
            &format!("route add default dev {UPLINK}"),
        ],
    )?;
    scene.gateway.start()?;
    let said = warnings(&scene)?;
    ensure!(
        said.contains("names no router") && said.contains("`next_hop`"),
        "{said}"
    );
    Ok(())
}

/// The gateway's own ICMP errors come from another of the host's addresses where the uplink has
/// none.
#[test]
fn errors_have_a_source_on_an_uplink_without_an_address() -> Result<()> {
    let scene = by_routes(&Options {
        pool: "--gateway none",
        ..Options::default()
    })?;
    enter(
        &scene,
        &[
            &format!("address flush dev {UPLINK} scope global"),
            &format!("-4 route add default via inet6 {LINK_LOCAL} dev {UPLINK}"),
        ],
    )?;
    // It answers no ARP for the next hop's address any more.
    let internet = &scene.backbone.internet;
    internet.ip(&format!("route replace {POOL} dev {UPLINK}"))?;
    wait_for_traffic(&scene, EIP)?;
    let told_by = || -> Result<String> {
        let mut last_hop = internet.command("ping");
        last_hop.args(["-n", "-c", "1", "-W", "1", "-t", "1", EIP]);
        let output = last_hop.output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let hear_of = |source: &str| {
        until(PATIENCE, &format!("an error from {source}"), || {
            let said = told_by()?;
            let from = format!("From {source} ");
            Ok(said.contains(&from).then_some(()))
        })
    };
    hear_of("192.0.0.8")?;
    let said = warnings(&scene)?;
    ensure!(
        said.contains("192.0.0.8") && said.contains("icmp_source"),
        "{said}"
    );
    enter(&scene, &["address add 192.0.2.77/32 dev lo"])?;
    hear_of("192.0.2.77")
}

/// The only uplink may come after the daemon, by a name that another interface had, or by an
/// alternative one.
#[test]
fn an_uplink_that_is_not_there_is_waited_for() -> Result<()> {
    let mut scene = by_routes(&Options::default())?;
    scene.gateway.stop()?;
    scene
        .gateway
        .configure("[[uplink]]\ninterface = \"enp3s0f0np0-of-the-provider\"\n")?;
    scene.gateway.start()?;
    let said = warnings(&scene)?;
    for want in ["enp3s0f0np0-of-the-provider", "no such interface", UPLINK] {
        ensure!(said.contains(want), "{want} in {said}");
    }
    let altname = "property add dev up0 altname enp3s0f0np0-of-the-provider";
    enter(
        &scene,
        &[
            &format!("link {altname}"),
            &format!("route add default via {INTERNET}"),
        ],
    )?;
    wait_for(&scene, "next_hop", Some(INTERNET))?;
    wait_for_traffic(&scene, EIP)
}

/// A port by an alternative name is the port, and an uplink's other name makes it no port.
#[test]
fn alternative_names_of_ports() -> Result<()> {
    let scene = by_routes(&Options::default())?;
    enter(
        &scene,
        &[
            &format!("route add default via {INTERNET}"),
            "link property add dev a2 altname tenant-1-of-customer-a",
            "link property add dev up0 altname wide-area",
        ],
    )?;
    scene.gateway.ok("eni detach a-secondary --wait")?;
    scene
        .gateway
        .ok("eni attach a-secondary --instance a --port tenant-1-of-customer-a --wait")?;
    wait_for_traffic(&scene, "203.0.113.11")?;
    let status = scene.gateway.status()?;
    let ports = status["ports"].as_array().context("no ports")?;
    let port = ports
        .iter()
        .find(|port| port["interface"] == "tenant-1-of-customer-a");
    let port = port.context("the port by its other name")?;
    ensure!(
        port["link"] == "up" && port["attached"].is_object(),
        "{port}"
    );
    ensure!(
        !ports.iter().any(|port| port["interface"] == "a2"),
        "{status}"
    );

    // Another VPC's ENI by the port's own name is on the same port.
    scene.gateway.ok("vpc create w --cidr 10.9.0.0/24")?;
    scene.gateway.ok("instance create c")?;
    scene.gateway.ok(
        "eni create c0 --vpc w --kind primary --mac 02:00:00:00:0c:01 --private-ip 10.9.0.10",
    )?;
    scene.gateway.ok("eni attach c0 --instance c --port a2")?;
    until(PATIENCE, "a warning of two VPCs on one port", || {
        let said = warnings(&scene)?;
        Ok((said.contains("eni c0") && said.contains("VPC v")).then_some(()))
    })
}

/// Who is on the uplink's own network cannot reach a VPC that has the same addresses.
#[test]
fn a_vpc_over_the_uplink_s_network_is_told_of() -> Result<()> {
    let scene = by_routes(&Options::default())?;
    let created = scene
        .gateway
        .outcome("vpc create over --cidr 198.51.0.0/16")?;
    ensure!(created.status.success());
    let said = String::from_utf8_lossy(&created.stderr);
    for want in [
        "vpc-overlaps-uplink",
        "198.51.0.0/16",
        "198.51.100.0/24",
        UPLINK,
    ] {
        ensure!(said.contains(want), "{want} in {said}");
    }
    let check = scene.gateway.outcome(&format!("check --uplink {UPLINK}"))?;
    let said = String::from_utf8_lossy(&check.stdout);
    ensure!(said.contains("vpc-overlaps-uplink"), "{said}");
    until(PATIENCE, "a warning of `status`", || {
        Ok(warnings(&scene)?
            .contains("vpc-overlaps-uplink")
            .then_some(()))
    })
}

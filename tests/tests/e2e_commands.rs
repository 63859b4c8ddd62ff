//! What commands say of a gateway that does not forward what the table wants.

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    gateway::Gateway,
    process::PATIENCE,
    scene::{Options, Scene},
    topology::{INTERNET, UPLINK},
    wait::until,
};
use serde_json::Value;

/// A scene whose guests are silent.
fn scene() -> Result<Scene> {
    Scene::new(&Options {
        silent: true,
        ..Options::default()
    })
}

/// A verb's exit code and standard output.
fn said(gateway: &Gateway, line: &str) -> Result<(i32, String)> {
    let output = gateway.outcome(line)?;
    let code = output
        .status
        .code()
        .with_context(|| format!("`{line}` was killed"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((code, text + &String::from_utf8_lossy(&output.stderr)))
}

/// Waits until `status` ends with that code, and returns what it says.
fn status(gateway: &Gateway, line: &str, code: i32) -> Result<String> {
    until(PATIENCE, &format!("`{line}` to end with {code}"), || {
        let (now, text) = said(gateway, line)?;
        Ok((now == code).then_some(text))
    })
}

#[test]
fn waiting_tells_whether_the_thing_is_forwarded() -> Result<()> {
    let scene = scene()?;
    let gateway = &scene.gateway;
    gateway.ok("instance create late")?;
    gateway.ok(
        "eni create late-0 --vpc v --kind primary --mac 02:00:00:00:0c:01 --private-ip 10.0.0.30",
    )?;
    let (code, text) = said(gateway, "eip create late-eip --address 203.0.113.30 --wait")?;
    ensure!(
        code == 0 && text.contains("serving: not asked for, the EIP is free"),
        "{code} {text}"
    );
    let (code, text) = said(gateway, "associate late-eip late-0 --wait")?;
    ensure!(
        code == 0 && text.contains("not asked for, ENI `late-0` is detached"),
        "{code} {text}"
    );
    let (code, text) = said(
        gateway,
        "eni attach late-0 --instance late --port vp-zz --wait",
    )?;
    ensure!(
        code == 4 && text.contains("serving: no, there is no interface vp-zz"),
        "{code} {text}"
    );
    let shown = gateway.ok("eni show late-0")?;
    ensure!(shown.contains("no, there is no interface vp-zz"), "{shown}");
    let shown = gateway.json("eip show late-eip")?;
    ensure!(shown["serving"]["verdict"] == "no", "{shown}");
    // What is absent is waited for, and everything else is served.
    let text = status(gateway, "status", 0)?;
    ensure!(
        text.starts_with("serving:") && text.contains("yes\n"),
        "{text}"
    );
    ensure!(
        text.contains("waiting:") && text.contains("vp-zz"),
        "{text}"
    );
    status(gateway, "status --strict", 1)?;
    let ns = &scene.backbone.gateway;
    ns.ip("link add vp-zz type veth peer name vp-zz-guest")?;
    ns.ip("link set dev vp-zz-guest up")?;
    ns.ip("link set dev vp-zz up")?;
    status(gateway, "status --strict", 0)?;
    let (code, text) = said(
        gateway,
        "eni attach late-0 --instance late --port vp-zz --wait",
    )?;
    ensure!(code == 0 && text.contains("serving: yes"), "{code} {text}");
    ensure!(
        gateway.json("eni show vp-zz")?["serving"]["verdict"] == "yes",
        "by its port"
    );
    let (code, text) = said(gateway, "disassociate 203.0.113.30 --wait")?;
    ensure!(code == 0, "{code} {text}");
    Ok(())
}

#[test]
fn what_stands_on_the_uplink_is_not_served() -> Result<()> {
    let scene = scene()?;
    let gateway = &scene.gateway;
    let line =
        format!("eni attach b-secondary --instance b --port {UPLINK} --force --wait -o json");
    let (code, text) = said(gateway, &line)?;
    ensure!(code == 4, "{code} {text}");
    ensure!(
        text.contains("not-forwarded") && text.contains("is an uplink"),
        "{text}"
    );
    let text = status(gateway, "status", 1)?;
    let first = text.lines().next().unwrap_or_default();
    ensure!(
        first.starts_with("serving:") && first.contains("b-secondary"),
        "{text}"
    );
    let config = gateway.configuration();
    let (code, text) = said(gateway, &format!("check -c {}", config.display()))?;
    ensure!(code == 1, "{code} {text}");
    let first = text.lines().next().unwrap_or_default();
    ensure!(
        first.starts_with("fail  serving") && first.contains("b-secondary"),
        "{text}"
    );
    Ok(())
}

#[test]
fn eips_without_a_next_hop_are_not_served() -> Result<()> {
    let mut scene = scene()?;
    let (code, text) = said(&scene.gateway, "status")?;
    ensure!(code == 0, "{code} {text}");
    scene.gateway.stop()?;
    scene
        .gateway
        .configure(&format!("[[uplink]]\ninterface = \"{UPLINK}\"\n"))?;
    scene.gateway.start()?;
    let gateway = &scene.gateway;
    let text = status(gateway, "status", 1)?;
    let first = text.lines().next().unwrap_or_default();
    ensure!(
        first.contains("no uplink is up and has an IPv4 next hop"),
        "{text}"
    );
    gateway.ok("eip create more --address 203.0.113.40")?;
    let (code, text) = said(gateway, "associate more b-primary --wait")?;
    ensure!(
        code == 4 && text.contains("serving: no, no uplink is up"),
        "{code} {text}"
    );
    // Between ENIs there is no need of one.
    let (code, text) = said(
        gateway,
        "eni attach b-primary --instance b --port b1 --wait",
    )?;
    ensure!(code == 4, "its EIP does need one: {code} {text}");
    gateway.ok("disassociate more")?;
    let (code, text) = said(
        gateway,
        "eni attach b-primary --instance b --port b1 --wait",
    )?;
    ensure!(code == 0 && text.contains("serving: yes"), "{code} {text}");
    let ns = &scene.backbone.gateway;
    ns.ip(&format!("route add default via {INTERNET}"))?;
    status(gateway, "status", 0)?;
    let (code, text) = said(gateway, "associate more b-primary --wait")?;
    ensure!(code == 0 && text.contains("serving: yes"), "{code} {text}");
    Ok(())
}

#[test]
fn what_does_not_fit_into_the_maps_is_not_served() -> Result<()> {
    let mut scene = scene()?;
    scene
        .gateway
        .ok("eip create fifth --address 203.0.113.50")?;
    scene.gateway.stop()?;
    scene.gateway.ok("unload")?;
    scene.gateway.configure(&format!(
        "[[uplink]]\ninterface = \"{UPLINK}\"\nnext_hop = \"{INTERNET}\"\n[maps]\neips = 5\n"
    ))?;
    scene.gateway.start()?;
    let gateway = &scene.gateway;
    status(gateway, "status", 0)?;
    gateway.ok("eip create sixth --address 203.0.113.60")?;
    let (code, text) = said(gateway, "associate sixth b-primary --wait")?;
    ensure!(
        code == 4 && text.contains("is full: it holds 5"),
        "{code} {text}"
    );
    let text = status(gateway, "status", 1)?;
    ensure!(
        text.lines()
            .next()
            .is_some_and(|first| first.contains("is full")),
        "{text}"
    );
    let shown: Value = gateway.json("eip show 203.0.113.60")?;
    ensure!(shown["serving"]["verdict"] == "no", "{shown}");
    // Those that were there before are.
    ensure!(
        gateway.json("eip show eip-a")?["serving"]["verdict"] == "yes",
        "as before"
    );
    Ok(())
}

#[test]
fn a_gateway_that_is_not_loaded_serves_nothing() -> Result<()> {
    let mut scene = scene()?;
    scene.gateway.stop()?;
    let (code, text) = said(&scene.gateway, "status")?;
    ensure!(code == 0, "it forwards on: {code} {text}");
    scene.gateway.ok("disassociate eip-a")?;
    let (code, text) = said(&scene.gateway, "status")?;
    let first = text.lines().next().unwrap_or_default();
    ensure!(
        code == 1 && first.contains("no daemon runs"),
        "{code} {text}"
    );
    scene.gateway.ok("unload")?;
    let (code, text) = said(&scene.gateway, "status")?;
    let first = text.lines().next().unwrap_or_default();
    ensure!(code == 1 && first.contains("not loaded"), "{code} {text}");
    let shown = scene.gateway.ok("eni show a-primary")?;
    ensure!(
        shown.contains("serving:") && shown.contains("is not loaded"),
        "{shown}"
    );
    Ok(())
}

#[test]
fn pruning_detaches_while_the_rest_goes_on() -> Result<()> {
    let scene = scene()?;
    let gateway = &scene.gateway;
    let exported = gateway.ok("export")?;
    let parts = exported
        .split("\n[[")
        .filter(|part| !part.contains("b-secondary"));
    let file = scene.lab.folder().join("less.toml");
    std::fs::write(&file, parts.collect::<Vec<_>>().join("\n[["))?;
    let line = format!("apply -f {} --prune --quiet --wait", file.display());
    let (code, text) = said(gateway, &line)?;
    ensure!(code == 0, "{code} {text}");
    ensure!(
        text.starts_with("0 to add, 1 to change, 2 to delete\n"),
        "{text}"
    );
    gateway.ok("verify")?;
    // Everything to an interface that is not there.
    let moved = exported.replace("port = \"a1\"", "port = \"vp-gone\"");
    std::fs::write(&file, moved)?;
    let (code, text) = said(gateway, &format!("apply -f {} -q --wait", file.display()))?;
    ensure!(code == 4, "{code} {text}");
    ensure!(
        text.contains("serving: no, eni a-primary: there is no interface vp-gone"),
        "{text}"
    );
    Ok(())
}

//! Ports that the host uses itself: an ENI there is refused or forced, and the host gets them back.
//! Ports that guests have: what nobody stands on stays closed, and an interface that is made anew
//! is the port again, or closed.

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    capture::Capture,
    frames,
    gateway::Gateway,
    netns::Netns,
    process::PATIENCE,
    scene::{Options, Scene, mac_of},
    topology::{GATEWAY, UPLINK},
    traffic::ping,
    wait::until,
};

/// By which the host is reached for its own sake.
const HOSTS: &str = "eno1";
const HOSTS_MAC: &str = "02:00:00:00:0f:01";

/// A scene whose host has another interface, with an address.
struct Host {
    scene: Scene,
    /// Who is at the other end.
    office: Netns,
}

impl Host {
    fn new() -> Result<Self> {
        let scene = silent_scene()?;
        let office = scene.lab.namespace("office")?;
        scene.backbone.plug(HOSTS, &office, "eth0", HOSTS_MAC)?;
        let host = Self { scene, office };
        let gateway = &host.scene.backbone.gateway;
        for (side, interface, number) in [(gateway, HOSTS, 1), (&host.office, "eth0", 2)] {
            side.ip(&format!("link set dev {interface} up"))?;
            side.ip(&format!("address add 10.99.0.{number}/24 dev {interface}"))?;
        }
        free(&host.scene)?;
        Ok(host)
    }

    fn answers(&self, address: &str) -> Result<bool> {
        Ok(ping(&self.office, None, address, 2)?.received > 0)
    }

    /// Waits until the host answers there, or answers no more.
    fn wait_for(&self, address: &str, answers: bool) -> Result<()> {
        let what = format!("{address} to answer: {answers}");
        until(PATIENCE, &what, || {
            Ok((self.answers(address)? == answers).then_some(()))
        })
    }
}

fn silent_scene() -> Result<Scene> {
    Scene::new(&Options {
        silent: true,
        ..Options::default()
    })
}

/// Makes b-secondary an ENI that stands nowhere and has no EIP.
fn free(scene: &Scene) -> Result<()> {
    scene.gateway.ok("disassociate eip-b")?;
    scene.gateway.ok("eni detach b-secondary --wait")?;
    Ok(())
}

/// That an attach is refused because of what the host uses the port for.
fn refused(gateway: &Gateway, place: &str, why: &str) -> Result<()> {
    let command = format!("eni attach b-secondary --instance b {place}");
    let output = gateway.outcome(&command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "{place}: {output:?}");
    for word in ["port-is-the-hosts", "--force", why] {
        ensure!(said.contains(word), "{place}: no {word:?} in {said}");
    }
    Ok(())
}

fn warnings(gateway: &Gateway) -> Result<String> {
    Ok(gateway.status()?["warnings"].to_string())
}

fn wait_for_warning(gateway: &Gateway, word: &str) -> Result<()> {
    until(PATIENCE, &format!("a warning of {word:?}"), || {
        Ok(warnings(gateway)?.contains(word).then_some(()))
    })
    .with_context(|| format!("warnings: {:?}", warnings(gateway)))
}

#[test]
fn what_the_host_uses_is_refused() -> Result<()> {
    let host = Host::new()?;
    let (scene, gateway) = (&host.scene, &host.scene.gateway);
    let machine = &scene.backbone.gateway;
    refused(gateway, "--port eno1", "10.99.0.1")?;
    refused(gateway, &format!("--port {UPLINK}"), UPLINK)?;
    machine.ip("link property add dev eno1 altname enp9s0")?;
    refused(gateway, "--port enp9s0", "10.99.0.1")?;
    // A VLAN of the interface is nobody's, and the host goes on beside it.
    gateway.ok("eni attach b-secondary --instance b --port eno1 --vlan 21 --wait")?;
    assert!(host.answers("10.99.0.1")?);
    refused(gateway, "--port eno1", "10.99.0.1")?;
    gateway.ok("eni detach b-secondary --wait")?;
    assert!(host.answers("10.99.0.1")?);

    // Link-local addresses are on every interface; a default route counts as an address does.
    machine.ip("address flush dev eno1")?;
    machine.ip("address add 169.254.7.7/16 dev eno1")?;
    gateway.ok("eni attach b-secondary --instance b --port eno1")?;
    gateway.ok("eni detach b-secondary")?;
    machine.ip("route add default dev eno1 metric 5000")?;
    refused(gateway, "--port eno1", "default route")?;
    machine.ip("route del default dev eno1 metric 5000")?;
    machine.ip("-6 route add default via fe80::1 dev eno1 metric 5000")?;
    refused(gateway, "--port eno1", "default route")?;
    machine.ip("-6 route del default via fe80::1 dev eno1 metric 5000")?;
    machine.ip("address add 2001:db8:99::1/64 dev eno1 nodad")?;
    refused(gateway, "--port eno1", "2001:db8:99::1")?;
    machine.ip("address flush dev eno1")?;
    gateway.ok("eni attach b-secondary --instance b --port eno1 --wait")?;
    Ok(())
}

#[test]
fn nics_on_a_bridge_and_uplinks_of_other_gateways_are_refused() -> Result<()> {
    let host = Host::new()?;
    let (scene, gateway) = (&host.scene, &host.scene.gateway);
    let machine = &scene.backbone.gateway;
    for command in [
        "link add br9 type bridge",
        "link add wire type veth peer name far",
        "link add link wire name nic0 type macvlan mode passthru",
        "link add tap0 type veth peer name tap0peer",
        "link set dev nic0 master br9",
        "link set dev tap0 master br9",
        "link set dev nic0 up",
    ] {
        machine.ip(command)?;
    }
    refused(gateway, "--port nic0", "br9")?;
    refused(gateway, "--port nic0 --vlan 7", "br9")?;
    // A guest's interface on a bridge is a guest's.
    gateway.ok("eni attach b-secondary --instance b --port tap0")?;
    gateway.ok("eni detach b-secondary")?;
    machine.ip("link set dev nic0 nomaster")?;
    gateway.ok("eni attach b-secondary --instance b --port nic0 --wait")?;
    gateway.ok("eni detach b-secondary --wait")?;

    let name = format!("{}-other", scene.lab.name());
    let configuration = "[[uplink]]\ninterface = \"nic0\"\nnext_hop = \"192.0.2.1\"\n";
    let mut other = Gateway::named(&scene.lab, machine, &name, configuration)?;
    other.start()?;
    refused(gateway, "--port nic0", "uplink")?;
    other.stop()?;
    other.ok("unload")?;
    Ok(())
}

#[test]
fn a_forced_port_cuts_the_host_off_until_it_is_detached() -> Result<()> {
    let mut host = Host::new()?;
    let gateway = &host.scene.gateway;
    assert!(host.answers("10.99.0.1")?);
    refused(gateway, "--port eno1", "10.99.0.1")?;
    assert!(host.answers("10.99.0.1")?);
    gateway.ok("eni attach b-secondary --instance b --port eno1 --force --wait")?;
    host.wait_for("10.99.0.1", false)?;
    wait_for_warning(gateway, "port-is-the-hosts")?;
    assert_eq!(gateway.json("eni show b-secondary")?["force"], true);

    // The file carries it: there and back, it is the same table.
    let file = host.scene.lab.folder().join("exported.toml");
    let text = gateway.ok("export")?;
    assert!(text.contains("force = true"), "{text}");
    std::fs::write(&file, &text)?;
    gateway.ok("eni detach b-secondary --wait")?;
    host.wait_for("10.99.0.1", true)?;
    gateway.ok(&format!("apply -f {} --wait", file.display()))?;
    host.wait_for("10.99.0.1", false)?;
    // Without the field the file is refused as the verb is.
    gateway.ok("eni detach b-secondary --wait")?;
    std::fs::write(&file, text.replace("force = true", ""))?;
    let output = gateway.outcome(&format!("apply -f {}", file.display()))?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("port-is-the-hosts"));
    host.wait_for("10.99.0.1", true)?;

    // With a daemon that starts after the detach.
    gateway.ok("eni attach b-secondary --instance b --port eno1 --force --wait")?;
    host.wait_for("10.99.0.1", false)?;
    host.scene.gateway.kill()?;
    host.scene.gateway.ok("eni detach b-secondary")?;
    assert!(!host.answers("10.99.0.1")?);
    host.scene.gateway.start()?;
    host.wait_for("10.99.0.1", true)?;
    host.scene.gateway.ok("verify")?;
    Ok(())
}

/// What is in use goes on: a port is not taken from a guest because the host was given an address
/// there.
#[test]
fn an_address_that_comes_later_is_a_warning() -> Result<()> {
    let scene = silent_scene()?;
    let (gateway, machine) = (&scene.gateway, &scene.backbone.gateway);
    scene.a.ip("address add 10.0.0.10/24 dev eth0")?;
    scene.b.ip("address add 10.0.0.20/24 dev eth0")?;
    assert!(ping(&scene.a, None, "10.0.0.20", 2)?.lost_nothing());
    machine.ip("address add 192.0.2.9/24 dev b1")?;
    wait_for_warning(gateway, "192.0.2.9")?;
    assert!(warnings(gateway)?.contains("port-is-the-hosts"));
    assert!(ping(&scene.a, None, "10.0.0.20", 2)?.lost_nothing());
    // Attached where it stands, it is no new attach.
    gateway.ok("eni attach b-primary --instance b --port b1 --wait")?;
    assert!(ping(&scene.a, None, "10.0.0.20", 2)?.lost_nothing());
    machine.ip("address del 192.0.2.9/24 dev b1")?;
    until(PATIENCE, "the warning to go", || {
        Ok((!warnings(gateway)?.contains("192.0.2.9")).then_some(()))
    })
}

/// A guest on a port of the host, which would answer it: what a host does with an interface that
/// nobody guards.
struct Guest<'a> {
    scene: &'a Scene,
    port: &'static str,
    netns: &'a Netns,
    interface: &'static str,
}

impl Guest<'_> {
    /// Lets the guest and the host's own stack find each other, wherever the interface is not
    /// closed.
    fn prepare(&self) -> Result<()> {
        let host = &self.scene.backbone.gateway;
        self.netns
            .ip(&format!("link set dev {} up", self.interface))?;
        self.netns
            .ip(&format!("address add 10.77.0.2/24 dev {}", self.interface))?;
        self.netns
            .ip(&format!("route add {GATEWAY}/32 dev {}", self.interface))?;
        host.ip(&format!("route add 10.77.0.2/32 dev {}", self.port))?;
        Ok(())
    }

    fn reaches_the_host(&self) -> Result<bool> {
        // A question that is still open is not asked again, so that nothing would be dropped.
        self.netns
            .ip(&format!("neigh flush dev {}", self.interface))?;
        Ok(ping(self.netns, Some("10.77.0.2"), GATEWAY, 2)?.received > 0)
    }

    /// What it sends is dropped and counted, and nothing is answered.
    fn is_shut_out(&self) -> Result<()> {
        let gateway = &self.scene.gateway;
        let before = gateway.dropped("eni-detached")?;
        ensure!(!self.reaches_the_host()?, "the host answers");
        gateway.wait_for_drop("eni-detached", before)?;
        // Not by ARP either, whose answer would be in a cache already.
        let (mac, own) = (
            mac_of(self.netns, self.interface)?,
            mac_of(&self.scene.backbone.gateway, self.port)?,
        );
        let frames = frames::build(
            "",
            &[&format!(
                "Ether(src='{mac}',dst='{own}')/IP(src='10.77.0.2',dst='{GATEWAY}')/ICMP()"
            )],
        )?;
        let capture = Capture::start(self.netns, self.interface)?;
        let before = gateway.dropped("eni-detached")?;
        capture.send(&frames[0])?;
        gateway.wait_for_drop("eni-detached", before)?;
        let answers = capture.incoming(|_| true);
        ensure!(answers.is_empty(), "something came back: {answers:?}");
        Ok(())
    }
}

#[test]
fn a_port_that_its_eni_left_stays_closed() -> Result<()> {
    let mut scene = silent_scene()?;
    let guest = Guest {
        scene: &scene,
        port: "b2",
        netns: &scene.b,
        interface: "eth1",
    };
    guest.prepare()?;
    scene.gateway.ok("eni detach b-secondary --wait")?;
    guest.is_shut_out()?;
    // Whatever the host does with its other interfaces.
    scene
        .backbone
        .gateway
        .ip("address add 192.0.2.9/24 dev lo")?;
    guest.is_shut_out()?;
    scene.gateway.stop()?;
    scene.gateway.start()?;
    let guest = Guest {
        scene: &scene,
        port: "b2",
        netns: &scene.b,
        interface: "eth1",
    };
    guest.is_shut_out()?;
    scene.gateway.kill()?;
    assert!(
        !Guest {
            scene: &scene,
            port: "b2",
            netns: &scene.b,
            interface: "eth1"
        }
        .reaches_the_host()?,
        "closed without a daemon, too"
    );
    scene.gateway.start()?;
    scene.gateway.stop()?;
    scene.gateway.ok("unload")?;
    let guest = Guest {
        scene: &scene,
        port: "b2",
        netns: &scene.b,
        interface: "eth1",
    };
    assert!(guest.reaches_the_host()?, "`unload` opens it");
    Ok(())
}

/// A VF has no veth's kind: a macvlan stands for it.
#[test]
fn a_nic_that_its_eni_left_stays_closed_unless_it_is_the_hosts() -> Result<()> {
    let scene = silent_scene()?;
    let machine = &scene.backbone.gateway;
    let far = scene.lab.namespace("far")?;
    scene
        .backbone
        .plug("wire", &far, "eth0", "02:00:00:00:0f:02")?;
    machine.ip("link add link wire name vf0 type macvlan mode passthru")?;
    machine.ip("link set dev vf0 up")?;
    let guest = Guest {
        scene: &scene,
        port: "vf0",
        netns: &far,
        interface: "eth0",
    };
    guest.prepare()?;
    assert!(guest.reaches_the_host()?, "open as long as it is nobody's");
    let attach = "eni attach b-secondary --instance b --port vf0 --wait";
    scene.gateway.ok(attach)?;
    assert!(!guest.reaches_the_host()?);
    scene.gateway.ok("eni detach b-secondary --wait")?;
    guest.is_shut_out()?;
    // The host's own, and so it is given back at once.
    machine.ip("address add 192.0.2.9/24 dev vf0")?;
    until(PATIENCE, "the host to answer", || {
        Ok(guest.reaches_the_host()?.then_some(()))
    })
}

/// The guest behind b3.
fn closed(scene: &Scene) -> Guest<'_> {
    Guest {
        scene,
        port: "b3",
        netns: &scene.b,
        interface: "eth2",
    }
}

/// The hypervisor's next guest has its tap under the name of the one before.
#[test]
fn an_interface_made_anew_is_closed_where_the_attach_said_so() -> Result<()> {
    let mut scene = silent_scene()?;
    free(&scene)?;
    scene.a.ip("address add 10.0.0.10/24 dev eth0")?;
    scene
        .backbone
        .plug("b3", &scene.b, "eth2", "02:00:00:00:0b:02")?;
    scene
        .gateway
        .ok("eni attach b-secondary --instance b --port b3 --rebind never --wait")?;
    let addressed = |scene: &Scene| -> Result<()> {
        scene.b.ip("link set dev eth2 up")?;
        scene.b.ip("address add 10.0.0.21/24 dev eth2")?;
        Ok(())
    };
    let reaches = |scene: &Scene| -> Result<bool> {
        let pinged = ping(&scene.b, Some("10.0.0.21"), "10.0.0.10", 2)?;
        Ok(pinged.received > 0)
    };
    addressed(&scene)?;
    assert!(reaches(&scene)?, "the interface that it was attached to");
    // The same one for the daemon that starts next.
    scene.gateway.stop()?;
    scene.gateway.start()?;
    assert!(reaches(&scene)?);
    // Down and up, or with another Ethernet address, it stays the one.
    let machine = scene.backbone.gateway.clone();
    machine.ip("link set dev b3 down")?;
    machine.ip("link set dev b3 up")?;
    until(PATIENCE, "the link to be back", || {
        Ok(reaches(&scene)?.then_some(()))
    })?;

    scene.backbone.unplug("b3")?;
    scene
        .backbone
        .plug("b3", &scene.b, "eth2", "02:00:00:00:0b:02")?;
    wait_for_warning(&scene.gateway, "made anew")?;
    addressed(&scene)?;
    closed(&scene).prepare()?;
    assert!(!reaches(&scene)?);
    closed(&scene).is_shut_out()?;
    // Changes of the ENI that are no attach do not open it.
    let output = scene
        .gateway
        .outcome("eni add-ip b-secondary 10.0.0.22 --wait")?;
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(!reaches(&scene)?);
    closed(&scene).is_shut_out()?;
    scene.gateway.kill()?;
    scene.gateway.start()?;
    assert!(!reaches(&scene)?);
    closed(&scene).is_shut_out()?;
    scene.gateway.ok("verify")?;

    // Made anew once more, with the same index, while no daemon runs and while one does.
    for stops in [true, false] {
        let attach = "eni attach b-secondary --instance b --port b3 --rebind never --wait";
        scene.gateway.ok(attach)?;
        assert!(reaches(&scene)?, "attached again");
        assert!(!warnings(&scene.gateway)?.contains("made anew"));
        if stops {
            scene.gateway.stop()?;
        }
        scene
            .backbone
            .replug("b3", &scene.b, "eth2", "02:00:00:00:0b:02")?;
        if stops {
            scene.gateway.start()?;
        }
        wait_for_warning(&scene.gateway, "made anew")?;
        addressed(&scene)?;
        closed(&scene).prepare()?;
        assert!(!reaches(&scene)?);
        closed(&scene).is_shut_out()?;
    }
    Ok(())
}

/// Names that the operator gives say whose an interface is.
#[test]
fn an_interface_made_anew_is_the_port_by_default() -> Result<()> {
    let scene = silent_scene()?;
    scene.a.ip("address add 10.0.0.10/24 dev eth0")?;
    for has_index in [false, true, true] {
        let (backbone, mac) = (&scene.backbone, "02:00:00:00:0b:02");
        if has_index {
            backbone.replug("b2", &scene.b, "eth1", mac)?;
        } else {
            backbone.unplug("b2")?;
            backbone.plug("b2", &scene.b, "eth1", mac)?;
        }
        // It is cut-through: its guest has the EIP.
        scene.b.ip("link set dev eth1 up")?;
        scene.b.ip("address add 203.0.113.20/24 dev eth1")?;
        scene.b.ip("route add default via 203.0.113.1")?;
        let internet = &scene.backbone.internet;
        until(PATIENCE, "the new interface to be served", || {
            let pinged = ping(internet, None, "203.0.113.20", 1)?;
            Ok(pinged.lost_nothing().then_some(()))
        })?;
    }
    Ok(())
}

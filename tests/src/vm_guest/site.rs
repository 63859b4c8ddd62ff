//! A gateway at work in the machine: an Internet host, an uplink of the kind to be tried, a guest
//! with NAT and one with cut-through, addresses by DHCP.

use std::{fmt, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    Lab,
    gateway::Gateway,
    netns::Netns,
    process::run,
    topology::{
        Backbone, GATEWAY, GATEWAY_MAC, GATEWAY6, INTERNET, INTERNET_MAC, INTERNET6, UPLINK,
    },
    tunnel::add_far,
    wait::until,
};

/// The prefix that the Internet host routes to the gateway.
const POOL: &str = "203.0.113.0/24";
/// That of IPv6, where a tunnel is the uplink.
const POOL6: &str = "2001:db8:cb::/64";
/// The addresses between which tunnels go, of the Internet host and the gateway.
const OUTER: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
const OUTER6: [&str; 2] = ["2001:db8:9::1", "2001:db8:9::2"];

/// What the uplink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A pair of virtual interfaces.
    Veth,
    /// Two virtio network cards.
    Virtio,
    /// A VLAN (802.1Q) over a pair of virtual interfaces.
    Vlan,
    /// A VLAN within another (802.1ad) over a pair of virtual interfaces, whose tags are the data
    /// plane's.
    Stack,
    /// WireGuard, over a pair of virtual interfaces as the next ones: packets have no Ethernet
    /// header.
    Wireguard,
    /// GRE over IPv4, with a key, which leaves the outer headers in front of a packet.
    Gre,
    /// GRE over IPv6.
    Gre6,
}

impl Wire {
    /// The interface of either end that has the addresses.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Veth | Self::Virtio => UPLINK,
            Self::Vlan => "up0.100",
            Self::Stack => "up0.40.100",
            Self::Wireguard | Self::Gre | Self::Gre6 => "tunnel",
        }
    }

    /// Whether XDP runs on it.
    pub fn has_xdp(self) -> bool {
        self != Self::Vlan && !self.is_tunnel()
    }

    /// Whether packets have no Ethernet header there.
    pub fn is_tunnel(self) -> bool {
        matches!(self, Self::Wireguard | Self::Gre | Self::Gre6)
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Veth => "veth",
            Self::Virtio => "virtio-net",
            Self::Vlan => "802.1Q",
            Self::Stack => "802.1ad",
            Self::Wireguard => "wireguard",
            Self::Gre => "gre",
            Self::Gre6 => "ip6gre",
        })
    }
}

/// A guest with one EIP.
pub struct Guest {
    /// Its stack.
    pub namespace: Netns,
    /// NAT or cut-through.
    pub mode: &'static str,
    /// The EIP's id.
    pub eip: &'static str,
    /// The EIP.
    pub address: &'static str,
    /// The address that its programs use.
    pub inside: &'static str,
    /// Where a tunnel is the uplink: the EIP of IPv6, and the address that its programs use.
    pub ipv6: [&'static str; 2],
    /// The gateway's interface for it.
    pub port: &'static str,
}

/// The whole, taken away when dropped.
pub struct Site {
    /// The gateway instance.
    pub gateway: Gateway,
    /// Internet host and gateway.
    pub backbone: Backbone,
    /// One with NAT, one with cut-through.
    pub guests: [Guest; 2],
    /// What the uplink is.
    pub wire: Wire,
    _lab: Lab,
}

impl Site {
    /// Builds it, and starts the daemon once `prepare` has been at the gateway's network.
    pub fn new(wire: Wire, prepare: impl FnOnce(&Netns) -> Result<()>) -> Result<Self> {
        let lab = Lab::new()?;
        let backbone = match wire {
            Wire::Veth => Backbone::new(&lab)?,
            Wire::Virtio => cards(&lab)?,
            Wire::Vlan => vlan(Backbone::new(&lab)?)?,
            Wire::Stack => stack(Backbone::new(&lab)?)?,
            Wire::Wireguard | Wire::Gre | Wire::Gre6 => {
                tunnel(Backbone::new(&lab)?, wire, lab.folder())?
            }
        };
        backbone.route_pool(POOL)?;
        let uplink = match wire {
            Wire::Stack => format!("interface = \"{UPLINK}\"\nvlan = \"40.100\""),
            _ => format!("interface = \"{}\"", wire.interface()),
        };
        let next_hop = if wire.is_tunnel() {
            format!("[\"{INTERNET}\", \"{INTERNET6}\"]")
        } else {
            format!("\"{INTERNET}\"")
        };
        // XDP on the uplink whatever it is; these guests' ports take no frames from it, and are
        // served by tc.
        let configuration =
            format!("[[uplink]]\n{uplink}\nnext_hop = {next_hop}\n[ports]\ndelivery = \"xdp\"\n");
        let gateway = Gateway::new(&lab, &backbone.gateway, &configuration)?;
        let guests = [
            Guest {
                namespace: lab.namespace("a")?,
                mode: "nat",
                eip: "eip-a",
                address: "203.0.113.10",
                inside: "10.0.0.10",
                ipv6: ["2001:db8:cb::10", "fd00:10::10"],
                port: "a1",
            },
            Guest {
                namespace: lab.namespace("b")?,
                mode: "cut-through",
                eip: "eip-b",
                address: "203.0.113.20",
                inside: "203.0.113.20",
                ipv6: ["2001:db8:cb::20", "2001:db8:cb::20"],
                port: "b1",
            },
        ];
        let mut site = Self {
            gateway,
            backbone,
            guests,
            wire,
            _lab: lab,
        };
        site.fill_table()?;
        prepare(&site.backbone.gateway)?;
        site.start()?;
        for guest in &site.guests {
            lease(&guest.namespace)?;
            if wire.is_tunnel() {
                guest.take_ipv6()?;
            }
        }
        Ok(site)
    }

    /// Starts the daemon. An emulated processor takes its time with the verifier.
    pub fn start(&mut self) -> Result<()> {
        self.gateway.start_within(Duration::from_mins(4))
    }

    /// The Internet host.
    pub fn internet(&self) -> &Netns {
        &self.backbone.internet
    }

    fn fill_table(&self) -> Result<()> {
        self.gateway.ok(&format!("pool create {POOL}"))?;
        let dual_stack = self.wire.is_tunnel();
        if dual_stack {
            self.gateway.ok(&format!("pool create {POOL6}"))?;
            self.gateway
                .ok("vpc create v --cidr 10.0.0.0/24 --cidr fd00:10::/64")?;
        } else {
            self.gateway.ok("vpc create v --cidr 10.0.0.0/24")?;
        }
        for (number, guest) in (1..).zip(&self.guests) {
            let Guest {
                mode,
                eip,
                address,
                port,
                ..
            } = guest;
            let mac = format!("02:00:00:00:0c:0{number}");
            let private6 = format!("fd00:10::{number}0");
            let (also, eip6) = if dual_stack {
                let create = format!("eip create {eip}6 --address {}", guest.ipv6[0]);
                let associate =
                    format!("associate {eip}6 e{number} --mode {mode} --private-ip {private6}");
                (format!(" --private-ip {private6}"), vec![create, associate])
            } else {
                (String::new(), Vec::new())
            };
            let commands = [
                format!("instance create i{number}"),
                format!(
                    "eni create e{number} --vpc v --kind secondary --mac {mac} --private-ip 10.0.0.{number}0{also}"
                ),
                format!("eip create {eip} --address {address}"),
                format!("associate {eip} e{number} --mode {mode} --private-ip 10.0.0.{number}0"),
            ];
            let attach = format!("eni attach e{number} --instance i{number} --port {port}");
            for command in commands.iter().chain(&eip6).chain([&attach]) {
                self.gateway.ok(command)?;
            }
            self.backbone.plug(port, &guest.namespace, "eth0", &mac)?;
        }
        Ok(())
    }
}

impl Guest {
    /// Its IPv6 address, as an administrator enters it, and the router that the gateway advertises.
    fn take_ipv6(&self) -> Result<()> {
        let [_, inside] = self.ipv6;
        self.namespace
            .ip(&format!("address add {inside}/64 dev eth0 nodad"))?;
        until(Duration::from_mins(1), "the router's advertisement", || {
            let routes = self.namespace.ip("-6 route show default")?;
            Ok(routes.contains("default").then_some(()))
        })
    }
}

/// A lease from the gateway's DHCP server.
fn lease(guest: &Netns) -> Result<()> {
    let mut client = guest.command("udhcpc");
    client.args(["-i", "eth0", "-n", "-q", "-f", "-t", "10", "-T", "1"]);
    run(client.args(["-s", super::LEASE_SCRIPT]))?;
    Ok(())
}

/// The machine's two network cards as the ends of the uplink.
fn cards(lab: &Lab) -> Result<Backbone> {
    let backbone = Backbone {
        internet: lab.namespace("internet")?,
        gateway: lab.namespace("gateway")?,
    };
    let ends = [
        (&backbone.internet, "eth0", INTERNET, INTERNET_MAC),
        (&backbone.gateway, "eth1", GATEWAY, GATEWAY_MAC),
    ];
    for (side, card, address, mac) in ends {
        run(Command::new("ip").args([
            "link",
            "set",
            "dev",
            card,
            "netns",
            side.name(),
            "name",
            UPLINK,
        ]))
        .context("the machine has no two network cards in its first namespace")?;
        side.ip(&format!("link set dev {UPLINK} address {mac}"))?;
        side.ip(&format!("address add {address}/24 dev {UPLINK}"))?;
        side.ip(&format!("link set dev {UPLINK} up"))?;
    }
    Ok(backbone)
}

/// Moves both ends' addresses to a VLAN.
fn vlan(backbone: Backbone) -> Result<Backbone> {
    let tagged = Wire::Vlan.interface();
    for (side, address) in [(&backbone.internet, INTERNET), (&backbone.gateway, GATEWAY)] {
        side.ip(&format!("address flush dev {UPLINK}"))?;
        side.ip(&format!(
            "link add link {UPLINK} name {tagged} type vlan id 100"
        ))?;
        side.ip(&format!("address add {address}/24 dev {tagged}"))?;
        side.ip(&format!("link set dev {tagged} up"))?;
    }
    ensure!(
        backbone
            .gateway
            .ip(&format!("-d link show dev {tagged}"))?
            .contains("802.1Q"),
        "the uplink has no VLAN"
    );
    Ok(backbone)
}

/// Moves both ends' addresses to a VLAN within another; the wire takes the second tag beside the
/// packets of the others.
fn stack(backbone: Backbone) -> Result<Backbone> {
    let inner = Wire::Stack.interface();
    for (side, address) in [(&backbone.internet, INTERNET), (&backbone.gateway, GATEWAY)] {
        side.ip(&format!("address flush dev {UPLINK}"))?;
        side.ip(&format!("link set dev {UPLINK} mtu 1504"))?;
        for command in [
            format!("link add link {UPLINK} name up0.40 mtu 1504 type vlan proto 802.1ad id 40"),
            format!("link add link up0.40 name {inner} mtu 1500 type vlan id 100"),
            format!("address add {address}/24 dev {inner}"),
            "link set dev up0.40 up".to_owned(),
            format!("link set dev {inner} up"),
        ] {
            side.ip(&command)?;
        }
    }
    Ok(backbone)
}

/// Moves both ends' addresses to a tunnel over the wire.
fn tunnel(backbone: Backbone, wire: Wire, folder: &Path) -> Result<Backbone> {
    let name = wire.interface();
    let sides = [&backbone.internet, &backbone.gateway];
    let mut public_keys = Vec::new();
    for (number, side) in sides.into_iter().enumerate() {
        let (outer, outer6) = (OUTER[number], OUTER6[number]);
        side.ip(&format!("address flush dev {UPLINK}"))?;
        side.ip(&format!("address add {outer}/24 dev {UPLINK}"))?;
        side.ip(&format!("address add {outer6}/64 dev {UPLINK} nodad"))?;
        let (remote, remote6) = (OUTER[1 - number], OUTER6[1 - number]);
        side.ip(&match wire {
            Wire::Gre => {
                format!("link add {name} type gre local {outer} remote {remote} ttl 64 key 7")
            }
            Wire::Gre6 => format!(
                "link add {name} type ip6gre local {outer6} remote {remote6} hoplimit 64 encaplimit none"
            ),
            _ => format!("link add {name} type wireguard"),
        })?;
        if wire == Wire::Wireguard {
            let key = folder.join(format!("key{number}"));
            fs::write(&key, run(Command::new("wg").arg("genkey"))?)?;
            let pipe = format!("wg pubkey < {}", key.display());
            let public = run(Command::new("sh").args(["-c", &pipe]))?;
            public_keys.push(public.trim().to_owned());
            let mut set = side.command("wg");
            set.args(["set", name, "listen-port", "51820", "private-key"]);
            run(set.arg(&key))?;
        }
    }
    for (number, key) in public_keys.iter().enumerate() {
        let mut set = sides[1 - number].command("wg");
        set.args(["set", name, "peer", key, "allowed-ips", "0.0.0.0/0,::/0"]);
        run(set.args(["endpoint", &format!("{}:51820", OUTER[number])]))?;
    }
    for (side, address, address6) in [
        (sides[0], INTERNET, INTERNET6),
        (sides[1], GATEWAY, GATEWAY6),
    ] {
        side.ip(&format!("address add {address}/24 dev {name}"))?;
        side.ip(&format!("address add {address6}/64 dev {name} nodad"))?;
        side.ip(&format!("link set dev {name} up"))?;
    }
    sides[0].ip(&format!("route add {POOL6} dev {name}"))?;
    add_far(sides[0])?;
    Ok(backbone)
}

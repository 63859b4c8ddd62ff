//! The scene that the demo shows and most tests use.
//!
//! ```text
//!                    198.51.100.1      198.51.100.2        a1 ── eth0  A  a-primary    10.0.0.10  203.0.113.10  NAT
//!   Internet host  up0 ═══════════ up0  gateway ═══════╦═  a2 ── eth1  A  a-secondary  10.0.0.11  203.0.113.11  NAT
//!   route 203.0.113.0/24 via .2                        ║                               10.0.0.12  203.0.113.12  NAT
//!                                                      ╠═  b1 ── eth0  B  b-primary    10.0.0.20
//!                                                      ╚═  b2 ── eth1  B  b-secondary (10.0.0.21) 203.0.113.20  cut-through
//! ```

use std::fs;

use anyhow::{Context, Result};

use super::{
    Lab,
    capture::Capture,
    dhcp, frames,
    gateway::Gateway,
    netns::Netns,
    process::run,
    topology::{Backbone, INTERNET, INTERNET6, UPLINK},
};

/// The pool that the Internet host routes to the gateway.
pub const POOL: &str = "203.0.113.0/24";
/// The VPC's prefix.
pub const VPC: &str = "10.0.0.0/24";
/// The pool of IPv6, in a scene with both families.
pub const POOL6: &str = "2001:db8:cb::/64";
/// The VPC's prefix of IPv6.
pub const VPC6: &str = "fd00:10::/64";

/// An EIP of the scene, and where it leads.
#[derive(Clone, Copy, Debug)]
pub struct SceneEip {
    /// Its id in the table.
    pub id: &'static str,
    /// The public address.
    pub address: &'static str,
    /// The ENI that it is associated with.
    pub eni: &'static str,
    /// The private address that it stands for.
    pub private: &'static str,
    /// Whether the guest has the EIP itself.
    pub cut_through: bool,
}

impl SceneEip {
    /// The address that the guest's programs use for this EIP.
    pub fn inside(&self) -> &'static str {
        if self.cut_through {
            self.address
        } else {
            self.private
        }
    }
}

/// The EIPs, in the order of the picture.
pub const EIPS: [SceneEip; 4] = [
    SceneEip {
        id: "eip-a",
        address: "203.0.113.10",
        eni: "a-primary",
        private: "10.0.0.10",
        cut_through: false,
    },
    SceneEip {
        id: "eip-a2",
        address: "203.0.113.11",
        eni: "a-secondary",
        private: "10.0.0.11",
        cut_through: false,
    },
    SceneEip {
        id: "eip-a3",
        address: "203.0.113.12",
        eni: "a-secondary",
        private: "10.0.0.12",
        cut_through: false,
    },
    SceneEip {
        id: "eip-b",
        address: "203.0.113.20",
        eni: "b-secondary",
        private: "10.0.0.21",
        cut_through: true,
    },
];

/// The EIPs of IPv6, in a scene with both families.
pub const EIPS6: [SceneEip; 2] = [
    SceneEip {
        id: "eip6-a",
        address: "2001:db8:cb::10",
        eni: "a-primary",
        private: "fd00:10::10",
        cut_through: false,
    },
    SceneEip {
        id: "eip6-b",
        address: "2001:db8:cb::20",
        eni: "b-secondary",
        private: "fd00:10::21",
        cut_through: true,
    },
];

/// An ENI of the scene.
#[derive(Clone, Copy, Debug)]
pub struct SceneEni {
    /// Its id in the table.
    pub id: &'static str,
    /// Its instance at the beginning.
    pub instance: &'static str,
    /// `primary` or `secondary`.
    pub kind: &'static str,
    /// Its Ethernet address.
    pub mac: &'static str,
    /// Its private addresses.
    pub private: &'static [&'static str],
    /// Its private IPv6 address, in a scene with both families.
    pub private6: &'static str,
    /// The gateway's interface for it.
    pub port: &'static str,
    /// The guest's interface.
    pub interface: &'static str,
}

/// The ENIs, in the order of the picture.
pub const ENIS: [SceneEni; 4] = [
    SceneEni {
        id: "a-primary",
        instance: "a",
        kind: "primary",
        mac: "02:00:00:00:0a:01",
        private: &["10.0.0.10"],
        private6: "fd00:10::10",
        port: "a1",
        interface: "eth0",
    },
    SceneEni {
        id: "a-secondary",
        instance: "a",
        kind: "secondary",
        mac: "02:00:00:00:0a:02",
        private: &["10.0.0.11", "10.0.0.12"],
        private6: "fd00:10::11",
        port: "a2",
        interface: "eth1",
    },
    SceneEni {
        id: "b-primary",
        instance: "b",
        kind: "primary",
        mac: "02:00:00:00:0b:01",
        private: &["10.0.0.20"],
        private6: "fd00:10::20",
        port: "b1",
        interface: "eth0",
    },
    SceneEni {
        id: "b-secondary",
        instance: "b",
        kind: "secondary",
        mac: "02:00:00:00:0b:02",
        private: &["10.0.0.21"],
        private6: "fd00:10::21",
        port: "b2",
        interface: "eth1",
    },
];

/// What differs between the scenes that tests want.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Options of `pool create` behind the prefix.
    pub pool: &'static str,
    /// Further lines of the daemon's configuration.
    pub configuration: &'static str,
    /// Whether the guests only raise their interfaces, without addresses: their stacks then stay
    /// silent, and every packet that comes or goes is the test's own.
    pub silent: bool,
    /// Whether the pool is on the uplink's own network for the Internet host: it asks for each EIP
    /// by ARP.
    pub on_link: bool,
    /// Whether there is IPv6 beside IPv4: on the uplink, in the table, and in the guests.
    pub dual_stack: bool,
    /// What the daemon finds in `/etc/resolv.conf`; by default what this machine has there.
    pub resolver: Option<&'static str>,
}

/// The lab with everything up: the table filled, the daemon ready, every guest with its leases.
pub struct Scene {
    // Dropped in this order: the daemon ends before its network goes.
    /// The gateway instance.
    pub gateway: Gateway,
    /// Internet host and gateway.
    pub backbone: Backbone,
    /// Instance A.
    pub a: Netns,
    /// Instance B.
    pub b: Netns,
    /// The lab that holds it all.
    pub lab: Lab,
}

impl Scene {
    /// Builds it.
    pub fn new(options: &Options) -> Result<Self> {
        let lab = Lab::new()?;
        let backbone = Backbone::new(&lab)?;
        if options.on_link {
            backbone
                .internet
                .ip(&format!("route add {POOL} dev {UPLINK}"))?;
        } else {
            backbone.route_pool(POOL)?;
        }
        let next_hop = if options.dual_stack {
            backbone.with_ipv6(POOL6)?;
            format!("[\"{INTERNET}\", \"{INTERNET6}\"]")
        } else {
            format!("\"{INTERNET}\"")
        };
        let configuration = format!(
            "[[uplink]]\ninterface = \"{UPLINK}\"\nnext_hop = {next_hop}\n{}\n",
            options.configuration
        );
        let gateway = Gateway::new(&lab, &backbone.gateway, &configuration)?;
        if let Some(text) = options.resolver {
            gateway.set_resolver(text)?;
        }
        let (a, b) = (lab.namespace("a")?, lab.namespace("b")?);
        let mut scene = Self {
            gateway,
            backbone,
            a,
            b,
            lab,
        };
        scene.fill_table(options)?;
        for eni in &ENIS {
            scene
                .backbone
                .plug(eni.port, scene.guest(eni.instance), eni.interface, eni.mac)?;
        }
        scene.gateway.start()?;
        for eni in &ENIS {
            let guest = scene.guest(eni.instance);
            if options.silent {
                guest.without_ipv6()?;
                guest.ip(&format!("link set dev {} up", eni.interface))?;
            } else {
                dhcp::bind(guest, eni.interface)?;
                if options.dual_stack {
                    dhcp::bind6(guest, eni.interface)?;
                }
            }
        }
        if !options.silent {
            scene.add_second_address("a", "eth1")?;
        }
        Ok(scene)
    }

    fn fill_table(&self, options: &Options) -> Result<()> {
        let gateway = &self.gateway;
        gateway.ok(&format!("pool create {POOL} {}", options.pool))?;
        if options.dual_stack {
            gateway.ok(&format!("pool create {POOL6}"))?;
            gateway.ok(&format!("vpc create v --cidr {VPC} --cidr {VPC6}"))?;
        } else {
            gateway.ok(&format!("vpc create v --cidr {VPC}"))?;
        }
        for instance in ["a", "b"] {
            gateway.ok(&format!("instance create {instance}"))?;
        }
        for eni in &ENIS {
            let mut private = eni.private.to_vec();
            if options.dual_stack {
                private.push(eni.private6);
            }
            gateway.ok(&format!(
                "eni create {} --vpc v --kind {} --mac {} --private-ip {}",
                eni.id,
                eni.kind,
                eni.mac,
                private.join(" --private-ip ")
            ))?;
        }
        let eips6: &[SceneEip] = if options.dual_stack { &EIPS6 } else { &[] };
        for eip in EIPS.iter().chain(eips6) {
            gateway.ok(&format!("eip create {} --address {}", eip.id, eip.address))?;
            let mode = if eip.cut_through {
                "cut-through"
            } else {
                "nat"
            };
            gateway.ok(&format!(
                "associate {} {} --mode {mode} --private-ip {}",
                eip.id, eip.eni, eip.private
            ))?;
        }
        // Last: cut-through is set while the ENI is detached, and takes effect as it is attached.
        for eni in &ENIS {
            gateway.ok(&format!(
                "eni attach {} --instance {} --port {}",
                eni.id, eni.instance, eni.port
            ))?;
        }
        Ok(())
    }

    /// Makes every port able to take XDP frames (its peer polls with `gro on`), and waits until the
    /// daemon, configured so, delivers to them by XDP.
    pub fn deliver_by_xdp(&self) -> Result<()> {
        for eni in &ENIS {
            let guest = self.guest(eni.instance);
            run(guest
                .command("ethtool")
                .args(["-K", eni.interface, "gro", "on"]))?;
        }
        self.gateway.wait_for_delivery("xdp", ENIS.len())
    }

    /// The namespace of an instance.
    pub fn guest(&self, instance: &str) -> &Netns {
        if instance == "a" { &self.a } else { &self.b }
    }

    /// The guest that has `eip` in the beginning.
    pub fn guest_of(&self, eip: &SceneEip) -> &Netns {
        self.guest(&eip.eni[..1])
    }

    /// DHCP gives an interface one address. The second private IP of an ENI is added in the guest
    /// by its administrator: an address, no route.
    pub fn add_second_address(&self, instance: &str, interface: &str) -> Result<()> {
        self.guest(instance)
            .ip(&format!("address add 10.0.0.12/24 dev {interface}"))?;
        Ok(())
    }

    /// Sends one packet, given in scapy's words, from the guest behind `port`, with its ENI's MAC
    /// address.
    pub fn send_from(&self, port: &str, packet: &str) -> Result<()> {
        let eni = eni_on(port)?;
        let frame = format!(
            "Ether(src='{}',dst='{}')/{packet}",
            eni.mac,
            self.mac_of(port)?
        );
        let frames = frames::build("", &[&frame])?;
        Capture::start(self.guest(eni.instance), eni.interface)?.send(&frames[0])
    }

    /// The Ethernet address of an interface of the gateway.
    pub fn mac_of(&self, interface: &str) -> Result<String> {
        mac_of(&self.backbone.gateway, interface)
    }

    /// Leaves everything up when the process ends.
    pub fn keep(mut self) -> Result<()> {
        self.gateway.leave();
        self.lab.keep()
    }
}

/// The ENI that is on `port` in the beginning.
pub fn eni_on(port: &str) -> Result<&'static SceneEni> {
    ENIS.iter()
        .find(|eni| eni.port == port)
        .with_context(|| format!("no ENI of the scene is on {port}"))
}

/// The Ethernet address of an interface.
pub fn mac_of(namespace: &Netns, interface: &str) -> Result<String> {
    let text = namespace.ip(&format!("-o link show dev {interface}"))?;
    text.split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .map(str::to_owned)
        .with_context(|| format!("{interface} has no Ethernet address: {text}"))
}

/// The guest's own view of its name servers.
pub fn name_servers(guest: &Netns) -> Result<String> {
    Ok(fs::read_to_string(guest.etc().join("resolv.conf"))?)
}

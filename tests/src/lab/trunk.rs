//! A wire with several ports on it, and an uplink's VLAN beside the untagged uplink.
//!
//! Raw frames only: the hosts on them have no interfaces for VLANs, which not every kernel has.
//!
//! ```text
//!                                        t1 ══ trunk0  VLAN 7    W  c-primary    10.0.0.10  203.0.113.30  NAT
//!   Internet host  up0 ══ up0  gateway ══╣             VLAN 8    W  c-secondary (10.0.0.11) 203.0.113.31  cut-through
//!   untagged, VLAN 100,                  ║             VLAN 9    W  d-primary    10.0.0.20
//!   and VLAN 100 within 30               ║             untagged  X  e-primary    10.0.0.10  203.0.113.32  NAT
//!                                        ║             20.7      X  f-primary    10.0.0.20  203.0.113.33  NAT
//!                                        ║             21.7      W  f-secondary (10.0.0.21) 203.0.113.34  cut-through
//!                                        ╚═  the scene's guests
//! ```

use anyhow::Result;
use eip_dp_user::model::Vlan;

use super::{
    case::Bench,
    netns::Netns,
    process::run,
    scene::{ENIS, Options, Scene},
    topology::{INTERNET_MAC, UPLINK},
};

/// The uplink's VLANs, in words of the configuration. Who sends ICMP errors there is said, as they
/// have no address.
macro_rules! uplink_vlans {
    () => {
        "[[uplink]]\ninterface = \"up0\"\nvlan = 100\nicmp_source = \"198.51.100.9\"\n\
         [[uplink]]\ninterface = \"up0\"\nvlan = \"30.100\"\nicmp_source = \"198.51.100.10\"\n"
    };
}
const UPLINK_VLANS: &str = uplink_vlans!();
const UPLINK_VLANS_AND_XDP: &str = concat!(uplink_vlans!(), "[ports]\ndelivery = \"xdp\"\n");

/// The gateway's end of the trunk.
pub const TRUNK: &str = "t1";
/// The guests' end.
pub const TRUNK_END: &str = "trunk0";

/// The uplink's VLAN, at the Internet host's side.
pub const INTERNET_100: &str = "internet VLAN 100";
/// The same number within another VLAN.
pub const INTERNET_30_100: &str = "internet VLAN 30.100";

/// Of the far ends of the wires: what the gateway's take, and a tag.
const MTU_OF_SENDERS: u32 = 1504;

/// An IPv6 address that nobody has.
pub const OUTSIDE6: &str = "2001:db8:eeee::1";

/// An ENI on the trunk.
pub struct TrunkEni {
    /// Its side's name.
    pub side: &'static str,
    /// Its VLAN, or untagged.
    pub vlan: Option<Vlan>,
    /// Its VPC.
    pub vpc: &'static str,
    /// Its id in the table.
    pub id: &'static str,
    /// Its Ethernet address.
    pub mac: &'static str,
    /// Its private addresses, one of each family.
    pub private: [&'static str; 2],
    /// The EIPs for them, or none.
    pub eips: &'static [&'static str],
    /// Whether the guest has the EIPs itself.
    pub cut_through: bool,
}

/// The ENIs on the trunk, in the order of the picture.
pub const TRUNK_ENIS: [TrunkEni; 6] = [
    TrunkEni {
        side: "vlan7",
        vlan: Some(Vlan::of(7)),
        vpc: "w",
        id: "c-primary",
        mac: "02:00:00:00:0c:01",
        private: ["10.0.0.10", "fd00:10::10"],
        eips: &["203.0.113.30", "2001:db8:cb::30"],
        cut_through: false,
    },
    TrunkEni {
        side: "vlan8",
        vlan: Some(Vlan::of(8)),
        vpc: "w",
        id: "c-secondary",
        mac: "02:00:00:00:0c:02",
        private: ["10.0.0.11", "fd00:10::11"],
        eips: &["203.0.113.31", "2001:db8:cb::31"],
        cut_through: true,
    },
    TrunkEni {
        side: "vlan9",
        vlan: Some(Vlan::of(9)),
        vpc: "w",
        id: "d-primary",
        mac: "02:00:00:00:0d:01",
        private: ["10.0.0.20", "fd00:10::20"],
        eips: &[],
        cut_through: false,
    },
    TrunkEni {
        side: "untagged",
        vlan: None,
        vpc: "x",
        id: "e-primary",
        mac: "02:00:00:00:0e:01",
        private: ["10.0.0.10", "fd00:10::10"],
        eips: &["203.0.113.32", "2001:db8:cb::32"],
        cut_through: false,
    },
    TrunkEni {
        side: "stack20",
        vlan: Some(Vlan::within(20, 7)),
        vpc: "x",
        id: "f-primary",
        mac: "02:00:00:00:0f:10",
        private: ["10.0.0.20", "fd00:10::20"],
        eips: &["203.0.113.33", "2001:db8:cb::33"],
        cut_through: false,
    },
    TrunkEni {
        side: "stack21",
        vlan: Some(Vlan::within(21, 7)),
        vpc: "w",
        id: "f-secondary",
        mac: "02:00:00:00:0f:11",
        private: ["10.0.0.21", "fd00:10::21"],
        eips: &["203.0.113.34", "2001:db8:cb::34"],
        cut_through: true,
    },
];

/// A scene with a trunk.
pub struct Trunk {
    /// The hosts on the trunk.
    pub guests: Netns,
    /// All else.
    pub scene: Scene,
}

/// Plugs the trunk in, with all that stands behind it; returns where its other end is.
fn plug(scene: &Scene) -> Result<Netns> {
    let gateway = &scene.gateway;
    let guests = scene.lab.namespace("trunk")?;
    guests.without_ipv6()?;
    let mac = "02:00:00:00:0f:01";
    scene.backbone.plug(TRUNK, &guests, TRUNK_END, mac)?;
    // A packet socket sends no frame with two tags that is a tag longer than the MTU.
    let mtu = format!("mtu {MTU_OF_SENDERS}");
    guests.ip(&format!("link set dev {TRUNK_END} {mtu} up"))?;
    let internet = &scene.backbone.internet;
    internet.ip(&format!("link set dev {UPLINK} {mtu}"))?;
    for vpc in ["w", "x"] {
        gateway.ok(&format!(
            "vpc create {vpc} --cidr 10.0.0.0/24 --cidr fd00:10::/64"
        ))?;
    }
    for instance in ["c", "d", "e", "f"] {
        gateway.ok(&format!("instance create {instance}"))?;
    }
    for eni in &TRUNK_ENIS {
        let kind = &eni.id[2..];
        let [v4, v6] = eni.private;
        gateway.ok(&format!(
            "eni create {} --vpc {} --kind {kind} --mac {} --private-ip {v4} --private-ip {v6}",
            eni.id, eni.vpc, eni.mac
        ))?;
        let mode = if eni.cut_through {
            "cut-through"
        } else {
            "nat"
        };
        for (eip, private) in eni.eips.iter().zip(eni.private) {
            let id = format!("eip-{}-{}", eni.id, private.contains(':'));
            gateway.ok(&format!("eip create {id} --address {eip}"))?;
            gateway.ok(&format!(
                "associate {id} {} --mode {mode} --private-ip {private}",
                eni.id
            ))?;
        }
        let vlan = eni.vlan.map(|vlan| format!("--vlan {vlan}"));
        gateway.ok(&format!(
            "eni attach {} --instance {} --port {TRUNK} {} --wait",
            eni.id,
            &eni.id[..1],
            vlan.unwrap_or_default()
        ))?;
    }
    Ok(guests)
}

impl Trunk {
    /// The scene with silent guests, and the trunk; delivered to by XDP or by tc.
    pub fn new(by_xdp: bool) -> Result<Self> {
        let scene = Scene::new(&Options {
            configuration: if by_xdp {
                UPLINK_VLANS_AND_XDP
            } else {
                UPLINK_VLANS
            },
            silent: true,
            dual_stack: true,
            ..Options::default()
        })?;
        let guests = plug(&scene)?;
        if by_xdp {
            let ports = ENIS
                .iter()
                .map(|eni| (scene.guest(eni.instance), eni.interface));
            for (guest, interface) in ports.chain([(&guests, TRUNK_END)]) {
                run(guest
                    .command("ethtool")
                    .args(["-K", interface, "gro", "on"]))?;
            }
        }
        let hook = if by_xdp { "xdp" } else { "tcx" };
        let ports = ENIS.len() + TRUNK_ENIS.len();
        scene.gateway.wait_for_delivery(hook, ports)?;
        Ok(Self { guests, scene })
    }

    /// The scene's sides, the trunk's, and the uplink's VLANs.
    pub fn bench(&self) -> Result<Bench<'_>> {
        let mut bench = Bench::new(&self.scene)?;
        for eni in &TRUNK_ENIS {
            bench.add_vlan(
                eni.side,
                (TRUNK, eni.vlan),
                &self.guests,
                TRUNK_END,
                eni.mac,
            )?;
        }
        let internet = &self.scene.backbone.internet;
        for (side, vlan) in [
            (INTERNET_100, Vlan::of(100)),
            (INTERNET_30_100, Vlan::within(30, 100)),
        ] {
            let wire = (UPLINK, Some(vlan));
            bench.add_vlan(side, wire, internet, UPLINK, INTERNET_MAC)?;
        }
        Ok(bench)
    }
}

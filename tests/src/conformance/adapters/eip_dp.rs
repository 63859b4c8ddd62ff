//! eip-dp: the daemon with its table, filled by the command line.

use anyhow::Result;

use super::{
    super::bed::{Bed, UPLINK},
    super::data::{Mode, VPC},
    super::wiring::Wiring,
    Adapter, Claims, Start, Up,
};
use crate::lab::gateway::Gateway;

/// The product: how the bed is wired, and how it delivers there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EipDp {
    name: &'static str,
    wiring: Wiring,
    /// On the uplink and to the ports, whose peers take such frames. Else it is as the product
    /// chooses by itself: for a veth and a tap, tc.
    by_xdp: bool,
}

impl EipDp {
    /// As it chooses by itself.
    pub const USUAL: Self = Self::by("eip-dp", Wiring::Veth, false);
    /// Delivering by XDP.
    pub const BY_XDP: Self = Self::by("eip-dp-xdp", Wiring::Veth, true);
    /// To virtual machines.
    pub const TAP: Self = Self::by("eip-dp-tap", Wiring::Tap, false);
    /// In VLANs.
    pub const VLAN: Self = Self::by("eip-dp-vlan", Wiring::Vlan, false);
    /// In VLANs within others, by XDP.
    pub const QINQ_BY_XDP: Self = Self::by("eip-dp-qinq-xdp", Wiring::QinQ, true);

    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::USUAL,
        Self::BY_XDP,
        Self::TAP,
        Self::VLAN,
        Self::by("eip-dp-vlan-xdp", Wiring::Vlan, true),
        Self::by("eip-dp-qinq", Wiring::QinQ, false),
        Self::QINQ_BY_XDP,
    ];

    const fn by(name: &'static str, wiring: Wiring, by_xdp: bool) -> Self {
        Self {
            name,
            wiring,
            by_xdp,
        }
    }
}

impl Adapter for EipDp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn wiring(&self) -> Wiring {
        self.wiring
    }

    fn shares_link(&self) -> bool {
        true
    }

    fn start(&self, bed: &Bed) -> Result<Start> {
        let mut configuration = uplinks(bed);
        if self.by_xdp {
            configuration += "[ports]\ndelivery = \"xdp\"\n";
            bed.poll_sides()?;
        }
        // A host that forwards: whatever is left to it and should not be shows.
        bed.sysctl("ipv4/conf/all/rp_filter", "0")?;
        bed.sysctl("ipv4/ip_forward", "1")?;
        bed.sysctl("ipv6/conf/all/forwarding", "1")?;
        let mut gateway = Gateway::new(&bed.lab, &bed.gateway, &configuration)?;
        fill_table(&gateway, bed)?;
        gateway.start()?;
        if self.by_xdp {
            gateway.wait_for_delivery("xdp", bed.world.guests.len())?;
        }
        Ok(Start::Up(Up {
            claims: Claims::ALL,
            guard: Box::new(gateway),
        }))
    }
}

/// The uplink's section. Where the host has no interface for the uplink's VLAN, there are two: the
/// VLAN, on which the Internet sends, and the untagged one, which has a next hop.
fn uplinks(bed: &Bed) -> String {
    let plain = format!("[[uplink]]\ninterface = \"{UPLINK}\"\n");
    let Some(vlan) = bed.wiring.vlan(0) else {
        return plain;
    };
    let tagged = format!("{plain}vlan = \"{vlan}\"\n");
    if bed.home != UPLINK {
        return tagged;
    }
    let own = bed.world.uplink;
    // The pool's link is the VLAN, of which the host knows nothing.
    format!("{plain}answer_arp = false\n{tagged}icmp_source = \"{own}\"\n")
}

/// The VPC of the guest that nothing gets to.
const OTHER_VPC: &str = "w";

/// Each guest is an instance of its own. Cut-through is for a secondary ENI, beside which there is
/// a primary one that is plugged nowhere.
fn fill_table(gateway: &Gateway, bed: &Bed) -> Result<()> {
    let world = &bed.world;
    let mut pool = vec!["pool create".to_owned(), world.pool.clone()];
    for range in &world.reserved {
        pool.extend(["--reserve".to_owned(), range.clone()]);
    }
    gateway.ok(&pool.join(" "))?;
    // The other VPC has another network, so that its addresses are nobody's in this one.
    gateway.ok(&format!("vpc create {VPC} --cidr {}", world.network))?;
    gateway.ok(&format!(
        "vpc create {OTHER_VPC} --cidr {}",
        world.other_network
    ))?;
    for guest in &world.guests {
        let (name, mac, private, vpc) = (&guest.name, guest.mac, guest.private, &guest.vpc);
        let vlan = bed.wiring.vlan_of(world, name);
        let vlan = vlan.map_or(String::new(), |vlan| format!(" --vlan {vlan}"));
        let cut_through = guest.mode == Some(Mode::CutThrough);
        let kind = if cut_through { "secondary" } else { "primary" };
        gateway.ok(&format!("instance create {name}"))?;
        gateway.ok(&format!(
            "eni create {name} --vpc {vpc} --kind {kind} --mac {mac} --private-ip {private}"
        ))?;
        if let Some(public) = guest.public {
            let mode = if cut_through { "cut-through" } else { "nat" };
            gateway.ok(&format!("eip create {name} --address {public}"))?;
            // The cases ask at once; on a pool's link its neighbours would be asked before.
            gateway.ok(&format!("eip set {name} --announce always"))?;
            gateway.ok(&format!("associate {name} {name} --mode {mode}"))?;
        }
        gateway.ok(&format!(
            "eni attach {name} --instance {name} --port {}{vlan}",
            guest.port
        ))?;
    }
    Ok(())
}

//! eip-dp: the daemon with its table, filled by the command line.

use anyhow::Result;

use super::{
    super::bed::{Bed, UPLINK},
    super::data::Mode,
    Adapter, Start, Up,
};
use crate::lab::gateway::Gateway;

/// The product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum EipDp {
    /// As it chooses by itself: to a veth it delivers by tc.
    Usual,
    /// Delivering by XDP, to ports whose peers take such frames.
    DeliveringByXdp,
}

impl Adapter for EipDp {
    fn name(&self) -> &'static str {
        match self {
            Self::Usual => "eip-dp",
            Self::DeliveringByXdp => "eip-dp-xdp",
        }
    }

    fn start(&self, bed: &Bed) -> Result<Start> {
        let mut configuration = format!("[[uplink]]\ninterface = \"{UPLINK}\"\n");
        if *self == Self::DeliveringByXdp {
            configuration += "[ports]\ndelivery = \"xdp\"\n";
            bed.poll_sides()?;
        }
        let mut gateway = Gateway::new(&bed.lab, &bed.gateway, &configuration)?;
        fill_table(&gateway, bed)?;
        gateway.start()?;
        if *self == Self::DeliveringByXdp {
            gateway.wait_for_delivery("xdp", bed.world.guests.len())?;
        }
        Ok(Start::Up(Up {
            cut_through: true,
            guard: Box::new(gateway),
        }))
    }
}

/// Each guest is an instance of its own. Cut-through is for a secondary ENI, beside which there is a primary one that is
/// plugged nowhere.
fn fill_table(gateway: &Gateway, bed: &Bed) -> Result<()> {
    let world = &bed.world;
    gateway.ok(&format!("pool create {}", world.pool))?;
    gateway.ok(&format!("vpc create v --cidr {}", world.network))?;
    for guest in &world.guests {
        let (name, mac, private) = (&guest.name, guest.mac, guest.private);
        let cut_through = guest.mode == Some(Mode::CutThrough);
        let kind = if cut_through { "secondary" } else { "primary" };
        gateway.ok(&format!("instance create {name}"))?;
        gateway.ok(&format!(
            "eni create {name} --vpc v --kind {kind} --mac {mac} --private-ip {private}"
        ))?;
        if let Some(public) = guest.public {
            let mode = if cut_through { "cut-through" } else { "nat" };
            gateway.ok(&format!("eip create {name} --address {public}"))?;
            gateway.ok(&format!("associate {name} {name} --mode {mode}"))?;
        }
        gateway.ok(&format!(
            "eni attach {name} --instance {name} --port {}",
            guest.port
        ))?;
    }
    Ok(())
}

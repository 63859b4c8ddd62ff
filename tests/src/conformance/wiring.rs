//! What the gateway's interfaces are, and what is on them.

use anyhow::Result;
use eip_dp_user::model::Vlan;

use super::{bed::UPLINK, data::World};
use crate::lab::netns::Netns;

/// A way to plug the sides in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wiring {
    /// A veth each, and no tags.
    #[default]
    Veth,
    /// Ports are taps with virtio headers, as those of virtual machines.
    Tap,
    /// Uplink and ports are in VLANs (802.1Q).
    Vlan,
    /// And these within others (802.1ad).
    QinQ,
}

impl Wiring {
    /// The VLAN of the interface of that number; the uplink's is 0.
    pub fn vlan(self, number: u8) -> Option<Vlan> {
        let id = 100 + u16::from(number);
        match self {
            Self::Veth | Self::Tap => None,
            Self::Vlan => Some(Vlan::of(id)),
            Self::QinQ => Some(Vlan::within(30 + u16::from(number), id)),
        }
    }

    /// The VLAN of a guest's port.
    pub fn vlan_of(self, world: &World, guest: &str) -> Option<Vlan> {
        let place = world.guests.iter().position(|other| other.name == guest)?;
        self.vlan(u8::try_from(place + 1).ok()?)
    }

    /// What an interface's MTU is larger than the packets that it carries: the kernel lets one tag
    /// pass beside it.
    pub fn beside_mtu(self) -> u32 {
        if self == Self::QinQ { 4 } else { 0 }
    }
}

/// The tags of a frame in that VLAN.
pub fn tags(vlan: Option<Vlan>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(Vlan { outer, id }) = vlan {
        if let Some(outer) = outer {
            bytes.extend([0x88, 0xa8]);
            bytes.extend(outer.to_be_bytes());
        }
        bytes.extend([0x81, 0x00]);
        bytes.extend(id.to_be_bytes());
    }
    bytes
}

/// Makes the host's own interface for the uplink's VLAN, and returns its name; `None` on a kernel
/// that has no such interfaces.
pub fn uplink_in(gateway: &Netns, vlan: Vlan, mtu: u32) -> Result<Option<String>> {
    let mut name = UPLINK.to_owned();
    let outer = vlan.outer.map(|outer| (outer, "802.1ad"));
    for (id, protocol) in outer.into_iter().chain([(vlan.id, "802.1Q")]) {
        let inner = format!("{name}.{id}");
        let kind = format!("type vlan proto {protocol} id {id}");
        if gateway
            .ip(&format!("link add link {name} name {inner} {kind}"))
            .is_err()
        {
            return Ok(None);
        }
        let mtu = if protocol == "802.1ad" { mtu + 4 } else { mtu };
        gateway.ip(&format!("link set dev {inner} mtu {mtu} up"))?;
        name = inner;
    }
    Ok(Some(name))
}

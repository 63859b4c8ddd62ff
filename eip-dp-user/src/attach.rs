//! Which program goes on which interface, and why.
//!
//! XDP runs natively or not at all: generic XDP is slower than tc and sees frames that were copied
//! once more. tc is always there on an uplink, as the slow path of XDP and for delivery to virtual
//! ports. A veth or tap port gets tc alone, unless its guests are said to complete their checksums:
//! its frames come from a local stack, with partial checksums and GSO that XDP cannot see. A veth
//! or tap uplink gets tc alone, which sees them after GRO, unless XDP is asked for. An uplink
//! without Ethernet (WireGuard, GRE, tun) gets a tc program of its own.

use std::collections::BTreeSet;

use eip_dp_common::abi::programs;
use serde::{Deserialize, Serialize};

use crate::{
    config::{Delivery, PortMode},
    host::{Framing, Link, LinkKind, XdpFeatures},
    model::Vlan,
};

/// One of the BPF programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// XDP on an uplink.
    UplinkXdp,
    /// tc on an uplink.
    UplinkTc,
    /// tc on an uplink whose packets have no Ethernet header.
    UplinkL3Tc,
    /// XDP on a port.
    PortXdp,
    /// tc on a port.
    PortTc,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::UplinkXdp,
        Self::UplinkTc,
        Self::UplinkL3Tc,
        Self::PortXdp,
        Self::PortTc,
    ];

    /// Its name in the BPF object.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UplinkXdp => programs::UPLINK_XDP,
            Self::UplinkTc => programs::UPLINK_TC,
            Self::UplinkL3Tc => programs::UPLINK_L3_TC,
            Self::PortXdp => programs::PORT_XDP,
            Self::PortTc => programs::PORT_TC,
        }
    }

    /// Whether it is an XDP program.
    pub const fn is_xdp(self) -> bool {
        matches!(self, Self::UplinkXdp | Self::PortXdp)
    }
}

/// What an interface is to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It leads to the Internet.
    Uplink,
    /// ENIs stand behind it.
    Port,
}

/// What is to be attached to an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The interface's index.
    pub ifindex: u32,
    /// Its name.
    pub interface: String,
    /// What it is.
    pub role: Role,
    /// The programs.
    pub programs: BTreeSet<Program>,
    /// Why there is no XDP program, if there is none.
    pub no_xdp: Option<String>,
    /// Whether packets are delivered to it by XDP; else by tc.
    pub xdp_delivery: bool,
    /// Why packets are not delivered to it by XDP, if they are not.
    pub no_xdp_delivery: Option<String>,
}

/// Whether ENIs can stand behind the interface; the error says why not.
pub fn can_be_port(link: &Link) -> Result<(), String> {
    match link.kind {
        LinkKind::Loopback | LinkKind::Tun => Err(format!(
            "{} is a {} interface, which carries no Ethernet frames; use one that does: a NIC, or in a tunnel's place GRETAP or \
             VXLAN",
            link.name, link.kind
        )),
        LinkKind::Other(ref kind) if kind == "vrf" => Err(format!(
            "{} is a VRF, where no packet comes in; use an interface that belongs to it",
            link.name
        )),
        _ if link.mac == [0; 6] => Err(format!(
            "{} ({}) has no Ethernet address, and packets without Ethernet headers are not forwarded; use an interface that has \
             them: a NIC, or in a tunnel's place GRETAP or VXLAN",
            link.name, link.kind
        )),
        _ => Ok(()),
    }
}

/// Whether packets of EIPs can be exchanged with the Internet through the interface, or the VLAN on
/// it; the error says why not. One without Ethernet may do.
pub fn can_be_uplink(link: &Link, vlan: Option<Vlan>) -> Result<(), String> {
    match (link.framing, vlan) {
        (Framing::None, None) => Ok(()),
        (Framing::None, Some(vlan)) => Err(format!(
            "{} ({}) carries IP packets without Ethernet headers, which have no VLANs; leave `vlan = {vlan}` out of its \
             [[uplink]]",
            link.name, link.kind
        )),
        (Framing::NoneToMany, _) => Err(format!(
            "{0} ({1}) has no one remote end, and wants to be told with each packet where to; give it one (`ip tunnel change \
             {0} remote ADDRESS`), or use a tunnel that has",
            link.name, link.kind
        )),
        (Framing::Ethernet | Framing::Other, _) => can_be_port(link),
    }
}

/// Whether frames that XDP redirects to the interface are sent.
pub fn takes_xdp_frames(link: &Link) -> bool {
    link.framing == Framing::Ethernet && link.xdp.is_some_and(XdpFeatures::ndo_xmit)
}

/// What goes on an uplink. `asks_for_xdp`: whether the configuration asks for delivery by XDP;
/// `needs_tags`: whether frames of some VLAN have to be told from others.
pub fn uplink(ifindex: u32, link: &Link, asks_for_xdp: bool, needs_tags: bool) -> Attachment {
    if link.is_layer3() {
        return layer3(ifindex, link);
    }
    // A veth copies a local stack's packets for XDP, and they lose the batches that GRO would make
    // of them.
    let no_xdp = if link.kind.is_virtual_port() && !asks_for_xdp {
        Some(format!(
            "frames of a {} come from a local stack: tc takes them, after GRO, unless the configuration says \
             `delivery = \"xdp\"`",
            link.kind
        ))
    } else {
        no_native_xdp(link, needs_tags)
    };
    let mut programs = BTreeSet::from([Program::UplinkTc]);
    if no_xdp.is_none() {
        programs.insert(Program::UplinkXdp);
    }
    Attachment {
        ifindex,
        interface: link.name.clone(),
        role: Role::Uplink,
        programs,
        no_xdp,
        xdp_delivery: takes_xdp_frames(link),
        no_xdp_delivery: no_xdp_frames(link),
    }
}

/// What goes on an uplink whose packets have no Ethernet header.
fn layer3(ifindex: u32, link: &Link) -> Attachment {
    let why = format!(
        "packets of a {} have no Ethernet header, so tc takes and sends them",
        link.kind
    );
    Attachment {
        ifindex,
        interface: link.name.clone(),
        role: Role::Uplink,
        programs: BTreeSet::from([Program::UplinkL3Tc]),
        no_xdp: Some(why.clone()),
        xdp_delivery: false,
        no_xdp_delivery: Some(why),
    }
}

/// What goes on a port, with the delivery that is configured for it. `needs_tags`: as of an uplink.
pub fn port(ifindex: u32, link: &Link, mode: PortMode, needs_tags: bool) -> Attachment {
    let is_virtual = link.kind.is_virtual_port();
    let no_xdp = if is_virtual && !mode.complete_checksums {
        Some(format!(
            "{} ports get tc: their frames come from a local stack, with partial checksums and GSO, unless the \
             configuration says `complete_checksums = true`",
            link.kind
        ))
    } else {
        no_native_xdp(link, needs_tags)
    };
    let no_xdp_delivery = no_xdp_delivery(link, mode);
    let mut programs = BTreeSet::from([Program::PortTc]);
    if no_xdp.is_none() {
        programs.insert(Program::PortXdp);
    }
    Attachment {
        ifindex,
        interface: link.name.clone(),
        role: Role::Port,
        programs,
        no_xdp,
        xdp_delivery: no_xdp_delivery.is_none(),
        no_xdp_delivery,
    }
}

/// Why packets are not delivered to a port by XDP; `None`: they are.
pub fn no_xdp_delivery(link: &Link, mode: PortMode) -> Option<String> {
    match mode.delivery {
        Delivery::Tcx => Some("the configuration says `delivery = \"tcx\"`".to_owned()),
        Delivery::Auto if link.kind.is_virtual_port() => {
            Some(format!("{} ports are served by tc", link.kind))
        }
        Delivery::Auto | Delivery::Xdp => no_xdp_frames(link),
    }
}

/// What stays on a port that no ENI stands on any more: a guest may still be plugged in, and
/// without a program its packets would enter the host's own routing.
pub fn guard(ifindex: u32, link: &Link) -> Attachment {
    Attachment {
        ifindex,
        interface: link.name.clone(),
        role: Role::Port,
        programs: BTreeSet::from([Program::PortTc]),
        no_xdp: Some("no ENI stands there; all that comes in is dropped until the interface goes, or `unload`".to_owned()),
        xdp_delivery: false,
        no_xdp_delivery: Some("no ENI stands there".to_owned()),
    }
}

fn no_native_xdp(link: &Link, needs_tags: bool) -> Option<String> {
    match link.xdp {
        None => Some("the kernel does not tell what the driver can do (before 6.3), and it is none of those that are known".to_owned()),
        Some(features) if !features.basic() => Some("the driver has no native XDP".to_owned()),
        // tc sees the tag that the NIC took off beside the frame.
        Some(_) if needs_tags && link.takes_tags => Some(format!(
            "the NIC takes VLAN tags off, so that XDP cannot tell VLANs apart; `ethtool -K {} rxvlan off`",
            link.name
        )),
        Some(_) => None,
    }
}

fn no_xdp_frames(link: &Link) -> Option<String> {
    if takes_xdp_frames(link) {
        return None;
    }
    Some(match link.kind {
        LinkKind::Veth => {
            "the interface takes no XDP frames now (a veth does while its peer has GRO on, or an XDP program)"
                .to_owned()
        }
        _ => "the interface takes no XDP frames".to_owned(),
    })
}

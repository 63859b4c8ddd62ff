//! How a gateway is set up in a bed: one adapter a gateway.

mod act_nat;
mod command;
mod eip_dp;
mod linux;
mod netmap;
mod nft;

use std::any::Any;

use anyhow::{Context, Result};

use super::{bed::Bed, wiring::Wiring};

pub use command::Command;
pub use eip_dp::EipDp;

/// A gateway that the suite can be run against.
pub trait Adapter: Sync {
    /// What the table calls it.
    fn name(&self) -> &str;

    /// How the bed that it is tried in is wired.
    fn wiring(&self) -> Wiring {
        Wiring::Veth
    }

    /// Whether it can be set up where the pool is on the uplink's link.
    fn shares_link(&self) -> bool {
        false
    }

    /// Sets it up in the bed's namespace, for what the bed's world says. When this returns it
    /// forwards.
    fn start(&self, bed: &Bed) -> Result<Start>;
}

/// How a start went.
pub enum Start {
    /// It forwards.
    Up(Up),
    /// It does not claim to do this family, and why.
    NotApplicable(String),
}

/// A gateway that forwards.
pub struct Up {
    /// What it claims to do besides forwarding and translating.
    pub claims: Claims,
    /// What ends it when it is dropped. The bed's namespaces go after it.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// What not every gateway does. Cases for it are not held against one that claims nothing of the
/// kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// It has a cut-through mode, and has set it up.
    pub cut_through: bool,
    /// It serves tenants who do not trust each other: nothing of theirs gets to the host, or from
    /// one to the other but through their public addresses, and what a tenant says on its link is
    /// checked.
    pub tenants: bool,
}

impl Claims {
    /// All of it.
    pub const ALL: Self = Self {
        cut_through: true,
        tenants: true,
    };
}

impl Start {
    /// It forwards, is part of the bed's kernel, and claims nothing else.
    fn in_kernel() -> Self {
        Self::Up(Up {
            claims: Claims::default(),
            guard: Box::new(()),
        })
    }
}

/// All that the suite brings.
pub fn all() -> Vec<Box<dyn Adapter>> {
    let ours = EipDp::ALL.map(|adapter| Box::new(adapter) as Box<dyn Adapter>);
    let others: [Box<dyn Adapter>; 4] = [
        Box::new(nft::STATELESS),
        Box::new(nft::CONNTRACK),
        Box::new(netmap::Netmap),
        Box::new(act_nat::ActNat),
    ];
    ours.into_iter().chain(others).collect()
}

/// The names of those that are run unless others are asked for.
pub const USUAL: &[&str] = &[
    "eip-dp",
    "eip-dp-xdp",
    "eip-dp-tap",
    "eip-dp-vlan",
    "eip-dp-vlan-xdp",
    "eip-dp-qinq",
    "eip-dp-qinq-xdp",
    "nft-stateless",
    "nft-conntrack",
    "netmap",
];

/// The one that many kernels come without: it is run as well where there is a virtual machine for
/// it.
pub const RARE: &str = "act-nat";

/// One of them.
pub fn named(name: &str) -> Result<Box<dyn Adapter>> {
    all()
        .into_iter()
        .find(|adapter| adapter.name() == name)
        .with_context(|| format!("there is no gateway {name}"))
}

/// What random packets are held against: it makes nothing wrong of them.
pub const MODEL: &str = "nft-stateless";

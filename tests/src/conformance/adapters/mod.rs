//! How a gateway is set up in a bed: one adapter a gateway.

mod act_nat;
mod command;
mod eip_dp;
mod linux;
mod netmap;
mod nft;

use std::any::Any;

use anyhow::{Context, Result};

use super::bed::Bed;

pub use command::Command;
pub use eip_dp::EipDp;

/// A gateway that the suite can be run against.
pub trait Adapter: Sync {
    /// What the table calls it.
    fn name(&self) -> &str;

    /// Sets it up in the bed's namespace, for what the bed's world says. When this returns it forwards.
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
    /// Whether it has a cut-through mode, and has set it up.
    pub cut_through: bool,
    /// What ends it when it is dropped. The bed's namespaces go after it.
    pub guard: Box<dyn Any + Send + Sync>,
}

impl Start {
    /// It forwards, is part of the bed's kernel, and has no cut-through mode.
    fn in_kernel() -> Self {
        Self::Up(Up {
            cut_through: false,
            guard: Box::new(()),
        })
    }
}

/// All that the suite brings.
pub fn all() -> Vec<Box<dyn Adapter>> {
    vec![
        Box::new(EipDp::Usual),
        Box::new(EipDp::DeliveringByXdp),
        Box::new(nft::STATELESS),
        Box::new(nft::CONNTRACK),
        Box::new(netmap::Netmap),
        Box::new(act_nat::ActNat),
    ]
}

/// The names of those that are run unless others are asked for.
pub const USUAL: &[&str] = &["eip-dp", "nft-stateless", "nft-conntrack", "netmap"];

/// The one that many kernels come without: it is run as well where there is a virtual machine for it.
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

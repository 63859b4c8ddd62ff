//! The candidates: each makes a gateway of a [`Site`] and forwards until its handle is dropped.

pub mod eip_dp;
mod kernel;
mod xdp;

use std::{any::Any, path::Path};

use anyhow::Result;

use super::{shape::Gateway, site::Site};

/// Starts a candidate; `cache` is where tables are kept between runs.
pub fn start(kind: Gateway, site: &mut Site, cache: &Path) -> Result<Box<dyn Any>> {
    match kind {
        Gateway::Ceiling => xdp::ceiling(site)?,
        Gateway::Bare => xdp::bare(site)?,
        Gateway::Textbook => xdp::textbook(site)?,
        Gateway::Kernel => kernel::route(site)?,
        Gateway::NftIngress => kernel::nft_ingress(site)?,
        Gateway::NftPrerouting => kernel::nft_prerouting(site)?,
        Gateway::NftConntrack => kernel::nft_conntrack(site)?,
        Gateway::Netmap => kernel::netmap(site)?,
        Gateway::EipDp => return Ok(Box::new(eip_dp::start(site, "xdp", cache)?)),
        Gateway::EipDpAuto => return Ok(Box::new(eip_dp::start(site, "auto", cache)?)),
    }
    // It lives in the site's namespaces.
    Ok(Box::new(()))
}

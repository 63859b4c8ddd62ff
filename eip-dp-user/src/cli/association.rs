//! `associate` and `disassociate`: which EIP stands for which address of which ENI.

use std::net::IpAddr;

use clap::Args;

use super::{Failure, Global, values, wait::Wait};
use crate::model::objects::Mode;

/// Arguments of `associate`.
#[derive(Debug, Args)]
pub struct Associate {
    /// The EIP
    #[arg(value_parser = values::id)]
    eip: String,
    /// The ENI
    #[arg(value_parser = values::id)]
    eni: String,
    /// Translate addresses, or let the EIP replace the private address in the guest [default: nat]
    #[arg(long, value_parser = values::mode())]
    mode: Option<Mode>,
    /// An address of the ENI [default: the primary private IP]
    #[arg(long, value_name = "A", value_parser = values::address)]
    private_ip: Option<IpAddr>,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `disassociate`.
#[derive(Debug, Args)]
pub struct Disassociate {
    /// The EIP
    #[arg(value_parser = values::id)]
    eip: String,
    #[command(flatten)]
    wait: Wait,
}

impl Associate {
    pub(super) fn run(self, _global: &Global) -> Result<(), Failure> {
        Err(Failure::failed(format!("not built yet: {self:?}")))
    }
}

impl Disassociate {
    pub(super) fn run(self, _global: &Global) -> Result<(), Failure> {
        Err(Failure::failed(format!("not built yet: {self:?}")))
    }
}

//! `associate` and `disassociate`: which EIP stands for which address of which ENI.

use std::net::IpAddr;

use clap::Args;

use super::{Failure, Global, session, values, wait::Wait};
use crate::model::{
    command::Command,
    objects::{Association, Mode},
};

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
    pub(super) fn run(self, global: &Global) -> Result<(), Failure> {
        let command = Command::Associate {
            eip: self.eip.clone(),
            eni: self.eni,
            mode: self.mode.unwrap_or_default(),
            private_ip: self.private_ip,
        };
        session::change::<Association>(global, self.wait, &self.eip, &command, |association| {
            format!(
                "created: {} of eni {}, {}",
                association.private_ip, association.eni, association.mode
            )
        })
    }
}

impl Disassociate {
    pub(super) fn run(self, global: &Global) -> Result<(), Failure> {
        let command = Command::Disassociate {
            eip: self.eip.clone(),
        };
        session::change::<Association>(global, self.wait, &self.eip, &command, |association| {
            format!(
                "ended: {} of eni {}",
                association.private_ip, association.eni
            )
        })
    }
}

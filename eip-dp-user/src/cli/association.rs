//! `associate` and `disassociate`: which EIP stands for which address of which ENI.

use std::net::IpAddr;

use clap::Args;

use serde_json::json;

use super::{
    Failure, Global,
    object::{MayBeAbsent, MayExist},
    session::{Fields, Session},
    values,
    wait::Wait,
};
use crate::model::{
    command::Command,
    objects::{Association, Eip, Eni, Mode},
};

/// Arguments of `associate`.
#[derive(Debug, Args)]
pub struct Associate {
    /// The EIP, or its address
    #[arg(value_parser = values::name)]
    eip: String,
    /// The ENI, or its address, MAC or port
    #[arg(value_parser = values::name)]
    eni: String,
    /// Translate addresses, or let the EIP replace the private address in the guest [default: nat]
    #[arg(long, value_parser = values::mode())]
    mode: Option<Mode>,
    /// An address of the ENI [default: the primary private IP]
    #[arg(long, value_name = "A", value_parser = values::address)]
    private_ip: Option<IpAddr>,
    #[command(flatten)]
    may_exist: MayExist,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `disassociate`.
#[derive(Debug, Args)]
pub struct Disassociate {
    /// The EIP, or its address
    #[arg(value_parser = values::name)]
    eip: String,
    #[command(flatten)]
    may_be_absent: MayBeAbsent,
    #[command(flatten)]
    wait: Wait,
}

impl Associate {
    pub(super) fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open(global)?;
        let (eip, eni) = (session.id::<Eip>(&self.eip)?, session.id::<Eni>(&self.eni)?);
        let mode = self.mode.unwrap_or_default();
        let wanted = json!({ "eni": eni, "mode": mode, "private_ip": self.private_ip });
        let open: &[&str] = if self.private_ip.is_some() {
            &["eip"]
        } else {
            &["eip", "private_ip"]
        };
        let command = Command::Associate {
            eip: eip.clone(),
            eni,
            mode,
            private_ip: self.private_ip,
        };
        let line = |one: &Association| {
            format!(
                "created: {} of eni {}, {}",
                one.private_ip, one.eni, one.mode
            )
        };
        let wanted = Fields::of(&wanted, open);
        session.create(self.wait, self.may_exist, &eip, &command, &wanted, line)
    }
}

impl Disassociate {
    pub(super) fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open(global)?;
        let Some(eip) = session.id_or_absent::<Eip>(&self.eip, self.may_be_absent)? else {
            return Ok(());
        };
        let has_none = session.read(|view| Ok(view.association(&eip).is_none()))?;
        if self.may_be_absent.if_exists && has_none {
            return session.tell_absent::<Association>(&eip);
        }
        let command = Command::Disassociate { eip: eip.clone() };
        session.change(self.wait, &eip, &command, |one: &Association| {
            format!("ended: {} of eni {}", one.private_ip, one.eni)
        })
    }
}

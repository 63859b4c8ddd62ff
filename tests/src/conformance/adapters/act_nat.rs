//! `tc … action nat`: stateless translation in the traffic control layer, IPv4 only.

use anyhow::Result;

use super::{
    super::bed::{Bed, UPLINK},
    super::data::Family,
    Adapter, Start, linux,
};
use crate::lab::process::run;

/// The kernel's `act_nat`.
pub struct ActNat;

impl Adapter for ActNat {
    fn name(&self) -> &'static str {
        "act-nat"
    }

    fn start(&self, bed: &Bed) -> Result<Start> {
        if bed.world.family == Family::V6 {
            return Ok(Start::NotApplicable("it is for IPv4 only".to_owned()));
        }
        linux::route(bed)?;
        let tc = |arguments: &str| {
            let arguments = arguments.split_whitespace();
            run(bed.gateway.command("tc").args(arguments)).map(|_| ())
        };
        let ports = bed.world.guests.iter().map(|guest| guest.port.as_str());
        for interface in ports.chain([UPLINK]) {
            tc(&format!("qdisc add dev {interface} clsact"))?;
            for (guest, public) in bed.world.translated() {
                let private = guest.private;
                // On every interface: a guest may send to the public address of another.
                tc(&format!(
                    "filter add dev {interface} ingress protocol ip prio 1 u32 match ip dst {public}/32 \
                     action nat ingress {public}/32 {private}"
                ))?;
                tc(&format!(
                    "filter add dev {interface} egress protocol ip prio 1 u32 match ip src {private}/32 \
                     action nat egress {private}/32 {public}"
                ))?;
            }
        }
        tc(&format!(
            "filter add dev {UPLINK} egress protocol ip prio 2 u32 match ip src {} action drop",
            bed.world.network
        ))?;
        Ok(Start::in_kernel())
    }
}

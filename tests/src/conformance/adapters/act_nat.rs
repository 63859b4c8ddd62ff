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
        super::RARE
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
        let pairs = || bed.world.translated();
        // All of them one after another: of an ICMP error whose own addresses stay, each action
        // changes the packet inside if that went to its address.
        let inside: Vec<String> = pairs()
            .map(|(guest, public)| format!("action nat egress {}/32 {public} pipe", guest.private))
            .collect();
        let inside = inside.join(" ");
        let ports = bed.world.guests.iter().map(|guest| guest.port.as_str());
        for interface in ports.chain([UPLINK]) {
            tc(&format!("qdisc add dev {interface} clsact"))?;
            let filter = |hook: &str, rest: &str| {
                tc(&format!(
                    "filter add dev {interface} {hook} protocol ip {rest}"
                ))
            };
            // What goes back to a guest is translated only if it was sent to a public address,
            // which the mark tells.
            let marked = if interface == UPLINK {
                ""
            } else {
                "match mark 1 0xffffffff"
            };
            for (guest, public) in pairs() {
                let private = guest.private;
                filter(
                    "ingress",
                    &format!(
                        "prio 1 u32 match ip dst {public}/32 action nat ingress {public}/32 {private} pipe \
                         action skbedit mark 1"
                    ),
                )?;
                filter(
                    "egress",
                    &format!(
                        "prio 1 u32 match ip src {private}/32 {marked} action nat egress {private}/32 {public}"
                    ),
                )?;
            }
            // What the gateway itself says about packets that it has translated on their way in.
            for own in [bed.world.uplink, bed.world.network_gateway] {
                filter(
                    "egress",
                    &format!("prio 1 u32 match ip src {own}/32 match ip protocol 1 0xff {inside}"),
                )?;
            }
        }
        tc(&format!(
            "filter add dev {UPLINK} egress protocol ip prio 2 u32 match ip src {} action drop",
            bed.world.network
        ))?;
        Ok(Start::in_kernel())
    }
}

//! iptables with the NETMAP target, one rule a direction and address.

use anyhow::Result;

use super::{
    super::bed::{Bed, UPLINK},
    super::data::{Family, Mode},
    Adapter, Start, linux,
};
use crate::lab::process::run;

/// iptables NETMAP.
pub struct Netmap;

impl Adapter for Netmap {
    fn name(&self) -> &'static str {
        "netmap"
    }

    fn start(&self, bed: &Bed) -> Result<Start> {
        linux::route(bed)?;
        let (program, host) = match bed.world.family {
            Family::V4 => ("iptables-legacy", 32),
            Family::V6 => ("ip6tables-legacy", 128),
        };
        let rule = |arguments: &str| {
            let arguments = arguments.split_whitespace();
            run(bed.gateway.command(program).arg("-w").args(arguments)).map(|_| ())
        };
        for (guest, public) in bed.world.translated() {
            let private = guest.private;
            let outward = format!("-s {private} -j NETMAP --to {public}/{host}");
            rule(&format!(
                "-t nat -A PREROUTING -d {public} -j NETMAP --to {private}/{host}"
            ))?;
            rule(&format!("-t nat -A POSTROUTING -o {UPLINK} {outward}"))?;
            rule(&format!(
                "-t nat -A POSTROUTING -m conntrack --ctstate DNAT {outward}"
            ))?;
        }
        if bed.world.family == Family::V6 {
            rule("-t raw -A PREROUTING -m rpfilter --invert -j DROP")?;
        }
        // What is not translated must not leave.
        rule("-A FORWARD -m conntrack --ctstate INVALID -j DROP")?;
        for guest in &bed.world.guests {
            if guest.mode != Some(Mode::Nat) {
                rule(&format!(
                    "-A FORWARD -o {UPLINK} -s {} -j DROP",
                    guest.private
                ))?;
            }
        }
        Ok(Start::in_kernel())
    }
}

//! What every gateway that is the kernel's own forwarding has in common.

use anyhow::Result;

use super::super::{
    bed::{Bed, UPLINK, nodad},
    data::{Family, Mode},
};

/// Makes the bed's kernel a router between the Internet and the guests, but for those in
/// cut-through mode: a strict one, that limits its own messages to no rate.
pub fn route(bed: &Bed) -> Result<()> {
    let world = &bed.world;
    let family = world.family;
    match family {
        Family::V4 => {
            bed.sysctl("ipv4/ip_forward", "1")?;
            bed.sysctl("ipv4/icmp_ratelimit", "0")?;
            bed.sysctl("ipv4/conf/all/rp_filter", "1")?;
            let ports = world.in_network().map(|guest| guest.port.as_str());
            for interface in ports.chain(["all", UPLINK]) {
                bed.sysctl(&format!("ipv4/conf/{interface}/send_redirects"), "0")?;
            }
        }
        Family::V6 => {
            bed.sysctl("ipv6/conf/all/forwarding", "1")?;
            bed.sysctl("ipv6/icmp/ratelimit", "0")?;
        }
    }
    let gateway = world.network_gateway;
    for guest in world.in_network() {
        if guest.mode == Some(Mode::CutThrough) {
            continue;
        }
        let (port, host) = (&guest.port, family.host());
        bed.ip(&format!(
            "address add {gateway}/{host} dev {port}{}",
            nodad(family)
        ))?;
        bed.ip(&format!(
            "route add {}/{host} dev {port} src {gateway}",
            guest.private
        ))?;
        bed.neighbour(guest.private, port, guest.mac)?;
    }
    // What nobody has must not go back to where it came from.
    bed.ip(&format!("route add blackhole {}", world.pool))
}

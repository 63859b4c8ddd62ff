//! The bench's own XDP programs on the gateway's uplink.

use anyhow::Result;
use eip_dp_bench_ebpf::{Translated, programs};
use nix::net::if_::if_nametoindex;

use crate::speed::{
    plan::{PORT_MAC, eip, eni_mac, private},
    site::{Site, UPLINK, port},
};

/// Drops everything.
pub fn ceiling(site: &mut Site) -> Result<()> {
    let Site {
        gateway, object, ..
    } = site;
    gateway.enter(|| object.attach(programs::CEILING, UPLINK))
}

/// Redirects, with new MACs.
pub fn bare(site: &mut Site) -> Result<()> {
    deliver(site)?;
    let Site {
        gateway, object, ..
    } = site;
    gateway.enter(|| object.attach(programs::BARE, UPLINK))
}

/// Translates with the kernel's hash map.
pub fn textbook(site: &mut Site) -> Result<()> {
    deliver(site)?;
    let shape = site.shape;
    let octets = |address| match address {
        std::net::IpAddr::V4(v4) => v4.octets(),
        std::net::IpAddr::V6(_) => unreachable!("the textbook is about IPv4"),
    };
    let pairs = (0..shape.eips).map(|number| {
        let translated = Translated {
            address: octets(private(shape.family, number)),
            device: 0,
            destination_mac: eni_mac(0, number >> shape.eni_bits()).0,
            source_mac: PORT_MAC.0,
        };
        (octets(eip(shape.family, number)), translated)
    });
    let Site {
        gateway, object, ..
    } = site;
    object.translate(pairs)?;
    gateway.enter(|| object.attach(programs::TEXTBOOK, UPLINK))
}

/// To the guests' first interface.
fn deliver(site: &mut Site) -> Result<()> {
    let mut macs = [0; 12];
    macs[..6].copy_from_slice(&eni_mac(0, 0).0);
    macs[6..].copy_from_slice(&PORT_MAC.0);
    let Site {
        gateway, object, ..
    } = site;
    gateway.enter(|| object.deliver_to(if_nametoindex(port(0).as_str())?, macs))
}

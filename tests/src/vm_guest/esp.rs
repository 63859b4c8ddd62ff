//! ESP in transport mode (RFC 4303) by the kernel's own stack. Its authentication leaves the outer
//! header out, so that it passes stateless NAT; what is inside keeps a checksum over the sender's
//! view of the addresses, which ICMP has not.

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{netns::Netns, process::run, topology::INTERNET, traffic::ping};

use crate::{
    report::Report,
    site::{Guest, Site},
};

const PINGS: u32 = 10;
/// The security associations to and from the guest.
const TO_GUEST: &str = "0x100";
const FROM_GUEST: &str = "0x200";

/// Pings in ESP between the Internet and the guest; expected are replies, and as many packets
/// unpacked by the guest.
pub fn transport(report: &mut Report, site: &Site, guest: &Guest) {
    let what = format!(
        "{}, {}: ESP, packets that the guest unpacked",
        site.wire, guest.mode
    );
    let seen = protected(site, guest);
    for side in [site.internet(), &guest.namespace] {
        // Whatever failed, the next check is without ESP.
        for kind in ["state", "policy"] {
            let _ = side.ip(&format!("xfrm {kind} flush"));
        }
    }
    report.expect(&what, &PINGS, seen);
}

fn protected(site: &Site, guest: &Guest) -> Result<u32> {
    let internet = site.internet();
    protect(internet, INTERNET, guest.address, (TO_GUEST, FROM_GUEST))?;
    protect(
        &guest.namespace,
        guest.inside,
        INTERNET,
        (FROM_GUEST, TO_GUEST),
    )?;
    let pinged = ping(internet, None, guest.address, PINGS)?;
    ensure!(pinged.sent == PINGS && pinged.lost_nothing(), "{pinged}");
    let counted = run(guest.namespace.command("ip").args([
        "-s",
        "xfrm",
        "state",
        "get",
        "src",
        INTERNET,
        "dst",
        guest.inside,
        "proto",
        "esp",
        "spi",
        TO_GUEST,
    ]))?;
    // Limits come first, in the same words.
    let current = counted
        .split_once("lifetime current:")
        .context("no lifetime")?;
    let (before, _) = current
        .1
        .split_once("(packets)")
        .context("no count of packets")?;
    let number = before
        .rsplit([' ', ',', '\t', '\n'])
        .next()
        .unwrap_or_default();
    Ok(number.parse()?)
}

/// Has all that goes between two addresses go in ESP, as seen from one side.
fn protect(side: &Netns, own: &str, other: &str, (out, back): (&str, &str)) -> Result<()> {
    for (from, to, spi, direction) in [(own, other, out, "out"), (other, own, back, "in")] {
        run(side.command("ip").args([
            "xfrm",
            "state",
            "add",
            "src",
            from,
            "dst",
            to,
            "proto",
            "esp",
            "spi",
            spi,
            "mode",
            "transport",
            "auth-trunc",
            "hmac(sha256)",
            "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "128",
            "enc",
            "cbc(aes)",
            "0x202122232425262728292a2b2c2d2e2f",
        ]))?;
        run(side.command("ip").args([
            "xfrm",
            "policy",
            "add",
            "src",
            from,
            "dst",
            to,
            "dir",
            direction,
            "tmpl",
            "src",
            from,
            "dst",
            to,
            "proto",
            "esp",
            "mode",
            "transport",
        ]))?;
    }
    Ok(())
}

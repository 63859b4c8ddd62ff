//! eip-dp: the daemon fills the maps from an applied table and ends; what forwards stays.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context, Result};

use crate::{
    lab::gateway::Gateway,
    speed::{
        shape::{Family, Mode, Shape},
        site::{NEXT_HOP4, NEXT_HOP6, Site, UPLINK},
        table_file::{self, Spare},
    },
};

/// How long the daemon may take to load a table.
pub const LONGEST: Duration = Duration::from_mins(10);

/// Starts it with the site's table and this delivery to ports. It still runs then.
pub fn run(site: &Site, delivery: &str, cache: &Path) -> Result<Gateway> {
    let mut gateway = prepared(site, delivery, cache, Spare(0))?;
    gateway.start_within(LONGEST)?;
    Ok(gateway)
}

/// Table and configuration, and no daemon yet.
pub fn prepared(site: &Site, delivery: &str, cache: &Path, spare: Spare) -> Result<Gateway> {
    let gateway = Gateway::new(
        &site.lab,
        &site.gateway,
        &configuration(&site.shape, spare, delivery),
    )?;
    let table = gateway.table();
    let table = table
        .strip_prefix("sqlite:")
        .context("the table is no file")?;
    let applied = table_file::applied(&site.shape, spare, cache, gateway.program())?;
    fs::copy(&applied.path, table).with_context(|| format!("cannot write {table}"))?;
    Ok(gateway)
}

/// Starts it, waits until it delivers as asked, and ends the daemon: its housekeeping is not to be
/// on the cores.
pub fn start(site: &Site, delivery: &str, cache: &Path) -> Result<Gateway> {
    let mut gateway = run(site, delivery, cache)?;
    if delivery == "xdp" {
        gateway.wait_for_delivery("xdp", site.shape.vpcs as usize)?;
    }
    gateway.stop()?;
    Ok(gateway)
}

/// Maps are named only where the defaults are too small.
fn configuration(shape: &Shape, spare: Spare, delivery: &str) -> String {
    let addresses = match shape.mode {
        Mode::Nat => shape.eips,
        // The EIP besides the private address.
        Mode::CutThrough => 2 * shape.eips,
    };
    // The generator's are, and of a port on XDP both directions are measured so.
    let complete = delivery == "xdp";
    let mut text = format!(
        "[[uplink]]\ninterface = \"{UPLINK}\"\nnext_hop = [\"{NEXT_HOP4}\", \"{NEXT_HOP6}\"]\n\
         [ports]\ndelivery = \"{delivery}\"\ncomplete_checksums = {complete}\n[maps]\n"
    );
    for (key, wanted, default) in [
        ("eips", shape.eips + spare.0, 65_536),
        ("private_addresses", addresses + spare.0, 131_072),
        ("enis", shape.enis() + spare.0, 65_536),
    ] {
        if wanted > default {
            // A String never refuses a write.
            let _ = writeln!(text, "{key} = {wanted}");
        }
    }
    if shape.family == Family::V4 {
        text += "eips6 = 64\nprivate_addresses6 = 64\n";
    }
    text
}

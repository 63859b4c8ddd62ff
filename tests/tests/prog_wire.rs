//! The table over real interfaces: XDP with its slow path behind it, frames sent and caught at the far ends.
//!
//! What `BPF_PROG_TEST_RUN` cannot show: that a frame leaves by the right interface, that XDP and the tc program behind
//! it add up to one gateway, and that the kernel fills in the next hop's MAC where the daemon does not know it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use eip_dp_tests::prog::{
    Bench, Delivery, Failures, hex_diff, namespace,
    table::{Case, Expect, Table},
    wire::Wires,
};

/// Where a case's frame must come out, and its bytes.
fn arrival(case: &Case) -> Option<(&str, &[u8])> {
    match &case.expect {
        Expect::Deliver { to, out } => Some((to, &out.0)),
        Expect::Reply { out } => Some((&case.interface, &out.0)),
        Expect::Drop { .. } | Expect::Pass => None,
    }
}

/// Sends every chosen case and looks at every far end.
fn over_the_wire(delivery: Delivery, chosen: impl Fn(&Table, &Case) -> bool + Sync) -> Result<()> {
    let table = Table::ipv4()?;
    let failures = namespace::with_namespace(|| {
        let mut bench = Bench::new(&table.world)?;
        bench.attach_tc(&table.world)?;
        bench.open_far_ends(&table.world)?;
        bench.set_delivery(&table.world, delivery)?;
        if delivery == Delivery::Unresolved {
            know_next_hop(&table)?;
        }
        let wires = Wires::open(&table.world.interfaces)?;
        let mut failures = Failures::default();
        for case in table.cases.iter().filter(|case| chosen(&table, case)) {
            wires.send(&case.interface, &case.input.0)?;
            if let Some((interface, frame)) = arrival(case) {
                let problem = match wires.next(interface)? {
                    None => Some(format!("nothing came out of {interface}")),
                    Some(found) if found != frame => Some(hex_diff(frame, &found)),
                    Some(_) => None,
                };
                failures.check(&format!("{} (delivery {delivery:?})", case.name), problem);
            }
        }
        fence(&table, &wires)?;
        for interface in &table.world.interfaces {
            for frame in wires.rest(&interface.name)? {
                let problem = format!(
                    "this frame has nothing to do here:{}",
                    hex_diff(&[], &frame)
                );
                failures.check(&interface.name, Some(problem));
            }
        }
        Ok(failures)
    })?;
    println!("{} checks", failures.checked());
    failures.conclude();
    Ok(())
}

/// Sends one more packet into every interface that takes packets, and waits for it: all that went in before has been
/// dealt with then.
fn fence(table: &Table, wires: &Wires) -> Result<()> {
    for interface in &table.world.interfaces {
        let mut there = table
            .cases
            .iter()
            .filter(|case| case.interface == interface.name);
        let Some((case, (to, frame))) =
            there.find_map(|case| arrival(case).map(|arrival| (case, arrival)))
        else {
            continue;
        };
        wires.send(&case.interface, &case.input.0)?;
        // What comes before it is one frame too many.
        let found = wires
            .next(to)?
            .with_context(|| format!("nothing came out of {to}"))?;
        ensure!(
            found == frame,
            "out of {to} came instead of {}:{}",
            case.name,
            hex_diff(frame, &found)
        );
    }
    Ok(())
}

/// Gives the kernel what it needs to find the next hop's MAC by itself.
fn know_next_hop(table: &Table) -> Result<()> {
    let way_out = &table.world.way_out;
    let uplink = table
        .world
        .uplinks
        .iter()
        .find(|uplink| uplink.interface == way_out.interface);
    let next_hop = uplink
        .context("the way out is no uplink")?
        .next_hop
        .to_string();
    let mac = way_out.mac.to_string();
    let interface = way_out.interface.as_str();
    for arguments in [
        vec!["route", "add", &next_hop, "dev", interface],
        vec![
            "neigh", "replace", &next_hop, "lladdr", &mac, "dev", interface,
        ],
    ] {
        let output = Command::new("ip").args(&arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "ip {}: {said}",
            arguments.join(" ")
        );
    }
    Ok(())
}

#[test]
fn xdp_sends() -> Result<()> {
    over_the_wire(Delivery::Xdp, |_, _| true)
}

#[test]
fn xdp_leaves_it_to_tc() -> Result<()> {
    over_the_wire(Delivery::Tc, |_, _| true)
}

#[test]
fn the_kernel_finds_the_next_hop() -> Result<()> {
    over_the_wire(Delivery::Unresolved, |table, case| {
        arrival(case).is_some_and(|(to, _)| to == table.world.way_out.interface)
    })
}

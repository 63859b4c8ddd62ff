//! The table over real interfaces: XDP with its slow path behind it, frames sent and caught at the far ends.
//!
//! What `BPF_PROG_TEST_RUN` cannot show: that a frame leaves by the right interface, that XDP and the tc program behind
//! it add up to one gateway, and that the kernel fills in the next hop's MAC where the daemon does not know it.

use std::{fmt::Write as _, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use eip_dp_tests::prog::{
    Bench, Delivery, Failures, hex_diff, namespace,
    table::{Case, Expect, Table},
    wire::{Wires, in_vlans},
};

/// Where a case's frame must come out, and its bytes.
fn arrival<'a>(table: &Table, case: &'a Case, delivery: Delivery) -> Option<(&'a str, Vec<u8>)> {
    match &case.expect {
        Expect::Deliver { to, out } if is_way_out(table, to) => {
            Some((to, in_vlans(&out.0, delivery.uplink_vlans())))
        }
        Expect::Deliver { to, out } => Some((to, out.0.clone())),
        Expect::Reply { out } | Expect::Refuse { out, .. } => {
            Some((&case.interface, out.0.clone()))
        }
        Expect::Drop { .. } | Expect::Kernel { .. } | Expect::Pass => None,
    }
}

fn is_way_out(table: &Table, interface: &str) -> bool {
    interface == table.world.way_out.interface
}

/// Sends every chosen case and looks at every far end.
fn over_the_wire(delivery: Delivery, chosen: impl Fn(&Table, &Case) -> bool + Sync) -> Result<()> {
    for table in Table::all()? {
        table_over_the_wire(&table, delivery, &chosen)?;
    }
    Ok(())
}

fn table_over_the_wire(
    table: &Table,
    delivery: Delivery,
    chosen: &(impl Fn(&Table, &Case) -> bool + Sync),
) -> Result<()> {
    let failures = namespace::with_namespace(|| {
        let mut bench = Bench::new(&table.world)?;
        bench.attach_tc(&table.world)?;
        bench.open_far_ends(&table.world)?;
        bench.set_delivery(&table.world, delivery)?;
        if delivery == Delivery::Unresolved {
            know_next_hop(table)?;
        }
        let wires = Wires::open(&table.world.interfaces)?;
        let mut failures = Failures::default();
        for case in table.cases.iter().filter(|case| chosen(table, case)) {
            if matches!(case.expect, Expect::Refuse { .. }) {
                bench.fill_limits()?;
            }
            wires.send(&case.interface, &case.input.0)?;
            if let Some((interface, frame)) = arrival(table, case, delivery) {
                let problem = match wires.next(interface)? {
                    None => Some(format!("nothing came out of {interface}")),
                    Some(found) if found != frame => Some(hex_diff(&frame, &found)),
                    Some(_) => None,
                };
                failures.check(&format!("{} (delivery {delivery:?})", case.name), problem);
            }
        }
        fence(table, delivery, &wires)?;
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
fn fence(table: &Table, delivery: Delivery, wires: &Wires) -> Result<()> {
    for interface in &table.world.interfaces {
        let there = table
            .cases
            .iter()
            .filter(|case| case.interface == interface.name);
        let Some((case, (to, frame))) = there
            .filter(|case| matches!(case.expect, Expect::Deliver { .. }))
            .find_map(|case| arrival(table, case, delivery).map(|arrival| (case, arrival)))
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
            hex_diff(&frame, &found)
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
        .find(|uplink| uplink.interface == way_out.interface && uplink.vlan == 0);
    let next_hop = uplink
        .and_then(|uplink| uplink.next_hop)
        .context("the way out has no next hop")?
        .to_string();
    let mac = way_out.mac.to_string();
    let interface = way_out.interface.as_str();
    if table.world.family == 6 {
        // Without an address of its own the kernel has nothing to say there.
        for (setting, value) in [("addr_gen_mode", "1"), ("disable_ipv6", "0")] {
            fs::write(
                format!("/proc/sys/net/ipv6/conf/{interface}/{setting}"),
                value,
            )
            .with_context(|| format!("cannot set {setting} of {interface}"))?;
        }
    }
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
fn xdp_sends_into_a_vlan() -> Result<()> {
    over_the_wire(Delivery::Tagged, leaves)
}

#[test]
fn xdp_sends_into_a_vlan_within_another() -> Result<()> {
    over_the_wire(Delivery::Stacked, leaves)
}

/// What is left to the kernel comes to it as it was, tags and all: there nftables sends it back where it came from.
#[test]
fn the_kernel_gets_frames_with_their_tags() -> Result<()> {
    for table in Table::all()? {
        let failures = namespace::with_namespace(|| left_alone(&table))?;
        println!("{} checks", failures.checked());
        failures.conclude();
    }
    Ok(())
}

fn left_alone(table: &Table) -> Result<Failures> {
    let mut bench = Bench::new(&table.world)?;
    bench.attach_tc(&table.world)?;
    let mut rules = String::from("add table netdev left\n");
    for interface in &table.world.interfaces {
        let name = &interface.name;
        let _ = write!(
            rules,
            "add chain netdev left {name} {{ type filter hook ingress device {name} priority 0; }}\n\
             add rule netdev left {name} fwd to {name}\n"
        );
    }
    ensure!(
        Command::new("nft").arg(&rules).status()?.success(),
        "nft refuses the rules"
    );
    let wires = Wires::open(&table.world.interfaces)?;
    let mut failures = Failures::default();
    for case in &table.cases {
        // The kernel takes no frame in whose tags are cut.
        let is_tagged = case.name.starts_with("T16") && !case.name.contains("cut-in");
        if !is_tagged || case.expect != Expect::Pass {
            continue;
        }
        wires.send(&case.interface, &case.input.0)?;
        let problem = match wires.next(&case.interface)? {
            None => Some("it did not come back".to_owned()),
            Some(found) if found != case.input.0 => Some(hex_diff(&case.input.0, &found)),
            Some(_) => None,
        };
        failures.check(&case.name, problem);
    }
    Ok(failures)
}

/// Whether the case's packet goes to the Internet.
fn leaves(table: &Table, case: &Case) -> bool {
    matches!(&case.expect, Expect::Deliver { to, .. } if is_way_out(table, to))
}

#[test]
fn the_kernel_finds_the_next_hop() -> Result<()> {
    over_the_wire(Delivery::Unresolved, leaves)
}

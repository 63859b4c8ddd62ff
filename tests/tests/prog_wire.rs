//! The table over real interfaces: XDP with its slow path behind it, frames sent and caught at the
//! far ends.
//!
//! What `BPF_PROG_TEST_RUN` cannot show: that a frame leaves by the right interface, that XDP and
//! the tc program behind it add up to one gateway, and that the kernel fills in the next hop's MAC
//! where the daemon does not know it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    net::IpAddr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use eip_dp_common::abi::LinkKey;
use eip_dp_tests::prog::{
    Bench, Counters, Delivery, Failures,
    check::{event_named, of_requests, reason_named},
    hex_diff, namespace,
    table::{Case, Expect, Frame, Mac, Table},
    wire::{Wires, in_vlans, untagged},
};

/// Where a case's frames must come out, and their bytes.
fn arrivals<'a>(table: &Table, case: &'a Case, delivery: Delivery) -> (&'a str, Vec<Vec<u8>>) {
    let sent = |to: &str, out: &Frame| {
        if is_way_out(table, to) {
            in_vlans(&out.0, delivery.uplink_vlans())
        } else {
            out.0.clone()
        }
    };
    match &case.expect {
        Expect::Deliver { to, out } => (to, vec![sent(to, out)]),
        // By the kernel, to the uplink's own link.
        Expect::Neighbour { to, out } => (to, vec![out.0.clone()]),
        Expect::Fragment {
            to,
            sent: all,
            neighbour: true,
            ..
        } => (to, all.iter().map(|out| out.0.clone()).collect()),
        Expect::Fragment { to, sent: all, .. } => {
            (to, all.iter().map(|out| sent(to, out)).collect())
        }
        Expect::Reply { out } | Expect::Refuse { out, .. } => {
            (&case.interface, vec![out.0.clone()])
        }
        Expect::Drop { .. } | Expect::Daemon | Expect::Pass => (&case.interface, Vec::new()),
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
            know_neighbours(table)?;
        }
        let wires = Wires::open(&table.world.interfaces)?;
        let mut failures = Failures::default();
        let before = bench.counters()?;
        let mut wanted = Counters::default();
        let resolves = delivery == Delivery::Unresolved;
        let is_chosen = |case: &&Case| {
            // Nobody else knows where a neighbour is.
            chosen(table, case) && (resolves || !case.expect.is_for_neighbour())
        };
        for case in table.cases.iter().filter(is_chosen) {
            if case.expect.is_limited() {
                bench.fill_limits()?;
            }
            wires.send(&case.interface, &case.input.0)?;
            let name = format!("{} (delivery {delivery:?})", case.name);
            add_counted(&mut wanted, case)?;
            let (interface, frames) = arrivals(table, case, delivery);
            for frame in frames {
                let problem = match wires.next(interface)? {
                    None => Some(format!("nothing came out of {interface}")),
                    Some(found) if found != frame => Some(hex_diff(&frame, &found)),
                    Some(_) => None,
                };
                failures.check(&name, problem);
            }
            if case.expect == Expect::Daemon {
                failures.check(&name, handed_over(&mut bench, case)?);
            }
        }
        fence(table, delivery, &wires)?;
        // XDP and tc together count each frame once.
        let counted = bench.counters()?.since(&before);
        let is_once = (&counted.drops, &counted.events) == (&wanted.drops, &wanted.events);
        failures.check(
            "all of them",
            (!is_once).then(|| {
                let (want, have) = (wanted.describe(), counted.describe());
                format!("\n  counters expected{want}\n  counters found   {have}")
            }),
        );
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

/// What is counted of a case but for whose EIP.
fn add_counted(counters: &mut Counters, case: &Case) -> Result<()> {
    if let Expect::Drop { reason, .. } | Expect::Refuse { reason, .. } = &case.expect {
        *counters
            .drops
            .entry(reason_named(reason)?.index())
            .or_default() += 1;
    }
    for name in &case.events {
        *counters
            .events
            .entry(event_named(name)?.index())
            .or_default() += 1;
    }
    Ok(())
}

/// Sends one more packet into every interface that takes packets, and waits for it: all that went
/// in before has been dealt with then.
fn fence(table: &Table, delivery: Delivery, wires: &Wires) -> Result<()> {
    for interface in &table.world.interfaces {
        let mut there = table
            .cases
            .iter()
            .filter(|case| case.interface == interface.name);
        let Some((case, (to, frames))) = there
            .find(|case| matches!(case.expect, Expect::Deliver { .. }))
            .map(|case| (case, arrivals(table, case, delivery)))
        else {
            continue;
        };
        wires.send(&case.interface, &case.input.0)?;
        // What comes before it is one frame too many.
        let found = wires
            .next(to)?
            .with_context(|| format!("nothing came out of {to}"))?;
        ensure!(
            frames == [&found[..]],
            "out of {to} came instead of {}:{}",
            case.name,
            hex_diff(&frames[0], &found)
        );
    }
    Ok(())
}

/// Waits until the case's request is handed over, without the tags that say which link it came in
/// on.
fn handed_over(bench: &mut Bench, case: &Case) -> Result<Option<String>> {
    const PATIENCE: Duration = Duration::from_mins(1);
    let start = Instant::now();
    let mut requests = bench.requests()?;
    while requests.is_empty() && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
        requests = bench.requests()?;
    }
    let (mut outer, mut vlan, mut frame) = (0, 0, case.input.0.clone());
    while let Some([high, low]) = tag_of(&frame) {
        (outer, vlan) = (vlan, u16::from_be_bytes([high, low]) & 0xfff);
        frame = untagged(&frame);
    }
    let link = LinkKey::stacked(bench.runner().ifindex(&case.interface)?, outer, vlan);
    Ok(of_requests(&requests, Some(&frame), link))
}

/// The control information of a frame's outermost tag.
fn tag_of(frame: &[u8]) -> Option<[u8; 2]> {
    match frame.get(12..16)? {
        [0x81, 0x00, high, low] | [0x88, 0xa8, high, low] => Some([*high, *low]),
        _ => None,
    }
}

/// Gives the kernel what it needs to find the MACs of the next hop and of the cases' neighbours by
/// itself.
fn know_neighbours(table: &Table) -> Result<()> {
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
    know(&next_hop, &mac, interface)?;
    let mut known = BTreeSet::new();
    for case in &table.cases {
        let (to, frame) = match &case.expect {
            Expect::Neighbour { to, out } => (to, out),
            Expect::Fragment { to, sent, .. } if case.expect.is_for_neighbour() => (to, &sent[0]),
            _ => continue,
        };
        let destination = destination_of(&frame.0)?;
        if known.insert(destination) {
            let mac = Mac(frame.0[..6].try_into()?).to_string();
            know(&destination.to_string(), &mac, to)?;
        }
    }
    Ok(())
}

/// The destination of an untagged frame's packet.
fn destination_of(frame: &[u8]) -> Result<IpAddr> {
    Ok(if frame[14] >> 4 == 6 {
        <[u8; 16]>::try_from(&frame[38..54])?.into()
    } else {
        <[u8; 4]>::try_from(&frame[30..34])?.into()
    })
}

/// Tells the kernel that an address is on an interface's link, and its MAC.
fn know(address: &str, mac: &str, interface: &str) -> Result<()> {
    for arguments in [
        ["route", "replace", address, "dev", interface, "", ""],
        ["neigh", "replace", address, "lladdr", mac, "dev", interface],
    ] {
        let arguments = arguments.iter().filter(|argument| !argument.is_empty());
        let output = Command::new("ip").args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "ip: {said}");
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

/// What is left to the kernel comes to it as it was, tags and all: there nftables sends it back
/// where it came from.
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
            Some(found) if found == case.input.0 => None,
            // A priority tag is no tag, to the kernel, too.
            Some(found) if is_priority(&case.input.0) && found == untagged(&case.input.0) => None,
            Some(found) => Some(hex_diff(&case.input.0, &found)),
        };
        failures.check(&case.name, problem);
    }
    Ok(failures)
}

/// Whether a frame has a priority tag (IEEE 802.1Q 6.9.1).
fn is_priority(frame: &[u8]) -> bool {
    tag_of(frame).is_some_and(|tag| u16::from_be_bytes(tag) % 0x1000 == 0)
}

/// Whether the case's packet goes to the Internet.
fn leaves(table: &Table, case: &Case) -> bool {
    match &case.expect {
        Expect::Deliver { to, .. } | Expect::Neighbour { to, .. } | Expect::Fragment { to, .. } => {
            is_way_out(table, to)
        }
        _ => false,
    }
}

#[test]
fn the_kernel_finds_the_next_hop() -> Result<()> {
    over_the_wire(Delivery::Unresolved, leaves)
}

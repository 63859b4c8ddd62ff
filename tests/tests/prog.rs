//! Every case of the tables, at both hooks, under every way of delivery: verdict, bytes and all
//! counters.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use eip_dp_common::abi::{Event, Reason};
use eip_dp_tests::prog::{
    Bench, Delivery, Failures, Hook, Verdict,
    check::run_case,
    namespace,
    property::{readdressed, with_hop_limit},
    table::{Expect, Table},
};

#[test]
fn every_ipv4_case_is_as_the_table_says() -> anyhow::Result<()> {
    every_case(&Table::ipv4()?)
}

#[test]
fn every_ipv6_case_is_as_the_table_says() -> anyhow::Result<()> {
    every_case(&Table::ipv6()?)
}

fn every_case(table: &Table) -> anyhow::Result<()> {
    let failures = namespace::with_namespace(|| {
        let mut bench = Bench::new(&table.world)?;
        let mut failures = Failures::default();
        for delivery in Delivery::ALL {
            bench.set_delivery(&table.world, delivery)?;
            for case in &table.cases {
                for hook in Hook::ALL {
                    if !hook.is_testable(&case.input.0) {
                        continue;
                    }
                    let name = format!("{} ({hook:?}, delivery {delivery:?})", case.name);
                    failures.check(&name, run_case(&mut bench, table, case, hook, delivery)?);
                }
            }
        }
        Ok(failures)
    })?;
    println!("{} checks", failures.checked());
    failures.conclude();
    Ok(())
}

/// A verdict that cannot be carried out is a drop, and counted as one for the EIP too.
#[test]
fn an_interface_that_was_taken_away_is_a_counted_drop() -> anyhow::Result<()> {
    let table = Table::ipv4()?;
    namespace::with_namespace(|| {
        let mut bench = Bench::new(&table.world)?;
        let case = table.case("T1-udp-in")?;
        let Expect::Deliver { to, .. } = &case.expect else {
            anyhow::bail!("{} is not delivered", case.name);
        };
        let before = bench.counters()?;
        let (maps, runner) = bench.parts();
        maps.forget_device(runner.ifindex(to)?)?;
        let run = runner.run(Hook::Xdp, &case.interface, &case.input.0)?;
        assert_eq!(run.verdict, Verdict::Drop);
        let counted = bench.counters()?.since(&before);
        assert_eq!((counted.dropped(), counted.delivered()), (1, 0));
        let words = counted.describe();
        assert!(
            words.contains("table-busy") && words.contains("in_dropped +1"),
            "{words}"
        );
        Ok(())
    })
}

/// What is sent by a burst at a rate, see `eip_dp_common::budget`.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    per_second: u32,
}

const ERRORS: Rate = Rate {
    burst: 100,
    per_second: 100,
};
const RECEIVER: Rate = Rate {
    burst: 1_000,
    per_second: 1_000,
};
const REQUESTS: Rate = Rate {
    burst: 40,
    per_second: 20,
};
const NEIGHBOURS: Rate = Rate {
    burst: 16,
    per_second: 4,
};

impl Rate {
    /// How many may come in since then: the programs read the kernel's coarse clock, which steps by
    /// ticks of up to 10 ms.
    fn since(self, start: Instant) -> u128 {
        let elapsed = start.elapsed().as_millis() + 20;
        1 + elapsed * u128::from(self.per_second) / 1_000
    }
}

/// Sends frames until the gateway does no more for it; gives for how many it did.
fn flood(
    bench: &mut Bench,
    interface: &str,
    rate: Rate,
    mut frame: impl FnMut(u32) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<u32> {
    let start = Instant::now();
    let before = bench.counters()?;
    let mut done = 0;
    while does(bench, interface, &frame(done)?)? {
        done += 1;
        ensure!(done < 20_000, "there is no limit");
    }
    let most = u128::from(rate.burst) + rate.since(start);
    let counted = bench.counters()?.since(&before);
    let limited = [
        counted.events.get(&Event::Limited.index()),
        counted.drops.get(&Reason::RateLimited.index()),
    ];
    ensure!(
        done >= rate.burst && u128::from(done) <= most && limited.contains(&Some(&1)),
        "{done}, {most} at most; counted{}",
        counted.describe()
    );
    Ok(done)
}

/// Whether the gateway does something for a frame: sends on, tells, or hands over a request.
fn does(bench: &mut Bench, interface: &str, frame: &[u8]) -> anyhow::Result<bool> {
    let run = bench.runner().run(Hook::Tc, interface, frame)?;
    Ok(run.verdict == Verdict::Redirect || !bench.requests()?.is_empty())
}

/// The case's frame, which the gateway tells its sender about; without hops if that is asked for.
fn of_case(table: &Table, name: &str, late: bool) -> anyhow::Result<(String, Vec<u8>)> {
    let case = table.case(name)?;
    let frame = case.input.0.clone();
    let frame = if late {
        with_hop_limit(&frame, 1)?
    } else {
        frame
    };
    Ok((case.interface.clone(), frame))
}

/// Uses up one budget for ICMP errors; those of all others are whole after it.
fn only_its_own(
    bench: &mut Bench,
    table: &Table,
    flooded: (&str, bool),
    others: &[(&str, bool)],
) -> anyhow::Result<()> {
    bench.fill_limits()?;
    let (interface, frame) = of_case(table, flooded.0, flooded.1)?;
    let told = flood(bench, &interface, ERRORS, |_| Ok(frame.clone()))
        .with_context(|| format!("{flooded:?}"))?;
    for (name, late) in others {
        let (interface, frame) = of_case(table, name, *late)?;
        let mut of_other = 0;
        let before = bench.counters()?;
        for _ in 0..ERRORS.burst {
            of_other += u32::from(does(bench, &interface, &frame)?);
        }
        let counted = bench.counters()?.since(&before);
        ensure!(
            of_other == ERRORS.burst && counted.told() == u64::from(of_other),
            "after {told} of {flooded:?} {of_other} of {name} ({late}); counted{}",
            counted.describe()
        );
    }
    Ok(())
}

/// ICMP errors: a budget for each EIP and each ENI, and apart for each kind.
#[test]
fn icmp_errors_are_limited() -> anyhow::Result<()> {
    for table in Table::all()? {
        namespace::with_namespace(|| {
            let mut bench = Bench::new(&table.world)?;
            let mut only_its_own =
                |flooded, others: &[_]| only_its_own(&mut bench, &table, flooded, others);
            // Who floods, then its other kind and others' both; "late" is what has no hops left.
            let (nat, cut, small) = (
                "R2-ttl-1-in",
                "R2-ttl-1-cut-through-in",
                ("R3-too-big-in", false),
            );
            let late_small = (small.0, true);
            only_its_own((nat, true), &[(cut, true), small, late_small])?;
            only_its_own(small, &[late_small, (nat, true), (cut, true)])?;
            only_its_own(late_small, &[small, (nat, true)])?;
            let (nat, other, big) = (
                "R2-ttl-1-out",
                "R2-ttl-1-vpc-2-out",
                ("R3-too-big-out", false),
            );
            let (many, late_big) = ("R2-ttl-1-many-out", (big.0, true));
            let all = [(other, true), (many, true), big, late_big];
            only_its_own((nat, true), &all)?;
            only_its_own(big, &[late_big, (nat, true), (other, true)])?;
            only_its_own(late_big, &[big, (nat, true)])?;
            // An ENI's has nothing to do with what comes from the Internet for its EIP.
            only_its_own((nat, true), &[("R2-ttl-1-in", true)])?;
            only_its_own(("R2-ttl-1-in", true), &[(nat, true)])
        })?;
    }
    Ok(())
}

/// Somebody whose address is forged in packets for many EIPs gets no more than a receiver does, and
/// then others get theirs.
#[test]
fn a_receiver_of_icmp_errors_has_a_limit() -> anyhow::Result<()> {
    for table in Table::all()? {
        let (source, destination, is_ipv6) = if table.world.family == 6 {
            (14 + 8, 14 + 24, true)
        } else {
            (14 + 12, 14 + 16, false)
        };
        namespace::with_namespace(|| {
            let mut bench = Bench::new(&table.world)?;
            let (interface, frame) = of_case(&table, "R2-ttl-1-in", true)?;
            let eips: Vec<_> = table
                .world
                .eips
                .iter()
                .filter(|eip| ["nat", "cut-through"].contains(&eip.mode.as_str()))
                .map(|eip| octets(eip.address))
                .collect();
            let each = usize::try_from(ERRORS.burst - 1)?;
            let (last, first) = eips.split_last().context("no EIPs")?;
            ensure!(first.len() * each > 1_200, "too few EIPs");
            // When the last one of them was sent, which was refused.
            let mut start = Instant::now();
            let told = flood(&mut bench, &interface, RECEIVER, |number| {
                start = Instant::now();
                let eip = first.get(usize::try_from(number)? / each);
                let eip = eip.context("each EIP's budget is used up")?;
                readdressed(&frame, destination, eip)
            })?;
            println!("{told} to one receiver");
            let before = bench.counters()?;
            let to_last = readdressed(&frame, destination, last)?;
            // Its budget grows from then on.
            let mut more = 0;
            for _ in 0..ERRORS.burst / 2 {
                more += u32::from(does(&mut bench, &interface, &to_last)?);
            }
            let most = RECEIVER.since(start);
            ensure!(
                u128::from(more) <= most,
                "told {more} times more, at most {most}"
            );
            let mut other = frame[source..destination].to_vec();
            *other.last_mut().context("an address")? ^= if is_ipv6 { 0x15 } else { 9 };
            let from_other = readdressed(&to_last, source, &other)?;
            let left = ERRORS.burst - more;
            for _ in 0..left {
                let told = does(&mut bench, &interface, &from_other)?;
                ensure!(told, "another is not told");
            }
            let counted = bench.counters()?.since(&before);
            ensure!(counted.told() == u64::from(ERRORS.burst));
            Ok(())
        })?;
    }
    Ok(())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A guest's requests: who floods is dropped and counted, and all others' are handed over.
#[test]
fn requests_are_limited() -> anyhow::Result<()> {
    const V4: [&str; 3] = ["R10-discover-a1", "R10-renew", "R10-rebind"];
    const V6: [&str; 4] = [
        "R10-solicit-a1",
        "R10-router-solicitation-a1",
        "R10-router-solicitation-unspecified-a1",
        "R10-request-unicast",
    ];
    for table in Table::all()? {
        let is_ipv6 = table.world.family == 6;
        // All that one ENI asks comes out of one budget.
        let own: &[&str] = if is_ipv6 { &V6 } else { &V4 };
        let others: &[&str] = if is_ipv6 {
            &["R10-solicit-b1", "R10-router-solicitation-m1"]
        } else {
            &["R10-discover-b1", "R10-discover-m1", "R10-discover-c1"]
        };
        namespace::with_namespace(|| {
            let mut bench = Bench::new(&table.world)?;
            let frames = own
                .iter()
                .map(|name| Ok(of_case(&table, name, false)?.1))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let done = flood(&mut bench, "pa", REQUESTS, |number| {
                Ok(frames[number as usize % frames.len()].clone())
            })?;
            println!("{done} requests");
            for name in others {
                let (interface, frame) = of_case(&table, name, false)?;
                for _ in 0..REQUESTS.burst {
                    bench.runner().run(Hook::Tc, &interface, &frame)?;
                }
                let requests = bench.requests()?;
                ensure!(
                    requests.len() == REQUESTS.burst as usize
                        && requests.iter().all(|(_, found)| *found == frame),
                    "{} of {name} handed over",
                    requests.len()
                );
            }
            // Nothing but its requests is less for it.
            let other = table.case("T1-udp-out")?;
            ensure!(does(&mut bench, "pa", &other.input.0)?, "dropped, too");
            Ok(())
        })?;
    }
    Ok(())
}

/// Addresses on an uplink's link that are asked for: a budget for each ENI; who answers is not
/// asked for again.
#[test]
fn asking_for_neighbours_is_limited() -> anyhow::Result<()> {
    /// How long the kernel asks for one.
    const ASKING: Duration = Duration::from_secs(3);
    for table in Table::all()? {
        let destination = if table.world.family == 6 { 24 } else { 16 } + 14;
        let width = if table.world.family == 6 { 16 } else { 4 };
        namespace::with_namespace(|| {
            let mut bench = Bench::new(&table.world)?;
            let (interface, frame) = of_case(&table, "O18-udp-out", false)?;
            let known = frame[destination..destination + width].to_vec();
            // From 128 on nobody of the world is there.
            let to = |number: u32| -> anyhow::Result<Vec<u8>> {
                let mut address = known.clone();
                let place = address.last_mut().context("an address")?;
                *place = u8::try_from(128 + number % 100)?;
                readdressed(&frame, destination, &address)
            };
            // That one is asked for and answers.
            ensure!(does(&mut bench, &interface, &frame)?);
            let answer = table.case("O18-udp-in")?;
            for hook in Hook::ALL {
                bench.runner().run(hook, "up", &answer.input.0)?;
            }
            let rate = Rate {
                burst: NEIGHBOURS.burst - 1,
                ..NEIGHBOURS
            };
            let asked = flood(&mut bench, &interface, rate, to)?;
            for number in 0..asked {
                ensure!(
                    does(&mut bench, &interface, &to(number)?)?,
                    "one who is being asked for is asked for again"
                );
            }
            let (other, from_other) = of_case(&table, "O18-udp-of-other-pool-out", false)?;
            let mut stranger = known.clone();
            *stranger.last_mut().context("an address")? = 250;
            let to_stranger = readdressed(&frame, destination, &stranger)?;
            let from_other = readdressed(&from_other, destination, &stranger)?;
            ensure!(!does(&mut bench, &interface, &to_stranger)?);
            ensure!(
                does(&mut bench, &other, &from_other)?,
                "another ENI's is less"
            );
            thread::sleep(ASKING + Duration::from_millis(100));
            let rate = Rate {
                burst: NEIGHBOURS.per_second * 3 - 1,
                ..NEIGHBOURS
            };
            flood(&mut bench, &interface, rate, |number| to(60 + number))?;
            ensure!(!does(&mut bench, &interface, &to(0)?)?, "never answered");
            ensure!(does(&mut bench, &interface, &frame)?, "it has answered");
            // The next hop is none of them.
            let (port, out) = of_case(&table, "O6-O18", false)?;
            ensure!(port == interface && does(&mut bench, &port, &out)?);
            Ok(())
        })?;
    }
    Ok(())
}

/// While no more may be sent, a packet whose sender would be told is dropped where it is first
/// seen.
#[test]
fn a_sender_that_may_not_be_told_is_not() -> anyhow::Result<()> {
    for table in Table::all()? {
        namespace::with_namespace(|| {
            let mut bench = Bench::new(&table.world)?;
            bench.empty_limits()?;
            for name in [
                "R2-ttl-1-in",
                "R2-ttl-1-out",
                "R3-too-big-in",
                "R3-too-big-out",
            ] {
                let case = table.case(name)?;
                for hook in Hook::ALL {
                    let before = bench.counters()?;
                    let run = bench.runner().run(hook, &case.interface, &case.input.0)?;
                    let counted = bench.counters()?.since(&before);
                    ensure!(
                        run.verdict == Verdict::Drop
                            && (counted.dropped(), counted.told()) == (1, 0)
                            && counted.events.get(&Event::Limited.index()) == Some(&1),
                        "{name} ({hook:?}): {:?},{}",
                        run.verdict,
                        counted.describe()
                    );
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

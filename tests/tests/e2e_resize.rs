//! The daemon started with other sizes of the maps, under traffic.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Error, Result, ensure};
use eip_dp_tests::lab::{
    gateway::Gateway,
    scene::{EIPS, Options, Scene},
    traffic::Pinging,
    wait::until,
};
use eip_dp_user::kernel::{Kernel, Pins};

const LONG: Duration = Duration::from_mins(1);

/// What is counted of an EIP, read all the time by another thread.
struct Watching {
    done: Arc<AtomicBool>,
    reader: JoinHandle<Result<usize>>,
}

impl Watching {
    fn start(gateway: &Gateway, eip: &str) -> Result<Self> {
        let name = gateway.name().parse().map_err(Error::msg)?;
        let (pins, eip) = (Pins::new(&name), eip.parse()?);
        let done = Arc::new(AtomicBool::new(false));
        let reader = thread::spawn({
            let done = done.clone();
            move || {
                let (mut before, mut looks) = ((0, 0), 0);
                while !done.load(Ordering::Relaxed) {
                    let kernel = Kernel::open(&pins)?.context("it is loaded")?;
                    let now = kernel.counters_of(eip)?.context("the EIP is there")?;
                    let now = (now.in_packets, now.out_packets);
                    ensure!(
                        now.0 >= before.0 && now.1 >= before.1,
                        "{now:?} after {before:?}"
                    );
                    before = now;
                    looks += 1;
                }
                Ok(looks)
            }
        });
        Ok(Self { done, reader })
    }

    /// Ends it; how often it looked.
    fn stop(self) -> Result<usize> {
        self.done.store(true, Ordering::Relaxed);
        self.reader.join().expect("it returns what goes wrong")
    }
}

#[test]
fn maps_get_other_sizes_and_no_packet_is_lost_or_counted_twice() -> Result<()> {
    let mut scene = Scene::new(&Options::default())?;
    let internet = scene.backbone.internet.clone();
    let configuration = fs::read_to_string(scene.gateway.configuration())?;
    let counted = |gateway: &Gateway, eip: &str| -> Result<[u64; 2]> {
        let row = gateway.json(&format!("stats {eip}"))?;
        let number = |key: &str| row[key].as_u64().context("a number");
        Ok([number("in_packets")?, number("out_packets")?])
    };
    let mut pings = Vec::new();
    for eip in [&EIPS[0], &EIPS[3]] {
        let before = counted(&scene.gateway, eip.id)?;
        let log = scene.lab.folder().join(eip.id);
        pings.push((eip, before, Pinging::start(&internet, eip.address, &log)?));
    }
    let watching = Watching::start(&scene.gateway, EIPS[0].address)?;
    for (sizes, killed) in [
        ("eips = 70000\nenis = 300", false),
        ("eips = 500", true),
        ("eips = 2000\nprivate_addresses = 900", false),
    ] {
        if killed {
            scene.gateway.kill()?;
        } else {
            scene.gateway.stop()?;
        }
        scene
            .gateway
            .configure(&format!("{configuration}\n[maps]\n{sizes}\n"))?;
        scene.gateway.start()?;
        for (.., pinging) in &mut pings {
            pinging.wait_for_replies(15)?;
        }
        scene.gateway.ok("verify")?;
    }
    assert!(watching.stop()? > 100);
    for (eip, before, pinging) in pings {
        let pinged = pinging.stop()?;
        assert!(pinged.lost_nothing(), "{}: {pinged}", eip.id);
        let said = fs::read_to_string(scene.lab.folder().join(eip.id))?;
        let summary = said.lines().find(|line| line.contains("transmitted"));
        let sent = summary.and_then(|line| line.split_whitespace().next());
        let sent: u64 = sent.context("a summary")?.parse()?;
        // The last request may be on its way still.
        until(LONG, "every packet to be counted once", || {
            let [received, answered] = counted(&scene.gateway, eip.id)?;
            let all = [before[0] + sent, before[1] + sent];
            ensure!(
                received <= all[0] && answered <= all[1],
                "{} counts too many",
                eip.id
            );
            Ok(([received, answered] == all).then_some(()))
        })?;
    }
    Ok(())
}

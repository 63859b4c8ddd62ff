//! Maps get other sizes while the gateway forwards.

use std::num::NonZero;

use aya::{
    maps::{Array, MapInfo, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use eip_dp_common::abi::{EipCounters, Event, PackedCounter, Reason, RequestHeader, maps};
use eip_dp_user::{
    compile::{Content, Limits},
    config::MapSizes,
    kernel::{self, Loaded, Pins, Plane, ProgramLinks, Resize, ServedTable},
    plan::plan,
};

use super::{
    EIP, NAME,
    gateway::{Daemon, Gateway, run, sh},
    map, open_kernel, programs,
};

fn pins() -> Pins {
    Pins::new(&NAME.parse().unwrap())
}

/// Starts a daemon with these sizes.
fn start(gateway: &Gateway, sizes: &str) -> Daemon {
    gateway.start_with(&["-c", &configuration(gateway, sizes)])
}

fn configuration(gateway: &Gateway, sizes: &str) -> String {
    let text =
        format!("[[uplink]]\ninterface = \"wan\"\n[ports]\ndelivery = \"xdp\"\n[maps]\n{sizes}\n");
    gateway.file("sizes.toml", &text)
}

/// What a program counts on the first CPU.
fn count(packets: u64) {
    let slot = open_kernel().slot(EIP.into()).unwrap();
    let out_slots: Array<_, [u32; 2]> = map(maps::OUT_SLOTS).try_into().unwrap();
    let out_slot = out_slots.get(&(slot / 2), 0).unwrap()[slot as usize % 2] - 1;
    for (name, slot, bytes) in [(maps::EIP_IN, slot, 100), (maps::EIP_OUT, out_slot, 200)] {
        let mut words: Array<_, PackedCounter> = map(name).try_into().unwrap();
        let mut word = words.get(&slot, 0).unwrap();
        for _ in 0..packets {
            word = word.plus(bytes);
        }
        words.set(slot, word, 0).unwrap();
    }
    let mut dropped: Array<_, [u64; 2]> = map(maps::EIP_DROPS).try_into().unwrap();
    for (slot, added) in [(slot, [packets, 0]), (out_slot, [0, 2 * packets])] {
        let [received, sent] = dropped.get(&slot, 0).unwrap();
        let sum = [received + added[0], sent + added[1]];
        dropped.set(slot, sum, 0).unwrap();
    }
    for (name, index) in [
        (maps::DROPS, Reason::NoAssociation.index()),
        (maps::EVENTS, Event::ALL[0].index()),
    ] {
        let mut counters: PerCpuArray<_, u64> = map(name).try_into().unwrap();
        let mut values = counters.get(&index, 0).unwrap().to_vec();
        assert_eq!(values.len(), nr_cpus().unwrap());
        values[0] += packets;
        let values = PerCpuValues::try_from(values).unwrap();
        counters.set(index, values, 0).unwrap();
    }
}

/// All that was counted is there.
fn check_counted(gateway: &Gateway, packets: u64) {
    let counted = open_kernel().counters_of(EIP.into()).unwrap().unwrap();
    let wanted = EipCounters {
        in_packets: packets,
        in_bytes: packets * 100,
        in_dropped: packets,
        out_packets: packets,
        out_bytes: packets * 200,
        out_dropped: packets * 2,
    };
    assert_eq!(counted, wanted);
    assert_eq!(open_kernel().drops(Reason::NoAssociation).unwrap(), packets);
    assert_eq!(open_kernel().events(Event::ALL[0]).unwrap(), packets);
    let row = gateway.json("stats x");
    assert_eq!(
        (&row["in_packets"], &row["out_dropped"]),
        (&packets.into(), &(2 * packets).into())
    );
}

/// The gateway serves with maps of `eips` EIPs, and nothing is left of others.
fn check_served(gateway: &Gateway, eips: u32) {
    assert_eq!(open_kernel().limits().eips, eips);
    assert!(!pins().next().root().exists());
    assert_eq!(programs(), ["uplink_xdp", "uplink_tc", "port_tc"]);
    gateway.ok("verify");
    let status = gateway.status();
    assert_eq!(status["applied"]["revision"], status["table"]["revision"]);
}

/// Sizes that come to the same number of cache lines are other sizes nonetheless.
#[test]
fn a_size_that_is_one_less_is_another_size() {
    run(|| {
        let gateway = Gateway::served();
        start(&gateway, "eips = 1002\neips6 = 64").stop();
        check_served(&gateway, 1002);
        count(3);
        let _daemon = start(&gateway, "eips = 1001\neips6 = 64");
        assert!(gateway.log().contains("other sizes"), "{}", gateway.log());
        check_served(&gateway, 1001);
        check_counted(&gateway, 3);
    });
}

#[test]
fn maps_get_other_sizes_and_keep_what_was_counted() {
    run(|| {
        let gateway = Gateway::served();
        gateway.ok("pool create 2001:db8:7::/64");
        gateway.ok("eip create y --address 2001:db8:7::9");
        start(&gateway, "eips = 1000").stop();
        count(3);
        let requests = requests();
        let mut daemon = start(&gateway, "eips = 3000\nenis = 50\nports = 9");
        check_served(&gateway, 3000);
        check_counted(&gateway, 3);
        // What is counted now adds to it, and it can be done again.
        count(2);
        check_counted(&gateway, 5);
        gateway.ok("disassociate x --wait");
        gateway.ok("associate x e --wait");
        daemon.stop();
        let mut daemon = start(&gateway, "eips = 20");
        check_served(&gateway, 20);
        check_counted(&gateway, 5);
        daemon.kill();
        // The same sizes again: adopted.
        let _daemon = start(&gateway, "eips = 20");
        check_served(&gateway, 20);
        check_counted(&gateway, 5);
        assert_eq!(self::requests(), requests, "another ring than programs had");
        // A slot that another EIP gets has counted nothing.
        gateway.ok("disassociate x --wait");
        gateway.ok("eip release x --wait");
        for number in 11..30 {
            gateway.ok(&format!(
                "eip create n{number} --address 203.0.113.{number} --wait"
            ));
            let counted = gateway.json(&format!("stats n{number}"));
            assert_eq!(
                (&counted["in_packets"], &counted["in_dropped"]),
                (&0.into(), &0.into())
            );
        }
    });
}

#[test]
fn what_does_not_fit_keeps_the_old_maps() {
    run(|| {
        let gateway = Gateway::served();
        gateway.ok("eip create y --address 203.0.113.11");
        start(&gateway, "eips = 1000").stop();
        count(7);
        let file = configuration(&gateway, "eips = 1");
        let refused = gateway.fails(&format!("run -c {file}"));
        for word in ["keep the sizes", maps::EIP_IN, "`eips`"] {
            assert!(refused.contains(word), "{refused}");
        }
        let _daemon = start(&gateway, "eips = 1000");
        check_served(&gateway, 1000);
        check_counted(&gateway, 7);
    });
}

/// Which ring guests' requests go into.
fn requests() -> u32 {
    let info = MapInfo::from_pin(pins().map(maps::REQUESTS)).unwrap();
    assert_eq!(info.max_entries(), RequestHeader::RING);
    info.id()
}

/// New maps for 2000 EIPs that hold what the others do, and programs that nobody runs yet.
fn filled() -> (Loaded, Resize) {
    let content = open_kernel().read().unwrap();
    let table = ServedTable::of(&pins()).unwrap().expect("served");
    let sizes = MapSizes {
        eips: 2000,
        ..MapSizes::default()
    };
    let mut loaded = kernel::load(
        &pins(),
        &Limits::from(&sizes),
        &table,
        NonZero::<usize>::MIN,
    )
    .unwrap();
    let resize = loaded.resize.take().expect("other sizes");
    let writes = plan(&content, &Content::default());
    loaded.kernel.write(&writes).unwrap();
    (loaded, resize)
}

/// How far a daemon comes before it is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Until {
    Loaded,
    Begun,
    Carried,
    HalfMoved,
}

fn cut_off_at(until: Until, sizes: &'static str, eips: u32) {
    run(move || {
        let gateway = Gateway::served();
        start(&gateway, "eips = 1000").kill();
        count(3);
        let requests = requests();
        let (mut loaded, mut resize) = filled();
        check_counted(&gateway, 3);
        gateway.ok("status");
        // The programs of the new maps write to it, too: whoever reads it has all requests at any
        // moment.
        assert!(!pins().next().root().join(maps::REQUESTS).exists());
        let mut counted = 3;
        if until != Until::Loaded {
            let mut links = ProgramLinks::new(&pins());
            resize
                .begin(&mut loaded.kernel, &mut loaded.programs, &mut links)
                .unwrap();
            check_counted(&gateway, 3);
            // The last packets of the old programs.
            count(2);
            counted += 2;
            check_counted(&gateway, counted);
            assert_eq!(open_kernel().limits().eips, 2000);
        }
        if matches!(until, Until::Carried | Until::HalfMoved) {
            resize.carry(&mut loaded.kernel).unwrap();
            check_counted(&gateway, counted);
        }
        if until == Until::HalfMoved {
            for map in &maps::ALL[..maps::ALL.len() / 2] {
                std::fs::rename(pins().next().map(map), pins().map(map)).unwrap();
            }
            check_counted(&gateway, counted);
        }
        // As if it had been killed.
        drop(loaded);
        std::mem::forget(resize);
        check_counted(&gateway, counted);
        let _daemon = start(&gateway, sizes);
        check_served(&gateway, eips);
        check_counted(&gateway, counted);
        assert_eq!(self::requests(), requests);
    });
}

#[test]
fn a_daemon_goes_on_where_another_was_cut_off() {
    // With the sizes that the other wanted, those that there were, and yet others.
    cut_off_at(Until::Loaded, "eips = 1000", 1000);
    cut_off_at(Until::Begun, "eips = 2000", 2000);
    cut_off_at(Until::Begun, "eips = 1000", 1000);
    cut_off_at(Until::Carried, "eips = 7", 7);
    cut_off_at(Until::HalfMoved, "eips = 2000", 2000);
}

#[test]
fn a_daemon_that_is_killed_meanwhile_leaves_what_the_next_one_mends() {
    run(|| {
        let gateway = Gateway::served();
        start(&gateway, "eips = 1000").kill();
        count(3);
        let file = configuration(&gateway, "eips = 3000");
        let mut daemon = gateway.spawn(&["-c", &file]);
        gateway.until("new maps", || pins().next().map(maps::STATUS).exists());
        daemon.kill();
        check_counted(&gateway, 3);
        let mut daemon = gateway.spawn(&["-c", &file]);
        gateway.until("programs to use them", || {
            open_kernel().limits().eips == 3000
        });
        daemon.kill();
        check_counted(&gateway, 3);
        let _daemon = start(&gateway, "eips = 3000");
        check_served(&gateway, 3000);
        check_counted(&gateway, 3);
    });
}

#[test]
fn unload_takes_away_maps_that_were_not_in_place_yet() {
    run(|| {
        let gateway = Gateway::served();
        start(&gateway, "eips = 1000").kill();
        let (mut loaded, mut resize) = filled();
        let mut links = ProgramLinks::new(&pins());
        resize
            .begin(&mut loaded.kernel, &mut loaded.programs, &mut links)
            .unwrap();
        drop((loaded, resize));
        gateway.ok("unload");
        assert!(!pins().root().exists());
        let links = sh("ip -d link show");
        assert!(!links.contains("xdp"), "{links}");
    });
}

//! The daemon and the verbs of the data plane against the real kernel.
//!
//! Each test has a network namespace with the uplink `wan` and the port `p0`, a BPF file system and
//! a `/run` of its own ([`gateway::run`]). Needs root and the command `ip`.

mod families;
mod gateway;
mod resize;

use std::{fs, num::NonZero, path::Path};

use aya::maps::{Array, Map, MapData};
use eip_dp_common::abi::{
    Checksummed, EipMode, EipRoute, Event, INGRESS_PLACES, Ingress, Link, MacKey, NONE, NextHop,
    Reason, Target, maps,
};
use eip_dp_user::{
    compile::{FamilyWrite, Limits, Write},
    kernel::{self, Kernel, Pins, Plane, ProgramLinks, ServedTable},
};
use gateway::{Gateway, NAME, run, sh};
use nix::sys::signal::Signal;
use rusqlite::Connection;

/// The EIP of [`Gateway::served`].
const EIP: [u8; 4] = [203, 0, 113, 10];

fn open_kernel() -> Kernel {
    let pins = Pins::new(&NAME.parse().unwrap());
    Kernel::open(&pins).unwrap().expect("it is loaded")
}

fn map(name: &str) -> Map {
    let pins = Pins::new(&NAME.parse().unwrap());
    Map::from_map_data(MapData::from_pin(pins.map(name)).unwrap()).unwrap()
}

fn slot() -> Option<u32> {
    open_kernel().slot(EIP.into())
}

/// The record of the EIP.
fn eip() -> EipRoute<[u8; 4]> {
    open_kernel().read().unwrap().v4.eips[&EIP]
}

/// What an intruder, or a bug, might do.
fn tamper() {
    open_kernel()
        .write(&[Write::V4(FamilyWrite::Eip(EIP, None))])
        .unwrap();
}

fn programs() -> Vec<String> {
    let links = ProgramLinks::new(&Pins::new(&NAME.parse().unwrap()));
    let pinned = links.pinned().unwrap();
    pinned
        .iter()
        .map(|pin| pin.program.name().to_owned())
        .collect()
}

#[test]
fn new_maps_stay_only_if_their_programs_are_verified() {
    run(|| {
        let _gateway = Gateway::served();
        let pins = Pins::new(&NAME.parse().unwrap());
        let table = ServedTable {
            location: 1,
            identity: None,
            applied: 0,
            file: 0,
        };
        let load = || {
            let limits = Limits::default();
            kernel::load(&pins, &limits, &table, NonZero::<usize>::MIN).unwrap()
        };
        let loaded = load();
        assert!(pins.map(maps::STATUS).exists());
        drop(loaded);
        assert!(!pins.root().exists());
        let mut loaded = load();
        loaded.programs.wait().unwrap();
        drop(loaded);
        assert!(pins.map(maps::STATUS).exists());
        // Those of another daemon are not for this one to take away.
        drop(load());
        assert!(pins.map(maps::STATUS).exists());
    });
}

/// Writes over all of a table's file but its header: what it is can be told, and nothing of what is
/// in it.
fn damage(path: &Path) {
    const HEADER: usize = 100;
    let mut bytes = fs::read(path).unwrap();
    bytes[HEADER..].fill(0xa5);
    fs::write(path, bytes).unwrap();
}

#[test]
fn maps_of_a_table_that_cannot_be_read_do_not_stay() {
    run(|| {
        let gateway = Gateway::served();
        damage(&gateway.path("table.db"));
        gateway.spawn(&["--uplink", "wan"]).fails();
        assert!(gateway.log().contains("table"), "{}", gateway.log());
        assert!(!Pins::new(&NAME.parse().unwrap()).root().exists());
    });
}

#[test]
fn a_daemon_loads_is_adopted_and_is_unloaded() {
    run(|| {
        let gateway = Gateway::served();
        let mut daemon = gateway.start();
        assert_eq!(programs(), ["uplink_xdp", "uplink_tc", "port_tc"]);
        let first = slot().expect("applied");

        let status = gateway.status();
        assert_eq!(status["daemon"]["running"], true);
        assert_eq!(status["daemon"]["pid"], daemon.id());
        assert_eq!(status["applied"]["revision"], status["table"]["revision"]);
        assert_eq!(status["uplinks"][0]["attached"]["mode"], "xdp+tcx");
        assert_eq!(status["uplinks"][0]["next_hop"], "192.0.2.1");
        assert_eq!(status["ports"][0]["attached"]["mode"], "tcx");
        assert_eq!(status["ports"][0]["enis"][0], "e");
        let counted = gateway.json("stats x");
        assert_eq!(
            (&counted["eip"], &counted["in_packets"]),
            (&"x".into(), &0.into())
        );
        let counted = gateway.json("drops --all");
        let rows = |block: &str| counted[block].as_array().unwrap().len();
        assert_eq!(rows("drops"), Reason::ALL.len());
        assert_eq!(rows("events"), Event::ALL.len());
        let text = gateway.ok("drops --all");
        assert!(text.contains("no-association") && text.contains("too-big-sent"));

        let second = gateway.fails("run --uplink wan");
        assert!(
            second.contains(&format!("process {}", daemon.id())),
            "{second}"
        );
        let unload = gateway.fails("unload");
        assert!(unload.contains("stop it first"), "{unload}");

        // The change that `--wait` waits for is in the map when it returns.
        gateway.ok("disassociate x --wait");
        assert_eq!(eip().target, u32::MAX);
        gateway.ok("associate x e --wait");
        assert_ne!(eip().target, u32::MAX);

        daemon.stop();
        assert_eq!(
            programs(),
            ["uplink_xdp", "uplink_tc", "port_tc"],
            "forwarding goes on"
        );
        let wait = gateway.fails("disassociate x --wait");
        assert!(wait.contains("no daemon"), "{wait}");
        gateway.ok("associate x e");

        let mut daemon = gateway.start();
        assert_eq!(slot(), Some(first), "the counters are found again");
        gateway.ok("verify");
        daemon.kill();

        gateway.ok("unload");
        assert!(!Pins::new(&NAME.parse().unwrap()).root().exists());
        let links = sh("ip -d link show");
        assert!(!links.contains("xdp"), "{links}");
        gateway.ok("unload");
        assert_eq!(gateway.status()["loaded"], false);
        let nothing = gateway.fails("stats");
        assert!(nothing.contains("not loaded"), "{nothing}");
    });
}

#[test]
fn verify_finds_what_was_changed_and_repair_mends_it() {
    run(|| {
        let gateway = Gateway::served();
        let mut daemon = gateway.start();
        gateway.ok("verify");
        for daemon_runs in [true, false] {
            if !daemon_runs {
                daemon.kill();
            }
            tamper();
            let found = gateway.fails("verify");
            assert!(found.contains("missing: EIP4 203.0.113.10"), "{found}");
            let repaired = gateway.ok("verify --repair");
            assert!(repaired.contains("repaired"), "{repaired}");
            gateway.ok("verify");
            assert!(slot().is_some());
        }
    });
}

#[test]
fn maps_of_another_table_are_refused() {
    run(|| {
        let gateway = Gateway::served();
        gateway.start().stop();
        let other = Gateway::served();
        let refused = other.fails("run --uplink wan");
        for word in ["another table", "--table", "unload"] {
            assert!(refused.contains(word), "{refused}");
        }
        assert_eq!(
            programs(),
            ["uplink_xdp", "uplink_tc", "port_tc"],
            "forwarding goes on"
        );
    });
}

#[test]
fn a_full_map_is_named_and_the_rest_is_served() {
    run(|| {
        let gateway = Gateway::served();
        gateway.ok("eip create y --address 203.0.113.11");
        let file = gateway.file(
            "small.toml",
            "[[uplink]]\ninterface = \"wan\"\n[maps]\neips = 1\n",
        );
        let daemon = gateway.start_with(&["-c", &file]);
        assert!(slot().is_some());
        let warnings = gateway.status()["warnings"].to_string();
        assert!(
            warnings.contains("EIP_IN is full") && warnings.contains("`eips`"),
            "{warnings}"
        );
        // The place of one that goes is the other's.
        gateway.ok("disassociate x --wait");
        gateway.ok("eip release x --wait");
        assert_eq!(slot(), None);
        assert!(open_kernel().slot([203, 0, 113, 11].into()).is_some());
        drop(daemon);
    });
}

#[test]
fn ports_that_vanish_and_appear_are_followed() {
    run(|| {
        let gateway = Gateway::served();
        let _daemon = gateway.start();
        let mode = || eip().mode;
        assert_eq!(mode(), 1, "NAT");
        sh("ip link del p0");
        gateway.until("the port's link to go", || {
            programs() == ["uplink_xdp", "uplink_tc"]
        });
        assert_eq!(mode(), 3, "detached");
        sh("ip link add p0 type veth peer name g0");
        sh("ip link set p0 up");
        sh("ip link set g0 up");
        gateway.until("the port to be attached", || {
            programs() == ["uplink_xdp", "uplink_tc", "port_tc"]
        });
        gateway.until("the EIP to be served", || mode() == 1);
    });
}

#[test]
fn a_vanished_uplink_leaves_no_dead_link_behind() {
    run(|| {
        let gateway = Gateway::served();
        gateway.start().kill();
        sh("ip link del wan");
        sh("ip link add wan type veth peer name isp");
        sh("ip link set wan up");
        sh("ip link set isp up");
        let _daemon = gateway.start();
        assert_eq!(programs(), ["uplink_xdp", "uplink_tc", "port_tc"]);
        let pins: Vec<_> = fs::read_dir(Pins::new(&NAME.parse().unwrap()).links())
            .unwrap()
            .collect();
        assert_eq!(pins.len(), 3);
    });
}

#[test]
fn a_copy_in_the_tables_place_is_followed_but_another_table_is_not() {
    run(|| {
        let gateway = Gateway::served();
        let mut daemon = gateway.start();
        let document = gateway.file("copy.toml", &gateway.ok("export"));
        let copy = gateway.path("copy.db").display().to_string();
        gateway.ok(&format!("backup {copy}"));
        fs::remove_file(gateway.path("table.db")).unwrap();
        // No verb makes a table in the place of the one that the gateway forwards by.
        for line in ["eip list", &format!("apply -f {document}")] {
            let refused = gateway.fails(line);
            assert!(refused.contains("table.db"), "{refused}");
        }
        assert!(!gateway.path("table.db").exists());
        assert!(slot().is_some(), "forwarding goes on");
        daemon.kill();
        let refused = gateway.fails("run --uplink wan");
        assert!(refused.contains("table.db"), "{refused}");
        assert!(slot().is_some(), "forwarding goes on");

        gateway.ok(&format!("restore {copy}"));
        let _daemon = gateway.start();
        gateway.ok("verify");
        let applied = gateway.status()["applied"]["revision"].as_u64().unwrap();
        gateway.ok("disassociate x --wait");
        assert_eq!(eip().target, u32::MAX);
        // Its revision is below the one that was applied.
        fs::rename(copy, gateway.path("table.db")).unwrap();
        gateway.until("the copy to be followed", || eip().target != u32::MAX);
        gateway.until("its revision", || {
            gateway.status()["applied"]["revision"].as_u64().unwrap() <= applied
        });
    });
}

#[test]
fn an_eip_expires_in_time_although_the_table_is_locked() {
    run(|| {
        let gateway = Gateway::served();
        let _daemon = gateway.start();
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(5);
        gateway.ok(&format!("eip set x --expires {soon} --wait"));
        assert_eq!(eip().mode, 1, "NAT");
        let lock = Connection::open(gateway.path("table.db")).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        gateway.until("the EIP to be cut off", || eip().target == u32::MAX);
        assert_eq!(gateway.json("eip show x")["state"], "associated", "locked");
        drop(lock);
        gateway.until("the table to say so", || {
            gateway.json("eip show x")["state"] == "expired"
        });
    });
}

#[test]
fn what_expired_while_no_daemon_ran_is_not_served_again() {
    run(|| {
        let gateway = Gateway::served();
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
        gateway.ok(&format!("eip set x --expires {soon}"));
        gateway.until("its end", || jiff::Timestamp::now() > soon);
        let _daemon = gateway.start();
        assert_eq!(gateway.json("eip show x")["state"], "expired");
        assert_eq!(eip().target, u32::MAX);
        gateway.ok("verify");
    });
}

#[test]
fn a_daemon_that_cannot_read_its_table_leaves_forwarding_as_it_is() {
    run(|| {
        let gateway = Gateway::served();
        gateway.start().stop();
        damage(&gateway.path("table.db"));
        let refused = gateway.fails("run --uplink wan");
        assert!(refused.contains("damaged"), "{refused}");
        assert_eq!(eip().mode, 1, "NAT");
        assert_eq!(programs(), ["uplink_xdp", "uplink_tc", "port_tc"]);
    });
}

#[test]
fn a_port_that_its_eni_has_left_stays_closed() {
    run(|| {
        let gateway = Gateway::served();
        let mut daemon = gateway.start();
        gateway.ok("disassociate x");
        gateway.ok("instance delete i --wait");
        let all = ["uplink_xdp", "uplink_tc", "port_tc"];
        assert_eq!(programs(), all, "what comes in must not enter the host");
        daemon.kill();
        daemon = gateway.start();
        assert_eq!(programs(), all);
        let port = &gateway.status()["ports"][0];
        assert_eq!(
            (&port["interface"], &port["enis"]),
            (&"p0".into(), &serde_json::json!([]))
        );
        sh("ip link del p0");
        gateway.until("the program to go with the interface", || {
            programs() == ["uplink_xdp", "uplink_tc"]
        });
        drop(daemon);
    });
}

#[test]
fn links_and_pins_that_somebody_removed_are_noticed() {
    run(|| {
        let gateway = Gateway::served();
        let mut daemon = gateway.start();
        let pins = Pins::new(&NAME.parse().unwrap());
        for link in fs::read_dir(pins.links()).unwrap() {
            fs::remove_file(link.unwrap().path()).unwrap();
        }
        let found = gateway.fails("verify");
        for program in ["uplink_tc on wan", "port_tc on p0"] {
            let line = format!("missing: program {program}");
            assert!(found.contains(&line), "{found}");
        }
        gateway.ok("verify --repair");
        assert_eq!(programs(), ["uplink_xdp", "uplink_tc", "port_tc"]);
        gateway.ok("disassociate x --wait");

        fs::remove_file(pins.map(maps::EIP4)).unwrap();
        daemon.signal(Signal::SIGHUP);
        daemon.fails();
        assert!(
            gateway.log().contains("start the daemon again"),
            "{}",
            gateway.log()
        );
        gateway.ok("associate x e");
        let _daemon = gateway.start();
        gateway.ok("verify");
        assert_eq!(eip().mode, 1, "NAT");
    });
}

/// An EIP in cut-through mode has in its entry where its ENI is. When that is elsewhere, so does
/// the entry say.
#[test]
fn an_eip_follows_its_eni() {
    run(|| {
        let gateway = Gateway::served();
        let mut daemon = gateway.start();
        let target = eip().target;
        assert_ne!(target, NONE);
        daemon.kill();
        let mut writer = open_kernel();
        let mut record = EipRoute {
            private: EIP,
            delta: 0,
            mode: EipMode::CutThrough as u8,
            ..eip()
        };
        let put = |record: EipRoute<_>| Write::V4(FamilyWrite::Eip(EIP, Some(record.sealed(&EIP))));
        writer.write(&[put(record)]).unwrap();
        assert_eq!(eip(), record.sealed(&EIP));
        let there = open_kernel().read().unwrap().targets[&target];
        for mac in [[2, 0, 0, 0, 9, 1], [2, 0, 0, 0, 9, 2]] {
            let elsewhere = Target {
                dst_mac: mac,
                ..there
            };
            // In another daemon's time, too.
            let mut writer = open_kernel();
            let moved = Write::Target(target, Some(elsewhere.sealed(&target)));
            writer.write(&[moved]).unwrap();
            let content = open_kernel().read().unwrap();
            assert_eq!(content.targets[&target].dst_mac, mac);
            assert_eq!(
                content.v4.eips[&EIP].target, target,
                "the entry moved along"
            );
        }
        // A target that goes leaves an entry that names it.
        writer = open_kernel();
        writer.write(&[Write::Target(target, None)]).unwrap();
        assert_eq!(eip().target, target);
        writer
            .write(&[Write::Target(target, Some(there.sealed(&target)))])
            .unwrap();
        record.mode = EipMode::Detached as u8;
        record.target = NONE;
        writer.write(&[put(record)]).unwrap();
        assert_eq!(eip().target, NONE);
        gateway.ok("unload");
    });
}

/// A daemon may end when a target has moved and the EIP's entry has not: nobody else gets the link
/// that the entry still leads to.
#[test]
fn a_link_that_only_an_entry_leads_to_stays_as_it_is() {
    run(|| {
        let gateway = Gateway::served();
        let mut daemon = gateway.start();
        let target = eip().target;
        daemon.kill();
        let there = open_kernel().read().unwrap().targets[&target];
        let with_mtu = |index: u32, mtu: u16| {
            let target = Target { mtu, ..there };
            Write::Target(index, Some(target.sealed(&index)))
        };
        let record = EipRoute {
            private: EIP,
            delta: 0,
            mode: EipMode::CutThrough as u8,
            ..eip()
        };
        let record = Some(record.sealed(&EIP));
        let mut writer = open_kernel();
        // The newest link is the highest.
        writer.write(&[with_mtu(target, 1400)]).unwrap();
        let write = Write::V4(FamilyWrite::Eip(EIP, record));
        writer.write(&[write]).unwrap();
        drop(writer);

        let mut words: Array<_, u64> = map(maps::NEXT_HOPS).try_into().unwrap();
        let link = NextHop::from_word(words.get(&target, 0).unwrap()).link();
        words.set(target, 0, 0).unwrap();
        let mut ingress: Array<_, u64> = map(maps::INGRESS).try_into().unwrap();
        for place in 0..INGRESS_PLACES {
            let word = Ingress::from_word(ingress.get(&place, 0).unwrap());
            if word.link() == link {
                ingress.set(place, 0, 0).unwrap();
            }
        }
        let links: Array<_, Link> = map(maps::LINKS).try_into().unwrap();
        let before = links.get(&link, 0).unwrap();
        assert_eq!(before.mtu, 1400);

        let mut writer = open_kernel();
        for stranger in 10..14 {
            writer.write(&[with_mtu(stranger, 1300)]).unwrap();
        }
        assert_eq!(links.get(&link, 0).unwrap(), before);
        assert_eq!(eip().target, NONE, "whose it is nobody knows");
        gateway.ok("unload");
    });
}

/// MACs go to the kernel many at a time; what does not fit is told as when they went one by one.
#[test]
fn macs_are_written_at_once_and_counted_where_they_do_not_fit() {
    run(|| {
        let gateway = Gateway::served();
        let file = gateway.file(
            "small.toml",
            "[[uplink]]\ninterface = \"wan\"\n[maps]\nenis = 3\n",
        );
        let mut daemon = gateway.start_with(&["-c", &file]);
        daemon.kill();
        let there = open_kernel().read().unwrap().macs;
        let (key, record) = there.first_key_value().unwrap();
        let write = |last: u8| {
            let key = MacKey {
                mac: [2, 0, 0, 0, 8, last],
                ..*key
            };
            Write::Mac(key, Some(record.sealed(&key)))
        };
        let writes: Vec<Write> = (1..=4).map(write).collect();
        let refused = open_kernel().write(&writes).unwrap_err();
        assert_eq!(refused.done, 2, "one of three was there");
        let message = refused.error.to_string();
        assert!(message.contains("MACS is full: it holds 3"), "{message}");
        let macs = open_kernel().read().unwrap().macs;
        let wanted = writes[..2].iter().map(|write| match write {
            Write::Mac(key, Some(record)) => (*key, *record),
            other => unreachable!("{other}"),
        });
        assert_eq!(macs, there.into_iter().chain(wanted).collect());
        gateway.ok("unload");
    });
}

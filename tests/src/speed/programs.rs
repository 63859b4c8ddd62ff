//! The instruction budget: what the verifier and the JIT made of each program, and what a path
//! takes by `BPF_PROG_TEST_RUN`. A regression is seen without a quiet machine.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path as File, PathBuf},
};

use anyhow::{Context, Result, bail};
use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{
        Program, ProgramFd, ProgramInfo, TestRun as _, TestRunOptions, Xdp, loaded_programs,
    },
};
use eip_dp_bench_ebpf::{maps, programs};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    gateways,
    generator::{program_of, spread, stand_aside},
    object::Object,
    plan,
    report::median,
    shape::{Family, Gateway, Path, Row, Shape},
    site::{Site, UPLINK, port},
};
use crate::lab::{netns::Netns, process::run};

/// A program's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Instructions that the verifier processed.
    pub verified: u32,
    /// Bytes after the verifier's rewriting.
    pub translated: u32,
    /// Bytes of machine code.
    pub jitted: u32,
}

/// Where the sizes of the last revision are that somebody looked at.
pub fn baseline() -> PathBuf {
    File::new(env!("CARGO_MANIFEST_DIR")).join("bench-programs.json")
}

/// By how much instructions may grow unremarked, in percent.
const TOLERANCE: f64 = 5.0;

/// Loads every program of eip-dp.
pub fn costs() -> Result<BTreeMap<String, Cost>> {
    let mut object = Ebpf::load(eip_dp_user::PROGRAMS).context("the object does not load")?;
    let mut costs = BTreeMap::new();
    for (name, program) in object.programs_mut() {
        match program {
            Program::Xdp(xdp) => xdp.load(),
            Program::SchedClassifier(tc) => tc.load(),
            other => bail!("{name} is of a type that the product does not load: {other:?}"),
        }
        .with_context(|| format!("the verifier refuses {name}"))?;
        let info = program.info()?;
        let cost = Cost {
            verified: info.verified_instruction_count().unwrap_or_default(),
            translated: info.size_translated().unwrap_or_default(),
            jitted: info.size_jitted(),
        };
        costs.insert(name.to_owned(), cost);
    }
    Ok(costs)
}

/// Keeps them as what later ones are held against.
pub fn record(costs: &BTreeMap<String, Cost>) -> Result<()> {
    let path = baseline();
    let text = serde_json::to_string_pretty(costs)? + "\n";
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The table of sizes, beside the recorded ones.
pub fn text(costs: &BTreeMap<String, Cost>) -> Result<String> {
    let path = baseline();
    let recorded = fs::read_to_string(&path)
        .with_context(|| format!("{}: write it with `--programs --record`", path.display()))?;
    let recorded: BTreeMap<String, Cost> = serde_json::from_str(&recorded)?;
    let mut text = format!(
        "{:18} {:>9} {:>9} {:>9} {:>9}\n",
        "program", "verified", "recorded", "xlated B", "JIT B"
    );
    let mut grown = 0;
    for (name, cost) in costs {
        let old = recorded.get(name).map(|old| old.verified);
        let change =
            old.map(|old| (f64::from(cost.verified) / f64::from(old.max(1)) - 1.0) * 100.0);
        let remark = match change {
            None => "  new".to_owned(),
            Some(change) if change.abs() > TOLERANCE => {
                grown += u32::from(change > 0.0);
                format!("  {change:+.0} %")
            }
            Some(_) => String::new(),
        };
        let old = old.map_or_else(|| "-".to_owned(), |old| old.to_string());
        let Cost {
            verified,
            translated,
            jitted,
        } = cost;
        let _ = writeln!(
            text,
            "{name:18} {verified:>9} {old:>9} {translated:>9} {jitted:>9}{remark}"
        );
    }
    for name in recorded.keys().filter(|name| !costs.contains_key(*name)) {
        let _ = writeln!(text, "{name:18} is no more");
    }
    let _ = writeln!(
        text,
        "programs that grew by more than {TOLERANCE} %: {grown}"
    );
    Ok(text)
}

/// How often a path is run, and how many times that is timed.
const REPEAT: u32 = 200_000;
const TIMES: usize = 15;

/// What each path takes in nanoseconds, without what the restoring of the frame takes.
pub fn times(cache: &File) -> Result<String> {
    let mut text = format!("{:52} {:>8}\n", "path in XDP", "ns");
    for family in [Family::V4, Family::V6] {
        let shape = Shape {
            family,
            ..Shape::nat4(1_024)
        };
        let mut site = Site::new(shape, Gateway::EipDp)?;
        let _gateway = gateways::start(Gateway::EipDp, &mut site, cache)?;
        stand_aside()?;
        for path in [Path::In, Path::Error, Path::Flood, Path::Out, Path::Hairpin] {
            let row = Row::new(Gateway::EipDp, shape, path);
            let name = format!("eip-dp {} {path}", shape.name());
            let said = match time(&mut site, &row)? {
                Some(nanos) => format!("{nanos:8.1}"),
                None => "no XDP program there".to_owned(),
            };
            let _ = writeln!(text, "{name:52} {said}");
        }
        spread()?;
    }
    Ok(text)
}

/// A path's time; nothing if there is no XDP program where it begins.
fn time(site: &mut Site, row: &Row) -> Result<Option<f64>> {
    let interface = if row.is_outward() {
        port(0)
    } else {
        UPLINK.to_owned()
    };
    let Some(id) = attached(&site.gateway, &interface)? else {
        return Ok(None);
    };
    let frame = frame_of(site, row)?;
    let index = site.index_of(&interface)?;
    let program = fd_of(id)?;
    let Site {
        gateway, object, ..
    } = site;
    gateway.enter(|| {
        object.restore(frame)?;
        let empty = object.program(programs::EMPTY)?.fd()?.try_clone()?;
        let mut differences = Vec::new();
        for _ in 0..TIMES {
            let mut one = |program: &ProgramFd| {
                under_test(object, program)?;
                duration(object.program(programs::RESTORE)?, &frame, index)
            };
            differences.push(one(&program)? - one(&empty)?);
        }
        Ok(median(&differences))
    })
}

fn under_test(object: &mut Object, program: &ProgramFd) -> Result<()> {
    let mut array: ProgramArray<_> = object.map(maps::UNDER_TEST)?.try_into()?;
    array
        .set(0, program, 0)
        .context("the bench's program cannot go on to eip-dp's")
}

/// The mean of many runs, in nanoseconds.
fn duration(restore: &Xdp, frame: &[u8], ifindex: u32) -> Result<f64> {
    // `struct xdp_md`: data, `data_end`, `data_meta`, ifindex, queue, egress ifindex.
    let context: Vec<u8> = [0, u32::try_from(frame.len())?, 0, ifindex, 0, 0]
        .iter()
        .flat_map(|word: &u32| word.to_ne_bytes())
        .collect();
    let result = restore.test_run(TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat: REPEAT,
        ..TestRunOptions::default()
    })?;
    Ok(f64::from(u32::try_from(result.duration.as_nanos())?))
}

/// A frame of the row, as the generator would send it.
fn frame_of(site: &mut Site, row: &Row) -> Result<[u8; 128]> {
    site.object.begin(&plan::of_row(row))?;
    let mut template = [0; 128];
    let ethertype: [u8; 2] = match row.shape.family {
        Family::V4 => [0x08, 0x00],
        Family::V6 => [0x86, 0xdd],
    };
    template[12..14].copy_from_slice(&ethertype);
    let mut frame = [0; 128];
    site.object
        .program(program_of(row))?
        .test_run(TestRunOptions {
            data_in: Some(&template),
            data_out: Some(&mut frame),
            ..TestRunOptions::default()
        })?;
    Ok(frame)
}

/// The XDP program on an interface.
fn attached(namespace: &Netns, interface: &str) -> Result<Option<u32>> {
    let text = run(namespace
        .command("ip")
        .args(["-json", "link", "show", "dev", interface]))?;
    let links: Value = serde_json::from_str(&text)?;
    let id = links[0]["xdp"]["prog"]["id"].as_u64();
    Ok(id.map(u32::try_from).transpose()?)
}

fn fd_of(id: u32) -> Result<ProgramFd> {
    let info: ProgramInfo = loaded_programs()
        .flatten()
        .find(|info| info.id() == id)
        .context("the attached program is gone")?;
    Ok(info.fd()?)
}

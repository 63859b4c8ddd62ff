//! `stats` and `drops`: what the kernel counted.

use std::{net::IpAddr, time::Duration};

use eip_dp_common::abi::{EipCounters, Event, Reason};
use serde::Serialize;

use super::kernel;
use crate::{
    cli::{
        DropsArgs, Failure, Format, Global, StatsArgs, failure, output, place::table_of_gateway,
        readers::Copies, session,
    },
    compile,
    daemon::{Report, readers},
    kernel::Kernel,
    model::objects::Eip,
};

/// An EIP's counters since it was created.
#[derive(Serialize)]
struct Row {
    eip: String,
    address: String,
    in_packets: u64,
    in_bytes: u64,
    in_dropped: u64,
    out_packets: u64,
    out_bytes: u64,
    out_dropped: u64,
}

/// `stats`: packets and bytes per EIP.
pub fn stats(args: &StatsArgs, global: &Global) -> Result<(), Failure> {
    let (rows, is_current) = match Copies::or_itself(global)? {
        Some(copies) => copied_rows(args, global, &copies)?,
        None => (own_rows(args, global)?, true),
    };
    print_rows(args, global, &rows)?;
    ended(is_current)
}

/// Who reads old counters is told so by the exit code, too.
fn ended(is_current: bool) -> Result<(), Failure> {
    if is_current {
        Ok(())
    } else {
        Err(Failure::Reported)
    }
}

fn print_rows(args: &StatsArgs, global: &Global, rows: &[Row]) -> Result<(), Failure> {
    if let (Some(_), [row]) = (&args.eip, rows) {
        return match global.output {
            Format::Json => output::json(row),
            Format::Text => row.print(),
        };
    }
    match global.output {
        Format::Json => output::json(&rows),
        Format::Text => {
            let header = [
                "EIP",
                "ADDRESS",
                "IN-PACKETS",
                "IN-BYTES",
                "IN-DROPPED",
                "OUT-PACKETS",
                "OUT-BYTES",
                "OUT-DROPPED",
            ];
            output::table(header, rows.iter().map(Row::cells))
        }
    }
}

/// As the maps have it; of one EIP exactly one row.
fn own_rows(args: &StatsArgs, global: &Global) -> Result<Vec<Row>, Failure> {
    let kernel = kernel(global)?;
    let (_, table) = table_of_gateway(global, false)?;
    if let Some(id) = &args.eip {
        let eip = table.read(|view| session::find::<Eip>(view, id))??;
        let row = row(&kernel, &eip)?;
        return Ok(vec![row.ok_or_else(|| {
            Failure::failed(format!(
                "EIP `{id}` has no counters: the daemon has not applied it; see `eip-dp --name {} status`",
                global.name
            ))
        })?]);
    }
    let mut rows = Vec::new();
    for eip in table.snapshot()?.model.eips.values() {
        rows.extend(row(&kernel, eip)?);
    }
    Ok(rows)
}

/// As the daemon has copied it; likewise.
fn copied_rows(
    args: &StatsArgs,
    global: &Global,
    copies: &Copies,
) -> Result<(Vec<Row>, bool), Failure> {
    let wanted = match &args.eip {
        Some(id) => Some(
            copies
                .table(global)?
                .read(|view| session::find::<Eip>(view, id))??
                .id,
        ),
        None => None,
    };
    let mut rows = Vec::new();
    let (counted, is_current) = copies.counted(global, |eip, address, counted| {
        if wanted.as_ref().is_none_or(|wanted| *wanted == eip) {
            rows.push(Row::new(eip, address, counted));
        }
    })?;
    if let Some(why) = &counted.incomplete {
        let message = format!("not every EIP's counters are in the copy: {why}");
        failure::warn(global.output, &message);
    }
    match &wanted {
        Some(id) if rows.is_empty() => Err(Failure::failed(format!(
            "EIP `{id}` is not in the copy of the counters, which may be older than the EIP: another is made every {} s; if it \
             is not in that either, the daemon has not applied it: see `eip-dp --name {} status`",
            counted.again_in, global.name
        ))),
        _ => Ok((rows, is_current && counted.incomplete.is_none())),
    }
}

/// The counters of an EIP; `None` if the kernel does not know it.
fn row(kernel: &Kernel, eip: &Eip) -> Result<Option<Row>, Failure> {
    let Some(counted) = kernel.counters_of(eip.address)? else {
        return Ok(None);
    };
    Ok(Some(Row::new(eip.id.clone(), eip.address, counted)))
}

impl Row {
    fn new(eip: String, address: IpAddr, counted: EipCounters) -> Self {
        let EipCounters {
            in_packets,
            in_bytes,
            in_dropped,
            out_packets,
            out_bytes,
            out_dropped,
        } = counted;
        Self {
            eip,
            address: address.to_string(),
            in_packets,
            in_bytes,
            in_dropped,
            out_packets,
            out_bytes,
            out_dropped,
        }
    }

    fn print(&self) -> Result<(), Failure> {
        output::fields(&[
            ("eip", self.eip.clone()),
            ("address", self.address.clone()),
            ("in packets", self.in_packets.to_string()),
            ("in bytes", self.in_bytes.to_string()),
            ("in dropped", self.in_dropped.to_string()),
            ("out packets", self.out_packets.to_string()),
            ("out bytes", self.out_bytes.to_string()),
            ("out dropped", self.out_dropped.to_string()),
        ])
    }

    fn cells(&self) -> [String; 8] {
        [
            self.eip.clone(),
            self.address.clone(),
            self.in_packets.to_string(),
            self.in_bytes.to_string(),
            self.in_dropped.to_string(),
            self.out_packets.to_string(),
            self.out_bytes.to_string(),
            self.out_dropped.to_string(),
        ]
    }
}

/// A reason and its count.
#[derive(Serialize)]
struct Drop {
    number: u32,
    reason: &'static str,
    packets: u64,
    meaning: String,
}

/// What else the gateway did, and how often.
#[derive(Serialize)]
struct Happened {
    number: u32,
    event: &'static str,
    count: u64,
    meaning: &'static str,
}

#[derive(Serialize)]
struct Counted {
    drops: Vec<Drop>,
    events: Vec<Happened>,
}

/// Why senders are not told of what is dropped, where an uplink has no address to tell them from.
fn untold(warnings: &[String]) -> Option<String> {
    let mut warnings = warnings.iter();
    warnings.find(|text| compile::says_untold(text)).cloned()
}

/// `drops`: dropped packets by reason, and what else is counted.
pub fn drops(args: &DropsArgs, global: &Global) -> Result<(), Failure> {
    let (counted, is_current, untold) = if let Some(copies) = Copies::or_itself(global)? {
        let (counted, is_current) = copies.counted(global, |_, _, _| {})?;
        (counted, is_current, untold(copies.told().warnings()))
    } else {
        let counted = readers::Counted::of(&kernel(global)?, Duration::ZERO)?;
        let report = Report::read(&Report::path(&global.name));
        let untold = report.and_then(|report| untold(&report.warnings));
        (counted, true, untold)
    };
    print_counted(args, global, &counted, untold.as_deref())?;
    ended(is_current)
}

fn print_counted(
    args: &DropsArgs,
    global: &Global,
    counted: &readers::Counted,
    untold: Option<&str>,
) -> Result<(), Failure> {
    let (mut drops, mut events) = (Vec::new(), Vec::new());
    for reason in Reason::ALL {
        let packets = counted.drops.get(&reason.index()).copied().unwrap_or(0);
        if packets > 0 || args.all {
            drops.push(Drop {
                number: reason.index(),
                reason: reason.name(),
                packets,
                meaning: match (reason, untold) {
                    (Reason::TtlExceeded | Reason::TooBig, Some(why)) => {
                        format!("{} Here not always: {why}", reason.sentence())
                    }
                    _ => reason.sentence().to_owned(),
                },
            });
        }
    }
    for event in Event::ALL {
        let count = counted.events.get(&event.index()).copied().unwrap_or(0);
        if count > 0 || args.all {
            events.push(Happened {
                number: event.index(),
                event: event.name(),
                count,
                meaning: event.sentence(),
            });
        }
    }
    if global.output == Format::Json {
        return output::json(&Counted { drops, events });
    }
    let cells = drops.iter().map(|row| {
        [
            row.number.to_string(),
            row.reason.to_owned(),
            row.packets.to_string(),
            row.meaning.clone(),
        ]
    });
    output::table(["NUMBER", "REASON", "PACKETS", "MEANING"], cells)?;
    if events.is_empty() {
        return Ok(());
    }
    output::write(|out| writeln!(out))?;
    let cells = events.iter().map(|row| {
        [
            row.number.to_string(),
            row.event.to_owned(),
            row.count.to_string(),
            row.meaning.to_owned(),
        ]
    });
    output::table(["NUMBER", "EVENT", "COUNT", "MEANING"], cells)
}

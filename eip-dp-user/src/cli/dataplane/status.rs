//! `status`: what runs, on which interfaces, and which revision of the table is applied.

use std::{path::Path, time::Duration};

use eip_dp_common::abi::{StatusWord, maps};
use serde::{Deserialize, Serialize};

use crate::{
    cli::{
        Failure, Format, Global, Name, StatusArgs, output,
        place::{Gateway, Place},
        readers::Copies,
    },
    compile::{Content, link_name},
    daemon::{
        self, Attached, ConflictReport, LinkState, Lock, NameServers, PortReport, Report,
        UplinkReport,
    },
    host,
    kernel::{Kernel, Pins, Plane, ProgramLinks, Relation},
    model::objects::EniState,
    shared::Holder,
    survey::Survey,
    table::{Table, TableError},
};

/// What `status` says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    name: String,
    /// Where it is a copy: how old that is, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copied_seconds_ago: Option<u64>,
    serving: Serving,
    daemon: Daemon,
    /// Whether programs and maps are in the kernel.
    loaded: bool,
    table: TableStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    applied: Option<Applied>,
    uplinks: Vec<UplinkReport>,
    ports: Vec<PortReport>,
    /// What guests are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_servers: Option<NameServers>,
    /// Where private addresses are that several ENIs share.
    shared: Vec<Holder>,
    links: Vec<LinkStatus>,
    maps: Vec<Fill>,
    /// EIPs that other hosts on the uplinks' links have, the first hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conflicts: Vec<ConflictReport>,
    /// Settings of the host that were changed.
    settings: Vec<String>,
    warnings: Vec<String>,
}

/// Whether all that the table wants is served.
#[derive(Debug, Serialize, Deserialize)]
struct Serving {
    /// Whether all of it is, or waits for an interface.
    ok: bool,
    /// Why that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
    #[serde(flatten)]
    survey: Survey,
}

#[derive(Debug, Serialize, Deserialize)]
struct Daemon {
    running: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TableStatus {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Applied {
    /// The table's revision that the kernel forwards by.
    revision: u64,
    /// Seconds from the start of the machine to when it was reached.
    at_boot_seconds: f64,
}

/// A program that is attached.
#[derive(Debug, Serialize, Deserialize)]
struct LinkStatus {
    program: String,
    ifindex: u32,
}

/// How full a map is.
#[derive(Debug, Serialize, Deserialize)]
struct Fill {
    map: String,
    used: usize,
    size: u32,
}

/// `status`: what runs, where, and the applied revision.
pub fn status(args: &StatusArgs, global: &Global) -> Result<(), Failure> {
    let mut status = match Copies::or_itself(global)? {
        Some(copies) => copies.status(),
        None => look(global)?,
    };
    let waiting = status.serving.survey.waiting;
    if args.strict && waiting > 0 {
        status.serving.ok = false;
        status.serving.survey.add(|| {
            format!("{waiting} attached ENI(s) wait for their interface, which `--strict` asks for")
        });
    }
    match global.output {
        Format::Json => output::json(&status)?,
        Format::Text => status.print()?,
    }
    if status.serving.ok {
        Ok(())
    } else {
        Err(Failure::Reported)
    }
}

fn look(global: &Global) -> Result<Status, Failure> {
    let place = Place::find(global)?;
    let read = Table::open_read_only(&place.url).and_then(|table| {
        let revision = table.revision()?;
        Ok((table, revision))
    });
    let mut of_table = OfTable::default();
    match read {
        Ok((table, revision)) => {
            let gateway = Gateway::of(global);
            let standing = gateway.standing(&table)?;
            match standing.map(|standing| standing.relation) {
                // That of another table would be taken for the one that is forwarded by.
                Some(Relation::Another) => return Err(gateway.refused(&place.url)),
                // What is asked of it is not what is forwarded.
                Some(Relation::Copy) => of_table.copy = Some(gateway.is_a_copy(&place.url)),
                Some(Relation::Same) | None => {}
            }
            of_table.lag = standing.and_then(|standing| gateway.lag(&standing));
            of_table.is_newer = standing.is_some_and(|standing| standing.is_newer());
            of_table.revision = Some(revision);
            // A table that is empty asks for nothing.
            of_table.wants_anything = standing.is_none() && revision > 0 && {
                let model = table.snapshot().map(|snapshot| snapshot.model);
                model.is_ok_and(|model| {
                    let mut enis = model.enis.values();
                    enis.any(|eni| eni.state != EniState::Detached)
                })
            };
        }
        Err(error) => of_table.error = Some(error.to_string()),
    }
    Status::of(&global.name, &place.url, of_table)
}

/// What the table says.
#[derive(Debug, Default)]
struct OfTable {
    revision: Option<u64>,
    /// Why it cannot be read.
    error: Option<String>,
    /// That it is a copy at another path.
    copy: Option<String>,
    /// Why the gateway does not forward by it as it is, if no daemon runs.
    lag: Option<String>,
    /// Whether the gateway forwards by an earlier revision of it.
    is_newer: bool,
    /// Whether it asks for something to be forwarded, where nothing is loaded.
    wants_anything: bool,
}

/// What a gateway without a daemon is warned of.
const NO_DAEMON: &str = "no daemon runs: forwarding goes on as it was, but changes of the table and of the host are not followed";

fn fills(kernel: &Kernel) -> Result<Vec<Fill>, Failure> {
    let Content {
        v4,
        v6,
        vpcs,
        targets,
        ports,
        macs,
        uplinks,
        devices,
    } = kernel.read()?;
    let limits = kernel.limits();
    let fill = |map: &str, used, size| Fill {
        map: map.to_owned(),
        used,
        size,
    };
    let counted = v4.eips.len() + v6.eips.len();
    Ok(vec![
        fill(maps::EIP_IN, counted, limits.eips),
        fill(maps::EIP4, v4.eips.len(), limits.eips),
        fill(maps::EIP6, v6.eips.len(), limits.eips),
        fill(maps::PRIVATE4, v4.private.len(), limits.private_addresses),
        fill(maps::PRIVATE6, v6.private.len(), limits.private_addresses),
        fill(maps::PREFIX4, v4.prefixes.len(), limits.prefixes),
        fill(maps::PREFIX6, v6.prefixes.len(), limits.prefixes),
        fill(maps::VPCS, vpcs.len(), limits.vpcs),
        fill(maps::NEXT_HOPS, targets.len(), limits.targets),
        fill(maps::PORTS, ports.len(), limits.ports),
        fill(maps::MACS, macs.len(), limits.macs),
        fill(maps::UPLINKS, uplinks.len(), limits.uplinks),
        fill(maps::DEVICES, devices.len(), limits.devices),
    ])
}

impl Status {
    /// What the daemon, which runs, has users read who may not look themselves.
    pub fn for_readers(
        name: &Name,
        url: &str,
        revision: Result<u64, TableError>,
    ) -> Result<Self, Failure> {
        let mut of_table = OfTable::default();
        match revision {
            Ok(revision) => of_table.revision = Some(revision),
            Err(error) => of_table.error = Some(error.to_string()),
        }
        Self::of(name, url, of_table)
    }

    fn of(name: &Name, url: &str, of_table: OfTable) -> Result<Self, Failure> {
        let running = Lock::is_held(name)?;
        let pins = Pins::new(name);
        let kernel = Kernel::open(&pins)?;
        let report = Report::read(&Report::path(name)).filter(|_| kernel.is_some());
        let mut warnings = Vec::new();
        if !running && kernel.is_some() {
            warnings.push(NO_DAEMON.to_owned());
        }
        warnings.extend(of_table.error.clone());
        warnings.extend(of_table.copy.clone());
        let mut status = Self {
            name: name.to_string(),
            copied_seconds_ago: None,
            serving: Serving {
                ok: true,
                unknown: None,
                survey: Survey::default(),
            },
            daemon: Daemon {
                running,
                pid: report.as_ref().filter(|_| running).map(|report| report.pid),
            },
            loaded: kernel.is_some(),
            table: TableStatus {
                url: url.to_owned(),
                revision: of_table.revision,
            },
            applied: None,
            uplinks: Vec::new(),
            ports: Vec::new(),
            name_servers: None,
            shared: Vec::new(),
            links: Vec::new(),
            maps: Vec::new(),
            conflicts: Vec::new(),
            settings: Vec::new(),
            warnings,
        };
        if let Some(kernel) = &kernel {
            #[allow(clippy::cast_precision_loss, reason = "a time for people")]
            let at_boot_seconds = kernel.word(StatusWord::AppliedAt)? as f64 / 1e9;
            status.applied = Some(Applied {
                revision: kernel.word(StatusWord::Revision)?,
                at_boot_seconds,
            });
            status.maps = fills(kernel)?;
            let pinned = ProgramLinks::new(&pins).pinned()?;
            let links = pinned.into_iter().map(|pin| LinkStatus {
                program: pin.program.name().to_owned(),
                ifindex: pin.ifindex,
            });
            status.links = links.collect();
        }
        // What the table wants is not known where it cannot be read.
        let not_live = of_table.error.filter(|_| kernel.is_some());
        // A daemon that runs catches up, but for one that has not begun to.
        let starting = report.as_ref().filter(|report| running && report.starting);
        let lag = match starting {
            Some(_) => of_table.is_newer.then(|| {
                let applied = status.applied.as_ref().map_or(0, |applied| applied.revision);
                format!("the daemon is starting: what is forwarded is at revision {applied} of the table")
            }),
            None => of_table.lag.filter(|_| !running),
        };
        let of_table_itself = [not_live, lag, of_table.copy];
        status.survey(report.as_ref(), of_table_itself, of_table.wants_anything);
        if let Some(report) = report {
            status.report(report);
        }
        status.look_at_settings(&daemon::settings_path(name));
        match host::forward_hook_rules() {
            Ok(chains) => status.warnings.extend(chains.iter().map(|chain| {
                format!("packets between uplinks and ports bypass the forward hook, so this has no effect on them: {chain}")
            })),
            Err(error) => status.warnings.push(format!("forward-hook rules are unknown: {error}")),
        }
        Ok(status)
    }

    /// Says that it is a copy of that age, whether a daemon runs by now, and why it is unknown what
    /// is served now, if it is: what was not is so still.
    pub fn copied(&mut self, age: Duration, running: bool, unknown: Option<String>) {
        self.copied_seconds_ago = Some(age.as_secs());
        self.serving.ok &= unknown.is_none();
        self.serving.unknown = unknown;
        if !running {
            self.daemon = Daemon { running, pid: None };
            self.warnings.insert(0, NO_DAEMON.to_owned());
        }
    }

    /// Where private addresses are that several ENIs share.
    pub fn shared(&self) -> &[Holder] {
        &self.shared
    }

    /// What it warns of.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where the table is that it is about.
    pub fn table(&self) -> &str {
        &self.table.url
    }

    /// What the daemon said of its last sync.
    fn report(&mut self, report: Report) {
        self.warnings.extend(report.error);
        self.warnings.extend(report.warnings);
        if report.more_warnings > 0 {
            let more = format!(
                "{} more warnings; the daemon's log has them all",
                report.more_warnings
            );
            self.warnings.push(more);
        }
        self.uplinks = report.uplinks;
        self.ports = report.ports;
        self.name_servers = report.name_servers;
        self.conflicts = report.conflicts;
        self.shared = report.shared;
    }

    /// What is wanted and not served.
    fn survey(
        &mut self,
        report: Option<&Report>,
        of_table: [Option<String>; 3],
        wants_anything: bool,
    ) {
        let mut survey = Survey::default();
        for sentence in of_table.into_iter().flatten() {
            survey.add(|| sentence);
        }
        let name = &self.name;
        if !self.loaded && wants_anything {
            survey.add(|| {
                format!(
                    "ENIs are attached, and the data plane is not loaded; start the daemon with `eip-dp --name {name} run`"
                )
            });
        }
        if let Some(report) = report {
            if let Some(error) = &report.error {
                survey.add(|| error.clone());
            }
            survey.extend(&report.serving);
        }
        self.serving = Serving {
            ok: survey.is_good(),
            unknown: None,
            survey,
        };
    }

    /// What was changed on the host.
    fn look_at_settings(&mut self, file: &Path) {
        match host::changed_settings(file) {
            Ok(changed) => self.settings = changed.iter().map(ToString::to_string).collect(),
            Err(error) => {
                let warning = format!("changed settings are unknown: {}: {error}", file.display());
                self.warnings.push(warning);
            }
        }
    }

    fn print(&self) -> Result<(), Failure> {
        let daemon = match (self.daemon.running, self.daemon.pid) {
            (true, Some(pid)) => format!("running, process {pid}"),
            (true, None) => "running".to_owned(),
            (false, _) => "not running".to_owned(),
        };
        let revision = self
            .table
            .revision
            .map_or_else(|| "unknown".to_owned(), |revision| revision.to_string());
        let applied = match &self.applied {
            Some(applied) => format!("revision {}", applied.revision),
            None => "nothing is loaded".to_owned(),
        };
        let survey = &self.serving.survey;
        let mut fields = Vec::new();
        for sentence in &survey.unserved {
            fields.push(("serving", format!("no, {sentence}")));
        }
        if let Some(why) = &self.serving.unknown {
            fields.push(("serving", format!("unknown, {why}")));
        }
        match survey.more_unserved {
            0 if self.serving.ok => fields.push(("serving", "yes".to_owned())),
            0 => {}
            more => fields.push(("serving", format!("no, and {more} more"))),
        }
        if let Some(first) = survey.waiting_for.first() {
            let more = match survey.waiting - 1 {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            fields.push(("waiting", format!("{first}{more}")));
        }
        fields.extend([
            ("gateway", self.name.clone()),
            ("daemon", daemon),
            ("table", format!("{}, revision {revision}", self.table.url)),
            ("applied", applied),
        ]);
        if let Some(age) = self.copied_seconds_ago {
            fields.push((
                "read from",
                format!("the daemon's copy of this, {age} s old"),
            ));
        }
        if let Some(servers) = &self.name_servers {
            fields.push(("name servers", servers.to_string()));
        }
        for holder in &self.shared {
            let line = format!("{} of {} is at {holder}", holder.address, holder.vpc);
            fields.push(("shared", line));
        }
        output::fields(&fields)?;
        output::write(|out| {
            for uplink in &self.uplinks {
                let name = link_name(&uplink.interface, uplink.vlan);
                let name = output::in_line(&name);
                let link = link(uplink.link);
                let hops = next_hops(uplink);
                writeln!(out, "\nuplink {name}: {link}, {hops}")?;
                attached(out, uplink.attached.as_ref())?;
            }
            for port in &self.ports {
                let enis = match (port.enis.as_slice(), port.more_enis) {
                    ([], _) => "no ENI".to_owned(),
                    (enis, 0) => enis.join(", "),
                    (enis, more) => format!("{}, and {more} more", enis.join(", ")),
                };
                let name = link_name(&port.interface, port.vlan);
                let name = output::in_line(&name);
                let enis = output::in_line(&enis);
                writeln!(out, "\nport {name}: {}, {enis}", link(port.link))?;
                attached(out, port.attached.as_ref())?;
            }
            if !self.maps.is_empty() || !self.settings.is_empty() {
                writeln!(out)?;
            }
            for setting in &self.settings {
                writeln!(out, "set {setting}")?;
            }
            for fill in &self.maps {
                writeln!(
                    out,
                    "map {:<12} {:>8} of {:>8}",
                    fill.map, fill.used, fill.size
                )?;
            }
            for warning in &self.warnings {
                writeln!(out, "\nwarning: {}", output::in_line(warning))?;
            }
            Ok(())
        })
    }
}

fn next_hops(uplink: &UplinkReport) -> String {
    if let Some(layer3) = &uplink.layer3 {
        return layer3.to_string();
    }
    let hops = [
        (uplink.next_hop, &uplink.next_hop_mac),
        (uplink.next_hop6, &uplink.next_hop6_mac),
    ];
    let hops: Vec<String> = hops
        .into_iter()
        .filter_map(|(address, mac)| {
            let address = address?;
            Some(match mac {
                Some(mac) => format!("next hop {address} at {mac}"),
                None => format!("next hop {address}, not resolved"),
            })
        })
        .collect();
    if hops.is_empty() {
        "no next hop".to_owned()
    } else {
        hops.join(", ")
    }
}

fn link(state: LinkState) -> &'static str {
    match state {
        LinkState::Up => "up",
        LinkState::Down => "down",
        LinkState::Missing => "there is no such interface",
    }
}

fn attached(out: &mut dyn std::io::Write, attached: Option<&Attached>) -> std::io::Result<()> {
    let Some(attached) = attached else {
        return writeln!(out, "  not attached");
    };
    write!(out, "  attached: {}", attached.mode)?;
    match &attached.no_xdp {
        Some(why) => writeln!(out, " ({why})")?,
        None => writeln!(out)?,
    }
    write!(out, "  delivery: {}", attached.delivery)?;
    match &attached.no_xdp_delivery {
        Some(why) => writeln!(out, " ({why})"),
        None => writeln!(out),
    }
}

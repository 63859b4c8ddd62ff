//! What the daemon tells `status` besides what the maps say: a file beside its lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{answering::Conflict, run_folder::RUN_FOLDER};
use crate::{
    attach::{Attachment, Role},
    cli::Name,
    compile::{self, Way},
    config::Config,
    host::{self, Family, HostFacts, Uplinks},
    kernel::Pinned,
    model::{
        Model, Vlan,
        objects::{EniState, Mac},
    },
    private,
    requirements::has_tcx,
    shared::Holder,
    survey::{ReportContext, Survey},
};

/// What the daemon saw and did at its last sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The daemon's process.
    pub pid: u32,
    /// Whether it has not synced yet: the rest says nothing then but what it runs with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starting: bool,
    /// The network namespace that it is in, see [`host::namespace`].
    #[serde(default)]
    pub namespace: u64,
    /// The table's location.
    pub table: String,
    /// The configuration that it runs with.
    pub config: Config,
    /// The uplinks, in the configuration's order.
    pub uplinks: Vec<UplinkReport>,
    /// The ports that ENIs are attached to.
    pub ports: Vec<PortReport>,
    /// The name servers that guests are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_servers: Option<NameServers>,
    /// The EIPs that other hosts on the uplinks' links have, the first hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictReport>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_conflicts: usize,
    /// What is not served or not as one may think, and why.
    pub warnings: Vec<String>,
    /// Where the private addresses are that several ENIs share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<Holder>,
    /// How many more warnings there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_warnings: usize,
    /// What is wanted and not served.
    #[serde(default)]
    pub serving: Survey,
    /// Why the kernel does not have all that the table wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The name servers that guests are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameServers {
    /// Their addresses; each guest is told those of the families that it has.
    pub servers: Vec<IpAddr>,
    /// Who says so: `[dhcp] dns`, or a file of the host's. `None`: nobody says any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl NameServers {
    fn new(config: &Config, facts: &HostFacts) -> Self {
        let file = facts.resolver.file.as_ref();
        Self {
            servers: compile::name_servers(config, facts).to_vec(),
            source: match config.dhcp.dns {
                Some(_) => Some("[dhcp] dns".to_owned()),
                None => file.map(|file| file.display().to_string()),
            },
        }
    }
}

/// As `status` says it.
impl fmt::Display for NameServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(IpAddr::to_string).collect();
        match (&self.source, servers.is_empty()) {
            (Some(source), false) => write!(f, "{} ({source})", servers.join(", ")),
            (Some(source), true) => write!(f, "none ({source})"),
            (None, _) => f.write_str(
                "none: this host has none that guests could ask; give them by [dhcp] dns",
            ),
        }
    }
}

/// An EIP that another host has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictReport {
    /// The EIP.
    pub eip: String,
    /// Its address.
    pub address: IpAddr,
    /// The uplink on whose link the other host is.
    pub uplink: String,
    /// The Ethernet address that the other host says for it.
    pub mac: Mac,
}

impl fmt::Display for ConflictReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "eip {}: another host on uplink {} has {}, at {}: it is neither announced nor answered for there until that host \
             gives it up; if it is a router that answers for every address (proxy ARP), run `eip-dp eip set {} --announce \
             always`",
            self.eip, self.uplink, self.address, self.mac, self.eip
        )
    }
}

/// The EIPs that other hosts have, in the order of their ids.
pub fn conflicts(
    model: &Model,
    found: &BTreeMap<IpAddr, Conflict>,
) -> (Vec<ConflictReport>, usize) {
    if found.is_empty() {
        return (Vec::new(), 0);
    }
    let mut all = model.eips.values().filter_map(|eip| {
        let conflict = found.get(&eip.address)?;
        Some(ConflictReport {
            eip: eip.id.clone(),
            address: eip.address,
            uplink: conflict.uplink.clone(),
            mac: conflict.mac,
        })
    });
    let named = all.by_ref().take(NAMED).collect();
    (named, all.count())
}

/// An uplink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UplinkReport {
    /// Its name.
    pub interface: String,
    /// The VLAN on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// Whether it is there and has a link.
    pub link: LinkState,
    /// How it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<Attached>,
    /// The router behind it for IPv4, which may have an IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<IpAddr>,
    /// That router's Ethernet address, once it is resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_mac: Option<String>,
    /// The IPv6 router behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop6: Option<IpAddr>,
    /// That router's Ethernet address, once it is resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop6_mac: Option<String>,
    /// Of an uplink whose packets have no Ethernet header: what it is, and which packets are sent
    /// there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer3: Option<Layer3Report>,
    /// The networks on its link, without link-local ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
}

/// What there is to tell about an uplink without Ethernet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer3Report {
    /// The kernel's word for it: `wireguard`, `gre`, `tun`.
    pub kind: String,
    /// Whether IPv4 packets are sent to its other end.
    pub ipv4: bool,
    /// Whether IPv6 packets are.
    pub ipv6: bool,
}

impl Layer3Report {
    fn new(facts: &HostFacts, way: &Way<'_>) -> Option<Self> {
        way.is_layer3().then(|| Self {
            kind: way.link.kind.to_string(),
            ipv4: compile::leads_on(facts, way, Family::V4),
            ipv6: compile::leads_on(facts, way, Family::V6),
        })
    }
}

/// As `status` says it.
impl fmt::Display for Layer3Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.ipv4, self.ipv6) {
            (true, true) => "IPv4 and IPv6 are sent",
            (true, false) => "IPv4 is sent",
            (false, true) => "IPv6 is sent",
            (false, false) => "nothing is sent",
        };
        write!(
            f,
            "without Ethernet ({}), {what} to its other end",
            self.kind
        )
    }
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortReport {
    /// Its name.
    pub interface: String,
    /// The VLAN on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// The ENIs behind it, the first hundred; none on a port that they have left.
    pub enis: Vec<String>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_enis: usize,
    /// Whether it is there and has a link.
    pub link: LinkState,
    /// How it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<Attached>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde's skip_serializing_if asks for"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// So many ENIs of a port are named, and so many EIPs that others have.
const NAMED: usize = 100;
/// So many warnings are written: a table may give cause for a million.
const WARNINGS: usize = 200;

/// The state of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It can carry packets.
    Up,
    /// It is there, but down or without a carrier.
    Down,
    /// There is no interface of that name.
    Missing,
}

/// The programs on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// `xdp+tcx`, `tcx`, `xdp`, or `none`; `clsact` in place of `tcx` before Linux 6.6.
    pub mode: String,
    /// Why XDP is not part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_xdp: Option<String>,
    /// How packets are delivered to it: `xdp` or `tcx`.
    pub delivery: String,
    /// Why that is not XDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_xdp_delivery: Option<String>,
}

impl Report {
    /// What there is to tell about a sync.
    #[allow(
        clippy::too_many_lines,
        reason = "what there is to tell, one after the other"
    )]
    pub fn new(table: &str, scene: &ReportContext<'_>, attachments: &[Attachment]) -> Self {
        let ReportContext {
            model,
            facts,
            config,
            warnings,
            failures,
            ..
        } = *scene;
        let by_place: HashMap<(Role, u32), &Attachment> = attachments
            .iter()
            .map(|one| ((one.role, one.ifindex), one))
            .collect();
        // Looked up once for each name, of which there may be two of one interface.
        let indexes = facts.indexes_by_name();
        let attached = |role: Role, interface: &str| {
            let found = by_place.get(&(role, *indexes.get(interface)?));
            found.map(|attachment| Attached::new(attachment, failures))
        };
        let uplinks = config
            .uplinks
            .iter()
            .map(|uplink| {
                let way = Way::find(uplink, facts);
                let hop = |family| compile::next_hop(facts, &way?, family);
                let mac = |family| {
                    let mac = compile::next_hop_mac(facts, &way?, hop(family)?)?;
                    Some(Mac(mac).to_string())
                };
                UplinkReport {
                    interface: uplink.interface.clone(),
                    vlan: uplink.vlan,
                    link: LinkState::of(facts, &uplink.interface),
                    attached: attached(Role::Uplink, &uplink.interface),
                    next_hop: hop(Family::V4).map(|(_, address)| address),
                    next_hop_mac: mac(Family::V4),
                    next_hop6: hop(Family::V6).map(|(_, address)| address),
                    next_hop6_mac: mac(Family::V6),
                    layer3: way.and_then(|way| Layer3Report::new(facts, &way)),
                    networks: way
                        .map(|way| compile::networks(facts, &way).into_iter().collect())
                        .unwrap_or_default(),
                }
            })
            .collect();
        let mut enis: BTreeMap<_, (Vec<String>, usize)> = BTreeMap::new();
        for eni in model
            .enis
            .values()
            .filter(|eni| eni.state != EniState::Detached)
        {
            if let Some(port) = eni.port.as_deref() {
                let place = (port, eni.vlan);
                let (named, more) = enis.entry(place).or_default();
                if named.len() < NAMED {
                    named.push(eni.id.clone());
                } else {
                    *more += 1;
                }
            }
        }
        // Ports that all ENIs have left, but not their guests perhaps.
        let used: BTreeSet<u32> = enis
            .keys()
            .filter_map(|(port, _)| indexes.get(port).copied())
            .collect();
        for ((role, ifindex), attachment) in &by_place {
            if *role == Role::Port && !used.contains(ifindex) {
                enis.insert((&attachment.interface, None), Default::default());
            }
        }
        let ports = enis
            .into_iter()
            .map(|((port, vlan), (enis, more_enis))| PortReport {
                interface: port.to_owned(),
                vlan,
                enis,
                more_enis,
                link: LinkState::of(facts, port),
                attached: attached(Role::Port, port),
            })
            .collect();
        Self {
            pid: std::process::id(),
            starting: false,
            namespace: host::namespace(),
            table: table.to_owned(),
            config: config.clone(),
            uplinks,
            ports,
            conflicts: Vec::new(),
            more_conflicts: 0,
            name_servers: Some(NameServers::new(config, facts)),
            shared: Vec::new(),
            more_warnings: (warnings.len() + failures.len()).saturating_sub(WARNINGS),
            warnings: failures
                .values()
                .chain(warnings)
                .take(WARNINGS)
                .cloned()
                .collect(),
            serving: Survey::of(scene),
            error: None,
        }
    }

    /// Where the report of the gateway is.
    pub fn path(name: &Name) -> PathBuf {
        Path::new(RUN_FOLDER).join(format!("{name}.status.json"))
    }

    /// The uplinks of every gateway in this network namespace that has left a report.
    pub fn uplinks_of_all() -> Uplinks {
        let files = fs::read_dir(RUN_FOLDER).into_iter().flatten().flatten();
        let files = files.map(|entry| entry.path());
        files
            .filter(|path| path.to_string_lossy().ends_with(".status.json"))
            .filter_map(|path| Self::read(&path))
            .filter(|report| report.namespace == host::namespace())
            .flat_map(|report| report.config.own_uplinks())
            .collect()
    }

    /// Writes it, in one step.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        private::write(path, &serde_json::to_vec_pretty(self)?)
    }

    /// Reads the last one; `None` if there is none that this version understands.
    pub fn read(path: &Path) -> Option<Self> {
        Self::parse(&private::read(path).ok()?)
    }

    /// Reads such a file's content.
    pub fn parse(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok()
    }
}

impl LinkState {
    fn of(facts: &HostFacts, interface: &str) -> Self {
        match facts.link_named(interface) {
            None => Self::Missing,
            Some((_, link)) if link.up => Self::Up,
            Some(_) => Self::Down,
        }
    }
}

impl Attached {
    fn new(attachment: &Attachment, failures: &BTreeMap<Pinned, String>) -> Self {
        let failure = |xdp: bool| {
            failures
                .iter()
                .find(|(pin, _)| pin.ifindex == attachment.ifindex && pin.program.is_xdp() == xdp)
                .map(|(_, failure)| failure.clone())
        };
        let no_xdp = attachment.no_xdp.clone().or_else(|| failure(true));
        let mode = match (no_xdp.is_none(), failure(false).is_none()) {
            (true, true) if has_tcx() => "xdp+tcx",
            (true, true) => "xdp+clsact",
            (true, false) => "xdp",
            (false, true) if has_tcx() => "tcx",
            (false, true) => "clsact",
            (false, false) => "none",
        };
        Self {
            mode: mode.to_owned(),
            no_xdp,
            delivery: if attachment.xdp_delivery {
                "xdp"
            } else {
                "tcx"
            }
            .to_owned(),
            no_xdp_delivery: attachment.no_xdp_delivery.clone(),
        }
    }
}

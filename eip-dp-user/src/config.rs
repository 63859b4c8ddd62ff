//! The daemon's configuration: `/etc/eip-dp/config.toml`.
//!
//! What is not built yet is refused, and an unknown key is an error that names the key and the line.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::{host::Family, model::is_interface_name};

/// Where the configuration is, unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/eip-dp/config.toml";

/// The configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The interfaces towards the Internet, in the operator's order. Never empty.
    pub uplinks: Vec<Uplink>,
    /// The region that this gateway serves; objects of another region are left out. `None`: all.
    pub region: Option<String>,
    /// The table's URL, unless the command line gives one.
    pub table: Option<String>,
    /// How packets are delivered to ports that nothing is said about.
    pub delivery: Delivery,
    /// Ports with a delivery of their own.
    pub ports: Vec<Port>,
    /// What guests are given besides the address.
    pub dhcp: Dhcp,
    /// How large the maps are.
    pub maps: MapSizes,
}

/// An interface towards the Internet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uplink {
    /// Its name.
    pub interface: String,
    /// The 802.1Q VLAN on it; 0 is none.
    pub vlan: u16,
    /// The router to send to. None: what the host's routes say.
    pub next_hop: PerFamily,
    /// Who sends ICMP errors. None: the uplink's own address, else the gateway of a pool.
    pub icmp_source: PerFamily,
    /// Whether ARP requests and neighbour solicitations for associated EIPs are answered, and moved EIPs announced. On by
    /// default: a pool that is on-link needs it, and for a routed pool nobody on the link asks.
    pub answer_arp: bool,
}

/// An address of each family, or of one, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerFamily {
    /// That of IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v4: Option<Ipv4Addr>,
    /// That of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<Ipv6Addr>,
}

impl PerFamily {
    /// That of one family.
    pub fn of(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }
}

/// A port with settings of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The interface's name.
    pub interface: String,
    /// How packets are delivered to it.
    pub delivery: Delivery,
}

/// How packets from the uplink reach a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// By tc to veth and tap (their peers are local stacks), by XDP to other interfaces that can take XDP frames.
    #[default]
    Auto,
    /// By XDP while the interface can take XDP frames; else by tc, and `status` says so.
    Xdp,
    /// By tc.
    Tcx,
}

/// The `[dhcp]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dhcp {
    /// Name servers handed out, each to guests with an address of its family.
    pub dns: Vec<IpAddr>,
    /// How long a lease is.
    pub lease: Duration,
}

/// The `[maps]` section: how many of each thing the kernel's maps have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MapSizes {
    /// EIPs of both families together.
    pub eips: u32,
    /// Private addresses of all ENIs, and the EIPs in cut-through mode, of each family.
    pub private_addresses: u32,
    /// VPCs.
    pub vpcs: u32,
    /// Ports and uplinks.
    pub ports: u32,
    /// ENIs on ports.
    pub enis: u32,
}

impl Default for MapSizes {
    fn default() -> Self {
        Self {
            eips: 65_536,
            private_addresses: 131_072,
            vpcs: 1_024,
            ports: 4_096,
            enis: 65_536,
        }
    }
}

impl Default for Dhcp {
    fn default() -> Self {
        Self {
            dns: Vec::new(),
            lease: Duration::from_hours(1),
        }
    }
}

/// Why there is no configuration. Every message names the place, the value and the cure.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The file is no TOML, or has a key or a value that it may not have.
    #[error("configuration {place}: {message}")]
    Invalid {
        /// The file, and the line where it is known.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// Nothing says which interface leads to the Internet.
    #[error(
        "no uplink: name the interface that leads to the Internet with `--uplink IF`, or in {path} with\n\
         [[uplink]]\ninterface = \"IF\"",
        path = path.display()
    )]
    NoUplink {
        /// The file that was read, or would have been.
        path: PathBuf,
    },
}

impl Config {
    /// Reads the configuration. `uplinks` are interfaces named on the command line; each one that the file does
    /// not describe becomes an uplink with the defaults. Without `path` the default file is read if it is there.
    pub fn load(path: Option<&Path>, uplinks: &[String]) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            Err(error) => {
                return Err(ConfigError::Unreadable {
                    path: file.to_owned(),
                    error,
                });
            }
        };
        Self::parse(&text, file, uplinks)
    }

    /// Reads the configuration from `text`; `file` is where it came from, for messages.
    pub fn parse(text: &str, file: &Path, uplinks: &[String]) -> Result<Self, ConfigError> {
        let source = Source { text, file };
        let raw: Raw =
            toml::from_str(text).map_err(|error| source.invalid(error.span(), error.message()))?;
        let config = raw.check(&source, uplinks)?;
        if config.uplinks.is_empty() {
            return Err(ConfigError::NoUplink {
                path: file.to_owned(),
            });
        }
        Ok(config)
    }

    /// How packets are delivered to the port `interface`.
    pub fn delivery(&self, interface: &str) -> Delivery {
        self.ports
            .iter()
            .find(|port| port.interface == interface)
            .map_or(self.delivery, |port| port.delivery)
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    uplink: Vec<RawUplink>,
    gateway: RawGateway,
    table: RawTable,
    ports: RawPorts,
    port: Vec<Spanned<Port>>,
    dhcp: RawDhcp,
    maps: Option<Spanned<MapSizes>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUplink {
    interface: Spanned<String>,
    vlan: Option<Spanned<u16>>,
    next_hop: Option<Spanned<Addresses>>,
    answer_arp: Option<bool>,
    icmp_source: Option<Spanned<Addresses>>,
}

/// An address, or a list of one for each family.
#[derive(Deserialize)]
#[serde(from = "OneOrMore")]
struct Addresses(Vec<IpAddr>);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "invalid address: give one, or a list of one for each family"
)]
enum OneOrMore {
    One(IpAddr),
    More(Vec<IpAddr>),
}

impl From<OneOrMore> for Addresses {
    fn from(one_or_more: OneOrMore) -> Self {
        Self(match one_or_more {
            OneOrMore::One(address) => vec![address],
            OneOrMore::More(addresses) => addresses,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawGateway {
    region: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTable {
    url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPorts {
    delivery: Delivery,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDhcp {
    dns: Vec<Spanned<IpAddr>>,
    lease: Option<Spanned<u32>>,
}

/// Where the text came from, for messages.
struct Source<'a> {
    text: &'a str,
    file: &'a Path,
}

impl Source<'_> {
    fn invalid(
        &self,
        span: Option<std::ops::Range<usize>>,
        message: impl Into<String>,
    ) -> ConfigError {
        let file = self.file.display();
        let place = match span.and_then(|span| self.text.get(..span.start)) {
            Some(before) => format!("{file}, line {}", before.matches('\n').count() + 1),
            None => file.to_string(),
        };
        ConfigError::Invalid {
            place,
            message: message.into(),
        }
    }

    /// Checks addresses of routers or hosts, one for each family at most.
    fn per_family(
        &self,
        key: &str,
        addresses: Option<&Spanned<Addresses>>,
    ) -> Result<PerFamily, ConfigError> {
        let mut per_family = PerFamily::default();
        let Some(addresses) = addresses else {
            return Ok(per_family);
        };
        let invalid = |message: String| self.invalid(Some(addresses.span()), message);
        for address in &addresses.get_ref().0 {
            if !is_host(*address) {
                return Err(invalid(not_a_host(key, *address)));
            }
            let twice = match address {
                IpAddr::V4(v4) => per_family.v4.replace(*v4).is_some(),
                IpAddr::V6(v6) => per_family.v6.replace(*v6).is_some(),
            };
            if twice {
                return Err(invalid(format!(
                    "`{key}`: {address} is the second {} address; give one of each family",
                    Family::of(*address)
                )));
            }
        }
        Ok(per_family)
    }

    /// Checks the number of a VLAN; 0 stands for none.
    fn vlan(&self, vlan: Option<&Spanned<u16>>) -> Result<u16, ConfigError> {
        match vlan.map(|vlan| (*vlan.get_ref(), vlan.span())) {
            None => Ok(0),
            Some((vlan @ 1..=4094, _)) => Ok(vlan),
            Some((vlan, span)) => Err(self.invalid(
                Some(span),
                format!("`vlan`: {vlan} is not between 1 and 4094; leave the key out for none"),
            )),
        }
    }

    /// Checks the name of an interface.
    fn interface(&self, name: &Spanned<String>) -> Result<String, ConfigError> {
        let text = name.get_ref();
        if is_interface_name(text) {
            return Ok(text.clone());
        }
        Err(self.invalid(
            Some(name.span()),
            format!(
                "`interface`: {text:?} is no interface name: 1 to 15 characters, no blanks, no `/`"
            ),
        ))
    }
}

/// Whether packets can be sent to the address of one host.
fn is_host(address: IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn not_a_host(key: &str, address: IpAddr) -> String {
    format!("`{key}`: {address} is not the address of a host; give a unicast address")
}

impl Raw {
    fn check(self, source: &Source<'_>, named: &[String]) -> Result<Config, ConfigError> {
        let (mut seen, mut places) = (BTreeSet::new(), BTreeSet::new());
        let mut uplinks = Vec::new();
        for raw in &self.uplink {
            let interface = source.interface(&raw.interface)?;
            let vlan = source.vlan(raw.vlan.as_ref())?;
            seen.insert(interface.clone());
            if !places.insert((interface.clone(), vlan)) {
                return Err(source.invalid(
                    Some(raw.interface.span()),
                    format!(
                        "a second [[uplink]] with `interface = \"{interface}\"` and the same VLAN, or none; keep one"
                    ),
                ));
            }
            uplinks.push(Uplink {
                next_hop: source.per_family("next_hop", raw.next_hop.as_ref())?,
                icmp_source: source.per_family("icmp_source", raw.icmp_source.as_ref())?,
                answer_arp: raw.answer_arp.unwrap_or(true),
                interface,
                vlan,
            });
        }
        for interface in named {
            if !is_interface_name(interface) {
                return Err(ConfigError::Invalid {
                    place: "option --uplink".to_owned(),
                    message: format!(
                        "{interface:?} is no interface name: 1 to 15 characters, no blanks, no `/`"
                    ),
                });
            }
            if seen.insert(interface.clone()) {
                uplinks.push(Uplink::new(interface));
            }
        }
        let mut ports = Vec::new();
        for port in self.port {
            let (span, port) = (port.span(), port.into_inner());
            if !seen.insert(port.interface.clone()) {
                return Err(source.invalid(
                    Some(span),
                    format!(
                        "[[port]] {}: an uplink, or a second [[port]], has that interface; keep one",
                        port.interface
                    ),
                ));
            }
            ports.push(port);
        }
        Ok(Config {
            uplinks,
            region: self.gateway.region,
            table: self.table.url,
            delivery: self.ports.delivery,
            ports,
            dhcp: self.dhcp.check(source)?,
            maps: self.maps.map_or_else(
                || Ok(MapSizes::default()),
                |maps| check_sizes(&maps, source),
            )?,
        })
    }
}

impl Uplink {
    /// An uplink with the defaults, as `--uplink` gives it.
    pub fn new(interface: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            vlan: 0,
            next_hop: PerFamily::default(),
            icmp_source: PerFamily::default(),
            answer_arp: true,
        }
    }
}

impl RawDhcp {
    fn check(self, source: &Source<'_>) -> Result<Dhcp, ConfigError> {
        let dns = self
            .dns
            .iter()
            .map(|address| match *address.get_ref() {
                host if is_host(host) => Ok(host),
                other => Err(source.invalid(Some(address.span()), not_a_host("dns", other))),
            })
            .collect::<Result<_, _>>()?;
        let lease = match self.lease {
            None => Dhcp::default().lease,
            // A shorter lease keeps every guest renewing all the time.
            Some(lease) if *lease.get_ref() < 60 => {
                return Err(source.invalid(
                    Some(lease.span()),
                    format!(
                        "`lease`: {} seconds is too short; give 60 or more",
                        lease.get_ref()
                    ),
                ));
            }
            Some(lease) => Duration::from_secs(u64::from(*lease.get_ref())),
        };
        Ok(Dhcp { dns, lease })
    }
}

/// The largest map that is asked of the kernel; far above what a gateway's memory holds.
const MAX_ENTRIES: u32 = 1 << 26;

fn check_sizes(maps: &Spanned<MapSizes>, source: &Source<'_>) -> Result<MapSizes, ConfigError> {
    let sizes = *maps.get_ref();
    for (key, value) in sizes.by_key() {
        if !(1..=MAX_ENTRIES).contains(&value) {
            return Err(source.invalid(
                Some(maps.span()),
                format!("`{key}` of [maps]: {value} is not between 1 and {MAX_ENTRIES}"),
            ));
        }
    }
    Ok(sizes)
}

impl MapSizes {
    /// The sizes with their keys in the file.
    pub fn by_key(&self) -> [(&'static str, u32); 5] {
        [
            ("eips", self.eips),
            ("private_addresses", self.private_addresses),
            ("vpcs", self.vpcs),
            ("ports", self.ports),
            ("enis", self.enis),
        ]
    }
}

#[cfg(test)]
mod tests;

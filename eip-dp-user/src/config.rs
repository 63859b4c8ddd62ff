//! The daemon's configuration: `/etc/eip-dp/config.toml`.
//!
//! An unknown key is an error that names the key and the line.

mod file;
mod names;
mod read;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    host::{Family, Uplinks},
    model::{Vlan, objects::Mac},
};
use file::{Raw, Source};
pub use names::{DomainName, NotADomain};

/// Where the configuration is, unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/eip-dp/config.toml";

/// The configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The interfaces towards the Internet, in the operator's order. Never empty.
    pub uplinks: Vec<Uplink>,
    /// The group whose members may read copies of the table and of what the gateway says of itself.
    /// `None`: root alone reads anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The region that this gateway serves; objects of another region are left out. `None`: all.
    pub region: Option<String>,
    /// The table's URL, unless the command line gives one.
    pub table: Option<String>,
    /// How packets are delivered to ports that nothing is said about.
    pub delivery: Delivery,
    /// Whether guests on those ports complete the checksums of what they send, see
    /// [`PortMode::complete_checksums`].
    #[serde(default)]
    pub complete_checksums: bool,
    /// Ports with a mode of their own.
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
    /// The VLAN on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// The router to send to. None: what the host's routes say.
    pub next_hop: PerFamily,
    /// The router to send IPv4 to, where that has an IPv6 address (RFC 8950).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop4: Option<IpAddr>,
    /// Its Ethernet address, in both families. None: the one that the kernel's neighbour table has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_mac: Option<Mac>,
    /// Who sends ICMP errors. None: the uplink's own address, else the gateway of a pool.
    pub icmp_source: PerFamily,
    /// Whether ARP requests and neighbour solicitations for associated EIPs are answered, and moved
    /// EIPs announced. On by default: a pool that is on-link needs it, and for a routed pool nobody
    /// on the link asks.
    pub answer_arp: bool,
    /// Whether packets with a source of RFC 1918, RFC 6598 or RFC 4193 are dropped. Off by default:
    /// the EIPs of a private cloud are such addresses.
    #[serde(default)]
    pub drop_private_sources: bool,
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
    #[serde(default)]
    pub delivery: Delivery,
    /// See [`PortMode::complete_checksums`].
    #[serde(default)]
    pub complete_checksums: bool,
}

/// How packets go to and from a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortMode {
    /// To it.
    pub delivery: Delivery,
    /// Whether guests there complete the checksums of what they send (`ethtool -K eth0 tx off` in
    /// the guest), and send no packet that is still to be segmented. Of a veth or tap only then XDP
    /// takes frames: it cannot see that a checksum is not complete.
    pub complete_checksums: bool,
}

/// How packets from the uplink reach a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// By tc to veth and tap (their peers are local stacks), by XDP to other interfaces that can
    /// take XDP frames.
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
    /// Name servers handed out, each to guests with an address of its family. `None`: those of the
    /// host.
    #[serde(default)]
    pub dns: Option<Vec<IpAddr>>,
    /// How long a lease is.
    pub lease: Duration,
    /// The domain that guests are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainName>,
    /// The domains that guests look for a name in, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<DomainName>,
    /// Time servers, each for guests with an address of its family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ntp: Vec<IpAddr>,
    /// The server that a guest boots from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_server: Option<Ipv4Addr>,
    /// The file there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_file: Option<String>,
}

/// The `[maps]` section: how many of each thing the kernel's maps have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MapSizes {
    /// EIPs of both families together.
    pub eips: u32,
    /// How many of them may be IPv6 addresses; by default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eips6: Option<u32>,
    /// IPv4 addresses of all ENIs, and the EIPs in cut-through mode.
    pub private_addresses: u32,
    /// The same of IPv6; by default as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_addresses6: Option<u32>,
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
            eips6: None,
            private_addresses: 131_072,
            private_addresses6: None,
            vpcs: 1_024,
            ports: 4_096,
            enis: 65_536,
        }
    }
}

impl Default for Dhcp {
    fn default() -> Self {
        Self {
            dns: None,
            lease: Duration::from_hours(1),
            domain: None,
            search: Vec::new(),
            ntp: Vec::new(),
            next_server: None,
            boot_file: None,
        }
    }
}

/// Why there is no configuration. Every message names the place, the value and the cure.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration {path}: {error}; name another with `--config`, or have it readable for who runs this",
        path = path.display()
    )]
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

/// The table that the configuration's file names, whatever else is right or wrong in it; `None`
/// where it names none, or is not there.
pub fn table_of(file: &Path) -> Result<Option<String>, ConfigError> {
    let text = match read::text(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(ConfigError::Unreadable {
                path: file.to_owned(),
                error,
            });
        }
    };
    file::table_of(&Source { text: &text, file })
}

impl Config {
    /// The interfaces that are uplinks, each with the VLAN on it: they are the host's own.
    pub fn own_uplinks(&self) -> Uplinks {
        let uplinks = self.uplinks.iter();
        uplinks
            .map(|uplink| (uplink.interface.clone(), uplink.vlan))
            .collect()
    }

    /// Reads the configuration. `uplinks` are interfaces named on the command line; each one that
    /// the file does not describe becomes an uplink with the defaults. Without `path` the default
    /// file is read if it is there.
    pub fn load(path: Option<&Path>, uplinks: &[String]) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        let text = match read::text(file) {
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
        let raw: Raw = toml::from_str(text).map_err(|error| source.malformed(&error))?;
        let config = raw.check(&source, uplinks)?;
        if config.uplinks.is_empty() {
            return Err(ConfigError::NoUplink {
                path: file.to_owned(),
            });
        }
        Ok(config)
    }

    /// Whether packets are to be delivered by XDP to some port, whatever it is.
    pub fn asks_for_xdp(&self) -> bool {
        let mut ports = self.ports.iter();
        self.delivery == Delivery::Xdp || ports.any(|port| port.delivery == Delivery::Xdp)
    }

    /// How packets go to and from the port that `is_it` knows by its name.
    pub fn port_mode(&self, is_it: impl Fn(&str) -> bool) -> PortMode {
        let of_all = PortMode {
            delivery: self.delivery,
            complete_checksums: self.complete_checksums,
        };
        self.ports
            .iter()
            .find(|port| is_it(&port.interface))
            .map_or(of_all, |port| PortMode {
                delivery: port.delivery,
                complete_checksums: port.complete_checksums,
            })
    }
}

impl Uplink {
    /// An uplink with the defaults, as `--uplink` gives it.
    pub fn new(interface: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            vlan: None,
            next_hop: PerFamily::default(),
            next_hop4: None,
            next_hop_mac: None,
            icmp_source: PerFamily::default(),
            answer_arp: true,
            drop_private_sources: false,
        }
    }

    /// The configured router for a family. That of IPv4 may have an IPv6 address.
    pub fn next_hop_of(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.next_hop4.or(self.next_hop.of(family)),
            Family::V6 => self.next_hop.of(family),
        }
    }
}

impl MapSizes {
    /// How many EIPs may be IPv6 addresses.
    pub fn eips6(&self) -> u32 {
        self.eips6.unwrap_or(self.eips)
    }

    /// How many IPv6 addresses ENIs may have.
    pub fn private_addresses6(&self) -> u32 {
        self.private_addresses6.unwrap_or(self.private_addresses)
    }

    /// The sizes with their keys in the file.
    pub fn by_key(&self) -> [(&'static str, u32); 7] {
        [
            ("eips", self.eips),
            ("eips6", self.eips6()),
            ("private_addresses", self.private_addresses),
            ("private_addresses6", self.private_addresses6()),
            ("vpcs", self.vpcs),
            ("ports", self.ports),
            ("enis", self.enis),
        ]
    }
}

#[cfg(test)]
mod tests;

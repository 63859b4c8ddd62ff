//! The table of cases, as `generate.py` writes it.

use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf, str::FromStr};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Deserializer, de::Error as _};

/// The world and what happens in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Interfaces and records.
    pub world: World,
    /// Every case, by unique name.
    pub cases: Vec<Case>,
}

/// A packet and what becomes of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The id of the specification that it proves, and words.
    pub name: String,
    /// The interface that the packet comes in on.
    pub interface: String,
    /// The frame.
    #[serde(rename = "in")]
    pub input: Frame,
    /// What becomes of it.
    pub expect: Expect,
    /// Set where the XDP program leaves it to the tc program.
    pub xdp: Option<SlowPath>,
    /// What is added to which EIP's counters.
    pub counters: BTreeMap<IpAddr, Change>,
    /// Likewise where there is no uplink to send to; if it is not what follows from those.
    pub lost: Option<BTreeMap<IpAddr, Change>>,
    /// The names of what else is counted.
    #[serde(default)]
    pub events: Vec<String>,
}

/// To the tc program of the same interface.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SlowPath {
    /// Untouched.
    Pass,
    /// Likewise, before it is looked at where the packet goes.
    Early,
}

/// What becomes of a packet.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "verdict", rename_all = "lowercase", deny_unknown_fields)]
pub enum Expect {
    /// Sent out of an interface.
    Deliver {
        /// The interface.
        to: String,
        /// The frame.
        out: Frame,
    },
    /// Sent back out of its own interface.
    Reply {
        /// The frame.
        out: Frame,
    },
    /// Not delivered.
    Drop {
        /// The reason's name.
        reason: String,
        /// Where it would have gone, for a reason that is found last.
        to: Option<String>,
    },
    /// Not delivered, and answered out of its own interface.
    Refuse {
        /// The reason's name.
        reason: String,
        /// The answer.
        out: Frame,
        /// Where it would have gone, for a reason that is found last.
        to: Option<String>,
    },
    /// Sent out of an interface to the neighbour there that has the destination, by the kernel's
    /// neighbour table.
    Neighbour {
        /// The interface.
        to: String,
        /// The frame, but for its Ethernet addresses.
        out: Frame,
    },
    /// Cut into fragments that come in again where it came in.
    Fragment {
        /// The interface that they leave by in the end.
        to: String,
        /// The frame of the last fragment as it comes in again.
        out: Frame,
        /// The frames that leave in the end.
        sent: Vec<Frame>,
        /// Whether to the neighbour there that has the destination, by the kernel's neighbour
        /// table.
        neighbour: bool,
    },
    /// Put into the map of guests' requests.
    Daemon,
    /// Left to the kernel, untouched.
    Pass,
}

impl Expect {
    /// Whether the kernel has to find a neighbour on the uplink's link for it.
    pub fn is_for_neighbour(&self) -> bool {
        matches!(
            self,
            Self::Neighbour { .. }
                | Self::Fragment {
                    neighbour: true,
                    ..
                }
        )
    }

    /// Whether the gateway does no more than so much of it for anybody.
    pub fn is_limited(&self) -> bool {
        matches!(
            self,
            Self::Refuse { .. } | Self::Daemon | Self::Neighbour { .. }
        )
    }

    /// Where the packet goes, or would have gone.
    pub fn way(&self) -> Option<&str> {
        match self {
            Self::Deliver { to, .. } | Self::Neighbour { to, .. } | Self::Fragment { to, .. } => {
                Some(to)
            }
            Self::Drop { to, .. } | Self::Refuse { to, .. } => to.as_deref(),
            Self::Reply { .. } | Self::Daemon | Self::Pass => None,
        }
    }
}

/// What is added to an EIP's counters.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of `EipCounters`")]
pub struct Change {
    pub in_packets: u64,
    pub in_bytes: u64,
    pub in_dropped: u64,
    pub out_packets: u64,
    pub out_bytes: u64,
    pub out_dropped: u64,
}

/// The bytes of a frame; hexadecimal in the table.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.as_bytes()
            .chunks(2)
            .map(|pair| {
                std::str::from_utf8(pair)
                    .ok()
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            })
            .collect::<Option<Vec<u8>>>()
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not hexadecimal")))
    }
}

/// An Ethernet address; colons between the bytes in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts
                .next()
                .with_context(|| format!("{text:?} is too short"))?;
            *byte = u8::from_str_radix(part, 16)?;
        }
        ensure!(parts.next().is_none(), "{text:?} is too long");
        Ok(Self(mac))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&bytes.join(":"))
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Interfaces and records of the world.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is the list of what it names")]
pub struct World {
    pub family: u8,
    pub interfaces: Vec<Interface>,
    pub uplinks: Vec<Uplink>,
    pub way_out: WayOut,
    pub vpcs: Vec<Vpc>,
    pub ports: Vec<Port>,
    pub host_links: Vec<HostLink>,
    pub enis: Vec<Eni>,
    pub addresses: Vec<Address>,
    pub eips: Vec<Eip>,
    pub prefixes: Vec<Prefix>,
}

/// An interface to create.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct Interface {
    pub name: String,
    pub mac: Mac,
}

/// A record of `UPLINKS`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the record")]
pub struct Uplink {
    pub interface: String,
    pub outer: u16,
    pub vlan: u16,
    pub next_hop: Option<IpAddr>,
    pub icmp_source: Option<IpAddr>,
    pub answer_arp: bool,
    pub drop_private_sources: bool,
}

/// Where packets to the Internet go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the target's record")]
pub struct WayOut {
    pub interface: String,
    pub mac: Mac,
    pub mtu: u32,
}

/// A VPC.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the record")]
pub struct Vpc {
    pub index: u32,
    pub cidrs: Vec<Cidr>,
}

/// A CIDR of a VPC.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the record")]
pub struct Cidr {
    pub network: IpAddr,
    pub mask: IpAddr,
    pub gateway: IpAddr,
}

/// A record of `PORTS`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the record")]
pub struct Port {
    pub name: String,
    pub interface: String,
    pub outer: u16,
    pub vlan: u16,
    pub vpc: u32,
}

/// A record of `PORTS` of what is the host's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the record")]
pub struct HostLink {
    pub interface: String,
    pub outer: u16,
    pub vlan: u16,
    /// Every VLAN that has no record of its own.
    pub any_vlan: bool,
}

/// A target and a record of `MACS`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the records")]
pub struct Eni {
    pub target: u32,
    pub instance: String,
    pub port: String,
    pub mac: Mac,
    pub mtu: u32,
    pub antispoof_eni: bool,
}

/// A record of `PRIVATE4` or `PRIVATE6`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the record")]
pub struct Address {
    pub vpc: u32,
    pub address: IpAddr,
    pub target: Option<u32>,
    pub state: String,
    pub public: Option<IpAddr>,
}

/// A record of `EIP4` or `EIP6`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the record")]
pub struct Eip {
    pub address: IpAddr,
    pub slot: u32,
    pub mode: String,
    pub private: IpAddr,
    pub target: Option<u32>,
    pub vpc: Option<u32>,
}

/// A record of `PREFIX4` or `PREFIX6`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the record")]
pub struct Prefix {
    pub prefix: String,
    pub class: String,
    pub gateway: Option<IpAddr>,
    /// The interface whose neighbours these are.
    pub interface: Option<String>,
    pub mtu: u32,
}

impl Prefix {
    /// Network and length.
    pub fn parts(&self) -> Result<(IpAddr, u32)> {
        let Some((network, length)) = self.prefix.split_once('/') else {
            bail!("{:?} is no prefix", self.prefix);
        };
        Ok((network.parse()?, length.parse()?))
    }
}

impl Table {
    /// Reads the tables of both families.
    pub fn all() -> Result<[Self; 2]> {
        Ok([Self::ipv4()?, Self::ipv6()?])
    }

    /// Reads the table of IPv4.
    pub fn ipv4() -> Result<Self> {
        Self::read("ipv4.json")
    }

    /// Reads the table of IPv6.
    pub fn ipv6() -> Result<Self> {
        Self::read("ipv6.json")
    }

    /// The case with this name.
    pub fn case(&self, name: &str) -> Result<&Case> {
        let found = self.cases.iter().find(|case| case.name == name);
        found.with_context(|| format!("no case {name}"))
    }

    fn read(name: &str) -> Result<Self> {
        let path = folder().join(name);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no table", path.display()))
    }
}

/// Where the table and its generator are.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases")
}

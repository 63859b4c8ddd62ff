//! The cases, as `tests/conformance/generate.py` writes them.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::prog::table::Frame;
use eip_dp_user::model::objects::Mac;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// What `ip` calls it.
    pub fn flag(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    /// The length of a prefix that is one address.
    pub fn host(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// What an Ethernet header calls it.
    pub fn ethertype(self) -> [u8; 2] {
        match self {
            Self::V4 => [0x08, 0x00],
            Self::V6 => [0x86, 0xdd],
        }
    }
}

impl TryFrom<u8> for Family {
    type Error = String;

    fn try_from(version: u8) -> Result<Self, String> {
        match version {
            4 => Ok(Self::V4),
            6 => Ok(Self::V6),
            _ => Err(format!("there is no IP version {version}")),
        }
    }
}

impl From<Family> for u8 {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }
}

/// The cases of one family.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What the gateway is to be set up for.
    pub bed: World,
    /// Every case, by unique name.
    pub cases: Vec<Case>,
}

/// What the gateway is to be set up for. An adapter reads this and nothing else.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// The family of every address here.
    pub family: Family,
    /// The gateway's own address on the uplink.
    pub uplink: IpAddr,
    /// The prefix length beside it.
    pub uplink_length: u8,
    /// The router on the Internet side.
    pub next_hop: IpAddr,
    /// That router's Ethernet address.
    pub next_hop_mac: Mac,
    /// The uplink's MTU.
    pub uplink_mtu: u32,
    /// The public prefix that is routed to the gateway.
    pub pool: String,
    /// The router of guests in cut-through mode.
    pub pool_gateway: IpAddr,
    /// The guests' private prefix.
    pub network: String,
    /// Their router.
    pub network_gateway: IpAddr,
    /// A host on the Internet.
    pub remote: IpAddr,
    /// Another one.
    pub elsewhere: IpAddr,
    /// An address of the pool that nobody has.
    pub unassociated: IpAddr,
    /// Who stands behind the ports.
    pub guests: Vec<Guest>,
}

impl World {
    /// The NAT guests with their private and public addresses.
    pub fn translated(&self) -> impl Iterator<Item = (&Guest, IpAddr)> {
        self.guests
            .iter()
            .filter(|guest| guest.mode == Some(Mode::Nat))
            .filter_map(|guest| Some((guest, guest.public?)))
    }

    /// A guest by its name.
    pub fn guest(&self, name: &str) -> Option<&Guest> {
        self.guests.iter().find(|guest| guest.name == name)
    }
}

/// A guest and its port.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// What the cases call it.
    pub name: String,
    /// The gateway's interface for it.
    pub port: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// The port's MTU.
    pub mtu: u32,
    /// Its private address.
    pub private: IpAddr,
    /// Its public one.
    pub public: Option<IpAddr>,
    /// How the two belong together.
    pub mode: Option<Mode>,
}

/// How a public address belongs to a guest.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It stands for the private one.
    Nat,
    /// The guest has it itself.
    CutThrough,
}

/// What is sent, and what has to come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Row of the specification, what is special, where it goes.
    pub name: String,
    /// The rows of `docs/packets.md` that it is about.
    pub ids: Vec<String>,
    /// The row of the table of results.
    pub group: String,
    /// Whether it needs cut-through mode.
    #[serde(default)]
    pub cut_through: bool,
    /// Sent first, not judged.
    #[serde(default)]
    pub before: Vec<Sent>,
    /// Sent.
    pub send: Vec<Sent>,
    /// What may come of it, one of these: all that comes out anywhere.
    pub expect: Vec<Vec<Arrival>>,
    /// Whether the gateway itself has to say something.
    #[serde(default)]
    pub answered: bool,
}

/// A packet that is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// `internet` or a guest.
    pub from: String,
    /// From the IP header on.
    pub packet: Frame,
    /// Bytes of Ethernet padding behind it.
    #[serde(default)]
    pub padding: usize,
    /// Whether the frame is for another machine's Ethernet address.
    #[serde(default)]
    pub other_mac: bool,
}

/// A packet that comes out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    /// `internet` or a guest.
    pub at: String,
    /// From the IP header on.
    pub packet: Frame,
    /// What may be otherwise, with the checksums that cover it.
    #[serde(default)]
    pub open: Vec<Open>,
    /// It comes in fragments no larger than this.
    #[serde(default)]
    pub mtu: Option<usize>,
}

/// A field of a gateway's own message that the RFCs leave to it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are those of the IP headers")]
pub enum Open {
    Tos,
    Identification,
    Df,
    Ttl,
    TrafficClass,
    FlowLabel,
    HopLimit,
    /// The TTL or hop limit of the quoted packet: as it came, or less the hop.
    QuotedTtl,
}

/// Where the cases are in a checkout.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// The files of a folder of cases.
pub const FILES: [&str; 2] = ["ipv4.json", "ipv6.json"];

/// Reads the tables of both families.
pub fn read(folder: &Path) -> Result<[Table; 2]> {
    let table = |name: &str| {
        let file = folder.join(name);
        let text = fs::read_to_string(&file).with_context(|| {
            format!(
                "cannot read {}: give the folder of cases with --cases",
                file.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", file.display()))
    };
    let [four, six] = FILES;
    Ok([table(four)?, table(six)?])
}

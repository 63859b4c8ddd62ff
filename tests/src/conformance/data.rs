//! The cases, as `tests/conformance/generate.py` writes them.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IntoDeserializer as _},
};

use crate::prog::table::{self, Frame};
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

/// The VPC that [`World::network`] is the network of.
pub const VPC: &str = "v";

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
    /// The gateway's Ethernet address on the uplink.
    pub uplink_mac: Mac,
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
    /// The private prefix of the other VPC.
    pub other_network: String,
    /// A host on the Internet.
    pub remote: IpAddr,
    /// Another one.
    pub elsewhere: IpAddr,
    /// An address of the pool that nobody has.
    pub unassociated: IpAddr,
    /// A network of the gateway's host that no packet of the cases has any business in.
    pub management: Management,
    /// Who stands behind the ports.
    pub guests: Vec<Guest>,
    /// Ranges of the pool that are not for guests.
    #[serde(default)]
    pub reserved: Vec<String>,
    /// Who else is on the uplink's link, where the pool is the prefix of that link. None: the pool
    /// is routed to the gateway.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
}

/// A host on the uplink's link that has an address of the pool's prefix.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// What the cases call it.
    pub name: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its address.
    pub address: IpAddr,
}

/// The host's network beside the gateway, with one host in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Management {
    /// The gateway's interface there.
    pub interface: String,
    /// The gateway's Ethernet address there.
    pub interface_mac: Mac,
    /// The gateway's own address there.
    pub address: IpAddr,
    /// The prefix length beside it.
    pub length: u8,
    /// The host there.
    pub host: IpAddr,
    /// That host's Ethernet address.
    pub mac: Mac,
}

impl World {
    /// The NAT guests with their private and public addresses.
    pub fn translated(&self) -> impl Iterator<Item = (&Guest, IpAddr)> {
        self.guests
            .iter()
            .filter(|guest| guest.mode == Some(Mode::Nat))
            .filter_map(|guest| Some((guest, guest.public?)))
    }

    /// The guests in the VPC that `network` is the network of. The other VPC is there so that
    /// nothing gets into it: its guest has no public address.
    pub fn in_network(&self) -> impl Iterator<Item = &Guest> {
        self.guests.iter().filter(|guest| guest.vpc == VPC)
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
    /// The gateway's Ethernet address on the port.
    pub port_mac: Mac,
    /// Its Ethernet address.
    pub mac: Mac,
    /// The VPC that it is in: two of them share no network.
    pub vpc: String,
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
#[allow(
    clippy::struct_excessive_bools,
    reason = "the fields are those of the file"
)]
pub struct Case {
    /// Row of the specification, what is special, where it goes.
    pub name: String,
    /// The rows of `docs/packets.md` that it is about.
    pub ids: Vec<String>,
    /// The row of the table of results.
    pub group: String,
    /// The clause that its expectation is taken from.
    #[serde(default)]
    pub rfc: Option<String>,
    /// Whether no standard asks for the expectation: it is eip-dp's own choice.
    #[serde(default)]
    pub policy: bool,
    /// Whether it needs cut-through mode.
    #[serde(default)]
    pub cut_through: bool,
    /// Whether it needs a gateway that serves tenants who do not trust each other, on a host that
    /// is not theirs.
    #[serde(default)]
    pub tenants: bool,
    /// How many packets the host's own stack may get to see.
    #[serde(default)]
    pub host: u64,
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
    #[serde(deserialize_with = "packet")]
    pub packet: Frame,
    /// Bytes of Ethernet padding behind it.
    #[serde(default)]
    pub padding: usize,
    /// Whether the frame is for another machine's Ethernet address.
    #[serde(default)]
    pub other_mac: bool,
    /// The Ethernet address that the frame is for; else the gateway's.
    #[serde(default)]
    pub to_mac: Option<table::Mac>,
    /// What the frame carries, if it is not a packet of the family.
    #[serde(default)]
    pub ethertype: Option<Ethertype>,
    /// The priority in a tag of VLAN 0.
    #[serde(default)]
    pub priority: Option<u8>,
    /// What the sender leaves to the device. Only a tap can be told.
    #[serde(default)]
    pub virtio: Option<Virtio>,
}

impl Sent {
    /// What the frame says that it carries.
    pub fn ethertype(&self, family: Family) -> [u8; 2] {
        self.ethertype.map_or(family.ethertype(), Ethertype::bytes)
    }
}

/// What a frame carries besides packets of the family.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are those of the protocols")]
pub enum Ethertype {
    Arp,
}

impl Ethertype {
    /// As in the frame.
    pub fn bytes(self) -> [u8; 2] {
        match self {
            Self::Arp => [0x08, 0x06],
        }
    }
}

/// The header in front of a frame on a tap: `struct virtio_net_hdr`, without flags that the rest
/// implies.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Virtio {
    /// `VIRTIO_NET_HDR_GSO_*`.
    pub gso_type: u8,
    /// The headers' length, from the Ethernet header on.
    pub header: u16,
    /// How much payload a segment has.
    pub gso_size: u16,
    /// From where on the checksum is to be computed; 0: there is nothing to compute.
    pub csum_start: u16,
    /// Where it is to be written, from there on.
    pub csum_offset: u16,
}

/// A packet that comes out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    /// `internet` or a guest.
    pub at: String,
    /// From the IP header on.
    #[serde(deserialize_with = "packet")]
    pub packet: Frame,
    /// What may be otherwise, with the checksums that cover it.
    #[serde(default)]
    pub open: Vec<Open>,
    /// It comes in fragments no larger than this.
    #[serde(default)]
    pub mtu: Option<usize>,
    /// What the frame carries, if it is not a packet of the family.
    #[serde(default)]
    pub ethertype: Option<Ethertype>,
}

impl Arrival {
    /// What the frame says that it carries.
    pub fn ethertype(&self, family: Family) -> [u8; 2] {
        self.ethertype.map_or(family.ethertype(), Ethertype::bytes)
    }
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

/// A packet in hexadecimal; with `+N` behind it, N bytes of a pattern follow: 0 to 249, again and
/// again.
fn packet<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Frame, D::Error> {
    let text = String::deserialize(deserializer)?;
    let (head, length) = text.split_once('+').unwrap_or((&text, "0"));
    let length: usize = length.parse().map_err(D::Error::custom)?;
    let Frame(mut bytes) = Frame::deserialize(head.into_deserializer())?;
    bytes.extend((0..250).cycle().take(length));
    Ok(Frame(bytes))
}

/// Where the cases are in a checkout.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// The files of a folder of cases.
pub const FILES: [&str; 4] = ["ipv4.json", "ipv6.json", "onlink4.json", "onlink6.json"];

/// Reads all tables: one a family, and one a family of a pool on the uplink's link.
pub fn read(folder: &Path) -> Result<Vec<Table>> {
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
    FILES.into_iter().map(table).collect()
}

//! The objects of the association table, as they are stored, exported and printed.
//!
//! Field names are the contract of the JSON output and of the table file. A field that has no value
//! is left out of both. Lists keep the order in which the operator gave them.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{Vlan, command::Expiry};

/// A public prefix that this gateway serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The prefix; also the pool's identity.
    pub cidr: IpNet,
    /// Who routes for the guests in cut-through mode. Left out: the first host address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<PoolGateway>,
    /// Ranges that are never handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserve: Vec<AddressRange>,
    /// Pools with a lower number are asked first for an address.
    #[serde(
        default = "default_priority",
        skip_serializing_if = "is_default_priority"
    )]
    pub priority: u16,
}

/// The priority of a pool that names none.
pub const DEFAULT_PRIORITY: u16 = 100;

fn default_priority() -> u16 {
    DEFAULT_PRIORITY
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde's skip_serializing_if asks for"
)]
fn is_default_priority(priority: &u16) -> bool {
    *priority == DEFAULT_PRIORITY
}

/// The `gateway` field of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolGateway {
    /// A routed pool: every address is usable, guests get a /32 (or /128).
    None,
    /// An address of the pool.
    Address(IpAddr),
}

/// An inclusive range of addresses of one family, written `A-B` (or `A` for one address).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// The lowest address.
    pub first: IpAddr,
    /// The highest address; never below `first`, always of its family.
    pub last: IpAddr,
}

/// A private network. Private addresses may overlap between VPCs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vpc {
    /// Identity.
    pub id: String,
    /// Its prefixes, disjoint.
    pub cidrs: Vec<IpNet>,
    /// The router of the CIDR that contains it; every other CIDR's router is its first host
    /// address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The VXLAN network identifier, 24 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
}

/// A machine that ENIs are attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Identity.
    pub id: String,
    /// How many ENIs it takes, the primary one included. Left out: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_enis: Option<u32>,
}

/// An elastic network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eni {
    /// Identity.
    pub id: String,
    /// The VPC that it belongs to.
    pub vpc: String,
    /// Primary or secondary.
    pub kind: EniKind,
    /// Its Ethernet address, unique in its VPC.
    pub mac: Mac,
    /// Its private addresses. The first of each family is the primary private IP of that family.
    pub private_ips: Vec<IpAddr>,
    /// Those of its private addresses that other ENIs of the VPC may have too (VRRP): packets for
    /// them go to the ENI that announced the address last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_ips: Vec<IpAddr>,
    /// The region that an EIP must share with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whose source addresses its port accepts.
    #[serde(default, skip_serializing_if = "Antispoof::is_default")]
    pub antispoof: Antispoof,
    /// Where it is in its lifecycle.
    #[serde(default)]
    pub state: EniState,
    /// The instance that it is attached to, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The interface of this host behind which it stands, while it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The VLAN on that interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// Whether it may stand behind a port that the host itself uses.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
    /// Whether an interface that is made anew under the port's name is that port.
    #[serde(default, skip_serializing_if = "Rebind::is_default")]
    pub rebind: Rebind,
    /// With [`Rebind::Never`]: the interface that is the port, once the daemon has seen it. It
    /// means nothing to another host, or after a reboot: it is no part of an export.
    #[serde(skip)]
    pub bound: Option<String>,
}

impl Eni {
    /// Whether the interface that its port names now, by what tells it from all others
    /// ([`crate::host::identity_of`]), may be the port. With [`Rebind::Never`] that is the one
    /// that it was attached to.
    pub fn may_be_on(&self, interface: &str) -> bool {
        self.rebind != Rebind::Never || self.bound.as_deref() == Some(interface)
    }
}

/// What becomes of an ENI when its port's interface goes and one of the same name comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rebind {
    /// The new interface is the port: the operator's names say which guest is behind it.
    #[default]
    Name,
    /// The new interface stays closed until the ENI is attached again: the names are a
    /// hypervisor's, which may give one to the next guest.
    Never,
}

impl Rebind {
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "the form that serde's skip_serializing_if asks for"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde's skip_serializing_if asks for"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Primary ENIs live with their instance; secondary ones move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EniKind {
    /// Created with its instance and never detached from it.
    Primary,
    /// Attached and detached at will.
    Secondary,
}

/// Whose addresses may be the source of a packet on an ENI's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Antispoof {
    /// Those of every ENI of the same instance and VPC.
    #[default]
    Instance,
    /// Its own only.
    Eni,
}

/// The lifecycle of an ENI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EniState {
    /// On no instance and no port.
    #[default]
    Detached,
    /// On an instance, behind a port.
    Attached,
    /// Attached, but its cut-through EIP went away: no traffic until it is detached and attached
    /// again.
    Stranded,
}

/// An elastic public address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eip {
    /// Identity.
    pub id: String,
    /// The public address, of one of the pools.
    pub address: IpAddr,
    /// The region that an ENI must share with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// When a subscription EIP ends.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "expires_at"
    )]
    pub expires_at: Option<Timestamp>,
    /// Where it is in its lifecycle.
    #[serde(default)]
    pub state: EipState,
    /// Whether it is announced on its link although another host there answers for it.
    #[serde(default, skip_serializing_if = "Announce::is_default")]
    pub announce: Announce,
    /// The association that it had when it expired, which its renewal makes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
}

/// The text of a time, or a date and time as TOML itself has them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Text(String),
    Toml(toml::value::Datetime),
}

fn expires_at<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = match Option::<Time>::deserialize(from)? {
        None => return Ok(None),
        Some(Time::Text(text)) => text,
        Some(Time::Toml(time)) => time.to_string(),
    };
    // The file would ask for another time whenever it is applied.
    if text.starts_with('+') {
        return Err(D::Error::custom(format!(
            "`expires_at = \"{text}\"` would be another time with each `apply`; write a time such as \
             2030-01-01T00:00:00Z or a date (`eip-dp eip set ID --expires {text}` counts from now on)"
        )));
    }
    let expiry: Expiry = text.parse().map_err(D::Error::custom)?;
    Ok(expiry.end())
}

/// When an EIP of an on-link pool is announced, and answered for, on the uplink's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Announce {
    /// While no other host on the link has the address (RFC 5227, RFC 4862 5.4).
    #[default]
    Auto,
    /// Always.
    Always,
}

impl Announce {
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "the form that serde's skip_serializing_if asks for"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An association that ended with its EIP's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Former {
    /// The ENI's id.
    pub eni: String,
    /// One of the ENI's private addresses.
    pub private_ip: IpAddr,
    /// How packets changed.
    pub mode: Mode,
}

/// The lifecycle of an EIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EipState {
    /// Belongs to nobody yet.
    #[default]
    Free,
    /// Has an association.
    Associated,
    /// Its `expires_at` passed: no association until it is renewed.
    Expired,
}

/// Which EIP stands for which private address, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Association {
    /// The EIP's id; an EIP has one association at most.
    pub eip: String,
    /// The ENI's id.
    pub eni: String,
    /// One of the ENI's private addresses.
    pub private_ip: IpAddr,
    /// How packets change.
    pub mode: Mode,
}

/// What an association does to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The EIP is translated to the private IP and back, statelessly.
    #[default]
    Nat,
    /// The EIP replaces the private IP in the guest: addresses pass unchanged.
    CutThrough,
}

/// An Ethernet address, written `02:00:00:00:00:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

/// Text that is not what a field's type asks for; names the text and the form that is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct Malformed {
    text: String,
    expected: &'static str,
}

impl Malformed {
    pub(super) fn new(text: &str, expected: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            expected,
        }
    }
}

impl Antispoof {
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "the form that serde's skip_serializing_if asks for"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.0.map(|octet| format!("{octet:02x}"));
        f.pad(&octets.join(":"))
    }
}

impl FromStr for Mac {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed =
            || Malformed::new(text, "a unicast Ethernet address such as 02:00:00:00:00:01");
        let mac = octets(text).ok_or_else(malformed)?;
        let group = mac[0] & 1 == 1;
        if group || mac == [0; 6] {
            return Err(malformed());
        }
        Ok(Self(mac))
    }
}

/// Six octets in hexadecimal: two digits each with colons or dashes between them, four digits with
/// dots, or all twelve digits in a row.
fn octets(text: &str) -> Option<[u8; 6]> {
    let (separator, digits) = match text.len() {
        17 if text.contains(':') => (Some(':'), 2),
        17 => (Some('-'), 2),
        14 => (Some('.'), 4),
        _ => (None, 12),
    };
    let parts: Vec<&str> = match separator {
        Some(separator) => text.split(separator).collect(),
        None => vec![text],
    };
    if parts.iter().any(|part| part.len() != digits) {
        return None;
    }
    let number = parts.concat();
    if number.len() != 12 || !number.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = u64::from_str_radix(&number, 16).ok()?;
    let [_, _, octets @ ..] = number.to_be_bytes();
    Some(octets)
}

impl fmt::Display for PoolGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for PoolGateway {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "none" {
            return Ok(Self::None);
        }
        text.parse()
            .map(Self::Address)
            .map_err(|_| Malformed::new(text, "an address or `none`"))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for AddressRange {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || {
            Malformed::new(
                text,
                "a range of addresses such as 203.0.113.10-203.0.113.20",
            )
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first: IpAddr = first.trim().parse().map_err(|_| malformed())?;
        let last: IpAddr = last.trim().parse().map_err(|_| malformed())?;
        if first.is_ipv4() != last.is_ipv4() || first > last {
            return Err(malformed());
        }
        Ok(Self { first, last })
    }
}

impl AddressRange {
    /// Whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }
}

impl AddressRange {
    /// The fewest prefixes that have the range's addresses and no others.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> + use<> {
        let v4 = match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Some(Ipv4Subnets::new(first, last, 0)),
            _ => None,
        };
        let v6 = match (self.first, self.last) {
            (IpAddr::V6(first), IpAddr::V6(last)) => Some(Ipv6Subnets::new(first, last, 0)),
            _ => None,
        };
        let v4 = v4.into_iter().flatten().map(IpNet::V4);
        v4.chain(v6.into_iter().flatten().map(IpNet::V6))
    }
}

impl fmt::Display for EniKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        })
    }
}

impl fmt::Display for Antispoof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Instance => "instance",
            Self::Eni => "eni",
        })
    }
}

impl fmt::Display for Rebind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Name => "name",
            Self::Never => "never",
        })
    }
}

impl fmt::Display for Announce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Always => "always",
        })
    }
}

impl fmt::Display for EniState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Detached => "detached",
            Self::Attached => "attached",
            Self::Stranded => "stranded",
        })
    }
}

impl fmt::Display for EipState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Free => "free",
            Self::Associated => "associated",
            Self::Expired => "expired",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nat => "nat",
            Self::CutThrough => "cut-through",
        })
    }
}

/// Serialises a type as the text that its `Display` writes and its `FromStr` reads.
macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_text!(Mac, PoolGateway, AddressRange);

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent to a group's address everybody on the link reads.
    #[test]
    fn an_ethernet_address_is_that_of_one_station() {
        assert_eq!("02:00:00:00:00:0A".parse(), Ok(Mac([2, 0, 0, 0, 0, 10])));
        for group in [
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "33:33:00:00:00:01",
            "00:00:00:00:00:00",
        ] {
            let refused = group.parse::<Mac>().expect_err(group).to_string();
            assert!(
                refused.contains(group) && refused.contains("unicast"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_range_is_as_few_prefixes_as_can_be() {
        for (range, want) in [
            ("203.0.113.7", &["203.0.113.7/32"][..]),
            ("203.0.113.0-203.0.113.255", &["203.0.113.0/24"]),
            (
                "203.0.113.1-203.0.113.6",
                &[
                    "203.0.113.1/32",
                    "203.0.113.2/31",
                    "203.0.113.4/31",
                    "203.0.113.6/32",
                ],
            ),
            ("255.255.255.254-255.255.255.255", &["255.255.255.254/31"]),
            ("2001:db8::8-2001:db8::9", &["2001:db8::8/127"]),
            (
                "ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                &["ffff::/16"],
            ),
        ] {
            let range: AddressRange = range.parse().expect("a range");
            let prefixes: Vec<String> = range.prefixes().map(|one| one.to_string()).collect();
            assert_eq!(prefixes, want);
        }
    }
}

//! The file as it is written, and what it is checked for.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::Duration,
};

use eip_dp_common::{
    abi::{FIRST_ENI_TARGET, LINKS},
    cuckoo,
};
use nix::unistd::Group;
use serde::Deserialize;
use toml::Spanned;

use super::{Config, ConfigError, Delivery, Dhcp, DomainName, MapSizes, PerFamily, Port, Uplink};
use crate::{
    host::Family,
    model::{MAX_NAME, Vlan, is_id, is_interface_name, objects::Mac},
    table::path_of,
};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    uplink: Vec<RawUplink>,
    gateway: RawGateway,
    table: RawTable,
    ports: RawPorts,
    port: Vec<Spanned<Port>>,
    dhcp: RawDhcp,
    maps: Option<Spanned<MapSizes>>,
    files: RawFiles,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawFiles {
    group: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUplink {
    interface: Spanned<String>,
    vlan: Option<Spanned<Vlan>>,
    next_hop: Option<Spanned<NextHop>>,
    next_hop_mac: Option<Spanned<String>>,
    answer_arp: Option<bool>,
    drop_private_sources: Option<bool>,
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

/// The same, or what is next for each family, of which IPv4's may have an IPv6 address.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "invalid next hop: give an address, a list of one for each family, or `{ ipv4 = \"A\", ipv6 = \"B\" }`"
)]
enum NextHop {
    Plain(OneOrMore),
    Named(Named),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    ipv4: Option<IpAddr>,
    ipv6: Option<Ipv6Addr>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawGateway {
    region: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTable {
    url: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPorts {
    delivery: Delivery,
    complete_checksums: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDhcp {
    dns: Option<Vec<Spanned<IpAddr>>>,
    lease: Option<Spanned<u32>>,
    domain: Option<Spanned<String>>,
    search: Vec<Spanned<String>>,
    ntp: Vec<Spanned<IpAddr>>,
    next_server: Option<Spanned<Ipv4Addr>>,
    boot_file: Option<Spanned<String>>,
}

/// Where the text came from, for messages.
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) file: &'a Path,
}

impl Source<'_> {
    /// What is no configuration: the message, and the line that has key and value.
    pub(super) fn malformed(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span();
        let before = span.as_ref().and_then(|span| self.text.get(..span.start));
        let line = before.and_then(|before| {
            let number = before.matches('\n').count();
            self.text.lines().nth(number).map(str::trim)
        });
        let message = in_terms_of_toml(error.message());
        let message = match line {
            Some(line) if !line.is_empty() => {
                format!(
                    "{message} in `{}`; correct it, or take the line out",
                    shown(line)
                )
            }
            _ => format!("{message}; correct the file"),
        };
        self.invalid(span, message)
    }

    pub(super) fn invalid(
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
        let Some(addresses) = addresses else {
            return Ok(PerFamily::default());
        };
        self.one_of_each(key, addresses.span(), &addresses.get_ref().0)
    }

    /// Checks the next hops. IPv4's is given besides if it has an IPv6 address.
    fn next_hop(
        &self,
        given: Option<&Spanned<NextHop>>,
    ) -> Result<(PerFamily, Option<IpAddr>), ConfigError> {
        const KEY: &str = "next_hop";
        let Some(given) = given else {
            return Ok((PerFamily::default(), None));
        };
        let one_of_each = |list: &[IpAddr]| self.one_of_each(KEY, given.span(), list);
        match given.get_ref() {
            NextHop::Plain(OneOrMore::One(address)) => Ok((one_of_each(&[*address])?, None)),
            NextHop::Plain(OneOrMore::More(list)) => Ok((one_of_each(list)?, None)),
            NextHop::Named(Named { ipv4, ipv6 }) => {
                let ipv6 = ipv6.map(IpAddr::from);
                let (own, other) = (ipv4.filter(IpAddr::is_ipv4), ipv4.filter(IpAddr::is_ipv6));
                // Looked at by itself: the other family's may be the same.
                one_of_each(other.as_slice())?;
                let each: Vec<IpAddr> = own.into_iter().chain(ipv6).collect();
                Ok((one_of_each(&each)?, other))
            }
        }
    }

    fn one_of_each(
        &self,
        key: &str,
        span: std::ops::Range<usize>,
        addresses: &[IpAddr],
    ) -> Result<PerFamily, ConfigError> {
        let mut per_family = PerFamily::default();
        let invalid = |message: String| self.invalid(Some(span.clone()), message);
        for address in addresses {
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

    /// Checks the numbers of a VLAN.
    fn vlan(&self, vlan: Option<&Spanned<Vlan>>) -> Result<Option<Vlan>, ConfigError> {
        let Some(vlan) = vlan else { return Ok(None) };
        match vlan.get_ref().check() {
            Ok(()) => Ok(Some(*vlan.get_ref())),
            Err(why) => Err(self.invalid(
                Some(vlan.span()),
                format!("`vlan`: {why}; leave the key out for none"),
            )),
        }
    }

    /// Checks the Ethernet address of one station.
    fn mac(&self, key: &str, mac: Option<&Spanned<String>>) -> Result<Option<Mac>, ConfigError> {
        let Some(text) = mac else { return Ok(None) };
        match text.get_ref().parse() {
            Ok(mac) => Ok(Some(mac)),
            Err(why) => Err(self.invalid(
                Some(text.span()),
                format!(
                    "`{key}`: {why}, that of the router; leave the key out to have it resolved"
                ),
            )),
        }
    }

    /// Checks the region, which is an id like those of objects.
    fn region(&self, region: Spanned<String>) -> Result<String, ConfigError> {
        if is_id(region.get_ref()) {
            return Ok(region.into_inner());
        }
        Err(self.invalid(
            Some(region.span()),
            format!(
                "`region`: {:?} is no region: 1 to 64 printable characters without spaces; leave the key out to serve \
                 all regions",
                region.get_ref()
            ),
        ))
    }

    /// Checks the name of a group of this host's users.
    fn group(&self, name: Option<&Spanned<String>>) -> Result<Option<String>, ConfigError> {
        let Some(name) = name else { return Ok(None) };
        let text = name.get_ref();
        let why = match Group::from_name(text) {
            Ok(Some(_)) => return Ok(Some(text.clone())),
            Ok(None) => "there is no group of that name".to_owned(),
            Err(error) => format!("whether there is such a group is unknown ({error})"),
        };
        Err(self.invalid(
            Some(name.span()),
            format!(
                "`group`: {text:?}: {why}; make it (`groupadd --system NAME`), name another, or leave the key out for root alone"
            ),
        ))
    }

    /// Checks the location of a table.
    fn url(&self, url: Spanned<String>) -> Result<String, ConfigError> {
        match path_of(url.get_ref()) {
            Ok(_) => Ok(url.into_inner()),
            Err(error) => Err(self.invalid(Some(url.span()), format!("`url` of [table]: {error}"))),
        }
    }

    /// Checks the name of an interface.
    fn interface(&self, name: &Spanned<String>) -> Result<String, ConfigError> {
        let text = name.get_ref();
        if is_interface_name(text) {
            return Ok(text.clone());
        }
        Err(self.not_an_interface(name.span(), text))
    }

    fn not_an_interface(&self, span: std::ops::Range<usize>, text: &str) -> ConfigError {
        self.invalid(
            Some(span),
            format!(
                "`interface`: {text:?} is no name of an interface: up to {MAX_NAME} characters, no blanks, no `/`"
            ),
        )
    }
}

/// The table's URL, and nothing else of the file.
pub(super) fn table_of(source: &Source<'_>) -> Result<Option<String>, ConfigError> {
    #[derive(Deserialize)]
    struct TableOnly {
        table: Option<UrlOnly>,
    }
    #[derive(Deserialize)]
    struct UrlOnly {
        url: Option<Spanned<String>>,
    }
    let raw: TableOnly = toml::from_str(source.text).map_err(|error| source.malformed(&error))?;
    let url = raw.table.and_then(|table| table.url);
    url.map(|url| source.url(url)).transpose()
}

/// What the reader says, in the terms of the file rather than of the program.
fn in_terms_of_toml(message: &str) -> String {
    message
        .replace(
            "expected u32",
            "expected a whole number from 0 to 4294967295",
        )
        .replace("expected a sequence", "expected a list in brackets")
        .replace("wanted string or table", "expected a text in quotes")
}

/// A line as a message shows it: what a terminal would act on is written out.
fn shown(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if c.is_control() {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
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
    pub(super) fn check(
        self,
        source: &Source<'_>,
        named: &[String],
    ) -> Result<Config, ConfigError> {
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
            let (next_hop, next_hop4) = source.next_hop(raw.next_hop.as_ref())?;
            uplinks.push(Uplink {
                next_hop,
                next_hop4,
                next_hop_mac: source.mac("next_hop_mac", raw.next_hop_mac.as_ref())?,
                icmp_source: source.per_family("icmp_source", raw.icmp_source.as_ref())?,
                answer_arp: raw.answer_arp.unwrap_or(true),
                drop_private_sources: raw.drop_private_sources.unwrap_or(false),
                interface,
                vlan,
            });
        }
        for interface in named {
            if !is_interface_name(interface) {
                return Err(ConfigError::Invalid {
                    place: "option --uplink".to_owned(),
                    message: format!(
                        "{interface:?} is no name of an interface: up to {MAX_NAME} characters, no blanks, no `/`"
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
            if !is_interface_name(&port.interface) {
                return Err(source.not_an_interface(span, &port.interface));
            }
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
        let region = self.gateway.region;
        let region = region.map(|region| source.region(region)).transpose()?;
        let table = self.table.url.map(|url| source.url(url)).transpose()?;
        Ok(Config {
            uplinks,
            group: source.group(self.files.group.as_ref())?,
            region,
            table,
            delivery: self.ports.delivery,
            complete_checksums: self.ports.complete_checksums,
            ports,
            dhcp: self.dhcp.check(source)?,
            maps: self.maps.map_or_else(
                || Ok(MapSizes::default()),
                |maps| check_sizes(&maps, source),
            )?,
        })
    }
}

/// So many servers of a kind guests are told at most: all of it has to fit one packet.
const MOST_SERVERS: usize = 16;
/// The search list as it is on the wire, at most: the room of one option.
const LONGEST_SEARCH: usize = 255;
/// The name of a boot file: likewise.
const LONGEST_FILE: usize = 255;

impl RawDhcp {
    fn check(self, source: &Source<'_>) -> Result<Dhcp, ConfigError> {
        let dns = self.dns.as_deref();
        let dns = dns.map(|dns| servers("dns", dns, source)).transpose()?;
        let ntp = servers("ntp", &self.ntp, source)?;
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
        let domain = self.domain.as_ref();
        let domain = domain.map(|name| domain_name("domain", name, source));
        let next_server = self.next_server.map(|server| {
            let address = *server.get_ref();
            if is_host(address.into()) {
                Ok(address)
            } else {
                let message = not_a_host("next_server", address.into());
                Err(source.invalid(Some(server.span()), message))
            }
        });
        Ok(Dhcp {
            dns,
            lease,
            domain: domain.transpose()?,
            search: search_list(&self.search, source)?,
            ntp,
            next_server: next_server.transpose()?,
            boot_file: self
                .boot_file
                .map(|file| boot_file(file, source))
                .transpose()?,
        })
    }
}

/// Checks a list of servers' addresses.
fn servers(
    key: &str,
    servers: &[Spanned<IpAddr>],
    source: &Source<'_>,
) -> Result<Vec<IpAddr>, ConfigError> {
    if let Some(more) = servers.get(MOST_SERVERS) {
        let count = servers.len();
        return Err(source.invalid(
            Some(more.span()),
            format!("`{key}`: {count} servers; give {MOST_SERVERS} at most"),
        ));
    }
    let checked = servers.iter().map(|address| match *address.get_ref() {
        host if is_host(host) => Ok(host),
        other => Err(source.invalid(Some(address.span()), not_a_host(key, other))),
    });
    checked.collect()
}

fn domain_name(
    key: &str,
    name: &Spanned<String>,
    source: &Source<'_>,
) -> Result<DomainName, ConfigError> {
    let text = name.get_ref();
    text.parse().map_err(|why| {
        let message = format!(
            "`{key}`: {text:?} is no name of a domain: {why}; give one such as `example.org`"
        );
        source.invalid(Some(name.span()), message)
    })
}

fn search_list(
    names: &[Spanned<String>],
    source: &Source<'_>,
) -> Result<Vec<DomainName>, ConfigError> {
    let mut length = 0;
    let mut list = Vec::new();
    for name in names {
        let checked = domain_name("search", name, source)?;
        length += checked.wire_len();
        if length > LONGEST_SEARCH {
            return Err(source.invalid(
                Some(name.span()),
                format!(
                    "`search`: with {checked} the list takes {length} bytes, and an option has room for \
                     {LONGEST_SEARCH}; give fewer or shorter names"
                ),
            ));
        }
        list.push(checked);
    }
    Ok(list)
}

fn boot_file(file: Spanned<String>, source: &Source<'_>) -> Result<String, ConfigError> {
    let name = file.get_ref();
    let is_printable = name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if (1..=LONGEST_FILE).contains(&name.len()) && is_printable {
        return Ok(file.into_inner());
    }
    let shown: String = name.chars().take(40).collect();
    Err(source.invalid(
        Some(file.span()),
        format!(
            "`boot_file`: {shown:?} is no name of a file: give 1 to {LONGEST_FILE} printable ASCII characters; \
             leave the key out for none"
        ),
    ))
}

/// The largest map that is asked of the kernel; far above what a gateway's memory holds.
const MAX_ENTRIES: u32 = 1 << 26;

/// As many as entries of the index and next hops have bits for.
fn most(key: &str) -> u32 {
    match key {
        "eips" | "eips6" => cuckoo::SLOTS,
        "enis" => cuckoo::TARGETS - FIRST_ENI_TARGET,
        "vpcs" => cuckoo::VPCS,
        // Each has a link, and one more while it changes.
        "ports" => LINKS / 4,
        _ => MAX_ENTRIES,
    }
}

fn check_sizes(maps: &Spanned<MapSizes>, source: &Source<'_>) -> Result<MapSizes, ConfigError> {
    let sizes = *maps.get_ref();
    for (key, value) in sizes.by_key() {
        let most = most(key);
        if !(1..=most).contains(&value) {
            return Err(source.invalid(
                Some(maps.span()),
                format!("`{key}` of [maps]: {value} is not between 1 and {most}; give a number that is, or leave the key out"),
            ));
        }
    }
    Ok(sizes)
}

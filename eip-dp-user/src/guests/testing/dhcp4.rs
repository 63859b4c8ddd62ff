//! The DHCP server, held against RFC 2131.

use std::{cell::Cell, collections::BTreeMap, net::Ipv4Addr};

use dhcproto::{Decodable, v4};

use super::{
    Expected,
    envelope::said,
    site::{self, Input, SECONDS},
    wire::{Packet, names},
};
use crate::guests::{
    Client, Parameters,
    dhcp4::{self, Lease, Router},
};

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const INFORM: u8 = 8;

/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 14 + 20 + 8;
/// The fixed part of a message, and the magic number.
const FIXED: usize = 240;
/// What clients expect a message to have at least (RFC 1542 2.1).
const SHORTEST: usize = HEADERS + 300;
/// A reply is by no more than this longer than what was asked, unless it is of the least length:
/// the options that the server adds. No name server of the [site](super::site) is worth a fragment.
const MOST_ADDED: usize = 192;
/// What a client takes that does not say otherwise.
const LEAST_ROOM: usize = 576;
/// No reply is longer: that much, and the identifier, of which a byte says the length.
const LONGEST: usize = HEADERS + FIXED + MOST_ADDED + 257;

/// Sends a frame to the server; gives the type of the reply.
///
/// # Panics
/// If it is answered in another way than RFC 2131 has it, for another than its sender, or with more
/// than it may be.
pub fn hold(bytes: &[u8]) -> Option<u8> {
    let input = Input::read(bytes)?;
    let directory = site::directory();
    let asked_for = Cell::new(None);
    let reply = dhcp4::answer(&input.frame, input.port, directory, |client| {
        assert_eq!(asked_for.replace(Some(client)), None, "asked twice");
        input.allowed
    });
    let asked = Packet::read(&input.frame).and_then(|packet| Asked::read(&packet));
    let asked = asked.filter(|asked| asked.chaddr == asked.from);
    let client = asked
        .as_ref()
        .map(|asked| Client::on(input.port, asked.from));
    let lease = client.and_then(|client| directory.leases4.get(&client));
    let (Some(asked), Some(lease)) = (asked, lease) else {
        assert_eq!(reply, None, "nobody asked");
        assert_eq!(asked_for.get(), None);
        return None;
    };
    assert!(asked_for.get().is_none_or(|asked| Some(asked) == client));
    if asked_for.get().is_none() {
        assert_eq!(reply, None, "without a limit");
    }
    let kind = reply.map(|reply| {
        assert!(input.allowed);
        answered(&input.frame, &asked, lease, &reply)
    });
    asked.expected(lease).is(kind, input.allowed, &asked);
    kind
}

/// A client's message.
#[derive(Debug)]
struct Asked<'a> {
    from: [u8; 6],
    /// Transaction, seconds, flags.
    head: &'a [u8],
    broadcast: bool,
    ciaddr: Ipv4Addr,
    chaddr: [u8; 6],
    /// Every value of each option.
    options: BTreeMap<u8, Vec<&'a [u8]>>,
}

impl<'a> Asked<'a> {
    /// Reads a message with a type; `None` for what is no client's message to its server.
    fn read(packet: &Packet<'a>) -> Option<Self> {
        let (_, to, message) = packet.datagram().filter(|_| !packet.is_ipv6)?;
        let (fixed, options) = message.split_at_checked(FIXED)?;
        // From a client, over Ethernet, through no relay.
        if to != 67 || fixed[..3] != [1, 1, 6] || fixed[236..] != [99, 130, 83, 99] {
            return None;
        }
        if fixed[24..28] != [0; 4] {
            return None;
        }
        let mut asked = Self {
            from: packet.from,
            head: &fixed[4..8],
            broadcast: fixed[10] >> 7 == 1,
            ciaddr: address(&fixed[12..16]),
            chaddr: fixed[28..34].try_into().ok()?,
            options: BTreeMap::new(),
        };
        let mut at = 0;
        while let Some(code) = options.get(at).filter(|code| **code != 255) {
            if *code == 0 {
                at += 1;
                continue;
            }
            let Some(length) = options.get(at + 1) else {
                break;
            };
            let end = at + 2 + usize::from(*length);
            let Some(value) = options.get(at + 2..end) else {
                break;
            };
            asked.options.entry(*code).or_default().push(value);
            at = end;
        }
        let typed = asked.options.get(&53)?.last()?.first()?;
        (*typed != 0).then_some(asked)
    }

    /// The value of an option; an error where it is there twice, of which the server may take
    /// either.
    fn option(&self, code: u8) -> Result<Option<&'a [u8]>, ()> {
        match self.options.get(&code).map(Vec::as_slice) {
            None => Ok(None),
            Some([value]) => Ok(Some(value)),
            Some(_) => Err(()),
        }
    }

    /// Likewise an address; an error where it is none.
    fn address(&self, code: u8) -> Result<Option<Ipv4Addr>, ()> {
        match self.option(code)? {
            None => Ok(None),
            Some(value) if value.len() == 4 => Ok(Some(address(value))),
            Some(_) => Err(()),
        }
    }

    /// What the server has to do (RFC 2131 4.3).
    fn expected(&self, lease: &Lease) -> Expected {
        let (Ok(Some(&[kind])), Ok(requested), Ok(named)) =
            (self.option(53), self.address(50), self.address(54))
        else {
            return Expected::Unclear;
        };
        let current = Some(self.ciaddr).filter(|address| !address.is_unspecified());
        Expected::of(match kind {
            DISCOVER => Some(OFFER),
            // Another server's offer was taken.
            REQUEST if named.is_some_and(|named| named != lease.server) => None,
            REQUEST => requested
                .or(current)
                .map(|asked| if asked == lease.address { ACK } else { NAK }),
            INFORM if current == Some(lease.address) => Some(ACK),
            _ => None,
        })
    }

    /// How long an IP packet may be that it takes; its port has an MTU of 1450.
    fn room(&self) -> usize {
        let values = self.options.get(&57).into_iter().flatten();
        let said = values.filter_map(|value| <[u8; 2]>::try_from(*value).ok());
        let said = said
            .map(|value| usize::from(u16::from_be_bytes(value)))
            .max();
        said.unwrap_or(0).clamp(LEAST_ROOM, 1450)
    }

    /// The options of a reply with addresses of this lease, or of a refusal; `None` where the
    /// message is not clear.
    fn told(&self, lease: &Lease, kind: u8, informed: bool) -> Option<BTreeMap<u8, Vec<u8>>> {
        let mut told = BTreeMap::from([(53, vec![kind]), (54, lease.server.octets().to_vec())]);
        // RFC 6842 3; an empty one is none (RFC 2132 9.14).
        if let Some(identifier) = self.option(61).ok()?.filter(|it| !it.is_empty()) {
            told.insert(61, identifier.to_vec());
        }
        if kind == NAK {
            return Some(told);
        }
        let list = self.option(55).ok()?;
        let wants = |code| list.is_none_or(|list| list.contains(&code));
        let mask = u32::MAX << (32 - lease.prefix_len);
        told.insert(1, mask.to_be_bytes().to_vec());
        if wants(26) {
            told.insert(26, lease.mtu.to_be_bytes().to_vec());
        }
        let dns: Vec<u8> = lease.dns.iter().flat_map(Ipv4Addr::octets).collect();
        if wants(6) && !dns.is_empty() {
            told.insert(6, dns);
        }
        let site = &lease.site;
        let ntp: Vec<u8> = site.ntp4.iter().flat_map(Ipv4Addr::octets).collect();
        if wants(42) && !ntp.is_empty() {
            told.insert(42, ntp);
        }
        if let Some(domain) = site.domain.as_ref().filter(|_| wants(15)) {
            told.insert(15, domain.as_str().into());
        }
        if let Some(file) = site.boot_file.as_ref().filter(|_| wants(67)) {
            told.insert(67, file.as_bytes().to_vec());
        }
        let server = site.next_server.filter(|_| list.is_some() && wants(66));
        if let Some(server) = server {
            told.insert(66, server.to_string().into());
        }
        match lease.router {
            Router::OnLink(router) if wants(3) => {
                told.insert(3, router.octets().to_vec());
            }
            Router::OnLink(_) => {}
            Router::OffLink(router) => {
                // RFC 3442: the router itself is on the link, all else is behind it.
                let router = router.octets();
                let both = [&[32][..], &router, &[0; 5], &router].concat();
                told.insert(3, router.to_vec());
                told.insert(121, both.clone());
                if list.is_some_and(|list| list.contains(&249)) {
                    told.insert(249, both);
                }
            }
        }
        if !informed {
            for (code, seconds) in [(51, SECONDS), (58, SECONDS / 2), (59, SECONDS / 8 * 7)] {
                told.insert(code, seconds.to_be_bytes().to_vec());
            }
        }
        Some(told)
    }
}

/// Checks a reply against RFC 2131, table 3; gives its type.
fn answered(frame: &[u8], asked: &Asked<'_>, lease: &Lease, reply: &[u8]) -> u8 {
    assert!(reply.len() <= LONGEST);
    assert!(
        reply.len() <= SHORTEST.max(frame.len() + MOST_ADDED),
        "amplified"
    );
    let packet = Packet::read(reply).expect("a packet");
    assert!(packet.has_header_sum() && packet.hops > 1 && !packet.is_fragment);
    assert_eq!(14 + packet.header.len() + packet.payload.len(), reply.len());
    assert_eq!(packet.from, lease.port_mac);
    assert_eq!(packet.source, lease.server);
    let message = said(&packet, 67, 68);
    let (fixed, options) = message.split_at(FIXED);
    assert_eq!(fixed[..4], [2, 1, 6, 0]);
    assert_eq!(fixed[4..8], *asked.head, "another transaction");
    assert_eq!(fixed[8..12], [0, 0, u8::from(asked.broadcast) << 7, 0]);
    assert_eq!(fixed[24..28], [0; 4], "relay");
    assert_eq!(fixed[28..34], asked.from);
    assert!(fixed[34..108].iter().all(|byte| *byte == 0));
    let (ciaddr, yiaddr) = (address(&fixed[12..16]), address(&fixed[16..20]));
    let mut told = read_options(options);
    let kind = told[&53][0];
    let informed = kind == ACK && !told.contains_key(&51);
    let to_all = (packet.to, packet.destination) == ([0xff; 6], Ipv4Addr::BROADCAST.into());
    let to = |address: Ipv4Addr| (packet.to, packet.destination) == (asked.from, address.into());
    let none = Ipv4Addr::UNSPECIFIED;
    match kind {
        NAK => {
            assert!(to_all);
            assert_eq!((ciaddr, yiaddr), (none, none));
            assert!(told.remove(&56).is_some_and(|text| text.is_ascii()));
        }
        OFFER | ACK => {
            // RFC 2131 4.1; its own MAC is the client's wherever it believes to be.
            let right = match asked.ciaddr {
                address if !address.is_unspecified() => to(address),
                _ if asked.broadcast => to_all,
                _ => to(lease.address),
            };
            assert!(right, "to {:?} and {}", packet.to, packet.destination);
            assert_eq!(yiaddr, if informed { none } else { lease.address });
            assert_eq!(ciaddr, if kind == ACK { asked.ciaddr } else { none });
        }
        kind => panic!("a reply of type {kind}"),
    }
    let site = if kind == NAK {
        &Parameters::default()
    } else {
        &*lease.site
    };
    assert_eq!(address(&fixed[20..24]), site.next_server.unwrap_or(none));
    let file = site.boot_file.clone().unwrap_or_default();
    let (name, zeros) = fixed[108..236].split_at(file.len());
    assert_eq!(name, file.as_bytes());
    assert!(zeros.iter().all(|byte| *byte == 0));
    if let Some(search) = told.remove(&119) {
        let list: Vec<_> = site.search.iter().map(|name| format!("{name}.")).collect();
        assert_eq!(names(&search), Some(list));
    }
    if let Some(mut expected) = asked.told(lease, kind, informed) {
        let room = asked.room();
        assert!(14 + room >= reply.len(), "more than the client takes");
        // Only what others can do without is left out, and only where there is no room.
        let used = read_options(options);
        let used: usize = used.values().map(|value| 2 + value.len()).sum();
        expected.retain(|code, value| {
            let is_optional = [6, 15, 26, 42, 66, 67].contains(code);
            let fits = HEADERS - 14 + FIXED + used + 2 + value.len() < room;
            told.contains_key(code) || !is_optional || fits
        });
        assert_eq!(told, expected);
    }
    // Clients have readers of their own.
    let parsed = v4::Message::from_bytes(message).expect("a message");
    assert_eq!(parsed.chaddr(), asked.from);
    assert_eq!(parsed.yiaddr(), yiaddr);
    assert_eq!(parsed.opts().iter().count(), read_options(options).len());
    kind
}

/// Options up to the end mark, each there once, with nothing but zeros behind.
fn read_options(mut bytes: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut options = BTreeMap::new();
    while bytes[0] != 255 {
        let (value, rest) = bytes[2..].split_at(usize::from(bytes[1]));
        let again = options.insert(bytes[0], value.to_vec());
        assert_eq!(again, None, "an option twice");
        bytes = rest;
    }
    assert!(bytes[1..].iter().all(|byte| *byte == 0));
    options
}

fn address(bytes: &[u8]) -> Ipv4Addr {
    <[u8; 4]>::try_from(bytes).expect("four bytes").into()
}

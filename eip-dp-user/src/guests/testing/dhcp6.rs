//! The DHCPv6 server, held against RFC 8415.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv6Addr},
};

use dhcproto::{Decodable, v6 as decoder};

use super::{
    Expected,
    envelope::said,
    site::{self, Input, SECONDS},
    wire::{Packet, address6, link_local, long, names, short},
};
use crate::{
    frame::v6::{self, Message},
    guests::{Client, Lease6, dhcp6},
};

const SOLICIT: u8 = 1;
const ADVERTISE: u8 = 2;
const REQUEST: u8 = 3;
const CONFIRM: u8 = 4;
const RENEW: u8 = 5;
const REBIND: u8 = 6;
const REPLY: u8 = 7;
const RELEASE: u8 = 8;
const DECLINE: u8 = 9;
const INFORMATION_REQUEST: u8 = 11;

/// `All_DHCP_Relay_Agents_and_Servers`.
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Associations, and addresses of each, that the server has to look at.
const MOST: usize = 8;
/// A reply is by no more than this longer than what was asked: its server, its name servers, and
/// for each of the [`MOST`] associations why it gets nothing.
const MOST_ADDED: usize = 512;
/// No reply needs a larger link than IPv6 does.
const LONGEST: usize = 14 + 1280;

/// Sends a frame to the server; gives the types of the message and of the reply.
///
/// # Panics
/// If it is answered in another way than RFC 8415 has it, for another than its sender, or with more
/// than it may be.
pub fn hold(bytes: &[u8]) -> Option<(u8, u8)> {
    let input = Input::read(bytes)?;
    let received = v6::parse(&input.frame)?;
    let Message::Dhcp(message) = received.message else {
        return None;
    };
    let directory = site::directory();
    let asked_for = Cell::new(None);
    let reply = dhcp6::answer(&received, message, input.port, directory, |client| {
        assert_eq!(asked_for.replace(Some(client)), None, "asked twice");
        input.allowed
    });
    let packet = Packet::read(&input.frame).expect("it was read before");
    let client = Client::on(input.port, packet.from);
    let lease = directory.leases6.get(&client);
    let asked = Asked::read(&packet);
    let (Some(asked), Some(lease)) = (asked, lease) else {
        assert_eq!(reply, None, "nobody asked");
        return None;
    };
    assert!(asked_for.get().is_none_or(|asked| asked == client));
    if asked_for.get().is_none() {
        assert_eq!(reply, None, "without a limit");
    }
    let kind = reply.map(|reply| {
        assert!(input.allowed);
        answered(&input.frame, &asked, lease, &reply)
    });
    asked.expected(lease).is(kind, input.allowed, &asked);
    Some((asked.kind, kind?))
}

/// An identity association.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Association {
    /// The option's code.
    code: usize,
    id: u32,
    /// With preferred and valid lifetime.
    addresses: Vec<(Ipv6Addr, u32, u32)>,
    /// T1 and T2, 0 where there is none.
    times: [u32; 2],
    status: Option<usize>,
}

/// A message of either side.
#[derive(Debug)]
struct Asked<'a> {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    kind: u8,
    xid: &'a [u8],
    clients: Vec<&'a [u8]>,
    servers: Vec<&'a [u8]>,
    associations: Vec<Association>,
    /// What is asked for, each list.
    lists: Vec<&'a [u8]>,
    rapid: bool,
    dns: Vec<&'a [u8]>,
    preference: Option<u8>,
    status: Option<usize>,
    search: Vec<&'a [u8]>,
    /// Of both kinds.
    ntp: Vec<&'a [u8]>,
    /// Codes of other options.
    others: Vec<usize>,
}

impl<'a> Asked<'a> {
    /// Reads a message; `None` for one that is cut.
    fn read(packet: &Packet<'a>) -> Option<Self> {
        let (_, _, message) = packet.datagram()?;
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination)
        else {
            return None;
        };
        let mut asked = Self {
            source,
            destination,
            kind: *message.first()?,
            xid: message.get(1..4)?,
            clients: Vec::new(),
            servers: Vec::new(),
            associations: Vec::new(),
            lists: Vec::new(),
            rapid: false,
            dns: Vec::new(),
            preference: None,
            status: None,
            search: Vec::new(),
            ntp: Vec::new(),
            others: Vec::new(),
        };
        for (code, value) in options(&message[4..])? {
            match code {
                1 => asked.clients.push(value),
                2 => asked.servers.push(value),
                3 | 4 | 25 => asked.associations.push(Association::read(code, value)?),
                6 => asked.lists.push(value),
                7 => asked.preference = value.first().copied(),
                13 => asked.status = value.get(..2).map(short),
                14 => asked.rapid = true,
                23 => asked.dns.push(value),
                24 => asked.search.push(value),
                31 => asked.ntp.push(value),
                56 => {
                    // The only suboption is an address of a server.
                    asked
                        .ntp
                        .push(value.strip_prefix(&[0, 1, 0, 16]).unwrap_or(value));
                }
                _ => asked.others.push(code),
            }
        }
        Some(asked)
    }

    /// What the server has to do (RFC 8415 16 and 18.3).
    fn expected(&self, lease: &Lease6) -> Expected {
        let identifiers = || self.clients.iter().chain(&self.servers);
        if self.clients.len() > 1 || self.servers.len() > 1 || self.associations.len() > MOST {
            return Expected::Unclear;
        }
        if !self.source.is_unicast_link_local()
            || identifiers().any(|identifier| !(1..=130).contains(&identifier.len()))
        {
            return Expected::Silence;
        }
        let (has_client, has_server) = (self.clients.len() == 1, self.servers.len() == 1);
        let ours = self.servers.first() == Some(&&lease.server[..]);
        let names_any = self.associations.iter().any(|it| !it.addresses.is_empty());
        let to_one = matches!(self.kind, REQUEST | RENEW | RELEASE | DECLINE);
        if self.destination != SERVERS {
            // 18.4: it is told to use multicast.
            return Expected::of((to_one && has_client && ours).then_some(REPLY));
        }
        let valid = match self.kind {
            SOLICIT | REBIND => has_client && !has_server,
            CONFIRM => has_client && !has_server && names_any,
            INFORMATION_REQUEST => (!has_server || ours) && self.associations.is_empty(),
            _ => to_one && has_client && ours,
        };
        let kind = match self.kind {
            SOLICIT if !self.rapid => ADVERTISE,
            _ => REPLY,
        };
        Expected::of(valid.then_some(kind))
    }

    /// Whether it has an association of this kind and number.
    fn has(&self, told: &Association) -> bool {
        let mut associations = self.associations.iter();
        associations.any(|asked| (asked.code, asked.id) == (told.code, told.id))
    }

    /// Whether it names the address.
    fn names(&self, address: Ipv6Addr) -> bool {
        let mut addresses = self.associations.iter().flat_map(|it| &it.addresses);
        addresses.any(|(named, _, _)| *named == address)
    }
}

impl Association {
    fn read(code: usize, value: &[u8]) -> Option<Self> {
        let fixed = if code == 4 { 4 } else { 12 };
        let (head, rest) = value.split_at_checked(fixed)?;
        let mut association = Self {
            code,
            id: long(head),
            addresses: Vec::new(),
            times: [0; 2],
            status: None,
        };
        if code != 4 {
            association.times = [long(&head[4..]), long(&head[8..])];
        }
        for (code, value) in options(rest)? {
            match code {
                5 => {
                    // Of a client's, the times say nothing, and the server does not look at more
                    // than a few.
                    let time = |at| value.get(at..at + 4).map_or(0, long);
                    if association.addresses.len() < MOST || value.len() >= 16 {
                        let address = address6(value.get(..16)?);
                        association.addresses.push((address, time(16), time(20)));
                    }
                }
                13 => association.status = value.get(..2).map(short),
                _ => {}
            }
        }
        Some(association)
    }
}

/// Code and value of each option; `None` where one is cut.
fn options(mut bytes: &[u8]) -> Option<Vec<(usize, &[u8])>> {
    let mut options = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(4)?;
        let (value, rest) = rest.split_at_checked(short(&head[2..]))?;
        options.push((short(head), value));
        bytes = rest;
    }
    Some(options)
}

/// Checks a reply; gives its type.
fn answered(frame: &[u8], asked: &Asked<'_>, lease: &Lease6, reply: &[u8]) -> u8 {
    assert!(reply.len() <= LONGEST, "{} bytes", reply.len());
    assert!(reply.len() <= frame.len() + MOST_ADDED, "amplified");
    let packet = Packet::read(reply).expect("a packet");
    assert_eq!(54 + packet.payload.len(), reply.len());
    let guest = Packet::read(frame).expect("it was read before").from;
    assert_eq!((packet.to, packet.from), (guest, lease.port_mac));
    assert_eq!(packet.source, link_local(lease.port_mac));
    assert_eq!(packet.destination, asked.source);
    assert!(asked.source.is_unicast_link_local(), "to another link");
    let message = said(&packet, 547, 546);
    let told = Asked::read(&packet).expect("a message");
    assert!(told.others.is_empty() && told.lists.is_empty(), "{told:?}");
    assert_eq!(told.xid, asked.xid, "another transaction");
    assert_eq!(told.servers, [&lease.server[..]]);
    match (&asked.clients[..], &told.clients[..]) {
        ([], []) => assert_eq!(asked.kind, INFORMATION_REQUEST),
        (asked, [told]) => assert!(asked.contains(told), "another client"),
        other => panic!("{other:?}"),
    }
    let dns: Vec<u8> = lease.dns.iter().flat_map(Ipv6Addr::octets).collect();
    assert!(told.dns.is_empty() || told.dns == [&dns[..]]);
    let site = &lease.site;
    let ntp: Vec<u8> = site.ntp6.iter().flat_map(Ipv6Addr::octets).collect();
    assert!(told.ntp.iter().all(|value| **value == ntp[..]));
    assert!(told.search.len() <= 1 && told.ntp.len() <= 2);
    for value in &told.search {
        let said = names(value).expect("names");
        let list: Vec<_> = site.search.iter().map(|name| format!("{name}.")).collect();
        assert_eq!(said, list);
        assert!(value.iter().all(|byte| *byte < 192), "compressed");
    }
    match told.kind {
        ADVERTISE => assert!(asked.kind == SOLICIT && told.preference == Some(255) && !told.rapid),
        REPLY => assert!(told.preference.is_none() && told.rapid == (asked.kind == SOLICIT)),
        kind => panic!("a reply of type {kind}"),
    }
    let mut given = 0;
    assert!(told.associations.len() <= asked.associations.len().min(MOST));
    for association in &told.associations {
        assert!(asked.has(association), "nobody asked for {association:?}");
        given += usize::from(gives(asked, lease, association));
    }
    assert!(given <= 1, "an ENI has one address");
    if asked.destination != SERVERS {
        assert_eq!(told.status, Some(5), "use multicast");
    }
    // Clients have readers of their own.
    let parsed = decoder::Message::from_bytes(message).expect("a message");
    assert_eq!(parsed.xid(), asked.xid);
    assert_eq!(
        parsed.opts().iter().count(),
        options(&message[4..]).expect("read").len()
    );
    told.kind
}

/// Whether an association is given the address; it has no other, but for those that are taken back.
fn gives(asked: &Asked<'_>, lease: &Lease6, association: &Association) -> bool {
    let extends = matches!(asked.kind, RENEW | REBIND);
    let mut given = false;
    for (address, preferred, valid) in &association.addresses {
        assert_eq!(association.code, 3, "{association:?}");
        if *address == lease.address {
            assert!(!given, "twice");
            given = true;
            assert_eq!((*preferred, *valid), (SECONDS, SECONDS));
        } else {
            assert_eq!((*preferred, *valid), (0, 0), "{address} is not the lease's");
            assert!(extends && asked.names(*address));
        }
    }
    let gives_any = matches!(asked.kind, SOLICIT | REQUEST | RENEW | REBIND);
    assert!(gives_any || !given);
    assert_eq!(given, association.status.is_none(), "{association:?}");
    let times = if given {
        [SECONDS / 2, SECONDS / 5 * 4]
    } else {
        [0; 2]
    };
    assert_eq!(association.times, times);
    given
}

//! The conversation (RFC 8415, 18.3), for clients that each have one address and no choice.

use std::net::Ipv6Addr;

use dhcproto::{
    Encodable,
    v6::{
        DhcpOption, DhcpOptions, IAAddr, IANA, IAPD, IATA, Message, MessageType, NtpSuboption,
        OptionCode, Status, StatusCode, UnknownOption,
    },
};
use tracing::debug;

use super::{
    super::{Lease6, names, seconds},
    request::{Association, AssociationKind, Request},
};

/// The option with the search list (RFC 3646).
const SEARCH_LIST: u16 = 24;
/// That with time servers for simple clients (RFC 4075); others have NTP's (RFC 5908).
const SNTP_SERVERS: u16 = 31;
/// Every link takes a packet of 1280 bytes; its headers are IPv6's and UDP's.
const LONGEST: usize = 1280 - 40 - 8;
/// There is no other server: the client need not wait for a better offer.
const ONLY_SERVER: u8 = 255;

/// The reply to a client's message. `None`: it gets none (RFC 8415, 16).
pub(super) fn respond(request: &Request<'_>, lease: &Lease6) -> Option<Message> {
    let to_us = request.server == Some(&lease.server[..]);
    let to_anybody = request.server.is_none();
    let kind = MessageType::from(request.kind);
    if request.client.is_none() && kind != MessageType::InformationRequest {
        return None;
    }
    match kind {
        MessageType::Solicit if to_anybody => Some(solicit(request, lease)),
        MessageType::Request if to_us => {
            let mut message = reply(request, lease);
            add_associations(&mut message, request, lease, Manner::Requested);
            add_parameters(&mut message, request, lease);
            Some(message)
        }
        MessageType::Renew if to_us => Some(extend(request, lease)),
        MessageType::Rebind if to_anybody => Some(extend(request, lease)),
        MessageType::Confirm if to_anybody => confirm(request, lease),
        MessageType::Release if to_us => Some(give_back(request, lease)),
        MessageType::Decline if to_us => {
            debug!(address = %lease.address, "declined: somebody else on the link has the address");
            Some(give_back(request, lease))
        }
        MessageType::InformationRequest
            if (to_us || to_anybody) && request.associations.is_empty() =>
        {
            let mut message = reply(request, lease);
            add_parameters(&mut message, request, lease);
            Some(message)
        }
        _ => None,
    }
}

/// The reply to a message that was sent to the gateway's own address, which no client may do unless
/// it is told to (RFC 8415, 18.4).
pub(super) fn refuse_unicast(request: &Request<'_>, lease: &Lease6) -> Option<Message> {
    let to_us = request.server == Some(&lease.server[..]) && request.client.is_some();
    match MessageType::from(request.kind) {
        MessageType::Request | MessageType::Renew | MessageType::Release | MessageType::Decline
            if to_us =>
        {
            let mut message = reply(request, lease);
            message
                .opts_mut()
                .insert(status(Status::UseMulticast, "ask ff02::1:2"));
            Some(message)
        }
        _ => None,
    }
}

fn solicit(request: &Request<'_>, lease: &Lease6) -> Message {
    let mut message = reply(request, lease);
    if request.rapid_commit {
        message.opts_mut().insert(DhcpOption::RapidCommit);
    } else {
        message.set_msg_type(MessageType::Advertise);
        message
            .opts_mut()
            .insert(DhcpOption::Preference(ONLY_SERVER));
    }
    add_associations(&mut message, request, lease, Manner::Solicited);
    add_parameters(&mut message, request, lease);
    message
}

fn extend(request: &Request<'_>, lease: &Lease6) -> Message {
    let mut message = reply(request, lease);
    add_associations(&mut message, request, lease, Manner::Extended);
    add_parameters(&mut message, request, lease);
    message
}

/// A client that was away asks whether its addresses still hold.
fn confirm(request: &Request<'_>, lease: &Lease6) -> Option<Message> {
    let mut addresses = request
        .associations
        .iter()
        .flat_map(|association| &association.addresses)
        .peekable();
    addresses.peek()?;
    let all_hold = addresses.all(|address| *address == lease.address);
    let mut message = reply(request, lease);
    message.opts_mut().insert(if all_hold {
        status(Status::Success, "")
    } else {
        status(Status::NotOnLink, "the address is another one")
    });
    Some(message)
}

/// A client does not want its addresses any more. It may have them again at any time.
fn give_back(request: &Request<'_>, lease: &Lease6) -> Message {
    let mut message = reply(request, lease);
    let options = message.opts_mut();
    options.insert(status(Status::Success, ""));
    for association in &request.associations {
        if !association.addresses.contains(&lease.address) {
            options.insert(without_address(association, no_binding()));
        }
    }
    message
}

fn reply(request: &Request<'_>, lease: &Lease6) -> Message {
    let mut message = Message::new_with_id(MessageType::Reply, request.xid);
    let options = message.opts_mut();
    options.insert(DhcpOption::ServerId(lease.server.to_vec()));
    if let Some(client) = request.client {
        options.insert(DhcpOption::ClientId(client.to_vec()));
    }
    message
}

/// How a client came by what its associations name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It would like to have the addresses.
    Solicited,
    /// It was offered them.
    Requested,
    /// It has them.
    Extended,
}

/// Gives the address to one association, the one that has it already or the first, and nothing to
/// others.
fn add_associations(message: &mut Message, request: &Request<'_>, lease: &Lease6, manner: Manner) {
    let has_it = |association: &&Association| association.addresses.contains(&lease.address);
    let of_addresses = || {
        request
            .associations
            .iter()
            .filter(|association| association.kind == AssociationKind::Address)
    };
    let chosen = of_addresses()
        .find(has_it)
        .or_else(|| of_addresses().next());
    for association in &request.associations {
        let is_chosen = chosen.is_some_and(|chosen| std::ptr::eq(chosen, association));
        let option = match manner {
            // It was offered another one, and the association has changed since.
            Manner::Requested
                if is_chosen && !association.addresses.is_empty() && !has_it(&association) =>
            {
                let reason = "the address is another one";
                without_address(association, status(Status::NotOnLink, reason))
            }
            Manner::Solicited | Manner::Requested if is_chosen => {
                with_address(association, lease, &[])
            }
            Manner::Extended if is_chosen => {
                with_address(association, lease, &association.addresses)
            }
            Manner::Extended => without_address(association, no_binding()),
            Manner::Solicited | Manner::Requested => {
                let none_left = match association.kind {
                    AssociationKind::Address | AssociationKind::Temporary => Status::NoAddrsAvail,
                    AssociationKind::Prefix => Status::NoPrefixAvail,
                };
                without_address(association, status(none_left, "an ENI has one address"))
            }
        };
        message.opts_mut().insert(option);
    }
}

/// The association with the address; the client is to give up those others that it has.
fn with_address(association: &Association, lease: &Lease6, had: &[Ipv6Addr]) -> DhcpOption {
    let seconds = seconds(lease.duration);
    let over = had.iter().filter(|address| **address != lease.address);
    let addresses = [(lease.address, seconds)]
        .into_iter()
        .chain(over.map(|address| (*address, 0)));
    let opts: DhcpOptions = addresses
        .map(|(addr, life)| {
            DhcpOption::IAAddr(IAAddr {
                addr,
                preferred_life: life,
                valid_life: life,
                opts: DhcpOptions::new(),
            })
        })
        .collect();
    // RFC 8415, 21.4: 0.5 and 0.8 of the preferred lifetime.
    DhcpOption::IANA(IANA {
        id: association.id,
        t1: seconds / 2,
        t2: seconds - seconds / 5,
        opts,
    })
}

/// The association without any address, and why.
fn without_address(association: &Association, why: DhcpOption) -> DhcpOption {
    let (id, t1, t2) = (association.id, 0, 0);
    let opts = [why].into_iter().collect();
    match association.kind {
        AssociationKind::Address => DhcpOption::IANA(IANA { id, t1, t2, opts }),
        AssociationKind::Temporary => DhcpOption::IATA(IATA { id, opts }),
        AssociationKind::Prefix => DhcpOption::IAPD(IAPD { id, t1, t2, opts }),
    }
}

fn no_binding() -> DhcpOption {
    status(Status::NoBinding, "the interface does not have it")
}

fn status(status: Status, text: &str) -> DhcpOption {
    DhcpOption::StatusCode(StatusCode {
        status,
        msg: text.to_owned(),
    })
}

/// The parameters that the client asks for, the most useful first, as far as a packet has room for
/// them that every link takes.
fn add_parameters(message: &mut Message, request: &Request<'_>, lease: &Lease6) {
    let site = &lease.site;
    let ntp = || site.ntp6.iter().flat_map(Ipv6Addr::octets).collect();
    let search = site.search_or_domain();
    let options = [
        (!lease.dns.is_empty()).then(|| DhcpOption::DomainNameServers(lease.dns.clone())),
        (!search.is_empty()).then(|| unknown(SEARCH_LIST, names::plain(search))),
        (!site.ntp6.is_empty()).then(|| {
            let servers = site.ntp6.iter().copied();
            DhcpOption::NtpServer(servers.map(NtpSuboption::ServerAddress).collect())
        }),
        (!site.ntp6.is_empty()).then(|| unknown(SNTP_SERVERS, ntp())),
    ];
    for option in options.into_iter().flatten() {
        let code = OptionCode::from(&option);
        if !request.wants(code.into()) {
            continue;
        }
        message.opts_mut().insert(option);
        if message.to_vec().is_ok_and(|bytes| bytes.len() > LONGEST) {
            message.opts_mut().remove(code);
        }
    }
}

fn unknown(code: u16, value: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(code.into(), value))
}

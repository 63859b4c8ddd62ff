//! The conversation (RFC 2131), for clients that each have one address and no choice.

use std::net::Ipv4Addr;

use dhcproto::{
    Encodable,
    v4::{DhcpOption, Flags, HType, Message, MessageType, Opcode, OptionCode, UnknownOption},
};
use ipnet::Ipv4Net;
use tracing::debug;

use super::{Lease, Router, request::Request};
use crate::guests::{Parameters, names, seconds};

/// The option under which Microsoft's clients look for the routes of option 121.
const MICROSOFT_ROUTES: u8 = 249;
/// Every client takes an IP packet of that length (RFC 2131, 2) …
const SHORTEST_LIMIT: u16 = 576;
/// … of which this much is not the message.
const HEADERS: u16 = 20 + 8;
/// The header's field for the boot file, with the zero behind the name.
const FILE: usize = 128;

/// What to send, and to whom.
#[derive(Debug)]
pub(super) struct Reply {
    pub message: Message,
    /// The IPv4 destination.
    pub to: Ipv4Addr,
    /// Whether the Ethernet destination is everybody, too.
    pub broadcast: bool,
}

/// The reply to a client's message. `None`: it gets none.
pub(super) fn respond(request: &Request<'_>, lease: &Lease) -> Option<Reply> {
    match MessageType::from(request.kind) {
        MessageType::Discover => Some(offer(request, lease)),
        MessageType::Request => answer_request(request, lease),
        MessageType::Inform if request.current == Some(lease.address) => {
            Some(inform(request, lease))
        }
        MessageType::Decline => {
            debug!(address = %lease.address, "declined: somebody else on the link has the address");
            None
        }
        MessageType::Release => {
            debug!(address = %lease.address, "released");
            None
        }
        _ => None,
    }
}

/// A request selects an offer, renews a lease, or asks after a restart whether an old one still
/// holds (RFC 2131, 4.3.2).
fn answer_request(request: &Request<'_>, lease: &Lease) -> Option<Reply> {
    if request.server.is_some_and(|server| server != lease.server) {
        // The client took another server's offer.
        return None;
    }
    let asked = request.requested.or(request.current)?;
    if asked == lease.address {
        Some(ack(request, lease))
    } else {
        Some(nak(request, lease, asked))
    }
}

fn offer(request: &Request<'_>, lease: &Lease) -> Reply {
    let mut message = reply_to(request, lease, MessageType::Offer);
    message.set_yiaddr(lease.address);
    add_lease_times(&mut message, lease);
    add_parameters(&mut message, request, lease);
    deliver(request, message, lease)
}

fn ack(request: &Request<'_>, lease: &Lease) -> Reply {
    let mut message = reply_to(request, lease, MessageType::Ack);
    message.set_yiaddr(lease.address);
    if let Some(current) = request.current {
        message.set_ciaddr(current);
    }
    add_lease_times(&mut message, lease);
    add_parameters(&mut message, request, lease);
    deliver(request, message, lease)
}

/// Parameters alone, for a client that has its address from elsewhere: no address and no times (RFC
/// 2131, 4.3.5).
fn inform(request: &Request<'_>, lease: &Lease) -> Reply {
    let mut message = reply_to(request, lease, MessageType::Ack);
    message.set_ciaddr(lease.address);
    add_parameters(&mut message, request, lease);
    deliver(request, message, lease)
}

/// A refusal is always broadcast: the client's address is in doubt (RFC 2131, 4.1).
fn nak(request: &Request<'_>, lease: &Lease, asked: Ipv4Addr) -> Reply {
    let mut message = reply_to(request, lease, MessageType::Nak);
    let reason = format!("{asked} is not the address of this interface");
    message.opts_mut().insert(DhcpOption::Message(reason));
    Reply {
        message,
        to: Ipv4Addr::BROADCAST,
        broadcast: true,
    }
}

/// Where a reply goes: to the address that the client has, to everybody if it asks for that, else
/// to the address that it is about to have.
fn deliver(request: &Request<'_>, message: Message, lease: &Lease) -> Reply {
    let (to, broadcast) = match request.current {
        Some(current) => (current, false),
        None if request.broadcast => (Ipv4Addr::BROADCAST, true),
        None => (lease.address, false),
    };
    Reply {
        message,
        to,
        broadcast,
    }
}

fn reply_to(request: &Request<'_>, lease: &Lease, kind: MessageType) -> Message {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_xid(request.xid)
        .set_chaddr(&request.mac);
    if request.broadcast {
        message.set_flags(Flags::default().set_broadcast());
    }
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(lease.server));
    // RFC 6842: whatever identifier the client gave comes back.
    if let Some(identifier) = request.identifier {
        options.insert(DhcpOption::ClientIdentifier(identifier.to_vec()));
    }
    message
}

fn add_lease_times(message: &mut Message, lease: &Lease) {
    let seconds = seconds(lease.duration);
    let options = message.opts_mut();
    options.insert(DhcpOption::AddressLeaseTime(seconds));
    options.insert(DhcpOption::Renewal(seconds / 2));
    options.insert(DhcpOption::Rebinding(seconds - seconds / 8));
}

/// The parameters that the client asks for; all of them, if it does not say. The mask always goes
/// out, and so do the routes without which an address of a routed pool is of no use; the rest as
/// far as the client has room for it.
fn add_parameters(message: &mut Message, request: &Request<'_>, lease: &Lease) {
    let asks = |code: OptionCode| {
        let list = request.parameters;
        list.is_some_and(|list| list.contains(&code.into()))
    };
    let wants = |code| request.parameters.is_none() || asks(code);
    let site = &lease.site;
    let options = message.opts_mut();
    let mask = Ipv4Net::new(lease.address, lease.prefix_len)
        .map_or(Ipv4Addr::BROADCAST, |net| net.netmask());
    options.insert(DhcpOption::SubnetMask(mask));
    match lease.router {
        Router::OnLink(router) => {
            if wants(OptionCode::Router) {
                options.insert(DhcpOption::Router(vec![router]));
            }
        }
        Router::OffLink(router) => {
            // A client that understands option 121 ignores option 3 (RFC 3442).
            options.insert(DhcpOption::Router(vec![router]));
            options.insert(DhcpOption::ClasslessStaticRoute(vec![
                (Ipv4Net::from(router), Ipv4Addr::UNSPECIFIED),
                (Ipv4Net::default(), router),
            ]));
            if asks(MICROSOFT_ROUTES.into()) {
                options.insert(unknown(MICROSOFT_ROUTES.into(), off_link_routes(router)));
            }
        }
    }
    add_boot_header(message, site);
    let longest = request.longest.unwrap_or(0).max(SHORTEST_LIMIT);
    let longest = usize::from(longest.min(lease.mtu.max(SHORTEST_LIMIT)) - HEADERS);
    for option in optional(lease) {
        let code = OptionCode::from(&option);
        // The name of the server stands in the header already, as an address: a client of that
        // option asks for it.
        let is_wanted = if code == OptionCode::TFTPServerName {
            asks(code)
        } else {
            wants(code)
        };
        if !is_wanted {
            continue;
        }
        message.opts_mut().insert(option);
        if message.to_vec().is_ok_and(|bytes| bytes.len() > longest) {
            message.opts_mut().remove(code);
        }
    }
}

/// What a client can do without, the most useful first.
fn optional(lease: &Lease) -> impl Iterator<Item = DhcpOption> {
    let Parameters {
        domain,
        search,
        ntp4,
        ntp6: _,
        next_server,
        boot_file,
    } = &*lease.site;
    let some = |is_any: bool, option: DhcpOption| is_any.then_some(option);
    let text = |name: &str| name.as_bytes().to_vec();
    [
        Some(DhcpOption::InterfaceMtu(lease.mtu)),
        some(
            !lease.dns.is_empty(),
            DhcpOption::DomainNameServer(lease.dns.clone()),
        ),
        boot_file
            .as_deref()
            .map(|file| DhcpOption::BootfileName(text(file))),
        next_server.map(|server| DhcpOption::TFTPServerName(text(&server.to_string()))),
        domain
            .as_ref()
            .map(|domain| DhcpOption::DomainName(domain.to_string())),
        some(!ntp4.is_empty(), DhcpOption::NtpServers(ntp4.clone())),
        some(
            !search.is_empty(),
            unknown(OptionCode::DomainSearch, names::compressed(search)),
        ),
    ]
    .into_iter()
    .flatten()
}

/// Where to boot from, in the fields that firmware looks at.
fn add_boot_header(message: &mut Message, site: &Parameters) {
    if let Some(server) = site.next_server {
        message.set_siaddr(server);
    }
    // A longer name is in the option alone.
    if let Some(file) = site.boot_file.as_deref().filter(|file| file.len() < FILE) {
        message.set_fname(file.as_bytes());
    }
}

fn unknown(code: OptionCode, value: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(code, value))
}

/// The routes of option 121 as they are on the wire: prefix length, its significant bytes, router.
fn off_link_routes(router: Ipv4Addr) -> Vec<u8> {
    let router = router.octets();
    [&[32][..], &router, &[0; 4], &[0], &router].concat()
}

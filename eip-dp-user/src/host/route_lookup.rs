//! Where the kernel of this host would send a packet: one question, however many routes it has.

use std::{io, net::IpAddr, time::Duration};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of the Internet that no network has for itself, so that a default route is what leads
/// there: of AS112's blackhole (RFC 7534), and one of `2000::/3` that is given to nobody.
const FAR: [&str; 2] = ["192.31.196.1", "3ffe::1"];

/// The routers that the kernel sends to what no other route leads to. A router behind several
/// uplinks is found once, and of several routers the one that is used.
pub fn default_routers() -> Vec<IpAddr> {
    let far = FAR.iter().filter_map(|address| address.parse().ok());
    // Where nothing leads, there is none.
    far.filter_map(|address: IpAddr| router(&look_up(address, RouteFlags::empty()).ok()?))
        .collect()
}

/// Where an address is, as the kernel of this host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPlace {
    /// This host itself has it.
    Own,
    /// In this network, which the host is on; or it is a network's broadcast address.
    OnLink(IpNet),
    /// Behind a router, or nowhere.
    Elsewhere,
}

/// Where the address is.
pub fn place_of(address: IpAddr) -> io::Result<AddressPlace> {
    let route = match look_up(address, RouteFlags::FibMatch) {
        Ok(route) => route,
        // Nothing leads there, or it is refused: what is its own is in a table that the kernel asks
        // first.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
            ) =>
        {
            return Ok(AddressPlace::Elsewhere);
        }
        Err(error) => return Err(error),
    };
    Ok(match route.header.kind {
        RouteType::Local => AddressPlace::Own,
        RouteType::Unicast if router(&route).is_none() => {
            let length = route.header.destination_prefix_length;
            let network = IpNet::new(address, length).map(|net| net.trunc());
            network.map_or(AddressPlace::Elsewhere, AddressPlace::OnLink)
        }
        // Its route is for the address alone, which is at the same end of the smallest network
        // that has such addresses.
        RouteType::Broadcast | RouteType::Anycast => {
            let length = if address.is_ipv4() { 30 } else { 126 };
            let network = IpNet::new(address, length).map(|net| net.trunc());
            network.map_or(AddressPlace::Elsewhere, AddressPlace::OnLink)
        }
        _ => AddressPlace::Elsewhere,
    })
}

fn router(route: &RouteMessage) -> Option<IpAddr> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(address))
            | RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(address))
            | RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
            _ => None,
        })
}

fn look_up(address: IpAddr, flags: RouteFlags) -> io::Result<RouteMessage> {
    let mut request = RouteMessage::default();
    request.header.flags = flags;
    let (family, length, destination) = match address {
        IpAddr::V4(v4) => (AddressFamily::Inet, 32, RouteAddress::Inet(v4)),
        IpAddr::V6(v6) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(v6)),
    };
    request.header.address_family = family;
    request.header.destination_prefix_length = length;
    let attribute = RouteAttribute::Destination(destination);
    request.attributes.push(attribute);
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(request));
    message.header.flags = NLM_F_REQUEST;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    nix::sys::socket::setsockopt(
        &socket,
        nix::sys::socket::sockopt::ReceiveTimeout,
        &nix::sys::time::TimeVal::new(ANSWER_TIMEOUT.as_secs().cast_signed(), 0),
    )?;
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => Ok(route),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

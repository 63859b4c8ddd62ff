//! Firewall rules on the forward hook, which packets between uplink and ports do not pass.
//!
//! XDP and tc redirect packets before netfilter sees them. An operator who believes that such a
//! rule protects the guests must be told that it does not. nftables is asked by netlink, so that
//! the `nft` command need not be there; the rules of `iptables-legacy` have no netlink and are
//! asked by socket option.

use std::{fmt, io};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NlaBuffer,
    NlasIterator, parse_string, parse_u32_be,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::{HostError, iptables};

const HEADER: usize = 16;
const NFGENMSG: usize = 4;
/// `NFNL_SUBSYS_NFTABLES`, `NFT_MSG_NEWCHAIN` and `NFT_MSG_GETCHAIN`.
const NEW_CHAIN: u16 = 10 << 8 | 3;
const GET_CHAIN: u16 = 10 << 8 | 4;
const ATTRIBUTE_TABLE: u16 = 1;
const ATTRIBUTE_NAME: u16 = 3;
const ATTRIBUTE_HOOK: u16 = 4;
const ATTRIBUTE_POLICY: u16 = 5;
const ATTRIBUTE_USE: u16 = 6;
const ATTRIBUTE_HOOK_NUMBER: u16 = 1;
/// `NF_INET_FORWARD`.
const FORWARD: u32 = 2;
/// `NF_DROP`.
const DROP: u32 = 0;
const DUMP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// A chain of a firewall that forwarded packets would pass, were it not for the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardChain {
    /// Where it is: `nftables table inet filter, chain forward`.
    pub place: String,
    /// How many rules it has.
    pub rules: u32,
    /// Whether what no rule decides is dropped.
    pub drops: bool,
}

impl ForwardChain {
    /// Whether it would have any effect.
    pub(super) fn matters(&self) -> bool {
        self.rules > 0 || self.drops
    }
}

impl fmt::Display for ForwardChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = if self.drops { "drop" } else { "accept" };
        let rules = if self.rules == 1 { "rule" } else { "rules" };
        write!(
            f,
            "{} ({} {rules}, policy {policy})",
            self.place, self.rules
        )
    }
}

/// The chains on the forward hook of this network namespace that would have an effect, IPv4 and
/// IPv6. Needs `CAP_NET_ADMIN`. A kernel without netfilter has none.
pub fn forward_hook_rules() -> Result<Vec<ForwardChain>, HostError> {
    let mut chains =
        nftables().map_err(|error| HostError::netlink("nftables chains", error.to_string()))?;
    let legacy = iptables::forward_chain()
        .map_err(|error| HostError::netlink("iptables rules", error.to_string()))?;
    chains.extend(legacy);
    chains.retain(ForwardChain::matters);
    Ok(chains)
}

fn nftables() -> io::Result<Vec<ForwardChain>> {
    let socket = match Socket::new(NETLINK_NETFILTER) {
        Ok(socket) => socket,
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    socket2::SockRef::from(&socket).set_read_timeout(Some(DUMP_TIMEOUT))?;
    socket.send_to(&request(), &SocketAddr::new(0, 0), 0)?;
    let mut chains = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if read(&datagram, &mut chains)? {
            return Ok(chains);
        }
    }
}

/// Asks for the chains of all families.
fn request() -> [u8; HEADER + NFGENMSG] {
    let mut message = [0; HEADER + NFGENMSG];
    let mut buffer = NetlinkBuffer::new(&mut message[..]);
    buffer.set_length(20);
    buffer.set_message_type(GET_CHAIN);
    buffer.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
    buffer.set_sequence_number(1);
    message
}

/// Reads the messages of a datagram, and tells whether the dump ended.
fn read(datagram: &[u8], chains: &mut Vec<ForwardChain>) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(invalid)?;
        match message.message_type() {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return refusal(message.payload()).map(|()| true),
            NEW_CHAIN => chains.extend(chain(message.payload()).map_err(invalid)?),
            _ => {}
        }
        let length = (message.length() as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(false)
}

/// Reads a dump that anybody may have written.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn hold(bytes: &[u8]) -> bool {
    // The first byte says by which way it came.
    let Some((way, bytes)) = bytes.split_first() else {
        return false;
    };
    if way % 2 == 1 {
        return iptables::hold(bytes);
    }
    let mut chains = Vec::new();
    let ended = read(bytes, &mut chains);
    for chain in &chains {
        assert!(chain.to_string().starts_with("nftables table"));
    }
    ended.is_ok() && !chains.is_empty()
}

/// The kernel's error; that it has no nftables is none.
fn refusal(payload: &[u8]) -> io::Result<()> {
    let code = payload
        .first_chunk()
        .map_or(0, |code| i32::from_ne_bytes(*code));
    match -code {
        0 | libc::EINVAL | libc::EOPNOTSUPP => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The chain that a message describes, if it is on the forward hook of IPv4, IPv6 or both.
fn chain(payload: &[u8]) -> Result<Option<ForwardChain>, DecodeError> {
    let Some((header, attributes)) = payload.split_at_checked(NFGENMSG) else {
        return Ok(None);
    };
    let family = match header[0] {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        _ => return Ok(None),
    };
    let (mut table, mut name) = (String::new(), String::new());
    let (mut forward, mut drops, mut rules) = (false, false, 0);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            ATTRIBUTE_TABLE => table = parse_string(value)?,
            ATTRIBUTE_NAME => name = parse_string(value)?,
            ATTRIBUTE_HOOK => forward = is_forward(value)?,
            ATTRIBUTE_POLICY => drops = parse_u32_be(value)? == DROP,
            ATTRIBUTE_USE => rules = parse_u32_be(value)?,
            _ => {}
        }
    }
    Ok(forward.then(|| ForwardChain {
        place: format!("nftables table {family} {table}, chain {name}"),
        rules,
        drops,
    }))
}

fn is_forward(hook: &[u8]) -> Result<bool, DecodeError> {
    for attribute in NlasIterator::new(hook) {
        let attribute: NlaBuffer<&[u8]> = attribute?;
        if attribute.kind() == ATTRIBUTE_HOOK_NUMBER {
            return Ok(parse_u32_be(attribute.value())? == FORWARD);
        }
    }
    Ok(false)
}

fn invalid(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

//! Router advertisements for ports (RFC 4861, 6.2): the gateway is every served guest's IPv6
//! router, and the address comes by DHCPv6. Only where the one that a guest would make itself, of
//! the prefix and its Ethernet address, is the one that it is to have, may it do that, too.
//!
//! Each ENI has its own advertisements, in a frame to its own Ethernet address also where the IPv6
//! destination is every node (RFC 6085): on one port there may be an ENI that has the VPC on its
//! link beside one that has not, or one that is not served.

mod advertiser;
mod message;
#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

pub(super) use advertiser::Advertiser;

use crate::frame::v6::UNFORWARDED;

const ROUTER_SOLICITATION: u8 = 133;
const SOURCE_LINK_ADDRESS: u8 = 1;

/// Who solicits advertisements, if that is what the ICMPv6 message does and it is valid (RFC 4861,
/// 6.1.1). A guest that has no address yet is the unspecified one.
pub(super) fn solicitor(source: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Option<Ipv6Addr> {
    let (header, mut options) = message.split_first_chunk::<8>()?;
    if header[..2] != [ROUTER_SOLICITATION, 0] || hop_limit != UNFORWARDED {
        return None;
    }
    while let [kind, length, ..] = options {
        if *length == 0 || (*kind == SOURCE_LINK_ADDRESS && source.is_unspecified()) {
            return None;
        }
        options = options.get(usize::from(*length) * 8..)?;
    }
    let is_neighbour = source.is_unspecified() || source.is_unicast_link_local();
    (options.is_empty() && is_neighbour).then_some(source)
}

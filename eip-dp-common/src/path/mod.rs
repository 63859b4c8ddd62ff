//! What happens to a packet: from a frame on an uplink or a port to a [`Verdict`].
//!
//! [`from_uplink`] and [`from_port`] are the entrances, one a direction; [`forward`] is where both end for a packet that
//! goes on. A packet is translated completely or left untouched: every check stands before the first write.

mod arp;
mod forward;
mod nd;
mod notify;
mod port;
mod quote;
mod uplink;

pub use port::from_port;
pub use uplink::from_uplink;

use crate::{
    abi::{Event, NONE, Reason, Uplink},
    family::{Datagram, Family, V4, V6},
    packet::{Ethernet, Packet},
    tables::Tables,
};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ready to be sent on this interface.
    Send {
        /// Interface index.
        ifindex: u32,
        /// The VLAN to tag with, 0 for none.
        vlan: u16,
    },
    /// Ready to be sent on this uplink, but for the MAC of its next hop.
    Resolve {
        /// Interface index.
        ifindex: u32,
        /// The VLAN to tag with, 0 for none.
        vlan: u16,
        /// Whose next hop: [`crate::family::Family::UPLINK_TARGET`].
        family: u32,
    },
    /// Translated but larger than the way out: for the kernel to route and send in fragments.
    Kernel,
    /// Ready to be sent out of the interface that it came from.
    Reply,
    /// Left to the kernel, untouched.
    Pass,
    /// A guest's DHCP message, for the daemon; untouched.
    Daemon,
    /// Left to this interface's slow path, untouched.
    Slow,
    /// Not delivered.
    Drop(Reason),
    /// Not delivered, and now the ICMP error that tells its sender, ready to be sent out of the interface that it came from.
    Refuse(Reason),
}

/// A verdict, and in whose counters it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// The slot of the EIP that it was for, or [`NONE`].
    pub receiver: u32,
    /// The slot of the EIP that it was from, or [`NONE`].
    pub sender: u32,
    /// The packet's length in bytes, from the IP header on.
    pub bytes: u32,
    /// The MTU that it does not fit, with [`Reason::TooBig`].
    pub mtu: u32,
    /// What else is counted.
    pub event: Option<Event>,
}

impl Outcome {
    /// Nothing is known of the packet yet, and nobody counts it.
    const START: Self = Self {
        verdict: Verdict::Pass,
        receiver: NONE,
        sender: NONE,
        bytes: 0,
        mtu: 0,
        event: None,
    };

    /// Not delivered, before anything is known of whose it is.
    #[inline(always)]
    pub const fn dropped(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Drop(reason),
            ..Self::START
        }
    }
}

/// What is done in another way in each address family: who has which address on a link, and how it gets one.
trait Local: Family {
    /// The UDP ports of a DHCP client's message to a server, source and destination.
    const DHCP_PORTS: [u8; 4];

    /// What a packet from an ENI is to neighbour discovery; `None` for what is no part of that.
    fn discovery_on_port<P: Packet, T: Tables<Self>>(
        packet: &mut P,
        tables: &T,
        from: &port::From,
        sender: &port::Sender,
        datagram: &Datagram<Self>,
    ) -> Option<Result<Verdict, Reason>>;

    /// Likewise from an uplink.
    fn discovery_on_uplink<P: Packet, T: Tables<Self>>(
        packet: &mut P,
        tables: &T,
        uplink: &Uplink,
        ethernet: &Ethernet,
        datagram: &Datagram<Self>,
    ) -> Option<Result<Verdict, Reason>>;

    /// The gateway's address towards the Internet.
    fn icmp_source(uplink: &Uplink) -> Self::Address;
}

/// IPv4 has ARP for it, which is no IP.
impl Local for V4 {
    /// RFC 2131 4.1.
    const DHCP_PORTS: [u8; 4] = [0, 68, 0, 67];

    #[inline(always)]
    fn discovery_on_port<P: Packet, T: Tables<Self>>(
        _: &mut P,
        _: &T,
        _: &port::From,
        _: &port::Sender,
        _: &Datagram<Self>,
    ) -> Option<Result<Verdict, Reason>> {
        None
    }

    #[inline(always)]
    fn discovery_on_uplink<P: Packet, T: Tables<Self>>(
        _: &mut P,
        _: &T,
        _: &Uplink,
        _: &Ethernet,
        _: &Datagram<Self>,
    ) -> Option<Result<Verdict, Reason>> {
        None
    }

    #[inline(always)]
    fn icmp_source(uplink: &Uplink) -> [u8; 4] {
        uplink.icmp_source4
    }
}

impl Local for V6 {
    /// RFC 8415 7.2: 546 and 547.
    const DHCP_PORTS: [u8; 4] = [2, 34, 2, 35];

    #[inline(always)]
    fn discovery_on_port<P: Packet, T: Tables<Self>>(
        packet: &mut P,
        tables: &T,
        from: &port::From,
        sender: &port::Sender,
        datagram: &Datagram<Self>,
    ) -> Option<Result<Verdict, Reason>> {
        nd::on_port(packet, tables, from, sender, datagram)
    }

    #[inline(always)]
    fn discovery_on_uplink<P: Packet, T: Tables<Self>>(
        packet: &mut P,
        tables: &T,
        uplink: &Uplink,
        ethernet: &Ethernet,
        datagram: &Datagram<Self>,
    ) -> Option<Result<Verdict, Reason>> {
        nd::on_uplink(packet, tables, uplink, ethernet, datagram)
    }

    #[inline(always)]
    fn icmp_source(uplink: &Uplink) -> [u8; 16] {
        uplink.icmp_source6
    }
}

/// Fills in the verdict, from a step that ends with a verdict or a reason.
#[inline(always)]
fn conclude(mut outcome: Outcome, result: Result<Verdict, Reason>) -> Outcome {
    outcome.verdict = match result {
        Ok(verdict) => verdict,
        Err(reason) => Verdict::Drop(reason),
    };
    outcome
}

#[cfg(test)]
mod tests;

//! What happens to a packet: from a frame on an uplink or a port to a [`Verdict`].
//!
//! [`packet_from_uplink`] and [`packet_from_port`] are the entry points, one a direction, for each
//! address family; [`forward`] is where both end for a packet that goes on.
//! [`discovery_from_uplink`] and [`discovery_from_port`] are the same for ARP and neighbour
//! discovery. A packet is translated completely or left untouched: every check stands before the
//! first write. [`icmp_error_on_uplink`] and [`icmp_error_on_port`] follow for a packet that ends
//! here and whose sender has to know. In the kernel each of these is a program of its own, with 512
//! bytes of stack.

mod arp;
mod fast_path;
mod forward;
pub mod fragment;
mod handoff;
mod icmp_embedded;
mod icmp_error;
mod nd;
mod partial;
mod port;
mod uplink;

pub use fast_path::{FastPathTables, fast_path_from_port, fast_path_from_uplink};
pub use handoff::Handoff;
pub use icmp_error::{icmp_error_on_port, icmp_error_on_uplink, punt_icmp_error};
pub use partial::is_honest;
pub use port::{PortFrame, answer_ping, discovery_from_port, packet_from_port};
pub use uplink::{discovery_from_uplink, packet_from_uplink};

use crate::{
    abi::{Event, LinkKey, NONE, Reason, Target, Uplink},
    family::{Family, V4, V6},
    packet::{self, Ethernet, Packet},
    tables::Tables,
};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ready to be sent, the way that [`Outcome::egress`] says.
    Send,
    /// Likewise, but for the MAC of the uplink's next hop.
    SendUnresolved,
    /// Likewise, but for the MAC of the destination itself, which is on the uplink's link.
    SendToNeighbour,
    /// Larger than the way out and may be cut: to be made into fragments of [`Outcome::mtu`], each
    /// of which comes again; untouched.
    Fragment,
    /// Ready to be sent out of the interface that it came from.
    Reply,
    /// A ping of the gateway, for [`answer_ping`]; untouched.
    Ping,
    /// Left to the kernel, untouched.
    Pass,
    /// A guest's DHCP message, for the daemon; untouched.
    PuntToDaemon,
    /// Left to this interface's slow path, or by the fast path to the whole one, untouched.
    Punt,
    /// Not delivered.
    Drop(Reason),
    /// Not delivered, and now the ICMP error that tells its sender, ready to be sent out of the
    /// interface that it came from.
    IcmpError(Reason),
}

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Interface index.
    pub ifindex: u32,
    /// The VLAN to tag with in the lower half, and that of an 802.1ad tag outside of it in the
    /// upper; 0 for none.
    pub vlan: u32,
}

impl Egress {
    /// The way to a target.
    #[inline(always)]
    pub const fn to(target: &Target) -> Self {
        Self {
            ifindex: target.ifindex,
            vlan: target.vlan as u32 | (target.outer as u32) << 16,
        }
    }
}

/// A verdict, and in whose counters it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// Where it counts for the EIP that it was for, or [`NONE`].
    pub receiver: u32,
    /// Where it counts for the EIP that it was from, or [`NONE`].
    pub sender: u32,
    /// The target of the ENI that sent it, or [`NONE`]: whose budget pays for what the gateway does
    /// about it.
    pub eni: u32,
    /// The packet's length in bytes, from the IP header on.
    pub bytes: u32,
    /// The MTU that it does not fit, with [`Reason::TooBig`] and [`Verdict::Fragment`].
    pub mtu: u32,
    /// Where it goes, with [`Verdict::Send`], [`Verdict::SendUnresolved`] and
    /// [`Verdict::SendToNeighbour`]. Not part of the verdict: what has no value on some ways to one
    /// place, the compiler fills with anything, which the verifier refuses.
    pub egress: Egress,
    /// What else is counted.
    pub event: Option<Event>,
}

impl Outcome {
    /// Nothing is known of the packet yet, and nobody counts it.
    pub const START: Self = Self {
        verdict: Verdict::Pass,
        receiver: NONE,
        sender: NONE,
        eni: NONE,
        bytes: 0,
        mtu: 0,
        egress: Egress {
            ifindex: 0,
            vlan: 0,
        },
        event: None,
    };

    /// There was no room to look anything up.
    const NO_ROOM: Self = Self::dropped(Reason::KernelRefused);

    /// Whether its sender may have to be told.
    #[inline(always)]
    pub const fn wants_icmp_error(&self) -> bool {
        matches!(
            self.verdict,
            Verdict::Drop(Reason::TtlExceeded | Reason::TooBig)
        )
    }

    /// Not delivered, before anything is known of whose it is.
    #[inline(always)]
    pub const fn dropped(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Drop(reason),
            ..Self::START
        }
    }
}

/// What is done in another way in each address family: how a host gets its address, and who answers
/// for the gateway.
pub trait LinkProtocols: Family {
    /// The UDP ports of a DHCP client's message to a server, source and destination.
    const DHCP_PORTS: [u8; 4];
    /// Those of a server's message to a client.
    const DHCP_SERVER_PORTS: [u8; 4];
    /// The Ethernet type.
    const ETHERTYPE: [u8; 2];
    /// The group that virtual routers advertise to (RFC 5798 5.1.1.2, 5.1.2.2).
    const VRRP_GROUP: Self::Address;

    /// The gateway's address towards the Internet.
    fn icmp_source(uplink: &Uplink) -> Self::Address;

    /// Whether a frame is about who has which address on the link.
    fn is_discovery<P: Packet>(packet: &P, ethernet: &Ethernet) -> bool;

    /// What becomes of such a frame from an uplink.
    fn discovery_on_uplink<P: Packet, T: Tables<Self>>(
        packet: &mut P,
        tables: &T,
        uplink: &Uplink,
        ethernet: &Ethernet,
    ) -> Outcome;

    /// Likewise from a port.
    fn discovery_on_port<P: Packet, T: Tables<Self>>(
        packet: &mut P,
        tables: &T,
        from: &PortFrame,
    ) -> Outcome;
}

impl LinkProtocols for V4 {
    /// RFC 2131 4.1: 68 and 67.
    const DHCP_PORTS: [u8; 4] = [0, 68, 0, 67];
    const DHCP_SERVER_PORTS: [u8; 4] = [0, 67, 0, 68];
    const ETHERTYPE: [u8; 2] = packet::IPV4;
    const VRRP_GROUP: [u8; 4] = [224, 0, 0, 18];

    #[inline(always)]
    fn icmp_source(uplink: &Uplink) -> [u8; 4] {
        uplink.icmp_source4
    }

    #[inline(always)]
    fn is_discovery<P: Packet>(_packet: &P, ethernet: &Ethernet) -> bool {
        ethernet.ethertype == packet::ARP
    }

    #[inline(always)]
    fn discovery_on_uplink<P: Packet, T: Tables<Self>>(
        packet: &mut P,
        tables: &T,
        uplink: &Uplink,
        _ethernet: &Ethernet,
    ) -> Outcome {
        arp::on_uplink(packet, tables, uplink)
    }

    #[inline(always)]
    fn discovery_on_port<P: Packet, T: Tables<Self>>(
        packet: &mut P,
        tables: &T,
        from: &PortFrame,
    ) -> Outcome {
        arp::on_port(packet, tables, from)
    }
}

impl LinkProtocols for V6 {
    /// RFC 8415 7.2: 546 and 547.
    const DHCP_PORTS: [u8; 4] = [2, 34, 2, 35];
    const DHCP_SERVER_PORTS: [u8; 4] = [2, 35, 2, 34];
    const ETHERTYPE: [u8; 2] = packet::IPV6;
    const VRRP_GROUP: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12];

    #[inline(always)]
    fn icmp_source(uplink: &Uplink) -> [u8; 16] {
        uplink.icmp_source6
    }

    #[inline(always)]
    fn is_discovery<P: Packet>(packet: &P, ethernet: &Ethernet) -> bool {
        ethernet.ethertype == packet::IPV6 && nd::is_message(packet)
    }

    #[inline(always)]
    fn discovery_on_uplink<P: Packet, T: Tables<Self>>(
        packet: &mut P,
        tables: &T,
        uplink: &Uplink,
        ethernet: &Ethernet,
    ) -> Outcome {
        nd::on_uplink(packet, tables, uplink, ethernet)
    }

    #[inline(always)]
    fn discovery_on_port<P: Packet, T: Tables<Self>>(
        packet: &mut P,
        tables: &T,
        from: &PortFrame,
    ) -> Outcome {
        nd::on_port(packet, tables, from)
    }
}

/// Any frame from an uplink, on the host: in the kernel each step is a program of its own.
pub fn from_uplink<P: Packet, T: Tables<V4> + Tables<V6>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
) -> Outcome {
    fn of<F: LinkProtocols, P: Packet, T: Tables<F>>(
        packet: &mut P,
        tables: &T,
        key: LinkKey,
    ) -> Outcome {
        if is_discovery::<F, P>(packet) {
            return discovery_from_uplink(packet, tables, key);
        }
        let mut outcome = packet_from_uplink(packet, tables, key);
        icmp_error_on_uplink(packet, tables, key, &mut outcome);
        outcome
    }
    if is_ipv6(packet) {
        of::<V6, _, _>(packet, tables, key)
    } else {
        of::<V4, _, _>(packet, tables, key)
    }
}

/// Any frame from a port; see [`from_uplink`].
pub fn from_port<P: Packet, T: Tables<V4> + Tables<V6>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
) -> Outcome {
    fn of<F: LinkProtocols, P: Packet, T: Tables<F>>(
        packet: &mut P,
        tables: &T,
        key: LinkKey,
    ) -> Outcome {
        if is_discovery::<F, P>(packet) {
            return discovery_from_port(packet, tables, key);
        }
        let mut outcome = packet_from_port(packet, tables, key);
        icmp_error_on_port(packet, tables, key, &mut outcome);
        if outcome.verdict == Verdict::Ping {
            return answer_ping::<F, _, _>(packet, tables, key);
        }
        outcome
    }
    if is_ipv6(packet) {
        of::<V6, _, _>(packet, tables, key)
    } else {
        of::<V4, _, _>(packet, tables, key)
    }
}

/// Whether a frame is about who has which address on the link.
#[inline(always)]
pub fn is_discovery<F: LinkProtocols, P: Packet>(packet: &P) -> bool {
    Ethernet::read(packet).is_some_and(|ethernet| F::is_discovery(packet, &ethernet))
}

fn is_ipv6<P: Packet>(packet: &P) -> bool {
    Ethernet::read(packet).is_some_and(|ethernet| ethernet.ethertype == packet::IPV6)
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

//! What happens to a packet: from a frame on an uplink or a port to a [`Verdict`].
//!
//! [`from_uplink`] and [`from_port`] are the entrances, one a direction; [`forward`] is where both end for a packet that
//! goes on. A packet is translated completely or left untouched: every check stands before the first write.
//!
//! A BPF program has 512 bytes of stack, for all functions that are active at one time. So the steps of a packet, one family's
//! each, are functions of their own (`inline(never)`) that the entrances call one after the other; all else is inlined.

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
    family::{Family, V4, V6},
};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ready to be sent, the way that [`Outcome::way`] says.
    Send,
    /// Likewise, but for the MAC of the uplink's next hop.
    Resolve,
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

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Interface index.
    pub ifindex: u32,
    /// The VLAN to tag with, 0 for none.
    pub vlan: u32,
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
    /// Where it goes, with [`Verdict::Send`] and [`Verdict::Resolve`]. Not part of the verdict: what has no value on some
    /// ways to one place, the compiler fills with anything, which the verifier refuses.
    pub way: Way,
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
        way: Way {
            ifindex: 0,
            vlan: 0,
        },
        event: None,
    };

    /// There was no room to look anything up.
    const NO_ROOM: Self = Self::dropped(Reason::KernelRefused);

    /// Whether its sender may have to be told.
    #[inline(always)]
    const fn concerns_sender(&self) -> bool {
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

/// What is done in another way in each address family: how a host gets its address, and who answers for the gateway.
trait Local: Family {
    /// The UDP ports of a DHCP client's message to a server, source and destination.
    const DHCP_PORTS: [u8; 4];

    /// The gateway's address towards the Internet.
    fn icmp_source(uplink: &Uplink) -> Self::Address;
}

impl Local for V4 {
    /// RFC 2131 4.1: 68 and 67.
    const DHCP_PORTS: [u8; 4] = [0, 68, 0, 67];

    #[inline(always)]
    fn icmp_source(uplink: &Uplink) -> [u8; 4] {
        uplink.icmp_source4
    }
}

impl Local for V6 {
    /// RFC 8415 7.2: 546 and 547.
    const DHCP_PORTS: [u8; 4] = [2, 34, 2, 35];

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

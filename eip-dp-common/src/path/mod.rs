//! What happens to a packet: from a frame on an uplink or a port to a [`Verdict`].
//!
//! [`from_uplink`] and [`from_port`] are the entrances, one a direction; [`forward`] is where both end for a packet that
//! goes on. A packet is translated completely or left untouched: every check stands before the first write.

mod arp;
mod forward;
mod port;
mod uplink;

pub use port::from_port;
pub use uplink::from_uplink;

use crate::abi::{NONE, Reason};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ready to be sent on this interface.
    Send {
        /// Interface index.
        ifindex: u32,
    },
    /// Ready to be sent on this uplink, but for the MAC of its next hop.
    Resolve {
        /// Interface index.
        ifindex: u32,
    },
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
}

impl Outcome {
    /// Nothing is known of the packet yet, and nobody counts it.
    const START: Self = Self {
        verdict: Verdict::Pass,
        receiver: NONE,
        sender: NONE,
        bytes: 0,
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

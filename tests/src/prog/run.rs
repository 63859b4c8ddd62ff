//! One run of a program over a packet.

use anyhow::{Result, bail};
use eip_dp_common::abi::programs;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP of the interface.
    Xdp,
    /// tc ingress of the interface.
    Tc,
}

impl Hook {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Xdp, Self::Tc];

    /// The program that stands at this hook of an interface; uplinks are those whose name begins with `up`.
    pub fn program(self, interface: &str) -> &'static str {
        match (self, interface.starts_with("up")) {
            (Self::Xdp, true) => programs::UPLINK_XDP,
            (Self::Xdp, false) => programs::PORT_XDP,
            (Self::Tc, true) => programs::UPLINK_TC,
            (Self::Tc, false) => programs::PORT_TC,
        }
    }
}

/// What a program said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Sent out of some interface.
    Redirect,
    /// Left to what comes next.
    Pass,
    /// Dropped.
    Drop,
}

impl Verdict {
    /// Reads a program's return code.
    ///
    /// # Errors
    /// For a code that our programs never return.
    pub fn from_code(hook: Hook, code: u32) -> Result<Self> {
        const TCX_NEXT: u32 = u32::MAX;
        Ok(match (hook, code) {
            (Hook::Xdp, 1) | (Hook::Tc, 2) => Self::Drop,
            (Hook::Xdp, 2) | (Hook::Tc, 0 | TCX_NEXT) => Self::Pass,
            (Hook::Xdp, 4) | (Hook::Tc, 7) => Self::Redirect,
            _ => bail!("{hook:?} returned {code}"),
        })
    }
}

/// What came out.
#[derive(Debug)]
pub struct Run {
    /// What the program said.
    pub verdict: Verdict,
    /// The frame as it left it.
    pub out: Vec<u8>,
}

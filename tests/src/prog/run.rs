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

    /// Whether the kernel runs a program at this hook over such a frame for a test. No tc program
    /// sees a frame of more than a page that way, nor (since Linux 6.18) an IP packet without a
    /// whole header; over a wire it does.
    pub fn is_testable(self, frame: &[u8]) -> bool {
        const ETHERNET: usize = 14;
        const PAGE_WITHOUT_SKB_OVERHEAD: usize = 3500;
        let shortest = match frame.get(12..ETHERNET) {
            Some([0x08, 0x00]) => ETHERNET + 20,
            Some([0x86, 0xdd]) => ETHERNET + 40,
            // No frame has its tag in it where tc sees it.
            Some([0x81, 0x00] | [0x88, 0xa8]) => usize::MAX,
            _ => ETHERNET,
        };
        match self {
            Self::Xdp => true,
            Self::Tc => (shortest..PAGE_WITHOUT_SKB_OVERHEAD).contains(&frame.len()),
        }
    }

    /// The program that stands at this hook of an interface; uplinks are those whose name begins
    /// with `up`.
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

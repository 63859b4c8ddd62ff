//! What is measured: the table's shape, the way of a packet, and what is mixed into the traffic.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What the associations do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Each ENI has 16 private addresses with an EIP each.
    Nat,
    /// Each ENI has one EIP.
    CutThrough,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Of EIPs and private addresses.
    pub family: Family,
    /// Of all associations.
    pub mode: Mode,
    /// How many EIPs, all associated.
    pub eips: u32,
    /// How many VPCs, a power of two; each stands behind a port of its own, and their private
    /// addresses are the same.
    pub vpcs: u32,
}

/// Private addresses of an ENI in NAT mode.
const ADDRESSES_OF_ENI: u32 = 16;

impl Shape {
    /// IPv4 NAT in one VPC.
    pub fn nat4(eips: u32) -> Self {
        Self {
            family: Family::V4,
            mode: Mode::Nat,
            eips,
            vpcs: 1,
        }
    }

    /// How many EIPs each VPC has.
    pub fn members(&self) -> u32 {
        self.eips / self.vpcs
    }

    /// The logarithm of how many associations an ENI has.
    pub fn eni_bits(&self) -> u32 {
        match self.mode {
            Mode::Nat => ADDRESSES_OF_ENI.ilog2(),
            Mode::CutThrough => 0,
        }
    }

    /// How many ENIs there are.
    pub fn enis(&self) -> u32 {
        self.members().div_ceil(1 << self.eni_bits()) * self.vpcs
    }

    /// A name for files and rows.
    pub fn name(&self) -> String {
        let Self {
            family,
            mode,
            eips,
            vpcs,
        } = self;
        let of_vpcs = if *vpcs > 1 {
            format!(" {vpcs} VPCs")
        } else {
            String::new()
        };
        format!("{mode} {family}{of_vpcs} {eips}")
    }
}

/// The way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// From the Internet to an EIP.
    In,
    /// From an EIP to the Internet.
    Out,
    /// From an EIP to another one here.
    Hairpin,
    /// An ICMP error to an EIP, quoting what went out.
    Error,
    /// From the Internet to an address of the pool that nobody has: dropped.
    Flood,
}

/// How EIPs are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// Each as often as any other.
    Uniform,
    /// By Zipf's law with the exponent 1.
    Zipf,
}

/// The length of frames, without the checksum that a wire adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// In bytes.
    Bytes(u16),
    /// Seven of 64 bytes, four of 570, one of 1,514.
    Mix,
}

/// Who forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gateway {
    /// XDP that drops: what generator and one link cost.
    Ceiling,
    /// XDP that writes MACs and redirects.
    Bare,
    /// 1:1 NAT with the kernel's hash map, in XDP.
    Textbook,
    /// The kernel's forwarding, without NAT.
    Kernel,
    /// nftables, stateless, at a device's ingress.
    NftIngress,
    /// nftables, stateless, before routing.
    NftPrerouting,
    /// nftables with connection tracking.
    NftConntrack,
    /// iptables with NETMAP, which tracks connections.
    Netmap,
    /// eip-dp with uplink and ports on XDP, as far as it can.
    EipDp,
    /// eip-dp as it chooses by itself.
    EipDpAuto,
}

/// One thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Row {
    /// Who forwards.
    pub gateway: Gateway,
    /// With which table.
    pub shape: Shape,
    /// What.
    pub path: Path,
    /// To which EIPs.
    pub draw: Draw,
    /// Frames of which length.
    pub size: Size,
    /// On how many cores.
    pub cores: u32,
}

/// The shortest frames.
pub const SMALLEST: Size = Size::Bytes(64);

impl Row {
    /// Uniformly drawn EIPs in the shortest frames, on one core.
    pub fn new(gateway: Gateway, shape: Shape, path: Path) -> Self {
        Self {
            gateway,
            shape,
            path,
            draw: Draw::Uniform,
            size: SMALLEST,
            cores: 1,
        }
    }

    /// With EIPs drawn so.
    #[must_use]
    pub fn drawn(self, draw: Draw) -> Self {
        Self { draw, ..self }
    }

    /// With frames of this length.
    #[must_use]
    pub fn sized(self, size: Size) -> Self {
        Self { size, ..self }
    }

    /// On so many cores.
    #[must_use]
    pub fn on(self, cores: u32) -> Self {
        Self { cores, ..self }
    }

    /// The bare redirect that it is held against: the same frames, of any EIPs.
    #[must_use]
    pub fn bare(self) -> Self {
        let shape = Shape {
            family: self.shape.family,
            ..Shape::nat4(BARE_EIPS)
        };
        Self {
            gateway: Gateway::Bare,
            shape,
            path: Path::In,
            // Errors are longer than the shortest frame, and not of a chosen size.
            ..self
        }
    }

    /// Its name, unique among rows.
    pub fn name(&self) -> String {
        let Self {
            gateway,
            shape,
            path,
            draw,
            size,
            cores,
        } = self;
        let many = if *cores > 1 {
            format!(" {cores} cores")
        } else {
            String::new()
        };
        if matches!(gateway, Gateway::Bare | Gateway::Ceiling) {
            return format!("{gateway} {} {draw} {size}{many}", shape.family);
        }
        format!("{gateway} {} {path} {draw} {size}{many}", shape.name())
    }
}

/// The bare redirect looks nothing up: it is measured once, with addresses of so many EIPs.
const BARE_EIPS: u32 = 65_536;

macro_rules! display {
    ($type:ty { $($variant:pat => $text:expr),+ $(,)? }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($variant => $text),+ })
            }
        }
    };
}

display!(Family { Self::V4 => "v4", Self::V6 => "v6" });
display!(Mode { Self::Nat => "nat", Self::CutThrough => "cut-through" });
display!(Draw { Self::Uniform => "uniform", Self::Zipf => "zipf" });
display!(Path {
    Self::In => "in",
    Self::Out => "out",
    Self::Hairpin => "hairpin",
    Self::Error => "icmp-error",
    Self::Flood => "flood",
});
display!(Gateway {
    Self::Ceiling => "xdp-drop",
    Self::Bare => "bare",
    Self::Textbook => "textbook",
    Self::Kernel => "kernel",
    Self::NftIngress => "nft-ingress",
    Self::NftPrerouting => "nft-prerouting",
    Self::NftConntrack => "nft-conntrack",
    Self::Netmap => "netmap",
    Self::EipDp => "eip-dp",
    Self::EipDpAuto => "eip-dp-auto",
});

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
            Self::Mix => f.pad("imix"),
        }
    }
}

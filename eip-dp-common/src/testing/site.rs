//! Who stands where. The IPv4 side is that of `tests/cases/world.py` as far as it goes, so that
//! frames of its cases mean here what they mean there; the IPv6 side is the same once more, with
//! the same ENIs.

use crate::{
    abi::{EipMode, FIRST_ENI_TARGET, NONE, SourceState, TargetFlags},
    family::{V4, V6},
    packet::Mac,
    pipeline::LinkProtocols,
};

/// The uplink's interface index.
pub const UPLINK: u32 = 2;
/// Its MAC.
pub const UPLINK_MAC: Mac = [2, 0, 0, 0, 0xff, 1];
/// Its next hop's.
pub const ROUTER_MAC: Mac = [2, 0, 0, 0, 0xff, 0xfe];
/// Its MTU.
pub const UPLINK_MTU: u32 = 1500;
/// The interface index of the first port.
pub const FIRST_PORT: u32 = 10;

/// An ENI and its port. ENIs with the same port number share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eni {
    /// The port's interface index, from [`FIRST_PORT`] on.
    pub port: u32,
    /// The port's MAC.
    pub port_mac: Mac,
    /// The ENI's.
    pub mac: Mac,
    /// The VPC.
    pub vpc: u32,
    /// The instance, by a letter.
    pub instance: u8,
    /// The port's MTU.
    pub mtu: u32,
    /// [`TargetFlags`], beside those that all have.
    pub flags: u16,
}

const fn eni(port: u32, mac: [u8; 3], vpc: u32, instance: u8, mtu: u32, flags: u16) -> Eni {
    #[allow(clippy::cast_possible_truncation, reason = "few ports")]
    let number = port as u8;
    Eni {
        port: FIRST_PORT + port,
        port_mac: [2, 0, 0, 0, 0xaa, number],
        mac: [10, 0, 0, mac[0], mac[1], mac[2]],
        vpc,
        instance,
        mtu,
        flags,
    }
}

/// All of them; the first has target [`FIRST_ENI_TARGET`].
pub const ENIS: [Eni; 11] = [
    eni(1, [0, 0, 0xa1], 1, b'A', 1500, 0),
    eni(2, [0, 0, 0xa2], 1, b'A', 1500, 0),
    eni(3, [0, 0, 0xb1], 1, b'B', 1500, 0),
    eni(4, [0, 0, 0xb2], 1, b'B', 1500, 0),
    eni(5, [0, 0, 0xc1], 2, b'C', 1500, TargetFlags::ANTISPOOF_ENI),
    eni(7, [0, 0, 0xd1], 2, b'D', 1500, 0),
    eni(9, [0, 1, 1], 1, b'M', 1500, 0),
    eni(9, [0, 1, 2], 1, b'N', 1500, 0),
    eni(10, [0, 0, 0x51], 1, b'S', 1500, 0),
    eni(11, [0, 0, 0x71], 1, b'T', 1280, 0),
    eni(8, [0, 0, 0x31], 1, b'J', 9000, 0),
];

/// The target of the `index`-th ENI.
pub fn target_of(index: usize) -> u32 {
    FIRST_ENI_TARGET + u32::try_from(index).expect("few ENIs")
}

/// An address that an ENI has, by its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The VPC.
    pub vpc: u32,
    /// The last byte of the private address; of the EIP, in cut-through mode.
    pub private: u8,
    /// The ENI, by its place in [`ENIS`]; `None` while it is detached.
    pub eni: Option<usize>,
    /// What it may do.
    pub state: SourceState,
    /// The last byte of the EIP; 0 for none.
    pub public: u8,
}

const fn stands(
    vpc: u32,
    private: u8,
    eni: Option<usize>,
    state: SourceState,
    public: u8,
) -> Standing {
    Standing {
        vpc,
        private,
        eni,
        state,
        public,
    }
}

/// All of them, in both families. The EIP's slot is its last byte.
pub const STANDINGS: [Standing; 15] = [
    stands(1, 10, Some(0), SourceState::Nat, 10),
    stands(1, 11, Some(1), SourceState::Nat, 11),
    stands(1, 12, Some(1), SourceState::Nat, 12),
    stands(1, 20, Some(2), SourceState::NoEip, 0),
    stands(1, 21, Some(3), SourceState::Off, 0),
    stands(1, 20, Some(3), SourceState::CutThrough, 20),
    stands(2, 10, Some(4), SourceState::Nat, 30),
    stands(2, 20, Some(5), SourceState::Nat, 32),
    stands(1, 90, Some(6), SourceState::Nat, 90),
    stands(1, 91, Some(7), SourceState::NoEip, 0),
    stands(1, 40, Some(8), SourceState::Stranded, 40),
    stands(1, 50, None, SourceState::Detached, 50),
    stands(1, 70, Some(9), SourceState::Nat, 70),
    stands(1, 80, Some(10), SourceState::Nat, 80),
    stands(2, 33, Some(5), SourceState::NoEip, 0),
];

/// The last byte of an EIP without an association.
pub const UNASSOCIATED: u8 = 60;
/// The last byte of the gateway of VPCs and of the pool.
pub const GATEWAY: u8 = 1;
/// The last byte of the pool's address that the host itself has.
pub const HOST: u8 = 2;

impl Standing {
    /// The address's target.
    pub fn target(&self) -> u32 {
        self.eni.map_or(NONE, target_of)
    }

    /// What becomes of packets to its EIP.
    pub const fn mode(&self) -> EipMode {
        match self.state {
            SourceState::Nat => EipMode::Nat,
            SourceState::CutThrough => EipMode::CutThrough,
            SourceState::Stranded => EipMode::Stranded,
            SourceState::Detached => EipMode::Detached,
            SourceState::NoEip | SourceState::Off => EipMode::Unassociated,
        }
    }

    /// The address that the ENI uses.
    pub fn own<F: Plan>(&self) -> F::Address {
        if self.state == SourceState::CutThrough {
            F::public(self.public)
        } else {
            F::private(self.private)
        }
    }
}

/// The addresses of a family.
pub trait Plan: LinkProtocols + std::fmt::Debug {
    /// The address in the pool with this last byte.
    fn public(last: u8) -> Self::Address;
    /// The address in every VPC with this last byte.
    fn private(last: u8) -> Self::Address;
    /// Somebody on the Internet.
    fn far(last: u8) -> Self::Address;
    /// The gateway's address towards the Internet.
    fn own() -> Self::Address;
    /// The netmask of the VPCs.
    const VPC_MASK: Self::Address;
    /// The netmask of the pool.
    const POOL_MASK: Self::Address;
    /// The address's bytes.
    fn bytes(address: &Self::Address) -> &[u8];
    /// An address from so many bytes.
    fn address(bytes: &[u8]) -> Self::Address;
}

impl Plan for V4 {
    fn public(last: u8) -> [u8; 4] {
        [203, 0, 113, last]
    }

    fn private(last: u8) -> [u8; 4] {
        [10, 0, 0, last]
    }

    fn far(last: u8) -> [u8; 4] {
        [192, 0, 2, last]
    }

    fn own() -> [u8; 4] {
        [198, 51, 100, 2]
    }

    const VPC_MASK: [u8; 4] = [255, 255, 0, 0];
    const POOL_MASK: [u8; 4] = [255, 255, 255, 0];

    fn bytes(address: &[u8; 4]) -> &[u8] {
        address
    }

    fn address(bytes: &[u8]) -> [u8; 4] {
        bytes.try_into().expect("four bytes")
    }
}

impl Plan for V6 {
    fn public(last: u8) -> [u8; 16] {
        v6([0x2001, 0xdb8, 0x113], last)
    }

    fn private(last: u8) -> [u8; 16] {
        v6([0xfd00, 0x10, 0], last)
    }

    fn far(last: u8) -> [u8; 16] {
        v6([0x2001, 0xdb8, 0xfa], last)
    }

    fn own() -> [u8; 16] {
        v6([0x2001, 0xdb8, 0x51], 2)
    }

    const VPC_MASK: [u8; 16] = [
        255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    const POOL_MASK: [u8; 16] = Self::VPC_MASK;

    fn bytes(address: &[u8; 16]) -> &[u8] {
        address
    }

    fn address(bytes: &[u8]) -> [u8; 16] {
        bytes.try_into().expect("sixteen bytes")
    }
}

fn v6(prefix: [u16; 3], last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    for (place, word) in address.chunks_exact_mut(2).zip(prefix) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    address[15] = last;
    address
}

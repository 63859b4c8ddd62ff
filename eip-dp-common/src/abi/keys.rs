//! Keys of the maps.

use super::seal::{Address, SealKey};

/// An address inside a VPC.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrivateKey<A> {
    /// The VPC's index.
    pub vpc: u32,
    /// The address: an ENI's private IP, or the EIP that replaces it (cut-through).
    pub address: A,
}

/// An interface and the VLAN on it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkKey {
    /// Interface index.
    pub ifindex: u32,
    /// 802.1Q VLAN identifier, 0 for untagged.
    pub vlan: u16,
    /// Always 0.
    pub reserved: u16,
}

/// A MAC address on a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacKey {
    /// Interface index.
    pub ifindex: u32,
    /// 802.1Q VLAN identifier, 0 for untagged.
    pub vlan: u16,
    /// The ENI's MAC.
    pub mac: [u8; 6],
}

/// A prefix, laid out as the kernel's LPM trie wants it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrefixKey<A> {
    /// Length in bits.
    pub length: u32,
    /// The network, host bits 0.
    pub network: A,
}

/// What an address is that is no EIP, see [`super::Prefix::class`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressClass {
    /// In a pool, without an EIP.
    Pool = 1,
    /// An address that the gateway host itself has.
    Host = 2,
    /// The gateway of a pool that no router upstream has: guests in cut-through mode may ping it.
    PoolGateway = 3,
}

impl AddressClass {
    /// Reads a record of the trie; `None` for what no version of this ABI writes.
    #[inline(always)]
    pub const fn from_value(value: u32) -> Option<Self> {
        match value {
            1 => Some(Self::Pool),
            2 => Some(Self::Host),
            3 => Some(Self::PoolGateway),
            _ => None,
        }
    }
}

impl LinkKey {
    /// The interface itself, without a VLAN.
    #[inline(always)]
    pub const fn untagged(ifindex: u32) -> Self {
        Self::tagged(ifindex, 0)
    }

    /// Whether it is the interface itself.
    pub const fn is_untagged(&self) -> bool {
        self.vlan == 0 && self.reserved == 0
    }

    /// A VLAN of the interface; 0 for none.
    #[inline(always)]
    pub const fn tagged(ifindex: u32, vlan: u16) -> Self {
        Self {
            ifindex,
            vlan,
            reserved: 0,
        }
    }
}

impl<A: Address> SealKey for PrivateKey<A> {
    #[inline(always)]
    fn fold(&self) -> u64 {
        (u64::from(self.vpc) << 32) ^ self.address.fold()
    }
}

impl SealKey for LinkKey {
    #[inline(always)]
    fn fold(&self) -> u64 {
        u64::from(self.ifindex) | u64::from(self.vlan) << 32
    }
}

impl SealKey for MacKey {
    #[inline(always)]
    fn fold(&self) -> u64 {
        let [a, b, c, d, e, f] = self.mac;
        let mac = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
        mac ^ (u64::from(self.ifindex) << 32) ^ (u64::from(self.vlan) << 20)
    }
}

const _: () = {
    assert!(size_of::<PrivateKey<[u8; 4]>>() == 8);
    assert!(size_of::<PrivateKey<[u8; 16]>>() == 20);
    assert!(size_of::<LinkKey>() == 8);
    assert!(size_of::<MacKey>() == 12);
    assert!(size_of::<PrefixKey<[u8; 4]>>() == 8);
};

#[cfg(feature = "user")]
mod pod {
    // SAFETY: the types are `repr(C)`, without padding (asserted above), and any bit pattern is valid.
    unsafe impl aya::Pod for super::PrivateKey<[u8; 4]> {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PrivateKey<[u8; 16]> {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::LinkKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::MacKey {}
}

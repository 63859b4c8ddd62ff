//! Keys of the maps.

use super::{
    checksummed::{Address, ChecksumKey},
    records::Target,
};

/// An address inside a VPC.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey<A> {
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
    /// 802.1Q VLAN identifier, 0 for untagged; behind an outer tag the inner one's.
    pub vlan: u16,
    /// The VLAN identifier of an 802.1ad tag outside of that, 0 for none.
    pub outer: u16,
}

/// A MAC address on a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacKey {
    /// Interface index.
    pub ifindex: u32,
    /// As in [`LinkKey`].
    pub vlan: u16,
    /// As in [`LinkKey`].
    pub outer: u16,
    /// The ENI's MAC.
    pub mac: [u8; 6],
    /// Always 0.
    pub reserved: u16,
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
    /// In a pool that is routed to this host, without an EIP: nobody's.
    Pool = 1,
    /// An address that the gateway host itself has.
    Host = 2,
    /// The gateway of a pool that no router upstream has: guests in cut-through mode may ping it.
    PoolGateway = 3,
    /// On an uplink's link, and no EIP: a next hop, or in a pool that is the prefix of that link,
    /// so that a neighbour may hold it.
    OnLink = 4,
    /// In the reserve of a pool that is routed to this host: nobody's here, but somebody may hold
    /// it elsewhere.
    Reserved = 5,
}

impl AddressClass {
    /// Reads a record of the trie; `None` for what no version of this ABI writes.
    #[inline(always)]
    pub const fn from_value(value: u32) -> Option<Self> {
        match value {
            1 => Some(Self::Pool),
            2 => Some(Self::Host),
            3 => Some(Self::PoolGateway),
            4 => Some(Self::OnLink),
            5 => Some(Self::Reserved),
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
        self.vlan == 0 && self.outer == 0
    }

    /// A VLAN of the interface; 0 for none.
    #[inline(always)]
    pub const fn tagged(ifindex: u32, vlan: u16) -> Self {
        Self {
            ifindex,
            vlan,
            outer: 0,
        }
    }

    /// Every VLAN of the interface that has no key of its own, see [`super::PortRole`].
    #[inline(always)]
    pub const fn any_vlan(ifindex: u32) -> Self {
        // No VLAN has this identifier (IEEE 802.1Q 9.6).
        Self::tagged(ifindex, 0xfff)
    }

    /// A VLAN within an outer one of the interface (802.1ad); 0 for none.
    #[inline(always)]
    pub const fn stacked(ifindex: u32, outer: u16, vlan: u16) -> Self {
        Self {
            ifindex,
            vlan,
            outer,
        }
    }
}

impl LinkKey {
    /// What a target is sent out of.
    #[inline(always)]
    pub const fn of(target: &Target) -> Self {
        Self::stacked(target.ifindex, target.outer, target.vlan)
    }
}

impl MacKey {
    /// A MAC on the port with that key.
    #[inline(always)]
    pub const fn on(port: LinkKey, mac: [u8; 6]) -> Self {
        Self {
            ifindex: port.ifindex,
            vlan: port.vlan,
            outer: port.outer,
            mac,
            reserved: 0,
        }
    }
}

impl<A: Address> ChecksumKey for SourceKey<A> {
    #[inline(always)]
    fn fold(&self) -> u64 {
        (u64::from(self.vpc) << 32) ^ self.address.fold()
    }
}

impl ChecksumKey for LinkKey {
    #[inline(always)]
    fn fold(&self) -> u64 {
        u64::from(self.ifindex) | u64::from(self.vlan) << 32 | u64::from(self.outer) << 48
    }
}

impl ChecksumKey for MacKey {
    #[inline(always)]
    fn fold(&self) -> u64 {
        let [a, b, c, d, e, f] = self.mac;
        let mac = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
        mac ^ (u64::from(self.ifindex) << 32)
            ^ (u64::from(self.vlan) << 20)
            ^ (u64::from(self.outer) << 52)
    }
}

const _: () = {
    assert!(size_of::<SourceKey<[u8; 4]>>() == 8);
    assert!(size_of::<SourceKey<[u8; 16]>>() == 20);
    assert!(size_of::<LinkKey>() == 8);
    assert!(size_of::<MacKey>() == 16);
    assert!(size_of::<PrefixKey<[u8; 4]>>() == 8);
};

#[cfg(feature = "user")]
mod pod {
    // SAFETY: the types are `repr(C)`, without padding (asserted above), and any bit pattern is
    // valid.
    unsafe impl aya::Pod for super::SourceKey<[u8; 4]> {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::SourceKey<[u8; 16]> {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::LinkKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::MacKey {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link() -> impl Strategy<Value = LinkKey> {
        (1..100_u32, 0..4_u16, 0..4095_u16)
            .prop_map(|(ifindex, outer, vlan)| LinkKey::stacked(ifindex, outer, vlan))
    }

    proptest! {
        /// Of two links, and of one MAC on two links, the seals differ.
        #[test]
        fn links_are_told_apart(one in link(), other in link(), mac in any::<[u8; 6]>()) {
            prop_assert_eq!(one.fold() == other.fold(), one == other);
            let (on_one, on_other) = (MacKey::on(one, mac), MacKey::on(other, mac));
            prop_assert_eq!(on_one.fold() == on_other.fold(), one == other);
        }
    }
}

//! What IPv4 and IPv6 differ in when the table is compiled, so that everything else is written
//! once.

use std::{
    fmt::Debug,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use aya::Pod;
use eip_dp_common::{
    abi::{self, EipRoute, Prefix, SourceBinding, SourceKey, UPLINK_TARGET4, UPLINK_TARGET6, maps},
    checksum::Delta,
    family::{Family as _, PREFILTER_BITS, V4, V6},
};
use ipnet::IpNet;

use super::{Content, FamilyContent, FamilyWrite, Limits, Write};
use crate::host::Family;

/// The names of the maps that each family has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyMaps {
    /// The EIPs.
    pub eips: &'static str,
    /// The ENIs' addresses.
    pub private: &'static str,
    /// What is no EIP's.
    pub prefixes: &'static str,
    /// The VPCs' CIDRs.
    pub cidrs: &'static str,
    /// The same in short.
    pub nets: &'static str,
    /// The screen.
    pub prefilter: &'static str,
}

/// An address of one family, as the records hold it.
pub trait Address: abi::Address + Ord + Hash + Debug + Default + Send + Sync + Pod {
    /// Its family.
    const FAMILY: Family;
    /// The family's maps.
    const MAPS: FamilyMaps;
    /// The target that stands for the next hop of the family.
    const UPLINK_TARGET: u32;
    /// The lengths of the prefixes that the screen has bits for, see
    /// [`eip_dp_common::family::Family::PREFILTERED`].
    const PREFILTERED: [u32; 2];

    /// The address, if it is of this family.
    fn of(address: IpAddr) -> Option<Self>;
    /// The address as text wants it.
    fn ip(self) -> IpAddr;
    /// The checksum difference of a change.
    fn delta(old: &Self, new: &Self) -> Delta;
    /// The first 64 bits, or all and zeros.
    fn upper(self) -> u64;
    /// The bits of the screen that stand for the address, one for each of these lengths.
    fn prefilter(self) -> [u32; 2];
    /// The family's part of the content.
    fn part(content: &Content) -> &FamilyContent<Self>;
    /// The family's part of the content.
    fn part_mut(content: &mut Content) -> &mut FamilyContent<Self>;
    /// How many addresses ENIs may have.
    fn private_addresses(limits: &Limits) -> u32;
    /// A change of the family's maps.
    fn write(write: FamilyWrite<Self>) -> Write;
}

/// The record of an EIP.
pub type Eip<A> = EipRoute<A>;
/// The key of an ENI's address.
pub type InVpc<A> = SourceKey<A>;
/// The record of an ENI's address.
pub type Private<A> = SourceBinding<A>;
/// The record of a prefix.
pub type PrefixRecord<A> = Prefix<A>;

impl Address for [u8; 4] {
    const FAMILY: Family = Family::V4;
    const MAPS: FamilyMaps = FamilyMaps {
        eips: maps::EIP4,
        private: maps::PRIVATE4,
        prefixes: maps::PREFIX4,
        cidrs: maps::CIDR4,
        nets: maps::NETS4,
        prefilter: maps::PREFILTER4,
    };
    const UPLINK_TARGET: u32 = UPLINK_TARGET4;
    const PREFILTERED: [u32; 2] = V4::PREFILTERED;

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address.octets()),
            IpAddr::V6(_) => None,
        }
    }

    fn ip(self) -> IpAddr {
        Ipv4Addr::from(self).into()
    }

    fn delta(old: &Self, new: &Self) -> Delta {
        Delta::between(old, new)
    }

    fn upper(self) -> u64 {
        V4::upper(&self)
    }

    fn prefilter(self) -> [u32; 2] {
        V4::prefilter(&self)
    }

    fn part(content: &Content) -> &FamilyContent<Self> {
        &content.v4
    }

    fn part_mut(content: &mut Content) -> &mut FamilyContent<Self> {
        &mut content.v4
    }

    fn private_addresses(limits: &Limits) -> u32 {
        limits.private_addresses
    }

    fn write(write: FamilyWrite<Self>) -> Write {
        Write::V4(write)
    }
}

impl Address for [u8; 16] {
    const FAMILY: Family = Family::V6;
    const MAPS: FamilyMaps = FamilyMaps {
        eips: maps::EIP6,
        private: maps::PRIVATE6,
        prefixes: maps::PREFIX6,
        cidrs: maps::CIDR6,
        nets: maps::NETS6,
        prefilter: maps::PREFILTER6,
    };
    const UPLINK_TARGET: u32 = UPLINK_TARGET6;
    const PREFILTERED: [u32; 2] = V6::PREFILTERED;

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address.octets()),
        }
    }

    fn ip(self) -> IpAddr {
        Ipv6Addr::from(self).into()
    }

    fn delta(old: &Self, new: &Self) -> Delta {
        Delta::between(old, new)
    }

    fn upper(self) -> u64 {
        V6::upper(&self)
    }

    fn prefilter(self) -> [u32; 2] {
        V6::prefilter(&self)
    }

    fn part(content: &Content) -> &FamilyContent<Self> {
        &content.v6
    }

    fn part_mut(content: &mut Content) -> &mut FamilyContent<Self> {
        &mut content.v6
    }

    fn private_addresses(limits: &Limits) -> u32 {
        limits.private_addresses6
    }

    fn write(write: FamilyWrite<Self>) -> Write {
        Write::V6(write)
    }
}

/// The bits of the screen that the addresses of a prefix can have.
pub fn screen_bits<A: Address>(cidr: &IpNet) -> Vec<u32> {
    const ALL: u32 = PREFILTER_BITS / 2;
    let Some(first) = A::of(cidr.network()) else {
        return Vec::new();
    };
    let length = u32::from(cidr.prefix_len());
    let mut bits = Vec::new();
    for (place, screened) in (0..).zip(A::PREFILTERED) {
        let bit = |address: A| address.prefilter()[place];
        if length >= screened {
            bits.push(bit(first));
        } else if length + ALL.ilog2() <= screened {
            // The 16 bits before the screened length take every value: so does the screen.
            let begin = bit(first) / ALL * ALL;
            bits.extend(begin..begin + ALL);
        } else {
            let parts = u8::try_from(screened).map(|screened| cidr.subnets(screened));
            let parts = parts.into_iter().flatten().flatten();
            bits.extend(parts.filter_map(|part| A::of(part.network())).map(bit));
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn bits<A: Address>(cidr: &str) -> BTreeSet<u32> {
        screen_bits::<A>(&cidr.parse().expect("a prefix"))
            .into_iter()
            .collect()
    }

    /// Every address of a pool must be found on the screen.
    #[test]
    fn every_address_of_a_prefix_has_its_bit() {
        for cidr in [
            "2001:db8::/64",
            "2001:db8:7::/48",
            "2001:db8::/41",
            "2001:db8::/40",
            "2001:db8::/32",
            "2001:db8::/29",
            "2001::/17",
            "2001::/16",
            "2000::/3",
        ] {
            let net: ipnet::Ipv6Net = cidr.parse().expect("a prefix");
            let bits = bits::<[u8; 16]>(cidr);
            let host_bits = u128::MAX.checked_shr(net.prefix_len().into()).unwrap_or(0);
            for step in 0..1000_u128 {
                let host = step.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) & host_bits;
                let address = (net.network().to_bits() | host).to_be_bytes();
                let found = address.prefilter().iter().all(|bit| bits.contains(bit));
                assert!(found, "{cidr} {host:x}");
            }
        }
        for (cidr, short, long) in [
            ("2001:db8::/64", 1, 1),
            ("2001:db8::/48", 1, 256),
            ("2001:db8::/32", 1, 65_536),
            ("2001:db8::/29", 8, 65_536),
            ("2000::/3", 65_536, 65_536),
        ] {
            assert_eq!(bits::<[u8; 16]>(cidr).len(), short + long, "{cidr}");
        }
        for (cidr, short, long) in [
            ("203.0.113.64/28", 1, 1),
            ("203.0.113.0/24", 1, 1),
            ("100.64.0.0/14", 4, 1_024),
            ("0.0.0.0/0", 65_536, 65_536),
        ] {
            assert_eq!(bits::<[u8; 4]>(cidr).len(), short + long, "{cidr}");
        }
        assert_eq!(bits::<[u8; 4]>("2001:db8::/64").len(), 0);
    }

    /// Who has another prefix of the same provider is one of the Internet.
    #[test]
    fn neighbours_are_told_from_a_pool() {
        fn may_be_pool<A: Address>(pool: &str, address: IpAddr) -> bool {
            let bits = bits::<A>(pool);
            let address = A::of(address).expect("of the family");
            address.prefilter().iter().all(|bit| bits.contains(bit))
        }
        for pool in [
            "2001:db8:7::/48",
            "2001:db8:7:300::/56",
            "2001:db8:7:301::/64",
        ] {
            let screened = (0..=u16::MAX).filter(|site| {
                let address = Ipv6Addr::new(0x2001, 0xdb8, *site, 0x300, 0, 0, 0, 1);
                may_be_pool::<[u8; 16]>(pool, address.into())
            });
            assert!((1..=256).contains(&screened.count()), "{pool}");
        }
        for pool in ["203.0.113.0/24", "203.0.113.64/28"] {
            let screened = (0..=u8::MAX).filter(|third| {
                may_be_pool::<[u8; 4]>(pool, Ipv4Addr::new(203, 0, *third, 9).into())
            });
            assert_eq!(screened.count(), 1, "{pool}");
        }
    }
}

//! What IPv4 and IPv6 differ in when the table is compiled, so that everything else is written once.

use std::{
    fmt::Debug,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use aya::Pod;
use eip_dp_common::{
    abi::{self, EipEntry, Prefix, PrivateEntry, PrivateKey, UPLINK_TARGET4, UPLINK_TARGET6, maps},
    checksum::Delta,
    family::{Family as _, V4, V6},
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
    /// The screen.
    pub screen: &'static str,
}

/// An address of one family, as the records hold it.
pub trait Address: abi::Address + Ord + Hash + Debug + Default + Send + Sync + Pod {
    /// Its family.
    const FAMILY: Family;
    /// The family's maps.
    const MAPS: FamilyMaps;
    /// The target that stands for the next hop of the family.
    const UPLINK_TARGET: u32;
    /// The length of the prefixes that the screen has a bit for.
    const SCREENED: u8;

    /// The address, if it is of this family.
    fn of(address: IpAddr) -> Option<Self>;
    /// The address as text wants it.
    fn ip(self) -> IpAddr;
    /// The checksum difference of a change.
    fn delta(old: &Self, new: &Self) -> Delta;
    /// The bit of the screen that stands for the address.
    fn screen(self) -> u16;
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
pub type Eip<A> = EipEntry<A>;
/// The key of an ENI's address.
pub type InVpc<A> = PrivateKey<A>;
/// The record of an ENI's address.
pub type Private<A> = PrivateEntry<A>;
/// The record of a prefix.
pub type PrefixRecord<A> = Prefix<A>;

impl Address for [u8; 4] {
    const FAMILY: Family = Family::V4;
    const MAPS: FamilyMaps = FamilyMaps {
        eips: maps::EIP4,
        private: maps::PRIVATE4,
        prefixes: maps::PREFIX4,
        cidrs: maps::CIDR4,
        screen: maps::SCREEN4,
    };
    const UPLINK_TARGET: u32 = UPLINK_TARGET4;
    const SCREENED: u8 = 16;

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

    fn screen(self) -> u16 {
        V4::screen(&self)
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
        screen: maps::SCREEN6,
    };
    const UPLINK_TARGET: u32 = UPLINK_TARGET6;
    const SCREENED: u8 = 32;

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

    fn screen(self) -> u16 {
        V6::screen(&self)
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
pub fn screen_bits<A: Address>(cidr: &IpNet) -> Vec<u16> {
    let Some(first) = A::of(cidr.network()) else {
        return Vec::new();
    };
    if cidr.prefix_len() >= A::SCREENED {
        return vec![first.screen()];
    }
    // The 16 bits before the screened length take every value: so does the screen.
    if cidr.prefix_len() + 16 <= A::SCREENED {
        return (0..=u16::MAX).collect();
    }
    let parts = cidr.subnets(A::SCREENED).into_iter().flatten();
    parts
        .filter_map(|part| A::of(part.network()))
        .map(Address::screen)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn bits<A: Address>(cidr: &str) -> BTreeSet<u16> {
        screen_bits::<A>(&cidr.parse().expect("a prefix"))
            .into_iter()
            .collect()
    }

    /// Every address of a pool must be found on the screen.
    #[test]
    fn every_address_of_a_prefix_has_its_bit() {
        for cidr in [
            "2001:db8::/64",
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
                assert!(bits.contains(&address.screen()), "{cidr} {host:x}");
            }
        }
        assert_eq!(bits::<[u8; 16]>("2001:db8::/64").len(), 1);
        assert_eq!(bits::<[u8; 16]>("2001:db8::/29").len(), 8);
        assert_eq!(bits::<[u8; 16]>("2000::/3").len(), 65_536);
        assert_eq!(bits::<[u8; 4]>("203.0.113.0/24").len(), 1);
        assert_eq!(bits::<[u8; 4]>("100.64.0.0/14").len(), 4);
        assert_eq!(bits::<[u8; 4]>("2001:db8::/64").len(), 0);
    }
}

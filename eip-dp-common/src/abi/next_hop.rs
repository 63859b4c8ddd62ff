//! Where packets leave: the last two records on a packet's way, small enough that a million ENIs'
//! stay in a cache.

use core::ops::Range;

use super::records::{Target, TargetFlags};
use crate::cuckoo::{self, Key};

/// A way out of this host, or in: an interface, its VLAN, and what all who stand behind it have in
/// common. What a record holds never changes while something leads to it: another content gets
/// another index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// The interface; 0 in a record that is not used.
    pub ifindex: u32,
    /// Its MTU in bytes, without the Ethernet header.
    pub mtu: u16,
    /// The VLAN of an 802.1ad tag outside of `vlan`'s, 0 for none.
    pub outer: u16,
    /// The VPC's index; [`super::NONE`] for the uplink.
    pub vpc: u32,
    /// The MAC of the interface.
    pub mac: [u8; 6],
    /// The VLAN to tag with, 0 for none.
    pub vlan: u16,
    /// [`TargetFlags::XDP`], [`TargetFlags::SHARES`], [`Link::DROP_PRIVATE_SOURCES`].
    pub flags: u16,
    /// Always 0.
    pub reserved: [u8; 10],
}

/// A target's word in the map `NEXT_HOPS`: who is there, and behind which [`Link`]. From its lowest
/// bit: 48 bits MAC in the order of the wire, 15 bits link, 1 bit [`TargetFlags::ANTISPOOF_ENI`]. 0
/// where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop(u64);

/// One more than the highest index of a [`Link`]; 0 is nobody's.
pub const LINKS: u32 = 1 << 15;

const MAC: u64 = (1 << 48) - 1;
const ANTISPOOF_ENI: u64 = 1 << 63;

impl NextHop {
    /// A target behind the link with that index. A MAC of zeros: it is not known yet.
    #[inline(always)]
    pub const fn new(mac: [u8; 6], link: u32, antispoof_eni: bool) -> Self {
        let [a, b, c, d, e, f] = mac;
        let mac = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
        let flag = if antispoof_eni { ANTISPOOF_ENI } else { 0 };
        Self(mac | (link as u64) << 48 | flag)
    }

    /// How many words share a cache line.
    pub const PER_CACHE_LINE: u32 = 8;

    /// Where the target of an ENI with this MAC is best put among so many, see [`cuckoo::home`].
    #[inline(always)]
    pub fn home(mac: [u8; 6], seed: u64, targets: u32) -> Range<u32> {
        let key = Key {
            key_word: Self::new(mac, 0, false).0,
            mask: MAC,
            rest: [0; 2],
        };
        cuckoo::home(&key, seed, targets, Self::PER_CACHE_LINE)
    }

    /// A word of the map.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The link's index, 0 for none.
    #[inline(always)]
    pub const fn link(self) -> u32 {
        (self.0 << 1 >> 49) as u32
    }

    /// The receiver's MAC, zeros where it is not known.
    #[inline(always)]
    pub const fn mac(self) -> [u8; 6] {
        let [a, b, c, d, e, f, _, _] = self.0.to_ne_bytes();
        [a, b, c, d, e, f]
    }

    /// The bits that an EIP's entry has room for.
    pub const SHORT: u64 = (1 << 60) - 1;

    /// Where the receiver is, if an EIP's entry has room for that; else 0.
    #[inline(always)]
    pub const fn fits(self) -> u64 {
        let at = self.0 & !ANTISPOOF_ENI;
        if self.link() == 0 || at > Self::SHORT {
            0
        } else {
            at
        }
    }

    /// Whether a MAC is known.
    #[inline(always)]
    pub const fn is_resolved(self) -> bool {
        self.0 & MAC != 0
    }

    /// Whether this is who stands behind that link with that MAC.
    #[inline(always)]
    pub const fn is_at(self, mac: [u8; 6], link: u32) -> bool {
        self.0 & !ANTISPOOF_ENI == Self::new(mac, link, false).0
    }

    /// The target that word and link are, but for what programs never ask of it.
    #[inline(always)]
    pub fn target(self, link: &Link) -> Target {
        let resolved = if self.is_resolved() {
            TargetFlags::RESOLVED
        } else {
            0
        };
        let antispoof = if self.0 & ANTISPOOF_ENI == 0 {
            0
        } else {
            TargetFlags::ANTISPOOF_ENI
        };
        Target {
            tag: 0,
            instance: 0,
            ifindex: link.ifindex,
            mtu: link.mtu,
            vpc: link.vpc,
            dst_mac: self.mac(),
            src_mac: link.mac,
            vlan: link.vlan,
            outer: link.outer,
            flags: link.flags | resolved | antispoof,
            seal: 0,
        }
    }
}

impl Link {
    /// Of an uplink: [`super::UplinkFlags::DROP_PRIVATE_SOURCES`].
    pub const DROP_PRIVATE_SOURCES: u16 = 0x8000;

    /// The link of a target.
    pub const fn of(target: &Target) -> Self {
        Self {
            ifindex: target.ifindex,
            mtu: target.mtu,
            vpc: target.vpc,
            mac: target.src_mac,
            vlan: target.vlan,
            outer: target.outer,
            flags: target.flags & (TargetFlags::XDP | TargetFlags::SHARES),
            reserved: [0; 10],
        }
    }
}

/// A word of the map `INGRESS`: which interface it speaks of, and what the fast path takes frames
/// from it for. Found by the lower bits of the interface's index; where two interfaces share a
/// place, one of them has it and the other goes without. From the lowest bit: 32 bits interface, 15
/// bits link, 1 bit whether it is an uplink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingress(u64);

/// How many words the map `INGRESS` has: a power of 2.
pub const INGRESS_PLACES: u32 = 4_096;

const UPLINK: u64 = 1 << 47;

impl Ingress {
    /// An interface, untagged.
    #[inline(always)]
    pub const fn new(ifindex: u32, link: u32, is_uplink: bool) -> Self {
        let kind = if is_uplink { UPLINK } else { 0 };
        Self(ifindex as u64 | (link as u64) << 32 | kind)
    }

    /// A word of the map.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Where an interface's word is.
    #[inline(always)]
    pub const fn place(ifindex: u32) -> u32 {
        ifindex & (INGRESS_PLACES - 1)
    }

    /// The link of that interface, if the word speaks of it and of that kind, else 0.
    #[inline(always)]
    pub const fn link_of(self, ifindex: u32, is_uplink: bool) -> u32 {
        let link = self.link();
        if self.0 == Self::new(ifindex, link, is_uplink).0 {
            link
        } else {
            0
        }
    }

    /// The link, 0 for none.
    #[inline(always)]
    pub const fn link(self) -> u32 {
        (self.0 >> 32 & 0x7fff) as u32
    }

    /// The interface.
    pub const fn ifindex(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

const _: () = assert!(size_of::<Link>() == 32 && align_of::<Link>() == 4);

// SAFETY: `repr(C)` without padding (asserted above), any bit pattern is valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Link {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_is_its_mac_and_link() {
        let mac = [2, 0, 0, 1, 2, 0xff];
        for flag in [false, true] {
            let hop = NextHop::new(mac, LINKS - 1, flag);
            assert_eq!((hop.mac(), hop.link()), (mac, LINKS - 1));
            assert!(hop.is_resolved() && hop.is_at(mac, LINKS - 1));
            assert!(!hop.is_at(mac, LINKS - 2) && !hop.is_at([2, 0, 0, 1, 2, 0xfe], LINKS - 1));
            let flags = hop.target(&Link::default()).flags;
            assert_eq!(flags & TargetFlags::ANTISPOOF_ENI != 0, flag);
        }
        assert!(!NextHop::new([0; 6], 1, false).is_resolved());
        assert_eq!(NextHop::default().link(), 0);
    }

    #[test]
    fn a_word_speaks_of_one_interface_and_kind() {
        let word = Ingress::new(INGRESS_PLACES + 3, 7, true);
        assert_eq!(Ingress::place(INGRESS_PLACES + 3), 3);
        assert_eq!(word.link_of(INGRESS_PLACES + 3, true), 7);
        assert_eq!(word.link_of(INGRESS_PLACES + 3, false), 0);
        assert_eq!(word.link_of(3, true), 0);
        assert_eq!(Ingress::default().link_of(0, false), 0);
    }
}

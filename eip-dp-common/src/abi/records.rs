//! Records of the maps, and what programs and user space make of words there: [`EipRoute`] and
//! [`SourceBinding`] ([`crate::cuckoo`]), [`Target`] ([`super::NextHop`]).
//!
//! `tag`s identify an object across restarts of the daemon: a 64-bit hash of its id, so that the
//! next daemon finds the index that an object already has in the kernel.

use super::{
    checksummed::{Address, Checksummed},
    keys::{LinkKey, MacKey, SourceKey},
};

/// No slot, no target.
pub const NONE: u32 = u32::MAX;

/// The target that stands for the uplink's IPv4 next hop.
pub const UPLINK_TARGET4: u32 = 0;
/// The target that stands for the uplink's IPv6 next hop.
pub const UPLINK_TARGET6: u32 = 1;
/// The first target that an ENI can have.
pub const FIRST_ENI_TARGET: u32 = 2;

/// CIDRs of one family that a VPC can have.
pub const MAX_CIDRS: u32 = 8;

/// An EIP, found by its address. There is one for every EIP of the table, so that each keeps its
/// counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EipRoute<A> {
    /// The private address that it stands for; in cut-through mode the EIP itself.
    pub private: A,
    /// Its slot: where what it receives is counted.
    pub slot: u32,
    /// The ENI's target, or [`NONE`].
    pub target: u32,
    /// The ENI's VPC.
    pub vpc: u32,
    /// The checksum difference of EIP → private address, see [`crate::checksum::Delta`]; 0 in
    /// cut-through mode.
    pub delta: u16,
    /// An [`EipMode`].
    pub mode: u8,
    /// 0; 1 in a program where target and VPC are the halves of the ENI's
    /// [`NextHop`](super::NextHop).
    pub reserved: u8,
    /// See [`Checksummed`].
    pub seal: u32,
}

impl<A> EipRoute<A> {
    /// To a program: where the ENI is, in place of its target.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the halves")]
    pub const fn set_next_hop(&mut self, hop: u64) {
        self.target = hop as u32;
        self.vpc = (hop >> 32) as u32;
        self.reserved = 1;
    }

    /// To a program: where the ENI is; 0 if only its target is known.
    #[inline(always)]
    pub const fn next_hop(&self) -> u64 {
        if self.reserved == 1 {
            self.target as u64 | (self.vpc as u64) << 32
        } else {
            0
        }
    }

    /// To a program: another target in place of the ENI's.
    #[inline(always)]
    pub const fn set_target(&mut self, target: u32) {
        self.target = target;
        self.reserved = 0;
    }
}

/// What happens to a packet for an EIP.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EipMode {
    /// The EIP has no association.
    Unassociated = 0,
    /// The destination becomes the private address.
    Nat = 1,
    /// The packet is delivered as it is.
    CutThrough = 2,
    /// The association's ENI is detached, or its port is not there.
    Detached = 3,
    /// The association's ENI is stranded.
    Stranded = 4,
}

/// An address that belongs to an ENI, found by VPC and address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceBinding<A> {
    /// The EIP that stands for it ([`SourceState::Nat`], [`SourceState::CutThrough`]), else zeros.
    pub public: A,
    /// The EIP's slot, or [`NONE`]; to a program, where what the EIP sends is counted.
    pub slot: u32,
    /// The ENI's target, or [`NONE`] while the ENI is detached.
    pub target: u32,
    /// The checksum difference of private address → EIP; 0 unless [`SourceState::Nat`].
    pub delta: u16,
    /// A [`SourceState`].
    pub state: u8,
    /// Always 0.
    pub reserved: u8,
    /// See [`Checksummed`].
    pub seal: u32,
}

/// What an ENI's address may do.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// A private address without an EIP: private networking only.
    NoEip = 0,
    /// A private address with an EIP in NAT mode.
    Nat = 1,
    /// The key's address is an EIP in cut-through mode: public networking only.
    CutThrough = 2,
    /// A private address of an ENI in cut-through mode: private networking is off.
    Off = 3,
    /// An address of a stranded ENI: no networking.
    Stranded = 4,
    /// A private address of a detached ENI, or of one whose port is not there.
    Detached = 5,
}

/// Where packets are delivered: an ENI, or ([`UPLINK_TARGET4`], [`UPLINK_TARGET6`]) an uplink's
/// next hop.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Hash of the ENI's id; 0 for the uplink.
    pub tag: u64,
    /// Hash of the instance's id: ENIs of one instance may send each other's addresses.
    pub instance: u64,
    /// The interface to send on; 0 where there is none.
    pub ifindex: u32,
    /// Its MTU in bytes, without the Ethernet header.
    pub mtu: u16,
    /// [`TargetFlags`].
    pub flags: u16,
    /// The VPC's index; [`NONE`] for the uplink.
    pub vpc: u32,
    /// The receiver's MAC.
    pub dst_mac: [u8; 6],
    /// The MAC of the interface.
    pub src_mac: [u8; 6],
    /// The VLAN to tag with, 0 for none.
    pub vlan: u16,
    /// The VLAN of an 802.1ad tag outside of that, 0 for none.
    pub outer: u16,
    /// See [`Checksummed`].
    pub seal: u32,
}

/// Whose a target is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// See [`Target::tag`].
    pub tag: u64,
    /// See [`Target::instance`].
    pub instance: u64,
}

/// Bits of [`Target::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetFlags;

impl TargetFlags {
    /// XDP programs may send there; else their tc program does.
    pub const XDP: u16 = 1;
    /// `dst_mac` is known (always, for an ENI). Where it is not, tc sends by `bpf_redirect_neigh`.
    pub const RESOLVED: u16 = 2;
    /// The ENI's port accepts this ENI's own addresses only.
    pub const ANTISPOOF_ENI: u16 = 4;
    /// The ENI shares a private address with others by VRRP (RFC 5798): the daemon gets its
    /// advertisements and announcements.
    pub const SHARES: u16 = 8;
}

/// A port: an interface behind which ENIs of one VPC stand; or what of such an interface is the
/// host's own.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// A [`PortRole`].
    pub role: u32,
    /// The VPC's index.
    pub vpc: u32,
    /// The port's only ENI, or [`NONE`] where there are many.
    pub target: u32,
    /// The interface's MAC.
    pub mac: [u8; 6],
    /// The only ENI's MAC, zeros where there are many.
    pub eni_mac: [u8; 6],
    /// See [`Checksummed`].
    pub seal: u32,
}

/// Whose the frames of a [`Port`] are. A frame on an interface with ports is looked up by its
/// VLANs, then, if it has one, by the outermost alone, then by [`LinkKey::any_vlan`]; what is in
/// none of these is dropped.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortRole {
    /// The ENIs'.
    Enis = 0,
    /// The host's: an interface of its own for the VLAN, or its untagged frames where no port is
    /// untagged; at [`LinkKey::any_vlan`] those of all other VLANs, where the interface is a
    /// bridge's member.
    Host = 1,
}

/// An ENI's MAC on a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMac {
    /// The ENI's target.
    pub target: u32,
    /// See [`Checksummed`].
    pub seal: u32,
}

/// A VPC's name; the programs never read it. Its CIDRs are found at [`Cidr::index`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vpc {
    /// Hash of the VPC's id.
    pub tag: u64,
    /// Always 0.
    pub reserved: u32,
    /// See [`Checksummed`].
    pub seal: u32,
}

/// A CIDR of a VPC. A VPC has [`MAX_CIDRS`] places for them and fills them from the first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr<A> {
    /// The network.
    pub network: A,
    /// The netmask.
    pub mask: A,
    /// The VPC's router in this CIDR: answers ARP or ND, DHCP and ping, and is the source of ICMP
    /// errors to ENIs.
    pub gateway: A,
    /// 1 for a CIDR, 0 for a place that is not used (all of it is zeros, the seal too).
    pub used: u32,
    /// See [`Checksummed`].
    pub seal: u32,
}

impl<A> Cidr<A> {
    /// Where the `place`-th CIDR of the VPC with index `vpc` stands in the map.
    #[inline(always)]
    pub const fn index(vpc: u32, place: u32) -> u32 {
        vpc.wrapping_mul(MAX_CIDRS).wrapping_add(place)
    }
}

/// What a prefix or an address is that is no EIP's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix<A> {
    /// Of a pool, the source of ICMP errors to guests in cut-through mode: its gateway, or zeros
    /// where it has none.
    pub gateway: A,
    /// A [`super::AddressClass`].
    pub class: u32,
    /// With [`super::AddressClass::OnLink`] the interface whose neighbours these are: the uplink,
    /// or the kernel's own interface for the uplink's VLAN. 0 where there is none.
    pub ifindex: u32,
    /// The MTU there, in bytes.
    pub mtu: u32,
    /// See [`Checksummed`]; the key is [`PREFIX_CHECKSUM`].
    pub seal: u32,
}

/// What [`Prefix`] is sealed with: who looks an address up does not know which prefix is found.
pub const PREFIX_CHECKSUM: u32 = 0;

/// An uplink, found by its interface and VLAN.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The next hop's IPv4 address, zeros while there is none, or where IPv4 is sent to
    /// [`Self::next_hop6`] (RFC 8950).
    pub next_hop4: [u8; 4],
    /// The next hop's IPv6 address, zeros while there is none.
    pub next_hop6: [u8; 16],
    /// The source of ICMP errors to the Internet, zeros while there is none.
    pub icmp_source4: [u8; 4],
    /// The source of ICMPv6 errors to the Internet, zeros while there is none.
    pub icmp_source6: [u8; 16],
    /// The interface's MAC.
    pub mac: [u8; 6],
    /// [`UplinkFlags`].
    pub flags: u16,
    /// See [`Checksummed`].
    pub seal: u32,
}

/// Bits of [`Uplink::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkFlags;

impl UplinkFlags {
    /// Answer ARP requests and neighbour solicitations for associated EIPs: the pools are on-link.
    pub const ANSWER_ARP: u16 = 1;
    /// Drop packets with a source of RFC 1918, RFC 6598 or RFC 4193, but for ICMP errors about an
    /// EIP's own packets.
    pub const DROP_PRIVATE_SOURCES: u16 = 2;
    /// The lowest bit of [`Uplink::number`].
    const NUMBER: u32 = 8;
    /// One more than the highest number.
    pub const NUMBERS: u16 = 64;

    /// The bits that say [`Uplink::number`]; those behind the last have the last one's.
    pub const fn numbered(number: usize) -> u16 {
        let last = Self::NUMBERS - 1;
        #[allow(clippy::cast_possible_truncation, reason = "less than 64")]
        let number = if number < last as usize {
            number as u16
        } else {
            last
        };
        number << Self::NUMBER
    }
}

impl Uplink {
    /// Which of the gateway's uplinks it is: its bit in the words of the map `ANSWERS`.
    #[inline(always)]
    pub const fn number(&self) -> u32 {
        ((self.flags >> UplinkFlags::NUMBER) & (UplinkFlags::NUMBERS - 1)) as u32
    }
}

impl EipMode {
    /// Reads [`EipRoute::mode`]; `None` for what no version of this ABI writes.
    #[inline(always)]
    pub const fn from_value(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Unassociated),
            1 => Some(Self::Nat),
            2 => Some(Self::CutThrough),
            3 => Some(Self::Detached),
            4 => Some(Self::Stranded),
            _ => None,
        }
    }
}

impl PortRole {
    /// Reads [`Port::role`]; `None` for what no version of this ABI writes.
    #[inline(always)]
    pub const fn from_value(value: u32) -> Option<Self> {
        match value {
            0 => Some(Self::Enis),
            1 => Some(Self::Host),
            _ => None,
        }
    }
}

impl SourceState {
    /// Reads [`SourceBinding::state`]; `None` for what no version of this ABI writes.
    #[inline(always)]
    pub const fn from_value(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::NoEip),
            1 => Some(Self::Nat),
            2 => Some(Self::CutThrough),
            3 => Some(Self::Off),
            4 => Some(Self::Stranded),
            5 => Some(Self::Detached),
            _ => None,
        }
    }
}

// SAFETY: `repr(C)`, integers and byte arrays only, `seal` is the last field, and no padding: the
// size, asserted below for both addresses, is the sum of the fields.
unsafe impl<A: Address> Checksummed for EipRoute<A> {
    type Key = A;
}
// SAFETY: as above.
unsafe impl<A: Address> Checksummed for SourceBinding<A> {
    type Key = SourceKey<A>;
}
// SAFETY: as above.
unsafe impl<A: Address> Checksummed for Cidr<A> {
    type Key = u32;
}
// SAFETY: as above.
unsafe impl Checksummed for Vpc {
    type Key = u32;
}
// SAFETY: as above.
unsafe impl Checksummed for Target {
    type Key = u32;
}
// SAFETY: as above.
unsafe impl Checksummed for Port {
    type Key = LinkKey;
}
// SAFETY: as above.
unsafe impl Checksummed for PortMac {
    type Key = MacKey;
}
// SAFETY: as above.
unsafe impl<A: Address> Checksummed for Prefix<A> {
    type Key = u32;
}
// SAFETY: as above.
unsafe impl Checksummed for Uplink {
    type Key = LinkKey;
}

/// Asserts the layout that the seal needs, and marks the record for aya.
macro_rules! plain_old_data {
    ($($record:ty, $size:literal;)*) => {$(
        const _: () = assert!(size_of::<$record>() == $size && align_of::<$record>() <= 8);
        // SAFETY: `repr(C)` without padding, any bit pattern is valid.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $record {}
    )*};
}

plain_old_data! {
    Owner, 16;
    EipRoute<[u8; 4]>, 24;
    EipRoute<[u8; 16]>, 36;
    SourceBinding<[u8; 4]>, 20;
    SourceBinding<[u8; 16]>, 32;
    Cidr<[u8; 4]>, 20;
    Cidr<[u8; 16]>, 56;
    Vpc, 16;
    Target, 48;
    Port, 28;
    PortMac, 8;
    Prefix<[u8; 4]>, 20;
    Prefix<[u8; 16]>, 32;
    Uplink, 52;
}

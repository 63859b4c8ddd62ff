//! The maps, and the tables that the packet path sees in them.
//!
//! Sizes here are the defaults of the daemon's configuration, which the loader overrides. Everything is pinned by the
//! loader, under the names of [`eip_dp_common::abi::maps`].

use core::ptr;

use aya_ebpf::{
    macros::map,
    maps::{Array, DevMapHash, HashMap, LpmTrie, PerCpuArray, lpm_trie},
};
use eip_dp_common::{
    abi::{
        Cidr, EipCounters, EipEntry, Event, LinkKey, MAX_CIDRS, MacKey, Port, PortMac, Prefix,
        PrivateEntry, PrivateKey, Reason, Sealed, Status, Target, Uplink, Vpc,
    },
    family::{Family, V4, V6, v4},
    packet::Packet,
    tables::{Links, Options, Scratch, Tables},
};

use crate::limit;

const EIPS: u32 = 65_536;
const PRIVATE_ADDRESSES: u32 = 131_072;
const VPC_COUNT: u32 = 1_024;
const ENIS: u32 = 65_536;
const PORT_COUNT: u32 = 4_096;
const PREFIXES: u32 = 4_096;
const UPLINK_COUNT: u32 = 64;
const SCREEN_WORDS: u32 = 1_024;

/// Declares the maps that there are of each address family.
macro_rules! maps_of {
    ($address:ty, $eip:ident $private:ident $prefix:ident $cidr:ident $screen:ident) => {
        #[map]
        static $eip: HashMap<$address, EipEntry<$address>> = HashMap::with_max_entries(EIPS, 0);
        #[map]
        static $private: HashMap<PrivateKey<$address>, PrivateEntry<$address>> =
            HashMap::with_max_entries(PRIVATE_ADDRESSES, 0);
        #[map]
        static $prefix: LpmTrie<$address, Prefix<$address>> =
            LpmTrie::with_max_entries(PREFIXES, 0);
        #[map]
        static $cidr: Array<Cidr<$address>> = Array::with_max_entries(VPC_COUNT * MAX_CIDRS, 0);
        #[map]
        static $screen: Array<u64> = Array::with_max_entries(SCREEN_WORDS, 0);
    };
}

maps_of!([u8; 4], EIP4 PRIVATE4 PREFIX4 CIDR4 SCREEN4);
maps_of!([u8; 16], EIP6 PRIVATE6 PREFIX6 CIDR6 SCREEN6);

/// For the daemon alone: which VPC has which index.
#[map]
static VPCS: Array<Vpc> = Array::with_max_entries(VPC_COUNT, 0);
#[map]
static TARGETS: Array<Target> = Array::with_max_entries(ENIS, 0);
#[map]
static PORTS: HashMap<LinkKey, Port> = HashMap::with_max_entries(PORT_COUNT, 0);
#[map]
static MACS: HashMap<MacKey, PortMac> = HashMap::with_max_entries(ENIS, 0);
#[map]
static UPLINKS: HashMap<LinkKey, Uplink> = HashMap::with_max_entries(UPLINK_COUNT, 0);
#[map]
pub static DEVICES: DevMapHash = DevMapHash::with_max_entries(PORT_COUNT, 0);
#[map]
pub static EIP_COUNTERS: PerCpuArray<EipCounters> = PerCpuArray::with_max_entries(EIPS, 0);
#[map]
pub static EVENTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Event::COUNTERS, 0);
#[map]
pub static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Reason::COUNTERS, 0);
/// For the daemon alone: what it has applied.
#[map]
static STATUS: Array<u64> = Array::with_max_entries(Status::LEN, 0);

/// The kernel's maps as the packet path's tables.
pub struct Maps;

impl Maps {
    /// Whether the interface and VLAN are an uplink.
    #[inline(always)]
    pub fn has_uplink(key: &LinkKey) -> bool {
        UPLINKS.get_ptr(key).is_some()
    }

    /// Whether the interface and VLAN are a port.
    #[inline(always)]
    pub fn has_port(key: &LinkKey) -> bool {
        PORTS.get_ptr(key).is_some()
    }
}

/// Copies a record that was found.
#[inline(always)]
fn copy<T: Sealed>(record: Option<*const T>, into: &mut T) -> bool {
    match record {
        Some(record) => {
            // SAFETY: the kernel gave this pointer to a value of the map, which stays mapped while the program runs.
            unsafe { into.take(record) };
            true
        }
        None => false,
    }
}

impl Links for Maps {
    #[inline(always)]
    fn port(&self, key: &LinkKey, into: &mut Port) -> bool {
        copy(PORTS.get_ptr(key), into)
    }

    #[inline(always)]
    fn mac(&self, key: &MacKey, into: &mut PortMac) -> bool {
        copy(MACS.get_ptr(key), into)
    }

    #[inline(always)]
    fn target(&self, index: &u32, into: &mut Target) -> bool {
        copy(TARGETS.get_ptr(*index), into)
    }

    #[inline(always)]
    fn uplink(&self, key: &LinkKey, into: &mut Uplink) -> bool {
        copy(UPLINKS.get_ptr(key), into)
    }

    #[inline(always)]
    fn check_options<P: Packet>(&self, packet: &P, len: usize, sum: u32) -> Result<(), Reason> {
        let options = OPTIONS.get_ptr_mut(0).ok_or(Reason::KernelRefused)?;
        // SAFETY: as in `in_map`.
        v4::check_options(packet, len, sum, unsafe { &mut *options })
    }

    #[inline(always)]
    fn may_tell(&self, receiver: u64, sends: bool) -> bool {
        limit::may_tell(receiver, sends)
    }
}

/// The tables of an address family, in its maps.
macro_rules! tables_of {
    ($family:ty, $address:ty, $scratch:ident, $eip:ident $private:ident $prefix:ident $cidr:ident $screen:ident) => {
        impl Tables<$family> for Maps {
            #[inline(always)]
            fn eip(&self, address: &$address, into: &mut EipEntry<$address>) -> bool {
                copy($eip.get_ptr(address), into)
            }

            #[inline(always)]
            fn private(
                &self,
                key: &PrivateKey<$address>,
                into: &mut PrivateEntry<$address>,
            ) -> bool {
                copy($private.get_ptr(key), into)
            }

            #[inline(always)]
            fn cidr(&self, index: &u32, into: &mut Cidr<$address>) -> bool {
                copy($cidr.get_ptr(*index), into)
            }

            #[inline(always)]
            fn prefix(&self, address: &$address, into: &mut Prefix<$address>) -> bool {
                const WHOLE: u32 = 8 * size_of::<$address>() as u32;
                let record = $prefix.get(lpm_trie::Key::new(WHOLE, *address));
                copy(record.map(ptr::from_ref), into)
            }

            #[inline(always)]
            fn is_screened(&self, address: &$address) -> bool {
                let screen = <$family>::screen(address);
                let (word, bit) = (u32::from(screen >> 6), screen & 63);
                $screen.get(word).is_some_and(|word| word >> bit & 1 == 1)
            }

            #[inline(always)]
            fn with_scratch<R>(&self, path: impl FnOnce(&mut Scratch<$address>) -> R) -> Option<R> {
                $scratch(path)
            }
        }
    };
}

tables_of!(V4, [u8; 4], on_stack, EIP4 PRIVATE4 PREFIX4 CIDR4 SCREEN4);
tables_of!(V6, [u8; 16], in_map, EIP6 PRIVATE6 PREFIX6 CIDR6 SCREEN6);

/// IPv4's records fit on the stack.
#[inline(always)]
fn on_stack<R>(path: impl FnOnce(&mut Scratch<[u8; 4]>) -> R) -> Option<R> {
    Some(path(&mut Scratch::new()))
}

#[map]
static OPTIONS: PerCpuArray<Options> = PerCpuArray::with_max_entries(1, 0);
#[map]
static SCRATCH6: PerCpuArray<Scratch<[u8; 16]>> = PerCpuArray::with_max_entries(1, 0);

/// IPv6's do not.
#[inline(always)]
fn in_map<R>(path: impl FnOnce(&mut Scratch<[u8; 16]>) -> R) -> Option<R> {
    let scratch = SCRATCH6.get_ptr_mut(0)?;
    // SAFETY: the pointer is to this CPU's copy, valid while the program runs; programs of a CPU run one after the other
    // (in a softirq), and none asks for it twice at a time.
    Some(path(unsafe { &mut *scratch }))
}

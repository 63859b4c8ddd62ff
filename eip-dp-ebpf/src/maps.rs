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
        AddressClass, Cidr, EipCounters, EipEntry, MAX_CIDRS, MacKey, Port, PortKey, PortMac,
        PrivateEntry, PrivateKey, Reason, Status, Target, Uplink, Vpc,
    },
    family::{Family, V4},
    tables::{Links, Tables},
};

const EIPS: u32 = 65_536;
const PRIVATE_ADDRESSES: u32 = 131_072;
const VPC_COUNT: u32 = 1_024;
const ENIS: u32 = 65_536;
const PORT_COUNT: u32 = 4_096;
const PREFIXES: u32 = 4_096;
const UPLINK_COUNT: u32 = 64;
const SCREEN_WORDS: u32 = 1_024;

#[map]
static EIP4: HashMap<[u8; 4], EipEntry<[u8; 4]>> = HashMap::with_max_entries(EIPS, 0);
#[map]
static PRIVATE4: HashMap<PrivateKey<[u8; 4]>, PrivateEntry<[u8; 4]>> =
    HashMap::with_max_entries(PRIVATE_ADDRESSES, 0);
#[map]
static PREFIX4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(PREFIXES, 0);
#[map]
static CIDR4: Array<Cidr<[u8; 4]>> = Array::with_max_entries(VPC_COUNT * MAX_CIDRS, 0);
/// For the daemon alone: which VPC has which index.
#[map]
static VPCS: Array<Vpc> = Array::with_max_entries(VPC_COUNT, 0);
#[map]
static TARGETS: Array<Target> = Array::with_max_entries(ENIS, 0);
#[map]
static PORTS: HashMap<PortKey, Port> = HashMap::with_max_entries(PORT_COUNT, 0);
#[map]
static MACS: HashMap<MacKey, PortMac> = HashMap::with_max_entries(ENIS, 0);
#[map]
static UPLINKS: HashMap<u32, Uplink> = HashMap::with_max_entries(UPLINK_COUNT, 0);
#[map]
static SCREEN: Array<u64> = Array::with_max_entries(SCREEN_WORDS, 0);
#[map]
pub static DEVICES: DevMapHash = DevMapHash::with_max_entries(PORT_COUNT, 0);
#[map]
pub static EIP_COUNTERS: PerCpuArray<EipCounters> = PerCpuArray::with_max_entries(EIPS, 0);
#[map]
pub static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Reason::COUNTERS, 0);
/// For the daemon alone: what it has applied.
#[map]
static STATUS: Array<u64> = Array::with_max_entries(Status::LEN, 0);

/// The kernel's maps as the packet path's tables.
pub struct Maps;

/// Copies a record in one go, so that no later read of it finds other bytes than its seal was checked with.
#[inline(always)]
fn copy<T: Copy>(record: *const T) -> T {
    // SAFETY: the kernel gave this pointer to a value of the map, which stays mapped while the program runs. The value
    // may change meanwhile: the read is volatile, any bytes are a `T`, and the seal tells whether they belong together.
    unsafe { ptr::read_volatile(record) }
}

impl Links for Maps {
    #[inline(always)]
    fn port(&self, key: &PortKey) -> Option<Port> {
        PORTS.get_ptr(key).map(copy)
    }

    #[inline(always)]
    fn mac(&self, key: &MacKey) -> Option<PortMac> {
        MACS.get_ptr(key).map(copy)
    }

    #[inline(always)]
    fn target(&self, index: &u32) -> Option<Target> {
        TARGETS.get_ptr(*index).map(copy)
    }

    #[inline(always)]
    fn uplink(&self, ifindex: &u32) -> Option<Uplink> {
        UPLINKS.get_ptr(ifindex).map(copy)
    }
}

impl Tables<V4> for Maps {
    #[inline(always)]
    fn eip(&self, address: &[u8; 4]) -> Option<EipEntry<[u8; 4]>> {
        EIP4.get_ptr(address).map(copy)
    }

    #[inline(always)]
    fn private(&self, key: &PrivateKey<[u8; 4]>) -> Option<PrivateEntry<[u8; 4]>> {
        PRIVATE4.get_ptr(key).map(copy)
    }

    #[inline(always)]
    fn cidr(&self, index: &u32) -> Option<Cidr<[u8; 4]>> {
        CIDR4.get_ptr(*index).map(copy)
    }

    #[inline(always)]
    fn class(&self, address: &[u8; 4]) -> Option<AddressClass> {
        const WHOLE: u32 = 32;
        PREFIX4
            .get(lpm_trie::Key::new(WHOLE, *address))
            .and_then(|value| AddressClass::from_value(*value))
    }

    #[inline(always)]
    fn is_screened(&self, address: &[u8; 4]) -> bool {
        let screen = V4::screen(address);
        let (word, bit) = (u32::from(screen >> 6), screen & 63);
        SCREEN.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }
}

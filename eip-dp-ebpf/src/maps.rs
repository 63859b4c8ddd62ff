//! The maps, and the tables that the packet path sees in them.
//!
//! Sizes here are the defaults of the daemon's configuration, which the loader overrides.
//! Everything is pinned by the loader, under the names of [`eip_dp_common::abi::maps`].

mod tables;

use core::ptr;

use aya_ebpf::{
    macros::map,
    maps::{Array, DevMapHash, HashMap, LpmTrie, PerCpuArray},
};
use eip_dp_common::{
    abi::{
        Checksummed, Cidr, CounterOverflow, EipRoute, Event, INGRESS_PLACES, Ingress, Link,
        LinkKey, MAX_CIDRS, MacKey, NextHop, Owner, PackedCounter, Port, PortMac, PortRole, Prefix,
        Reason, Status, Target, Uplink, Vpc,
    },
    budget::{EipBudget, EniBudget, Spend},
    cuckoo::{self, Bucket, Key},
    family::{NatObstacle, PREFILTER_BITS, v4},
    packet::Packet,
    pipeline::FastPathTables,
    tables::{LinkTables, Options},
};

use crate::{budgets, unaligned};

const EIPS: u32 = 65_536;
const VPC_COUNT: u32 = 1_024;
const ENIS: u32 = 65_536;
const PORT_COUNT: u32 = 4_096;
const LINK_COUNT: u32 = 8_192;
const PREFIXES: u32 = 4_096;
const UPLINK_COUNT: u32 = 64;
const PREFILTER_WORDS: u32 = PREFILTER_BITS / 64;

/// User space writes these maps by plain stores.
const MAPPED: u32 = aya_ebpf::bindings::BPF_F_MMAPABLE;

/// Declares a number that the loader sets, and how it is read. The verifier knows it.
macro_rules! set_by_the_loader {
    ($($name:ident: $type:ty;)*) => {$(
        #[unsafe(no_mangle)]
        pub static $name: $type = 2;
    )*};
}

set_by_the_loader! {
    SEED: u64;
    EIP4_BUCKETS: u32;
    EIP6_BUCKETS: u32;
    PRIVATE4_BUCKETS: u32;
    PRIVATE6_BUCKETS: u32;
    SLOTS: u32;
    TARGETS: u32;
    NAT_PEERS6_HALF: u32;
    SKB_KNOWN: u32;
    SKB_IP_SUMMED_BYTE: u32;
    SKB_IP_SUMMED_SHIFT: u32;
    SKB_CSUM_START: u32;
    SKB_CSUM_OFFSET: u32;
    SKB_MAC_HEADER: u32;
}

/// Reads such a number.
#[inline(always)]
pub fn loaded<T: Copy>(number: &T) -> T {
    // SAFETY: a reference is valid. The compiler is not to take the value for the one that stands
    // in the source.
    unsafe { ptr::read_volatile(number) }
}

/// Declares the maps that there are of each address family.
macro_rules! maps_of {
    ($address:ty, $eip:ident $private:ident $prefix:ident $cidr:ident $nets:ident $prefilter:ident) => {
        #[map]
        static $eip: Array<Bucket> = Array::with_max_entries(2, MAPPED);
        #[map]
        static $private: Array<Bucket> = Array::with_max_entries(2, MAPPED);
        #[map]
        static $prefix: LpmTrie<$address, Prefix<$address>> =
            LpmTrie::with_max_entries(PREFIXES, 0);
        #[map]
        static $cidr: Array<Cidr<$address>> = Array::with_max_entries(VPC_COUNT * MAX_CIDRS, 0);
        #[map]
        static $nets: Array<u64> = Array::with_max_entries(VPC_COUNT * MAX_CIDRS, MAPPED);
        #[map]
        static $prefilter: Array<u64> = Array::with_max_entries(PREFILTER_WORDS, 0);
    };
}

maps_of!([u8; 4], EIP4 PRIVATE4 PREFIX4 CIDR4 NETS4 PREFILTER4);
maps_of!([u8; 16], EIP6 PRIVATE6 PREFIX6 CIDR6 NETS6 PREFILTER6);

#[map]
static NAT_PEERS6: Array<[u8; 16]> = Array::with_max_entries(EIPS, MAPPED);
/// For the daemon alone: which VPC has which index.
#[map]
static VPCS: Array<Vpc> = Array::with_max_entries(VPC_COUNT, 0);
#[map]
static NEXT_HOPS: Array<u64> = Array::with_max_entries(ENIS, MAPPED);
#[map]
static OWNERS: Array<Owner> = Array::with_max_entries(ENIS, MAPPED);
#[map]
static LINKS: Array<Link> = Array::with_max_entries(LINK_COUNT, MAPPED);
#[map]
static INGRESS: Array<u64> = Array::with_max_entries(INGRESS_PLACES, MAPPED);
#[map]
static PORTS: HashMap<LinkKey, Port> = HashMap::with_max_entries(PORT_COUNT, 0);
#[map]
static MACS: HashMap<MacKey, PortMac> = HashMap::with_max_entries(ENIS, 0);
#[map]
static UPLINKS: HashMap<LinkKey, Uplink> = HashMap::with_max_entries(UPLINK_COUNT, 0);
#[map]
pub static DEVICES: DevMapHash = DevMapHash::with_max_entries(PORT_COUNT, 0);
#[map]
static EIP_IN: Array<PackedCounter> = Array::with_max_entries(EIPS, MAPPED);
#[map]
static EIP_OUT: Array<PackedCounter> = Array::with_max_entries(EIPS, MAPPED);
/// For the daemon, and for who looks: where an EIP's counters of what it sends are.
#[map]
static OUT_SLOTS: Array<[u32; 2]> = Array::with_max_entries(EIPS / 2, MAPPED);
#[map]
static ANSWERS: Array<u64> = Array::with_max_entries(EIPS, MAPPED);
#[map]
static EIP_OVERFLOW: Array<[CounterOverflow; 2]> = Array::with_max_entries(EIPS, MAPPED);
#[map]
static EIP_DROPS: Array<[u64; 2]> = Array::with_max_entries(EIPS, MAPPED);
#[map]
static OPTIONS: PerCpuArray<Options> = PerCpuArray::with_max_entries(1, 0);
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

    /// Whether the interface and VLAN are a port of ENIs.
    #[inline(always)]
    pub fn has_port(key: &LinkKey) -> bool {
        match PORTS.get_ptr(key) {
            // SAFETY: the kernel gave the pointer, to a value of the map, which stays mapped while
            // the program runs.
            Some(port) => {
                (unsafe { (&raw const (*port).role).read_volatile() }) == PortRole::Enis as u32
            }
            None => false,
        }
    }
}

/// Copies a record that was found.
#[inline(always)]
fn copy<T: Checksummed>(record: Option<*const T>, into: &mut T) -> bool {
    match record {
        Some(record) => {
            // SAFETY: the kernel gave this pointer to a value of the map, which stays mapped while
            // the program runs.
            unsafe { into.take(record) };
            true
        }
        None => false,
    }
}

/// Reads a word that the daemon may store while a program runs.
#[inline(always)]
fn load(word: *const u64) -> u64 {
    // SAFETY: the kernel gave the pointer, to a value of a map, which stays mapped while the
    // program runs; it is aligned.
    unsafe { ptr::read_volatile(word) }
}

/// Reads a link, its MAC at once.
///
/// # Safety
/// The kernel gave the pointer, and nobody changes what it is to.
#[inline(always)]
unsafe fn read_link(link: *const Link) -> Link {
    // SAFETY: by the caller's promise.
    unsafe {
        Link {
            mac: unaligned::load(&raw const (*link).mac),
            ..*link
        }
    }
}

/// A word of an array.
#[inline(always)]
fn word_of(array: &Array<u64>, index: u32) -> u64 {
    match array.get_ptr(index) {
        Some(word) => load(word),
        None => 0,
    }
}

/// The counters of a slot on this CPU.
#[inline(always)]
fn flow_of(flows: &Array<PackedCounter>, slot: u32) -> Option<*mut PackedCounter> {
    // SAFETY: the helper takes nothing and gives a number.
    let cpu = unsafe { aya_ebpf::helpers::bpf_get_smp_processor_id() };
    flows.get_ptr_mut(PackedCounter::index(loaded(&SLOTS), cpu, slot))
}

/// Has the counters fetched that those of a key are mostly among, long before the key's entry says
/// where they are.
#[inline(always)]
fn prefetch_counters(flows: &Array<PackedCounter>, key: &Key) {
    let home = cuckoo::home(
        key,
        loaded(&SEED),
        loaded(&SLOTS),
        PackedCounter::PER_CACHE_LINE,
    );
    prefetch(flow_of(flows, home.start));
}

/// Has the line fetched that this is in: nothing waits for it.
#[inline(always)]
fn prefetch<T>(what: Option<*mut T>) {
    if let Some(what) = what {
        // The load is the point.
        load(what.cast());
    }
}

/// A slot's counters of packets that were delivered to the ENI, on this CPU.
#[inline(always)]
pub fn received(slot: u32) -> Option<*mut PackedCounter> {
    flow_of(&EIP_IN, slot)
}

/// Likewise of packets that were sent for the ENI.
#[inline(always)]
pub fn sent(slot: u32) -> Option<*mut PackedCounter> {
    flow_of(&EIP_OUT, slot)
}

/// A slot's counters of dropped packets, in and out, of all CPUs.
#[inline(always)]
pub fn dropped(slot: u32) -> Option<*mut u64> {
    Some(EIP_DROPS.get_ptr_mut(slot)?.cast())
}

/// What did not stay in a slot's words of [`received`] and [`sent`], of all CPUs.
#[inline(always)]
pub fn overflow(slot: u32) -> Option<*mut u64> {
    Some(EIP_OVERFLOW.get_ptr_mut(slot)?.cast())
}

impl Maps {
    /// Where a target is reached.
    #[inline(always)]
    fn hop(index: u32) -> NextHop {
        NextHop::from_word(word_of(&NEXT_HOPS, index))
    }
}

/// The target that is there.
#[inline(always)]
fn target_at(hop: NextHop, into: &mut Target) -> bool {
    match LINKS.get_ptr(hop.link()) {
        Some(link) if hop.link() != 0 => {
            // SAFETY: as in `load`; nobody changes a record that is led to.
            let target = hop.target(&unsafe { read_link(link) });
            // What programs never ask of it stays as it is.
            *into = Target {
                tag: into.tag,
                instance: into.instance,
                seal: into.seal,
                ..target
            };
            true
        }
        _ => false,
    }
}

impl FastPathTables for Maps {
    #[inline(always)]
    fn ingress(&self, ifindex: u32, is_uplink: bool, into: &mut Link) -> u32 {
        let word = Ingress::from_word(word_of(&INGRESS, Ingress::place(ifindex)));
        let index = word.link_of(ifindex, is_uplink);
        match LINKS.get_ptr(index) {
            Some(link) if index != 0 => {
                // SAFETY: as in `load`; nobody changes a record that is led to.
                *into = unsafe { read_link(link) };
                index
            }
            _ => 0,
        }
    }

    #[inline(always)]
    fn next_hop(&self, index: &u32) -> NextHop {
        Self::hop(*index)
    }
}

impl LinkTables for Maps {
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
        target_at(Self::hop(*index), into)
    }

    #[inline(always)]
    fn receiver<A>(&self, eip: &EipRoute<A>, into: &mut Target) -> bool {
        let hop = match eip.next_hop() {
            0 => Self::hop(eip.target),
            hop => NextHop::from_word(hop),
        };
        target_at(hop, into)
    }

    #[inline(always)]
    fn instance(&self, index: &u32) -> u64 {
        match OWNERS.get_ptr(*index) {
            // SAFETY: as in `load`.
            Some(owner) => load(unsafe { &raw const (*owner).instance }),
            None => 0,
        }
    }

    #[inline(always)]
    fn uplink(&self, key: &LinkKey, into: &mut Uplink) -> bool {
        copy(UPLINKS.get_ptr(key), into)
    }

    #[inline(always)]
    fn answers(&self, slot: u32) -> u64 {
        word_of(&ANSWERS, slot)
    }

    #[inline(always)]
    fn check_options<P: Packet>(
        &self,
        packet: &P,
        len: usize,
        sum: u32,
    ) -> Result<NatObstacle, Reason> {
        let options = OPTIONS.get_ptr_mut(0).ok_or(Reason::KernelRefused)?;
        // SAFETY: as in `in_map`.
        v4::check_options(packet, len, sum, unsafe { &mut *options })
    }

    #[inline(always)]
    fn walk_embedded_options<P: Packet>(
        &self,
        packet: &P,
        start: usize,
        len: usize,
    ) -> NatObstacle {
        match OPTIONS.get_ptr_mut(0) {
            // SAFETY: as in `in_map`.
            Some(options) => {
                v4::walk_embedded_options(packet, start, len, unsafe { &mut *options })
            }
            None => NatObstacle::NONE,
        }
    }

    #[inline(always)]
    fn allow_eni(&self, target: u32, kind: EniBudget, spend: Spend) -> bool {
        budgets::allow_eni(target, kind, spend)
    }

    #[inline(always)]
    fn allow_eip(&self, slot: u32, receiver: u64, kind: EipBudget, spend: Spend) -> bool {
        budgets::allow_eip(slot, receiver, kind, spend)
    }

    #[inline(always)]
    fn allow_neighbour(&self, target: u32, ifindex: u32, neighbour: u64) -> bool {
        budgets::allow_neighbour(target, ifindex, neighbour)
    }

    #[inline(always)]
    fn neighbour_answers(&self, ifindex: u32, neighbour: u64) {
        budgets::neighbour_answers(ifindex, neighbour);
    }
}

//! The tables of each address family, in its maps.

use core::ptr;

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray, lpm_trie},
};
use eip_dp_common::{
    abi::{
        Cidr, EipMode, EipRoute, MAX_CIDRS, NAT_PEERS_PER_CACHE_LINE, NetWord, NextHop, Prefix,
        SourceBinding, SourceKey, SourceState,
    },
    checksum::Delta,
    cuckoo::{self, EipEntry, Found, Geometry, Key, Keyed, SourceEntry},
    family::{Family, V4, V6},
    tables::{Scratch, Tables},
};

use super::{
    CIDR4, CIDR6, EIP_IN, EIP_OUT, EIP4, EIP4_BUCKETS, EIP6, EIP6_BUCKETS, Maps, NAT_PEERS6,
    NAT_PEERS6_HALF, NETS4, NETS6, NEXT_HOPS, PREFILTER4, PREFILTER6, PREFIX4, PREFIX6, PRIVATE4,
    PRIVATE4_BUCKETS, PRIVATE6, PRIVATE6_BUCKETS, SEED, TARGETS, copy, load, loaded, prefetch,
    prefetch_counters, word_of,
};
use crate::unaligned;

/// How an address family's addresses stand in the entries of an index.
trait Indexed: Family {
    /// The other address that an entry names.
    fn other(other: u32) -> Self::Address;
    /// Has that fetched which the entry of this key names, of an EIP or of an ENI's address, if it
    /// is at home.
    fn prefetch_nat_peer(key: &Key, of_eip: bool);
    /// The checksum difference between two addresses.
    fn delta(old: &Self::Address, new: &Self::Address) -> Delta;
}

impl Indexed for V4 {
    #[inline(always)]
    fn other(other: u32) -> [u8; 4] {
        other.to_ne_bytes()
    }

    #[inline(always)]
    fn prefetch_nat_peer(_key: &Key, _of_eip: bool) {}

    #[inline(always)]
    fn delta(old: &[u8; 4], new: &[u8; 4]) -> Delta {
        Delta::between(old, new)
    }
}

impl Indexed for V6 {
    #[inline(always)]
    fn other(other: u32) -> [u8; 16] {
        match NAT_PEERS6.get_ptr(other) {
            // SAFETY: as in `load`; nobody changes an element that is led to.
            Some(address) => unsafe { *address },
            None => unaligned::zeros(),
        }
    }

    #[inline(always)]
    fn prefetch_nat_peer(key: &Key, of_eip: bool) {
        let half = loaded(&NAT_PEERS6_HALF);
        let home = cuckoo::home(key, loaded(&SEED), half, NAT_PEERS_PER_CACHE_LINE);
        let begin = if of_eip { 0 } else { half };
        prefetch(NAT_PEERS6.get_ptr_mut(begin + home.start));
    }

    #[inline(always)]
    fn delta(old: &[u8; 16], new: &[u8; 16]) -> Delta {
        Delta::between(old, new)
    }
}

/// An EIP from its entry.
#[inline(always)]
fn read_eip<F: Indexed>(
    found: Found,
    address: &F::Address,
    into: &mut EipRoute<F::Address>,
) -> bool {
    if found.is_nothing() {
        return false;
    }
    let words = EipEntry::unpack(found.key_word, found.value_word);
    into.slot = words.slot;
    into.mode = words.mode;
    into.set_target(words.target);
    if words.hop != 0 {
        into.set_next_hop(words.hop);
    }
    // In the other modes nothing is changed, or nothing delivered.
    if words.mode == EipMode::Nat as u8 {
        into.private = F::other(words.other);
        into.delta = F::delta(address, &into.private).to_record();
    } else {
        into.private = *address;
        into.delta = 0;
    }
    true
}

/// An address of an ENI from its entry.
#[inline(always)]
fn read_private<F: Indexed>(
    found: Found,
    address: &F::Address,
    into: &mut SourceBinding<F::Address>,
) -> bool {
    if found.is_nothing() {
        return false;
    }
    let words = SourceEntry::unpack(found.key_word, found.value_word);
    into.slot = words.slot;
    into.target = words.target;
    into.state = words.state;
    if words.state == SourceState::Nat as u8 {
        into.public = F::other(words.other);
        into.delta = F::delta(address, &into.public).to_record();
    } else {
        into.public = *address;
        into.delta = 0;
    }
    true
}

/// Whether a screen has this bit.
#[inline(always)]
fn is_set(prefilter: &Array<u64>, bit: u32) -> bool {
    prefilter
        .get(bit / 64)
        .is_some_and(|word| word >> (bit % 64) & 1 == 1)
}

/// The tables of an address family, in its maps.
macro_rules! tables_of {
    (
        $family:ty, $address:ty, $scratch:ident,
        $eip:ident $eip_buckets:ident $private:ident $private_buckets:ident $prefix:ident $cidr:ident $nets:ident
        $prefilter:ident
    ) => {
        impl Tables<$family> for Maps {
            #[inline(always)]
            fn eip(&self, address: &$address, into: &mut EipRoute<$address>) -> bool {
                let key = EipEntry::key(*address);
                let geometry = Geometry {
                    buckets: loaded(&$eip_buckets),
                    seed: loaded(&SEED),
                };
                let found = cuckoo::find::<<$address as Keyed>::Shape>(
                    geometry,
                    &key,
                    |bucket| $eip.get_ptr(bucket),
                    load,
                );
                read_eip::<$family>(found, address, into)
            }

            #[inline(always)]
            fn private(
                &self,
                key: &SourceKey<$address>,
                into: &mut SourceBinding<$address>,
            ) -> bool {
                let words = SourceEntry::key(key.vpc, key.address);
                let geometry = Geometry {
                    buckets: loaded(&$private_buckets),
                    seed: loaded(&SEED),
                };
                let found = cuckoo::find::<<$address as Keyed>::Shape>(
                    geometry,
                    &words,
                    |bucket| $private.get_ptr(bucket),
                    load,
                );
                read_private::<$family>(found, &key.address, into)
            }

            #[inline(always)]
            fn cidr(&self, index: &u32, into: &mut Cidr<$address>) -> bool {
                copy($cidr.get_ptr(*index), into)
            }

            #[inline(always)]
            fn may_be_inside(&self, vpc: u32, address: &$address) -> bool {
                let upper = <$family>::upper(address);
                let mut place = 0;
                while place < MAX_CIDRS {
                    let index = Cidr::<$address>::index(vpc, place);
                    let net = NetWord::from_word(word_of(&$nets, index));
                    if net.is_none() {
                        break;
                    }
                    if net.covers(upper) {
                        return true;
                    }
                    place += 1;
                }
                false
            }

            #[inline(always)]
            fn prefix(&self, address: &$address, into: &mut Prefix<$address>) -> bool {
                const WHOLE: u32 = 8 * size_of::<$address>() as u32;
                let record = $prefix.get(lpm_trie::Key::new(WHOLE, *address));
                copy(record.map(ptr::from_ref), into)
            }

            #[inline(always)]
            fn may_be_pool(&self, address: &$address) -> bool {
                let [short, long] = <$family>::prefilter(address);
                is_set(&$prefilter, short) && is_set(&$prefilter, long)
            }

            #[inline(always)]
            fn prefetch_eip(&self, address: &$address) {
                let key = EipEntry::key(*address);
                prefetch_counters(&EIP_IN, &key);
                <$family as Indexed>::prefetch_nat_peer(&key, true);
            }

            #[inline(always)]
            fn prefetch_source(&self, key: &SourceKey<$address>, mac: [u8; 6]) {
                let key = SourceEntry::key(key.vpc, key.address);
                prefetch_counters(&EIP_OUT, &key);
                <$family as Indexed>::prefetch_nat_peer(&key, false);
                let home = NextHop::home(mac, loaded(&SEED), loaded(&TARGETS));
                prefetch(NEXT_HOPS.get_ptr_mut(home.start));
            }

            #[inline(always)]
            fn with_scratch<R>(&self, path: impl FnOnce(&mut Scratch<$address>) -> R) -> Option<R> {
                $scratch(path)
            }
        }
    };
}

tables_of!(
    V4, [u8; 4], on_stack,
    EIP4 EIP4_BUCKETS PRIVATE4 PRIVATE4_BUCKETS PREFIX4 CIDR4 NETS4 PREFILTER4
);
tables_of!(
    V6, [u8; 16], in_map,
    EIP6 EIP6_BUCKETS PRIVATE6 PRIVATE6_BUCKETS PREFIX6 CIDR6 NETS6 PREFILTER6
);

/// IPv4's records fit on the stack.
#[inline(always)]
fn on_stack<R>(path: impl FnOnce(&mut Scratch<[u8; 4]>) -> R) -> Option<R> {
    Some(path(&mut Scratch::new()))
}

#[map]
static SCRATCH6: PerCpuArray<Scratch<[u8; 16]>> = PerCpuArray::with_max_entries(1, 0);

/// IPv6's do not.
#[inline(always)]
fn in_map<R>(path: impl FnOnce(&mut Scratch<[u8; 16]>) -> R) -> Option<R> {
    let scratch = SCRATCH6.get_ptr_mut(0)?;
    // SAFETY: the pointer is to this CPU's copy, valid while the program runs; programs of a CPU
    // run one after the other (in a softirq), and none asks for it twice at a time.
    Some(path(unsafe { &mut *scratch }))
}

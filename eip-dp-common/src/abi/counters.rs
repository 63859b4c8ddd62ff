//! What the kernel counts, and the words that the daemon leaves there about itself.

/// Packets of an EIP in one direction, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// How many.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What of a [`Flow`] a CPU has counted, small enough that eight share a cache line: 26 bits
/// packets above 38 bits bytes. When the highest bit of either is set, it is counted in a
/// [`CounterOverflow`], which all CPUs share, and cleared.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackedCounter(u64);

/// How often a [`PackedCounter`] was half full: the lower 32 bits of packets, the upper of bytes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterOverflow(u64);

const PACKET: u64 = 1 << 38;
const HALF_PACKETS: u64 = 1 << 63;
const HALF_BYTES: u64 = 1 << 37;

impl Flow {
    /// Both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }

    /// In words: of their bits, as much as there is room for, which is of everything that can be
    /// counted.
    #[allow(clippy::cast_possible_truncation, reason = "2^57 packets, 2^64 bytes")]
    pub const fn split(self) -> (PackedCounter, CounterOverflow) {
        let (packets, bytes) = (HALF_PACKETS / PACKET, HALF_BYTES);
        let word = (self.packets % packets) * PACKET + self.bytes % bytes;
        let overflow = (self.packets / packets) as u32 as u64 | (self.bytes / bytes) << 32;
        (PackedCounter(word), CounterOverflow(overflow))
    }
}

impl PackedCounter {
    /// How many share a cache line.
    pub const PER_CACHE_LINE: u32 = 8;

    /// How many a CPU has, for so many slots: they begin and end with a cache line.
    pub const fn row(slots: u32) -> u32 {
        slots.next_multiple_of(Self::PER_CACHE_LINE)
    }

    /// Where that of a slot stands for a CPU, whose [`Self::row`] stands together.
    #[inline(always)]
    pub const fn index(row: u32, cpu: u32, slot: u32) -> u32 {
        cpu.wrapping_mul(row).wrapping_add(slot)
    }

    /// With one more packet, of so many bytes.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(PACKET + bytes as u64))
    }

    /// Whether it has to be spill.
    #[inline(always)]
    pub const fn is_half_full(self) -> bool {
        self.0 & (HALF_PACKETS | HALF_BYTES) != 0
    }

    /// What stays, and what is to be added to the [`CounterOverflow`].
    #[inline(always)]
    pub const fn spill(self) -> (Self, u64) {
        let overflow = self.0 >> 63 | (self.0 & HALF_BYTES) >> 37 << 32;
        (Self(self.0 & !(HALF_PACKETS | HALF_BYTES)), overflow)
    }

    /// What it says.
    pub const fn flow(self) -> Flow {
        Flow {
            packets: self.0 / PACKET,
            bytes: self.0 % PACKET,
        }
    }
}

impl CounterOverflow {
    /// What they say.
    pub const fn flow(self) -> Flow {
        Flow {
            packets: (self.0 & 0xffff_ffff).wrapping_mul(HALF_PACKETS / PACKET),
            bytes: (self.0 >> 32).wrapping_mul(HALF_BYTES),
        }
    }
}

/// An EIP's counters, of all CPUs. Bytes are those of the IP packet, from its header to the end of
/// its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EipCounters {
    /// Packets delivered to the ENI.
    pub in_packets: u64,
    /// Their bytes.
    pub in_bytes: u64,
    /// Packets to the EIP that were dropped.
    pub in_dropped: u64,
    /// Packets sent for the ENI, to an uplink or to another EIP.
    pub out_packets: u64,
    /// Their bytes.
    pub out_bytes: u64,
    /// Packets from the EIP's private address that were dropped.
    pub out_dropped: u64,
}

impl EipCounters {
    /// Both.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            in_packets: self.in_packets.wrapping_add(other.in_packets),
            in_bytes: self.in_bytes.wrapping_add(other.in_bytes),
            in_dropped: self.in_dropped.wrapping_add(other.in_dropped),
            out_packets: self.out_packets.wrapping_add(other.out_packets),
            out_bytes: self.out_bytes.wrapping_add(other.out_bytes),
            out_dropped: self.out_dropped.wrapping_add(other.out_dropped),
        }
    }
}

/// Words of the `STATUS` map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusWord {
    /// [`super::ABI_VERSION`] of the programs that run.
    Abi = 0,
    /// The table's revision that the maps hold.
    Revision = 1,
    /// When it was reached, in nanoseconds of `CLOCK_BOOTTIME`.
    AppliedAt = 2,
    /// Hash of the table's location, so that a daemon of another table does not adopt these maps
    /// unseen.
    Table = 3,
    /// Hash of the table's file: another file at that location has revisions of its own.
    TableFile = 4,
    /// What spreads the keys of the indexes, see [`crate::cuckoo::Geometry`].
    Seed = 5,
    /// 1 while an entry of an index may stand in both of its lines.
    Moving = 6,
    /// How many IPv4 addresses ENIs may have.
    PrivateAddresses = 7,
    /// How far these maps are in taking the place of others of other sizes: 0 not at all, 1
    /// programs change to them, 2 they have it.
    Switch = 8,
    /// How many EIPs there may be.
    Eips = 9,
    /// How many of them may be IPv6 addresses.
    Eips6 = 10,
    /// How many IPv6 addresses ENIs may have.
    PrivateAddresses6 = 11,
    /// 1 where the counters have a row of what was counted in maps before.
    Carries = 12,
    /// The first half of what tells the table from others, whatever its path; 0 where nothing is
    /// known.
    Identity = 13,
    /// The other half.
    IdentityEnd = 14,
}

/// The `STATUS` map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status;

impl Status {
    /// How many words it has.
    pub const LEN: u32 = 16;
}

const _: () = assert!(size_of::<PackedCounter>() * PackedCounter::PER_CACHE_LINE as usize == 64);

// SAFETY: an integer.
#[cfg(feature = "user")]
unsafe impl aya::Pod for PackedCounter {}
// SAFETY: an integer.
#[cfg(feature = "user")]
unsafe impl aya::Pod for CounterOverflow {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However packets come, and wherever the word stands, none is lost and none counted twice.
        #[test]
        fn nothing_is_lost(
            start in any::<u64>(),
            packets in proptest::collection::vec(prop_oneof![0..65_536u32, any::<u32>()], 0..200),
        ) {
            let mut word = PackedCounter(start & !(HALF_PACKETS | HALF_BYTES));
            let (mut overflow, mut wanted) = (0, word.flow());
            for bytes in packets {
                word = word.plus(bytes);
                wanted = wanted.plus(Flow { packets: 1, bytes: bytes.into() });
                if word.is_half_full() {
                    let (rest, more) = word.spill();
                    (word, overflow) = (rest, overflow + more);
                }
                prop_assert!(!word.is_half_full());
                prop_assert_eq!(word.flow().plus(CounterOverflow(overflow).flow()), wanted);
            }
        }

        #[test]
        fn a_sum_can_be_split(packets in 0..1u64 << 57, bytes in any::<u64>()) {
            let flow = Flow { packets, bytes };
            let (word, overflow) = flow.split();
            prop_assert!(!word.is_half_full());
            prop_assert_eq!(word.flow().plus(overflow.flow()), flow);
        }
    }
}

//! What the kernel counts, and the words that the daemon leaves there about itself.

/// Packets of an EIP in one direction, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// How many.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Flow {
    /// How many share a cache line.
    pub const IN_A_LINE: u32 = 4;

    /// How many a CPU has, for so many slots: they begin and end with a cache line.
    pub const fn row(slots: u32) -> u32 {
        slots.next_multiple_of(Self::IN_A_LINE)
    }

    /// Where the counters of a slot stand for a CPU, whose [`Self::row`] stands together.
    #[inline(always)]
    pub const fn index(row: u32, cpu: u32, slot: u32) -> u32 {
        cpu.wrapping_mul(row).wrapping_add(slot)
    }
}

/// An EIP's counters, of all CPUs. Bytes are those of the IP packet, from its header to the end of its payload.
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
    /// Hash of the table's location, so that a daemon of another table does not adopt these maps unseen.
    Table = 3,
    /// Hash of the table's file: another file at that location has revisions of its own.
    TableFile = 4,
    /// What spreads the keys of the indexes, see [`crate::index::Geometry`].
    Seed = 5,
    /// 1 while an entry of an index may stand in both of its lines.
    Moving = 6,
    /// How many IPv4 addresses ENIs may have.
    PrivateAddresses = 7,
    /// How far these maps are in taking the place of others of other sizes: 0 not at all, 1 programs change to them, 2 they
    /// have it.
    Switch = 8,
    /// How many EIPs there may be.
    Eips = 9,
    /// How many of them may be IPv6 addresses.
    Eips6 = 10,
    /// How many IPv6 addresses ENIs may have.
    PrivateAddresses6 = 11,
    /// 1 where the counters have a row of what was counted in maps before.
    Carries = 12,
}

/// The `STATUS` map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status;

impl Status {
    /// How many words it has.
    pub const LEN: u32 = 16;
}

const _: () = assert!(size_of::<Flow>() * Flow::IN_A_LINE as usize == 64);

// SAFETY: `repr(C)`, integers of one size only.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Flow {}

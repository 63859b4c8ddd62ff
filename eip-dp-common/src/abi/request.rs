//! What a program tells the daemon of a frame that it hands over.

/// What stands before a frame in the map `REQUESTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// When it came, in nanoseconds of `CLOCK_MONOTONIC`: what waited for a daemon to start is old.
    pub received_at: u64,
    /// The port's interface.
    pub ifindex: u32,
    /// The port's VLAN, 0 for none.
    pub vlan: u16,
    /// The port's outer VLAN (802.1ad), 0 for none.
    pub outer: u16,
    /// The frame's length in bytes, without tags. Behind it is padding.
    pub length: u32,
    /// Always 0.
    pub reserved: u32,
}

impl RequestHeader {
    /// Its length in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// The most bytes of a frame that are handed over; longer ones are no request of any client.
    pub const LONGEST_FRAME: usize = 2_048;

    /// How large the map is, in bytes.
    pub const RING: u32 = 1 << 20;

    /// The header of an element, and the frame behind it; `None` for what no program writes.
    pub fn read(element: &[u8]) -> Option<(Self, &[u8])> {
        let (header, frame) = element.split_first_chunk::<{ Self::LEN }>()?;
        // SAFETY: `repr(C)`, integers without padding: any bytes are a header.
        let header: Self = unsafe { core::mem::transmute(*header) };
        let frame = frame.get(..usize::try_from(header.length).ok()?)?;
        Some((header, frame))
    }
}

const _: () = assert!(RequestHeader::LEN == 24);

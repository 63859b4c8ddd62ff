//! Cuts an IPv4 packet into fragments that come in again, see
//! [`eip_dp_common::pipeline::fragment`].

use aya_ebpf::{
    bindings::{
        BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_INGRESS, BPF_F_RECOMPUTE_CSUM,
        bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    helpers::generated::{
        bpf_clone_redirect, bpf_csum_diff, bpf_redirect, bpf_skb_adjust_room, bpf_skb_change_tail,
        bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
    macros::map,
    maps::PerCpuArray,
    programs::TcContext,
};
use eip_dp_common::{
    abi::Reason,
    checksum::fold,
    packet::{NETWORK, Packet, PartialChecksum},
    pipeline::fragment::{self, HEADER, LONGEST, Piece, Walk},
};

use crate::{context::Skb, unaligned, vlan};

/// A packet that is being cut.
#[repr(C)]
struct Room {
    header: [u8; HEADER],
    walk: Walk,
    /// Where in the frame the header is, and how long header and payload are, in bytes.
    network: u32,
    header_len: u32,
    payload_len: u32,
    /// How much of the payload each fragment carries, and where that of the next one begins.
    size: u32,
    at: u32,
    /// Flags and offset of the packet itself.
    flags: u32,
    /// More than the longest payload, so that any place and any length that is checked fit.
    payload: [u8; ROOM],
}

/// All of it is as large as an element of a per-CPU map can be (kernel/bpf/arraymap.c,
/// PCPU_MIN_UNIT_SIZE).
const ROOM: usize = (32 << 10) - HEADER - 4 - 6 * 4;
/// A place among the payload, masked: what is checked is smaller.
const PLACE: usize = 0x3fff;
const _: () = assert!(LONGEST < PLACE && PLACE + LONGEST + PIECE < ROOM);

#[map]
static CUT: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);

/// How many bytes are summed at once: as many as every kernel allows (net/core/filter.c,
/// bpf_csum_diff).
const PIECE: usize = 512;

/// Prepares to make the packet fit `mtu`: what follows is [`next`], for each fragment. A TCP packet
/// that is still to be segmented comes in again at once.
///
/// # Errors
/// The reason not to.
#[inline(always)]
pub fn begin(context: &TcContext, mtu: usize) -> Result<Option<i32>, Reason> {
    let mut skb = Skb::new(context)?;
    let [version, _, high, low] = skb.read::<4>(NETWORK).ok_or(Reason::Malformed)?;
    let header = usize::from(version & 15) * 4;
    if skb.gso_size() != 0 {
        return resegment(&skb, header, mtu).map(Some);
    }
    let total = usize::from(u16::from_be_bytes([high, low]));
    let payload = total.wrapping_sub(header);
    let room = room()?;
    take(&skb, room, header, payload)?;
    let partial = skb.partial_checksum();
    if !partial.is_none() {
        complete(&skb, room, partial, header, payload)?;
        forget_partial(&skb, partial)?;
    }
    let outer = skb.outer();
    room.network = NETWORK as u32;
    if outer != 0 {
        // The inner tag is in the frame then.
        if !vlan::push_outer(&skb, outer) {
            return Err(Reason::KernelRefused);
        }
        room.network += vlan::TAG as u32;
    }
    room.header_len = header as u32;
    room.payload_len = payload as u32;
    room.size = fragment::payload_of(header, mtu, payload) as u32;
    if room.size == 0 {
        return Err(Reason::TooBig);
    }
    room.at = 0;
    room.flags = u32::from(fragment::flags_of(&room.header));
    Ok(None)
}

/// Has the next fragment come in again. `None` where others follow.
///
/// # Errors
/// The reason not to.
#[inline(always)]
pub fn next(context: &TcContext) -> Result<Option<i32>, Reason> {
    let skb = Skb::as_it_is(context);
    let room = room()?;
    let (header, size, at) = (
        room.header_len as usize,
        room.size as usize,
        room.at as usize & PLACE,
    );
    let rest = (room.payload_len as usize).wrapping_sub(at);
    let more = rest > size;
    let len = if more { size } else { rest };
    let piece = Piece { at, len, more };
    fragment::write_header(&mut room.header, header, room.flags as u16, piece);
    give(&skb, room, room.network, header, piece)?;
    if !more {
        // SAFETY: plain integers.
        let action = unsafe { bpf_redirect(skb.ifindex(), u64::from(BPF_F_INGRESS)) };
        return Ok(Some(action as i32));
    }
    // SAFETY: the context is the kernel's. A fragment that there is no memory for is lost as on a
    // wire.
    unsafe { bpf_clone_redirect(skb.as_ptr(), skb.ifindex(), u64::from(BPF_F_INGRESS)) };
    if at == 0 {
        fragment::keep_copied_options(&mut room.header, header, &mut room.walk);
    }
    room.at = (at + size) as u32;
    Ok(None)
}

#[inline(always)]
fn room() -> Result<&'static mut Room, Reason> {
    let room = CUT.get_ptr_mut(0).ok_or(Reason::KernelRefused)?;
    // SAFETY: the pointer is to this CPU's copy, valid while the program runs; programs of a CPU
    // run one after the other, and none asks for it twice.
    Ok(unsafe { &mut *room })
}

/// A length that the verifier knows the bounds of; 0 for one that is larger.
#[inline(always)]
fn bounded(len: usize, most: usize) -> u32 {
    let len = unaligned::opaque(len as u64) as usize;
    // Not compared with 0, of which Linux 6.1's learns nothing.
    if len < unaligned::opaque(1) as usize || len > most {
        0
    } else {
        len as u32
    }
}

/// Likewise of a header; 0 for what is none. Masked, since of two comparisons the compiler makes
/// one that teaches the verifier nothing.
#[inline(always)]
fn header_len(len: usize) -> u32 {
    let len = unaligned::opaque(len as u64) as u32 & 63;
    if len < unaligned::opaque(20) as u32 {
        0
    } else {
        len
    }
}

/// Copies header and payload.
#[inline(always)]
fn take(skb: &Skb, room: &mut Room, header: usize, payload: usize) -> Result<(), Reason> {
    // By words that the compiler cannot make a `memset` of.
    let mut word = 0;
    while word < HEADER / 4 {
        // SAFETY: so many words are the header's, which is aligned for them as its struct is.
        unsafe {
            let words = room.header.as_mut_ptr().cast::<u32>();
            words.add(word).write_volatile(0);
        }
        word += 1;
    }
    let (length, rest) = (header_len(header), bounded(payload, LONGEST));
    if length == 0 || rest == 0 {
        return Err(Reason::Malformed);
    }
    let at = NETWORK as u32;
    // SAFETY: the context is the kernel's, and the room has that many bytes.
    let result = unsafe {
        match bpf_skb_load_bytes(
            skb.as_ptr().cast(),
            at,
            room.header.as_mut_ptr().cast(),
            length,
        ) {
            0 => bpf_skb_load_bytes(
                skb.as_ptr().cast(),
                at + length,
                room.payload.as_mut_ptr().cast(),
                rest,
            ),
            error => error,
        }
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Reason::Malformed)
    }
}

/// Makes the skb one fragment.
#[inline(always)]
fn give(skb: &Skb, room: &Room, network: u32, header: usize, piece: Piece) -> Result<(), Reason> {
    let (length, rest) = (header_len(header), bounded(piece.len, LONGEST));
    if length == 0 || rest == 0 {
        return Err(Reason::Malformed);
    }
    let at = network;
    let recompute = u64::from(BPF_F_RECOMPUTE_CSUM);
    // SAFETY: as in `take`; a place among the payload is masked.
    let result = unsafe {
        let payload = room
            .payload
            .as_ptr()
            .add(unaligned::opaque(piece.at as u64) as usize & PLACE);
        match bpf_skb_change_tail(skb.as_ptr(), at + length + rest, 0) {
            0 => {}
            _ => return Err(Reason::KernelRefused),
        }
        match bpf_skb_store_bytes(
            skb.as_ptr(),
            at,
            room.header.as_ptr().cast(),
            length,
            recompute,
        ) {
            0 => bpf_skb_store_bytes(skb.as_ptr(), at + length, payload.cast(), rest, recompute),
            error => error,
        }
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Reason::KernelRefused)
    }
}

/// Writes the checksum that a device was to write: of the packet as a whole.
#[inline(always)]
fn complete(
    skb: &Skb,
    room: &mut Room,
    partial: PartialChecksum,
    header: usize,
    payload: usize,
) -> Result<(), Reason> {
    let start = (partial.start as usize).wrapping_sub(NETWORK + header);
    let field = (partial.field as usize).wrapping_sub(NETWORK + header);
    if start > payload || field > payload {
        return Err(Reason::Malformed);
    }
    // What the ends of the loops say of a length is not to be known behind them.
    let (start, field) = (skb.verifier_opaque(start), skb.verifier_opaque(field));
    let payload = skb.verifier_opaque(payload);
    // A word that ends behind the payload ends with zeros.
    let end = unaligned::opaque(payload as u64) as usize & PLACE;
    let mut byte = 0;
    while byte < 4 {
        room.payload[end + byte] = 0;
        byte += 1;
    }
    let mut at = start & PLACE;
    let mut sum = 0u64;
    let mut count = 0;
    while count <= LONGEST / PIECE {
        let rest = skb.verifier_opaque(payload.wrapping_sub(at)) & PLACE;
        if rest == 0 {
            break;
        }
        let words = if rest > PIECE { PIECE } else { (rest + 3) & !3 };
        let words = skb.verifier_opaque(words) & (2 * PIECE - 1);
        if words > PIECE {
            break;
        }
        // SAFETY: so many bytes are the room's; without a first buffer the helper only reads the
        // second.
        let piece = unsafe {
            let from = room.payload.as_ptr().add(at).cast_mut();
            bpf_csum_diff(core::ptr::null_mut(), 0, from.cast(), words as u32, 0)
        };
        sum += piece as u64 & 0xffff_ffff;
        at = if rest > PIECE { at + PIECE } else { payload };
        at = skb.verifier_opaque(at) & PLACE;
        count += 1;
    }
    let sum = skb.verifier_opaque(sum as usize) as u64;
    #[allow(clippy::cast_possible_truncation, reason = "folded")]
    let (upper, lower) = ((sum >> 32) as u32, sum as u32);
    let checksum = !fold(u32::from(fold(upper)) + u32::from(fold(lower)));
    // As the kernel does (net/core/dev.c, skb_checksum_help).
    let [a, b] = if checksum == 0 { 0xffff } else { checksum }.to_ne_bytes();
    let field = skb.verifier_opaque(field) & PLACE;
    room.payload[field] = a;
    room.payload[field + 1] = b;
    Ok(())
}

/// Ends the skb's promise that a device completes a checksum: the kernel forgets it where what the
/// sum begins with is cut off (include/linux/skbuff.h, skb_postpull_rcsum). What is cut off is
/// written anew with each fragment.
#[inline(always)]
fn forget_partial(skb: &Skb, partial: PartialChecksum) -> Result<(), Reason> {
    const MOST: u32 = 1_024;
    let cut = partial.start + 2;
    if cut > MOST {
        return Err(Reason::TooBig);
    }
    adjust(skb, -(cut as i32), 0)
}

#[inline(always)]
fn adjust(skb: &Skb, by: i32, flags: u64) -> Result<(), Reason> {
    // SAFETY: the context is the kernel's.
    match unsafe { bpf_skb_adjust_room(skb.as_ptr(), by, BPF_ADJ_ROOM_MAC, flags) } {
        0 => Ok(()),
        _ => Err(Reason::KernelRefused),
    }
}

/// A TCP packet that is still to be segmented: its segments become smaller, and it comes in again.
#[inline(always)]
fn resegment(skb: &Skb, header: usize, mtu: usize) -> Result<i32, Reason> {
    /// In how many steps of how many bytes.
    const STEPS: usize = 17;
    const LARGEST_STEP: usize = 4_000;
    const DATA_OFFSET: usize = 12;
    let [offset] = skb
        .read::<1>(NETWORK + header + DATA_OFFSET)
        .ok_or(Reason::Malformed)?;
    let headers = header + usize::from(offset >> 4) * 4;
    let wanted = mtu.wrapping_sub(headers);
    if mtu <= headers {
        return Err(Reason::TooBig);
    }
    let mut size = skb.gso_size() as usize;
    let mut step = 0;
    while step < STEPS && size > wanted {
        let excess = size - wanted;
        let by = if excess > LARGEST_STEP {
            LARGEST_STEP
        } else {
            excess
        };
        // Room for a header makes segments smaller by as much (net/core/filter.c,
        // bpf_skb_net_grow), and is given back.
        adjust(skb, by as i32, 0)?;
        adjust(skb, -(by as i32), u64::from(BPF_F_ADJ_ROOM_FIXED_GSO))?;
        size -= by;
        step += 1;
    }
    if size > wanted {
        return Err(Reason::TooBig);
    }
    let outer = skb.outer();
    if outer != 0 && !vlan::push_outer(skb, outer) {
        return Err(Reason::KernelRefused);
    }
    // SAFETY: plain integers.
    Ok(unsafe { bpf_redirect(skb.ifindex(), u64::from(BPF_F_INGRESS)) as i32 })
}

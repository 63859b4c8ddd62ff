//! The sink: counts frames, those that arrive as they have to apart from all others, and keeps
//! none.

use aya_ebpf::programs::XdpContext;
use eip_dp_bench_ebpf::{
    Address, ENI_MAC, FLOW_BITS, FLOWS, LOWER_BITS, PORT_MARK, Plan, Seen, UPPER_BITS,
};

use crate::{
    PLAN, SEEN,
    frame::{ETHERNET, ICMP, IPV4, IPV6, UDP, halves, head, read, read_u16, read_u32},
    generate::Choice,
};

const ETHERTYPE4: u16 = 0x0800;
const ETHERTYPE6: u16 = 0x86dd;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMP6: u8 = 58;

/// What is wrong with a frame, by its place in [`Seen::CHECKS`].
const SOURCE: u64 = 1;
const DESTINATION: u64 = 2;
const MAC: u64 = 3;
const HEADER: u64 = 4;
const TRANSPORT: u64 = 5;

#[inline(always)]
pub fn count(context: &XdpContext, judge: impl FnOnce(&Plan, &XdpContext) -> Option<u64>) {
    let (Some(plan), Some(seen)) = (PLAN.get(0), SEEN.get_ptr_mut(0)) else {
        return;
    };
    // SAFETY: this CPU's own, valid while the program runs; programs of a CPU run one after the
    // other, in a softirq.
    let seen: &mut Seen = unsafe { &mut *seen };
    match judge(plan, context) {
        Some(0) => {
            seen.right += 1;
            seen.bytes += (context.data_end() - context.data()) as u64;
        }
        Some(reason) => {
            seen.wrong += 1;
            seen.reason = reason;
        }
        None => seen.foreign += 1,
    }
}

/// The number that the ports carry; of ports with another flow than was sent, a number that no EIP
/// has.
#[inline(always)]
fn number<const N: usize>(frame: &[u8; N], at: usize) -> Option<u32> {
    const MARK: u32 = PORT_MARK as u32;
    let (upper, lower) = (
        u32::from(read_u16(frame, at)),
        u32::from(read_u16(frame, at + 2)),
    );
    if upper & 0xc000 != MARK || lower & 0xc000 != MARK {
        return None;
    }
    let marked = (upper & !MARK) >> UPPER_BITS;
    let changed = marked >> FLOW_BITS ^ marked & (FLOWS - 1) ^ (FLOWS - 1);
    let number = changed << UPPER_BITS | upper & ((1 << UPPER_BITS) - 1);
    Some(number << LOWER_BITS | lower & !MARK)
}

#[inline(always)]
fn has_mac<const N: usize>(frame: &[u8; N], plan: &Plan, choice: &Choice) -> bool {
    plan.to_eni == 0
        || (read::<N, 2>(frame, 0) == ENI_MAC && read_u32(frame, 2) == choice.mac(plan))
}

#[inline(always)]
fn sums_up(mut sum: u32) -> bool {
    sum = halves(sum);
    halves(sum) == 0xffff
}

#[inline(always)]
fn sum<const N: usize>(frame: &[u8; N], from: usize, words: usize) -> u32 {
    let mut sum = 0;
    let mut word = 0;
    while word < words {
        sum += u32::from(read_u16(frame, from + 2 * word));
        word += 1;
    }
    sum
}

/// Payloads are zeros: checksums end with the headers.
#[inline(always)]
pub fn judge4(plan: &Plan, context: &XdpContext) -> Option<u64> {
    const QUOTE: usize = ETHERNET + IPV4 + ICMP;
    let frame = &*head::<{ ETHERNET + IPV4 + UDP }>(context)?;
    if read_u16(frame, 12) != ETHERTYPE4 {
        return None;
    }
    let (protocol, transport, words, pseudo) = match frame[ETHERNET + 9] {
        PROTOCOL_UDP => (PROTOCOL_UDP, ETHERNET + IPV4, UDP / 2, true),
        PROTOCOL_ICMP => (PROTOCOL_ICMP, QUOTE + IPV4, (ICMP + IPV4 + UDP) / 2, false),
        _ => return None,
    };
    if plan.loose != 0 {
        number(frame, transport)?;
        let first = plan.expected_destination.words[3];
        let member = read_u32(frame, ETHERNET + 16).wrapping_sub(first);
        return Some(if member < plan.members {
            0
        } else {
            DESTINATION
        });
    }
    if protocol == PROTOCOL_UDP {
        let choice = Choice::of(plan, number(frame, transport)?);
        return Some(verdict4(frame, plan, &choice, words, pseudo));
    }
    let frame = &*head::<{ QUOTE + IPV4 + UDP }>(context)?;
    let choice = Choice::of(plan, number(frame, transport)?);
    // The quoted packet went from where this one goes to.
    if read_u32(frame, QUOTE + 12) != choice.last_word(&plan.expected_destination) {
        return Some(SOURCE);
    }
    Some(verdict4(frame, plan, &choice, words, pseudo))
}

#[inline(always)]
fn verdict4<const N: usize>(
    frame: &[u8; N],
    plan: &Plan,
    choice: &Choice,
    words: usize,
    pseudo: bool,
) -> u64 {
    if read_u32(frame, ETHERNET + 12) != choice.last_word(&plan.expected_source) {
        return SOURCE;
    }
    if read_u32(frame, ETHERNET + 16) != choice.last_word(&plan.expected_destination) {
        return DESTINATION;
    }
    if !has_mac(frame, plan, choice) {
        return MAC;
    }
    if plan.strict != 0 {
        if !sums_up(sum(frame, ETHERNET, IPV4 / 2)) {
            return HEADER;
        }
        let mut all = sum(frame, ETHERNET + IPV4, words);
        if pseudo {
            let length = u32::from(read_u16(frame, ETHERNET + IPV4 + 4));
            all += sum(frame, ETHERNET + 12, 4) + u32::from(PROTOCOL_UDP) + length;
        }
        if !sums_up(all) {
            return TRANSPORT;
        }
    }
    0
}

#[inline(always)]
pub fn judge6(plan: &Plan, context: &XdpContext) -> Option<u64> {
    const QUOTE: usize = ETHERNET + IPV6 + ICMP;
    let frame = &*head::<{ ETHERNET + IPV6 + UDP }>(context)?;
    if read_u16(frame, 12) != ETHERTYPE6 {
        return None;
    }
    match frame[ETHERNET + 6] {
        PROTOCOL_UDP => {
            let choice = Choice::of(plan, number(frame, ETHERNET + IPV6)?);
            Some(verdict6(frame, plan, &choice, UDP / 2, PROTOCOL_UDP))
        }
        PROTOCOL_ICMP6 => {
            let frame = &*head::<{ QUOTE + IPV6 + UDP }>(context)?;
            let choice = Choice::of(plan, number(frame, QUOTE + IPV6)?);
            if !is(frame, QUOTE + 8, &plan.expected_destination, &choice) {
                return Some(SOURCE);
            }
            let words = (ICMP + IPV6 + UDP) / 2;
            Some(verdict6(frame, plan, &choice, words, PROTOCOL_ICMP6))
        }
        _ => None,
    }
}

#[inline(always)]
fn is<const N: usize>(frame: &[u8; N], at: usize, address: &Address, choice: &Choice) -> bool {
    read_u32(frame, at) == address.words[0]
        && read_u32(frame, at + 4) == address.words[1]
        && read_u32(frame, at + 8) == address.words[2]
        && read_u32(frame, at + 12) == choice.last_word(address)
}

#[inline(always)]
fn verdict6<const N: usize>(
    frame: &[u8; N],
    plan: &Plan,
    choice: &Choice,
    words: usize,
    protocol: u8,
) -> u64 {
    if !is(frame, ETHERNET + 8, &plan.expected_source, choice) {
        return SOURCE;
    }
    if !is(frame, ETHERNET + 24, &plan.expected_destination, choice) {
        return DESTINATION;
    }
    if !has_mac(frame, plan, choice) {
        return MAC;
    }
    if plan.strict != 0 {
        let length = u32::from(read_u16(frame, ETHERNET + 4));
        let pseudo = sum(frame, ETHERNET + 8, IPV6 / 2 - 4) + u32::from(protocol) + length;
        if !sums_up(pseudo + sum(frame, ETHERNET + IPV6, words)) {
            return TRANSPORT;
        }
    }
    0
}

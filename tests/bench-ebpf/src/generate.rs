//! The generator: writes the headers of a recycled frame anew and sends it.

use aya_ebpf::{
    bindings::xdp_action,
    helpers::generated::{bpf_redirect, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use eip_dp_bench_ebpf::{
    Address, BATCH, ENI_MAC, FLOW_BITS, FLOWS, Follows, LOWER_BITS, MAX_VPCS, PORT_MARK, Plan,
    SEQUENCE, STEPS, State, UPPER_BITS,
};

use crate::{
    INTERFACES, PLAN, SEQUENCES, STATES,
    frame::{ETHERNET, ICMP, IPV4, IPV6, UDP, checksum, halves, head, write},
};

const TTL: u32 = 64;
const PROTOCOL_ICMP: u32 = 1;
const PROTOCOL_UDP: u32 = 17;
const PROTOCOL_ICMP6: u32 = 58;
/// Destination unreachable, port unreachable; for IPv4 and for IPv6.
const UNREACHABLE4: u32 = 0x0303;
const UNREACHABLE6: u32 = 0x0104;

/// Of every twelve mixed frames seven, four and one: what the Internet's mix was taken for, in
/// bytes of the frame.
const SMALL: i32 = 64;
const MIDDLE: i32 = 570;
const LARGE: i32 = 1514;

/// Who a frame is about.
#[derive(Clone, Copy)]
pub struct Choice {
    pub vpc: u32,
    pub member: u32,
    pub eip: u32,
    pub partner: u32,
    pub partner_member: u32,
}

/// The two ports, of a flow of an EIP; the upper half is the source's.
#[inline(always)]
fn ports_of(eip: u32, flow: u32) -> u32 {
    let mark = u32::from(PORT_MARK);
    let marked = flow << FLOW_BITS | flow ^ (FLOWS - 1);
    let upper = mark | marked << UPPER_BITS | eip >> LOWER_BITS;
    upper << 16 | mark | eip & ((1 << LOWER_BITS) - 1)
}

impl Choice {
    /// The last word of an address.
    #[inline(always)]
    pub fn last_word(&self, address: &Address) -> u32 {
        let number = if address.follows == Follows::Eip as u32 {
            self.eip
        } else if address.follows == Follows::Member as u32 {
            self.member
        } else if address.follows == Follows::Partner as u32 {
            self.partner
        } else if address.follows == Follows::PartnerMember as u32 {
            self.partner_member
        } else {
            0
        };
        address.words[3].wrapping_add(number)
    }

    /// All that there is to say about an EIP.
    #[inline(always)]
    pub fn of(plan: &Plan, eip: u32) -> Self {
        let bits = plan.vpc_bits & 31;
        let ahead = eip.wrapping_add(plan.partner);
        let partner = if ahead >= plan.eips {
            ahead.wrapping_sub(plan.eips)
        } else {
            ahead
        };
        Self {
            vpc: eip & ((1 << bits) - 1) & (MAX_VPCS - 1),
            member: eip >> bits,
            eip,
            partner,
            partner_member: partner >> bits,
        }
    }

    /// The last four octets of the ENI's MAC.
    #[inline(always)]
    pub fn mac(&self, plan: &Plan) -> u32 {
        self.vpc << 24 | self.member >> (plan.eni_bits & 31)
    }
}

/// The next frame's EIP, and its ports.
#[inline(always)]
fn next(plan: &Plan, state: &mut State) -> (Choice, u32) {
    let number = state.sent;
    state.sent = number + 1;
    // xorshift64*, of which the upper bits are the good ones.
    let mut random = state.random;
    random ^= random >> 12;
    random ^= random << 25;
    random ^= random >> 27;
    state.random = random;
    let random = random.wrapping_mul(0x2545_f491_4f6c_dd1d);
    #[allow(clippy::cast_possible_truncation, reason = "wanted")]
    let mut flow = (random >> 24) as u32;
    #[allow(clippy::cast_possible_truncation, reason = "wanted")]
    let member = if plan.in_order != 0 {
        flow = number as u32;
        let turn = (number >> FLOW_BITS) as u32;
        turn.checked_rem(plan.members).unwrap_or(0)
    } else if plan.in_sequence != 0 {
        let step = number as u32 & (SEQUENCE - 1);
        match SEQUENCES.get(step / STEPS) {
            Some(steps) => steps[(step % STEPS) as usize],
            None => 0,
        }
    } else {
        // Below `members`.
        ((random >> 32) * u64::from(plan.members) >> 32) as u32
    };
    // A batch stays in one VPC, behind one interface: a NIC's queue would bring it so.
    #[allow(clippy::cast_possible_truncation, reason = "wanted")]
    let vpc = (number / u64::from(BATCH)) as u32 & ((1 << (plan.vpc_bits & 31)) - 1);
    let choice = Choice::of(plan, member << (plan.vpc_bits & 31) | vpc);
    let ports = ports_of(choice.eip, flow & (FLOWS - 1));
    (choice, ports)
}

/// The frame's length from now on.
#[inline(always)]
fn resize(context: &XdpContext, plan: &Plan, state: &State) -> Option<u32> {
    #[allow(clippy::cast_possible_truncation, reason = "frames are short")]
    let length = (context.data_end() - context.data()) as u32;
    if plan.mixed == 0 {
        return Some(length);
    }
    let wanted = match state.sent % 12 {
        0..=6 => SMALL,
        7..=10 => MIDDLE,
        _ => LARGE,
    };
    #[allow(clippy::cast_possible_wrap, reason = "frames are short")]
    let change = wanted - length as i32;
    // SAFETY: the context is the kernel's.
    match unsafe { bpf_xdp_adjust_tail(context.ctx, change) } {
        0 => Some(wanted.unsigned_abs()),
        _ => None,
    }
}

#[inline(always)]
fn ethernet<const N: usize>(frame: &mut [u8; N], plan: &Plan, choice: &Choice) {
    write(frame, 0, plan.destination_mac);
    if plan.from_eni == 0 {
        write(frame, 6, plan.source_mac);
    } else {
        write(frame, 6, ENI_MAC);
        write(frame, 8, choice.mac(plan).to_be_bytes());
    }
}

#[inline(always)]
fn send(choice: &Choice) -> u32 {
    match INTERFACES.get(choice.vpc) {
        // SAFETY: plain integers.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an action"
        )]
        Some(interface) => unsafe { bpf_redirect(*interface, 0) as u32 },
        None => xdp_action::XDP_ABORTED,
    }
}

/// Writes an IPv4 header.
#[inline(always)]
fn header4<const N: usize>(
    frame: &mut [u8; N],
    at: usize,
    length: u32,
    protocol: u32,
    source: u32,
    destination: u32,
) {
    const VERSION: u32 = 0x4500;
    let hop = TTL << 8 | protocol;
    let sum = VERSION + length + hop + halves(source) + halves(destination);
    write(frame, at, (VERSION << 16 | length).to_be_bytes());
    write(frame, at + 4, [0; 4]);
    write(
        frame,
        at + 8,
        (hop << 16 | u32::from(checksum(sum))).to_be_bytes(),
    );
    write(frame, at + 12, source.to_be_bytes());
    write(frame, at + 16, destination.to_be_bytes());
}

/// Writes an IPv6 header; the last words of the addresses are given.
#[inline(always)]
fn header6<const N: usize>(
    frame: &mut [u8; N],
    at: usize,
    payload: u32,
    protocol: u32,
    addresses: [(&Address, u32); 2],
) -> u32 {
    write(frame, at, 0x6000_0000_u32.to_be_bytes());
    write(
        frame,
        at + 4,
        (payload << 16 | protocol << 8 | TTL).to_be_bytes(),
    );
    let mut sum = 0;
    let [(source, last_source), (destination, last_destination)] = addresses;
    let words = [
        source.words[0],
        source.words[1],
        source.words[2],
        last_source,
        destination.words[0],
        destination.words[1],
        destination.words[2],
        last_destination,
    ];
    let mut place = at + 8;
    for word in words {
        write(frame, place, word.to_be_bytes());
        sum += halves(word);
        place += 4;
    }
    sum
}

/// Writes a UDP header over a payload of zeros; `sum` is that of the addresses.
#[inline(always)]
fn udp<const N: usize>(frame: &mut [u8; N], at: usize, length: u32, ports: u32, sum: u32) -> u16 {
    let all = sum + PROTOCOL_UDP + length + halves(ports) + length;
    // A sum of zero is written as its other form: zero says that there is none (RFC 768).
    let checksum = match checksum(all) {
        0 => 0xffff,
        other => other,
    };
    write(frame, at, ports.to_be_bytes());
    write(
        frame,
        at + 4,
        (length << 16 | u32::from(checksum)).to_be_bytes(),
    );
    checksum
}

#[inline(always)]
fn parts() -> Option<(&'static Plan, &'static mut State)> {
    let plan = PLAN.get(0)?;
    let state = STATES.get_ptr_mut(0)?;
    // SAFETY: this CPU's own, valid while the program runs; a run is not interrupted by another on
    // its CPU.
    Some((plan, unsafe { &mut *state }))
}

#[inline(always)]
pub fn udp4(context: &XdpContext) -> Option<u32> {
    let (plan, state) = parts()?;
    let (choice, ports) = next(plan, state);
    let length = resize(context, plan, state)?.wrapping_sub(ETHERNET as u32);
    let frame = head::<{ ETHERNET + IPV4 + UDP }>(context)?;
    let source = choice.last_word(&plan.source);
    let destination = choice.last_word(&plan.destination);
    ethernet(frame, plan, &choice);
    header4(
        frame,
        ETHERNET,
        length & 0xffff,
        PROTOCOL_UDP,
        source,
        destination,
    );
    let payload = length.wrapping_sub(IPV4 as u32) & 0xffff;
    let sum = halves(source) + halves(destination);
    udp(frame, ETHERNET + IPV4, payload, ports, sum);
    Some(send(&choice))
}

#[inline(always)]
pub fn udp6(context: &XdpContext) -> Option<u32> {
    let (plan, state) = parts()?;
    let (choice, ports) = next(plan, state);
    let length = resize(context, plan, state)?;
    let payload = length.wrapping_sub((ETHERNET + IPV6) as u32) & 0xffff;
    let frame = head::<{ ETHERNET + IPV6 + UDP }>(context)?;
    ethernet(frame, plan, &choice);
    let addresses = [
        (&plan.source, choice.last_word(&plan.source)),
        (&plan.destination, choice.last_word(&plan.destination)),
    ];
    let sum = header6(frame, ETHERNET, payload, PROTOCOL_UDP, addresses);
    udp(frame, ETHERNET + IPV6, payload, ports, sum);
    Some(send(&choice))
}

/// What an error quotes is the packet that went the other way.
#[inline(always)]
pub fn error4(context: &XdpContext) -> Option<u32> {
    const QUOTE: usize = ETHERNET + IPV4 + ICMP;
    const QUOTED: u32 = (IPV4 + UDP) as u32;
    let (plan, state) = parts()?;
    let (choice, ports) = next(plan, state);
    let frame = head::<{ QUOTE + IPV4 + UDP }>(context)?;
    let source = choice.last_word(&plan.source);
    let destination = choice.last_word(&plan.destination);
    ethernet(frame, plan, &choice);
    let length = ICMP as u32 + QUOTED;
    header4(
        frame,
        ETHERNET,
        IPV4 as u32 + length,
        PROTOCOL_ICMP,
        source,
        destination,
    );
    header4(frame, QUOTE, QUOTED, PROTOCOL_UDP, destination, source);
    let addresses = halves(source) + halves(destination);
    let quoted = udp(frame, QUOTE + IPV4, UDP as u32, ports, addresses);
    // The quoted IP header sums up to nothing.
    let sum = UNREACHABLE4 + halves(ports) + UDP as u32 + u32::from(quoted);
    let word = UNREACHABLE4 << 16 | u32::from(checksum(sum));
    write(frame, ETHERNET + IPV4, word.to_be_bytes());
    write(frame, ETHERNET + IPV4 + 4, [0; 4]);
    Some(send(&choice))
}

#[inline(always)]
pub fn error6(context: &XdpContext) -> Option<u32> {
    const QUOTE: usize = ETHERNET + IPV6 + ICMP;
    const QUOTED: u32 = (IPV6 + UDP) as u32;
    let (plan, state) = parts()?;
    let (choice, ports) = next(plan, state);
    let frame = head::<{ QUOTE + IPV6 + UDP }>(context)?;
    ethernet(frame, plan, &choice);
    let source = (&plan.source, choice.last_word(&plan.source));
    let destination = (&plan.destination, choice.last_word(&plan.destination));
    let length = ICMP as u32 + QUOTED;
    let outer = header6(
        frame,
        ETHERNET,
        length,
        PROTOCOL_ICMP6,
        [source, destination],
    );
    let inner = header6(
        frame,
        QUOTE,
        UDP as u32,
        PROTOCOL_UDP,
        [destination, source],
    );
    let quoted = udp(frame, QUOTE + IPV6, UDP as u32, ports, inner);
    let header = 0x6000 + UDP as u32 + (PROTOCOL_UDP << 8 | TTL);
    let quote = header + inner + halves(ports) + UDP as u32 + u32::from(quoted);
    let sum = outer + PROTOCOL_ICMP6 + length + UNREACHABLE6 + quote;
    let word = UNREACHABLE6 << 16 | u32::from(checksum(sum));
    write(frame, ETHERNET + IPV6, word.to_be_bytes());
    write(frame, ETHERNET + IPV6 + 4, [0; 4]);
    Some(send(&choice))
}

//! ARP (RFC 826), answered for guests on ports and for EIPs on an on-link uplink.

use network_types::arp::ArpHdr;

use super::{
    Outcome, Verdict, conclude,
    port::{PortFrame, owner_of, sender_of, to_daemon},
};
use crate::{
    abi::{
        Checksummed, EipMode, EipRoute, NONE, Reason, SourceKey, TargetFlags, Uplink, UplinkFlags,
    },
    family::{Family, V4},
    packet::{Ethernet, Mac, NETWORK, Packet, is_group, is_virtual_router},
    tables::{self, Scratch, Tables},
};

/// Ethernet, IPv4, lengths 6 and 4 (RFC 826).
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// The fields of an ARP packet for IPv4 over Ethernet.
struct Arp {
    operation: [u8; 2],
    sender_mac: Mac,
    sender: [u8; 4],
    target: [u8; 4],
}

impl Arp {
    /// `None` for what is no ARP for IPv4 over Ethernet.
    #[inline(always)]
    fn read<P: Packet>(packet: &P) -> Option<Self> {
        const { assert!(align_of::<ArpHdr>() == 1 && size_of::<ArpHdr>() == 28) };
        let bytes = packet.read::<28>(NETWORK)?;
        // SAFETY: `ArpHdr` is `repr(C)`, 28 bytes of integers with alignment 1: any bytes are a
        // header.
        let header: ArpHdr = unsafe { core::mem::transmute(bytes) };
        let [a, b] = header.htype;
        let [c, d] = header.ptype;
        if [a, b, c, d, header.hlen, header.plen] != ETHERNET_IPV4 {
            return None;
        }
        Some(Self {
            operation: header.oper,
            sender_mac: header.sha,
            sender: header.spa,
            target: header.tpa,
        })
    }

    /// Turns the request into the reply that says: `target` is at `mac`.
    #[inline(always)]
    fn answer<P: Packet>(&self, packet: &mut P, mac: Mac) -> Result<Verdict, Reason> {
        let [s0, s1, s2, s3, s4, s5] = mac;
        let [t0, t1, t2, t3] = self.target;
        let [r0, r1, r2, r3, r4, r5] = self.sender_mac;
        let [q0, q1, q2, q3] = self.sender;
        let [o0, o1] = REPLY;
        packet.write(
            NETWORK + ETHERNET_IPV4.len(),
            [
                o0, o1, s0, s1, s2, s3, s4, s5, t0, t1, t2, t3, r0, r1, r2, r3, r4, r5, q0, q1, q2,
                q3,
            ],
        )?;
        Ethernet::write_addresses(packet, self.sender_mac, mac)?;
        Ok(Verdict::Reply)
    }
}

/// ARP from an ENI: every address but those of its own instance is behind the port's MAC.
#[inline(always)]
pub fn on_port<P: Packet, T: Tables<V4>>(packet: &mut P, tables: &T, from: &PortFrame) -> Outcome {
    if !packet.can_reply() {
        return conclude(Outcome::START, Ok(Verdict::Punt));
    }
    let outcome = tables
        .with_scratch(|scratch| conclude(Outcome::START, asked(packet, tables, from, scratch)));
    outcome.unwrap_or(Outcome::NO_ROOM)
}

#[inline(always)]
fn asked<P: Packet, T: Tables<V4>>(
    packet: &mut P,
    tables: &T,
    from: &PortFrame,
    scratch: &mut Scratch<[u8; 4]>,
) -> Result<Verdict, Reason> {
    let sender = sender_of(&mut scratch.sender, tables, from)?;
    let arp = Arp::read(packet).ok_or(Reason::Malformed)?;
    let shares = scratch.sender.flags & TargetFlags::SHARES != 0;
    let is_virtual = shares && is_virtual_router(arp.sender_mac);
    if arp.sender_mac != scratch.sender.dst_mac
        && !(is_virtual && arp.sender_mac == from.ethernet.source)
    {
        return Err(Reason::SpoofedMac);
    }
    let vpc = from.port.vpc;
    // A probe for a duplicate address has no sender (RFC 5227).
    if !V4::is_unspecified(&arp.sender) {
        // An announcement (RFC 5227 3) of an address that may be this ENI's. The one that has it is
        // heard, too: it answers another's.
        if shares && arp.sender == arp.target {
            return to_daemon(packet, tables, sender);
        }
        owner_of::<V4, T>(tables, vpc, &arp.sender, sender, scratch)?;
    }
    // Nobody is asked for an address that no host has; an answer would be one from it.
    if arp.operation != REQUEST || V4::is_no_host(&arp.target) {
        return Err(Reason::ArpIgnored);
    }
    if is_near::<V4, T>(tables, vpc, sender, &arp.target, scratch)? {
        return Err(Reason::ArpIgnored);
    }
    arp.answer(packet, from.port.mac)
}

/// Whether an address that an ENI asks for is one of its own instance's, or on the same port.
#[inline(always)]
pub fn is_near<F: Family, T: Tables<F>>(
    tables: &T,
    vpc: u32,
    sender: u32,
    address: &F::Address,
    scratch: &mut Scratch<F::Address>,
) -> Result<bool, Reason> {
    let key = SourceKey {
        vpc,
        address: *address,
    };
    let owner = &mut scratch.other;
    if !tables.private(&key, owner) {
        return Ok(false);
    }
    if owner.target == sender {
        return Ok(true);
    }
    if owner.target == NONE {
        return Ok(false);
    }
    let owner = owner.target;
    tables::target(&mut scratch.target, tables, owner)?;
    let (owners, own) = (&scratch.target, &scratch.sender);
    let same_port = (owners.ifindex, owners.vlan) == (own.ifindex, own.vlan);
    Ok(same_port || tables.instance(&owner) == tables.instance(&sender))
}

/// Whether an address is that of an EIP with an association, for which the daemon answers on that
/// uplink: nobody else there holds the address, and no other uplink of the same link does it.
#[inline(always)]
pub fn answers_for<F: Family, T: Tables<F>>(
    tables: &T,
    uplink: &Uplink,
    address: &F::Address,
) -> bool {
    if !tables.may_be_pool(address) {
        return false;
    }
    let mut eip = EipRoute::zeroed();
    if !tables.eip(address, &mut eip) {
        return false;
    }
    match EipMode::from_value(eip.mode) {
        Some(EipMode::Nat | EipMode::CutThrough | EipMode::Detached | EipMode::Stranded) => {
            tables.answers(eip.slot) >> uplink.number() & 1 == 1
        }
        Some(EipMode::Unassociated) | None => false,
    }
}

/// ARP on an uplink: requests for an associated EIP are answered where the pool is on-link, all
/// else is the kernel's. So is what another host says of an EIP (RFC 5227 2.4), which nobody asks
/// by: the daemon hears of it.
#[inline(always)]
pub fn on_uplink<P: Packet, T: Tables<V4>>(packet: &mut P, tables: &T, uplink: &Uplink) -> Outcome {
    if uplink.flags & UplinkFlags::ANSWER_ARP == 0 || !packet.can_reply() {
        return Outcome::START;
    }
    match Arp::read(packet).filter(|arp| arp.operation == REQUEST) {
        Some(arp)
            if !is_group(arp.sender_mac)
                && arp.sender != arp.target
                && answers_for::<V4, T>(tables, uplink, &arp.target) =>
        {
            conclude(Outcome::START, arp.answer(packet, uplink.mac))
        }
        Some(_) | None => Outcome::START,
    }
}

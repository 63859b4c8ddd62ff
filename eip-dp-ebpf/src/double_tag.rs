//! Frames with two tags on an uplink, looked at before a tag is taken off: what concerns no EIP is
//! the host's, and it gets it as it came.
//!
//! Taking tags off and putting them back is not the same to every kernel: before Linux 6.12 a frame
//! that the second tag was put back into goes on behind that tag (net/core/skbuff.c, skb_vlan_push,
//! which then added to `mac_len`), and the host's own interface for the VLANs does not know it.

use aya_ebpf::programs::TcContext;
use eip_dp_common::{
    abi::{AddressClass, Checksummed as _, EipRoute, Prefix},
    family::{Family, V4, V6},
    packet::{ARP, IPV4, IPV6, NETWORK, Packet},
    tables::Tables,
};

use crate::{context::Skb, maps::Maps};

/// Where the packet begins, behind the tag that is in the frame.
const PACKET: usize = NETWORK + 4;
const ETHERTYPE: usize = PACKET - 2;

/// Whether it may be about an EIP, or another address of a pool that is not the host's.
#[inline(always)]
pub fn concerns_us(context: &TcContext) -> bool {
    let Ok(skb) = Skb::new(context) else {
        return false;
    };
    let Some(ethertype) = skb.read::<2>(ETHERTYPE) else {
        return false;
    };
    match ethertype {
        IPV4 => is_ours::<V4>(skb.read(PACKET + 16)),
        ARP => is_ours::<V4>(skb.read(PACKET + 24)),
        IPV6 => {
            is_ours::<V6>(skb.read(PACKET + 24))
                || (is_solicitation(&skb) && is_ours::<V6>(skb.read(PACKET + 48)))
        }
        _ => false,
    }
}

/// Whether it is a neighbour solicitation (RFC 4861 4.3), which has its target where the path wants
/// it.
#[inline(always)]
fn is_solicitation(skb: &Skb) -> bool {
    skb.byte(PACKET + 6) == 58 && skb.byte(PACKET + 40) == 135
}

/// Whether an address is an EIP, or another one of a pool that is not the host's.
#[inline(always)]
pub fn is_ours<F: Family>(address: Option<F::Address>) -> bool
where
    Maps: Tables<F>,
{
    let Some(address) = address else {
        return false;
    };
    if !Tables::<F>::may_be_pool(&Maps, &address) {
        return false;
    }
    let mut eip = EipRoute::zeroed();
    if Tables::<F>::eip(&Maps, &address, &mut eip) {
        return true;
    }
    let mut prefix = Prefix::zeroed();
    Tables::<F>::prefix(&Maps, &address, &mut prefix) && prefix.class != AddressClass::Host as u32
}

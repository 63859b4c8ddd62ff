//! The addresses of the bench, and what of them stands in frames: the [`Plan`] of a row.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use eip_dp_bench_ebpf::{Address, Follows, Plan};
use eip_dp_user::model::objects::Mac;

use super::shape::{Draw, Family, Gateway, Mode, Path, Row, Shape, Size};

/// The pool of EIPs; the second half is nobody's.
pub const POOL4: &str = "100.64.0.0/11";
/// The pool of IPv6.
pub const POOL6: &str = "2001:db8:100::/64";
/// The VPCs' prefix.
pub const VPC4: &str = "10.0.0.0/8";
/// The VPCs' prefix of IPv6.
pub const VPC6: &str = "fd00:10::/64";

const EIP4: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
const NOBODY4: Ipv4Addr = Ipv4Addr::new(100, 80, 0, 0);
const PRIVATE4: Ipv4Addr = Ipv4Addr::new(10, 16, 0, 0);
const REMOTE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const EIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0x1000, 0);
const NOBODY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0x2000, 0);
const PRIVATE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0x1000, 0);
/// As far from the pool as that of IPv4 is: of the other prefix for documentation (RFC 9637).
const REMOTE6: Ipv6Addr = Ipv6Addr::new(0x3fff, 0, 0xbeef, 0, 0, 0, 0, 0x77);

/// The MAC of the Internet's end of the uplink.
pub const SOURCE_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
/// That of the gateway's end.
pub const UPLINK_MAC: Mac = Mac([2, 0, 0, 0, 1, 2]);
/// That of each of the gateway's ports.
pub const PORT_MAC: Mac = Mac([2, 0, 0, 0, 0xfe, 1]);

/// The address with a number in a block.
fn plus(base: IpAddr, number: u32) -> IpAddr {
    match base {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() + number).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() + u128::from(number)).into(),
    }
}

fn of(family: Family, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
    match family {
        Family::V4 => v4.into(),
        Family::V6 => v6.into(),
    }
}

/// The EIP with this number.
pub fn eip(family: Family, number: u32) -> IpAddr {
    plus(of(family, EIP4, EIP6), number)
}

/// The private address with this number in its VPC.
pub fn private(family: Family, member: u32) -> IpAddr {
    plus(of(family, PRIVATE4, PRIVATE6), member)
}

/// Who sends from the Internet, and is sent to.
pub fn remote(family: Family) -> IpAddr {
    of(family, REMOTE4, REMOTE6)
}

/// The first and the last address that a row's packets from the Internet go to.
pub fn destinations(row: &Row) -> [IpAddr; 2] {
    let base = match row.gateway {
        Gateway::Ceiling | Gateway::Bare | Gateway::Kernel => private(row.shape.family, 0),
        _ => eip(row.shape.family, 0),
    };
    [base, plus(base, row.shape.eips - 1)]
}

/// The MAC of the ENI with this number in its VPC.
pub fn eni_mac(vpc: u32, eni: u32) -> Mac {
    let mut mac = [0; 6];
    mac[..2].copy_from_slice(&eip_dp_bench_ebpf::ENI_MAC);
    mac[2..].copy_from_slice(&((vpc << 24) | eni).to_be_bytes());
    Mac(mac)
}

fn address(base: IpAddr, follows: Follows) -> Address {
    let mut words = [0; 4];
    match base {
        IpAddr::V4(v4) => words[3] = v4.to_bits(),
        IpAddr::V6(v6) => {
            for (word, bytes) in words.iter_mut().zip(v6.octets().chunks_exact(4)) {
                *word = bytes
                    .iter()
                    .fold(0, |word, byte| (word << 8) | u32::from(*byte));
            }
        }
    }
    Address {
        words,
        follows: follows as u32,
    }
}

/// What the generator sends for a row and what has to arrive.
pub fn of_row(row: &Row) -> Plan {
    let Shape { family, mode, .. } = row.shape;
    let remote = address(of(family, REMOTE4, REMOTE6), Follows::Nothing);
    let nobody = address(of(family, NOBODY4, NOBODY6), Follows::Eip);
    let public = address(eip(family, 0), Follows::Eip);
    let inner = match mode {
        Mode::Nat => address(private(family, 0), Follows::Member),
        Mode::CutThrough => public,
    };
    let (partner_public, partner_private) = (
        Address {
            follows: Follows::Partner as u32,
            ..public
        },
        match mode {
            Mode::Nat => Address {
                follows: Follows::PartnerMember as u32,
                ..inner
            },
            Mode::CutThrough => Address {
                follows: Follows::Partner as u32,
                ..public
            },
        },
    );
    // Those that do not translate are sent what they have to forward.
    let inside = match row.gateway {
        Gateway::Ceiling | Gateway::Bare | Gateway::Kernel => [inner, inner],
        _ => [public, inner],
    };
    let (sent, expected) = match row.path {
        Path::In | Path::Error => ((remote, inside[0]), (remote, inside[1])),
        Path::Out => ((inner, remote), (public, remote)),
        Path::Hairpin => ((inner, partner_public), (public, partner_private)),
        Path::Flood => ((remote, nobody), (remote, nobody)),
    };
    let is_ours = matches!(row.gateway, Gateway::EipDp | Gateway::EipDpAuto);
    let outward = row.is_outward();
    let (destination_mac, source_mac) = if outward {
        (PORT_MAC, UPLINK_MAC)
    } else {
        (UPLINK_MAC, SOURCE_MAC)
    };
    Plan {
        source: sent.0,
        destination: sent.1,
        expected_source: expected.0,
        expected_destination: expected.1,
        eips: row.shape.eips,
        members: row.shape.members(),
        vpc_bits: row.shape.vpcs.ilog2(),
        eni_bits: row.shape.eni_bits(),
        partner: row.shape.eips / 2,
        in_sequence: u32::from(row.draw == Draw::Zipf),
        in_order: 0,
        mixed: u32::from(row.size == Size::Mix),
        from_eni: u32::from(outward),
        // A hairpin's goes to the partner's ENI.
        to_eni: u32::from(is_ours && matches!(row.path, Path::In | Path::Error)),
        strict: 0,
        loose: 0,
        destination_mac: destination_mac.0,
        source_mac: source_mac.0,
    }
}

impl Row {
    /// Whether its packets come from the guests.
    pub fn is_outward(&self) -> bool {
        matches!(self.path, Path::Out | Path::Hairpin)
    }

    /// Whether they have to arrive at the guests.
    pub fn arrives_inside(&self) -> bool {
        self.path != Path::Out
    }

    /// Whether none may arrive: what is counted then is what was sent.
    pub fn arrives_nowhere(&self) -> bool {
        self.path == Path::Flood || self.gateway == Gateway::Ceiling
    }
}

#[cfg(test)]
mod tests {
    use eip_dp_common::family::{Family as _, V4, V6};

    use super::*;

    /// As most of the Internet is.
    #[test]
    fn who_sends_from_the_internet_is_no_neighbour_of_the_pool() {
        assert_ne!(
            V4::prefilter(&REMOTE4.octets()),
            V4::prefilter(&EIP4.octets())
        );
        assert_ne!(
            V6::prefilter(&REMOTE6.octets()),
            V6::prefilter(&EIP6.octets())
        );
    }
}

//! What fits into the maps.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use eip_dp_common::{
    abi::{AddressClass, FIRST_ENI_TARGET, MAX_CIDRS, maps},
    cuckoo::TARGETS,
};

use super::{Address, Allocations, Applied, Content, DesiredState, HashSet};
use crate::config::MapSizes;

/// How many elements the maps can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `EIP_IN` and the other counters, which both families share, and `EIP4`.
    pub eips: u32,
    /// `EIP6`, no more than `eips`.
    pub eips6: u32,
    /// `PRIVATE4`.
    pub private_addresses: u32,
    /// `PRIVATE6`.
    pub private_addresses6: u32,
    /// Each family's prefixes.
    pub prefixes: u32,
    /// `VPCS`.
    pub vpcs: u32,
    /// `NEXT_HOPS`: a third more than ENIs, so that most have theirs at home, and two for the next
    /// hops.
    pub targets: u32,
    /// `MACS`.
    pub macs: u32,
    /// `PORTS`: as many records again for what is the host's own on the interfaces.
    pub ports: u32,
    /// `UPLINKS`.
    pub uplinks: u32,
    /// `DEVICES`.
    pub devices: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&MapSizes::default())
    }
}

/// Prefixes: pools, what is reserved of them (a range is up to 62 prefixes of IPv4, 254 of IPv6),
/// host addresses, next hops and pool gateways. Few on most hosts, and no memory is taken for those
/// that there are not.
const PREFIXES: u32 = 16_384;
/// Uplinks.
const UPLINKS: u32 = 64;

impl From<&MapSizes> for Limits {
    fn from(sizes: &MapSizes) -> Self {
        Self {
            eips: sizes.eips,
            eips6: sizes.eips6().min(sizes.eips),
            private_addresses: sizes.private_addresses,
            private_addresses6: sizes.private_addresses6(),
            prefixes: PREFIXES,
            vpcs: sizes.vpcs,
            targets: (sizes.enis + sizes.enis / 3)
                .saturating_add(FIRST_ENI_TARGET)
                .min(TARGETS),
            macs: sizes.enis,
            ports: sizes.ports.saturating_mul(2),
            uplinks: UPLINKS,
            devices: sizes.ports.saturating_add(UPLINKS),
        }
    }
}

impl Limits {
    /// The sizes that the maps are created with; the maps that are not named keep the size in the
    /// BPF object.
    pub fn by_map(&self) -> [(&'static str, u32); 17] {
        [
            (maps::EIP4, self.eips),
            (maps::EIP6, self.eips6),
            (maps::EIP_IN, self.eips),
            (maps::PRIVATE4, self.private_addresses),
            (maps::PRIVATE6, self.private_addresses6),
            (maps::PREFIX4, self.prefixes),
            (maps::PREFIX6, self.prefixes),
            (maps::VPCS, self.vpcs),
            (maps::CIDR4, self.vpcs.saturating_mul(MAX_CIDRS)),
            (maps::CIDR6, self.vpcs.saturating_mul(MAX_CIDRS)),
            (maps::NETS4, self.vpcs.saturating_mul(MAX_CIDRS)),
            (maps::NETS6, self.vpcs.saturating_mul(MAX_CIDRS)),
            (maps::NEXT_HOPS, self.targets),
            (maps::MACS, self.macs),
            (maps::PORTS, self.ports),
            (maps::UPLINKS, self.uplinks),
            (maps::DEVICES, self.devices),
        ]
    }
}

/// The key of the configuration that makes a map larger.
pub fn key_of(map: &str) -> Option<&'static str> {
    match map {
        maps::EIP4
        | maps::EIP_IN
        | maps::EIP_OUT
        | maps::EIP_OVERFLOW
        | maps::EIP_DROPS
        | maps::OUT_SLOTS
        | maps::ANSWERS => Some("eips"),
        maps::EIP6 | maps::NAT_PEERS6 => Some("eips6"),
        maps::PRIVATE4 => Some("private_addresses"),
        maps::PRIVATE6 => Some("private_addresses6"),
        maps::VPCS | maps::CIDR4 | maps::CIDR6 | maps::NETS4 | maps::NETS6 => Some("vpcs"),
        maps::NEXT_HOPS | maps::OWNERS | maps::MACS => Some("enis"),
        maps::PORTS | maps::DEVICES | maps::LINKS => Some("ports"),
        _ => None,
    }
}

/// The sentence about a map that is full.
pub fn full(map: &str, size: u32, left_out: usize) -> String {
    let cure = match key_of(map) {
        Some(key) => {
            format!("raise `{key}` of [maps] in the configuration and start the daemon again")
        }
        None if matches!(map, maps::PREFIX4 | maps::PREFIX6) => {
            "have fewer pools and addresses of the host, or reserved ranges of pools that begin and end where prefixes do"
                .to_owned()
        }
        None => "this many are not built yet; have fewer".to_owned(),
    };
    format!("map {map} is full: it holds {size}, {left_out} more are left out; {cure}")
}

/// Whether a warning is that sentence.
pub fn says_full(warning: &str) -> bool {
    warning.starts_with("map ") && warning.contains(" is full: it holds ")
}

/// The EIPs that may have a slot, and how many may not: IPv6's beyond `eips6`. Those that have one
/// already keep it.
pub fn eips<'a>(
    all: &'a [IpAddr],
    allocations: &Allocations,
    limits: &Limits,
) -> (Cow<'a, [IpAddr]>, usize) {
    let of_v6 = all.iter().filter(|eip| eip.is_ipv6());
    let excess = of_v6.clone().count().saturating_sub(limits.eips6 as usize);
    if excess == 0 {
        return (Cow::Borrowed(all), 0);
    }
    let (old, new): (Vec<IpAddr>, Vec<IpAddr>) =
        of_v6.partition(|eip| allocations.slots.get(eip).is_some());
    let last = new.iter().rev().chain(old.iter().rev());
    let left_out: HashSet<IpAddr> = last.take(excess).copied().collect();
    let kept = all.iter().filter(|eip| !left_out.contains(eip));
    (kept.copied().collect(), excess)
}

/// Takes out what does not fit. What the kernel has already stays before what is new.
pub fn fit(image: &mut DesiredState, have: &Applied) {
    let limits = have.limits;
    let said = image.warnings.len();
    fit_family::<[u8; 4]>(image, have);
    fit_family::<[u8; 16]>(image, have);
    let (want, old, warnings) = (&mut image.content, &have.content, &mut image.warnings);
    fit_map(
        &mut want.ports,
        &old.ports,
        maps::PORTS,
        limits.ports,
        warnings,
    );
    fit_map(&mut want.macs, &old.macs, maps::MACS, limits.macs, warnings);
    fit_map(
        &mut want.uplinks,
        &old.uplinks,
        maps::UPLINKS,
        limits.uplinks,
        warnings,
    );
    let excess = want.devices.len().saturating_sub(limits.devices as usize);
    if excess > 0 {
        let kept = want.devices.iter().take(limits.devices as usize);
        want.devices = kept.copied().collect();
        warnings.push(full(maps::DEVICES, limits.devices, excess));
    }
    image.over_capacity |= image.warnings.len() > said;
}

/// Whether all of it fits once the elements `old` have become `new`.
pub fn fits(have: &Applied, old: &Content, new: &Content) -> bool {
    let limits = have.limits;
    let content = &have.content;
    let fits = |len: fn(&Content) -> usize, limit: u32| {
        len(content) + len(new) <= limit as usize + len(old)
    };
    fits(|content| content.v6.eips.len(), limits.eips6)
        && fits(|content| content.v4.private.len(), limits.private_addresses)
        && fits(
            |content| content.v6.private.len(),
            limits.private_addresses6,
        )
        && fits(|content| content.ports.len(), limits.ports)
        && fits(|content| content.macs.len(), limits.macs)
        && fits(|content| content.devices.len(), limits.devices)
}

fn fit_family<A: Address>(image: &mut DesiredState, have: &Applied) {
    let (want, old) = (A::part_mut(&mut image.content), A::part(&have.content));
    let (limits, warnings) = (have.limits, &mut image.warnings);
    fit_map(
        &mut want.private,
        &old.private,
        A::MAPS.private,
        A::private_addresses(&limits),
        warnings,
    );
    let excess = want.prefixes.len().saturating_sub(limits.prefixes as usize);
    if excess > 0 {
        // Those of all records whose lack does the least: their addresses are the pool's then, and
        // nobody's.
        let reserved = want.prefixes.iter().rev();
        let reserved = reserved.filter(|(_, record)| record.class == AddressClass::Reserved as u32);
        let victims: Vec<_> = reserved.map(|(key, _)| *key).take(excess).collect();
        for key in &victims {
            want.prefixes.remove(key);
        }
        if victims.len() == excess {
            warnings.push(full(A::MAPS.prefixes, limits.prefixes, excess));
        }
    }
    fit_map(
        &mut want.prefixes,
        &old.prefixes,
        A::MAPS.prefixes,
        limits.prefixes,
        warnings,
    );
}

fn fit_map<K: Ord + Copy, V>(
    want: &mut BTreeMap<K, V>,
    old: &BTreeMap<K, V>,
    map: &str,
    limit: u32,
    warnings: &mut Vec<String>,
) {
    let excess = want.len().saturating_sub(limit as usize);
    if excess == 0 {
        return;
    }
    let new = want.keys().rev().filter(|key| !old.contains_key(key));
    let kept = want.keys().rev().filter(|key| old.contains_key(key));
    let victims: BTreeSet<K> = new.chain(kept).take(excess).copied().collect();
    want.retain(|key, _| !victims.contains(key));
    warnings.push(full(map, limit, excess));
}

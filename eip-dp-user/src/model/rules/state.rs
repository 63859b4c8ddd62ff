//! What holds of every object in the end, whichever command made it so.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    association::{primary_ip, region},
    draft::Draft,
    not_found, refuse,
};
use crate::model::{
    Context, Diff, EniFilter, Refusal, address,
    objects::{Eip, Eni, EniKind, Instance, Mode, Pool, PoolGateway, Vpc},
};

/// Checks every object that the draft changes, among all others.
pub(super) fn check(draft: &mut Draft, context: &Context) -> Result<(), Refusal> {
    let pools = draft.changed_pools();
    for pool in pools.iter().filter_map(|diff| diff.after.as_ref()) {
        check_pool(draft, pool)?;
    }
    let vpcs = draft.changed_vpcs();
    for vpc in vpcs.iter().filter_map(|diff| diff.after.as_ref()) {
        check_vpc(draft, vpc)?;
    }
    let enis = draft.changed_enis();
    for diff in &enis {
        match &diff.after {
            Some(eni) => check_eni(draft, diff.before.as_ref(), eni)?,
            None => check_eni_gone(draft, diff)?,
        }
    }
    check_instances(draft, &enis)?;
    for diff in draft.changed_eips() {
        if let Some(eip) = &diff.after
            && diff
                .before
                .as_ref()
                .is_none_or(|old| old.address != eip.address)
        {
            check_eip(draft, eip, context)?;
        }
    }
    for diff in &vpcs {
        check_vpc_enis(draft, diff)?;
    }
    for pool in pools.iter().filter(|diff| diff.after.is_none()) {
        check_pool_gone(draft, pool)?;
    }
    Ok(())
}

fn check_pool(draft: &Draft, pool: &Pool) -> Result<(), Refusal> {
    let cidr = pool.cidr;
    check_routable("pool", &cidr.to_string(), &cidr)?;
    if !address::can_be_eips(&cidr) {
        refuse!(
            ReservedAddress,
            "pool {cidr} is neither in 2000::/3, where the addresses are that the Internet reaches, nor in fc00::/7, where a \
             private cloud's are; choose a prefix of one of them"
        );
    }
    let others = draft.pools.keys().filter(|other| **other != cidr);
    if let Some(other) = others
        .into_iter()
        .find(|other| address::overlap(other, &cidr))
    {
        refuse!(
            OverlappingCidr,
            "pool {cidr} overlaps pool {other}; choose a prefix that no pool has, or delete {other} first"
        );
    }
    if let Some(vpc) = draft.find_vpc(cidr) {
        refuse!(
            OverlappingCidr,
            "pool {cidr} overlaps a CIDR of VPC `{vpc}`; an address is public or private, choose another prefix"
        );
    }
    if let Some(PoolGateway::Address(gateway)) = pool.gateway {
        if !cidr.contains(&gateway) {
            refuse!(
                OutsidePools,
                "the gateway {gateway} is not in pool {cidr}; name one of its addresses, or `none`"
            );
        }
        if let Some((_, _, why)) = edge(&cidr, gateway) {
            refuse!(
                ReservedAddress,
                "the gateway {gateway} is {why} of pool {cidr}; name another of its addresses, or `none`"
            );
        }
    }
    for range in &pool.reserve {
        if !cidr.contains(&range.first) || !cidr.contains(&range.last) {
            refuse!(
                OutsidePools,
                "the reserved range {range} is not in pool {cidr}; name a range of its addresses"
            );
        }
    }
    for (first, last, why) in pool.blocked() {
        if let Some(eip) = draft.find_eip(first, last, &mut |_| true) {
            refuse!(
                ReservedAddress,
                "EIP `{}` has {}, which would be {why} of pool {cidr}; release it first",
                eip.id,
                eip.address
            );
        }
    }
    Ok(())
}

fn check_pool_gone(draft: &Draft, diff: &Diff<Pool>) -> Result<(), Refusal> {
    let Some(Pool { cidr, .. }) = diff.before else {
        return Ok(());
    };
    let uncovered = &mut |eip: &Eip| draft.pool_of(eip.address).is_none();
    if let Some(eip) = draft.find_eip(cidr.network(), address::last(&cidr), uncovered) {
        refuse!(
            InUse,
            "pool {cidr} has EIP `{}` ({}); release it first",
            eip.id,
            eip.address
        );
    }
    Ok(())
}

fn check_vpc(draft: &Draft, vpc: &Vpc) -> Result<(), Refusal> {
    let id = &vpc.id;
    for (index, cidr) in vpc.cidrs.iter().enumerate() {
        check_routable("VPC", id, cidr)?;
        let mut before = vpc.cidrs.iter().take(index);
        if let Some(other) = before.find(|other| address::overlap(other, cidr)) {
            refuse!(
                OverlappingCidr,
                "VPC `{id}`: {cidr} overlaps {other}; name CIDRs that share no addresses"
            );
        }
        if let Some(pool) = draft.pools.keys().find(|pool| address::overlap(pool, cidr)) {
            refuse!(
                OverlappingCidr,
                "VPC `{id}`: {cidr} overlaps pool {pool}; an address is public or private, choose another CIDR"
            );
        }
    }
    if let Some(gateway) = vpc.gateway {
        let Some(cidr) = vpc.cidr_of(gateway) else {
            refuse!(
                OutsideVpc,
                "the gateway {gateway} is in no CIDR of VPC `{id}`; name an address of one of them"
            );
        };
        if let Some((_, _, why)) = edge(cidr, gateway) {
            refuse!(
                ReservedAddress,
                "the gateway {gateway} is {why} of {cidr} in VPC `{id}`; name another address"
            );
        }
    }
    Ok(())
}

/// ENIs of a VPC that goes, or whose prefixes or gateway change.
fn check_vpc_enis(draft: &Draft, diff: &Diff<Vpc>) -> Result<(), Refusal> {
    let Some(before) = &diff.before else {
        return Ok(());
    };
    let filter = EniFilter::Vpc(&before.id);
    let Some(after) = &diff.after else {
        if let Some(eni) = draft.find_eni(filter, &mut |_| true) {
            refuse!(
                InUse,
                "VPC `{}` has ENI `{eni}`; delete it first",
                before.id
            );
        }
        return Ok(());
    };
    if before.cidrs == after.cidrs && before.gateway == after.gateway {
        return Ok(());
    }
    for id in draft.enis_of(filter) {
        if let Some(eni) = draft.eni(&id) {
            for address in &eni.private_ips {
                check_private_ip(after, &eni, *address)?;
            }
        }
    }
    Ok(())
}

fn check_eni(draft: &mut Draft, before: Option<&Eni>, eni: &Eni) -> Result<(), Refusal> {
    let id = &eni.id;
    let vpc = draft
        .vpc(&eni.vpc)
        .ok_or_else(|| not_found("VPC", &eni.vpc))?;
    if eni.private_ips.is_empty() {
        refuse!(
            InUse,
            "ENI `{id}` would have no private IP left, and keeps one at least; add another first"
        );
    }
    let is_new = |old: &Eni| old.private_ips != eni.private_ips || old.shared_ips != eni.shared_ips;
    if before.is_none_or(is_new) {
        check_private_ips(draft, &vpc, before, eni)?;
    }
    if before.is_some_and(|old| old.region != eni.region) {
        check_region(draft, eni)?;
    }
    if before.is_none_or(|old| old.mac != eni.mac)
        && let Some(other) = draft.other_with_mac(eni)
    {
        refuse!(
            DuplicateMac,
            "ENI `{id}`: ENI `{other}` of VPC `{}` has the MAC {} already; choose another",
            eni.vpc,
            eni.mac
        );
    }
    if let Some((other, vpc)) = draft.foreign_on_port(eni) {
        let vlan = eni.vlan.map(|vlan| format!(" VLAN {vlan}"));
        refuse!(
            PortInUse,
            "ENI `{id}` of VPC `{}` cannot stand behind port `{}`{}: ENI `{other}` of VPC `{vpc}` does; \
             choose another port",
            eni.vpc,
            eni.port.as_deref().unwrap_or_default(),
            vlan.unwrap_or_default()
        );
    }
    Ok(())
}

fn check_private_ips(
    draft: &mut Draft,
    vpc: &Vpc,
    before: Option<&Eni>,
    eni: &Eni,
) -> Result<(), Refusal> {
    let id = &eni.id;
    let had: BTreeSet<_> = before
        .into_iter()
        .flat_map(|old| &old.private_ips)
        .collect();
    let was_shared = |address: &IpAddr| before.is_some_and(|old| old.shared_ips.contains(address));
    let mut has = BTreeSet::new();
    for address in &eni.private_ips {
        if !has.insert(*address) {
            refuse!(
                DuplicateAddress,
                "ENI `{id}` has the private IP {address} already; name each once"
            );
        }
        let is_shared = eni.shared_ips.contains(address);
        if is_shared && primary_ip(eni, *address) == Some(*address) {
            refuse!(
                SharedPrimaryIp,
                "ENI `{id}`: {address} is its primary private IP, which no other ENI shares; \
                 give it another one first"
            );
        }
        if had.contains(address) && was_shared(address) == is_shared {
            continue;
        }
        check_private_ip(vpc, eni, *address)?;
        if let Some(other) = draft.other_with_address(eni, *address) {
            refuse!(
                DuplicateAddress,
                "ENI `{id}`: ENI `{other}` of VPC `{}` has the private IP {address} already; choose another, or \
                 share it (`--shared`) at each of them",
                vpc.id
            );
        }
    }
    let cut_through = draft.uses(id).any(Mode::CutThrough).map(str::to_owned);
    if let (Some(eip), Some(shared)) = (&cut_through, eni.shared_ips.first()) {
        refuse!(
            CutThroughExclusive,
            "ENI `{id}` has the cut-through EIP `{eip}`, which leaves it no private network to share {shared} in; \
             disassociate `{eip}` first or share it at another ENI"
        );
    }
    for (address, eip) in &draft.uses(id).by_address {
        if !has.contains(address) {
            refuse!(
                InUse,
                "the private IP {address} of ENI `{id}` has EIP `{eip}`; disassociate it first"
            );
        }
        if cut_through.is_some() && primary_ip(eni, *address) != Some(*address) {
            refuse!(
                CutThroughPrimaryIpOnly,
                "{address} would not be the primary private IP of ENI `{id}` any more, and its cut-through EIP \
                 `{eip}` takes no other; disassociate it first"
            );
        }
    }
    Ok(())
}

/// The EIPs of an ENI whose region changes.
fn check_region(draft: &mut Draft, eni: &Eni) -> Result<(), Refusal> {
    let uses = draft.uses(&eni.id);
    let eips: Vec<_> = uses.by_address.values().cloned().collect();
    for id in eips {
        let eip = draft.eip(&id);
        if let Some(eip) = eip.filter(|eip| eip.region != eni.region) {
            refuse!(
                RegionMismatch,
                "ENI `{}` has EIP `{id}`, which is in {}; disassociate it first",
                eni.id,
                region(eip.region.as_deref())
            );
        }
    }
    Ok(())
}

fn check_private_ip(vpc: &Vpc, eni: &Eni, address: IpAddr) -> Result<(), Refusal> {
    let Some(cidr) = vpc.cidr_of(address) else {
        refuse!(
            OutsideVpc,
            "ENI `{}`: the private IP {address} is in no CIDR of VPC `{}`; choose an address of one of them",
            eni.id,
            vpc.id
        );
    };
    if let Some(why) = vpc.reserved(cidr, address) {
        refuse!(
            ReservedAddress,
            "ENI `{}`: the private IP {address} is {why} of {cidr} in VPC `{}`; choose another",
            eni.id,
            vpc.id
        );
    }
    Ok(())
}

fn check_eni_gone(draft: &mut Draft, diff: &Diff<Eni>) -> Result<(), Refusal> {
    let Some(Eni { id, .. }) = &diff.before else {
        return Ok(());
    };
    if let Some(eip) = draft.uses(id).by_address.values().next() {
        refuse!(InUse, "ENI `{id}` has EIP `{eip}`; disassociate it first");
    }
    Ok(())
}

/// The instances that change, and those that get an ENI.
fn check_instances(draft: &Draft, enis: &[Diff<Eni>]) -> Result<(), Refusal> {
    let mut touched = BTreeSet::new();
    for diff in draft.changed_instances() {
        if let (Some(Instance { id, .. }), None) = (&diff.before, &diff.after)
            && let Some(eni) = draft.find_eni(EniFilter::Instance(id), &mut |_| true)
        {
            refuse!(
                InUse,
                "ENI `{eni}` is attached to instance `{id}`; detach it first"
            );
        }
        touched.extend(diff.after.map(|after| after.id));
    }
    let mut primaries = BTreeSet::new();
    for diff in enis {
        let Some(eni) = &diff.after else { continue };
        let Some(id) = &eni.instance else { continue };
        if diff.before.as_ref().and_then(|old| old.instance.as_ref()) != Some(id) {
            touched.insert(id.clone());
            if eni.kind == EniKind::Primary {
                primaries.insert(id.clone());
            }
        }
    }
    for id in touched {
        check_limit(draft, &id)?;
    }
    for id in primaries {
        if let [one, other, ..] = draft.enis_of(EniFilter::PrimaryOf(&id)).as_slice() {
            refuse!(
                InstanceEniLimit,
                "instance `{id}` has one primary ENI, and `{one}` and `{other}` are both primary; \
                 attach a secondary ENI"
            );
        }
    }
    Ok(())
}

fn check_limit(draft: &Draft, id: &str) -> Result<(), Refusal> {
    let instance = draft
        .instance(id)
        .ok_or_else(|| not_found("instance", id))?;
    let Some(max) = instance.max_enis else {
        return Ok(());
    };
    let count = draft.count_of(id);
    if count > usize::try_from(max).unwrap_or(usize::MAX) {
        refuse!(
            InstanceEniLimit,
            "instance `{id}` takes {max} ENIs (max_enis) and would have {count}; detach one first"
        );
    }
    Ok(())
}

fn check_eip(draft: &Draft, eip: &Eip, context: &Context) -> Result<(), Refusal> {
    let (id, address) = (&eip.id, eip.address);
    let pool = draft
        .pool_of(address)
        .and_then(|cidr| draft.pools.get(&cidr));
    let Some(pool) = pool else {
        refuse!(
            OutsidePools,
            "EIP `{id}`: no pool covers {address}; choose an address of a pool, or create one that covers it"
        );
    };
    if let Some(why) = pool.reserved(address) {
        refuse!(
            ReservedAddress,
            "EIP `{id}`: {address} is {why} of pool {}; choose another address",
            pool.cidr
        );
    }
    if let Some((why, cure)) = context.taken(address) {
        refuse!(
            ReservedAddress,
            "EIP `{id}`: {address} {why}; choose another, or {cure}"
        );
    }
    if let Some(other) = draft.other_with_public(eip) {
        refuse!(
            DuplicateAddress,
            "EIP `{id}`: EIP `{other}` has the address {address} already; choose another"
        );
    }
    Ok(())
}

fn check_routable(kind: &str, id: &str, cidr: &IpNet) -> Result<(), Refusal> {
    if let Some(block) = address::unroutable(cidr) {
        refuse!(
            ReservedAddress,
            "{kind} `{id}`: {cidr} shares addresses with {block}, which no router forwards; choose another prefix"
        );
    }
    Ok(())
}

fn edge(cidr: &IpNet, address: IpAddr) -> Option<(IpAddr, IpAddr, &'static str)> {
    let mut edges = address::edges(cidr).into_iter();
    edges.find(|(edge, _, _)| *edge == address)
}

//! The life of an EIP: created free, associated, expired, renewed, released.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::{already_exists, association, draft::Draft, not_found, refuse};
use crate::model::{
    Context, Refusal, address,
    command::{EipSpec, Expiry},
    objects::{Announce, Eip, EipState, Former, Pool, PoolGateway},
};

pub(super) fn create(draft: &mut Draft, spec: &EipSpec, context: &Context) -> Result<(), Refusal> {
    let id = &spec.id;
    if draft.eip(id).is_some() {
        return Err(already_exists("EIP", id));
    }
    let expires_at = spec.expires_at.map(storable);
    if let Some(end) = expires_at {
        check_future(id, end, context)?;
    }
    let address = match spec.address {
        Some(address) => address,
        None => allocate(draft, id, spec.pool, context)?,
    };
    draft.put_eip(Eip {
        id: id.clone(),
        address,
        region: spec.region.clone(),
        expires_at,
        state: EipState::Free,
        announce: Announce::default(),
        former: None,
    });
    Ok(())
}

/// Changes what is named.
pub(super) fn set(
    draft: &mut Draft,
    id: &str,
    expires: Option<Expiry>,
    announce: Option<Announce>,
    context: &Context,
) -> Result<(), Refusal> {
    let mut eip = find(draft, id)?;
    if let Some(announce) = announce {
        eip.announce = announce;
        draft.put_eip(eip);
    }
    match expires {
        Some(expires) => {
            if let Some(renewed) = set_expiry(draft, id, expires, context)? {
                restore(draft, &renewed, context);
            }
            Ok(())
        }
        None => Ok(()),
    }
}

/// Makes a renewed EIP's association again, or warns why it is not made.
pub(super) fn restore(draft: &mut Draft, eip: &Eip, context: &Context) {
    let Some(former) = &eip.former else { return };
    if let Err(refusal) = association::restore(draft, eip, former, context) {
        draft.warnings.push(format!(
            "EIP `{}` does not get its association with ENI `{}` back: {}",
            eip.id, former.eni, refusal.message
        ));
        draft.put_eip(Eip {
            former: None,
            ..eip.clone()
        });
    }
}

/// Sets when the EIP ends. An expired one is free again, and is returned: its association may be
/// made again.
pub(super) fn set_expiry(
    draft: &mut Draft,
    id: &str,
    expires: Expiry,
    context: &Context,
) -> Result<Option<Eip>, Refusal> {
    let mut eip = find(draft, id)?;
    eip.expires_at = match expires {
        Expiry::Never => None,
        Expiry::At(end) => {
            let end = storable(end);
            check_future(id, end, context)?;
            Some(end)
        }
    };
    let was_expired = eip.state == EipState::Expired;
    if was_expired {
        eip.state = EipState::Free;
    }
    draft.put_eip(eip.clone());
    Ok(was_expired.then_some(eip))
}

pub(super) fn release(draft: &mut Draft, id: &str) -> Result<(), Refusal> {
    let eip = find(draft, id)?;
    if let Some(one) = draft.association(id) {
        refuse!(
            EipInUse,
            "EIP `{id}` ({}) is associated with ENI `{}`; disassociate it first",
            eip.address,
            one.eni
        );
    }
    draft.delete_eip(id);
    Ok(())
}

/// Ends the associations of the EIPs whose time is over. The EIPs stay, as `expired`.
pub(super) fn expire(draft: &mut Draft, context: &Context) -> Result<(), Refusal> {
    for id in draft.base().due_eips(context.now) {
        let one = draft.association(&id);
        if let Some(one) = &one {
            association::end(draft, one);
        }
        let mut eip = find(draft, &id)?;
        eip.state = EipState::Expired;
        eip.former = one.map(|one| Former {
            eni: one.eni,
            private_ip: one.private_ip,
            mode: one.mode,
        });
        draft.put_eip(eip);
    }
    Ok(())
}

/// Whether the EIP's time is over, also when nobody has marked it so yet.
pub(super) fn is_over(eip: &Eip, now: Timestamp) -> bool {
    eip.state == EipState::Expired || eip.expires_at.is_some_and(|end| end <= now)
}

/// A time as the table keeps it: to the microsecond.
pub fn storable(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

fn check_future(id: &str, end: Timestamp, context: &Context) -> Result<(), Refusal> {
    if end <= context.now {
        refuse!(
            EipExpired,
            "EIP `{id}` would have expired at {end} already; name a time that is to come, or `never`"
        );
    }
    Ok(())
}

/// The lowest address that an EIP can have, of the first pool with one.
fn allocate(
    draft: &Draft,
    id: &str,
    named: Option<IpNet>,
    context: &Context,
) -> Result<IpAddr, Refusal> {
    if let Some(cidr) = named {
        let pool = draft.pools.get(&cidr);
        let pool = pool.ok_or_else(|| not_found("pool", &cidr.to_string()))?;
        match lowest_free(draft, pool, context) {
            Some(address) => return Ok(address),
            None => refuse!(
                OutsidePools,
                "EIP `{id}` gets no address: no address is free in pool {cidr}; release an EIP or name another pool"
            ),
        }
    }
    // IPv4's pools sort first, and who did not ask for an IPv6 address gets none in the place of an
    // IPv4 one.
    let is_ipv4 = |cidr: &IpNet| cidr.addr().is_ipv4();
    let family = draft.pools.keys().next().map(is_ipv4);
    let pools = draft.pools.values();
    let mut pools: Vec<_> = pools
        .filter(|pool| Some(is_ipv4(&pool.cidr)) == family)
        .collect();
    // A stable sort: those of one priority stay in the order of their addresses.
    pools.sort_by_key(|pool| pool.priority);
    for pool in pools {
        if let Some(address) = lowest_free(draft, pool, context) {
            return Ok(address);
        }
    }
    if draft.pools.is_empty() {
        refuse!(
            OutsidePools,
            "EIP `{id}` gets no address: there is no pool; create one first with `eip-dp pool create CIDR`"
        );
    }
    let count = draft
        .pools
        .keys()
        .filter(|cidr| Some(is_ipv4(cidr)) == family);
    let count = count.count();
    refuse!(
        OutsidePools,
        "EIP `{id}` gets no address: no address is free in the {count} pool(s); release an EIP or create another pool"
    );
}

/// Whether an address of the pool is given only to who asks for it: some hosts and routers take
/// addresses that end with .0 or .255 for a network's or its broadcast's, wherever they are.
fn is_odd(pool: &Pool, address: IpAddr) -> bool {
    let IpAddr::V4(v4) = address else {
        return false;
    };
    let is_routed = pool.gateway == Some(PoolGateway::None);
    is_routed && pool.cidr.prefix_len() < 31 && matches!(v4.octets()[3], 0 | 255)
}

/// Walks the gaps between what is blocked, so that it costs one question of the view for each.
fn lowest_free(draft: &Draft, pool: &Pool, context: &Context) -> Option<IpAddr> {
    let end = address::last(&pool.cidr);
    let mut blocked: Vec<_> = pool.blocked().into_iter().map(|(a, b, _)| (a, b)).collect();
    let taken = context.all_taken();
    let taken = taken.filter(|address| pool.cidr.contains(address));
    blocked.extend(taken.map(|address| (address, address)));
    blocked.sort_unstable();
    let mut from = pool.cidr.network();
    for (first, last) in blocked {
        if from < first
            && let Some(free) = free(draft, pool, from, address::previous(first)?)
        {
            return Some(free);
        }
        if from <= last {
            from = address::next(last)?;
        }
    }
    if from > end {
        return None;
    }
    free(draft, pool, from, end)
}

/// The lowest free address in a range without anything that is blocked.
fn free(draft: &Draft, pool: &Pool, mut first: IpAddr, last: IpAddr) -> Option<IpAddr> {
    loop {
        let free = draft.base().free_address(first, last)?;
        if !is_odd(pool, free) {
            return Some(free);
        }
        first = address::next(free).filter(|next| *next <= last)?;
    }
}

fn find(draft: &Draft, id: &str) -> Result<Eip, Refusal> {
    draft.eip(id).ok_or_else(|| not_found("EIP", id))
}

//! Pools and VPCs come and go.

use std::net::IpAddr;

use eip_dp_common::abi::MAX_CIDRS;
use ipnet::IpNet;

use super::{already_exists, draft::Draft, not_found, refuse};
use crate::model::{
    Refusal,
    command::OrNone,
    objects::{AddressRange, Pool, PoolGateway, Vpc},
};

pub(super) fn create_pool(draft: &mut Draft, pool: &Pool) -> Result<(), Refusal> {
    if draft.pools.contains_key(&pool.cidr) {
        return Err(already_exists("pool", &pool.cidr.to_string()));
    }
    draft.pools.insert(pool.cidr, pool.clone());
    Ok(())
}

pub(super) fn set_pool(
    draft: &mut Draft,
    cidr: &IpNet,
    gateway: Option<OrNone<PoolGateway>>,
    reserve: Option<&[AddressRange]>,
    priority: Option<u16>,
) -> Result<(), Refusal> {
    let pool = draft.pools.get_mut(cidr);
    let pool = pool.ok_or_else(|| not_found("pool", &cidr.to_string()))?;
    if let Some(OrNone(gateway)) = gateway {
        pool.gateway = gateway;
    }
    if let Some(reserve) = reserve {
        pool.reserve = reserve.to_vec();
    }
    if let Some(priority) = priority {
        pool.priority = priority;
    }
    Ok(())
}

pub(super) fn delete_pool(draft: &mut Draft, cidr: &IpNet) -> Result<(), Refusal> {
    let gone = draft.pools.remove(cidr);
    gone.map(drop)
        .ok_or_else(|| not_found("pool", &cidr.to_string()))
}

pub(super) fn create_vpc(draft: &mut Draft, vpc: &Vpc) -> Result<(), Refusal> {
    if draft.vpc(&vpc.id).is_some() {
        return Err(already_exists("VPC", &vpc.id));
    }
    draft.put_vpc(vpc.clone());
    Ok(())
}

pub(super) fn set_vpc(
    draft: &mut Draft,
    id: &str,
    (add, remove): (&[IpNet], &[IpNet]),
    gateway: Option<OrNone<IpAddr>>,
    vni: Option<OrNone<u32>>,
) -> Result<(), Refusal> {
    let mut vpc = draft.vpc(id).ok_or_else(|| not_found("VPC", id))?;
    for cidr in remove {
        let place = vpc.cidrs.iter().position(|one| one == cidr);
        let Some(place) = place else {
            refuse!(
                NotFound,
                "VPC `{id}` does not have the CIDR {cidr}; `eip-dp vpc show {id}` shows those it has"
            );
        };
        vpc.cidrs.remove(place);
    }
    vpc.cidrs.extend(add);
    if vpc.cidrs.is_empty() {
        refuse!(
            InUse,
            "VPC `{id}` would have no CIDR left, and keeps one at least; add another with `--add-cidr`"
        );
    }
    for is_ipv4 in [true, false] {
        let family = vpc
            .cidrs
            .iter()
            .filter(|cidr| cidr.addr().is_ipv4() == is_ipv4);
        if family.count() > usize::try_from(MAX_CIDRS).unwrap_or(usize::MAX) {
            refuse!(
                VpcCidrLimit,
                "VPC `{id}` would have more than {MAX_CIDRS} CIDRs of one family; join some of them"
            );
        }
    }
    if let Some(OrNone(gateway)) = gateway {
        vpc.gateway = gateway;
    }
    if let Some(OrNone(vni)) = vni {
        vpc.vni = vni;
    }
    draft.put_vpc(vpc);
    Ok(())
}

pub(super) fn delete_vpc(draft: &mut Draft, id: &str) -> Result<(), Refusal> {
    draft.vpc(id).ok_or_else(|| not_found("VPC", id))?;
    draft.delete_vpc(id);
    Ok(())
}

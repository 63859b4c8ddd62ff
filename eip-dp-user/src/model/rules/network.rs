//! Pools and VPCs come and go.

use ipnet::IpNet;

use super::{already_exists, draft::Draft, not_found};
use crate::model::{
    Refusal,
    objects::{Pool, Vpc},
};

pub(super) fn create_pool(draft: &mut Draft, pool: &Pool) -> Result<(), Refusal> {
    if draft.pools.contains_key(&pool.cidr) {
        return Err(already_exists("pool", &pool.cidr.to_string()));
    }
    draft.pools.insert(pool.cidr, pool.clone());
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

pub(super) fn delete_vpc(draft: &mut Draft, id: &str) -> Result<(), Refusal> {
    draft.vpc(id).ok_or_else(|| not_found("VPC", id))?;
    draft.delete_vpc(id);
    Ok(())
}

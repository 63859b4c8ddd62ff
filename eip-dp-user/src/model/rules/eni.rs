//! The life of an ENI: created detached, attached, moved, detached, deleted.

use std::net::IpAddr;

use super::{already_exists, draft::Draft, not_found, refuse};
use crate::model::{
    Refusal, Vlan,
    command::EniSpec,
    objects::{Eni, EniKind, EniState},
};

pub(super) fn create(draft: &mut Draft, spec: &EniSpec) -> Result<(), Refusal> {
    if draft.eni(&spec.id).is_some() {
        return Err(already_exists("ENI", &spec.id));
    }
    draft.put_eni(Eni {
        id: spec.id.clone(),
        vpc: spec.vpc.clone(),
        kind: spec.kind,
        mac: spec.mac,
        private_ips: spec.private_ips.clone(),
        region: spec.region.clone(),
        antispoof: spec.antispoof,
        state: EniState::Detached,
        instance: None,
        port: None,
        vlan: None,
    });
    Ok(())
}

/// Attaches a detached ENI, or moves an attached one in one step. A move counts as detach and attach, so it ends
/// `stranded`.
pub(super) fn attach(
    draft: &mut Draft,
    id: &str,
    instance: &str,
    port: &str,
    vlan: Option<Vlan>,
) -> Result<(), Refusal> {
    let mut eni = find(draft, id)?;
    draft
        .instance(instance)
        .ok_or_else(|| not_found("instance", instance))?;
    if let (EniKind::Primary, Some(home)) = (eni.kind, &eni.instance)
        && home != instance
    {
        refuse!(
            PrimaryEniFixed,
            "ENI `{id}` is the primary one of instance `{home}` and cannot move to `{instance}`; \
             attach it to `{home}` again (its port may change), or move a secondary ENI"
        );
    }
    eni.state = EniState::Attached;
    eni.instance = Some(instance.to_owned());
    eni.port = Some(port.to_owned());
    eni.vlan = vlan;
    draft.put_eni(eni);
    Ok(())
}

pub(super) fn detach(draft: &mut Draft, id: &str) -> Result<(), Refusal> {
    let mut eni = find(draft, id)?;
    if let (EniKind::Primary, Some(home)) = (eni.kind, &eni.instance) {
        refuse!(
            PrimaryEniFixed,
            "ENI `{id}` is the primary one of instance `{home}` and stays with it; \
             delete the instance, or detach a secondary ENI"
        );
    }
    eni.state = EniState::Detached;
    eni.instance = None;
    eni.port = None;
    eni.vlan = None;
    draft.put_eni(eni);
    Ok(())
}

pub(super) fn add_ip(draft: &mut Draft, id: &str, address: IpAddr) -> Result<(), Refusal> {
    let mut eni = find(draft, id)?;
    eni.private_ips.push(address);
    draft.put_eni(eni);
    Ok(())
}

pub(super) fn remove_ip(draft: &mut Draft, id: &str, address: IpAddr) -> Result<(), Refusal> {
    let mut eni = find(draft, id)?;
    let Some(position) = eni.private_ips.iter().position(|ip| *ip == address) else {
        refuse!(
            NotAnEniAddress,
            "ENI `{id}` does not have the private IP {address}; `eip-dp eni show {id}` shows those it has"
        );
    };
    eni.private_ips.remove(position);
    draft.put_eni(eni);
    Ok(())
}

pub(super) fn delete(draft: &mut Draft, id: &str) -> Result<(), Refusal> {
    let eni = find(draft, id)?;
    if let Some(instance) = &eni.instance {
        match eni.kind {
            EniKind::Primary => refuse!(
                InUse,
                "ENI `{id}` is the primary one of instance `{instance}`; it goes with the instance"
            ),
            EniKind::Secondary => refuse!(
                InUse,
                "ENI `{id}` is attached to instance `{instance}`; detach it first"
            ),
        }
    }
    draft.delete_eni(id);
    Ok(())
}

fn find(draft: &Draft, id: &str) -> Result<Eni, Refusal> {
    draft.eni(id).ok_or_else(|| not_found("ENI", id))
}

//! The life of an ENI: created detached, attached, moved, detached, deleted.

use std::net::IpAddr;

use super::{already_exists, draft::Draft, not_found, refuse};
use crate::model::{
    Context, Refusal, Vlan,
    command::{EniSpec, OrNone},
    objects::{Antispoof, Eni, EniKind, EniState, Mac, Rebind},
};

/// Where an ENI is attached, and how.
pub(super) struct Place<'a> {
    pub(super) instance: &'a str,
    pub(super) port: &'a str,
    pub(super) vlan: Option<Vlan>,
    pub(super) force: bool,
    pub(super) rebind: Option<Rebind>,
}

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
        shared_ips: Vec::new(),
        region: spec.region.clone(),
        antispoof: spec.antispoof,
        state: EniState::Detached,
        instance: None,
        port: None,
        vlan: None,
        force: false,
        rebind: Rebind::default(),
        bound: None,
    });
    Ok(())
}

/// Changes what of an ENI can change while it stays where it is.
pub(super) fn set(
    draft: &mut Draft,
    id: &str,
    mac: Option<Mac>,
    region: Option<&OrNone<String>>,
    antispoof: Option<Antispoof>,
) -> Result<(), Refusal> {
    let mut eni = find(draft, id)?;
    if let Some(mac) = mac {
        eni.mac = mac;
    }
    if let Some(OrNone(region)) = region {
        eni.region.clone_from(region);
    }
    if let Some(antispoof) = antispoof {
        eni.antispoof = antispoof;
    }
    draft.put_eni(eni);
    Ok(())
}

/// Attaches a detached ENI, or moves an attached one in one step. A move counts as detach and
/// attach, so it ends `stranded`.
pub(super) fn attach(
    draft: &mut Draft,
    id: &str,
    place: &Place<'_>,
    context: &Context,
) -> Result<(), Refusal> {
    let Place {
        instance,
        port,
        vlan,
        force,
        rebind,
    } = *place;
    let mut eni = find(draft, id)?;
    draft
        .instance(instance)
        .ok_or_else(|| not_found("instance", instance))?;
    // The instance that it leaves may be one that is pruned: the file has another name for it.
    if let (EniKind::Primary, Some(home)) = (eni.kind, &eni.instance)
        && home != instance
        && draft.instance(home).is_some()
    {
        refuse!(
            PrimaryEniFixed,
            "ENI `{id}` is the primary one of instance `{home}` and cannot move to `{instance}`; \
             attach it to `{home}` again (its port may change), move a secondary ENI, or delete `{home}` \
             (a file that has another name for it: `apply --prune`)"
        );
    }
    let is_there = eni.port.as_deref() == Some(port) && eni.vlan == vlan;
    if !is_there
        && !force
        && let Some(why) = context.use_of(port, vlan)
    {
        let place = vlan.map_or(String::new(), |vlan| format!(" VLAN {vlan}"));
        refuse!(
            PortIsTheHosts,
            "ENI `{id}`: port `{port}`{place} is the host's own: {why}. An ENI there would cut the host off; \
             name the guest's interface, or say `--force` (`force = true`)"
        );
    }
    eni.state = EniState::Attached;
    eni.instance = Some(instance.to_owned());
    eni.port = Some(port.to_owned());
    eni.vlan = vlan;
    eni.force = force || (is_there && eni.force);
    let before = if is_there {
        eni.rebind
    } else {
        Rebind::default()
    };
    eni.rebind = rebind.unwrap_or(before);
    // The interface that is there now is the port. Where that is so already, it goes on being
    // served; another one the daemon has to see.
    let stays = is_there && eni.rebind == Rebind::Never && eni.bound == context.port;
    if !stays {
        eni.bound = None;
    }
    draft.put_eni(eni);
    Ok(())
}

/// Notes which interface the port is. An ENI that has moved meanwhile, or is bound, stays as it is.
pub(super) fn bind(draft: &mut Draft, id: &str, bound: &str) -> Result<(), Refusal> {
    let mut eni = find(draft, id)?;
    if eni.port.is_some() && eni.rebind == Rebind::Never && eni.bound.is_none() {
        eni.bound = Some(bound.to_owned());
        draft.put_eni(eni);
    }
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
    eni.force = false;
    eni.rebind = Rebind::default();
    eni.bound = None;
    draft.put_eni(eni);
    Ok(())
}

pub(super) fn add_ip(
    draft: &mut Draft,
    id: &str,
    address: IpAddr,
    shared: bool,
) -> Result<(), Refusal> {
    let mut eni = find(draft, id)?;
    eni.private_ips.push(address);
    if shared {
        eni.shared_ips.push(address);
    }
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
    eni.shared_ips.retain(|ip| *ip != address);
    draft.put_eni(eni);
    Ok(())
}

pub(super) fn delete(draft: &mut Draft, id: &str) -> Result<(), Refusal> {
    let eni = find(draft, id)?;
    if let Some(instance) = &eni.instance {
        match eni.kind {
            EniKind::Primary => refuse!(
                InUse,
                "ENI `{id}` is the primary one of instance `{instance}` and goes with it; delete the instance, or apply a \
                 file without the ENI (`apply --prune`)"
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

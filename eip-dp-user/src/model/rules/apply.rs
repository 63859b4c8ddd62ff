//! A document becomes the table: the same steps as the verbs', in the order detach, disassociate,
//! delete, create and change, associate, attach.
//!
//! Which fields of an object that exists can change: a pool's `gateway` and `reserve`; a VPC's
//! `cidrs`, `gateway` and `vni`; an instance's `max_enis`; an ENI's `mac`, `region`, `private_ips`,
//! `shared_ips`, `antispoof` and place (`instance`, `port`, `vlan`, `force`, `rebind`); an EIP's
//! `expires_at` and `announce`; all of an association. Any other difference is refused with
//! `already-exists`.
//!
//! `state` follows from the other fields: an ENI with a place is attached, one without is detached,
//! so leaving the place out asks for a detach. Only a new ENI takes `stranded` from the document,
//! so that an export restores what was. An ENI that is never said to move is never detached to make
//! something else possible; only pruning ([`super::prune`]) detaches by itself, and then the ENIs
//! that it deletes.

use std::collections::{HashMap, HashSet};

use super::{association, draft::Draft, eip, eni, prune::LeftOut, refuse};
use crate::model::{
    Context, Document, Refusal,
    command::{EniSpec, Expiry, Prune},
    objects::{Association, Eip, EipState, Eni, EniKind, EniState},
};

pub(super) fn apply(
    draft: &mut Draft,
    document: &Document,
    prune: Prune,
    context: &Context,
) -> Result<(), Refusal> {
    check_once(document)?;
    let left_out = (prune != Prune::No).then(|| LeftOut::by(document, draft.base().model()));
    if prune == Prune::Few
        && let Some(left_out) = &left_out
    {
        left_out.check_few()?;
    }
    if let Some(left_out) = &left_out {
        left_out.detach(draft)?;
    }
    for wanted in document.enis.iter().filter(|eni| eni.instance.is_none()) {
        if draft
            .eni(&wanted.id)
            .is_some_and(|eni| eni.instance.is_some())
        {
            eni::detach(draft, &wanted.id)?;
        }
    }
    let associations = disassociate(draft, document, context);
    if let Some(left_out) = &left_out {
        left_out.delete(draft)?;
    }
    put_networks(draft, document);
    for wanted in &document.enis {
        put_eni(draft, wanted)?;
    }
    for wanted in &document.eips {
        let has_association = associations.iter().any(|one| one.eip == wanted.id);
        if let Some(renewed) = put_eip(draft, wanted, context)?
            && prune == Prune::No
            && !has_association
        {
            eip::restore(draft, &renewed, context);
        }
    }
    for one in associations {
        if draft.association(&one.eip).as_ref() == Some(one) {
            continue;
        }
        let ip = Some(one.private_ip);
        association::associate(draft, &one.eip, &one.eni, one.mode, ip, context)?;
    }
    for wanted in &document.enis {
        attach(draft, wanted, context)?;
    }
    Ok(())
}

/// Refuses a document that names an object twice.
fn check_once(document: &Document) -> Result<(), Refusal> {
    let pools: Vec<_> = document
        .pools
        .iter()
        .map(|pool| pool.cidr.to_string())
        .collect();
    once("pool", pools.iter().map(String::as_str))?;
    once("vpc", document.vpcs.iter().map(|vpc| vpc.id.as_str()))?;
    once(
        "instance",
        document.instances.iter().map(|one| one.id.as_str()),
    )?;
    once("eni", document.enis.iter().map(|eni| eni.id.as_str()))?;
    once("eip", document.eips.iter().map(|eip| eip.id.as_str()))?;
    once(
        "association",
        document.associations.iter().map(|one| one.eip.as_str()),
    )
}

fn once<'a>(kind: &str, ids: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            refuse!(
                AlreadyExists,
                "the document has two [[{kind}]] entries for `{id}`; keep one of them"
            );
        }
    }
    Ok(())
}

/// Ends the associations that the document has otherwise, and returns those to make.
fn disassociate<'d>(
    draft: &mut Draft,
    document: &'d Document,
    context: &Context,
) -> Vec<&'d Association> {
    let mut new = Vec::new();
    let eips: HashMap<_, _> = document
        .eips
        .iter()
        .map(|eip| (eip.id.as_str(), eip))
        .collect();
    for wanted in &document.associations {
        let stored = draft.association(&wanted.eip);
        if stored.as_ref() == Some(wanted) {
            continue;
        }
        if is_over(
            draft,
            &wanted.eip,
            eips.get(wanted.eip.as_str()).copied(),
            context,
        ) {
            draft.warnings.push(format!(
                "EIP `{}` has expired: its association with ENI `{}` is skipped; renew it with a later expires_at",
                wanted.eip, wanted.eni
            ));
            continue;
        }
        if let Some(stored) = stored {
            association::end(draft, &stored);
        }
        new.push(wanted);
    }
    new
}

/// Whether the EIP's time is over once the document is applied.
fn is_over(draft: &Draft, id: &str, wanted: Option<&Eip>, context: &Context) -> bool {
    let stored = draft.eip(id);
    match wanted {
        None => stored.is_some_and(|eip| eip::is_over(&eip, context.now)),
        Some(wanted) => {
            let end = wanted.expires_at.map(eip::storable);
            let unchanged = stored.filter(|eip| eip.expires_at == end);
            end.is_some_and(|end| end <= context.now)
                || unchanged.is_some_and(|eip| eip::is_over(&eip, context.now))
        }
    }
}

fn put_networks(draft: &mut Draft, document: &Document) {
    for pool in &document.pools {
        draft.pools.insert(pool.cidr, pool.clone());
    }
    for vpc in &document.vpcs {
        if draft.vpc(&vpc.id).as_ref() != Some(vpc) {
            draft.put_vpc(vpc.clone());
        }
    }
    for instance in &document.instances {
        if draft.instance(&instance.id).as_ref() != Some(instance) {
            draft.put_instance(instance.clone());
        }
    }
}

fn put_eni(draft: &mut Draft, wanted: &Eni) -> Result<(), Refusal> {
    if draft.eni(&wanted.id).is_none() {
        eni::create(
            draft,
            &EniSpec {
                id: wanted.id.clone(),
                vpc: wanted.vpc.clone(),
                kind: wanted.kind,
                mac: wanted.mac,
                private_ips: wanted.private_ips.clone(),
                region: wanted.region.clone(),
                antispoof: wanted.antispoof,
            },
        )?;
    }
    let Some(eni) = draft.eni(&wanted.id) else {
        return Ok(());
    };
    fixed("eni", &eni.id, "vpc", &eni.vpc, &wanted.vpc)?;
    fixed("eni", &eni.id, "kind", &eni.kind, &wanted.kind)?;
    let changed = Eni {
        mac: wanted.mac,
        region: wanted.region.clone(),
        private_ips: wanted.private_ips.clone(),
        shared_ips: wanted.shared_ips.clone(),
        antispoof: wanted.antispoof,
        ..eni.clone()
    };
    if changed != eni {
        draft.put_eni(changed);
    }
    Ok(())
}

/// Returns the EIP if it was expired and is renewed.
fn put_eip(draft: &mut Draft, wanted: &Eip, context: &Context) -> Result<Option<Eip>, Refusal> {
    let end = wanted.expires_at.map(eip::storable);
    let Some(eip) = draft.eip(&wanted.id) else {
        let over = end.is_some_and(|end| end <= context.now);
        if over {
            draft.warnings.push(format!(
                "EIP `{}` is created as expired; renew it with a later expires_at",
                wanted.id
            ));
        }
        draft.put_eip(Eip {
            expires_at: end,
            state: if over {
                EipState::Expired
            } else {
                EipState::Free
            },
            ..wanted.clone()
        });
        return Ok(None);
    };
    let region = |eip: &Eip| eip.region.clone().unwrap_or_default();
    fixed("eip", &eip.id, "address", &eip.address, &wanted.address)?;
    fixed("eip", &eip.id, "region", &region(&eip), &region(wanted))?;
    if eip.announce != wanted.announce {
        draft.put_eip(Eip {
            announce: wanted.announce,
            ..eip.clone()
        });
    }
    if eip.expires_at == end {
        return Ok(None);
    }
    let end = end.map_or(Expiry::Never, Expiry::At);
    eip::set_expiry(draft, &eip.id, end, context)
}

/// Refuses to change a field that no verb changes.
fn fixed<T: PartialEq + std::fmt::Display>(
    kind: &str,
    id: &str,
    field: &str,
    stored: &T,
    wanted: &T,
) -> Result<(), Refusal> {
    if stored != wanted {
        refuse!(
            AlreadyExists,
            "{kind} `{id}` exists with {field} `{stored}`, which cannot become `{wanted}`; \
             delete it first or choose another id"
        );
    }
    Ok(())
}

fn attach(draft: &mut Draft, wanted: &Eni, context: &Context) -> Result<(), Refusal> {
    let (Some(instance), Some(port)) = (&wanted.instance, &wanted.port) else {
        return Ok(());
    };
    let Some(eni) = draft.eni(&wanted.id) else {
        return Ok(());
    };
    let place = |eni: &Eni| {
        let (instance, port) = (eni.instance.clone(), eni.port.clone());
        (instance, port, eni.vlan, eni.rebind)
    };
    if place(&eni) != place(wanted) {
        let place = eni::Place {
            instance,
            port,
            vlan: wanted.vlan,
            force: wanted.force,
            rebind: Some(wanted.rebind),
        };
        eni::attach(draft, &eni.id, &place, context)?;
    }
    // What the file says of it, also where it stays: that is no new attach, which would take an
    // interface that was made anew.
    let now = draft.eni(&eni.id).filter(|now| now.force != wanted.force);
    if let Some(now) = now {
        draft.put_eni(Eni {
            force: wanted.force,
            ..now
        });
    }
    let restored = eni.kind == EniKind::Secondary && draft.base().eni(&eni.id).is_none();
    if wanted.state == EniState::Stranded && restored {
        draft.put_eni(Eni {
            state: EniState::Stranded,
            ..wanted.clone()
        });
    } else if wanted.state != EniState::Stranded && eni.state == EniState::Stranded {
        let still = draft.eni(&eni.id).map(|eni| eni.state);
        if still == Some(EniState::Stranded) {
            draft.warnings.push(format!(
                "ENI `{}` stays stranded, apply does not detach what the file has attached; detach and attach it again",
                eni.id
            ));
        }
    }
    Ok(())
}

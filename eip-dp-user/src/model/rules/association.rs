//! EIPs meet ENIs, and leave them.

use std::net::IpAddr;

use super::{draft::Draft, eip::is_over, not_found, refuse};
use crate::model::{
    Context, Refusal, address,
    objects::{Association, Eip, EipState, Eni, EniKind, EniState, Former, Mode},
};

/// The rules in the order of the table of codes: the first that matches wins.
pub(super) fn associate(
    draft: &mut Draft,
    eip_id: &str,
    eni_id: &str,
    mode: Mode,
    private_ip: Option<IpAddr>,
    context: &Context,
) -> Result<(), Refusal> {
    let eip = draft.eip(eip_id).ok_or_else(|| not_found("EIP", eip_id))?;
    let eni = draft.eni(eni_id).ok_or_else(|| not_found("ENI", eni_id))?;
    let private_ip = check(draft, &eip, &eni, mode, private_ip, context)?;
    if eni.state == EniState::Stranded {
        draft.warnings.push(format!(
            "ENI `{eni_id}` is stranded: EIP `{eip_id}` forwards nothing until it is detached and attached again"
        ));
    }
    put(draft, eip, eni_id, private_ip, mode);
    Ok(())
}

/// Makes the association again that a renewed EIP had when it expired, unless a rule is against it
/// by now.
pub(super) fn restore(
    draft: &mut Draft,
    eip: &Eip,
    former: &Former,
    context: &Context,
) -> Result<(), Refusal> {
    let eni = draft.eni(&former.eni);
    let mut eni = eni.ok_or_else(|| not_found("ENI", &former.eni))?;
    let was_cut_through = former.mode == Mode::CutThrough && eni.state == EniState::Stranded;
    let instance = eni.instance.clone();
    if was_cut_through {
        // It is where it was when it lost the EIP, and has waited for one since.
        eni.instance = None;
    }
    let private_ip = Some(former.private_ip);
    let private_ip = check(draft, eip, &eni, former.mode, private_ip, context)?;
    put(draft, eip.clone(), &former.eni, private_ip, former.mode);
    if was_cut_through {
        eni.instance = instance;
        eni.state = EniState::Attached;
        draft.put_eni(eni);
    }
    Ok(())
}

/// The private IP that the EIP can stand for, of those that no rule is against.
fn check(
    draft: &mut Draft,
    eip: &Eip,
    eni: &Eni,
    mode: Mode,
    private_ip: Option<IpAddr>,
    context: &Context,
) -> Result<IpAddr, Refusal> {
    check_eip(draft, eip, eni, context)?;
    let private_ip = pair_family(eip, eni, private_ip)?;
    if mode == Mode::CutThrough {
        check_cut_through_eni(eni)?;
    }
    check_exclusive(draft, eip, eni, mode)?;
    if mode == Mode::CutThrough {
        check_primary_ip(eni, private_ip)?;
    }
    check_address(draft, eni, private_ip)?;
    Ok(private_ip)
}

fn put(draft: &mut Draft, mut eip: Eip, eni: &str, private_ip: IpAddr, mode: Mode) {
    eip.state = EipState::Associated;
    eip.former = None;
    draft.put_association(Association {
        eip: eip.id.clone(),
        eni: eni.to_owned(),
        private_ip,
        mode,
    });
    draft.put_eip(eip);
}

pub(super) fn disassociate(draft: &mut Draft, eip: &str) -> Result<(), Refusal> {
    draft.eip(eip).ok_or_else(|| not_found("EIP", eip))?;
    let Some(one) = draft.association(eip) else {
        refuse!(
            NotFound,
            "EIP `{eip}` has no association; `eip-dp eip show {eip}` shows its state"
        );
    };
    end(draft, &one);
    Ok(())
}

/// Ends an association. An attached ENI that loses its cut-through EIP is stranded.
pub(super) fn end(draft: &mut Draft, one: &Association) {
    draft.delete_association(one);
    if let Some(mut eip) = draft.eip(&one.eip) {
        eip.state = EipState::Free;
        draft.put_eip(eip);
    }
    if one.mode == Mode::CutThrough
        && let Some(mut eni) = draft.eni(&one.eni)
        && eni.state == EniState::Attached
    {
        eni.state = EniState::Stranded;
        draft.put_eni(eni);
    }
}

fn check_eip(draft: &Draft, eip: &Eip, eni: &Eni, context: &Context) -> Result<(), Refusal> {
    if let Some(one) = draft.association(&eip.id) {
        refuse!(
            EipInUse,
            "EIP `{}` ({}) is associated with ENI `{}` already; disassociate it first",
            eip.id,
            eip.address,
            one.eni
        );
    }
    if let Some((why, cure)) = context.taken(eip.address) {
        refuse!(
            ReservedAddress,
            "EIP `{}`: {} {why} by now, so nothing is forwarded for it; release the EIP, or {cure}",
            eip.id,
            eip.address
        );
    }
    if is_over(eip, context.now) {
        let since = eip.expires_at.map(|end| format!(" at {end}"));
        refuse!(
            EipExpired,
            "EIP `{}` expired{}; renew it with `eip-dp eip set {} --expires TIME`",
            eip.id,
            since.unwrap_or_default(),
            eip.id
        );
    }
    if eip.region != eni.region {
        refuse!(
            RegionMismatch,
            "EIP `{}` is in {} and ENI `{}` in {}; choose two of the same region",
            eip.id,
            region(eip.region.as_deref()),
            eni.id,
            region(eni.region.as_deref())
        );
    }
    Ok(())
}

pub(super) fn region(region: Option<&str>) -> String {
    region.map_or("no region".to_owned(), |name| format!("region `{name}`"))
}

/// The private IP that the EIP is to stand for, of its family.
fn pair_family(eip: &Eip, eni: &Eni, private_ip: Option<IpAddr>) -> Result<IpAddr, Refusal> {
    let family = address::family(eip.address);
    match private_ip {
        None => match primary_ip(eni, eip.address) {
            Some(address) => Ok(address),
            None => refuse!(
                FamilyMismatch,
                "EIP `{}` ({}) is {family} and ENI `{}` has no {family} private IP; add one first",
                eip.id,
                eip.address,
                eni.id
            ),
        },
        Some(address) if address.is_ipv4() == eip.address.is_ipv4() => Ok(address),
        Some(address) => refuse!(
            FamilyMismatch,
            "EIP `{}` ({}) is {family} and the private IP {address} is not; choose an {family} private IP",
            eip.id,
            eip.address
        ),
    }
}

/// The first private IP of the family of `like`.
pub(super) fn primary_ip(eni: &Eni, like: IpAddr) -> Option<IpAddr> {
    let mut ips = eni.private_ips.iter().copied();
    ips.find(|ip| ip.is_ipv4() == like.is_ipv4())
}

fn check_cut_through_eni(eni: &Eni) -> Result<(), Refusal> {
    let id = &eni.id;
    if eni.kind == EniKind::Primary {
        refuse!(
            CutThroughNeedsSecondary,
            "ENI `{id}` is a primary one and cut-through is for secondary ENIs; use `--mode nat` or a secondary ENI"
        );
    }
    if let Some(instance) = &eni.instance {
        refuse!(
            EniAttached,
            "ENI `{id}` is attached to instance `{instance}` and cut-through is set while it is not; \
             detach it, associate, then attach it again"
        );
    }
    Ok(())
}

fn check_exclusive(draft: &mut Draft, eip: &Eip, eni: &Eni, mode: Mode) -> Result<(), Refusal> {
    if mode == Mode::CutThrough
        && let Some(shared) = eni.shared_ips.first()
    {
        refuse!(
            CutThroughExclusive,
            "ENI `{}` shares the private IP {shared} with others, and a cut-through EIP would leave it no private \
             network; remove {shared} first or choose another ENI",
            eni.id
        );
    }
    let uses = draft.uses(&eni.id);
    let beside = match mode {
        Mode::Nat => uses.any(Mode::CutThrough),
        Mode::CutThrough => uses.any(Mode::Nat).or_else(|| uses.of_family(eip.address)),
    };
    if let Some(other) = beside {
        refuse!(
            CutThroughExclusive,
            "ENI `{}` has EIP `{other}` and a cut-through EIP stands alone on its ENI, so `{}` cannot join it; \
             disassociate `{other}` first or choose another ENI",
            eni.id,
            eip.id
        );
    }
    Ok(())
}

fn check_primary_ip(eni: &Eni, private_ip: IpAddr) -> Result<(), Refusal> {
    match primary_ip(eni, private_ip) {
        Some(primary) if primary == private_ip => Ok(()),
        Some(primary) => refuse!(
            CutThroughPrimaryIpOnly,
            "{private_ip} is not the primary private IP of ENI `{}` and cut-through takes no other; use {primary}",
            eni.id
        ),
        None => refuse!(
            CutThroughPrimaryIpOnly,
            "{private_ip} is not the primary private IP of ENI `{}`, which has none of that family; add one first",
            eni.id
        ),
    }
}

fn check_address(draft: &mut Draft, eni: &Eni, private_ip: IpAddr) -> Result<(), Refusal> {
    let id = &eni.id;
    let uses = draft.uses(id);
    if eni.kind == EniKind::Primary
        && let Some(other) = uses.of_family(private_ip)
    {
        refuse!(
            PrimaryEniLimit,
            "ENI `{id}` is a primary one, has EIP `{other}` and takes no second; \
             disassociate `{other}` first or use a secondary ENI"
        );
    }
    if !eni.private_ips.contains(&private_ip) {
        refuse!(
            NotAnEniAddress,
            "ENI `{id}` does not have the private IP {private_ip}; add it with `eip-dp eni add-ip {id} {private_ip}`"
        );
    }
    if let Some(other) = uses.by_address.get(&private_ip) {
        refuse!(
            PrivateIpInUse,
            "the private IP {private_ip} of ENI `{id}` has EIP `{other}` already; \
             choose another one with `--private-ip` or disassociate `{other}` first"
        );
    }
    if eni.shared_ips.contains(&private_ip) {
        for sharer in draft.enis_with_address(&eni.vpc, private_ip) {
            if let Some(other) = draft.uses(&sharer).by_address.get(&private_ip) {
                refuse!(
                    PrivateIpInUse,
                    "the private IP {private_ip}, which ENI `{id}` shares with ENI `{sharer}`, has EIP `{other}` there \
                     already, and that EIP follows the address; disassociate `{other}` first"
                );
            }
        }
    }
    Ok(())
}

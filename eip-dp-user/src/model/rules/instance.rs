//! Instances come and go.

use super::{already_exists, draft::Draft, not_found};
use crate::model::{EniFilter, Refusal, command::OrNone, objects::Instance};

pub(super) fn create(draft: &mut Draft, instance: &Instance) -> Result<(), Refusal> {
    if draft.instance(&instance.id).is_some() {
        return Err(already_exists("instance", &instance.id));
    }
    draft.put_instance(instance.clone());
    Ok(())
}

pub(super) fn set(
    draft: &mut Draft,
    id: &str,
    max_enis: Option<OrNone<u32>>,
) -> Result<(), Refusal> {
    let instance = draft.instance(id);
    let mut instance = instance.ok_or_else(|| not_found("instance", id))?;
    if let Some(OrNone(max_enis)) = max_enis {
        instance.max_enis = max_enis;
    }
    draft.put_instance(instance);
    Ok(())
}

/// Takes the primary ENI along. Other ENIs that are still attached, or an EIP of the primary one,
/// are the state rules' to refuse.
pub(super) fn delete(draft: &mut Draft, id: &str) -> Result<(), Refusal> {
    draft
        .instance(id)
        .ok_or_else(|| not_found("instance", id))?;
    for eni in draft.enis_of(EniFilter::PrimaryOf(id)) {
        draft.delete_eni(&eni);
    }
    draft.delete_instance(id);
    Ok(())
}

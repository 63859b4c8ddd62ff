//! What a document leaves out goes: detached, disassociated and deleted in the order of the
//! transitions.

use super::{association, draft::Draft, eip, eni, network, refuse};
use crate::model::{Document, Model, Refusal, objects::EniKind};

/// The objects of the table that a document leaves out.
pub(super) struct LeftOut {
    objects: Model,
    /// How many of each kind the table has, in the order of [`count`].
    before: [usize; 6],
}

/// How many objects there are of each kind, with the kind's name for one and for several.
fn count(model: &Model) -> [(usize, &'static str, &'static str); 6] {
    [
        (model.pools.len(), "pool", "pools"),
        (model.vpcs.len(), "VPC", "VPCs"),
        (model.instances.len(), "instance", "instances"),
        (model.enis.len(), "ENI", "ENIs"),
        (model.eips.len(), "EIP", "EIPs"),
        (model.associations.len(), "association", "associations"),
    ]
}

impl LeftOut {
    pub(super) fn by(document: &Document, mut stored: Model) -> Self {
        let before = count(&stored).map(|(number, ..)| number);
        for one in &document.associations {
            stored.associations.remove(&one.eip);
        }
        for vpc in &document.vpcs {
            stored.vpcs.remove(&vpc.id);
        }
        for instance in &document.instances {
            stored.instances.remove(&instance.id);
        }
        for eip in &document.eips {
            stored.eips.remove(&eip.id);
        }
        for eni in &document.enis {
            stored.enis.remove(&eni.id);
        }
        for pool in &document.pools {
            stored.pools.remove(&pool.cidr);
        }
        Self {
            objects: stored,
            before,
        }
    }

    /// Refuses to delete all objects of a kind, or more than half of the associations.
    pub(super) fn check_few(&self) -> Result<(), Refusal> {
        let most: Vec<String> = count(&self.objects)
            .into_iter()
            .zip(self.before)
            .filter_map(|((gone, one, several), before)| {
                let is_most = one == "association" && gone * 2 > before;
                match (gone, before) {
                    (0, _) => None,
                    (1, 1) => Some(format!("the only {one}")),
                    (gone, before) if gone == before => Some(format!("all {gone} {several}")),
                    (gone, before) => is_most.then(|| format!("{gone} of {before} {several}")),
                }
            })
            .collect();
        if !most.is_empty() {
            refuse!(
                NeedsYes,
                "the file leaves out {}, and pruning would delete them; `--dry-run` shows it all, `--yes` says that it is meant",
                most.join(", ")
            );
        }
        Ok(())
    }

    /// Detaches the secondary ENIs that go.
    pub(super) fn detach(&self, draft: &mut Draft) -> Result<(), Refusal> {
        let mut enis = self.objects.enis.values();
        enis.try_for_each(|one| match one.kind {
            EniKind::Secondary if one.instance.is_some() => eni::detach(draft, &one.id),
            EniKind::Primary | EniKind::Secondary => Ok(()),
        })
    }

    /// Ends the associations, then deletes everything else.
    pub(super) fn delete(&self, draft: &mut Draft) -> Result<(), Refusal> {
        let objects = &self.objects;
        for one in objects.associations.values() {
            association::end(draft, one);
        }
        for one in objects.enis.values() {
            // A primary ENI goes with its instance, and here also from one that stays: the file
            // may have another in its place.
            match one.kind {
                EniKind::Primary => draft.delete_eni(&one.id),
                EniKind::Secondary => eni::delete(draft, &one.id)?,
            }
        }
        for id in objects.eips.keys() {
            eip::release(draft, id)?;
        }
        for id in objects.instances.keys() {
            draft.delete_instance(id);
        }
        for id in objects.vpcs.keys() {
            network::delete_vpc(draft, id)?;
        }
        for cidr in objects.pools.keys() {
            network::delete_pool(draft, cidr)?;
        }
        Ok(())
    }
}

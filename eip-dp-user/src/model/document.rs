//! The table file: what `export` writes and `apply` reads.

use serde::{Deserialize, Serialize};

use super::{
    Model,
    objects::{Association, Eip, Eni, Instance, Pool, Vpc},
};

/// A whole table, or a part of one, as an operator writes it.
///
/// The `state` of ENIs and EIPs is what `export` says of them; the rules derive it from the other
/// fields when the document is applied (see [`super::rules`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The pools.
    #[serde(default, rename = "pool", skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
    /// The VPCs.
    #[serde(default, rename = "vpc", skip_serializing_if = "Vec::is_empty")]
    pub vpcs: Vec<Vpc>,
    /// The instances.
    #[serde(default, rename = "instance", skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
    /// The ENIs.
    #[serde(default, rename = "eni", skip_serializing_if = "Vec::is_empty")]
    pub enis: Vec<Eni>,
    /// The EIPs.
    #[serde(default, rename = "eip", skip_serializing_if = "Vec::is_empty")]
    pub eips: Vec<Eip>,
    /// The associations.
    #[serde(default, rename = "association", skip_serializing_if = "Vec::is_empty")]
    pub associations: Vec<Association>,
}

impl From<Model> for Document {
    fn from(model: Model) -> Self {
        Self {
            pools: model.pools.into_values().collect(),
            vpcs: model.vpcs.into_values().collect(),
            instances: model.instances.into_values().collect(),
            enis: model.enis.into_values().collect(),
            eips: model.eips.into_values().collect(),
            associations: model.associations.into_values().collect(),
        }
    }
}

//! How the rules look at a table, and the table in memory.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use jiff::Timestamp;

use super::{
    Change, Pools,
    objects::{Association, Eip, Eni, Instance, Vpc},
};

/// The narrow questions that the rules ask of a table. A store answers each by an index.
///
/// Questions do not fail: a store that cannot answer remembers why, answers "nothing", and discards the decision.
pub trait View {
    /// All pools: few, so they are read at once.
    fn pools(&self) -> Pools;
    /// The VPC of that id.
    fn vpc(&self, id: &str) -> Option<Vpc>;
    /// The instance of that id.
    fn instance(&self, id: &str) -> Option<Instance>;
    /// The ENI of that id.
    fn eni(&self, id: &str) -> Option<Eni>;
    /// The EIP of that id.
    fn eip(&self, id: &str) -> Option<Eip>;
    /// The association of that EIP.
    fn association(&self, eip: &str) -> Option<Association>;
    /// The associations of that ENI.
    fn associations_of(&self, eni: &str) -> Vec<Association>;
    /// The id of the ENI that has this Ethernet address in the VPC.
    fn eni_by_mac(&self, vpc: &str, mac: super::objects::Mac) -> Option<String>;
    /// The id of the ENI that has this private address in the VPC.
    fn eni_by_address(&self, vpc: &str, address: IpAddr) -> Option<String>;
    /// The first ENI, by id, that the filter matches and `accept` takes.
    fn find_eni(
        &self,
        filter: EniFilter<'_>,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Option<String>;
    /// The id of the EIP that has this address.
    fn eip_by_address(&self, address: IpAddr) -> Option<String>;
    /// The first EIP, by address, between `first` and `last` that `accept` takes.
    fn find_eip(
        &self,
        first: IpAddr,
        last: IpAddr,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Option<String>;
    /// The lowest address between `first` and `last` that no EIP has.
    fn free_address(&self, first: IpAddr, last: IpAddr) -> Option<IpAddr>;
    /// The first VPC, by id, with a CIDR that shares addresses with `cidr` and that `accept` takes.
    fn find_vpc(&self, cidr: IpNet, accept: &mut dyn FnMut(&str) -> bool) -> Option<String>;
    /// The ids of the EIPs whose time is over at `now`, and that are not `expired` yet.
    fn due_eips(&self, now: Timestamp) -> Vec<String>;
    /// The earliest `expires_at` of an EIP that is not `expired` yet.
    fn next_expiry(&self) -> Option<Timestamp>;
    /// Every object, for the commands that compare whole tables.
    fn model(&self) -> Model;
}

/// Which ENIs [`View::find_eni`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EniFilter<'a> {
    /// Those of a VPC.
    Vpc(&'a str),
    /// Those that are attached to an instance.
    Instance(&'a str),
    /// The primary ones of an instance.
    PrimaryOf(&'a str),
    /// Those behind a port.
    Port(&'a str, Option<u16>),
}

/// A table in memory, by identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// The pools by prefix.
    pub pools: Pools,
    /// The VPCs by id.
    pub vpcs: BTreeMap<String, Vpc>,
    /// The instances by id.
    pub instances: BTreeMap<String, Instance>,
    /// The ENIs by id.
    pub enis: BTreeMap<String, Eni>,
    /// The EIPs by id.
    pub eips: BTreeMap<String, Eip>,
    /// The associations by the EIP's id.
    pub associations: BTreeMap<String, Association>,
}

impl Model {
    /// Makes the changes of a decision.
    pub fn change(&mut self, _changes: &[Change]) {
        todo!()
    }
}

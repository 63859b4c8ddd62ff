//! Who owns which address: the EIPs, and the ENIs' addresses.

use std::net::IpAddr;

use eip_dp_common::abi::{
    Checksummed, EipMode, EipRoute, NONE, SourceBinding, SourceKey, SourceState,
};

use super::{
    Address, Allocations, Eip, FamilyContent, InVpc, Private,
    enis::{Resolved, ResolvedEni},
    fill,
};
use crate::model::objects::{EniState, Mode};

/// Fills in the ENIs' addresses and the EIPs. Returns whether two ENIs have one address.
pub fn compile(
    v4: &mut FamilyContent<[u8; 4]>,
    v6: &mut FamilyContent<[u8; 16]>,
    allocations: &Allocations,
    scene: &Resolved<'_>,
) -> bool {
    let mut found = (Found::<[u8; 4]>::default(), Found::<[u8; 16]>::default());
    for placed in &scene.enis {
        found.0.eni(placed, allocations);
        found.1.eni(placed, allocations);
    }
    found.0.fill(v4, &scene.eips, allocations) | found.1.fill(v6, &scene.eips, allocations)
}

/// Adds the EIPs of the family that have no association. Both are in order.
fn with_silent<A: Address>(
    associated: Vec<(A, Eip<A>)>,
    all: &[IpAddr],
    allocations: &Allocations,
) -> Vec<(A, Eip<A>)> {
    let mut eips = Vec::with_capacity(all.len());
    let mut associated = associated.into_iter().peekable();
    for ip in all {
        let Some(address) = A::of(*ip) else { continue };
        while associated.next_if(|(next, _)| *next < address).is_some() {}
        if let Some(eip) = associated.next_if(|(next, _)| *next == address) {
            eips.push(eip);
        } else if let Some(slot) = allocations.slots.get(ip) {
            let entry = silent_eip(slot, EipMode::Unassociated).sealed(&address);
            eips.push((address, entry));
        } else {
            tracing::debug!(%ip, "left out: no counters are free");
        }
    }
    eips
}

/// The records of one family, in no order.
struct Found<A> {
    eips: Vec<(A, Eip<A>)>,
    private: Vec<(InVpc<A>, Private<A>)>,
}

impl<A> Default for Found<A> {
    fn default() -> Self {
        Self {
            eips: Vec::new(),
            private: Vec::new(),
        }
    }
}

impl<A: Address> Found<A> {
    fn fill(
        mut self,
        content: &mut FamilyContent<A>,
        all: &[IpAddr],
        allocations: &Allocations,
    ) -> bool {
        let FamilyContent { eips, private, .. } = content;
        std::thread::scope(|threads| {
            let addresses = threads.spawn(|| fill(private, self.private));
            self.eips.sort_by_key(|(address, _)| *address);
            fill(eips, with_silent(self.eips, all, allocations));
            addresses.join().expect("no part of the compiler panics")
        })
    }

    /// Adds an ENI's addresses, and its EIPs.
    fn eni(&mut self, placed: &ResolvedEni<'_>, allocations: &Allocations) {
        let (vpc, target) = (placed.vpc_index, placed.target);
        let stranded = placed.eni.state == EniState::Stranded;
        let quiet = match (stranded, target) {
            (true, _) => Some((EipMode::Stranded, SourceState::Stranded)),
            (false, None) => Some((EipMode::Detached, SourceState::Detached)),
            (false, Some(_)) => None,
        };
        // Where the link is down, packets from the Internet are counted as for a detached ENI; the
        // ENI's own addresses stay usable, so that its first packets after the link came up are not
        // lost.
        let link_up = placed.stand.as_ref().is_some_and(|stand| stand.link.up);
        let first = self.private.len();
        for one in placed.associations {
            let (Some(private), Some(eip)) = (A::of(one.private), A::of(one.eip)) else {
                continue;
            };
            let Some(slot) = allocations.slots.get(&one.eip) else {
                continue;
            };
            let (Some(vpc), Some(target), None) = (vpc, target, quiet) else {
                let mode = quiet.map_or(EipMode::Detached, |(mode, _)| mode);
                self.eips.push((eip, silent_eip(slot, mode).sealed(&eip)));
                continue;
            };
            let link = Association {
                private,
                eip,
                slot,
                target,
                vpc,
            };
            let (entry, key, address) = match one.mode {
                Mode::Nat => link.nat(),
                Mode::CutThrough => link.cut_through(),
            };
            let entry = if link_up {
                entry
            } else {
                silent_eip(slot, EipMode::Detached)
            };
            self.eips.push((eip, entry.sealed(&eip)));
            self.private.push((key, address.sealed(&key)));
        }
        let Some(vpc) = vpc else { return };
        let state = match quiet {
            Some((_, state)) => state,
            None if placed.is_cut_through() => SourceState::Off,
            None => SourceState::NoEip,
        };
        let last = self.private.len();
        for address in placed.eni.private_ips.iter().filter_map(|ip| A::of(*ip)) {
            let key = SourceKey { vpc, address };
            // Those that an EIP stands for are there.
            if !self.private[first..last]
                .iter()
                .any(|(there, _)| *there == key)
            {
                let entry = plain_address(state, target.unwrap_or(NONE));
                self.private.push((key, entry.sealed(&key)));
            }
        }
    }
}

/// An association that is in force.
struct Association<A> {
    private: A,
    eip: A,
    slot: u32,
    target: u32,
    vpc: u32,
}

impl<A: Address> Association<A> {
    fn nat(&self) -> (Eip<A>, InVpc<A>, Private<A>) {
        let eip = EipRoute {
            private: self.private,
            slot: self.slot,
            target: self.target,
            vpc: self.vpc,
            delta: A::delta(&self.eip, &self.private).to_record(),
            mode: EipMode::Nat as u8,
            reserved: 0,
            seal: 0,
        };
        let key = SourceKey {
            vpc: self.vpc,
            address: self.private,
        };
        let private = SourceBinding {
            public: self.eip,
            slot: self.slot,
            delta: A::delta(&self.private, &self.eip).to_record(),
            ..plain_address(SourceState::Nat, self.target)
        };
        (eip, key, private)
    }

    fn cut_through(&self) -> (Eip<A>, InVpc<A>, Private<A>) {
        let eip = EipRoute {
            private: self.eip,
            slot: self.slot,
            target: self.target,
            vpc: self.vpc,
            delta: 0,
            mode: EipMode::CutThrough as u8,
            reserved: 0,
            seal: 0,
        };
        let key = SourceKey {
            vpc: self.vpc,
            address: self.eip,
        };
        let private = SourceBinding {
            public: self.eip,
            slot: self.slot,
            ..plain_address(SourceState::CutThrough, self.target)
        };
        (eip, key, private)
    }
}

/// An EIP that nothing is delivered for.
fn silent_eip<A: Address>(slot: u32, mode: EipMode) -> Eip<A> {
    EipRoute {
        private: A::default(),
        slot,
        target: NONE,
        vpc: NONE,
        delta: 0,
        mode: mode as u8,
        reserved: 0,
        seal: 0,
    }
}

/// An address that no EIP stands for.
fn plain_address<A: Address>(state: SourceState, target: u32) -> Private<A> {
    SourceBinding {
        public: A::default(),
        slot: NONE,
        target,
        delta: 0,
        state: state as u8,
        reserved: 0,
        seal: 0,
    }
}

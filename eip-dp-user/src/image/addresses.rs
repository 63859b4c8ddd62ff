//! Who owns which address: the EIPs, and the ENIs' addresses.

use eip_dp_common::abi::{EipEntry, EipMode, NONE, PrivateEntry, PrivateKey, PrivateState, Sealed};

use super::{
    Address, Eip, Image, InVpc, Private,
    enis::{Placed, Scene},
    tag,
};
use crate::model::objects::{EniState, Mode};

/// Fills in the ENIs' addresses and the EIPs of one family.
pub fn compile<A: Address>(image: &mut Image, scene: &Scene<'_>) {
    for (ip, eip) in &scene.eips {
        let Some(address) = A::of(*ip) else { continue };
        if let Some(slot) = image.allocations.slots.get(ip) {
            let mode = EipMode::Unassociated;
            let entry = silent_eip(slot, mode).sealed(&address);
            A::part_mut(&mut image.content).eips.insert(address, entry);
        } else {
            tracing::debug!(eip = eip.id, "left out: no counters are free");
        }
    }
    for placed in &scene.enis {
        // Without an index of its VPC an ENI cannot be told from those of other VPCs.
        let vpc = image.allocations.vpcs.get(&tag(&placed.eni.vpc));
        compile_eni::<A>(image, placed, vpc);
    }
}

/// Fills in an ENI's addresses, and its EIPs.
fn compile_eni<A: Address>(image: &mut Image, placed: &Placed<'_>, vpc: Option<u32>) {
    let target = placed
        .stand
        .as_ref()
        .and_then(|_| image.allocations.targets.get(&placed.tag))
        .filter(|_| vpc.is_some());
    let stranded = placed.eni.state == EniState::Stranded;
    let quiet = match (stranded, target) {
        (true, _) => Some((EipMode::Stranded, PrivateState::Stranded)),
        (false, None) => Some((EipMode::Detached, PrivateState::Detached)),
        (false, Some(_)) => None,
    };
    // Where the link is down, packets from the Internet are counted as for a detached ENI; the ENI's own
    // addresses stay usable, so that its first packets after the link came up are not lost.
    let link_up = placed.stand.as_ref().is_some_and(|stand| stand.link.up);
    let content = A::part_mut(&mut image.content);
    if let Some(vpc) = vpc {
        let state = match quiet {
            Some((_, state)) => state,
            None if placed.is_cut_through() => PrivateState::Off,
            None => PrivateState::NoEip,
        };
        for address in placed.eni.private_ips.iter().filter_map(|ip| A::of(*ip)) {
            let key = PrivateKey { vpc, address };
            let entry = plain_address(state, target.unwrap_or(NONE));
            let before = content.private.insert(key, entry.sealed(&key));
            if before.is_some() {
                tracing::debug!(eni = placed.eni.id, "an address that another ENI has too");
            }
        }
    }
    for (private, ip, mode) in &placed.associations {
        let (Some(private), Some(eip)) = (A::of(*private), A::of(*ip)) else {
            continue;
        };
        let Some(slot) = image.allocations.slots.get(ip) else {
            continue;
        };
        let (Some(vpc), Some(target), None) = (vpc, target, quiet) else {
            let mode = quiet.map_or(EipMode::Detached, |(mode, _)| mode);
            let entry = silent_eip(slot, mode).sealed(&eip);
            content.eips.insert(eip, entry);
            continue;
        };
        let link = Association {
            private,
            eip,
            slot,
            target,
            vpc,
        };
        let (entry, key, address) = match mode {
            Mode::Nat => link.nat(),
            Mode::CutThrough => link.cut_through(),
        };
        let entry = if link_up {
            entry
        } else {
            silent_eip(slot, EipMode::Detached)
        };
        content.eips.insert(eip, entry.sealed(&eip));
        content.private.insert(key, address.sealed(&key));
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
        let eip = EipEntry {
            private: self.private,
            slot: self.slot,
            target: self.target,
            vpc: self.vpc,
            delta: A::delta(&self.eip, &self.private).to_record(),
            mode: EipMode::Nat as u8,
            reserved: 0,
            seal: 0,
        };
        let key = PrivateKey {
            vpc: self.vpc,
            address: self.private,
        };
        let private = PrivateEntry {
            public: self.eip,
            slot: self.slot,
            delta: A::delta(&self.private, &self.eip).to_record(),
            ..plain_address(PrivateState::Nat, self.target)
        };
        (eip, key, private)
    }

    fn cut_through(&self) -> (Eip<A>, InVpc<A>, Private<A>) {
        let eip = EipEntry {
            private: self.eip,
            slot: self.slot,
            target: self.target,
            vpc: self.vpc,
            delta: 0,
            mode: EipMode::CutThrough as u8,
            reserved: 0,
            seal: 0,
        };
        let key = PrivateKey {
            vpc: self.vpc,
            address: self.eip,
        };
        let private = PrivateEntry {
            public: self.eip,
            slot: self.slot,
            ..plain_address(PrivateState::CutThrough, self.target)
        };
        (eip, key, private)
    }
}

/// An EIP that nothing is delivered for.
fn silent_eip<A: Address>(slot: u32, mode: EipMode) -> Eip<A> {
    EipEntry {
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
fn plain_address<A: Address>(state: PrivateState, target: u32) -> Private<A> {
    PrivateEntry {
        public: A::default(),
        slot: NONE,
        target,
        delta: 0,
        state: state as u8,
        reserved: 0,
        seal: 0,
    }
}

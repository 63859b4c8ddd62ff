//! Tables that change while a packet is on its way: records that are gone, that are another key's,
//! as where the kernel hands out an element anew while it is read, and that hold what the daemon
//! may write in another state, or never.

use std::cell::{Cell, RefCell};

use super::{Buffer, World, dice::Dice, site::UPLINK, world::Kept};
use crate::{
    abi::{
        Checksummed, Cidr, EipRoute, LinkKey, MacKey, NONE, PREFIX_CHECKSUM, Port, PortMac, Prefix,
        Reason, SourceBinding, SourceKey, Target, Uplink,
    },
    budget::{EipBudget, EniBudget, Spend},
    family::NatObstacle,
    packet::Packet,
    pipeline::{Verdict, from_port, from_uplink},
    tables::{LinkTables, Scratch, Tables},
};

/// The tables, and what decides how each lookup ends.
struct Decay<'a, 'b> {
    world: &'a World,
    dice: RefCell<&'a mut Dice<'b>>,
    /// Whether a record was handed out that is another key's.
    torn: Cell<bool>,
}

impl Decay<'_, '_> {
    /// What a lookup finds: mostly what is there; `other` is another key's record, `odd` changes
    /// one by a rolled byte.
    fn find<T: Checksummed + PartialEq>(
        &self,
        key: &T::Key,
        into: &mut T,
        lookup: impl FnOnce(&mut T) -> bool,
        other: impl FnOnce(u8) -> Option<T>,
        odd: impl FnOnce(&mut T, u8),
    ) -> bool {
        let found = lookup(into);
        let (fate, roll) = {
            let mut dice = self.dice.borrow_mut();
            (dice.byte(), dice.byte())
        };
        match fate % 16 {
            13 => false,
            14 => match other(roll).filter(|other| !found || other != into) {
                Some(other) => {
                    *into = other;
                    // A record without a key in its seal (Prefix) fits every key.
                    self.torn.set(self.torn.get() || !into.is_consistent(key));
                    true
                }
                None => found,
            },
            15 if found => {
                odd(into, roll);
                *into = into.sealed(key);
                true
            }
            _ => found,
        }
    }
}

/// One of many.
fn nth<'a, T: Copy + 'a>(mut records: impl ExactSizeIterator<Item = &'a T>, roll: u8) -> Option<T> {
    let len = records.len();
    records.nth(usize::from(roll).checked_rem(len)?).copied()
}

impl LinkTables for Decay<'_, '_> {
    fn port(&self, key: &LinkKey, into: &mut Port) -> bool {
        let world = self.world;
        self.find(
            key,
            into,
            |into| world.port(key, into),
            |roll| nth(world.ports.values(), roll),
            |port, roll| port.vpc = u32::from(roll),
        )
    }

    fn mac(&self, key: &MacKey, into: &mut PortMac) -> bool {
        let world = self.world;
        self.find(
            key,
            into,
            |into| world.mac(key, into),
            |roll| nth(world.macs.values(), roll),
            |mac, roll| mac.target = u32::from(roll),
        )
    }

    fn target(&self, index: &u32, into: &mut Target) -> bool {
        let world = self.world;
        self.find(
            index,
            into,
            |into| world.target(index, into),
            |_| None,
            |target, roll| match roll % 3 {
                0 => target.mtu = u16::from(roll) * 8,
                1 => target.flags = u16::from(roll),
                _ => target.vpc = u32::from(roll),
            },
        )
    }

    fn instance(&self, index: &u32) -> u64 {
        let roll = self.dice.borrow_mut().byte();
        if roll % 16 == 15 {
            u64::from(roll / 16)
        } else {
            self.world.instance(index)
        }
    }

    fn uplink(&self, key: &LinkKey, into: &mut Uplink) -> bool {
        let world = self.world;
        self.find(
            key,
            into,
            |into| world.uplink(key, into),
            |roll| nth(world.uplinks.values(), roll),
            |uplink, _| (uplink.icmp_source4, uplink.icmp_source6) = ([0; 4], [0; 16]),
        )
    }

    fn answers(&self, slot: u32) -> u64 {
        self.world.answers(slot)
    }

    fn check_options<P: Packet>(
        &self,
        packet: &P,
        len: usize,
        sum: u32,
    ) -> Result<NatObstacle, Reason> {
        self.world.check_options(packet, len, sum)
    }

    fn walk_embedded_options<P: Packet>(
        &self,
        packet: &P,
        start: usize,
        len: usize,
    ) -> NatObstacle {
        self.world.walk_embedded_options(packet, start, len)
    }

    fn allow_eni(&self, _target: u32, _kind: EniBudget, _spend: Spend) -> bool {
        !self.dice.borrow_mut().one_in(4)
    }

    fn allow_eip(&self, _slot: u32, _receiver: u64, _kind: EipBudget, _spend: Spend) -> bool {
        !self.dice.borrow_mut().one_in(4)
    }

    fn allow_neighbour(&self, _target: u32, _ifindex: u32, _neighbour: u64) -> bool {
        !self.dice.borrow_mut().one_in(4)
    }

    fn neighbour_answers(&self, _ifindex: u32, _neighbour: u64) {}
}

impl<F: Kept> Tables<F> for Decay<'_, '_> {
    fn eip(&self, address: &F::Address, into: &mut EipRoute<F::Address>) -> bool {
        let world = self.world;
        self.find(
            address,
            into,
            |into| Tables::<F>::eip(world, address, into),
            |_| None,
            |eip, roll| match roll % 2 {
                0 => eip.mode = roll / 8,
                _ => eip.target = NONE - u32::from(roll / 2),
            },
        )
    }

    fn private(&self, key: &SourceKey<F::Address>, into: &mut SourceBinding<F::Address>) -> bool {
        let world = self.world;
        self.find(
            key,
            into,
            |into| Tables::<F>::private(world, key, into),
            |_| None,
            |private, roll| match roll % 2 {
                0 => private.state = roll / 8,
                _ => private.target = NONE - u32::from(roll / 2),
            },
        )
    }

    fn cidr(&self, index: &u32, into: &mut Cidr<F::Address>) -> bool {
        let world = self.world;
        self.find(
            index,
            into,
            |into| Tables::<F>::cidr(world, index, into),
            |roll| nth(F::of(world).cidrs.values(), roll),
            |cidr, roll| cidr.used = u32::from(roll),
        )
    }

    fn prefix(&self, address: &F::Address, into: &mut Prefix<F::Address>) -> bool {
        let world = self.world;
        self.find(
            &PREFIX_CHECKSUM,
            into,
            |into| Tables::<F>::prefix(world, address, into),
            |_| None,
            |prefix, roll| prefix.class = u32::from(roll),
        )
    }

    fn may_be_pool(&self, address: &F::Address) -> bool {
        Tables::<F>::may_be_pool(self.world, address)
    }

    fn with_scratch<R>(&self, path: impl FnOnce(&mut Scratch<F::Address>) -> R) -> Option<R> {
        Tables::<F>::with_scratch(self.world, path)
    }
}

/// Runs a frame from this interface through the path while the tables change as the dice say.
///
/// # Panics
/// If it is changed and not sent, or sent after a record was found that is another key's.
pub fn hold(world: &World, dice: &mut Dice<'_>, ifindex: u32, frame: &[u8]) {
    let tables = Decay {
        world,
        dice: RefCell::new(dice),
        torn: Cell::new(false),
    };
    let key = LinkKey::untagged(ifindex);
    let mut packet = Buffer::new(frame.to_vec());
    let outcome = if ifindex == UPLINK {
        from_uplink(&mut packet, &tables, key)
    } else {
        from_port(&mut packet, &tables, key)
    };
    let goes_on = match outcome.verdict {
        Verdict::Send | Verdict::SendUnresolved | Verdict::SendToNeighbour | Verdict::Reply => true,
        // The tables that only say as whom a sender is told may change before.
        Verdict::IcmpError(_) => return,
        Verdict::Pass
        | Verdict::PuntToDaemon
        | Verdict::Fragment
        | Verdict::Ping
        | Verdict::Punt
        | Verdict::Drop(_) => false,
    };
    let kernel_refused = outcome.verdict == Verdict::Drop(Reason::KernelRefused);
    assert!(!kernel_refused, "a write outside the frame");
    assert!(!(goes_on && tables.torn.get()), "{outcome:?}");
    assert!(goes_on || packet.bytes == frame, "{outcome:?}");
}

//! Where the tables are, and how a record is read.

use crate::{
    abi::{
        Address, AddressClass, Checksummed, Cidr, EipRoute, LinkKey, MAX_CIDRS, MacKey,
        PREFIX_CHECKSUM, Port, PortMac, Prefix, Reason, SourceBinding, SourceKey, Target,
        UPLINK_TARGET4, UPLINK_TARGET6, Uplink,
    },
    budget::{EipBudget, EniBudget, Spend},
    family::{Family, NatObstacle},
    packet::Packet,
};

/// The tables of one address family. Each method writes a copy of what the table holds now to
/// `into`; false where there is nothing. EIPs, addresses of ENIs and targets are whole; of the
/// others their seal says whether they are.
pub trait Tables<F: Family>: LinkTables {
    /// The EIP with this address.
    fn eip(&self, address: &F::Address, into: &mut EipRoute<F::Address>) -> bool;
    /// The address of an ENI.
    fn private(&self, key: &SourceKey<F::Address>, into: &mut SourceBinding<F::Address>) -> bool;
    /// A CIDR of a VPC, by [`Cidr::index`].
    fn cidr(&self, index: &u32, into: &mut Cidr<F::Address>) -> bool;
    /// Whether an address may be in a CIDR of a VPC; if not, it certainly is in none.
    fn may_be_inside(&self, vpc: u32, address: &F::Address) -> bool
    where
        Self: Sized,
    {
        let mut cidr = Cidr::zeroed();
        locate::<F, Self>(&mut cidr, self, vpc, address) != Ok(Place::Outside)
    }
    /// The longest prefix that an address is in, see [`Prefix`].
    fn prefix(&self, address: &F::Address, into: &mut Prefix<F::Address>) -> bool;
    /// Whether a pool may have the address, see [`Family::prefilter`].
    fn may_be_pool(&self, address: &F::Address) -> bool;
    /// Has what an EIP's entry most likely leads to fetched while the entry is, see
    /// [`crate::cuckoo::home`]. Nothing waits for it.
    fn prefetch_eip(&self, _address: &F::Address) {}
    /// Likewise of the address of an ENI with this MAC.
    fn prefetch_source(&self, _key: &SourceKey<F::Address>, _mac: [u8; 6]) {}
    /// Runs `path` with room for its records. `None` if there is none, which no kernel does.
    fn with_scratch<R>(&self, path: impl FnOnce(&mut Scratch<F::Address>) -> R) -> Option<R>;
}

/// Room for the options of an IPv4 header, and for what their walk has to remember: what is read
/// here the verifier knows nothing of, so that it has the same picture of it on every way.
#[repr(C)]
#[derive(Debug)]
pub struct Options {
    /// The options; the length is a power of two.
    pub bytes: [u8; 64],
    /// How many bytes they have.
    pub len: Opaque,
    /// Where the next one is.
    pub next: Opaque,
    /// What was found in them.
    pub found: Opaque,
}

/// A number that is stored and read when the program says so, and not kept in a register.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Opaque(u16);

impl Opaque {
    /// Stores a number below 2^16.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a place among options")]
    pub fn set(&mut self, value: usize) {
        // SAFETY: a pointer made of a reference.
        unsafe { (&raw mut self.0).write_volatile(value as u16) };
    }

    /// Reads it.
    #[inline(always)]
    pub fn get(&self) -> usize {
        // SAFETY: as in `set`.
        usize::from(unsafe { (&raw const self.0).read_volatile() })
    }
}

impl Options {
    /// None.
    pub fn new() -> Self {
        Self {
            bytes: [0; 64],
            len: Opaque::default(),
            next: Opaque::default(),
            found: Opaque::default(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Room for the records that are looked up on a packet's way: too much for the stack of a BPF
/// program where addresses are long.
#[repr(C)]
pub struct Scratch<A: Address> {
    /// The ENI that sent the packet.
    pub sender: Target,
    /// Where it goes.
    pub target: Target,
    /// An EIP.
    pub eip: EipRoute<A>,
    /// Whose the source address is.
    pub owner: SourceBinding<A>,
    /// Another private address.
    pub other: SourceBinding<A>,
    /// A CIDR of the VPC.
    pub cidr: Cidr<A>,
    /// A prefix.
    pub prefix: Prefix<A>,
    /// An uplink.
    pub uplink: Uplink,
}

impl<A: Address> Scratch<A> {
    /// Nothing was looked up.
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            sender: Target::zeroed(),
            target: Target::zeroed(),
            eip: EipRoute::zeroed(),
            owner: SourceBinding::zeroed(),
            other: SourceBinding::zeroed(),
            cidr: Cidr::zeroed(),
            prefix: Prefix::zeroed(),
            uplink: Uplink::zeroed(),
        }
    }
}

impl<A: Address> Default for Scratch<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// The tables that both families share; see [`Tables`].
pub trait LinkTables {
    /// A port, by interface.
    fn port(&self, key: &LinkKey, into: &mut Port) -> bool;
    /// An ENI, by the MAC that it has on a port.
    fn mac(&self, key: &MacKey, into: &mut PortMac) -> bool;
    /// Where to deliver; whose it is only [`Self::instance`] says.
    fn target(&self, index: &u32, into: &mut Target) -> bool;
    /// The target of an EIP's ENI.
    fn receiver<A>(&self, eip: &EipRoute<A>, into: &mut Target) -> bool {
        self.target(&eip.target, into)
    }
    /// The instance that a target's ENI is attached to, see [`Target::instance`].
    fn instance(&self, index: &u32) -> u64;
    /// An uplink, by interface.
    fn uplink(&self, key: &LinkKey, into: &mut Uplink) -> bool;
    /// On which uplinks ARP and neighbour discovery are answered for the EIP with this slot: a bit
    /// for each [`Uplink::number`].
    fn answers(&self, slot: u32) -> u64;
    /// [`crate::family::v4::check_options`], with room for them.
    ///
    /// # Errors
    /// What that finds, or [`Reason::KernelRefused`] where there is no room, as on no kernel.
    fn check_options<P: Packet>(
        &self,
        packet: &P,
        len: usize,
        sum: u32,
    ) -> Result<NatObstacle, Reason>;
    /// [`crate::family::v4::walk_embedded_options`], with room for them.
    fn walk_embedded_options<P: Packet>(&self, packet: &P, start: usize, len: usize)
    -> NatObstacle;
    /// Whether the gateway does one thing more of this kind for the ENI with this target.
    fn allow_eni(&self, target: u32, kind: EniBudget, spend: Spend) -> bool;
    /// Whether it tells somebody on the Internet of a packet for the EIP with this slot; `receiver`
    /// is whom, folded.
    fn allow_eip(&self, slot: u32, receiver: u64, kind: EipBudget, spend: Spend) -> bool;
    /// Whether the ENI with this target may send to an address on the link of an uplink, folded to
    /// `neighbour`: one that answers, or that there is a budget to ask for.
    fn allow_neighbour(&self, target: u32, ifindex: u32, neighbour: u64) -> bool;
    /// Notes that such an address answers.
    fn neighbour_answers(&self, ifindex: u32, neighbour: u64);
}

/// Looks a record up and writes it to `record`; false where there is none.
///
/// The caller's place, and not an `Option`, because the verifier refuses the compiler's spills of a
/// record that is only there on one of two ways.
///
/// # Errors
/// [`Reason::TableBusy`] if it is being changed in this moment. Looking again would mostly help,
/// but costs each program a second copy of every lookup for a case of nanoseconds.
#[inline(always)]
pub fn find<T: Checksummed>(
    record: &mut T,
    key: &T::Key,
    lookup: impl FnOnce(&T::Key, &mut T) -> bool,
) -> Result<bool, Reason> {
    if !lookup(key, record) {
        return Ok(false);
    }
    if record.is_consistent(key) {
        Ok(true)
    } else {
        Err(Reason::TableBusy)
    }
}

/// Looks the target with this index up.
///
/// # Errors
/// [`Reason::NoNextHop`] where there is no uplink to send to, [`Reason::TableBusy`] where another
/// target is missing.
#[inline(always)]
pub fn target<L: LinkTables>(target: &mut Target, links: &L, index: u32) -> Result<(), Reason> {
    if links.target(&index, target) && target.ifindex != 0 {
        Ok(())
    } else if index == UPLINK_TARGET4 || index == UPLINK_TARGET6 {
        Err(Reason::NoNextHop)
    } else {
        Err(Reason::TableBusy)
    }
}

/// Looks the target up that an EIP's packets go to, or the uplink's that stands in its place.
///
/// # Errors
/// As [`target`]'s.
#[inline(always)]
pub fn receiver<L: LinkTables, A>(
    target: &mut Target,
    links: &L,
    eip: &EipRoute<A>,
) -> Result<(), Reason> {
    if links.receiver(eip, target) && target.ifindex != 0 {
        Ok(())
    } else if eip.target == UPLINK_TARGET4 || eip.target == UPLINK_TARGET6 {
        Err(Reason::NoNextHop)
    } else {
        Err(Reason::TableBusy)
    }
}

/// What an address is that is no EIP.
///
/// # Errors
/// [`Reason::TableBusy`] if that is being changed, [`Reason::BadRecord`].
#[inline(always)]
pub fn class<F: Family, T: Tables<F>>(
    prefix: &mut Prefix<F::Address>,
    tables: &T,
    address: &F::Address,
) -> Result<Option<AddressClass>, Reason> {
    if !find(prefix, &PREFIX_CHECKSUM, |_, into| {
        tables.prefix(address, into)
    })? {
        return Ok(None);
    }
    match AddressClass::from_value(prefix.class) {
        Some(class) => Ok(Some(class)),
        None => Err(Reason::BadRecord),
    }
}

/// Where `address` is, seen from the VPC; inside, `cidr` is the one that it is in.
///
/// # Errors
/// [`Reason::TableBusy`] if the VPC is being changed.
#[inline(always)]
pub fn locate<F: Family, T: Tables<F>>(
    cidr: &mut Cidr<F::Address>,
    tables: &T,
    vpc: u32,
    address: &F::Address,
) -> Result<Place, Reason> {
    let mut place = 0;
    while place < MAX_CIDRS {
        let index = Cidr::<F::Address>::index(vpc, place);
        if !tables.cidr(&index, cidr) || cidr.used == 0 {
            break;
        }
        if !cidr.is_consistent(&index) {
            return Err(Reason::TableBusy);
        }
        if F::mask(address, &cidr.mask) == cidr.network {
            return Ok(if cidr.gateway == *address {
                Place::Gateway
            } else {
                Place::Inside
            });
        }
        place += 1;
    }
    Ok(Place::Outside)
}

/// Where an address is, seen from a VPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In none of its CIDRs.
    Outside = 0,
    /// In one of them.
    Inside = 1,
    /// In one of them, and its router.
    Gateway = 2,
}

impl Place {
    /// The one with this number.
    #[inline(always)]
    pub const fn from_number(number: usize) -> Self {
        match number {
            0 => Self::Outside,
            1 => Self::Inside,
            _ => Self::Gateway,
        }
    }
}

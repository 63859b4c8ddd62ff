//! Where the tables are, and how a record is read.

use crate::{
    abi::{
        AddressClass, Cidr, EipEntry, LinkKey, MAX_CIDRS, MacKey, PREFIX_SEAL, Port, PortMac,
        Prefix, PrivateEntry, PrivateKey, Reason, Sealed, Target, UPLINK_TARGET4, UPLINK_TARGET6,
        Uplink,
    },
    family::Family,
};

/// The tables of one address family. Each method gives a copy of what the table holds now, whole or not.
pub trait Tables<F: Family>: Links {
    /// The EIP with this address.
    fn eip(&self, address: &F::Address) -> Option<EipEntry<F::Address>>;
    /// The address of an ENI.
    fn private(&self, key: &PrivateKey<F::Address>) -> Option<PrivateEntry<F::Address>>;
    /// A CIDR of a VPC, by [`Cidr::index`].
    fn cidr(&self, index: &u32) -> Option<Cidr<F::Address>>;
    /// The longest prefix that an address is in, see [`Prefix`].
    fn prefix(&self, address: &F::Address) -> Option<Prefix<F::Address>>;
    /// Whether a pool may have the address, see [`Family::screen`].
    fn is_screened(&self, address: &F::Address) -> bool;
}

/// The tables that both families share.
pub trait Links {
    /// A port, by interface.
    fn port(&self, key: &LinkKey) -> Option<Port>;
    /// An ENI, by the MAC that it has on a port.
    fn mac(&self, key: &MacKey) -> Option<PortMac>;
    /// Where to deliver.
    fn target(&self, index: &u32) -> Option<Target>;
    /// An uplink, by interface.
    fn uplink(&self, key: &LinkKey) -> Option<Uplink>;
    /// Whether one more ICMP error may be sent to the receiver whose address is folded to `receiver`; it counts as sent if
    /// `sends`.
    fn may_tell(&self, receiver: u64, sends: bool) -> bool;
}

/// Looks a record up and writes it to `record`; false where there is none, and `record` stays as it was.
///
/// The caller's place, and not an `Option`, because the verifier refuses the compiler's spills of a record that is only
/// there on one of two ways.
///
/// # Errors
/// [`Reason::TableBusy`] if it is being changed in this moment. Looking again would mostly help, but costs each program
/// a second copy of every lookup for a case of nanoseconds.
#[inline(always)]
pub fn find<T: Sealed>(
    record: &mut T,
    key: &T::Key,
    lookup: impl FnOnce(&T::Key) -> Option<T>,
) -> Result<bool, Reason> {
    match lookup(key) {
        None => Ok(false),
        Some(found) => {
            *record = found;
            if record.is_intact(key) {
                Ok(true)
            } else {
                Err(Reason::TableBusy)
            }
        }
    }
}

/// The target with this index.
///
/// # Errors
/// [`Reason::NoNextHop`] where there is no uplink to send to, [`Reason::TableBusy`] where another target is missing.
#[inline(always)]
pub fn target<L: Links>(links: &L, index: u32) -> Result<Target, Reason> {
    let mut target = Target::zeroed();
    if let Some(found) = links.target(&index) {
        target = found;
    }
    if target.ifindex == 0 && (index == UPLINK_TARGET4 || index == UPLINK_TARGET6) {
        Err(Reason::NoNextHop)
    } else if target.is_intact(&index) {
        Ok(target)
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
    tables: &T,
    address: &F::Address,
) -> Result<Option<AddressClass>, Reason> {
    let mut prefix = Prefix::<F::Address>::zeroed();
    if !find(&mut prefix, &PREFIX_SEAL, |_| tables.prefix(address))? {
        return Ok(None);
    }
    match AddressClass::from_value(prefix.class) {
        Some(class) => Ok(Some(class)),
        None => Err(Reason::BadRecord),
    }
}

/// Whether `address` is in a CIDR of the VPC, and if so, whether it is that CIDR's gateway.
///
/// # Errors
/// [`Reason::TableBusy`] if the VPC is being changed.
#[inline(always)]
pub fn locate<F: Family, T: Tables<F>>(
    tables: &T,
    vpc: u32,
    address: &F::Address,
) -> Result<Place, Reason> {
    let mut cidr = Cidr::<F::Address>::zeroed();
    Ok(if !find_cidr::<F, T>(&mut cidr, tables, vpc, address)? {
        Place::Outside
    } else if cidr.gateway == *address {
        Place::Gateway
    } else {
        Place::Inside
    })
}

/// The router of the VPC's CIDR that `address` is in.
#[inline(always)]
pub fn gateway_in_vpc<F: Family, T: Tables<F>>(
    tables: &T,
    vpc: u32,
    address: &F::Address,
) -> Option<F::Address> {
    let mut cidr = Cidr::<F::Address>::zeroed();
    match find_cidr::<F, T>(&mut cidr, tables, vpc, address) {
        Ok(true) => Some(cidr.gateway),
        Ok(false) | Err(_) => None,
    }
}

/// The router of the pool that `address` is in, if that has one.
#[inline(always)]
pub fn gateway_of_pool<F: Family, T: Tables<F>>(
    tables: &T,
    address: &F::Address,
) -> Option<F::Address> {
    let mut prefix = Prefix::<F::Address>::zeroed();
    match find(&mut prefix, &PREFIX_SEAL, |_| tables.prefix(address)) {
        Ok(true) if !F::is_unspecified(&prefix.gateway) => Some(prefix.gateway),
        Ok(_) | Err(_) => None,
    }
}

/// Looks for the VPC's CIDR that `address` is in.
#[inline(always)]
fn find_cidr<F: Family, T: Tables<F>>(
    cidr: &mut Cidr<F::Address>,
    tables: &T,
    vpc: u32,
    address: &F::Address,
) -> Result<bool, Reason> {
    let mut place = 0;
    while place < MAX_CIDRS {
        let index = Cidr::<F::Address>::index(vpc, place);
        *cidr = Cidr::zeroed();
        if let Some(found) = tables.cidr(&index) {
            *cidr = found;
        }
        if cidr.used == 0 {
            break;
        }
        if !cidr.is_intact(&index) {
            return Err(Reason::TableBusy);
        }
        if F::mask(address, &cidr.mask) == cidr.network {
            return Ok(true);
        }
        place += 1;
    }
    Ok(false)
}

/// Where an address is, seen from a VPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In none of its CIDRs.
    Outside,
    /// In one of them.
    Inside,
    /// In one of them, and its router.
    Gateway,
}

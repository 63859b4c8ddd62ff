//! Changes as bytes, for the log: field after field, in the order in which they are listed here.
//!
//! Nothing tells one layout from another: an object with another field is a new version of the
//! schema, and the way there empties the log.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use jiff::Timestamp;

use super::encode::time;
use crate::model::{
    Change, Diff, Vlan,
    objects::{
        AddressRange, Announce, Antispoof, Association, Eip, EipState, Eni, EniKind, EniState,
        Former, Instance, Mac, Mode, Pool, PoolGateway, Rebind, Vpc,
    },
};

/// The changes as bytes; `None` if there are more of these than `limit`.
pub(super) fn encode(changes: &[Change], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for change in changes {
        change.put(&mut out);
        if out.len() > limit {
            return None;
        }
    }
    Some(out)
}

/// Reads changes behind those that are there already; `None` when the bytes are none.
pub(super) fn decode(mut bytes: &[u8], changes: &mut Vec<Change>) -> Option<()> {
    while !bytes.is_empty() {
        changes.push(Change::get(&mut bytes)?);
    }
    Some(())
}

/// Reads changes that anybody may have written, and holds what was understood against what is
/// written of it.
///
/// # Panics
/// If the two are not the same, or if something else does not hold of a change that was read.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn hold(bytes: &[u8]) -> bool {
    let mut changes = Vec::new();
    if decode(bytes, &mut changes).is_none() {
        return false;
    }
    let written = encode(&changes, usize::MAX).expect("no limit");
    assert!(written.len() <= bytes.len(), "longer than it was");
    let mut again = Vec::new();
    decode(&written, &mut again).expect("it was written here");
    assert_eq!(changes, again);
    for change in &changes {
        // What the log and `apply` say of it.
        let _ = (change.to_string(), change.object());
    }
    true
}

trait Record: Sized {
    fn put(&self, out: &mut Vec<u8>);
    /// Takes the value from the front of what is left.
    fn get(from: &mut &[u8]) -> Option<Self>;
}

/// Objects, by their fields.
macro_rules! objects {
    ($($type:ident $(<$parameter:ident>)? { $($field:ident),+ })+) => {$(
        impl $(<$parameter: Record>)? Record for $type $(<$parameter>)? {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),+ } = self;
                $($field.put(out);)+
            }

            fn get(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: Record::get(from)?),+ })
            }
        }
    )+};
}

objects! {
    Diff<T> { before, after }
    Pool { cidr, gateway, reserve, priority }
    AddressRange { first, last }
    Vpc { id, cidrs, gateway, vni }
    Instance { id, max_enis }
    Eni { id, vpc, kind, mac, private_ips, shared_ips, region, antispoof, state, instance, port, vlan, force, rebind, bound }
    Vlan { outer, id }
    Eip { id, address, region, expires_at, state, announce, former }
    Former { eni, private_ip, mode }
    Association { eip, eni, private_ip, mode }
}

/// Enums: a byte for the variant, then what it holds.
macro_rules! enums {
    ($($type:ident $(<$parameter:ident>)? { $($number:literal: $variant:ident $(($value:ident))?),+ })+) => {$(
        impl $(<$parameter: Record>)? Record for $type $(<$parameter>)? {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $(($value))? => {
                        out.push($number);
                        $($value.put(out);)?
                    })+
                }
            }

            fn get(from: &mut &[u8]) -> Option<Self> {
                match u8::get(from)? {
                    $($number => {
                        $(let $value = Record::get(from)?;)?
                        Some(Self::$variant $(($value))?)
                    })+
                    _ => None,
                }
            }
        }
    )+};
}

enums! {
    Change { 0: Pool(diff), 1: Vpc(diff), 2: Instance(diff), 3: Eni(diff), 4: Eip(diff), 5: Association(diff) }
    Option<T> { 0: None, 1: Some(value) }
    PoolGateway { 0: None, 1: Address(address) }
    EniKind { 0: Primary, 1: Secondary }
    Antispoof { 0: Instance, 1: Eni }
    Rebind { 0: Name, 1: Never }
    Announce { 0: Auto, 1: Always }
    EniState { 0: Detached, 1: Attached, 2: Stranded }
    EipState { 0: Free, 1: Associated, 2: Expired }
    Mode { 0: Nat, 1: CutThrough }
    IpAddr { 4: V4(v4), 6: V6(v6) }
}

/// Integers, little-endian.
macro_rules! integers {
    ($($type:ty),+) => {$(
        impl Record for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn get(from: &mut &[u8]) -> Option<Self> {
                <[u8; size_of::<Self>()]>::get(from).map(Self::from_le_bytes)
            }
        }
    )+};
}

integers!(u8, u16, u32, i64);

impl Record for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        match u8::get(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<const N: usize> Record for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        let (bytes, rest) = from.split_first_chunk()?;
        *from = rest;
        Some(*bytes)
    }
}

/// A number of things, seven bits a byte, the low ones first.
impl Record for usize {
    fn put(&self, out: &mut Vec<u8>) {
        let mut left = *self;
        loop {
            let [low, ..] = left.to_le_bytes();
            left >>= 7;
            if left == 0 {
                return out.push(low);
            }
            out.push(low | 0x80);
        }
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        let mut number = 0;
        for shift in (0..Self::BITS).step_by(7) {
            let byte = u8::get(from)?;
            number |= Self::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl Record for String {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        let length = usize::get(from)?;
        let (bytes, rest) = from.split_at_checked(length)?;
        *from = rest;
        str::from_utf8(bytes).ok().map(str::to_owned)
    }
}

impl<T: Record> Record for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        for one in self {
            one.put(out);
        }
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        let length = usize::get(from)?;
        (0..length).map(|_| T::get(from)).collect()
    }
}

impl Record for Mac {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        Record::get(from).map(Self)
    }
}

impl Record for Ipv4Addr {
    fn put(&self, out: &mut Vec<u8>) {
        self.octets().put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        <[u8; 4]>::get(from).map(Self::from)
    }
}

impl Record for Ipv6Addr {
    fn put(&self, out: &mut Vec<u8>) {
        self.octets().put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        <[u8; 16]>::get(from).map(Self::from)
    }
}

impl Record for IpNet {
    fn put(&self, out: &mut Vec<u8>) {
        self.addr().put(out);
        self.prefix_len().put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        Self::new(IpAddr::get(from)?, u8::get(from)?).ok()
    }
}

/// To the microsecond, as the table keeps it.
impl Record for Timestamp {
    fn put(&self, out: &mut Vec<u8>) {
        time(*self).put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        Self::from_microsecond(i64::get(from)?).ok()
    }
}

//! What an operator, or the daemon, can ask of the table: one variant for each verb that changes
//! it.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{
    Document, Vlan,
    objects::{
        AddressRange, Announce, Antispoof, EniKind, Instance, Mac, Malformed, Mode, Pool,
        PoolGateway, Rebind, Vpc,
    },
};

/// A change that is asked for. All of it happens, or nothing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `pool create`.
    PoolCreate(Pool),
    /// `pool delete`.
    PoolDelete {
        /// The pool.
        cidr: IpNet,
    },
    /// `pool set`.
    PoolSet {
        /// The pool.
        cidr: IpNet,
        /// Its gateway from now on: none named is the default one.
        gateway: Option<OrNone<PoolGateway>>,
        /// Its reserved ranges from now on.
        reserve: Option<Vec<AddressRange>>,
        /// Its place among the pools from now on.
        priority: Option<u16>,
    },
    /// `vpc create`.
    VpcCreate(Vpc),
    /// `vpc set`.
    VpcSet {
        /// The VPC.
        id: String,
        /// CIDRs that it gets, behind those that it has.
        add: Vec<IpNet>,
        /// CIDRs that it loses.
        remove: Vec<IpNet>,
        /// Its gateway from now on: none named is the default one.
        gateway: Option<OrNone<IpAddr>>,
        /// Its VXLAN network identifier from now on.
        vni: Option<OrNone<u32>>,
    },
    /// `vpc delete`.
    VpcDelete {
        /// The VPC.
        id: String,
    },
    /// `instance create`.
    InstanceCreate(Instance),
    /// `instance set`.
    InstanceSet {
        /// The instance.
        id: String,
        /// How many ENIs it takes from now on: none named is no limit.
        max_enis: Option<OrNone<u32>>,
    },
    /// `instance delete`: takes its primary ENI along.
    InstanceDelete {
        /// The instance.
        id: String,
    },
    /// `eni create`: the new ENI is detached.
    EniCreate(EniSpec),
    /// `eni set`.
    EniSet {
        /// The ENI.
        id: String,
        /// Its Ethernet address from now on.
        mac: Option<Mac>,
        /// Its region from now on.
        region: Option<OrNone<String>>,
        /// Whose source addresses its port accepts from now on.
        antispoof: Option<Antispoof>,
    },
    /// `eni attach`: of a detached ENI, or a move of one that is attached.
    EniAttach {
        /// The ENI.
        id: String,
        /// The instance that gets it.
        instance: String,
        /// The interface behind which it stands.
        port: String,
        /// The VLAN on that interface.
        vlan: Option<Vlan>,
        /// Whether the port may be one that the host itself uses.
        force: bool,
        /// Whether an interface that is made anew under the port's name is that port; left out, as
        /// before, where the ENI is there already.
        rebind: Option<Rebind>,
    },
    /// Notes which interface the port of an ENI with [`Rebind::Never`] is; the daemon's, when it
    /// has seen the interface.
    EniBind {
        /// The ENI.
        id: String,
        /// The interface, as [`super::objects::Eni::bound`] has it.
        bound: String,
    },
    /// `eni detach`.
    EniDetach {
        /// The ENI.
        id: String,
    },
    /// `eni add-ip`.
    EniAddIp {
        /// The ENI.
        id: String,
        /// The new private IP, behind those that it has.
        address: IpAddr,
        /// Whether other ENIs of the VPC may have it too.
        shared: bool,
    },
    /// `eni remove-ip`.
    EniRemoveIp {
        /// The ENI.
        id: String,
        /// The private IP that goes.
        address: IpAddr,
    },
    /// `eni delete`.
    EniDelete {
        /// The ENI.
        id: String,
    },
    /// `eip create`.
    EipCreate(EipSpec),
    /// `eip set`.
    EipSet {
        /// The EIP.
        id: String,
        /// When it ends from now on; left out, nothing changes.
        expires: Option<Expiry>,
        /// When it is announced from now on; left out, nothing changes.
        announce: Option<Announce>,
    },
    /// `eip release`.
    EipRelease {
        /// The EIP.
        id: String,
    },
    /// `associate`.
    Associate {
        /// The EIP.
        eip: String,
        /// The ENI.
        eni: String,
        /// How packets change.
        mode: Mode,
        /// The private IP that the EIP stands for; left out, the ENI's primary private IP of the
        /// EIP's family.
        private_ip: Option<IpAddr>,
    },
    /// `disassociate`.
    Disassociate {
        /// The EIP.
        eip: String,
    },
    /// `apply`: makes the table what the document says.
    Apply {
        /// The wanted objects.
        document: Document,
        /// Whether what the document leaves out is deleted.
        prune: Prune,
    },
    /// Ends every association whose EIP's time is over; the daemon's, when
    /// [`super::View::next_expiry`] is reached.
    Expire,
}

impl Command {
    /// Whether it matters to the command which addresses the host and its next hops have: none of
    /// them becomes an EIP, and none that became one of them is associated.
    pub fn may_serve_eips(&self) -> bool {
        matches!(
            self,
            Self::EipCreate(_)
                | Self::EipSet {
                    expires: Some(_),
                    ..
                }
                | Self::Associate { .. }
                | Self::Apply { .. }
        )
    }

    /// Whether it matters to the command what the host uses itself: no ENI gets that unasked.
    pub fn may_attach(&self) -> bool {
        matches!(self, Self::EniAttach { .. } | Self::Apply { .. })
    }

    /// Whether it may be the first one of all, for which there need be no table.
    pub fn makes_a_table(&self) -> bool {
        matches!(
            self,
            Self::PoolCreate(_)
                | Self::VpcCreate(_)
                | Self::InstanceCreate(_)
                | Self::EniCreate(_)
                | Self::EipCreate(_)
                | Self::Apply { .. }
        )
    }
}

/// What a field becomes: a value, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrNone<T>(pub Option<T>);

/// What `apply` does with objects that the document leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prune {
    /// They stay.
    No,
    /// They are deleted, unless that is all of a kind, or more than half of the associations: then
    /// the command is refused, because the document is hardly the one that was meant.
    Few,
    /// They are deleted, however many.
    All,
}

/// A new ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniSpec {
    /// Identity.
    pub id: String,
    /// The VPC that it belongs to.
    pub vpc: String,
    /// Primary or secondary.
    pub kind: EniKind,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its private addresses, the primary one first.
    pub private_ips: Vec<IpAddr>,
    /// Its region.
    pub region: Option<String>,
    /// Whose source addresses its port accepts.
    pub antispoof: Antispoof,
}

/// A new EIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EipSpec {
    /// Identity.
    pub id: String,
    /// Its address; left out, the lowest free one of `pool`.
    pub address: Option<IpAddr>,
    /// The pool to take an address of; left out, the first that has one: of the IPv4 pools, or
    /// where there are none, of the IPv6 pools.
    pub pool: Option<IpNet>,
    /// Its region.
    pub region: Option<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// The argument of `eip set --expires`: a time or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It ends then.
    At(Timestamp),
    /// It does not end by itself.
    Never,
}

impl Expiry {
    /// When it ends; `None`: never.
    pub fn end(self) -> Option<Timestamp> {
        match self {
            Self::At(end) => Some(end),
            Self::Never => None,
        }
    }
}

/// A time with its offset (RFC 3339), a date (its first moment, UTC), `+30d` from now on (units
/// `w`, `d`, `h`, `m`, `s`), or `never`, which a year of 9999 or more means in other programs'
/// tables.
impl FromStr for Expiry {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || {
            Malformed::new(
                text,
                "a time such as 2030-01-01T00:00:00Z, a date such as 2030-01-01, a time from now on such as +30d, \
                 or `never`",
            )
        };
        if text == "never" {
            return Ok(Self::Never);
        }
        if let Some(later) = text.strip_prefix('+') {
            let end = later_by(later).and_then(|span| Timestamp::now().checked_add(span).ok());
            return end.map(Self::At).ok_or_else(malformed);
        }
        if let Ok(end) = text.parse::<Timestamp>()
            && !text.starts_with("9999-")
        {
            return Ok(Self::At(end));
        }
        let (day, rest) = text.split_at_checked(10).unwrap_or((text, ""));
        let date: Date = day.parse().map_err(|_| malformed())?;
        // The last times of that year are none to jiff, whose year ends a day before.
        if date.year() == 9999 && (rest.is_empty() || rest.starts_with(['T', 't', ' '])) {
            return Ok(Self::Never);
        }
        let start = date.to_zoned(TimeZone::UTC).ok();
        let start = start.filter(|_| rest.is_empty()).ok_or_else(malformed)?;
        Ok(Self::At(start.timestamp()))
    }
}

/// A number of weeks, days (of 24 hours), hours, minutes or seconds.
fn later_by(text: &str) -> Option<SignedDuration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "w" => 7 * 86_400,
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    Some(SignedDuration::from_secs(i64::from(number) * seconds))
}

/// A command that is not put to the rules at all: an argument cannot be meant, whatever the table
/// holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unacceptable(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let at = |text: &str| text.parse::<Expiry>().ok().and_then(Expiry::end);
        let utc = at("2030-01-01T00:00:00Z").expect("a time");
        assert_eq!(at("2030-01-01T01:00:00+01:00"), Some(utc));
        assert_eq!(at("2030-01-01"), Some(utc));
        assert_eq!(at("2030-01-01 00:00:00Z"), Some(utc));
        let later = at("+30d").expect("a time").duration_since(Timestamp::now());
        assert!((30 * 86_400 - 60..=30 * 86_400).contains(&later.as_secs()));
        for never in [
            "never",
            "9999-12-31",
            "9999-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
        ] {
            assert_eq!(never.parse(), Ok(Expiry::Never), "{never}");
        }
        for bad in [
            "",
            "tomorrow",
            "2030-01-01T00:00:00",
            "2030-13-01",
            "+30",
            "+d",
            "+-1d",
            "+99999999999d",
            "-1d",
            "+é",
        ] {
            assert!(bad.parse::<Expiry>().is_err(), "{bad:?}");
        }
    }
}

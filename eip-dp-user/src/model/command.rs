//! What an operator, or the daemon, can ask of the table: one variant for each verb that changes it.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;
use jiff::Timestamp;

use super::{
    Document, Vlan,
    objects::{Antispoof, EniKind, Instance, Mac, Malformed, Mode, Pool, Vpc},
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
    /// `vpc create`.
    VpcCreate(Vpc),
    /// `vpc delete`.
    VpcDelete {
        /// The VPC.
        id: String,
    },
    /// `instance create`.
    InstanceCreate(Instance),
    /// `instance delete`: takes its primary ENI along.
    InstanceDelete {
        /// The instance.
        id: String,
    },
    /// `eni create`: the new ENI is detached.
    EniCreate(EniSpec),
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
        /// The private IP that the EIP stands for; left out, the ENI's primary private IP of the EIP's family.
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
        prune: bool,
    },
    /// Ends every association whose EIP's time is over; the daemon's, when [`super::View::next_expiry`] is reached.
    Expire,
}

impl Command {
    /// Whether it matters to the command which addresses the host has: none of them becomes an EIP.
    pub fn may_add_eips(&self) -> bool {
        matches!(self, Self::EipCreate(_) | Self::Apply { .. })
    }
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
    /// The pool to take an address of; left out, the first that has one: of the IPv4 pools, or where there are none, of the
    /// IPv6 pools.
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

impl FromStr for Expiry {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "never" {
            return Ok(Self::Never);
        }
        text.parse().map(Self::At).map_err(|_| {
            Malformed::new(
                text,
                "an RFC 3339 time such as 2030-01-01T00:00:00Z, or `never`",
            )
        })
    }
}

/// A command that is not put to the rules at all: an argument cannot be meant, whatever the table holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unacceptable(pub String);

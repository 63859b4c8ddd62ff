//! The association table's objects and every rule of the service, without any I/O.
//!
//! A [`command::Command`] goes through [`rules::decide`], which asks a [`View`] of the table what
//! it needs to know and answers with the [`Change`]s to make, or with a [`Refusal`]. Start reading
//! at [`rules`].

mod address;
mod change;
mod check;
pub mod command;
mod document;
pub mod objects;
pub mod rules;
#[cfg(test)]
pub(crate) mod testing;
mod view;
mod vlan;

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnet::IpNet;
use jiff::Timestamp;

pub(crate) use address::{
    edges, next as next_address, previous as previous_address, private_block,
};
pub use change::{Change, Diff};
pub use check::{MAX_NAME, is_id, is_interface_name, is_invisible};
pub use document::Document;
pub use view::{EniFilter, Kind, Model, View};
pub use vlan::Vlan;

/// What the rules know beside the table and the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The time at which the command takes effect.
    pub now: Timestamp,
    /// The addresses that this host itself has; none of them can be an EIP.
    pub host_addresses: Vec<IpAddr>,
    /// The networks that this host itself is on: their first addresses, and IPv4's broadcast
    /// addresses, cannot be EIPs.
    pub host_networks: Vec<IpNet>,
    /// What this host uses itself: no ENI stands there unless it is forced to.
    pub host_ports: Vec<HostPort>,
    /// Which interface the port is that an attach names, as [`objects::Eni::bound`] has it; `None`:
    /// it is not there.
    pub port: Option<String>,
    /// Whom this host's uplinks, and the host, send to; none of them can be an EIP.
    pub next_hops: Vec<IpAddr>,
}

/// A place for ENIs that the host uses itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The interface's names.
    pub names: Vec<String>,
    /// The VLAN on it; `None`: its untagged frames.
    pub vlan: Option<Vlan>,
    /// Whether it is every VLAN on it.
    pub any_vlan: bool,
    /// What for, such as `it has the address 192.0.2.1`.
    pub why: String,
}

impl Context {
    /// What the host uses a port for.
    pub fn use_of(&self, port: &str, vlan: Option<Vlan>) -> Option<&str> {
        let mut places = self.host_ports.iter();
        places
            .find(|one| {
                (one.any_vlan || one.vlan == vlan) && one.names.iter().any(|name| name == port)
            })
            .map(|one| one.why.as_str())
    }

    /// Why the address cannot be an EIP's on this host: a phrase behind the address, and the cure.
    pub(crate) fn taken(&self, address: IpAddr) -> Option<(&'static str, &'static str)> {
        if self.host_addresses.contains(&address) {
            Some(("is an address of this host", "take it off the host first"))
        } else if self.next_hops.contains(&address) {
            let cure = "give the host another next hop first";
            Some(("is a next hop of this host", cure))
        } else {
            self.edges().find(|(edge, _)| *edge == address).map(|_| {
                let cure = "give the host another network first";
                let why = match address {
                    IpAddr::V4(_) => {
                        "is the network or broadcast address of a network that this host is on"
                    }
                    IpAddr::V6(_) => {
                        "is the subnet-router anycast address of a network that this host is on"
                    }
                };
                (why, cure)
            })
        }
    }

    /// The addresses of the host's networks that are no host's.
    fn edges(&self) -> impl Iterator<Item = (IpAddr, &'static str)> + '_ {
        let edges = self.host_networks.iter().flat_map(edges);
        edges.map(|(edge, _, what)| (edge, what))
    }

    /// Those addresses.
    pub(crate) fn all_taken(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let both = self.host_addresses.iter().chain(&self.next_hops);
        both.copied().chain(self.edges().map(|(edge, _)| edge))
    }
}

/// What a command that no rule refuses does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The rows to change, each object once; empty when the table is as the command wants it
    /// already.
    pub changes: Vec<Change>,
    /// What the operator should know, a sentence each.
    pub warnings: Vec<String>,
}

/// A command that a rule refuses; the table stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The rule.
    pub code: Code,
    /// One sentence with the object, the value and the cure.
    pub message: String,
}

/// Names every rule, and gives it the code that scripts rely on.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// A rule of the service. Its text is stable: the CLI prints it as `error[CODE]`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }
        }
    };
}

codes! {
    /// The command names an object that does not exist.
    NotFound = "not-found",
    /// A second object of that id, or a field of an existing object that cannot change.
    AlreadyExists = "already-exists",
    /// The EIP is associated already, or is to be released while it is.
    EipInUse = "eip-in-use",
    /// The EIP's `expires_at` has passed.
    EipExpired = "eip-expired",
    /// EIP and ENI are in different regions.
    RegionMismatch = "region-mismatch",
    /// EIP and private IP are of different address families.
    FamilyMismatch = "family-mismatch",
    /// Cut-through is for secondary ENIs.
    CutThroughNeedsSecondary = "cut-through-needs-secondary",
    /// Cut-through is set while the ENI is detached.
    EniAttached = "eni-attached",
    /// A cut-through EIP stands alone on its ENI.
    CutThroughExclusive = "cut-through-exclusive",
    /// Cut-through takes the primary private IP.
    CutThroughPrimaryIpOnly = "cut-through-primary-ip-only",
    /// A primary ENI has one EIP.
    PrimaryEniLimit = "primary-eni-limit",
    /// The ENI does not have that private IP.
    NotAnEniAddress = "not-an-eni-address",
    /// The private IP has an EIP already.
    PrivateIpInUse = "private-ip-in-use",
    /// A primary ENI stays with its instance.
    PrimaryEniFixed = "primary-eni-fixed",
    /// The instance takes no more ENIs.
    InstanceEniLimit = "instance-eni-limit",
    /// ENIs of another VPC stand on that port.
    PortInUse = "port-in-use",
    /// The host uses that port itself.
    PortIsTheHosts = "port-is-the-hosts",
    /// No pool covers the address, or no pool has one left.
    OutsidePools = "outside-pools",
    /// A gateway, network, broadcast, reserved or host address.
    ReservedAddress = "reserved-address",
    /// No CIDR of the VPC covers the address.
    OutsideVpc = "outside-vpc",
    /// Two prefixes share addresses.
    OverlappingCidr = "overlapping-cidr",
    /// Two ENIs of a VPC share an Ethernet address.
    DuplicateMac = "duplicate-mac",
    /// Two EIPs, or two ENIs of a VPC, share an address.
    DuplicateAddress = "duplicate-address",
    /// A primary private IP is one ENI's alone.
    SharedPrimaryIp = "shared-primary-ip",
    /// A VPC takes no more CIDRs.
    VpcCidrLimit = "vpc-cidr-limit",
    /// Others refer to the object that is to go.
    InUse = "in-use",
    /// Pruning would delete all objects of a kind, or most associations.
    NeedsYes = "needs-yes",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The pools of a table by prefix.
pub type Pools = BTreeMap<IpNet, objects::Pool>;

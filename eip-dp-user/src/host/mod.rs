//! What the kernel of this host is: its interfaces, addresses, default routes and neighbours; and
//! which name servers it asks.
//!
//! [`HostFacts`] is a plain value that the pure parts of the daemon compute with; [`Watcher`] keeps
//! one current. [`NeighbourKeeper`] has the kernel keep next hops resolved; [`Settings`] changes
//! what the data plane needs changed. [`forward_hook_rules`] finds the firewall rules that
//! forwarded packets do not pass. All that is the kernel's is asked over netlink or a socket. A
//! process may have entered its network namespace alone, and `/sys` then shows another namespace
//! than the one that its sockets are in: nothing here reads it.

mod drivers;
mod error;
mod facts;
mod forward;
mod incarnation;
mod iptables;
mod neighbours;
mod netdev;
mod nexthops;
mod offloads;
mod own;
pub(crate) mod packet_socket;
mod resolver;
mod route_lookup;
mod routing;
mod settings;
mod state;
mod watch;

pub use error::HostError;
pub use facts::{
    Doubt, Family, Framing, HostFacts, Link, LinkKind, Manager, Neighbour, Route, VlanTag,
    XdpFeatures, is_link_local,
};
#[cfg(any(test, feature = "testing"))]
pub(crate) use forward::hold as hold_firewall;
pub use forward::{ForwardChain, forward_hook_rules};
pub use neighbours::{Kept, NeighbourKeeper};
pub use offloads::{Offloads, offloads};
pub use own::{OwnPorts, Uplinks, identity_of, namespace};
pub use resolver::Resolver;
pub use route_lookup::{AddressPlace, default_routers, place_of};
#[cfg(any(test, feature = "testing"))]
pub(crate) use settings::read_changed;
pub use settings::{Changed, Setting, Settings, changed as changed_settings};
#[cfg(any(test, feature = "testing"))]
pub(crate) use state::hold as hold_netlink;
pub use watch::{Watcher, snapshot};

//! What the kernel of this host is: its interfaces, addresses, default routes and neighbours.
//!
//! [`HostFacts`] is a plain value that the pure parts of the daemon compute with; [`Watcher`] keeps one current.
//! [`NeighbourKeeper`] has the kernel keep next hops resolved.
//! Everything is asked over netlink. A process may have entered its network namespace alone, so `/sys` and `/proc`
//! can show another namespace than the one that its sockets are in: nothing here reads them.

mod error;
mod facts;
mod neighbours;
mod netdev;
pub(crate) mod packet_socket;
mod state;
mod watch;

pub use error::HostError;
pub use facts::{Family, HostFacts, Link, LinkKind, Manager, Neighbour, Route, XdpFeatures};
pub use neighbours::{Kept, NeighbourKeeper};
pub use watch::{Watcher, snapshot};

//! What the kernel of this host is: its interfaces, addresses, default routes and neighbours.
//!
//! [`HostFacts`] is a plain value that the pure parts of the daemon compute with; [`Watcher`] keeps one current.
//! Everything is asked over netlink. A process may have entered its network namespace alone, so `/sys` and `/proc`
//! can show another namespace than the one that its sockets are in: nothing here reads them.

mod facts;

pub use facts::{Family, HostFacts, Link, LinkKind, Neighbour, Route, XdpFeatures};

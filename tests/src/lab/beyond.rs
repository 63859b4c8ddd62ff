//! The Internet beyond the Internet host: a link with a small MTU, a router, and a distant host.
//!
//! ```text
//!   192.0.2.2        192.0.2.1   192.0.2.130   MTU 1280   192.0.2.129      198.51.100.1
//!   distant host ═══════════ router ═══════════════════════════ Internet host ═══════════ gateway
//!                            drops what is for private addresses
//! ```

use std::fs;

use anyhow::Result;

use super::{
    Lab,
    capture::Capture,
    netns::Netns,
    scene::{POOL, VPC},
};

/// The distant host's address.
pub const DISTANT: &str = "192.0.2.2";
/// The router's, towards the distant host.
pub const ROUTER_NEAR_DISTANT: &str = "192.0.2.1";
/// The router's, on the small link.
pub const ROUTER: &str = "192.0.2.130";
/// The Internet host's, on the small link.
pub const INTERNET_ON_SMALL_LINK: &str = "192.0.2.129";
/// The small link's MTU.
pub const SMALL_MTU: u32 = 1280;
/// The Internet host's interface on it.
pub const SMALL_LINK: &str = "small0";

const DISTANT_LINK: &str = "far0";

/// The router and the distant host.
pub struct Beyond {
    /// Between the small link and the distant host.
    pub router: Netns,
    /// The host.
    pub distant: Netns,
}

impl Beyond {
    /// Both, behind `internet`, which forwards from now on and sends to the router what it has no
    /// route for.
    pub fn new(lab: &Lab, internet: &Netns) -> Result<Self> {
        let router = lab.namespace("router")?;
        let distant = lab.namespace("distant")?;
        connect(internet, &router, SMALL_LINK)?;
        connect(&router, &distant, DISTANT_LINK)?;
        for (side, interface, address) in [
            (internet, SMALL_LINK, INTERNET_ON_SMALL_LINK),
            (&router, SMALL_LINK, ROUTER),
            (&router, DISTANT_LINK, ROUTER_NEAR_DISTANT),
            (&distant, DISTANT_LINK, DISTANT),
        ] {
            let length = if interface == SMALL_LINK { 30 } else { 25 };
            side.ip(&format!("address add {address}/{length} dev {interface}"))?;
            side.ip(&format!("link set dev {interface} up"))?;
        }
        for side in [internet, &router] {
            side.ip(&format!("link set dev {SMALL_LINK} mtu {SMALL_MTU}"))?;
            forward(side)?;
        }
        internet.ip(&format!("route add 192.0.2.0/25 via {ROUTER}"))?;
        internet.ip(&format!("route add default via {ROUTER}"))?;
        for network in [POOL, "198.51.100.0/24"] {
            router.ip(&format!("route add {network} via {INTERNET_ON_SMALL_LINK}"))?;
        }
        router.ip(&format!("route add blackhole {VPC}"))?;
        distant.ip(&format!("route add default via {ROUTER_NEAR_DISTANT}"))?;
        Ok(Self { router, distant })
    }

    /// Captures what the router is asked to forward.
    pub fn captured(&self) -> Result<Capture> {
        Capture::start(&self.router, SMALL_LINK)
    }
}

/// A wire between two namespaces, with an interface of the same name on either side.
fn connect(left: &Netns, right: &Netns, interface: &str) -> Result<()> {
    left.ip(&format!(
        "link add {interface} type veth peer name {interface} netns {}",
        right.name()
    ))?;
    Ok(())
}

/// Makes it a router.
pub fn forward(namespace: &Netns) -> Result<()> {
    namespace.enter(|| Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))
}

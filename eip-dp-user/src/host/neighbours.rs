//! Keeps next hops resolved, so that the packet path finds their Ethernet addresses without asking.
//!
//! The kernel does the work: an entry that is *managed* (Linux 5.16) is probed again before it goes
//! stale, for ever. Our entries carry a protocol number of their own, by which `unload` knows them.
//! Gateways on the same host share the number, so that a running one releases only what it asked
//! for itself; and what another's `unload` released, it asks for again as soon as its facts say so.

use std::{collections::BTreeSet, net::IpAddr};

use futures::StreamExt;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
    route::RouteProtocol,
};
use tokio::task::JoinHandle;
use tracing::debug;

use super::{Family, HostError, HostFacts, Manager, Neighbour, state};

/// Marks our entries (`ip neighbour` shows it as `proto 225`); none of the numbers in use by
/// routing daemons.
pub(super) const OUR_PROTOCOL: RouteProtocol = RouteProtocol::Other(225);

/// Asks the kernel to keep neighbours resolved, and to stop it.
#[derive(Debug)]
pub struct NeighbourKeeper {
    handle: rtnetlink::Handle,
    /// What was asked for with [`Self::reconcile`].
    asked: BTreeSet<(u32, IpAddr)>,
    task: JoinHandle<()>,
}

/// What [`NeighbourKeeper::keep_resolved`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The kernel keeps it resolved from now on.
    Managed,
    /// The entry was left alone: it is permanent, or another program has it managed already.
    Untouched,
    /// The kernel cannot manage entries; this one was probed once and has to be asked for again.
    Probed,
}

impl NeighbourKeeper {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open() -> Result<Self, HostError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| HostError::open("rtnetlink", error))?;
        Ok(Self {
            handle,
            asked: BTreeSet::new(),
            task: tokio::spawn(connection),
        })
    }

    /// Makes the kernel's managed entries equal to the wanted ones: those that are missing are
    /// added, those that this keeper added and nobody wants any more are released. Call it whenever
    /// the facts or the next hops change; it does nothing when there is nothing to do. Every next
    /// hop is tried; the first error is returned.
    pub async fn reconcile(
        &mut self,
        facts: &HostFacts,
        wanted: &BTreeSet<(u32, IpAddr)>,
    ) -> Result<(), HostError> {
        self.asked
            .retain(|(interface, _)| facts.links.contains_key(interface));
        // What an earlier run asked for is taken over.
        self.asked
            .extend(wanted.iter().filter(|key| is_ours(facts, key)));
        let plan = plan(facts, wanted, &self.asked);
        let mut outcome = Ok(());
        for (interface, address) in plan.keep {
            let kept = self.keep_resolved(interface, address).await;
            if matches!(kept, Ok(Kept::Managed)) {
                self.asked.insert((interface, address));
            }
            outcome = outcome.and(kept.map(|_| ()));
        }
        for (interface, address) in plan.release {
            let released = self.release(interface, address).await;
            if released.is_ok() {
                self.asked.remove(&(interface, address));
            }
            outcome = outcome.and(released);
        }
        outcome
    }

    /// Has one neighbour kept resolved.
    pub async fn keep_resolved(&self, interface: u32, address: IpAddr) -> Result<Kept, HostError> {
        if let Some(neighbour) = self.get(interface, address).await?
            && (neighbour.permanent || neighbour.managed.is_some())
        {
            return Ok(Kept::Untouched);
        }
        let mut message = request(interface, address);
        message
            .attributes
            .push(NeighbourAttribute::Protocol(OUR_PROTOCOL));
        let mut managed = message.clone();
        managed
            .attributes
            .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        match self.put(managed).await {
            Ok(()) => Ok(Kept::Managed),
            Err(code) if code == -libc::EINVAL || code == -libc::EOPNOTSUPP => {
                debug!(interface, %address, "the kernel does not manage this neighbour; probing it");
                message.header.flags = NeighbourFlags::Use;
                self.put(message)
                    .await
                    .map(|()| Kept::Probed)
                    .map_err(|code| failed("resolve", interface, address, code))
            }
            Err(code) => Err(failed("keep resolved", interface, address, code)),
        }
    }

    /// Ends that, if it was we who asked for it. The entry itself stays, as an ordinary one.
    pub async fn release(&self, interface: u32, address: IpAddr) -> Result<(), HostError> {
        let Some(neighbour) = self.get(interface, address).await? else {
            return Ok(());
        };
        if neighbour.managed != Some(Manager::Us) || neighbour.permanent {
            return Ok(());
        }
        let mut message = request(interface, address);
        // An update by the administrator without the managed flag clears it, and `Use` keeps the
        // state.
        message.header.flags = NeighbourFlags::Use;
        match self.put(message).await {
            Ok(()) => Ok(()),
            Err(code) => Err(failed("release", interface, address, code)),
        }
    }

    /// Releases every entry of ours in this network namespace, whichever run or gateway made it.
    pub async fn release_all(&self) -> Result<(), HostError> {
        let facts = super::snapshot().await?;
        let mut outcome = Ok(());
        for ((interface, address), neighbour) in facts.neighbours {
            if neighbour.managed == Some(Manager::Us) {
                outcome = outcome.and(self.release(interface, address).await);
            }
        }
        outcome
    }

    /// One entry as the kernel has it now.
    async fn get(&self, interface: u32, address: IpAddr) -> Result<Option<Neighbour>, HostError> {
        let message = RouteNetlinkMessage::GetNeighbour(request(interface, address));
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST;
        let answer = self.exchange(message).await;
        match answer {
            Ok(Some(RouteNetlinkMessage::NewNeighbour(message))) => {
                Ok(state::neighbour(&message).map(|(_, neighbour)| neighbour))
            }
            Ok(_) => Ok(None),
            Err(code) if code == -libc::ENOENT => Ok(None),
            Err(code) => Err(failed("look up", interface, address, code)),
        }
    }

    async fn put(&self, message: NeighbourMessage) -> Result<(), i32> {
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewNeighbour(message));
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.exchange(message).await.map(|_| ())
    }

    /// The kernel's answer, or its error code (negative, as on the wire).
    async fn exchange(
        &self,
        message: NetlinkMessage<RouteNetlinkMessage>,
    ) -> Result<Option<RouteNetlinkMessage>, i32> {
        let closed = |_| -libc::ENOTCONN;
        let mut answers = self.handle.clone().request(message).map_err(closed)?;
        let mut last = None;
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => last = Some(message),
                NetlinkPayload::Error(error) if error.raw_code() != 0 => {
                    return Err(error.raw_code());
                }
                _ => {}
            }
        }
        Ok(last)
    }
}

impl Drop for NeighbourKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_ours(facts: &HostFacts, key: &(u32, IpAddr)) -> bool {
    facts
        .neighbours
        .get(key)
        .is_some_and(|neighbour| neighbour.managed == Some(Manager::Us))
}

/// What has to change.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    keep: Vec<(u32, IpAddr)>,
    release: Vec<(u32, IpAddr)>,
}

fn plan(
    facts: &HostFacts,
    wanted: &BTreeSet<(u32, IpAddr)>,
    asked: &BTreeSet<(u32, IpAddr)>,
) -> Plan {
    let done = |key| {
        facts
            .neighbours
            .get(key)
            .is_some_and(|neighbour| neighbour.permanent || neighbour.managed.is_some())
    };
    // An interface that is down has no neighbours: the kernel forgets them again at once.
    let up = |interface| facts.links.get(interface).is_some_and(|link| link.up);
    Plan {
        keep: wanted
            .iter()
            .filter(|key| up(&key.0) && !done(key))
            .copied()
            .collect(),
        release: asked.difference(wanted).copied().collect(),
    }
}

fn request(interface: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = interface;
    message.header.state = NeighbourState::None;
    message.header.family = match Family::of(address) {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    let destination = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message
        .attributes
        .push(NeighbourAttribute::Destination(destination));
    message
}

fn failed(action: &'static str, interface: u32, address: IpAddr, code: i32) -> HostError {
    HostError::Neighbour {
        action,
        interface,
        address,
        error: std::io::Error::from_raw_os_error(-code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Framing, Link, LinkKind};

    #[test]
    fn only_missing_entries_are_asked_for_and_only_what_was_asked_for_is_released() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let neighbour = |permanent, managed| Neighbour {
            mac: None,
            usable: false,
            permanent,
            managed,
        };
        let link = |up| Link {
            name: "up0".into(),
            mac: [0; 6],
            mtu: 1500,
            up,
            kind: LinkKind::Veth,
            framing: Framing::Ethernet,
            master: None,
            vlan: None,
            takes_tags: false,
            incarnation: None,
            xdp: None,
        };
        let mut facts = HostFacts::default();
        facts.links.extend([(1, link(true)), (2, link(false))]);
        facts.neighbours.extend([
            ((1, address("192.0.2.1")), neighbour(false, None)),
            ((1, address("192.0.2.2")), neighbour(true, None)),
            (
                (1, address("192.0.2.3")),
                neighbour(false, Some(Manager::Us)),
            ),
            (
                (1, address("192.0.2.4")),
                neighbour(false, Some(Manager::Us)),
            ),
            (
                (1, address("192.0.2.5")),
                neighbour(false, Some(Manager::Other)),
            ),
        ]);
        let wanted = BTreeSet::from([
            (1, address("192.0.2.1")),
            (1, address("192.0.2.2")),
            (1, address("192.0.2.3")),
            (1, address("192.0.2.9")),
            (2, address("192.0.2.1")),
        ]);
        // What another gateway on this host asked for looks like our own, and is not in the list.
        let asked = BTreeSet::from([(1, address("192.0.2.3")), (1, address("192.0.2.4"))]);
        facts.neighbours.insert(
            (1, address("192.0.2.6")),
            neighbour(false, Some(Manager::Us)),
        );
        assert_eq!(
            plan(&facts, &wanted, &asked),
            Plan {
                keep: vec![(1, address("192.0.2.1")), (1, address("192.0.2.9"))],
                release: vec![(1, address("192.0.2.4"))],
            }
        );
    }
}

//! Router advertisements, held against RFC 4861 6.1.2 and 6.2: whatever changes and whoever asks,
//! in any order.

use std::{collections::HashMap, net::Ipv6Addr, sync::Arc, time::Duration};

use eip_dp_common::abi::LinkKey;
use fastrand::Rng;
use tokio::time::Instant;

use super::{
    site::{self, ENIS},
    wire::{Packet, address6, link_local, long, names, short},
};
use crate::guests::{Client, Lease6, LeaseTable, ra::Advertiser};

/// For how long everything holds, in seconds.
const LIFETIME: usize = 9000;
/// So many steps are taken, and bytes used.
const MOST_STEPS: usize = 64;

/// An advertisement, as a guest reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The guest's MAC.
    pub guest: [u8; 6],
    /// The router's.
    pub router: [u8; 6],
    /// To which address; `None`: to every node.
    pub to: Option<Ipv6Addr>,
    lifetime: usize,
    mtu: u32,
    /// Prefixes, their lengths, what they are for, and for how long.
    prefixes: Vec<(Ipv6Addr, u8, u8, u32)>,
    search: Vec<String>,
    dns: Vec<Ipv6Addr>,
}

impl Advertisement {
    /// Reads a frame.
    ///
    /// # Panics
    /// If it is not valid, or says what no router here does.
    pub fn read(frame: &[u8]) -> Self {
        let packet = Packet::read(frame).expect("a packet");
        assert_eq!(54 + packet.payload.len(), frame.len());
        assert_eq!((packet.protocol, packet.hops), (58, 255));
        assert_eq!(packet.sum(), 0xffff, "a wrong checksum");
        assert_eq!(packet.source, link_local(packet.from));
        let std::net::IpAddr::V6(to) = packet.destination else {
            panic!("IPv6 over IPv4");
        };
        let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        assert!(to == all || to.is_unicast_link_local());
        let (header, mut options) = packet.payload.split_at(16);
        assert_eq!(header[..2], [134, 0]);
        // Hop limit; managed and other; reachable and retransmission time are the guest's.
        assert_eq!(
            (header[4], header[5], &header[8..]),
            (64, 0xc0, &[0; 8][..])
        );
        let mut read = Self {
            guest: packet.to,
            router: packet.from,
            to: Some(to).filter(|to| *to != all),
            lifetime: short(&header[6..]),
            mtu: 0,
            prefixes: Vec::new(),
            search: Vec::new(),
            dns: Vec::new(),
        };
        while !options.is_empty() {
            let (option, rest) = options.split_at(usize::from(options[1]) * 8);
            assert!(!option.is_empty());
            read.take(option);
            options = rest;
        }
        read
    }

    fn take(&mut self, option: &[u8]) {
        match option[0] {
            1 => assert_eq!(option[2..], self.router),
            5 => self.mtu = long(&option[4..]),
            3 => {
                // On the link, to make an address of, or both; reserved.
                assert!([0x80, 0xc0, 0x40].contains(&option[3]));
                assert_eq!((option.len(), &option[12..16]), (32, &[0; 4][..]));
                let lifetimes = [long(&option[4..]), long(&option[8..])];
                assert_eq!(lifetimes[0], lifetimes[1]);
                self.prefixes
                    .push((address6(&option[16..]), option[2], option[3], lifetimes[0]));
            }
            25 => {
                assert_eq!(long(&option[4..]) as usize, self.lifetime);
                self.dns.extend(option[8..].chunks(16).map(address6));
            }
            31 => {
                assert_eq!(long(&option[4..]) as usize, self.lifetime);
                let names = names(&option[8..]).expect("names");
                // What fills the option reads as the root.
                self.search = names.into_iter().filter(|name| !name.is_empty()).collect();
            }
            kind => panic!("an option of type {kind}"),
        }
    }

    /// # Panics
    /// If it does not say what this lease does, for as long as it may.
    pub fn is_of(&self, lease: &Lease6) {
        assert_eq!(self.router, lease.port_mac);
        assert_eq!((self.lifetime, self.mtu), (LIFETIME, lease.mtu));
        let most = lease.dns.len().min(127);
        assert_eq!(self.dns, lease.dns[..most]);
        let held = self
            .prefixes
            .iter()
            .filter(|(_, _, _, seconds)| *seconds > 0);
        let held: Vec<_> = held
            .map(|(prefix, length, flags, _)| (*prefix, *length, *flags))
            .collect();
        let flags = if lease.autonomous { 0xc0 } else { 0x80 };
        let expected = lease
            .on_link
            .map(|net| (net.network(), net.prefix_len(), flags));
        assert_eq!(held, Vec::from_iter(expected));
        let site = &lease.site;
        let domain = site.domain.iter().filter(|_| site.search.is_empty());
        let search = site.search.iter().chain(domain);
        let search: Vec<_> = search.map(|name| format!("{name}.")).collect();
        assert_eq!(self.search, search);
    }
}

/// A gateway as its guests see it, with what was said so far.
struct Link {
    advertiser: Advertiser,
    directory: Arc<LeaseTable>,
    now: Instant,
    /// When each router last spoke to all nodes, unless those were its last words.
    spoke: HashMap<(Client, [u8; 6]), Instant>,
    /// Who solicited, from where.
    solicited: Vec<(Client, Ipv6Addr)>,
    sent: usize,
}

/// Takes steps; gives how many advertisements were sent.
///
/// # Panics
/// If one is not valid, not true, for another guest, or too soon.
pub fn hold(bytes: &[u8]) -> usize {
    let mut link = Link {
        advertiser: Advertiser::new(Rng::with_seed(bytes.len() as u64)),
        directory: Arc::default(),
        now: Instant::now(),
        spoke: HashMap::new(),
        solicited: Vec::new(),
        sent: 0,
    };
    for step in bytes.chunks_exact(2).take(MOST_STEPS) {
        link.step(step[0], step[1]);
    }
    // Those who are not served any more hear of it, and then nothing.
    let nobody = Arc::default();
    link.follow(&nobody);
    for _ in 0..8 {
        link.pass(Duration::from_secs(3));
    }
    assert_eq!(link.advertiser.next_due(), None, "for ever");
    link.sent
}

impl Link {
    fn step(&mut self, step: u8, value: u8) {
        let place = usize::from(step / 4) % ENIS.len();
        match step % 4 {
            0 => {
                let mut directory = (*self.directory).clone();
                directory.tell(site::client(place), None, lease(place, value));
                self.follow(&Arc::new(directory));
            }
            1 => {
                // Also from who is not served.
                let source = match value % 4 {
                    0 => Ipv6Addr::UNSPECIFIED,
                    last => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into()),
                };
                let guest = site::client(place);
                self.solicited.push((guest, source));
                self.advertiser.answer(guest, source, self.now);
            }
            2 => self.pass(Duration::from_millis(u64::from(value) * 20)),
            _ => self.pass(Duration::from_secs(u64::from(value) * 4)),
        }
    }

    fn follow(&mut self, directory: &Arc<LeaseTable>) {
        self.advertiser.follow(directory, self.now);
        self.directory = Arc::clone(directory);
        self.speak();
    }

    /// As time passes, what is due is sent when it is.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.advertiser.next_due().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.speak();
        }
        self.now = end;
    }

    fn speak(&mut self) {
        // An answer and one that nobody asked for, of each router that a guest has known.
        for _ in 0..64 {
            let Some((port, frame)) = self.advertiser.pop(self.now) else {
                return;
            };
            self.hear(port, &frame);
        }
        panic!("no end of it");
    }

    fn hear(&mut self, port: LinkKey, frame: &[u8]) {
        self.sent += 1;
        let told = Advertisement::read(frame);
        let guest = Client::on(port, told.guest);
        let known = (0..ENIS.len()).any(|place| site::client(place) == guest);
        assert!(known, "a guest that nobody has");
        match self.directory.leases6.get(&guest) {
            Some(lease) if lease.port_mac == told.router => told.is_of(lease),
            other => {
                assert_eq!(told.lifetime, 0, "a router that is none");
                // Its other router says what is on the link.
                assert!(other.is_none() || told.prefixes.is_empty());
                assert!(told.prefixes.iter().all(|(_, _, _, seconds)| *seconds == 0));
            }
        }
        if let Some(to) = told.to {
            assert!(self.solicited.contains(&(guest, to)), "nobody asked");
            return;
        }
        // MIN_DELAY_BETWEEN_RAS.
        let router = (guest, told.router);
        if let Some(last) = self.spoke.insert(router, self.now) {
            assert!(self.now - last >= Duration::from_secs(3), "too soon");
        }
        if told.lifetime == 0 {
            self.spoke.remove(&router);
        }
    }
}

/// One of the leases that an ENI may get, or none.
fn lease(place: usize, value: u8) -> Option<Lease6> {
    let lease = site::lease6(place);
    match value % 8 {
        0 => None,
        1 => Some(Lease6 {
            on_link: Some("fd00:0:0:1::/64".parse().expect("a prefix")),
            ..lease
        }),
        2 => Some(Lease6 {
            on_link: None,
            ..lease
        }),
        3 => Some(Lease6 {
            port_mac: site::port_mac(2),
            ..lease
        }),
        4 => Some(Lease6 {
            mtu: 9000,
            dns: vec![Ipv6Addr::LOCALHOST; usize::from(value)],
            ..lease
        }),
        5 => Some(Lease6 {
            autonomous: !lease.autonomous,
            site: Arc::default(),
            ..lease
        }),
        _ => Some(lease),
    }
}

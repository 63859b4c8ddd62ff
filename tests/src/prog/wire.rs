//! The far ends of the interfaces: frames are sent and caught there.

use std::{collections::BTreeMap, io, mem::MaybeUninit, os::fd::AsRawFd as _, time::Duration};

use anyhow::{Context as _, Result};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::{namespace, table::Interface};

/// Longer than any frame.
const ROOM: usize = 16 * 1024;
/// How long a frame that must come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A packet socket on every far end.
pub struct Wires(BTreeMap<String, Socket>);

impl Wires {
    /// Opens them, by the names of the near ends.
    pub fn open(interfaces: &[Interface]) -> Result<Self> {
        let mut wires = BTreeMap::new();
        for interface in interfaces {
            let far = namespace::peer(&interface.name);
            let socket = socket_on(&far).with_context(|| format!("no packet socket on {far}"))?;
            wires.insert(interface.name.clone(), socket);
        }
        Ok(Self(wires))
    }

    /// Sends a frame into an interface, from its far end.
    pub fn send(&self, interface: &str, frame: &[u8]) -> Result<()> {
        self.socket(interface)?
            .send(frame)
            .with_context(|| format!("cannot send {} bytes into {interface}", frame.len()))?;
        Ok(())
    }

    /// Waits for a frame out of an interface; `None` if there is none for a long time.
    pub fn next(&self, interface: &str) -> Result<Option<Vec<u8>>> {
        receive(self.socket(interface)?, 0)
    }

    /// Every frame that has come out of an interface by now.
    pub fn rest(&self, interface: &str) -> Result<Vec<Vec<u8>>> {
        let socket = self.socket(interface)?;
        std::iter::from_fn(|| receive(socket, libc::MSG_DONTWAIT).transpose()).collect()
    }

    fn socket(&self, interface: &str) -> Result<&Socket> {
        self.0
            .get(interface)
            .with_context(|| format!("no interface {interface}"))
    }
}

fn receive(socket: &Socket, flags: libc::c_int) -> Result<Option<Vec<u8>>> {
    let mut buffer = vec![MaybeUninit::new(0_u8); ROOM];
    match socket.recv_with_flags(&mut buffer, flags) {
        Ok(len) => {
            // SAFETY: every byte was initialised above.
            let bytes = buffer[..len]
                .iter()
                .map(|byte| unsafe { byte.assume_init() });
            Ok(Some(bytes.collect()))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn socket_on(name: &str) -> Result<Socket> {
    // In network order.
    let every_protocol = u16::try_from(libc::ETH_P_ALL)?.to_be();
    let protocol = Protocol::from(i32::from(every_protocol));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    ignore_outgoing(&socket)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is large enough for any address, and all zeros is a `sockaddr_ll`.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    address.sll_protocol = every_protocol;
    address.sll_ifindex = i32::try_from(if_nametoindex(name)?)?;
    let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>())?;
    // SAFETY: the storage holds a `sockaddr_ll` of this length.
    let address = unsafe { SockAddr::new(storage, len) };
    socket.bind(&address)?;
    Ok(socket)
}

/// The socket is not to see what it sends itself.
fn ignore_outgoing(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int, of which pointer and length are given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            libc::socklen_t::try_from(size_of_val(&on)).expect("an int is short"),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

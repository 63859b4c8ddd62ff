//! SCTP by the kernel's own stack, whose checksum covers no address: an association through
//! stateless NAT holds as long as either side names no other address than the one that it sends
//! from.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use eip_dp_tests::lab::{netns::Netns, topology::INTERNET};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    report::Report,
    site::{Guest, Site},
};

const PORT: u16 = 9899;
/// More than one packet.
const LENGTH: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// An association from the guest to the Internet and one from there; expected is the peer that the
/// server sees.
pub fn both_ways(report: &mut Report, site: &Site, guest: &Guest) {
    let Guest {
        namespace,
        mode,
        address,
        inside,
        ..
    } = guest;
    let internet = site.internet();
    let out = associate((namespace, inside), (internet, INTERNET), INTERNET);
    let what = format!(
        "{}, {mode}: SCTP to the Internet, client that the server sees",
        site.wire
    );
    report.expect(&what, &(*address).to_owned(), out);
    let back = associate((internet, INTERNET), (namespace, inside), address);
    let what = format!(
        "{}, {mode}: SCTP from the Internet, client that the server sees",
        site.wire
    );
    report.expect(&what, &INTERNET.to_owned(), back);
}

/// Connects from the address of the one side to `target`, which is the address of the other there,
/// and has everything that is sent sent back.
fn associate(client: (&Netns, &str), server: (&Netns, &str), target: &str) -> Result<String> {
    let listener = server.0.enter(|| {
        let socket = bound(server.1, PORT)?;
        socket.listen(1)?;
        Ok(socket)
    })?;
    let socket = client.0.enter(|| bound(client.1, 0))?;
    thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&listener));
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(LENGTH).collect();
        let mut got = vec![0; LENGTH];
        let exchanged = socket
            .connect(&SocketAddr::new(target.parse::<IpAddr>()?, PORT).into())
            .map_err(anyhow::Error::from)
            .and_then(|()| {
                (&socket).write_all(&sent)?;
                (&socket).read_exact(&mut got)?;
                Ok(())
            });
        let from = serving.join().map_err(|_| anyhow!("the server panicked"))?;
        exchanged.context("the client's exchange failed")?;
        ensure!(sent == got, "other bytes came back");
        Ok(from?.ip().to_string())
    })
}

/// Sends back what comes; returns who sent it.
fn serve(listener: &Socket) -> Result<SocketAddr> {
    let (peer, address) = listener.accept().context("no association came")?;
    peer.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = vec![0; LENGTH];
    (&peer).read_exact(&mut bytes)?;
    (&peer).write_all(&bytes)?;
    address.as_socket().context("no address of the peer's")
}

fn bound(address: &str, port: u16) -> Result<Socket> {
    const SCTP: i32 = 132;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::from(SCTP)))
        .context("no SCTP in this kernel")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(address.parse::<IpAddr>()?, port).into())?;
    Ok(socket)
}

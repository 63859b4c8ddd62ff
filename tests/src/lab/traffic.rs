//! Real traffic of real programs: ping, iperf3, UDP sockets.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{libc, sys::signal::Signal};
use serde_json::Value;

use super::{
    capture::set,
    netns::Netns,
    process::{Job, PATIENCE, outcome, run},
    wait::until,
};

/// What a ping saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinged {
    /// Requests sent.
    pub sent: u32,
    /// Replies received.
    pub received: u32,
}

impl Pinged {
    /// Whether there was traffic and none of it was lost.
    pub fn lost_nothing(self) -> bool {
        self.sent > 0 && self.sent == self.received
    }

    /// Reads "5 packets transmitted, 5 received, …".
    fn read(text: &str) -> Result<Self> {
        let line = text
            .lines()
            .find(|line| line.contains("packets transmitted"))
            .with_context(|| format!("ping printed no summary: {text}"))?;
        let number = |word: &str| {
            line.split(", ")
                .find(|part| part.contains(word))
                .and_then(|part| part.split_whitespace().next()?.parse().ok())
                .with_context(|| format!("ping's summary has no {word}: {line}"))
        };
        Ok(Self {
            sent: number("transmitted")?,
            received: number("received")?,
        })
    }
}

impl std::fmt::Display for Pinged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} replies", self.received, self.sent)
    }
}

/// `count` pings from `source` (or the address that the kernel chooses) to `target`.
pub fn ping(from: &Netns, source: Option<&str>, target: &str, count: u32) -> Result<Pinged> {
    let mut command = from.command("ping");
    command.args(["-n", "-i", "0.05", "-W", "1", "-c", &count.to_string()]);
    if let Some(source) = source {
        command.args(["-I", source]);
    }
    let output = outcome(command.arg(target))?;
    Pinged::read(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A ping that runs beside what the test does.
pub struct Pinging {
    job: Job,
}

impl Pinging {
    /// Starts it, and waits for the first replies.
    pub fn start(from: &Netns, target: &str, log: &Path) -> Result<Self> {
        let mut command = from.command("ping");
        command.args(["-n", "-i", "0.02", target]);
        let mut pinging = Self {
            job: Job::start(&mut command, log)?,
        };
        pinging.wait_for_replies(5)?;
        Ok(pinging)
    }

    /// Waits for so many more replies.
    pub fn wait_for_replies(&mut self, more: usize) -> Result<()> {
        let wanted = self.replies() + more;
        until(PATIENCE, "replies to a ping", || {
            self.job.still_runs()?;
            Ok((self.replies() >= wanted).then_some(()))
        })
    }

    fn replies(&self) -> usize {
        self.job.said().matches("bytes from").count()
    }

    /// Ends it; what it saw up to the last reply. (A request after that may still have been on its
    /// way.)
    pub fn stop(mut self) -> Result<Pinged> {
        self.job.signal(Signal::SIGINT)?;
        self.job.wait()?;
        let said = self.job.said();
        let answered: BTreeSet<u32> = said
            .lines()
            .filter_map(|line| {
                let rest = line.split("icmp_seq=").nth(1)?;
                rest.split_whitespace().next()?.parse().ok()
            })
            .collect();
        Ok(Pinged {
            sent: answered.last().copied().unwrap_or(0),
            received: u32::try_from(answered.len())?,
        })
    }
}

/// An iperf3 server that serves one client after the other.
pub struct IperfServer {
    _job: Job,
}

/// The port of every [`IperfServer`].
const IPERF_PORT: &str = "5201";

impl IperfServer {
    /// Starts it and waits until it listens.
    pub fn start(on: &Netns, log: &Path) -> Result<Self> {
        let mut command = on.command("iperf3");
        command.args(["-s", "--forceflush", "-p", IPERF_PORT]);
        let mut job = Job::start(&mut command, log)?;
        job.wait_for("Server listening")?;
        Ok(Self { _job: job })
    }
}

/// How much a TCP transfer is.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// As much as goes in so many seconds.
    Seconds(u32),
    /// So many megabytes.
    Megabytes(u32),
}

/// What a TCP transfer did.
#[derive(Clone, Copy, Debug)]
pub struct Transferred {
    /// Bytes that the receiver had read when the sender was done. (What was still under way then is
    /// not in it.)
    pub received: u64,
    /// Its rate.
    pub bits_per_second: f64,
}

/// Sends over TCP to `target`, or has it sent from there.
pub fn iperf(
    from: &Netns,
    source: Option<&str>,
    target: &str,
    amount: Amount,
    reverse: bool,
) -> Result<Transferred> {
    let mut command = from.command("iperf3");
    command.args(["-J", "-p", IPERF_PORT, "--connect-timeout", "3000"]);
    match amount {
        Amount::Seconds(seconds) => command.args(["-t", &seconds.to_string()]),
        Amount::Megabytes(megabytes) => {
            // Small buffers: little is under way when the sender is done.
            command.args(["-w", "128K", "-n", &format!("{megabytes}M")])
        }
    };
    command.args(["-c", target]);
    if let Some(source) = source {
        command.args(["-B", source]);
    }
    if reverse {
        command.arg("-R");
    }
    let report = report_of(&mut command, target)?;
    let sum = &report["end"]["sum_received"];
    let sums = || {
        Some(Transferred {
            received: sum["bytes"].as_u64()?,
            bits_per_second: sum["bits_per_second"].as_f64()?,
        })
    };
    sums().with_context(|| format!("iperf3 to {target} printed no sum: {report}"))
}

/// What became of datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    /// Sent.
    pub sent: u64,
    /// Not received.
    pub lost: u64,
}

/// A second of datagrams of `length` bytes, at a rate that no queue overflows at.
pub fn iperf_udp(
    from: &Netns,
    source: &str,
    target: &str,
    length: u32,
    reverse: bool,
) -> Result<Datagrams> {
    let mut command = from.command("iperf3");
    command.args(["-J", "-p", IPERF_PORT, "--connect-timeout", "3000"]);
    command.args(["-u", "-b", "10M", "-t", "1", "-B", source, "-c", target]);
    command.args(["-l", &length.to_string()]);
    if reverse {
        command.arg("-R");
    }
    let report = report_of(&mut command, target)?;
    let sum = &report["end"]["sum"];
    let sums = || {
        Some(Datagrams {
            sent: sum["packets"].as_u64()?,
            lost: sum["lost_packets"].as_u64()?,
        })
    };
    sums().with_context(|| format!("iperf3 to {target} printed no sum: {report}"))
}

/// What a client of iperf3 reports in the end.
fn report_of(command: &mut Command, target: &str) -> Result<Value> {
    let output = outcome(command)?;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    if let Some(complaint) = report["error"].as_str() {
        bail!("iperf3 to {target}: {complaint}");
    }
    Ok(report)
}

/// What an exchange over UDP showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// Who the server saw.
    pub client: SocketAddr,
    /// Who the client saw.
    pub server: SocketAddr,
}

/// One datagram from a socket at `source` to `target`, where a socket at `bound` answers it with
/// the same words.
pub fn udp(
    client: &Netns,
    source: &str,
    server: &Netns,
    bound: &str,
    target: &str,
    port: u16,
) -> Result<Exchanged> {
    const WORDS: &[u8] = b"datagram there and back";
    let wait = Some(PATIENCE);
    let server = server.enter(|| Ok(UdpSocket::bind((bound, port))?))?;
    let client = client.enter(|| Ok(UdpSocket::bind((source, 0))?))?;
    server.set_read_timeout(wait)?;
    client.set_read_timeout(wait)?;
    let mut buffer = [0; 64];
    client.send_to(WORDS, (target, port))?;
    let (length, seen) = server
        .recv_from(&mut buffer)
        .with_context(|| format!("no datagram came to {target}"))?;
    server.send_to(&buffer[..length], seen)?;
    let (length, answering) = client
        .recv_from(&mut buffer)
        .with_context(|| format!("no answer came from {target}"))?;
    ensure!(&buffer[..length] == WORDS, "the datagram changed");
    Ok(Exchanged {
        client: seen,
        server: answering,
    })
}

/// Datagrams of one system call, which the kernel hands on in one piece to be cut as late as
/// possible (`UDP_SEGMENT`); all of them arrive.
pub fn udp_segmented(
    client: &Netns,
    source: &str,
    server: &Netns,
    bound: &str,
    target: &str,
    port: u16,
) -> Result<()> {
    const SIZE: usize = 1000;
    let server = server.enter(|| Ok(UdpSocket::bind((bound, port))?))?;
    server.set_read_timeout(Some(PATIENCE))?;
    let client = client.enter(|| Ok(UdpSocket::bind((source, 0))?))?;
    set(
        &client,
        libc::SOL_UDP,
        libc::UDP_SEGMENT,
        &i32::try_from(SIZE)?,
    )?;
    let sent: Vec<u8> = (0..8_u8).flat_map(|number| [number; SIZE]).collect();
    client.send_to(&sent, (target, port))?;
    let mut received = BTreeSet::new();
    let mut buffer = [0; 2 * SIZE];
    for part in sent.chunks(SIZE) {
        let length = server
            .recv(&mut buffer)
            .with_context(|| format!("only {} datagrams came to {target}", received.len()))?;
        ensure!(length == part.len(), "a datagram of {length} bytes");
        received.insert(buffer[..length].to_vec());
    }
    ensure!(
        sent.chunks(SIZE).all(|part| received.contains(part)),
        "the datagrams changed"
    );
    Ok(())
}

/// The IPv4 addresses of a guest, as `ip address` prints them: `10.0.0.10/24`.
pub fn addresses(guest: &Netns) -> Result<Vec<String>> {
    let text = run(guest
        .command("ip")
        .args(["-4", "-o", "address", "show", "scope", "global"]))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3))
        .map(str::to_owned)
        .collect())
}

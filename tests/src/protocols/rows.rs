//! The rows of the matrix.

use anyhow::Result;
use eip_dp_tests::{
    apps::{
        FAMILIES, Family, Party, Seen, Stage, dns, ftp, http, iperf, path_mtu, rtsp, sip, ssh,
        tftp, traceroute,
    },
    lab::ftp::Data,
};

/// What is expected of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It does what it is for.
    Works,
    /// It breaks: its payload leads the other side to the guest's private address.
    Misleads,
}

impl Expected {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Misleads => "breaks: misled to the private address",
        }
    }
}

/// An application, and what is expected of it through NAT. Through cut-through everything works.
pub struct Row {
    /// Its name.
    pub name: String,
    /// Through NAT.
    pub nat: Expected,
    /// The family, where it matters.
    pub family: Option<Family>,
    /// Runs it for a guest.
    pub run: fn(&Stage, &Party) -> Result<Seen>,
}

impl Row {
    /// Whether the documents of the service that has the two modes name its protocol as not
    /// supported in NAT mode.
    pub fn named(&self) -> bool {
        ["H.323", "SIP", "DNS", "RTSP", "TFTP"]
            .iter()
            .any(|protocol| self.name.starts_with(protocol))
    }
}

/// All of them, in the order of the matrix.
pub fn all() -> Vec<Row> {
    let mut rows = ftp_rows();
    rows.extend(tftp_and_dns());
    rows.extend(sip_and_rtsp());
    rows.extend(FAMILIES.iter().flat_map(http_over));
    rows.extend(headers_alone());
    rows
}

fn row(name: &str, nat: Expected, run: fn(&Stage, &Party) -> Result<Seen>) -> Row {
    Row {
        name: name.to_owned(),
        nat,
        family: None,
        run,
    }
}

/// FTP.
fn ftp_rows() -> Vec<Row> {
    use Expected::{Misleads, Works};
    vec![
        row(
            "FTP active (PORT), client in the guest",
            Misleads,
            |stage, party| ftp::client(stage, party, Data::Port),
        ),
        row(
            "FTP active (PORT), client in the guest and told its EIP",
            Works,
            ftp::client_told_its_eip,
        ),
        row(
            "FTP passive (PASV), client in the guest",
            Works,
            |stage, party| ftp::client(stage, party, Data::Pasv),
        ),
        row(
            "FTP active (PORT), server in the guest",
            Works,
            |stage, party| ftp::server(stage, party, Data::Port, "connect_from_port_20=YES"),
        ),
        row(
            "FTP passive (PASV), server in the guest",
            Misleads,
            |stage, party| ftp::server(stage, party, Data::Pasv, ""),
        ),
        row(
            "FTP passive (PASV), server in the guest and told its EIP",
            Works,
            |stage, party| {
                ftp::server(
                    stage,
                    party,
                    Data::Pasv,
                    &format!("pasv_address={}", party.eip.address),
                )
            },
        ),
        row(
            "FTP passive (PASV), client goes by the port alone",
            Works,
            |stage, party| ftp::server(stage, party, Data::PasvPortOnly, ""),
        ),
        row(
            "FTP passive (EPSV), server in the guest",
            Works,
            |stage, party| ftp::server(stage, party, Data::Epsv, ""),
        ),
    ]
}

/// TFTP and DNS.
fn tftp_and_dns() -> Vec<Row> {
    use Expected::{Misleads, Works};
    vec![
        row("TFTP, client in the guest", Works, |stage, party| {
            tftp::fetch(stage, &stage.out(party))
        }),
        row("TFTP, server in the guest", Works, |stage, party| {
            tftp::fetch(stage, &stage.into(party))
        }),
        row("DNS over UDP, the guest asks", Works, |stage, party| {
            dns::ask(stage, &stage.out(party), dns::Way::Udp)
        }),
        row("DNS over UDP, the guest is asked", Works, |stage, party| {
            dns::ask(stage, &stage.into(party), dns::Way::Udp)
        }),
        row(
            "DNS over UDP, the guest is asked, answer in fragments",
            Works,
            |stage, party| dns::ask(stage, &stage.into(party), dns::Way::UdpFragments),
        ),
        row("DNS over TCP, the guest asks", Works, |stage, party| {
            dns::ask(stage, &stage.out(party), dns::Way::Tcp)
        }),
        row("DNS over TCP, the guest is asked", Works, |stage, party| {
            dns::ask(stage, &stage.into(party), dns::Way::Tcp)
        }),
        row(
            "DNS, the guest answers with its own address",
            Misleads,
            dns::own_address,
        ),
    ]
}

/// Signalling that says where media shall go.
fn sip_and_rtsp() -> Vec<Row> {
    use Expected::{Misleads, Works};
    vec![
        row("SIP, the guest calls", Misleads, |stage, party| {
            sip::call(stage, party, sip::Caller::Guest, party.inside())
        }),
        row(
            "SIP, the guest calls and is told its EIP",
            Works,
            |stage, party| sip::call(stage, party, sip::Caller::Guest, party.eip.address),
        ),
        row("SIP, the guest is called", Misleads, |stage, party| {
            sip::call(stage, party, sip::Caller::Internet, party.inside())
        }),
        row(
            "SIP, the guest is called and is told its EIP",
            Works,
            |stage, party| sip::call(stage, party, sip::Caller::Internet, party.eip.address),
        ),
        row(
            "RTSP with media over UDP, client in the guest",
            Works,
            |stage, party| rtsp::play(stage, party, &stage.out(party), rtsp::Media::Udp),
        ),
        row(
            "RTSP with media over UDP, server in the guest",
            Works,
            |stage, party| rtsp::play(stage, party, &stage.into(party), rtsp::Media::Udp),
        ),
        row(
            "RTSP interleaved in TCP, client in the guest",
            Works,
            |stage, party| rtsp::play(stage, party, &stage.out(party), rtsp::Media::Tcp),
        ),
        row(
            "RTSP interleaved in TCP, server in the guest",
            Works,
            |stage, party| rtsp::play(stage, party, &stage.into(party), rtsp::Media::Tcp),
        ),
    ]
}

fn http_over(family: &Family) -> Vec<Row> {
    let of = |direction: &str, run| Row {
        family: Some(*family),
        ..row(
            &format!("HTTP over {}, {direction} in the guest", family.name),
            Expected::Works,
            run,
        )
    };
    vec![
        of("client", |stage, party| {
            http::fetch(stage, &stage.out(party))
        }),
        of("server", |stage, party| {
            http::fetch(stage, &stage.into(party))
        }),
    ]
}

/// What rests on headers alone, and on ICMP.
fn headers_alone() -> Vec<Row> {
    use traceroute::Probe;
    let works = |name, run| row(name, Expected::Works, run);
    vec![
        works("ssh, from the guest", |stage, party| {
            ssh::log_in(stage, &stage.out(party))
        }),
        works("ssh, to the guest", |stage, party| {
            ssh::log_in(stage, &stage.into(party))
        }),
        works("traceroute with UDP, from the guest", |_, party| {
            traceroute::out(party, Probe::Udp)
        }),
        works("traceroute with ICMP, from the guest", |_, party| {
            traceroute::out(party, Probe::Icmp)
        }),
        works("traceroute with TCP, from the guest", |_, party| {
            traceroute::out(party, Probe::Tcp)
        }),
        works("traceroute with UDP, to the guest", |stage, party| {
            traceroute::into(stage, party, Probe::Udp)
        }),
        works("traceroute with ICMP, to the guest", |stage, party| {
            traceroute::into(stage, party, Probe::Icmp)
        }),
        works("traceroute with TCP, to the guest", |stage, party| {
            traceroute::into(stage, party, Probe::Tcp)
        }),
        works("Path MTU, small link on the Internet", path_mtu::beyond),
        works("Path MTU, small link behind the guest", path_mtu::behind),
        works("iperf3 over TCP, from the guest", |stage, party| {
            iperf::tcp(stage, &stage.out(party))
        }),
        works("iperf3 over TCP, to the guest", |stage, party| {
            iperf::tcp(stage, &stage.into(party))
        }),
        works("iperf3 over UDP, from the guest", |stage, party| {
            iperf::udp(stage, &stage.out(party))
        }),
        works("iperf3 over UDP, to the guest", |stage, party| {
            iperf::udp(stage, &stage.into(party))
        }),
    ]
}

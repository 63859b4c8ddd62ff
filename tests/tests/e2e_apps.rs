//! Applications of `cargo xtask protocols` that rest on what a gateway easily gets wrong: ICMP
//! errors that have to reach the right stack, answers in fragments, a server that answers from the
//! address it was asked at.

use anyhow::Result;
use eip_dp_tests::apps::{
    IPV4, Party, Seen, Stage, dns, path_mtu,
    traceroute::{self, Probe},
};

type Application = fn(&Stage, &Party) -> Result<Seen>;

fn work_in_both_modes(stage: &Stage, applications: &[(&str, Application)]) -> Result<()> {
    for (mode, party) in [
        ("NAT", stage.nat(&IPV4)),
        ("cut-through", stage.cut_through(&IPV4)),
    ] {
        for (name, run) in applications {
            let seen = run(stage, &party)?;
            assert!(matches!(seen, Seen::Works(_)), "{name}, {mode}: {seen:?}");
        }
    }
    Ok(())
}

/// T9, T10: TCP gets through a link whose MTU the sender can learn from an ICMP error only.
#[test]
fn tcp_gets_through_a_small_link() -> Result<()> {
    work_in_both_modes(
        &Stage::new()?,
        &[
            ("small link on the Internet", path_mtu::beyond),
            ("small link behind the guest", path_mtu::behind),
        ],
    )
}

/// R2, T9, T10: every hop answers, and its answer finds the probe's socket.
#[test]
fn a_traceroute_sees_the_gateway() -> Result<()> {
    work_in_both_modes(
        &Stage::new()?,
        &[
            ("UDP, from the guest", |_, party| {
                traceroute::out(party, Probe::Udp)
            }),
            ("ICMP, from the guest", |_, party| {
                traceroute::out(party, Probe::Icmp)
            }),
            ("TCP, from the guest", |_, party| {
                traceroute::out(party, Probe::Tcp)
            }),
            ("UDP, to the guest", |stage, party| {
                traceroute::into(stage, party, Probe::Udp)
            }),
            ("ICMP, to the guest", |stage, party| {
                traceroute::into(stage, party, Probe::Icmp)
            }),
            ("TCP, to the guest", |stage, party| {
                traceroute::into(stage, party, Probe::Tcp)
            }),
        ],
    )
}

/// T1, T7, in either direction; and nothing rewrites an answer, which leads to the address that the
/// server gave.
#[test]
fn names_are_resolved() -> Result<()> {
    use dns::Way;
    let stage = Stage::new()?;
    let nat = dns::own_address(&stage, &stage.nat(&IPV4))?;
    assert!(matches!(nat, Seen::Misled(_)), "{nat:?}");
    let cut_through = dns::own_address(&stage, &stage.cut_through(&IPV4))?;
    assert!(matches!(cut_through, Seen::Works(_)), "{cut_through:?}");
    work_in_both_modes(
        &stage,
        &[
            ("the guest asks over UDP", |stage, party| {
                dns::ask(stage, &stage.out(party), Way::Udp)
            }),
            ("the guest is asked over UDP", |stage, party| {
                dns::ask(stage, &stage.into(party), Way::Udp)
            }),
            ("the guest's answer comes in fragments", |stage, party| {
                dns::ask(stage, &stage.into(party), Way::UdpFragments)
            }),
            (
                "the answer to the guest comes in fragments",
                |stage, party| dns::ask(stage, &stage.out(party), Way::UdpFragments),
            ),
            ("the guest is asked over TCP", |stage, party| {
                dns::ask(stage, &stage.into(party), Way::Tcp)
            }),
        ],
    )
}

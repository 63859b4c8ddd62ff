//! `cargo xtask demo`: an Internet host, a gateway and two instances in network namespaces, and
//! what the product does between them, line by line.

mod lines;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use clap::Parser;
use eip_dp_tests::{
    lab::{
        guide,
        scene::{Options, Scene},
        sweep,
    },
    report::Report,
};

#[derive(Parser)]
#[command(
    name = "eip-dp-demo",
    about = "Shows eip-dp at work in network namespaces"
)]
struct Arguments {
    /// Leave the network up at the end, and print how to look around in it
    #[arg(long)]
    keep: bool,
    /// Take away what earlier runs with --keep left up
    #[arg(long, conflicts_with = "keep")]
    remove: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.remove {
        for name in sweep::kept() {
            println!("removed {name}");
        }
        return ExitCode::SUCCESS;
    }
    match show(arguments.keep) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: the demo could not be set up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn show(keep: bool) -> Result<bool> {
    let begun = Instant::now();
    println!("building the network: an Internet host, a gateway, instances A and B …");
    let mut scene = Scene::new(&Options::default())?;
    println!("{PICTURE}");
    let mut report = Report::new("lines");
    lines::all(&mut scene, &mut report);
    let good = report.summary(begun.elapsed().as_secs_f64());
    if keep {
        guide::print(&scene);
        scene.keep()?;
    }
    Ok(good)
}

const PICTURE: &str = "
                 198.51.100.1   198.51.100.2     a1 ── eth0 A  primary ENI    10.0.0.10   203.0.113.10  NAT
  Internet host ══════════════════ gateway ══════ a2 ── eth1 A  secondary ENI  10.0.0.11   203.0.113.11  NAT
                                                                              10.0.0.12   203.0.113.12  NAT
                                                 b1 ── eth0 B  primary ENI    10.0.0.20
                                                 b2 ── eth1 B  secondary ENI (10.0.0.21)  203.0.113.20  cut-through
  Addresses come from Debian's DHCP client in the guests; nobody sets a route there, and offloads are as the kernel makes
  them. DHCP gives one address per ENI: the second private IP, 10.0.0.12, is added in the guest with `ip address add`.";

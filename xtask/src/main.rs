//! `cargo xtask VERB`: what a checkout needs, and what to do with it. One verb, one file.

mod bench;
mod build;
mod conformance;
mod demo;
mod deny;
mod fuzz;
mod miri;
mod protocols;
mod run;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Set up, build with optimisations, then measure packet rates, transfers and the table's side
    /// (root)
    Bench(bench::Arguments),
    /// Bring what builds, tests and the demo need and this machine lacks
    Setup,
    /// Set up, then build the command, the BPF programs and the demo
    Build(build::Arguments),
    /// Set up, build, then show the product at work in network namespaces (root)
    Demo(demo::Arguments),
    /// Set up, build, then hold eip-dp and other NAT gateways against the conformance suite (root)
    Conformance(conformance::Arguments),
    /// Check the licences and sources of all packages (by cargo-deny, if it is here)
    Deny,
    /// Set up, then run all that reads what others wrote on what a fuzzer makes up
    Fuzz(fuzz::Arguments),
    /// Set up, then run the packet path's tests in Miri, which sees undefined behaviour
    Miri(miri::Arguments),
    /// Set up, build, then run real applications through NAT and through cut-through (root)
    Protocols(protocols::Arguments),
    /// Set up, then run every test (those with network namespaces need root)
    Test(test::Arguments),
    /// Set up, build, then try the product on other kernels in virtual machines
    Vm(vm::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Setup => setup::run().map(|()| ExitCode::SUCCESS),
        Verb::Build(arguments) => build::run(&arguments).map(|()| ExitCode::SUCCESS),
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Conformance(arguments) => conformance::run(&arguments),
        Verb::Deny => deny::run(),
        Verb::Fuzz(arguments) => fuzz::run(&arguments),
        Verb::Miri(arguments) => miri::run(&arguments),
        Verb::Protocols(arguments) => protocols::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Vm(arguments) => vm::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

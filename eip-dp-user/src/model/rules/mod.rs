//! Every rule of the service: pure functions from a view of the table and a command to changes or a
//! refusal.
//!
//! A command is decided in two steps upon a [`draft::Draft`], the table as the command makes it:
//!
//! 1. *Transition rules* look at what the command does to what is there, object by object, and make
//!    the changes in the draft: [`association`], [`eni`], [`eip`], [`network`], [`instance`].
//!    [`apply`] is made of the same steps.
//! 2. *State rules* ([`state`]) look at every changed object, as it stands in the end, among all
//!    others.
//!
//! Where the service's documents are silent, this is how it is decided here:
//!
//! - A region is compared as it is: an EIP or ENI without one matches only another without one.
//! - An ENI has NAT EIPs or cut-through ones, never both; cut-through allows one per address
//!   family.
//! - A stranded ENI takes NAT EIPs, with a warning: it forwards nothing until it is detached and
//!   attached again. A cut-through EIP needs a detached ENI, and a stranded one is attached.
//! - `eni attach` to the place where the ENI stands changes nothing, except that it ends
//!   `stranded`.
//! - An instance has one primary ENI (`instance-eni-limit`), which counts towards `max_enis`.
//! - A pool and a VPC share no addresses (`overlapping-cidr`), and neither holds addresses that no
//!   router forwards (`reserved-address`).
//! - A time that has passed cannot be set (`eip-expired`). Renewing an expired EIP makes its
//!   association again where no rule is against it by now, with a warning where one is; a
//!   cut-through EIP's ENI is attached again if it is still stranded.
//! - A private IP that several ENIs share is shared at each of them (`duplicate-address`), is no
//!   ENI's primary one (`shared-primary-ip`), and has one EIP (`private-ip-in-use`).
//! - An attach to what the host uses itself is refused (`port-is-the-hosts`); an ENI that is
//!   there already may stay.
//! - An ENI keeps one private IP at least, and every one that has an EIP (`in-use`).
//! - The next free address of a pool is its lowest, but in a routed IPv4 pool none that ends with
//!   .0 or .255, which some hosts take for a network's. Pools are tried in the order of their
//!   priorities, then of their addresses, IPv6 ones only where there is no other. A pool can be
//!   named.
//! - IPv6 pools hold global unicast addresses (`2000::/3`, the documentation prefixes among them)
//!   or, in a private cloud, unique local ones (`fc00::/7`), as IPv4 pools may hold private ones; a
//!   VPC may have either.

mod apply;
mod association;
mod base;
mod draft;
mod eip;
mod eni;
mod index;
mod instance;
mod network;
mod prune;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use super::{Code, Context, Decision, Refusal, View, command::Command};
use draft::Draft;
pub use eip::storable;

/// Decides what `command` does to the table that `view` shows.
pub fn decide(view: &impl View, command: &Command, context: &Context) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(view);
    transition(&mut draft, command, context)?;
    state::check(&mut draft, context)?;
    Ok(draft.finish())
}

fn transition(draft: &mut Draft, command: &Command, context: &Context) -> Result<(), Refusal> {
    match command {
        Command::PoolCreate(pool) => network::create_pool(draft, pool),
        Command::PoolSet {
            cidr,
            gateway,
            reserve,
            priority,
        } => network::set_pool(draft, cidr, *gateway, reserve.as_deref(), *priority),
        Command::PoolDelete { cidr } => network::delete_pool(draft, cidr),
        Command::VpcCreate(vpc) => network::create_vpc(draft, vpc),
        Command::VpcSet {
            id,
            add,
            remove,
            gateway,
            vni,
        } => network::set_vpc(draft, id, (add, remove), *gateway, *vni),
        Command::VpcDelete { id } => network::delete_vpc(draft, id),
        Command::InstanceCreate(instance) => instance::create(draft, instance),
        Command::InstanceSet { id, max_enis } => instance::set(draft, id, *max_enis),
        Command::InstanceDelete { id } => instance::delete(draft, id),
        Command::EniCreate(spec) => eni::create(draft, spec),
        Command::EniSet {
            id,
            mac,
            region,
            antispoof,
        } => eni::set(draft, id, *mac, region.as_ref(), *antispoof),
        Command::EniAttach {
            id,
            instance,
            port,
            vlan,
            force,
            rebind,
        } => {
            let place = eni::Place {
                instance,
                port,
                vlan: *vlan,
                force: *force,
                rebind: *rebind,
            };
            eni::attach(draft, id, &place, context)
        }
        Command::EniBind { id, bound } => eni::bind(draft, id, bound),
        Command::EniDetach { id } => eni::detach(draft, id),
        Command::EniAddIp {
            id,
            address,
            shared,
        } => eni::add_ip(draft, id, *address, *shared),
        Command::EniRemoveIp { id, address } => eni::remove_ip(draft, id, *address),
        Command::EniDelete { id } => eni::delete(draft, id),
        Command::EipCreate(spec) => eip::create(draft, spec, context),
        Command::EipSet {
            id,
            expires,
            announce,
        } => eip::set(draft, id, *expires, *announce, context),
        Command::EipRelease { id } => eip::release(draft, id),
        Command::Associate {
            eip,
            eni,
            mode,
            private_ip,
        } => association::associate(draft, eip, eni, *mode, *private_ip, context),
        Command::Disassociate { eip } => association::disassociate(draft, eip),
        Command::Apply { document, prune } => apply::apply(draft, document, *prune, context),
        Command::Expire => eip::expire(draft, context),
    }
}

/// Refuses with a code and a formatted sentence.
macro_rules! refuse {
    ($code:ident, $($text:tt)+) => {
        return Err($crate::model::rules::refusal($crate::model::Code::$code, format!($($text)+)))
    };
}
use refuse;

fn refusal(code: Code, message: String) -> Refusal {
    Refusal { code, message }
}

fn not_found(kind: &str, id: &str) -> Refusal {
    let verb = match kind {
        "pool" => "pool list",
        "VPC" => "vpc list",
        "instance" => "instance list",
        "ENI" => "eni list",
        _ => "eip list",
    };
    let message = format!("there is no {kind} `{id}`; `eip-dp {verb}` shows those there are");
    refusal(Code::NotFound, message)
}

fn already_exists(kind: &str, id: &str) -> Refusal {
    let message = format!("the {kind} `{id}` exists already; choose another id or delete it first");
    refusal(Code::AlreadyExists, message)
}

//! One verb's use of the table: open it, carry out the command, tell what came of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Failure, Format, Global,
    dataplane::facts,
    failure,
    object::Object,
    output,
    wait::{self, Wait},
};
use crate::{
    config::Config,
    daemon::Report,
    host::OwnPorts,
    model::{
        Change, Code, Context, HostPort, Model, View,
        command::{Command, Unacceptable},
        objects::{Eni, EniState},
    },
    table::{ExecuteError, Outcome, Table, TableError},
};

/// An open table and how to report about it.
pub struct Session<'a> {
    global: &'a Global,
    table: Table,
}

impl<'a> Session<'a> {
    /// Opens the table.
    pub fn open(global: &'a Global) -> Result<Self, Failure> {
        let table = Table::open(global.table())?;
        Ok(Self { global, table })
    }

    /// Reads the whole table.
    pub fn model(&self) -> Result<Model, Failure> {
        Ok(self.table.snapshot()?.model)
    }

    /// Reads the few objects that `read` asks for, all as they are at one moment.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&dyn View) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.table.read(read)?
    }

    /// Carries out `command`.
    pub fn execute(&mut self, command: &Command) -> Result<Outcome, Failure> {
        let outcome = self.table.execute(command, &context(command)?)?;
        Ok(self.warn(outcome))
    }

    /// What [`Self::execute`] would do.
    pub fn preview(&self, command: &Command) -> Result<Outcome, Failure> {
        let outcome = self.table.preview(command, &context(command)?)?;
        Ok(self.warn(outcome))
    }

    /// Waits, if the option says so, until the daemon has applied what was committed.
    pub fn finish(self, wait: Wait, revision: u64) -> Result<(), Failure> {
        wait::finish(wait, revision, self.table, self.global)
    }

    fn warn(&self, outcome: Outcome) -> Outcome {
        for warning in &outcome.warnings {
            failure::warn(self.global.output, warning);
        }
        for eni in outcome.changes.iter().filter_map(stranded) {
            let warning = format!(
                "ENI `{}` is stranded: no traffic passes until it is detached and attached again",
                eni.id
            );
            failure::warn(self.global.output, &warning);
        }
        outcome
    }

    /// The object of that key as a command left it, or as it was before it went; unchanged ones are read.
    fn result<T: Object>(&self, key: &str, outcome: &Outcome) -> Result<T, Failure> {
        let changed = outcome
            .changes
            .iter()
            .filter_map(T::diff)
            .filter_map(|diff| diff.after.as_ref().or(diff.before.as_ref()))
            .find(|object| object.key() == key);
        match changed {
            Some(object) => Ok(object.clone()),
            None => self.read(|view| find(view, key)),
        }
    }
}

/// The ENI that a change has stranded.
fn stranded(change: &Change) -> Option<&Eni> {
    let Change::Eni(diff) = change else {
        return None;
    };
    let is_stranded = |eni: &&Eni| eni.state == EniState::Stranded;
    let was = diff.before.as_ref().filter(is_stranded);
    diff.after
        .as_ref()
        .filter(is_stranded)
        .filter(|_| was.is_none())
}

/// The object of that key, or the refusal of a table that does not have it.
pub fn find<T: Object>(view: &dyn View, key: &str) -> Result<T, Failure> {
    T::find(view, key).ok_or_else(|| Failure::Refused {
        code: Code::NotFound.as_str(),
        message: format!(
            "there is no {} `{key}`; `eip-dp {} list` shows those there are",
            T::NAME,
            T::KIND
        ),
    })
}

/// Carries out a command about one object and prints that object: one line that says what was done, or JSON.
pub fn change<T: Object>(
    global: &Global,
    wait: Wait,
    key: &str,
    command: &Command,
    line: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let mut session = Session::open(global)?;
    let outcome = session.execute(command)?;
    let object: T = session.result(key, &outcome)?;
    match global.output {
        Format::Json => object.print_json()?,
        Format::Text if outcome.changes.is_empty() => {
            output::write(|out| writeln!(out, "{} {key} unchanged", T::KIND))?;
        }
        Format::Text => output::write(|out| writeln!(out, "{} {key} {}", T::KIND, line(&object)))?,
    }
    session.finish(wait, outcome.revision)
}

/// Prints a list: an aligned table, or a JSON array.
pub fn list<T, J: Serialize, const N: usize>(
    format: Format,
    objects: impl Iterator<Item = T> + Clone,
    json: impl Fn(&T) -> J,
    header: [&str; N],
    row: impl Fn(&T) -> [String; N],
) -> Result<(), Failure> {
    match format {
        Format::Json => output::json(&objects.map(|object| json(&object)).collect::<Vec<_>>()),
        Format::Text => output::table(header, objects.map(|object| row(&object))),
    }
}

/// What the rules know beside the table: the time, the addresses that this host has, and the ports
/// that it uses itself.
fn context(command: &Command) -> Result<Context, Failure> {
    let now = Timestamp::now();
    let host_ports = if command.may_attach() {
        own_ports()?
    } else {
        Vec::new()
    };
    // A host of many ports takes longer to list its addresses than the command takes.
    if !command.may_add_eips() {
        return Ok(Context {
            now,
            host_addresses: Vec::new(),
            host_ports,
        });
    }
    let addresses = nix::ifaddrs::getifaddrs().map_err(|error| {
        Failure::failed(format!("this host's addresses cannot be read: {error}"))
    })?;
    let host_addresses = addresses
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(|address| !is_link_local(*address))
        .collect();
    Ok(Context {
        now,
        host_addresses,
        host_ports,
    })
}

/// The ports that this host uses itself.
fn own_ports() -> Result<Vec<HostPort>, Failure> {
    let facts = facts()?;
    let mut uplinks = Report::uplinks_of_all();
    // Of the gateway that is to be started here, too. What is wrong with its configuration, the
    // daemon says.
    if let Ok(config) = Config::load(None, &[]) {
        uplinks.extend(config.own_uplinks());
    }
    Ok(OwnPorts::new(&facts, &uplinks).by_name(&facts))
}

/// Link-local addresses are every link's own: no EIP can collide with one.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => Ipv4Addr::is_link_local(&address),
        IpAddr::V6(address) => Ipv6Addr::is_unicast_link_local(&address),
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ExecuteError> for Failure {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Refused(refusal) => Self::Refused {
                code: refusal.code.as_str(),
                message: refusal.message,
            },
            ExecuteError::Unacceptable(Unacceptable(message)) => Self::Usage(message),
            ExecuteError::Table(error) => error.into(),
        }
    }
}

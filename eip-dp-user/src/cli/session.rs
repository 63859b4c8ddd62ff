//! One verb's use of the table: open it, carry out the command, tell what came of it.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use jiff::Timestamp;
use nix::{net::if_::InterfaceFlags, sys::socket::SockaddrStorage};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Failure, Format, Global,
    dataplane::facts,
    failure, lookup,
    object::{MayBeAbsent, MayExist, Object},
    output,
    place::Place,
    serving::{self, Subject, Verdict},
    wait::{self, Wait},
};
use crate::{
    config::{Config, Uplink},
    daemon::{self, Presence, Report},
    host::{self, AddressPlace, Family, OwnPorts},
    model::{
        Change, Code, Context, HostPort, Model, View,
        command::{Command, Unacceptable},
        objects::{Eni, EniState},
    },
    table::{ExecuteError, Outcome, Table},
};

/// An open table and how to report about it.
pub struct Session<'a> {
    global: &'a Global,
    place: Place,
    /// Open for reading, until a command is carried out.
    table: Table,
}

impl<'a> Session<'a> {
    /// Opens the table, which has to be there.
    pub fn open(global: &'a Global) -> Result<Self, Failure> {
        let place = Place::find(global)?;
        let table = place.read(global)?;
        Ok(Self {
            global,
            place,
            table,
        })
    }

    /// Opens the table for a command that may be the first one: where there is no table, it is an
    /// empty one, that is made once the command is accepted.
    pub fn open_to_make(global: &'a Global) -> Result<Self, Failure> {
        let place = Place::find(global)?;
        let table = place.read_or_begin(global)?;
        Ok(Self {
            global,
            place,
            table,
        })
    }

    /// The table's location.
    pub fn url(&self) -> &str {
        &self.place.url
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
        let context = context(command, &self.table)?;
        self.table = self.place.write(self.global, command, &context)?;
        let outcome = self.table.execute(command, &context)?;
        Ok(self.tell_warnings(outcome))
    }

    /// What [`Self::execute`] would do.
    pub fn preview(&self, command: &Command) -> Result<Outcome, Failure> {
        let outcome = self
            .table
            .preview(command, &context(command, &self.table)?)?;
        Ok(self.tell_warnings(outcome))
    }

    /// Whether what it was is served now, for a verb that shows it.
    pub fn verdict(&self, subject: &Subject) -> Result<Verdict, Failure> {
        serving::shown(self.global, &self.table, subject)
    }

    /// The id of the object that is meant.
    pub fn id<T: Object>(&self, said: &str) -> Result<String, Failure> {
        self.read(|view| lookup::id_of::<T>(view, said))
    }

    /// Likewise; `None`, with a line that says so, where there is none and that is good as well.
    pub fn id_or_absent<T: Object>(
        &self,
        said: &str,
        may_be: MayBeAbsent,
    ) -> Result<Option<String>, Failure> {
        match self.id::<T>(said) {
            Ok(id) => Ok(Some(id)),
            Err(Failure::Refused { code, .. })
                if may_be.if_exists && code == Code::NotFound.as_str() =>
            {
                self.tell_absent::<T>(said)?;
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Says that there was nothing to do.
    pub fn tell_absent<T: Object>(&self, said: &str) -> Result<(), Failure> {
        match self.global.output {
            Format::Json => output::json(&()),
            Format::Text => {
                let said = output::in_line(said);
                output::write(|out| writeln!(out, "{} {said} is not there: nothing to do", T::KIND))
            }
        }
    }

    /// Carries out a command about one object and prints that object: one line that says what was
    /// done, or JSON; with `--wait` also whether it is served then.
    pub fn change<T: Object>(
        mut self,
        wait: Wait,
        key: &str,
        command: &Command,
        line: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let outcome = self.execute(command)?;
        let object: T = self.result(key, &outcome)?;
        let line = if outcome.changes.is_empty() {
            "unchanged".to_owned()
        } else {
            line(&object)
        };
        self.conclude(wait, key, &object, &line, outcome.revision)
    }

    /// Carries out a command that makes an object. Where it may be there already, `wanted` gives
    /// those fields of it that were asked for.
    pub fn create<T: Object>(
        mut self,
        wait: Wait,
        may_exist: MayExist,
        key: &str,
        command: &Command,
        wanted: &Fields,
        line: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let exists = |failure: &Failure| {
            let codes = [Code::AlreadyExists, Code::EipInUse].map(Code::as_str);
            matches!(failure, Failure::Refused { code, .. } if codes.contains(code))
        };
        let outcome = match self.execute(command) {
            Err(refused) if may_exist.may_exist && exists(&refused) => {
                let Some(object) = self.read(|view| Ok(T::find(view, key)))? else {
                    return Err(refused);
                };
                wanted.compare(&object)?;
                let revision = self.table.revision()?;
                let line = "unchanged: it is there already";
                return self.conclude(wait, key, &object, line, revision);
            }
            outcome => outcome?,
        };
        let object: T = self.result(key, &outcome)?;
        let line = line(&object);
        self.conclude(wait, key, &object, &line, outcome.revision)
    }

    /// Prints an object that is as it was asked for already.
    pub fn leave<T: Object>(self, wait: Wait, key: &str, line: &str) -> Result<(), Failure> {
        let object: T = self.read(|view| find(view, key))?;
        let revision = self.table.revision()?;
        self.conclude(wait, key, &object, line, revision)
    }

    /// Prints what became of an object, and waits until it is applied, if the option says so.
    fn conclude<T: Object>(
        self,
        wait: Wait,
        key: &str,
        object: &T,
        line: &str,
        revision: u64,
    ) -> Result<(), Failure> {
        let format = self.global.output;
        if format == Format::Text {
            let (key, line) = (output::in_line(key), output::in_line(line));
            output::write(|out| writeln!(out, "{} {key} {line}", T::KIND))?;
        }
        if !wait.wait {
            return match format {
                Format::Json => object.print_json(None),
                Format::Text => Ok(()),
            };
        }
        let subject = self.read(|view| Ok(T::subject(view, key)))?;
        let verdicts = wait::finish(revision, self.table, self.global, subject.as_slice());
        let verdict = verdicts.as_ref().ok().and_then(|all| all.first());
        match (format, verdict) {
            (Format::Json, verdict) => object.print_json(verdict)?,
            (Format::Text, Some(verdict)) => {
                let verdict = verdict.to_string();
                output::write(|out| writeln!(out, "serving: {}", output::in_line(&verdict)))?;
            }
            (Format::Text, None) => {}
        }
        match verdicts?.into_iter().next() {
            Some(Verdict::No(why)) => {
                Err(Failure::NotForwarded(format!("{} {key}: {why}", T::KIND)))
            }
            _ => Ok(()),
        }
    }

    /// Waits until many changes are applied, if the option says so, and tells what of them is not
    /// served.
    pub fn finish(self, wait: Wait, revision: u64, changes: &[Change]) -> Result<(), Failure> {
        if !wait.wait {
            return Ok(());
        }
        let (subjects, more) = self.read(|view| Ok(subjects(view, changes)))?;
        let format = self.global.output;
        let verdicts = wait::finish(revision, self.table, self.global, &subjects)?;
        let is_served = |verdict: &Verdict| *verdict == Verdict::Yes;
        let no: Vec<String> = subjects
            .iter()
            .zip(&verdicts)
            .filter_map(|(subject, verdict)| match verdict {
                Verdict::No(why) => Some(format!("{}: {why}", subject.name())),
                _ => None,
            })
            .collect();
        if format == Format::Text {
            output::write(|out| {
                for sentence in no.iter().take(TOLD) {
                    writeln!(out, "serving: no, {}", output::in_line(sentence))?;
                }
                if no.len() > TOLD {
                    let rest = no.len() - TOLD;
                    writeln!(
                        out,
                        "serving: no, {rest} more; `eip-dp status` tells of them"
                    )?;
                } else if no.is_empty() && verdicts.iter().any(is_served) {
                    writeln!(out, "serving: yes")?;
                }
                if more > 0 {
                    writeln!(
                        out,
                        "serving: {more} more were not looked at; `eip-dp status` tells of them"
                    )?;
                }
                Ok(())
            })?;
        }
        if no.is_empty() {
            return Ok(());
        }
        Err(Failure::NotForwarded(no.join("; ")))
    }

    /// Tells the operator something about a command that succeeds.
    pub fn warn(&self, message: &str) {
        failure::warn(self.global.output, message);
    }

    fn tell_warnings(&self, outcome: Outcome) -> Outcome {
        for warning in &outcome.warnings {
            self.warn(warning);
        }
        for eni in outcome.changes.iter().filter_map(stranded) {
            let warning = format!(
                "ENI `{}` is stranded: no traffic passes until it is detached and attached again",
                eni.id
            );
            self.warn(&warning);
        }
        outcome
    }

    /// The object of that key as a command left it, or as it was before it went; unchanged ones are
    /// read.
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

/// So many objects that are not served are told of, and so many are looked at.
const TOLD: usize = 5;
const JUDGED: usize = 10_000;

/// What of the changes may be served or not, and how many more there are.
fn subjects(view: &dyn View, changes: &[Change]) -> (Vec<Subject>, usize) {
    let wanted = changes.iter().filter_map(|change| match change {
        Change::Eni(diff) => diff.after.as_ref().map(|eni| (true, eni.id.as_str())),
        Change::Association(diff) => diff.after.as_ref().map(|one| (false, one.eip.as_str())),
        _ => None,
    });
    let mut subjects = Vec::new();
    let mut more = 0;
    for (is_eni, id) in wanted {
        if subjects.len() == JUDGED {
            more += 1;
        } else if is_eni {
            subjects.extend(Subject::eni(view, id));
        } else {
            subjects.extend(Subject::eip(view, id));
        }
    }
    (subjects, more)
}

/// An object as a verb was asked to make it.
#[derive(Debug, Default)]
pub struct Fields {
    wanted: Map<String, Value>,
    /// What nobody asked for: it was left to the program, or is another verb's.
    open: &'static [&'static str],
    /// A field whose address has to be in a prefix.
    within: Option<(&'static str, IpNet)>,
}

impl Fields {
    /// What was asked for, but for the fields in `open`.
    pub fn of(object: &impl Serialize, open: &'static [&'static str]) -> Self {
        let wanted = map_of(object);
        Self {
            wanted,
            open,
            within: None,
        }
    }

    /// And a field is an address in that prefix.
    #[must_use]
    pub fn within(self, field: &'static str, prefix: IpNet) -> Self {
        Self {
            within: Some((field, prefix)),
            ..self
        }
    }

    /// Refuses an object that differs.
    fn compare<T: Object>(&self, object: &T) -> Result<(), Failure> {
        let existing = map_of(object);
        let names: BTreeSet<&String> = existing.keys().chain(self.wanted.keys()).collect();
        let mut differences: Vec<String> = names
            .into_iter()
            .filter(|name| !self.open.contains(&name.as_str()))
            .filter_map(|name| {
                let (has, wants) = (existing.get(name), self.wanted.get(name));
                (has != wants).then(|| format!("{name} {}, not {}", text(has), text(wants)))
            })
            .collect();
        if let Some((field, prefix)) = self.within {
            let address = existing.get(field).and_then(Value::as_str);
            let address: Option<IpAddr> = address.and_then(|text| text.parse().ok());
            if !address.is_some_and(|address| prefix.contains(&address)) {
                let has = text(existing.get(field));
                differences.push(format!("{field} {has}, which is not in {prefix}"));
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(Failure::Refused {
            code: Code::AlreadyExists.as_str(),
            message: format!(
                "the {} `{}` is there already and differs: {}; change it, choose another id or delete it first",
                T::NAME,
                object.key(),
                differences.join("; ")
            ),
        })
    }
}

/// The fields that have a value.
fn map_of(object: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(object) {
        Ok(Value::Object(fields)) => {
            let fields = fields.into_iter();
            fields.filter(|(_, value)| !value.is_null()).collect()
        }
        _ => Map::new(),
    }
}

/// A field as a message has it.
fn text(value: Option<&Value>) -> String {
    match value {
        None => "unset".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) => {
            let all: Vec<String> = values.iter().map(|value| text(Some(value))).collect();
            all.join(", ")
        }
        Some(other) => other.to_string(),
    }
}

/// The object that is meant, or the refusal of a table that does not have it.
pub fn find<T: Object>(view: &dyn View, said: &str) -> Result<T, Failure> {
    let id = lookup::id_of::<T>(view, said)?;
    T::find(view, &id).ok_or_else(|| Failure::Refused {
        code: Code::NotFound.as_str(),
        message: format!("the {} `{id}` is gone", T::NAME),
    })
}

/// Carries out a command about one object, see [`Session::change`].
pub fn change<T: Object>(
    global: &Global,
    wait: Wait,
    key: &str,
    command: &Command,
    line: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let session = if command.makes_a_table() {
        Session::open_to_make(global)
    } else {
        Session::open(global)
    };
    session?.change(wait, key, command, line)
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

/// What the rules know beside the table: the time, the addresses that this host has, those that its
/// uplinks send to, and the ports that it uses itself.
fn context(command: &Command, table: &Table) -> Result<Context, Failure> {
    let now = Timestamp::now();
    let (host_ports, port) = if command.may_attach() {
        places(command)?
    } else {
        (Vec::new(), None)
    };
    if !command.may_serve_eips() {
        return Ok(Context {
            now,
            host_addresses: Vec::new(),
            host_networks: Vec::new(),
            host_ports,
            port,
            next_hops: Vec::new(),
        });
    }
    let (host_addresses, host_networks) = match command {
        // A host of many ports takes longer to list its addresses than the command takes.
        Command::Associate { eip, .. } | Command::EipSet { id: eip, .. } => {
            own_address_of(eip, table)?
        }
        _ => host_addresses()?,
    };
    Ok(Context {
        now,
        host_addresses,
        host_networks,
        host_ports,
        port,
        next_hops: next_hops(table),
    })
}

/// This host's own addresses, and the networks that it is on.
type Own = (Vec<IpAddr>, Vec<IpNet>);

/// The EIP's address, if this host has it itself, and the network of the host's that it is in.
fn own_address_of(eip: &str, table: &Table) -> Result<Own, Failure> {
    let address = table.read(|view| view.eip(eip).map(|eip| eip.address))?;
    let Some(address) = address else {
        return Ok(Own::default());
    };
    let place = host::place_of(address).map_err(|error| {
        Failure::failed(format!(
            "whether {address} is this host's is unknown: {error}"
        ))
    })?;
    Ok(match place {
        AddressPlace::Own => (vec![address], Vec::new()),
        AddressPlace::OnLink(network) => (Vec::new(), vec![network]),
        AddressPlace::Elsewhere => Own::default(),
    })
}

/// The next hops of this host's gateways of the table; before the first daemon runs, those that it
/// would have.
fn next_hops(table: &Table) -> Vec<IpAddr> {
    let location = daemon::location_of(table);
    let gateways = Presence::all().into_iter();
    let gateways: Vec<_> = gateways
        .filter(|gateway| gateway.serves(&location, table.identity()))
        .collect();
    let mut hops = BTreeSet::new();
    // A daemon knows which of the host's routers are on its uplinks' links. Without one, any may.
    if gateways.is_empty()
        && let Ok(facts) = facts()
    {
        hops.extend(facts.routes.iter().filter_map(|route| route.gateway));
    }
    hops.extend(gateways.into_iter().flat_map(|gateway| gateway.next_hops));
    hops.extend(host::default_routers());
    if let Ok(config) = Config::load(None, &[]) {
        let configured = |uplink: &Uplink| Family::ALL.map(|family| uplink.next_hop.of(family));
        let configured = config.uplinks.iter().flat_map(configured);
        hops.extend(configured.flatten());
    }
    hops.into_iter().collect()
}

fn host_addresses() -> Result<Own, Failure> {
    let interfaces = nix::ifaddrs::getifaddrs().map_err(|error| {
        Failure::failed(format!("this host's addresses cannot be read: {error}"))
    })?;
    let ip = |address: Option<&SockaddrStorage>| {
        let v4 = address?.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address?.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let (mut addresses, mut networks) = Own::default();
    for interface in interfaces {
        // Link-local addresses are every link's own: no EIP can collide with one.
        let address = ip(interface.address.as_ref()).filter(|own| !host::is_link_local(*own));
        let Some(address) = address else { continue };
        addresses.push(address);
        // On the loopback interface all of a network is the host's own, and where frames go to
        // nobody in particular there is no network.
        let is_link = interface.flags.contains(InterfaceFlags::IFF_BROADCAST);
        if let Some(mask) = ip(interface.netmask.as_ref()).filter(|_| is_link)
            && let Ok(network) = IpNet::with_netmask(address, mask)
        {
            networks.push(network.trunc());
        }
    }
    Ok((addresses, networks))
}

/// The ports that this host uses itself, and which interface the one is that the command names.
fn places(command: &Command) -> Result<(Vec<HostPort>, Option<String>), Failure> {
    let facts = facts()?;
    let port = match command {
        Command::EniAttach { port, .. } => facts.link_named(port),
        _ => None,
    };
    let port = port.map(|(index, link)| host::identity_of(index, link));
    let mut uplinks = Report::uplinks_of_all();
    // Of the gateway that is to be started here, too. What is wrong with its configuration, the
    // daemon says.
    if let Ok(config) = Config::load(None, &[]) {
        uplinks.extend(config.own_uplinks());
    }
    Ok((OwnPorts::new(&facts, &uplinks).by_name(&facts), port))
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

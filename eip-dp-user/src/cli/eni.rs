//! `eni`: elastic network interfaces.

use std::{collections::BTreeMap, net::IpAddr};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::{
    Failure, Format, Global,
    object::{ById, MayBeAbsent, MayExist},
    output,
    serving::{Subject, Verdict},
    session::{self, Fields, Session},
    values,
    wait::Wait,
};
use crate::model::{
    Code, Model, Vlan,
    command::{Command, EniSpec, OrNone},
    objects::{
        Antispoof, Association, Eip, Eni, EniKind, EniState, Instance, Mac, Mode, Rebind, Vpc,
    },
};

/// Verbs of `eni`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add an ENI
    Create(Create),
    /// Change an ENI where it stands
    Set(Set),
    /// Attach an ENI to an instance, behind a port of this host; an attached one moves
    Attach(Attach),
    /// Detach a secondary ENI from its instance
    Detach(ById),
    /// Give an ENI another private address
    AddIp(AddIp),
    /// Take a private address from an ENI
    RemoveIp(RemoveIp),
    /// List all ENIs
    #[command(visible_alias = "ls")]
    List,
    /// Show one ENI
    Show {
        /// The ENI, or its address, MAC or port
        #[arg(value_parser = values::name)]
        id: String,
    },
    /// Remove a detached ENI that has no EIP
    #[command(visible_alias = "rm")]
    Delete(ById),
}

/// Arguments of `eni create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The ENI's id
    #[arg(value_parser = values::id)]
    id: String,
    /// The VPC that it belongs to
    #[arg(long, value_name = "V", value_parser = values::name)]
    vpc: String,
    /// Primary: lives with its instance. Secondary: moves between instances
    #[arg(long, value_parser = values::kind())]
    kind: EniKind,
    /// Its Ethernet address
    #[arg(long, value_name = "M")]
    mac: Mac,
    /// A private address; may be given several times, the first is the primary private IP
    #[arg(long = "private-ip", required = true, value_name = "A", value_parser = values::address)]
    private_ips: Vec<IpAddr>,
    /// The region that its EIPs must share with it
    #[arg(long, value_name = "R", value_parser = values::id)]
    region: Option<String>,
    /// Whose source addresses its port accepts: every ENI's of the same instance and VPC, or its
    /// own only [default: instance]
    #[arg(long, value_parser = values::antispoof())]
    antispoof: Option<Antispoof>,
    #[command(flatten)]
    may_exist: MayExist,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `eni set`.
#[derive(Debug, Args)]
#[group(id = "changes", required = true, multiple = true, args = ["mac", "region", "antispoof"])]
pub struct Set {
    /// The ENI, or its address, MAC or port
    #[arg(value_parser = values::name)]
    id: String,
    /// Its Ethernet address from now on: the guest's card was replaced
    #[arg(long, value_name = "M")]
    mac: Option<Mac>,
    /// Its region from now on, or nothing (`--region ''`) for none
    #[arg(long, value_name = "R", value_parser = values::id_or_none)]
    region: Option<OrNone<String>>,
    /// Whose source addresses its port accepts from now on
    #[arg(long, value_parser = values::antispoof())]
    antispoof: Option<Antispoof>,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `eni attach`.
#[derive(Debug, Args)]
pub struct Attach {
    /// The ENI, or its address, MAC or port
    #[arg(value_parser = values::name)]
    id: String,
    /// The instance
    #[arg(long, value_name = "I", value_parser = values::name)]
    instance: String,
    /// The interface of this host behind which the ENI stands; it need not exist yet
    #[arg(long, value_name = "IFNAME", value_parser = values::interface)]
    port: String,
    /// The VLAN on that interface, or the outer and the inner one of two tags as OUTER.INNER
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = values::vlan)]
    vlan: Option<Vlan>,
    /// Attach although the host itself uses that port, and is cut off there
    #[arg(long)]
    force: bool,
    /// When the interface goes and one of that name comes: `name` takes it for the port, `never`
    /// keeps it closed until the ENI is attached again [default: name]
    #[arg(long, value_parser = values::rebind())]
    rebind: Option<Rebind>,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `eni add-ip`.
#[derive(Debug, Args)]
pub struct AddIp {
    #[command(flatten)]
    ip: Ip,
    /// Other ENIs of the VPC may have it too, as with VRRP: packets for it, and for its EIP, go to
    /// the ENI that announced it last
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    may_exist: MayExist,
    #[command(flatten)]
    wait: Wait,
}

/// Arguments of `eni remove-ip`.
#[derive(Debug, Args)]
pub struct RemoveIp {
    #[command(flatten)]
    ip: Ip,
    #[command(flatten)]
    may_be_absent: MayBeAbsent,
    #[command(flatten)]
    wait: Wait,
}

/// Which private address of which ENI.
#[derive(Debug, Args)]
pub struct Ip {
    /// The ENI, or its address, MAC or port
    #[arg(value_parser = values::name)]
    id: String,
    /// The private address
    #[arg(value_parser = values::address)]
    address: IpAddr,
}

impl Verb {
    pub(super) fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Create(args) => args.run(global),
            Self::Attach(args) => args.run(global),
            Self::Detach(eni) => eni.change::<Eni>(
                global,
                |id| Command::EniDetach { id },
                |_| "detached".to_owned(),
            ),
            Self::Set(args) => args.run(global),
            Self::AddIp(args) => args.run(global),
            Self::RemoveIp(args) => args.run(global),
            Self::List => list(global),
            Self::Show { id } => show(global, &id),
            Self::Delete(eni) => eni.change::<Eni>(
                global,
                |id| Command::EniDelete { id },
                |_| "deleted".to_owned(),
            ),
        }
    }
}

impl Create {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open_to_make(global)?;
        let vpc = session.id::<Vpc>(&self.vpc)?;
        let antispoof = self.antispoof.unwrap_or_default();
        let wanted = json!({
            "vpc": vpc,
            "kind": self.kind,
            "mac": self.mac,
            "private_ips": self.private_ips,
            "region": self.region,
            "antispoof": (antispoof != Antispoof::default()).then_some(antispoof),
        });
        let wanted = Fields::of(
            &wanted,
            &[
                "id",
                "state",
                "instance",
                "port",
                "vlan",
                "shared_ips",
                "force",
                "rebind",
            ],
        );
        let command = Command::EniCreate(EniSpec {
            id: self.id.clone(),
            vpc,
            kind: self.kind,
            mac: self.mac,
            private_ips: self.private_ips,
            region: self.region,
            antispoof,
        });
        let line = |eni: &Eni| format!("created: {}", output::join(&eni.private_ips));
        session.create::<Eni>(self.wait, self.may_exist, &self.id, &command, &wanted, line)
    }
}

impl Set {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open(global)?;
        let id = session.id::<Eni>(&self.id)?;
        let command = Command::EniSet {
            id: id.clone(),
            mac: self.mac,
            region: self.region,
            antispoof: self.antispoof,
        };
        session.change::<Eni>(self.wait, &id, &command, |eni| {
            let region = output::or_none(output::optional(eni.region.as_ref()));
            format!(
                "changed: mac {}, region {region}, antispoof {}",
                eni.mac, eni.antispoof
            )
        })
    }
}

impl Attach {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open(global)?;
        let id = session.id::<Eni>(&self.id)?;
        let command = Command::EniAttach {
            id: id.clone(),
            instance: session.id::<Instance>(&self.instance)?,
            port: self.port,
            vlan: self.vlan,
            force: self.force,
            rebind: self.rebind,
        };
        session.change::<Eni>(self.wait, &id, &command, |eni| {
            format!(
                "attached: instance {}, port {}",
                output::optional(eni.instance.as_ref()),
                port(eni)
            )
        })
    }
}

impl AddIp {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open(global)?;
        let (id, address) = (session.id::<Eni>(&self.ip.id)?, self.ip.address);
        if self.may_exist.may_exist {
            let eni: Eni = session.read(|view| session::find(view, &id))?;
            let is_shared = eni.shared_ips.contains(&address);
            if eni.private_ips.contains(&address) && is_shared != self.shared {
                return Err(Failure::Refused {
                    code: Code::AlreadyExists.as_str(),
                    message: format!(
                        "the ENI `{id}` has the private IP {address} already, and it is {}; take it away first \
                         (`eip-dp eni remove-ip`)",
                        if is_shared { "shared" } else { "not shared" }
                    ),
                });
            }
            if eni.private_ips.contains(&address) {
                return session.leave::<Eni>(self.wait, &id, "unchanged: it is there already");
            }
        }
        let command = Command::EniAddIp {
            id: id.clone(),
            address,
            shared: self.shared,
        };
        change_ips(session, self.wait, &id, &command)
    }
}

impl RemoveIp {
    fn run(self, global: &Global) -> Result<(), Failure> {
        let session = Session::open(global)?;
        let Some(id) = session.id_or_absent::<Eni>(&self.ip.id, self.may_be_absent)? else {
            return Ok(());
        };
        let address = self.ip.address;
        if self.may_be_absent.if_exists {
            let eni: Eni = session.read(|view| session::find(view, &id))?;
            if !eni.private_ips.contains(&address) {
                let line = format!("unchanged: it does not have {address}");
                return session.leave::<Eni>(self.wait, &id, &line);
            }
        }
        let command = Command::EniRemoveIp {
            id: id.clone(),
            address,
        };
        change_ips(session, self.wait, &id, &command)
    }
}

fn change_ips(
    session: Session<'_>,
    wait: Wait,
    id: &str,
    command: &Command,
) -> Result<(), Failure> {
    session.change::<Eni>(wait, id, command, |eni| {
        format!("changed: private IPs {}", output::join(&eni.private_ips))
    })
}

/// The interface, and the VLAN where there is one.
fn port(eni: &Eni) -> String {
    match (&eni.port, eni.vlan) {
        (Some(port), Some(vlan)) => format!("{port} VLAN {vlan}"),
        (Some(port), None) => port.clone(),
        (None, _) => String::new(),
    }
}

/// An ENI as JSON shows it.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    #[serde(flatten)]
    eni: &'a Eni,
    /// The default, which the table file leaves out: a reader should not have to know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    antispoof: Option<Antispoof>,
    #[serde(skip_serializing_if = "Option::is_none")]
    associations: Option<Vec<ShownAssociation<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serving: Option<&'a Verdict>,
}

/// An association as its ENI shows it.
#[derive(Serialize)]
pub(super) struct ShownAssociation<'a> {
    eip: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    private_ip: IpAddr,
    mode: Mode,
}

impl<'a> Shown<'a> {
    /// With its associations, and whether it is served, where they are known.
    pub(super) fn new(
        eni: &'a Eni,
        associations: Option<Vec<ShownAssociation<'a>>>,
        serving: Option<&'a Verdict>,
    ) -> Self {
        Self {
            eni,
            serving,
            antispoof: (eni.antispoof == Antispoof::default()).then_some(eni.antispoof),
            associations,
        }
    }
}

impl<'a> ShownAssociation<'a> {
    fn new(association: &'a Association, eip: Option<&Eip>) -> Self {
        Self {
            eip: &association.eip,
            address: eip.map(|eip| eip.address),
            private_ip: association.private_ip,
            mode: association.mode,
        }
    }
}

/// The associations of each ENI.
fn associations(model: &Model) -> BTreeMap<&str, Vec<&Association>> {
    let mut associations: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for association in model.associations.values() {
        associations
            .entry(association.eni.as_str())
            .or_default()
            .push(association);
    }
    associations
}

fn list(global: &Global) -> Result<(), Failure> {
    let model = Session::open(global)?.model()?;
    let associations = associations(&model);
    let of = |eni: &Eni| {
        associations
            .get(eni.id.as_str())
            .map_or(&[][..], Vec::as_slice)
    };
    session::list(
        global.output,
        model.enis.values(),
        |eni| {
            let associations = of(eni).iter().copied();
            let shown = associations.map(|association| {
                ShownAssociation::new(association, model.eips.get(&association.eip))
            });
            Shown::new(eni, Some(shown.collect()), None)
        },
        HEADER,
        |eni| {
            let eips: Vec<_> = of(eni).iter().map(|association| &association.eip).collect();
            [
                eni.id.clone(),
                eni.vpc.clone(),
                eni.kind.to_string(),
                eni.mac.to_string(),
                output::join(&eni.private_ips),
                eni.state.to_string(),
                output::optional(eni.instance.as_ref()),
                port(eni),
                output::join(&eips),
            ]
        },
    )
}

const HEADER: [&str; 9] = [
    "ID",
    "VPC",
    "KIND",
    "MAC",
    "PRIVATE-IPS",
    "STATE",
    "INSTANCE",
    "PORT",
    "EIPS",
];

fn show(global: &Global, id: &str) -> Result<(), Failure> {
    let session = Session::open(global)?;
    let (eni, associations) = session.read(|view| {
        let eni: Eni = session::find(view, id)?;
        let associations = view
            .associations_of(&eni.id)
            .into_iter()
            .map(|association| {
                let eip = view.eip(&association.eip);
                (association, eip)
            });
        Ok((eni, associations.collect::<Vec<_>>()))
    })?;
    let with_eips = associations.iter().cloned();
    let with_eips = with_eips.filter_map(|(one, eip)| Some((one, eip?)));
    let subject = Subject::Eni(eni.clone(), with_eips.collect());
    let serving = session.verdict(&subject)?;
    let shown = associations
        .iter()
        .map(|(association, eip)| ShownAssociation::new(association, eip.as_ref()));
    if global.output == Format::Json {
        return output::json(&Shown::new(&eni, Some(shown.collect()), Some(&serving)));
    }
    let port = port(&eni);
    let mut fields = vec![
        ("id", eni.id),
        ("vpc", eni.vpc),
        ("kind", eni.kind.to_string()),
        ("mac", eni.mac.to_string()),
        ("private_ips", output::join(&eni.private_ips)),
        ("shared_ips", output::join(&eni.shared_ips)),
        ("region", output::optional(eni.region)),
        ("antispoof", eni.antispoof.to_string()),
        ("state", state(eni.state).to_owned()),
        ("instance", output::optional(eni.instance)),
        ("port", port),
        ("rebind", eni.rebind.to_string()),
    ];
    fields.extend(shown.map(|one| {
        let address = output::optional(one.address);
        let text = format!("{} {address} for {}, {}", one.eip, one.private_ip, one.mode);
        ("eip", text)
    }));
    fields.push(("serving", serving.to_string()));
    output::fields(&fields)
}

/// The state, and for the one that needs the operator what it means and the cure.
fn state(state: EniState) -> &'static str {
    match state {
        EniState::Detached => "detached",
        EniState::Attached => "attached",
        EniState::Stranded => {
            "stranded: its cut-through EIP went away, so no traffic passes until it is detached and attached again"
        }
    }
}

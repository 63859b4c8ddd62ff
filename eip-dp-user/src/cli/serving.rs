//! Whether an object of the table is forwarded: what the kernel's maps hold is the verdict, and
//! where they do not hold what the table wants, the code that compiles the table says why, from the
//! object alone.

use std::{cell::OnceCell, fmt};

use nix::net::if_::if_nametoindex;
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::{Failure, Global, dataplane::on_runtime, readers::Copies};
use crate::{
    attach::Program,
    compile::{self, Applied, Egress, is_local, limits},
    daemon::{self, Report},
    host::{self, Family, HostFacts},
    kernel::{Look, Pins},
    model::{
        Model, View, Vlan,
        objects::{Association, Eip, EipState, Eni, EniState, Mode},
    },
    shared::{self, Holder},
    survey::{STRANDED, is_down, is_missing},
};

/// What there is to say about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is forwarded.
    Yes,
    /// The table wants it, and it is not: why, and what to do about it.
    No(String),
    /// The table does not ask for it yet: why.
    Idle(String),
    /// It cannot be found out: why.
    Unknown(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No(why) => write!(f, "no, {why}"),
            Self::Idle(why) => write!(f, "not asked for, {why}"),
            Self::Unknown(why) => write!(f, "unknown, {why}"),
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (verdict, why) = match self {
            Self::Yes => ("yes", None),
            Self::No(why) => ("no", Some(why)),
            Self::Idle(why) => ("not-asked-for", Some(why)),
            Self::Unknown(why) => ("unknown", Some(why)),
        };
        let mut fields = serializer.serialize_struct("Verdict", 1 + usize::from(why.is_some()))?;
        fields.serialize_field("verdict", verdict)?;
        match why {
            Some(why) => fields.serialize_field("why", why)?,
            None => fields.skip_field("why")?,
        }
        fields.end()
    }
}

/// What is judged, as the table has it.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a command makes few of them, one for each object that it names"
)]
pub enum Subject {
    /// An ENI, with its associations and their EIPs.
    Eni(Eni, Vec<(Association, Eip)>),
    /// An EIP, with its association and the ENI; and all ENIs that may have the private IP, where
    /// several share it.
    Eip(Eip, Option<(Association, Eni)>, Vec<Eni>),
}

impl Subject {
    /// An ENI.
    pub fn eni(view: &dyn View, id: &str) -> Option<Self> {
        let associations = view.associations_of(id).into_iter();
        let with_eips = associations.filter_map(|one| Some((view.eip(&one.eip)?, one)));
        let links = with_eips.map(|(eip, one)| (one, eip)).collect();
        Some(Self::Eni(view.eni(id)?, links))
    }

    /// An EIP.
    pub fn eip(view: &dyn View, id: &str) -> Option<Self> {
        let association = view.association(id);
        let association = association.and_then(|one| Some((view.eni(&one.eni)?, one)));
        let sharers = match &association {
            Some((eni, one)) if eni.shared_ips.contains(&one.private_ip) => {
                let ids = view.enis_by_address(&eni.vpc, one.private_ip);
                ids.iter().filter_map(|id| view.eni(id)).collect()
            }
            _ => Vec::new(),
        };
        Some(Self::Eip(
            view.eip(id)?,
            association.map(|(eni, one)| (one, eni)),
            sharers,
        ))
    }

    /// Which ENI has the private IP of an EIP now, where several share it and a daemon has seen it.
    pub fn holder(&self, global: &Global) -> Option<Holder> {
        let Self::Eip(_, Some((one, eni)), sharers) = self else {
            return None;
        };
        if sharers.is_empty() {
            return None;
        }
        let holders = match Copies::of(global) {
            Ok(Some(copies)) => copies.told().shared().to_vec(),
            _ => shared::holders_in(&daemon::shared_path(&global.name)),
        };
        let mut holders = holders.into_iter();
        holders.find(|holder| {
            holder.vpc == eni.vpc
                && holder.address == one.private_ip
                && sharers.iter().any(|eni| eni.id == holder.eni)
        })
    }

    /// Likewise an EIP at the ENI that has its private IP: there it is forwarded to.
    fn at_holder(&self, global: &Global) -> Option<Self> {
        let holder = self.holder(global)?;
        let Self::Eip(eip, Some((one, _)), sharers) = self else {
            return None;
        };
        let eni = sharers.iter().find(|eni| eni.id == holder.eni)?;
        let one = Association {
            eni: holder.eni,
            ..one.clone()
        };
        Some(Self::Eip(
            eip.clone(),
            Some((one, eni.clone())),
            sharers.clone(),
        ))
    }

    /// What it is called where several are told of.
    pub fn name(&self) -> String {
        match self {
            Self::Eni(eni, _) => format!("eni {}", eni.id),
            Self::Eip(eip, ..) => format!("eip {}", eip.id),
        }
    }

    fn parts(&self) -> Option<(&Eni, Vec<(&Association, &Eip)>)> {
        match self {
            Self::Eni(eni, links) => {
                Some((eni, links.iter().map(|(one, eip)| (one, eip)).collect()))
            }
            Self::Eip(eip, Some((one, eni)), _) => Some((eni, vec![(one, eip)])),
            Self::Eip(_, None, _) => None,
        }
    }

    /// What the table itself says about it.
    fn idle(&self) -> Option<Verdict> {
        match self {
            Self::Eip(eip, None, _) if eip.state == EipState::Expired => {
                Some(Verdict::Idle("the EIP has expired".to_owned()))
            }
            Self::Eip(_, None, _) => Some(Verdict::Idle("the EIP is free".to_owned())),
            Self::Eip(_, Some((_, eni)), _) if eni.state == EniState::Detached => {
                Some(Verdict::Idle(format!("ENI `{}` is detached", eni.id)))
            }
            Self::Eni(eni, _) if eni.state == EniState::Detached => {
                Some(Verdict::Idle("the ENI is detached".to_owned()))
            }
            Self::Eni(eni, _) | Self::Eip(_, Some((_, eni)), _) => {
                let is_stranded = eni.state == EniState::Stranded;
                is_stranded.then(|| Verdict::No(STRANDED.to_owned()))
            }
        }
    }

    /// The families in which packets have to leave for the Internet.
    pub fn families(&self) -> Vec<Family> {
        let links = self.parts().map(|(_, links)| links).unwrap_or_default();
        let of = |family: &Family| {
            let mut eips = links.iter().map(|(_, eip)| eip.address);
            eips.any(|address| Family::of(address) == *family)
        };
        Family::ALL.into_iter().filter(of).collect()
    }
}

/// Who knows what a gateway forwards.
pub struct Judge {
    look: Look,
    report: Option<Report>,
    facts: OnceCell<Result<HostFacts, String>>,
    global: Global,
}

impl Judge {
    /// Of a gateway that forwards for the table in question; the error says why there is none.
    pub fn open(global: &Global) -> Result<Self, Verdict> {
        let name = &global.name;
        match Look::open(&Pins::new(name)) {
            Ok(Some(look)) => Ok(Self {
                look,
                report: Report::read(&Report::path(name)),
                facts: OnceCell::new(),
                global: global.clone(),
            }),
            Ok(None) => Err(Verdict::No(format!(
                "the data plane of gateway `{name}` is not loaded; start its daemon with `eip-dp --name {name} run`"
            ))),
            Err(error) => Err(Verdict::Unknown(error.to_string())),
        }
    }

    /// Whether a next hop that the subject needs is being asked for.
    pub fn is_resolving(&self, subject: &Subject) -> bool {
        let mut families = subject.families().into_iter();
        families.any(|family| self.look.egress(family) == Egress::Unresolved)
    }

    /// Whether the subject is forwarded.
    pub fn judge(&self, subject: &Subject) -> Verdict {
        let located = subject.at_holder(&self.global);
        let subject = located.as_ref().unwrap_or(subject);
        if let Some(verdict) = subject.idle() {
            return verdict;
        }
        let Some((eni, links)) = subject.parts() else {
            return Verdict::Yes;
        };
        let found = self.is_in_the_maps(subject, eni, &links);
        match found {
            Ok(true) => {}
            Ok(false) => return self.explain(eni, &links),
            Err(error) => return Verdict::Unknown(error),
        }
        let mut problems = subject.families().into_iter();
        match problems.find_map(|family| self.look.egress(family).problem(family)) {
            Some(problem) => Verdict::No(problem),
            None => Verdict::Yes,
        }
    }

    fn is_in_the_maps(
        &self,
        subject: &Subject,
        eni: &Eni,
        links: &[(&Association, &Eip)],
    ) -> Result<bool, String> {
        let Some(port) = eni.port.as_deref() else {
            return Ok(false);
        };
        let ifindex = match if_nametoindex(port) {
            Ok(ifindex) => ifindex,
            // An alternative name may be longer than that takes, and is asked for over netlink.
            Err(_) => match self.facts().ok().and_then(|facts| facts.index_of(port)) {
                Some(ifindex) => ifindex,
                None => return Ok(false),
            },
        };
        let key = Vlan::key(eni.vlan, ifindex);
        let stands = self.look.stands(key, eni.mac.0);
        let Some(vpc) = stands.map_err(|error| error.to_string())? else {
            return Ok(false);
        };
        let nat = links.iter().filter(|(one, _)| one.mode == Mode::Nat);
        let mut addresses: Vec<_> = nat.map(|(one, _)| one.private_ip).collect();
        if matches!(subject, Subject::Eni(..)) {
            addresses.extend(&eni.private_ips);
        }
        let delivers = links.iter().all(|(_, eip)| self.look.delivers(eip.address));
        let knows = addresses
            .into_iter()
            .all(|address| self.look.knows(vpc, address));
        Ok(delivers && knows && self.look.has_program(Program::PortTc, ifindex))
    }

    /// This host's interfaces, once somebody has to know them.
    fn facts(&self) -> Result<&HostFacts, &String> {
        let facts = self.facts.get_or_init(|| {
            let facts = on_runtime(host::snapshot()).map_err(|_| "no reactor".to_owned())?;
            facts.map_err(|error| error.to_string())
        });
        facts.as_ref()
    }

    /// Why the maps do not have what the table wants.
    fn explain(&self, eni: &Eni, links: &[(&Association, &Eip)]) -> Verdict {
        let facts = match self.facts() {
            Ok(facts) => facts,
            Err(error) => return Verdict::Unknown(error.clone()),
        };
        let port = eni.port.as_deref().unwrap_or_default();
        let link = facts.link_named(port).map(|(_, link)| link);
        let Some(report) = &self.report else {
            let why = link.map_or_else(
                || is_missing(port),
                |_| "the kernel's maps do not have it, and no daemon says why".to_owned(),
            );
            return Verdict::No(why);
        };
        let config = &report.config;
        let regions = std::iter::once(&eni.region).chain(links.iter().map(|(_, eip)| &eip.region));
        for region in regions {
            if let (Some(own), false) = (&config.region, is_local(region.as_ref(), config)) {
                let region = region.as_deref().unwrap_or_default();
                return Verdict::No(format!(
                    "it is of region {region}, and this gateway serves {own} alone"
                ));
            }
        }
        let Some(link) = link else {
            return Verdict::No(is_missing(port));
        };
        let image = compile::compile(&alone(eni, links), facts, config, &Applied::default());
        if let Some(unserved) = image.unserved.into_iter().next() {
            return Verdict::No(unserved.why);
        }
        if !link.up {
            return Verdict::No(is_down(port));
        }
        let warnings = report.warnings.iter();
        let is_about = |text: &&String| limits::says_full(text) || text.contains(port);
        Verdict::No(report.error.as_ref().or(warnings.clone().find(is_about)).map_or_else(
            || "the kernel's maps do not have it; the daemon's log says why, `eip-dp verify` what else is missing".to_owned(),
            Clone::clone,
        ))
    }
}

/// A table that has nothing but the ENI and its EIPs.
fn alone(eni: &Eni, links: &[(&Association, &Eip)]) -> Model {
    let mut model = Model::default();
    model.enis.insert(eni.id.clone(), eni.clone());
    for (one, eip) in links {
        model.eips.insert(eip.id.clone(), (*eip).clone());
        model.associations.insert(one.eip.clone(), (*one).clone());
    }
    model
}

/// Judges one subject for a verb that only shows it: of a gateway that may be at another revision,
/// or another table's.
pub fn shown(
    global: &Global,
    table: &crate::table::Table,
    subject: &Subject,
) -> Result<Verdict, Failure> {
    let located = subject.at_holder(global);
    let subject = located.as_ref().unwrap_or(subject);
    if let Some(verdict) = subject.idle() {
        return Ok(verdict);
    }
    let judge = match Judge::open(global) {
        Ok(judge) => judge,
        Err(verdict) => return Ok(verdict),
    };
    let why = super::wait::not_applied(global, table)?;
    Ok(why.map_or_else(|| judge.judge(subject), Verdict::No))
}

//! What of the table is wanted and not served, in a few sentences, however large the table is.
//!
//! The daemon finds it out after each sync and writes it into its report; `check` does so from what
//! the compiler says.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    compile::{Egress, Unserved, is_local, limits},
    config::Config,
    host::{Family, HostFacts},
    kernel::Pinned,
    model::{
        Model,
        objects::{Association, Eni, EniState},
    },
};

/// So many things of a kind are named.
const NAMED: usize = 20;

/// What is wanted and not served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// What is not served, and why; a sentence each, the first twenty.
    pub unserved: Vec<String>,
    /// How many more there are.
    #[serde(default)]
    pub more_unserved: usize,
    /// How many ENIs are attached to an interface that is not there, or down: they are served as
    /// soon as it is up.
    pub waiting: usize,
    /// What they wait for; a sentence each, the first twenty.
    #[serde(default)]
    pub waiting_for: Vec<String>,
}

/// What a survey looks at.
#[derive(Clone, Copy)]
pub struct ReportContext<'a> {
    /// The table.
    pub model: &'a Model,
    /// The host.
    pub facts: &'a HostFacts,
    /// The configuration.
    pub config: &'a Config,
    /// The way to the Internet of each family, in the order of [`Family::ALL`].
    pub egress: [Egress; 2],
    /// What the compiler refuses.
    pub unserved: &'a [Unserved],
    /// The compiler's warnings.
    pub warnings: &'a [String],
    /// The programs that could not be attached.
    pub failures: &'a BTreeMap<Pinned, String>,
}

impl Survey {
    /// Looks at the whole table.
    pub fn of(scene: &ReportContext<'_>) -> Self {
        let mut survey = Self::default();
        for (family, egress) in Family::ALL.into_iter().zip(scene.egress) {
            survey.family(scene, family, egress);
        }
        // Without XDP it is only slower.
        let failures = scene.failures.iter();
        for (_, why) in failures.filter(|(pin, _)| !pin.program.is_xdp()) {
            survey.add(|| why.clone());
        }
        let full = scene.warnings.iter();
        for sentence in full.filter(|text| limits::says_full(text)) {
            survey.add(|| sentence.clone());
        }
        for one in scene.unserved {
            // A free EIP is not asked for.
            if one.kind != "eip" || scene.model.associations.contains_key(&one.id) {
                survey.add(|| one.to_string());
            }
        }
        survey.enis(scene);
        survey
    }

    /// Whether all that is wanted is served, or waits for an interface.
    pub fn is_good(&self) -> bool {
        self.unserved.is_empty()
    }

    /// Notes something that is not served.
    pub fn add(&mut self, sentence: impl FnOnce() -> String) {
        if self.unserved.len() < NAMED {
            self.unserved.push(sentence());
        } else {
            self.more_unserved += 1;
        }
    }

    /// Adds another survey.
    pub fn extend(&mut self, other: &Self) {
        for sentence in &other.unserved {
            self.add(|| sentence.clone());
        }
        self.more_unserved += other.more_unserved;
        self.waiting += other.waiting;
        self.waiting_for.extend_from_slice(&other.waiting_for);
    }

    /// The EIPs of a family that nothing can be sent for.
    fn family(&mut self, scene: &ReportContext<'_>, family: Family, egress: Egress) {
        let Some(problem) = egress.problem(family) else {
            return;
        };
        let model = scene.model;
        let is_wanted = |one: &&Association| {
            let eni = model.enis.get(&one.eni);
            Family::of(one.private_ip) == family
                && eni.is_some_and(|eni| {
                    eni.state == EniState::Attached && is_local(eni.region.as_ref(), scene.config)
                })
        };
        let eips = model.associations.values().filter(is_wanted).count();
        if eips > 0 {
            self.add(|| format!("{family} EIPs with an attached ENI ({eips}): {problem}"));
        }
    }

    fn enis(&mut self, scene: &ReportContext<'_>) {
        let is_up = |index: u32| {
            let link = scene.facts.links.get(&index);
            link.is_some_and(|link| link.up)
        };
        let indexes = scene.facts.indexes_by_name().into_iter();
        let up: HashMap<&str, bool> = indexes.map(|(name, index)| (name, is_up(index))).collect();
        for eni in scene.model.enis.values() {
            if !is_local(eni.region.as_ref(), scene.config) {
                continue;
            }
            match eni.state {
                EniState::Detached => {}
                EniState::Stranded => self.add(|| format!("eni {}: {STRANDED}", eni.id)),
                EniState::Attached => self.port(eni, &up),
            }
        }
    }

    fn port(&mut self, eni: &Eni, up: &HashMap<&str, bool>) {
        let Some(port) = eni.port.as_deref() else {
            return;
        };
        let why = match up.get(port) {
            Some(true) => return,
            Some(false) => is_down(port),
            None => is_missing(port),
        };
        self.waiting += 1;
        if self.waiting_for.len() < NAMED {
            self.waiting_for.push(format!("eni {}: {why}", eni.id));
        }
    }
}

/// What it means that an ENI is stranded.
pub const STRANDED: &str = "stranded: its cut-through EIP went away, so no traffic passes until it is detached and \
                            attached again";

/// What is said of an interface that is not there.
pub fn is_missing(port: &str) -> String {
    format!("there is no interface {port}")
}

/// What is said of an interface that cannot carry packets.
pub fn is_down(port: &str) -> String {
    format!("the interface {port} is down, or has no carrier")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compile::{self, Applied, testing::*},
        model::objects::Mode,
    };

    fn survey(model: &Model, facts: &HostFacts, config: &Config) -> Survey {
        let image = compile::compile(model, facts, config, &Applied::default());
        Survey::of(&ReportContext {
            model,
            facts,
            config,
            egress: Family::ALL.map(|family| image.content.egress(family)),
            unserved: &image.unserved,
            warnings: &image.warnings,
            failures: &BTreeMap::new(),
        })
    }

    /// An ENI on `port` with an EIP.
    fn table_with(port: &str) -> Model {
        let mut model = table();
        let eni = eni("e0", "v0", 1, &[[10, 0, 0, 1]]);
        model
            .enis
            .insert("e0".to_owned(), attached(eni, "i0", port));
        add_eip(&mut model, 0);
        associate(&mut model, 0, "e0", [10, 0, 0, 1], Mode::Nat);
        model
    }

    fn only(survey: &Survey) -> &str {
        let [sentence] = &survey.unserved[..] else {
            panic!("{survey:?}");
        };
        sentence
    }

    #[test]
    fn what_is_served_is_good() {
        let served = survey(&table_with("p1"), &host(), &config(""));
        assert_eq!(served, Survey::default());
    }

    #[test]
    fn an_absent_port_or_one_that_is_down_is_waited_for() {
        let mut host = host();
        let absent = survey(&table_with("tap7"), &host, &config(""));
        assert!(absent.is_good());
        assert_eq!((absent.waiting, absent.waiting_for.len()), (1, 1));
        assert!(absent.waiting_for[0].contains("no interface tap7"));
        for link in host.links.values_mut().filter(|link| link.name == "p1") {
            link.up = false;
        }
        let down = survey(&table_with("p1"), &host, &config(""));
        assert!(down.is_good() && down.waiting == 1, "{down:?}");
    }

    #[test]
    fn what_cannot_be_served_is_not_good() {
        let on_uplink = survey(&table_with("wan"), &host(), &config(""));
        assert!(only(&on_uplink).contains("eni e0: its port wan is an uplink"));
        let mut host_has_it = host();
        let own = "203.0.113.10/32".parse().expect("an address");
        host_has_it.addresses.push((1, own));
        let owned = survey(&table_with("p1"), &host_has_it, &config(""));
        assert!(only(&owned).contains("eip x0: this host itself has"));
        let mut stranded = table_with("p1");
        for eni in stranded.enis.values_mut() {
            eni.state = EniState::Stranded;
        }
        assert!(only(&survey(&stranded, &host(), &config(""))).contains("stranded"));
    }

    #[test]
    fn what_nothing_asks_for_is_good() {
        let mut host_has_it = host();
        let own = "203.0.113.10/32".parse().expect("an address");
        host_has_it.addresses.push((1, own));
        let mut model = table_with("p1");
        model.associations.clear();
        assert!(survey(&model, &host_has_it, &config("")).is_good());
        let elsewhere = config("[gateway]\nregion = \"east\"\n");
        let mut model = table_with("tap7");
        for eni in model.enis.values_mut() {
            eni.region = Some("west".to_owned());
        }
        assert_eq!(survey(&model, &host(), &elsewhere), Survey::default());
    }

    #[test]
    fn a_family_without_a_next_hop_is_not_served_where_it_has_eips() {
        let mut host = host();
        host.routes.retain(|route| route.family == Family::V6);
        let none = survey(&table_with("p1"), &host, &config(""));
        assert!(only(&none).contains("has an IPv4 next hop"), "{none:?}");
        let mut model = table_with("p1");
        model.associations.clear();
        assert!(
            survey(&model, &host, &config("")).is_good(),
            "no EIP needs it"
        );
        let mut silent = compile::testing::host();
        silent.neighbours.clear();
        let unresolved = survey(&table_with("p1"), &silent, &config(""));
        assert!(only(&unresolved).contains("Ethernet address"));
    }

    #[test]
    fn however_much_is_not_served_few_sentences_say_so() {
        let mut model = table();
        for number in 0..50 {
            let id = format!("e{number:02}");
            let one = eni(&id, "v0", number, &[[10, 0, 1, number]]);
            let port = if number % 2 == 0 { "wan" } else { "tap0" };
            model.enis.insert(id, attached(one, "i0", port));
        }
        let survey = survey(&model, &host(), &config(""));
        assert_eq!(
            (survey.unserved.len(), survey.more_unserved),
            (NAMED, 25 - NAMED)
        );
        assert_eq!((survey.waiting, survey.waiting_for.len()), (25, NAMED));
    }
}

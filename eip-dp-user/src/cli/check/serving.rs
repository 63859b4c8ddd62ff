//! Whether the table could be served by this host as it is.

use std::collections::BTreeMap;

use super::Line;
use crate::{
    compile::{self, Allocations, Applied, Content, Egress, Limits, PreferredBuckets},
    config::Config,
    host::{Family, HostFacts},
    model::Model,
    survey::{ReportContext, Survey},
};

/// What the compiler says of the table.
pub(super) fn survey(model: &Model, facts: &HostFacts, config: &Config) -> Survey {
    let limits = Limits::from(&config.maps);
    let have = Applied {
        content: Content::default(),
        allocations: Allocations::new(&limits, PreferredBuckets::default()),
        limits,
    };
    let image = compile::compile(model, facts, config, &have);
    // A next hop that nobody has asked for yet is the daemon's to ask for.
    let egress = Family::ALL.map(|family| match image.content.egress(family) {
        Egress::Unresolved => Egress::Ready,
        other => other,
    });
    Survey::of(&ReportContext {
        model,
        facts,
        config,
        egress,
        unserved: &image.unserved,
        warnings: &image.warnings,
        failures: &BTreeMap::new(),
    })
}

/// What is not served, and what waits.
pub(super) fn lines(survey: &Survey) -> Vec<Line> {
    let subject = "serving";
    let unserved = survey.unserved.iter();
    let mut lines: Vec<Line> = unserved
        .map(|sentence| Line::fail_with_cure_inside(subject, sentence))
        .collect();
    if survey.more_unserved > 0 {
        lines.push(Line::fail_with_cure_inside(
            subject,
            format!("{} more are not served", survey.more_unserved),
        ));
    }
    if let Some(first) = survey.waiting_for.first() {
        let seen = match survey.waiting {
            1 => format!("1 ENI waits: {first}"),
            all => format!("{all} ENIs wait: {first}, and so on"),
        };
        let cure = "they are served as soon as their interfaces are up";
        lines.push(Line::warn("waiting", seen, cure));
    }
    lines
}

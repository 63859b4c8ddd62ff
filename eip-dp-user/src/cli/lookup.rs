//! Which object an operator means: by its id, else by an address, an Ethernet address or an
//! interface; and which id was perhaps meant where nothing fits.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{Failure, object::Object, output};
use crate::model::{Code, EniFilter, Kind, View, Vlan, objects::Mac};

/// The code of a look-up that finds several objects. No rule: the command is not put to the rules.
const AMBIGUOUS: &str = "ambiguous";

/// So many candidates, and so many similar ids, are named.
const NAMED: usize = 10;
const SIMILAR: usize = 3;

/// The id of the object that is meant. An id comes first, whatever it looks like; one that was
/// written past the rules may be said as it is shown, with what is escaped in it.
pub(super) fn id_of<T: Object>(view: &dyn View, said: &str) -> Result<String, Failure> {
    if T::find(view, said).is_some() {
        return Ok(said.to_owned());
    }
    if let Some(plain) = output::unescaped(said)
        && T::find(view, &plain).is_some()
    {
        return Ok(plain);
    }
    let mut candidates = T::meant(view, said);
    match (candidates.pop_first(), candidates.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(first), false) => Err(ambiguous::<T>(view, said, &first, &candidates)),
        (None, _) => Err(Failure::Refused {
            code: Code::NotFound.as_str(),
            message: not_found::<T>(view, said),
        }),
    }
}

fn ambiguous<T: Object>(
    view: &dyn View,
    said: &str,
    first: &str,
    others: &BTreeSet<String>,
) -> Failure {
    let all = others.len() + 1;
    let candidates = std::iter::once(first)
        .chain(others.iter().map(String::as_str))
        .take(NAMED);
    let names: Vec<String> = candidates
        .map(|id| format!("`{id}`{}", T::place(view, id)))
        .collect();
    let more = match all.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Failure::Refused {
        code: AMBIGUOUS,
        message: format!(
            "`{said}` is of {all} {}s: {}{more}; name one by its id",
            T::NAME,
            names.join(", ")
        ),
    }
}

fn not_found<T: Object>(view: &dyn View, said: &str) -> String {
    let similar = T::ID.map_or_else(Vec::new, |kind| similar(view, kind, said));
    let hint = if similar.is_empty() {
        String::new()
    } else {
        format!(" did you mean {}?", similar.join(" or "))
    };
    let (name, kind) = (T::NAME, T::KIND);
    format!("there is no {name} `{said}`;{hint} `eip-dp {kind} list` shows those there are")
}

/// The ids that are spelt nearly like that, the nearest first.
fn similar(view: &dyn View, kind: Kind, said: &str) -> Vec<String> {
    let said: Vec<char> = said.to_lowercase().chars().collect();
    let limit = (said.len() / 3).clamp(1, 3);
    let mut found: BTreeSet<(usize, String)> = BTreeSet::new();
    view.each_id(kind, &mut |id| {
        let spelt: Vec<char> = id.to_lowercase().chars().collect();
        if let Some(distance) = distance(&said, &spelt, limit) {
            found.insert((distance, id.to_owned()));
            if found.len() > SIMILAR {
                found.pop_last();
            }
        }
    });
    found.into_iter().map(|(_, id)| format!("`{id}`")).collect()
}

/// How many letters have to be put in, left out, changed or swapped with their neighbour to make
/// one word of the other; `None`: more than `limit`.
fn distance(one: &[char], other: &[char], limit: usize) -> Option<usize> {
    if one.len().abs_diff(other.len()) > limit {
        return None;
    }
    let (mut before, mut last) = (Vec::new(), (0..=other.len()).collect::<Vec<_>>());
    for (row, left) in one.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, right) in other.iter().enumerate() {
            let changed = last[column] + usize::from(left != right);
            let mut best = changed.min(last[column + 1] + 1).min(next[column] + 1);
            let is_swapped =
                row > 0 && column > 0 && other[column - 1] == *left && one[row - 1] == *right;
            if is_swapped {
                best = best.min(before[column - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().filter(|distance| *distance <= limit)
}

/// The EIP with that public address.
pub(super) fn eips(view: &dyn View, said: &str) -> BTreeSet<String> {
    let address = said.parse().ok();
    let found = address.and_then(|address| view.eip_by_address(address));
    found.into_iter().collect()
}

/// The ENIs with that private address, with the EIP of that public address, with that Ethernet
/// address, or behind that port.
pub(super) fn enis(view: &dyn View, said: &str) -> BTreeSet<String> {
    if let Ok(address) = said.parse::<IpAddr>() {
        let vpcs = vpcs_of(view, address.into());
        let mut enis: BTreeSet<String> = vpcs
            .iter()
            .flat_map(|vpc| view.enis_by_address(vpc, address))
            .collect();
        if enis.is_empty() {
            let eip = view.eip_by_address(address);
            let association = eip.and_then(|eip| view.association(&eip));
            enis.extend(association.map(|one| one.eni));
        }
        return enis;
    }
    let mut enis = BTreeSet::new();
    if let Ok(mac) = said.parse::<Mac>() {
        view.each_id(Kind::Vpc, &mut |vpc| enis.extend(view.eni_by_mac(vpc, mac)));
    }
    if enis.is_empty() {
        enis = behind(view, EniFilter::Interface(said));
    }
    // An interface's own name may have a dot, so that comes first.
    if enis.is_empty()
        && let Some((port, vlan)) = said.split_once('.')
        && let Ok(vlan) = vlan.parse::<Vlan>()
    {
        enis = behind(view, EniFilter::Port(port, Some(vlan)));
    }
    enis
}

fn behind(view: &dyn View, filter: EniFilter<'_>) -> BTreeSet<String> {
    let mut enis = BTreeSet::new();
    // Taking none, so as to be offered all of them.
    view.find_eni(filter, &mut |eni| {
        enis.insert(eni.to_owned());
        false
    });
    enis
}

/// The instances of the ENIs that are meant.
pub(super) fn instances(view: &dyn View, said: &str) -> BTreeSet<String> {
    let enis = enis(view, said);
    let instance = |eni: &String| view.eni(eni)?.instance;
    enis.iter().filter_map(instance).collect()
}

/// The VPCs that have an address, or addresses of a prefix.
pub(super) fn vpcs(view: &dyn View, said: &str) -> BTreeSet<String> {
    let address = said.parse::<IpAddr>().map(IpNet::from);
    match address.or_else(|_| said.parse::<IpNet>()) {
        Ok(cidr) => vpcs_of(view, cidr),
        Err(_) => BTreeSet::new(),
    }
}

fn vpcs_of(view: &dyn View, cidr: IpNet) -> BTreeSet<String> {
    let mut vpcs = BTreeSet::new();
    view.find_vpc(cidr, &mut |vpc| {
        vpcs.insert(vpc.to_owned());
        false
    });
    vpcs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::objects::{Eip, Eni, Instance, Vpc},
        table::testing::Pair,
    };

    /// Two VPCs with the same addresses.
    fn table() -> Pair {
        Pair::with(
            "pool 203.0.113.0/24
             vpc v1 10.0.0.0/24
             vpc v2 10.0.0.0/24
             instance i1
             eni web-0 v1 secondary 1 10.0.0.11
             eni web-1 v2 secondary 2 10.0.0.11,10.0.0.12
             eni 10.0.0.12 v1 secondary 3 10.0.0.13
             eip x1 203.0.113.10
             attach web-1 i1 tap0
             associate x1 web-0",
        )
    }

    fn meant<T: Object>(said: &str) -> Result<String, (String, String)> {
        let pair = table();
        let by_model = id_of::<T>(&pair.model, said);
        let by_table = pair
            .table
            .read(|view| id_of::<T>(view, said))
            .expect("a table");
        let result = |answer: Result<String, Failure>| {
            answer.map_err(|failure| match failure {
                Failure::Refused { code, message } => (code.to_owned(), message),
                other => panic!("{other:?}"),
            })
        };
        let by_model = result(by_model);
        assert_eq!(by_model, result(by_table), "{said}");
        by_model
    }

    #[test]
    fn an_object_is_found_by_what_it_has() {
        assert_eq!(meant::<Eip>("203.0.113.10").as_deref(), Ok("x1"));
        for (said, id) in [
            ("web-0", "web-0"),
            ("10.0.0.13", "10.0.0.12"),
            ("02:00:00:00:00:02", "web-1"),
            ("tap0", "web-1"),
            ("203.0.113.10", "web-0"),
        ] {
            assert_eq!(meant::<Eni>(said).as_deref(), Ok(id), "{said}");
        }
        assert_eq!(meant::<Instance>("tap0").as_deref(), Ok("i1"));
    }

    #[test]
    fn an_id_that_looks_like_an_address_is_an_id() {
        assert_eq!(meant::<Eni>("10.0.0.12").as_deref(), Ok("10.0.0.12"));
    }

    #[test]
    fn what_fits_several_is_refused_with_the_candidates() {
        let (code, message) = meant::<Eni>("10.0.0.11").unwrap_err();
        assert_eq!(code, "ambiguous");
        for part in ["`web-0`", "`web-1`", "v1", "v2"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(meant::<Vpc>("10.0.0.0/24").unwrap_err().0, "ambiguous");
    }

    #[test]
    fn what_is_misspelt_brings_similar_ids() {
        for said in ["wbe-0", "web0", "WEB-0", "web-00"] {
            let (code, message) = meant::<Eni>(said).unwrap_err();
            assert_eq!(code, "not-found");
            assert!(message.contains("did you mean `web-0`"), "{message}");
        }
        let (_, message) = meant::<Eni>("database").unwrap_err();
        assert!(!message.contains("did you mean"), "{message}");
    }
}

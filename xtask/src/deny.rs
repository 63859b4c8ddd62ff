//! `cargo xtask deny`: what `deny.toml` allows of the packages that all of this is built from.
//!
//! cargo-deny is asked where it is installed, for advisories, too, if their database can be had. To
//! build it takes longer than all tests, so that nothing installs it: without it licences, bans and
//! sources are checked here, by what cargo says of the packages. A key of `deny.toml` that is not
//! understood here is an error, rather than a rule that nobody checks.

use std::{fs, process::ExitCode};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::run::{capture, cargo, find, root, show};

/// The workspaces: each has a lock file of its own.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

pub fn run() -> Result<ExitCode> {
    let mut refused = Vec::new();
    if find("cargo-deny").is_some() {
        ask_cargo_deny()?;
    } else {
        eprintln!(
            "deny: without cargo-deny: licences, bans and sources are checked here, advisories are not"
        );
        let path = root().join("deny.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
        let rules = Rules::read(&text)?;
        for manifest in MANIFESTS {
            let metadata = metadata(manifest)?;
            eprintln!("deny: {manifest}: {} packages", metadata.packages.len());
            refused.extend(
                metadata
                    .packages
                    .iter()
                    .flat_map(|package| rules.refuse(package)),
            );
        }
    }
    refused.sort();
    refused.dedup();
    for line in &refused {
        println!("deny: {line}");
    }
    println!("deny: {}", if refused.is_empty() { "ok" } else { "FAILED" });
    Ok(if refused.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn ask_cargo_deny() -> Result<()> {
    for manifest in MANIFESTS {
        let deny = |arguments: &[&str]| {
            let mut command = cargo();
            command.args(["deny", "--manifest-path", manifest]);
            command.args(["--config", "deny.toml"]).args(arguments);
            command
        };
        show(&mut deny(&["check", "licenses", "bans", "sources"]))?;
        match capture(&mut deny(&["fetch", "db"])) {
            Ok(_) => show(&mut deny(&["check", "--disable-fetch", "advisories"]))?,
            Err(error) => eprintln!(
                "deny: advisories are not checked, their database cannot be had: {error:#}"
            ),
        }
    }
    Ok(())
}

fn metadata(manifest: &str) -> Result<Metadata> {
    let text = capture(cargo().args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--all-features",
        "--manifest-path",
        manifest,
    ]))?;
    serde_json::from_str(&text).context("cargo's metadata is not understood")
}

/// What cargo says.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None`: it is a path.
    source: Option<String>,
    /// Registries that it may be published to; an empty list is none.
    publish: Option<Vec<String>>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    req: String,
    path: Option<String>,
}

/// `deny.toml`, as far as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    multiple_versions: Level,
    wildcards: Level,
    #[serde(default)]
    allow_wildcard_paths: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    unknown_registry: Level,
    unknown_git: Level,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Level {
    Allow,
    Deny,
}

const CRATES_IO: [&str; 2] = [
    "registry+https://github.com/rust-lang/crates.io-index",
    "sparse+https://index.crates.io/",
];

impl Rules {
    fn read(text: &str) -> Result<Self> {
        let rules: Self = toml::from_str(text).context(
            "deny.toml has what is not checked here: install cargo-deny (`cargo install --locked cargo-deny`), or teach \
             xtask/src/deny.rs",
        )?;
        if rules.bans.multiple_versions == Level::Deny {
            bail!(
                "deny.toml: `multiple-versions = \"deny\"` is checked by cargo-deny alone; install it"
            );
        }
        Ok(rules)
    }

    /// What is wrong with a package.
    fn refuse(&self, package: &Package) -> Vec<String> {
        let mut refused = Vec::new();
        let name = format!("{} {}", package.name, package.version);
        let exceptions = self.licenses.exceptions.iter();
        let own = exceptions
            .filter(|exception| exception.name == package.name)
            .flat_map(|exception| &exception.allow);
        let allowed: Vec<&str> = own
            .chain(&self.licenses.allow)
            .map(String::as_str)
            .collect();
        match package.license.as_deref() {
            None => refused.push(format!("{name}: no licence is named")),
            Some(text) => match satisfied(text, &allowed) {
                Some(true) => {}
                Some(false) => refused.push(format!("{name}: the licence `{text}` is not allowed")),
                None => refused.push(format!(
                    "{name}: the licence `{text}` is no SPDX expression"
                )),
            },
        }
        if let Some(source) = package.source.as_deref() {
            let level = if source.starts_with("git+") {
                self.sources.unknown_git
            } else if CRATES_IO.contains(&source) {
                Level::Allow
            } else {
                self.sources.unknown_registry
            };
            if level == Level::Deny {
                refused.push(format!("{name}: from {source}"));
            }
        }
        // Of others the lock file says which version it is.
        if self.bans.wildcards == Level::Deny && package.source.is_none() {
            let is_private = package.publish.as_ref().is_some_and(Vec::is_empty);
            for dependency in package.dependencies.iter().filter(|it| it.req == "*") {
                let is_path = dependency.path.is_some();
                if !(is_path && is_private && self.bans.allow_wildcard_paths) {
                    let wanted = &dependency.name;
                    refused.push(format!("{name}: any version of {wanted} will do"));
                }
            }
        }
        refused
    }
}

/// Whether an SPDX expression can be met by these licences; `None` where it is none.
fn satisfied(expression: &str, allowed: &[&str]) -> Option<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        // As it was written before there were expressions.
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let outcome = any(&mut words, allowed)?;
    words.next().is_none().then_some(outcome)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[&str]) -> Option<bool> {
    let mut outcome = all(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        outcome |= all(words, allowed)?;
    }
    Some(outcome)
}

fn all(words: &mut Words<'_>, allowed: &[&str]) -> Option<bool> {
    let mut outcome = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        outcome &= one(words, allowed)?;
    }
    Some(outcome)
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let outcome = any(words, allowed)?;
        return (words.next()? == ")").then_some(outcome);
    }
    if ["AND", "OR", "WITH", ")"].contains(&word) {
        return None;
    }
    if words.next_if_eq(&"WITH").is_some() {
        let licence = format!("{word} WITH {}", words.next()?);
        return Some(allowed.contains(&licence.as_str()));
    }
    Some(allowed.contains(&word))
}

/// The rules of this project as they are.
#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let path = root().join("deny.toml");
        Rules::read(&fs::read_to_string(path).expect("deny.toml")).expect("understood")
    }

    fn package(change: impl FnOnce(&mut Package)) -> Vec<String> {
        let mut package = Package {
            name: "p".to_owned(),
            version: "1.0.0".to_owned(),
            license: Some("MIT OR Apache-2.0".to_owned()),
            source: Some(CRATES_IO[0].to_owned()),
            publish: None,
            dependencies: Vec::new(),
        };
        change(&mut package);
        rules().refuse(&package)
    }

    #[test]
    fn licences_are_met_as_spdx_has_it() {
        let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"];
        for (expression, expected) in [
            ("MIT", Some(true)),
            ("GPL-2.0-only", Some(false)),
            ("MIT/GPL-2.0", Some(true)),
            ("GPL-3.0 OR MIT", Some(true)),
            ("GPL-3.0 AND MIT", Some(false)),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", Some(true)),
            ("MIT AND (GPL-3.0 OR Unicode-3.0)", Some(true)),
            ("GPL-3.0 OR MIT AND GPL-2.0", Some(false)),
            ("Apache-2.0 WITH LLVM-exception", Some(true)),
            ("Apache-2.0", Some(false)),
            ("", None),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT)", None),
            ("MIT GPL-3.0", None),
            ("WITH MIT", None),
        ] {
            assert_eq!(satisfied(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn a_package_is_refused_for_what_is_wrong_with_it() {
        assert_eq!(package(|_| ()), [""; 0]);
        let of = |licence: &str| {
            let licence = licence.to_owned();
            package(|package| package.license = Some(licence))
        };
        assert_eq!(
            of("GPL-3.0-only"),
            ["p 1.0.0: the licence `GPL-3.0-only` is not allowed"]
        );
        assert_eq!(
            package(|it| it.license = None),
            ["p 1.0.0: no licence is named"]
        );
        let fuzzer = package(|package| {
            package.name = "libfuzzer-sys".to_owned();
            package.license = Some("(MIT OR Apache-2.0) AND NCSA".to_owned());
        });
        assert_eq!(fuzzer, [""; 0], "an exception");
        for source in [
            "git+https://example.org/p?rev=1#1",
            "registry+https://example.org/",
        ] {
            let from = package(|package| package.source = Some(source.to_owned()));
            assert_eq!(from, [format!("p 1.0.0: from {source}")]);
        }
        let wild = |path: Option<&str>| {
            package(|package| {
                package.source = None;
                package.publish = Some(Vec::new());
                package.dependencies.push(Dependency {
                    name: "q".to_owned(),
                    req: "*".to_owned(),
                    path: path.map(str::to_owned),
                });
            })
        };
        assert_eq!(wild(None), ["p 1.0.0: any version of q will do"]);
        assert_eq!(wild(Some("/q")), [""; 0]);
    }

    #[test]
    fn a_rule_that_nobody_checks_is_an_error() {
        let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
        assert!(Rules::read(&format!("{text}\nallow-git = []\n")).is_err());
        assert!(Rules::read(&text.replace("\"allow\"", "\"deny\"")).is_err());
    }
}

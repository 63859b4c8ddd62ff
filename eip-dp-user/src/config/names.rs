//! Names of the DNS, as guests are told them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name as text; with the root's empty label and the first length it is 255 bytes on
/// the wire (RFC 1035, 2.3.4).
const LONGEST: usize = 253;
/// The longest label.
const LONGEST_LABEL: usize = 63;

/// A domain: labels of ASCII letters, digits, `-` and `_`, with dots between them and none at the
/// end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

impl DomainName {
    /// As text, without a dot at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many bytes it takes on the wire, uncompressed.
    pub fn wire_len(&self) -> usize {
        self.0.len() + 2
    }
}

/// Why a text is no name of a domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADomain {
    /// It is empty, or the root.
    #[error("no name at all")]
    Empty,
    /// It is longer than DNS allows.
    #[error("{0} characters; a name has {LONGEST} at most")]
    Long(usize),
    /// A label is empty, or longer than DNS allows.
    #[error("the label {0:?} is not of 1 to {LONGEST_LABEL} characters")]
    LabelLength(String),
    /// A label has other characters, or a hyphen at an end.
    #[error(
        "the label {0:?} has more than letters, digits, `-` and `_`, or a `-` at an end; give names of \
         other scripts as `xn--…`"
    )]
    Characters(String),
}

impl FromStr for DomainName {
    type Err = NotADomain;

    fn from_str(text: &str) -> Result<Self, NotADomain> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(NotADomain::Empty);
        }
        if name.len() > LONGEST {
            return Err(NotADomain::Long(name.len()));
        }
        for label in name.split('.') {
            if !(1..=LONGEST_LABEL).contains(&label.len()) {
                return Err(NotADomain::LabelLength(label.to_owned()));
            }
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if !label.bytes().all(is_known) || label.starts_with('-') || label.ends_with('-') {
                return Err(NotADomain::Characters(label.to_owned()));
            }
        }
        Ok(Self(name.to_owned()))
    }
}

impl TryFrom<String> for DomainName {
    type Error = NotADomain;

    fn try_from(text: String) -> Result<Self, NotADomain> {
        text.parse()
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_dns_are_taken_and_others_not() {
        let label = "a".repeat(63);
        let longest = [&label[..], &label, &label, &label[..61]].join(".");
        for good in [
            "example.org",
            "example.org.",
            "a",
            "_tcp.x-y.Z9",
            &label,
            &longest,
        ] {
            let name: DomainName = good.parse().expect(good);
            assert_eq!(name.as_str(), good.trim_end_matches('.'));
        }
        let too_long = format!("{longest}a");
        let label = format!("{label}a.org");
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b",
            "-a.org",
            "a-.org",
            "bücher.de",
            "a\0b",
            "a\n",
            &label,
            &too_long,
        ] {
            assert!(bad.parse::<DomainName>().is_err(), "{bad:?}");
        }
    }
}

//! How the command line's values are read. Each error names the form that is expected; clap adds
//! the value.

use std::{fmt, net::IpAddr, str::FromStr};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;

use crate::model::{
    MAX_NAME, Vlan,
    command::OrNone,
    is_id, is_interface_name,
    objects::{Announce, Antispoof, EniKind, Mode, PoolGateway, Rebind},
};

/// Which gateway of this host is meant; names its pins and its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// The gateway that is meant when no name is given.
    pub const DEFAULT: &str = "default";
    const MAX_LEN: usize = 32;

    /// The name's text: safe as part of a path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(allowed) {
            return Err(format!(
                "a name is 1 to {} letters, digits, `-` or `_`",
                Self::MAX_LEN
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// An object's id.
pub fn id(text: &str) -> Result<String, String> {
    if !is_id(text) {
        return Err("an id is 1 to 64 printable characters without spaces".to_owned());
    }
    Ok(text.to_owned())
}

/// What an object that is there is called: one that was written past the rules may have any id,
/// see [`super::output::unescaped`].
pub fn name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the name of an object, or what else it is known by, is not empty".to_owned());
    }
    Ok(text.to_owned())
}

/// A network interface's name, by the kernel's rule.
pub fn interface(text: &str) -> Result<String, String> {
    if !is_interface_name(text) {
        return Err(format!(
            "the name of an interface, or an alternative one, is 1 to {MAX_NAME} bytes without spaces, `/` or `:`"
        ));
    }
    Ok(text.to_owned())
}

/// A VLAN, or one within another.
pub fn vlan(text: &str) -> Result<Vlan, String> {
    let vlan: Vlan = text.parse()?;
    vlan.check()?;
    Ok(vlan)
}

/// An address of either family.
pub fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| "expected an address such as 203.0.113.10".to_owned())
}

/// A prefix whose host bits are 0.
pub fn prefix(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text
        .parse()
        .map_err(|_| "expected a prefix such as 203.0.113.0/24".to_owned())?;
    if net != net.trunc() {
        return Err(format!(
            "its host bits are not 0: the prefix is {}",
            net.trunc()
        ));
    }
    Ok(net)
}

/// `primary` or `secondary`.
pub fn kind() -> impl TypedValueParser<Value = EniKind> {
    choice(&[
        ("primary", EniKind::Primary),
        ("secondary", EniKind::Secondary),
    ])
}

/// `instance` or `eni`.
pub fn antispoof() -> impl TypedValueParser<Value = Antispoof> {
    choice(&[("instance", Antispoof::Instance), ("eni", Antispoof::Eni)])
}

/// `name` or `never`.
pub fn rebind() -> impl TypedValueParser<Value = Rebind> {
    choice(&[("name", Rebind::Name), ("never", Rebind::Never)])
}

/// `auto` or `always`.
pub fn announce() -> impl TypedValueParser<Value = Announce> {
    choice(&[("auto", Announce::Auto), ("always", Announce::Always)])
}

/// An id, or nothing.
pub fn id_or_none(text: &str) -> Result<OrNone<String>, String> {
    if text.is_empty() {
        return Ok(OrNone(None));
    }
    id(text).map(|id| OrNone(Some(id)))
}

/// A number, or `none`.
pub fn number_or_none(text: &str) -> Result<OrNone<u32>, String> {
    if text == "none" {
        return Ok(OrNone(None));
    }
    let number = text.parse();
    let number = number.map_err(|_| "expected a number, or `none`".to_owned())?;
    Ok(OrNone(Some(number)))
}

/// An address, or `default`.
pub fn address_or_default(text: &str) -> Result<OrNone<IpAddr>, String> {
    if text == "default" {
        return Ok(OrNone(None));
    }
    let address = text.parse();
    let address = address.map_err(|_| "expected an address, or `default`".to_owned())?;
    Ok(OrNone(Some(address)))
}

/// A pool's gateway, or `default`.
pub fn gateway_or_default(text: &str) -> Result<OrNone<PoolGateway>, String> {
    if text == "default" {
        return Ok(OrNone(None));
    }
    let gateway = text.parse();
    let gateway = gateway.map_err(|_| "expected an address, `none` or `default`".to_owned())?;
    Ok(OrNone(Some(gateway)))
}

/// `nat` or `cut-through`.
pub fn mode() -> impl TypedValueParser<Value = Mode> {
    choice(&[("nat", Mode::Nat), ("cut-through", Mode::CutThrough)])
}

/// Reads one of a field's values by its name, and shows the names in help and completions.
fn choice<T>(values: &'static [(&'static str, T)]) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(values.iter().map(|(name, _)| *name)).try_map(move |text| {
        let found = values.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, value)| *value)
            .ok_or("not one of the possible values")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_a_path_component() {
        for good in ["default", "gw-1", "A_b", &"x".repeat(32)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "..", "a b", "ä", &"x".repeat(33)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn interfaces_follow_the_kernels_rule() {
        assert!(interface("enp1s0f0np0.100").is_ok());
        assert!(interface("an-alternative-name-of-a-port").is_ok());
        let long = "x".repeat(128);
        for bad in ["", ".", "..", "a/b", "a b", "eth0:1", &long] {
            assert!(interface(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_with_host_bits_names_the_prefix_that_was_meant() {
        assert!(
            prefix("203.0.113.5/24")
                .unwrap_err()
                .contains("203.0.113.0/24")
        );
        assert!(prefix("203.0.113.0").is_err());
        assert_eq!(prefix("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
    }
}

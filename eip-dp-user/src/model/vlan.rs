//! VLANs: one tag, or one within another.

use std::{fmt, num::ParseIntError, str::FromStr};

use eip_dp_common::abi::LinkKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A VLAN on an interface: that of an 802.1Q tag, written `7`, or of one within an outer 802.1ad
/// tag, written `100.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vlan {
    /// The VLAN of the outer tag.
    pub outer: Option<u16>,
    /// The VLAN, of the inner tag where there are two.
    pub id: u16,
}

impl Vlan {
    /// That of one tag.
    pub const fn of(id: u16) -> Self {
        Self { outer: None, id }
    }

    /// That of a tag within another.
    pub const fn within(outer: u16, id: u16) -> Self {
        Self {
            outer: Some(outer),
            id,
        }
    }

    /// Refuses numbers that no VLAN has.
    pub fn check(self) -> Result<(), String> {
        let is_vlan = |id| (1..=4094).contains(&id);
        if is_vlan(self.id) && self.outer.is_none_or(is_vlan) {
            Ok(())
        } else if self.outer.is_some() {
            Err(format!(
                "VLAN {self} has a number that is not between 1 and 4094"
            ))
        } else {
            Err(format!("VLAN {self} is not between 1 and 4094"))
        }
    }

    /// The key of the VLAN on an interface, or of the interface itself.
    pub fn key(vlan: Option<Self>, ifindex: u32) -> LinkKey {
        match vlan {
            None => LinkKey::untagged(ifindex),
            Some(Self { outer: None, id }) => LinkKey::tagged(ifindex, id),
            Some(Self {
                outer: Some(outer),
                id,
            }) => LinkKey::stacked(ifindex, outer, id),
        }
    }

    /// The VLAN that a key names.
    pub fn of_key(vlan: u16, outer: u16) -> Option<Self> {
        (vlan != 0).then_some(Self {
            outer: (outer != 0).then_some(outer),
            id: vlan,
        })
    }

    /// The commands that make the host's own interface for the VLAN.
    pub fn to_create(self, interface: &str) -> String {
        let id = self.id;
        match self.outer {
            None => {
                format!(
                    "`ip link add link {interface} name {interface}.{id} type vlan id {id}`, and set it up"
                )
            }
            Some(outer) => format!(
                "`ip link add link {interface} name {interface}.{outer} type vlan proto 802.1ad id {outer}`, \
                 `ip link add link {interface}.{outer} name {interface}.{outer}.{id} type vlan id {id}`, and set both up"
            ),
        }
    }
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outer {
            Some(outer) => write!(f, "{outer}.{}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl FromStr for Vlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || -> Result<Self, ParseIntError> {
            Ok(match text.split_once('.') {
                Some((outer, id)) => Self::within(outer.parse()?, id.parse()?),
                None => Self::of(text.parse()?),
            })
        };
        read().map_err(|_| {
            format!("{text:?} is no VLAN: give its number, or the outer and the inner one's, such as 7 or 100.7")
        })
    }
}

/// One number, or the text of two.
impl Serialize for Vlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.outer {
            Some(_) => serializer.collect_str(self),
            None => serializer.serialize_u16(self.id),
        }
    }
}

impl<'de> Deserialize<'de> for Vlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Vlan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of a VLAN, or \"OUTER.INNER\"")
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Vlan, E> {
                let id = u16::try_from(id)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(id), &self))?;
                Ok(Vlan::of(id))
            }

            fn visit_i64<E: de::Error>(self, id: i64) -> Result<Vlan, E> {
                let id = u16::try_from(id)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(id), &self))?;
                Ok(Vlan::of(id))
            }

            /// Without quotes it is this: `100.10` and `100.1` are one number.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Vlan, E> {
                Err(E::custom(format!(
                    "{value} is no VLAN: put the outer and the inner number in quotes, such as \"100.7\""
                )))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vlan, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_vlan_is_refused_with_the_value() {
        for text in [
            "", "x", "7.", ".7", "1.2.3", "-1", "7.8 ", "70000", "70000.7",
        ] {
            let error = text.parse::<Vlan>().unwrap_err();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        for vlan in [
            Vlan::of(0),
            Vlan::of(4095),
            Vlan::within(0, 7),
            Vlan::within(7, 0),
            Vlan::within(4095, 7),
            Vlan::within(7, 4095),
        ] {
            let error = vlan.check().unwrap_err();
            assert!(error.contains(&vlan.to_string()), "{error}");
            assert!(error.contains("between 1 and 4094"), "{error}");
        }
    }

    #[test]
    fn one_number_is_a_number_and_two_are_text() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Holder {
            vlan: Vlan,
        }
        for (vlan, json, toml_text) in [
            (Vlan::of(7), "{\"vlan\":7}", "vlan = 7\n"),
            (
                Vlan::within(100, 7),
                "{\"vlan\":\"100.7\"}",
                "vlan = \"100.7\"\n",
            ),
        ] {
            let holder = Holder { vlan };
            assert_eq!(serde_json::to_string(&holder).unwrap(), json);
            assert_eq!(toml::to_string(&holder).unwrap(), toml_text);
            assert_eq!(serde_json::from_str::<Holder>(json).unwrap(), holder);
            assert_eq!(toml::from_str::<Holder>(toml_text).unwrap(), holder);
        }
        let error = toml::from_str::<Holder>("vlan = 100.7").unwrap_err();
        assert!(error.to_string().contains("in quotes"), "{error}");
        let error = toml::from_str::<Holder>("vlan = -1").unwrap_err();
        assert!(error.to_string().contains("-1"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_keys_tell_vlans_apart(
            one in (proptest::option::of(1u16..=4094), 1u16..=4094),
            other in (proptest::option::of(1u16..=4094), 1u16..=4094),
        ) {
            let [one, other] = [one, other].map(|(outer, id)| Vlan { outer, id });
            prop_assert_eq!(one.to_string().parse(), Ok(one));
            prop_assert!(one.check().is_ok());
            let key = Vlan::key(Some(one), 3);
            prop_assert_eq!(Vlan::of_key(key.vlan, key.outer), Some(one));
            prop_assert_eq!(key == Vlan::key(Some(other), 3), one == other);
            prop_assert!(key != Vlan::key(None, 3));
        }
    }
}

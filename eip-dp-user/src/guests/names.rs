//! Names of domains on the wire (RFC 1035, 3.1 and 4.1.4).

use crate::config::DomainName;

/// A pointer to an earlier place has its two upper bits set.
const POINTER: u16 = 0xc000;

/// The names one behind the other, each ending in a label of the root.
pub(super) fn plain(names: &[DomainName]) -> Vec<u8> {
    let mut out = Vec::new();
    for name in names {
        for label in name.as_str().split('.') {
            put_label(&mut out, label);
        }
        out.push(0);
    }
    out
}

/// Likewise, with pointers in place of what was said before, as option 119 may have them (RFC
/// 3397).
pub(super) fn compressed(names: &[DomainName]) -> Vec<u8> {
    let mut out = Vec::new();
    // What is at which place: the rest of a name.
    let mut known: Vec<(&str, u16)> = Vec::new();
    for name in names {
        let mut rest = name.as_str();
        loop {
            if rest.is_empty() {
                out.push(0);
                break;
            }
            let mut places = known.iter();
            if let Some((_, place)) = places.find(|(it, _)| it.eq_ignore_ascii_case(rest)) {
                out.extend((POINTER | place).to_be_bytes());
                break;
            }
            if let Some(place) = u16::try_from(out.len())
                .ok()
                .filter(|at| *at < POINTER >> 2)
            {
                known.push((rest, place));
            }
            let (label, after) = rest.split_once('.').unwrap_or((rest, ""));
            put_label(&mut out, label);
            rest = after;
        }
    }
    out
}

/// A label has 63 bytes at most, by its type.
fn put_label(out: &mut Vec<u8>, label: &str) {
    if let Ok(length) = u8::try_from(label.len()) {
        out.push(length);
        out.extend(label.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use similar_asserts::assert_eq;

    use super::*;

    fn names(texts: &[&str]) -> Vec<DomainName> {
        let parsed = texts.iter().map(|text| text.parse().expect("a name"));
        parsed.collect()
    }

    #[test]
    fn the_example_of_rfc_3397() {
        let list = names(&["eng.apple.com.", "marketing.apple.com."]);
        let expected = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(compressed(&list), expected);
        let expected = b"\x03eng\x05apple\x03com\x00\x09marketing\x05apple\x03com\x00";
        assert_eq!(plain(&list), expected);
    }

    #[test]
    fn a_name_again_is_one_pointer() {
        assert_eq!(compressed(&[]), b"");
        let list = names(&["a.B", "A.b", "b"]);
        assert_eq!(compressed(&list), b"\x01a\x01B\x00\xc0\x00\xc0\x02");
    }
}

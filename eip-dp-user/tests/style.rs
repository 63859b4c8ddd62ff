//! What every source and document keeps to: the words of the glossary (docs/architecture.md), and
//! comments that fit beside each other on a screen.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The widest comment, in columns.
const WIDEST: usize = 100;

/// Words that the project has given up, and what it says in their place.
const RETIRED: &[(&str, &str)] = &[
    ("short way", "fast path"),
    ("whole path", "full path"),
    ("entrance", "entry point"),
    ("quick_from_uplink", "fast_path_from_uplink"),
    ("quick_from_port", "fast_path_from_port"),
    ("HandedOver", "Handoff"),
    ("HANDED_OVER", "HANDOFF"),
    ("tell_uplink", "icmp_error_on_uplink"),
    ("tell_port", "icmp_error_on_port"),
    ("leave_telling", "punt_icmp_error"),
    ("is_screened", "may_be_pool"),
    ("SCREEN4", "PREFILTER4"),
    ("SCREEN6", "PREFILTER6"),
    ("ADDRESSES6", "NAT_PEERS6"),
    ("EipWords", "EipEntry"),
    ("PrivateWords", "SourceEntry"),
    ("PrivateEntry", "SourceBinding"),
    ("PrivateKey", "SourceKey"),
    ("PrivateState", "SourceState"),
    ("Sealed", "Checksummed"),
    ("is_intact", "is_consistent"),
    ("FlowWord", "PackedCounter"),
    ("FlowHalves", "CounterOverflow"),
    ("EIP_HALVES", "EIP_OVERFLOW"),
    ("NoRoom", "BucketsFull"),
    ("Receivers", "EipsByTarget"),
    ("Whereabouts", "TargetsByNextHop"),
    ("put_to_use", "go_live"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is in the checkout")
}

/// Every file of the checkout with this ending, but for what is built or fetched.
fn files(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no file ends with {ending}");
    found
}

fn each_line(ending: &str, mut look: impl FnMut(&Path, usize, &str)) {
    for path in files(ending) {
        let text = fs::read_to_string(&path).expect("text");
        let path = path.strip_prefix(root()).expect("in the checkout");
        for (index, line) in text.lines().enumerate() {
            look(path, index + 1, line);
        }
    }
}

/// Whether a text has the word by itself, not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.match_indices(word).any(|(at, _)| {
        let bytes = text.as_bytes();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        !is_part(before) && !is_part(bytes.get(at + word.len()))
    })
}

#[test]
fn no_retired_word_is_left() {
    let own = Path::new("eip-dp-user/tests/style.rs");
    let mut found = Vec::new();
    for ending in [".rs", ".md", ".toml", ".json"] {
        each_line(ending, |path, number, line| {
            for (retired, word) in RETIRED {
                if path != own && has_word(line, retired) {
                    found.push(format!(
                        "{}:{number}: `{retired}` is `{word}` now",
                        path.display()
                    ));
                }
            }
        });
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn comments_fit_into_100_columns() {
    let mut found = Vec::new();
    each_line(".rs", |path, number, line| {
        // Pictures are as wide as they are.
        let is_picture = line.contains(['═', '─', '║']);
        let is_comment = line.trim_start().starts_with("//");
        if is_comment && !is_picture && line.chars().count() > WIDEST {
            found.push(format!("{}:{number}", path.display()));
        }
    });
    assert!(
        found.is_empty(),
        "comments of more than {WIDEST} columns:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_word_is_told_from_a_part_of_one() {
    assert!(has_word("the short way of", "short way"));
    assert!(has_word("`SCREEN4`", "SCREEN4"));
    assert!(!has_word("SCREEN45, XSCREEN4, SCREEN4_", "SCREEN4"));
}

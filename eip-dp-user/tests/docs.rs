//! The operators' guide against the code that it describes.

use eip_dp_common::abi::{Event, Reason};

const OPERATIONS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/operations.md"
));

#[test]
fn every_drop_reason_is_in_the_guide() {
    for reason in Reason::ALL {
        let row = format!(
            "| {} | `{}` | {} |",
            reason.index(),
            reason.name(),
            reason.sentence()
        );
        assert!(
            OPERATIONS.contains(&row),
            "docs/operations.md lacks the row\n{row}"
        );
    }
}

#[test]
fn every_event_is_in_the_guide() {
    for event in Event::ALL {
        let row = format!(
            "| {} | `{}` | {} |",
            event.index(),
            event.name(),
            event.sentence()
        );
        assert!(
            OPERATIONS.contains(&row),
            "docs/operations.md lacks the row\n{row}"
        );
    }
}

#[test]
fn every_rule_code_is_in_the_guide() {
    for code in eip_dp_user::model::Code::ALL {
        let row = format!("| `{}` | ", code.as_str());
        assert!(
            OPERATIONS.contains(&row),
            "docs/operations.md lacks a row that begins\n{row}"
        );
    }
}

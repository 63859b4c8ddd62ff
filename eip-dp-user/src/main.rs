//! `eip-dp`, the command.
fn main() {}

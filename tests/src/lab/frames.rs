//! Packets from scapy: what goes in and what has to come out, built by a source that shares nothing
//! with the code under test.

use std::process::Command;

use anyhow::{Context, Result};

use super::process::run;

const SCRIPT: &str = r"
import json, sys
from scapy.all import *
prelude, expressions = json.loads(sys.argv[1])
exec(prelude)
print(json.dumps([bytes(eval(text)).hex() for text in expressions]))
";

/// Builds what scapy `expressions` describe. `prelude` is Python that is run before.
pub fn build<T: AsRef<str>>(prelude: &str, expressions: &[T]) -> Result<Vec<Vec<u8>>> {
    let expressions: Vec<&str> = expressions.iter().map(AsRef::as_ref).collect();
    let argument = serde_json::to_string(&(prelude, expressions))?;
    let text = run(Command::new("/usr/bin/python3").args(["-c", SCRIPT, &argument]))
        .context("scapy did not build the packets")?;
    let list: Vec<String> = serde_json::from_str(text.trim())?;
    list.iter().map(|text| bytes(text)).collect()
}

/// `0a1b` as bytes.
fn bytes(hexadecimal: &str) -> Result<Vec<u8>> {
    (0..hexadecimal.len())
        .step_by(2)
        .map(|at| {
            let digits = hexadecimal.get(at..at + 2).context("half a byte")?;
            Ok(u8::from_str_radix(digits, 16)?)
        })
        .collect()
}

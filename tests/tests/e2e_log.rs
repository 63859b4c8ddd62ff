//! What the daemon logs, as the journal reads it.

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    process::{PATIENCE, outcome},
    scene::{Options, Scene},
    wait::until,
};
use serde_json::Value;

#[test]
fn the_journal_gets_priorities_no_second_timestamp_and_the_objects_by_name() -> Result<()> {
    let mut scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    let gateway = &mut scene.gateway;
    gateway.stop()?;
    gateway.log_for_journal();
    gateway.start()?;
    for number in 0..7 {
        let address = format!("203.0.113.{}", 100 + number);
        gateway.ok(&format!("eip create logged-{number} --address {address}"))?;
    }
    gateway.ok("disassociate eip-a --wait")?;
    let log = until(PATIENCE, "the objects' names", || {
        let log = gateway.log();
        Ok(log.contains("association eip-a").then_some(log))
    })?;
    let ready = log.lines().find(|line| line.ends_with(" ready"));
    let ready = ready.with_context(|| log.clone())?;
    assert!(
        ready.starts_with("<6> INFO") || ready.starts_with("<6>INFO"),
        "{ready}"
    );
    for line in log.lines() {
        let text = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (priority, text) = text.with_context(|| line.to_owned())?;
        ensure!(["3", "4", "6"].contains(&priority), "{line}");
        // A timestamp would stand in front.
        let word = text.split_whitespace().next().unwrap_or_default();
        ensure!(["INFO", "WARN", "ERROR"].contains(&word), "{line}");
    }
    Ok(())
}

/// What ends it is in the form of all the rest.
#[test]
fn a_fatal_error_is_json_where_the_log_is() -> Result<()> {
    let mut scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    scene.gateway.stop()?;
    scene.gateway.configure("")?;
    let configuration = scene.gateway.configuration();
    let configuration = configuration.to_string_lossy();
    for arguments in [
        &["run", "--config", &configuration][..],
        &["run", "--nonsense"],
    ] {
        let mut command = scene.gateway.command(arguments);
        let output = outcome(command.env("EIP_DP_LOG_FORMAT", "json"))?;
        ensure!(!output.status.success(), "{arguments:?}");
        let text = String::from_utf8(output.stderr)?;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).with_context(|| text.clone())?;
            assert_eq!(line["level"], "ERROR", "{line}");
            assert!(line["fields"]["message"].is_string(), "{line}");
        }
        ensure!(text.lines().count() == 1, "{text}");
    }
    Ok(())
}

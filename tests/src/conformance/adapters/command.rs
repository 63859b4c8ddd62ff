//! Any other gateway: a program that sets it up.
//!
//! `PROGRAM start FILE` runs in the gateway's network namespace; FILE is the world in JSON. It
//! returns with 0 when the gateway forwards, having printed what it claims to do besides
//! (`cut-through`, `tenants`: docs/conformance.md), and with 3 if the gateway does not do
//! the family. `PROGRAM stop FILE` ends what it started.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{super::bed::Bed, Adapter, Claims, Start, Up};
use crate::lab::{
    netns::Netns,
    process::{outcome, run, write},
};

/// What it returns with for a family that it does not do.
const NOT_APPLICABLE: i32 = 3;

/// A gateway that a program sets up.
pub struct Command {
    program: String,
}

impl Command {
    /// `program`: its path.
    pub fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
        }
    }
}

impl Adapter for Command {
    fn name(&self) -> &str {
        self.program
            .rsplit_once('/')
            .map_or(self.program.as_str(), |(_, name)| name)
    }

    /// The program says so itself.
    fn shares_link(&self) -> bool {
        true
    }

    fn start(&self, bed: &Bed) -> Result<Start> {
        let file = bed.lab.folder().join("world.json");
        write(&file, &serde_json::to_string_pretty(&bed.world)?)?;
        let running = Running {
            namespace: bed.gateway.clone(),
            program: self.program.clone(),
            file,
        };
        let started = outcome(&mut running.command("start"))?;
        match started.status.code() {
            Some(0) => Ok(Start::Up(Up {
                claims: claims(&String::from_utf8_lossy(&started.stdout)),
                guard: Box::new(running),
            })),
            Some(NOT_APPLICABLE) => Ok(Start::NotApplicable(
                "it does not do this family, or such a pool".to_owned(),
            )),
            _ => Err(anyhow::anyhow!(
                "{}",
                String::from_utf8_lossy(&started.stderr)
            ))
            .with_context(|| format!("`{} start` ended with {}", self.program, started.status)),
        }
    }
}

/// What it printed: a word for each.
fn claims(said: &str) -> Claims {
    let has = |claim| said.split_whitespace().any(|word| word == claim);
    Claims {
        cut_through: has("cut-through"),
        tenants: has("tenants"),
    }
}

struct Running {
    namespace: Netns,
    program: String,
    file: PathBuf,
}

impl Running {
    fn command(&self, verb: &str) -> std::process::Command {
        let mut command = self.namespace.command(&self.program);
        command.arg(verb).arg(&self.file);
        command
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = run(&mut self.command("stop")) {
            eprintln!("{error:#}");
        }
    }
}

//! The command under test, as the daemon and as the operator's tool, in the gateway's network
//! namespace.

use std::{
    env, fs,
    os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    Lab,
    netns::Netns,
    process::{Job, PATIENCE, outcome, run, write},
    wait::until,
};

/// A gateway instance of the lab: its table, its configuration, and its daemon while that runs.
pub struct Gateway {
    namespace: Netns,
    name: String,
    folder: PathBuf,
    /// The folder of its table.
    table: PathBuf,
    program: PathBuf,
    daemon: Option<Job>,
    /// Whether the daemon takes its log for the journal.
    for_journal: bool,
}

impl Gateway {
    /// An instance with an empty table and `configuration`; nothing runs yet.
    pub fn new(lab: &Lab, namespace: &Netns, configuration: &str) -> Result<Self> {
        Self::named(lab, namespace, lab.name(), configuration)
    }

    /// Likewise, with a name of its own. It has to begin with the lab's.
    pub fn named(lab: &Lab, namespace: &Netns, name: &str, configuration: &str) -> Result<Self> {
        let folder = lab.folder().join(format!("gateway-{name}"));
        fs::create_dir_all(&folder)?;
        let gateway = Self {
            namespace: namespace.clone(),
            name: name.to_owned(),
            table: folder.clone(),
            folder,
            program: program()?,
            daemon: None,
            for_journal: false,
        };
        gateway.configure(configuration)?;
        Ok(gateway)
    }

    /// Replaces the configuration; the daemon reads it when it starts.
    pub fn configure(&self, configuration: &str) -> Result<()> {
        write(&self.configuration(), configuration)
    }

    /// The instance's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program under test.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Uses another instance's table from now on.
    pub fn share_table_of(&mut self, other: &Self) {
        self.table.clone_from(&other.table);
    }

    /// The table's URL.
    pub fn table(&self) -> String {
        format!("sqlite:{}", self.table.join("table.db").display())
    }

    /// The daemon's configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// Where the daemon's log is.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    /// What the daemon has logged since it was started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The command with this instance's options, for any verb.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.namespace.command(&self.program.to_string_lossy());
        command
            .args(["--table", &self.table(), "--name", &self.name])
            .args(arguments)
            .env_remove("EIP_DP_TABLE");
        command
    }

    /// Gives the daemon a `/etc/resolv.conf` of its own: from its next start, and with what is
    /// written later at once.
    pub fn set_resolver(&self, text: &str) -> Result<()> {
        write(&self.resolver(), text)
    }

    /// Has the daemon take its log for the journal from its next start on.
    pub fn log_for_journal(&mut self) {
        self.for_journal = true;
    }

    fn resolver(&self) -> PathBuf {
        self.folder.join("resolv.conf")
    }

    /// The daemon's command, without options of its own.
    fn run_command(&self) -> Result<Command> {
        let program = self.program.to_string_lossy();
        let mut command = if self.resolver().exists() {
            self.namespace
                .command_with_resolver(&program, &self.resolver())?
        } else {
            self.namespace.command(&program)
        };
        command
            .args(["--table", &self.table(), "--name", &self.name, "run"])
            .env_remove("EIP_DP_TABLE");
        Ok(command)
    }

    /// Runs a verb that has to succeed. The arguments are separated by spaces.
    pub fn ok(&self, arguments: &str) -> Result<String> {
        run(&mut self.command(&words(arguments)))
    }

    /// Runs a verb, however it ends.
    pub fn outcome(&self, arguments: &str) -> Result<Output> {
        outcome(&mut self.command(&words(arguments)))
    }

    /// Runs a verb for its JSON.
    pub fn json(&self, arguments: &str) -> Result<Value> {
        let text = self.ok(&format!("--output json {arguments}"))?;
        serde_json::from_str(&text)
            .with_context(|| format!("`{arguments}` printed no JSON: {text}"))
    }

    /// What `status` says, whether it is good or not.
    pub fn status(&self) -> Result<Value> {
        let output = self.outcome("--output json status")?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("no JSON: {output:?}"))
    }

    /// The same, for people.
    pub fn status_text(&self) -> Result<String> {
        let output = self.outcome("status")?;
        ensure!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub fn start(&mut self) -> Result<()> {
        self.start_within(PATIENCE)
    }

    /// Likewise, where the verifier may take longer than elsewhere.
    pub fn start_within(&mut self, patience: Duration) -> Result<()> {
        ensure!(self.daemon.is_none(), "the daemon runs already");
        let address = self.folder.join("notify");
        let _ = fs::remove_file(&address);
        let socket = UnixDatagram::bind(&address)?;
        socket.set_nonblocking(true)?;
        let mut command = self.run_command()?;
        command
            .arg("--config")
            .arg(self.configuration())
            .env("NOTIFY_SOCKET", &address);
        if self.for_journal {
            // The file stays the same as it is emptied.
            let file = fs::File::create(self.log_file())?.metadata()?;
            command.env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()));
        }
        let mut job = Job::start(&mut command, &self.log_file())?;
        until(patience, "the daemon to be ready", || {
            let mut buffer = [0; 4096];
            if let Ok(length) = socket.recv(&mut buffer)
                && String::from_utf8_lossy(&buffer[..length])
                    .lines()
                    .any(|line| line == "READY=1")
            {
                return Ok(Some(()));
            }
            job.still_runs().map(|()| None)
        })
        .with_context(|| format!("it logged: {}", job.said()))?;
        self.daemon = Some(job);
        Ok(())
    }

    /// SIGTERM, and the wait for its end.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::SIGTERM).and_then(|status| {
            ensure!(status.success(), "stopped, the daemon ended with {status}");
            Ok(())
        })
    }

    /// SIGKILL: it gets no chance to do anything.
    pub fn kill(&mut self) -> Result<()> {
        self.end(Signal::SIGKILL).map(|_| ())
    }

    fn end(&mut self, signal: Signal) -> Result<std::process::ExitStatus> {
        let mut job = self.daemon.take().context("the daemon does not run")?;
        job.signal(signal)?;
        job.wait()
    }

    /// The daemon's process.
    pub fn daemon(&mut self) -> Result<&mut Job> {
        self.daemon.as_mut().context("the daemon does not run")
    }

    /// Lets the daemon go on when this handle is dropped.
    pub fn leave(&mut self) {
        if let Some(job) = self.daemon.take() {
            job.leave();
        }
    }

    /// Waits until the daemon delivers to each of its `ports` ports by `hook`.
    pub fn wait_for_delivery(&self, hook: &str, ports: usize) -> Result<()> {
        until(
            PATIENCE,
            &format!("delivery by {hook} to every port"),
            || {
                let status = self.status()?;
                let list = status["ports"].as_array().context("no ports in `status`")?;
                let all = list
                    .iter()
                    .all(|port| port["attached"]["delivery"] == *hook);
                Ok((all && list.len() == ports).then_some(()))
            },
        )
    }

    /// How many packets were dropped for `reason` so far.
    pub fn dropped(&self, reason: &str) -> Result<u64> {
        let drops = self.json("drops")?;
        let rows = drops["drops"]
            .as_array()
            .context("`drops` printed no list")?;
        rows.iter()
            .find(|row| row["reason"] == reason)
            .map_or(Some(0), |row| row["packets"].as_u64())
            .with_context(|| format!("`drops` has no number for {reason}: {drops}"))
    }

    /// How many packets were dropped for any reason so far.
    pub fn all_dropped(&self) -> Result<u64> {
        let drops = self.json("drops")?;
        let rows = drops["drops"]
            .as_array()
            .context("`drops` printed no list")?;
        Ok(rows.iter().filter_map(|row| row["packets"].as_u64()).sum())
    }

    /// Waits until more than `before` packets were dropped for `reason`; returns how many more.
    pub fn wait_for_drop(&self, reason: &str, before: u64) -> Result<u64> {
        let what = format!("a packet to be dropped as {reason}");
        until(PATIENCE, &what, || {
            let now = self.dropped(reason)?;
            Ok((now > before).then_some(now - before))
        })
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// The program under test: `EIP_DP_BIN`, or what this build put beside the running program.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = env::var_os("EIP_DP_BIN") {
        return Ok(path.into());
    }
    let own = env::current_exe()?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("eip-dp"))
        .find(|path| path.exists())
        .with_context(|| {
            format!(
                "there is no eip-dp beside {}: build it with `cargo xtask build`, or run `cargo xtask test`",
                own.display()
            )
        })
}

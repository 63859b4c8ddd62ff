//! Programs that the lab runs: to their end, or as jobs that end with their handle.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{PoisonError, RwLock},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::wait::until;

/// How long a job may take to do what it is started for.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How long a program that is waited for may run.
const LONGEST: Duration = Duration::from_mins(1);

/// Read while a program is being started, written when no more may start.
static STARTING: RwLock<()> = RwLock::new(());

/// Waits for the programs that are being started, and lets no other one start: who tries waits for
/// ever.
///
/// For a process that takes its labs away and ends: a program that started meanwhile would outlive
/// them.
pub(super) fn start_no_more() {
    std::mem::forget(STARTING.write().unwrap_or_else(PoisonError::into_inner));
}

fn start(command: &mut Command) -> Result<Child> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    command
        .spawn()
        .with_context(|| format!("cannot start `{}`", describe(command)))
}

/// Runs a command to its end; its standard output, or an error with what it complained about.
pub fn run(command: &mut Command) -> Result<String> {
    let output = outcome(command)?;
    checked(command, &output)
}

/// Likewise, also while no other program may start. For steps that end before a lab can be taken
/// away, because they hold a lock that this needs.
pub(super) fn run_regardless(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    checked(command, &output)
}

fn checked(command: &Command, output: &Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "`{}` ended with {}: {}{}",
        describe(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim(),
        String::from_utf8_lossy(&output.stdout).trim(),
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, however it ends. One that does not end is killed, and an error.
pub fn outcome(command: &mut Command) -> Result<Output> {
    let mut child = start(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    )?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let stdout = scope.spawn(|| read_all(stdout));
        let stderr = scope.spawn(|| read_all(stderr));
        let ended = until(LONGEST, "it to end", || Ok(child.try_wait()?));
        if ended.is_err() {
            // It may have ended just now; the wait takes it off the process table either way.
            let _ = child.kill();
            let _ = child.wait();
        }
        let read = |reader: thread::ScopedJoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
        let (stdout, stderr) = (read(stdout), read(stderr));
        let status = ended.with_context(|| {
            format!(
                "`{}` said {}{}",
                describe(command),
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            )
        })?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    })
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What could be read is what there is to show.
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A program that runs beside the test, with its output in a file. Dropping the handle kills it.
pub struct Job {
    child: Child,
    what: String,
    log: PathBuf,
}

impl Job {
    /// Starts it; both outputs go to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = start(
            command
                .stdin(Stdio::null())
                .stdout(file.try_clone()?)
                .stderr(file),
        )?;
        Ok(Self {
            child,
            what: describe(command),
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            // What could be read is what there is to show.
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until it has said `words`.
    pub fn wait_for(&mut self, words: &str) -> Result<()> {
        let what = format!("`{}` to say {words:?}", self.what);
        until(PATIENCE, &what, || {
            if self.said().contains(words) {
                return Ok(Some(()));
            }
            self.still_runs().map(|()| None)
        })
    }

    /// Fails if it has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("`{}` ended with {status}: {}", self.what, self.said());
        }
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) -> Result<()> {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(id, signal).with_context(|| format!("cannot signal `{}`", self.what))
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let what = format!("`{}` to end", self.what);
        until(PATIENCE, &what, || Ok(self.child.try_wait()?))
            .with_context(|| format!("it said: {}", self.said()))
    }

    /// Lets it go on when the handle is dropped.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// Where its output is.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file of the lab.
pub fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

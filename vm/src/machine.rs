//! The machine: qemu, from boot to power-off, and never longer than it may take.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{prctl::set_pdeathsig, signal::Signal},
};

use crate::{Cache, Kernel, Payload, payload::ENDED};

/// A machine and how long it may run.
#[derive(Clone, Debug)]
pub struct Machine {
    limit: Duration,
    memory: u32,
    processors: u32,
    wire: bool,
    log: Option<PathBuf>,
}

impl Machine {
    /// Two processors, 2 GB of memory and no network card; ended after `limit`.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            memory: 2048,
            processors: 2,
            wire: false,
            log: None,
        }
    }

    /// Two virtio network cards, `eth0` and `eth1`, with a wire between them.
    #[must_use]
    pub fn with_wire(mut self) -> Self {
        self.wire = true;
        self
    }

    /// Keeps what the kernel says in this file.
    #[must_use]
    pub fn with_log(mut self, path: &Path) -> Self {
        self.log = Some(path.to_owned());
        self
    }

    /// Boots, runs the payload's command and powers off. Each line that the command prints goes to
    /// `line` as it comes; returned is the command's exit status. The machine ends with this
    /// process, however that ends.
    pub fn run(
        &self,
        cache: &Cache,
        kernel: &Kernel,
        payload: &Payload,
        line: &mut dyn FnMut(&str),
    ) -> Result<i32> {
        let archive = payload.archive(cache, kernel)?;
        // qemu opens it by its number here.
        fcntl(&archive, FcntlArg::F_SETFD(FdFlag::empty()))?;
        // Neither has a name: whatever happens, nothing of them stays.
        let log = tempfile::tempfile_in(cache.folder())?;
        fcntl(&log, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let mut command = cache.qemu()?;
        self.arguments(&mut command, kernel, archive.as_raw_fd(), log.as_raw_fd());
        // SAFETY: between fork and exec only one system call is made.
        unsafe {
            command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start qemu")?;
        let ended = self.follow(Running(child), line);
        let said = fs::read(format!("/proc/self/fd/{}", log.as_raw_fd()))?;
        if let Some(path) = &self.log {
            fs::write(path, &said).with_context(|| format!("cannot write {}", path.display()))?;
        }
        ended.with_context(|| {
            let said = String::from_utf8_lossy(&said);
            let last: Vec<&str> = said.lines().rev().take(30).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            format!(
                "Linux {}; its last words: {}",
                kernel.release(),
                last.join("\n")
            )
        })
    }

    fn arguments(&self, command: &mut Command, kernel: &Kernel, archive: i32, log: i32) {
        command
            .args([
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-machine",
                "q35",
            ])
            .args([
                "-smp",
                &self.processors.to_string(),
                "-m",
                &self.memory.to_string(),
            ])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
            ])
            .arg("-serial")
            .arg(format!("file:/proc/self/fd/{log}"))
            .args([
                "-chardev",
                "stdio,id=out,signal=off",
                "-serial",
                "chardev:out",
            ])
            .arg("-kernel")
            .arg(kernel.image())
            .args(["-initrd", &format!("/proc/self/fd/{archive}")])
            // A panic ends the machine; no CPU mitigations, which an emulated CPU does not need.
            .args([
                "-append",
                "console=ttyS0 panic=-1 oops=panic mitigations=off net.ifnames=0",
            ]);
        if self.wire {
            for card in ["a", "b"] {
                command
                    .args(["-netdev", &format!("hubport,hubid=0,id={card}")])
                    .args([
                        "-device",
                        &format!(
                            "virtio-net-pci,netdev={card},romfile=,mq=on,vectors=8,\
                     mac=02:00:00:00:0f:0{card}"
                        ),
                    ]);
            }
        } else {
            command.args(["-nic", "none"]);
        }
    }

    fn follow(&self, mut running: Running, line: &mut dyn FnMut(&str)) -> Result<i32> {
        let end = Instant::now() + self.limit;
        let (sender, lines) = mpsc::channel();
        let output = running.0.stdout.take().context("qemu has no output")?;
        thread::spawn(move || {
            for text in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&text).trim_end().to_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(text) => match text.strip_prefix(ENDED) {
                    Some(status) => return status.parse().context("no exit status"),
                    None => line(&text),
                },
                Err(RecvTimeoutError::Timeout) => {
                    bail!("it did not end in {:?}", self.limit);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let mut complaint = String::new();
                    if let Some(mut stderr) = running.0.stderr.take() {
                        let _ = stderr.read_to_string(&mut complaint);
                    }
                    bail!("it ended before the command did: {}", complaint.trim());
                }
            }
        }
    }
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

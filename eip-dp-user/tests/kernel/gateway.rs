//! A gateway for one test: namespaces, a table, and a daemon that ends with its value.

use std::{
    fs, io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// The gateway's name.
pub const NAME: &str = "plane-test";
/// The longest that something may take; far more than it needs.
const LIMIT: Duration = Duration::from_mins(3);

/// Runs `test` on a thread with a network namespace, a BPF file system and a `/run` of its own.
pub fn run(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .expect("namespaces (are you root?)");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(
            Some("bpf"),
            "/sys/fs/bpf",
            Some("bpf"),
            MsFlags::empty(),
            none,
        )
        .unwrap();
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        for command in [
            "link set lo up",
            "link add wan type veth peer name isp",
            "link add p0 type veth peer name g0",
            "address add 192.0.2.2/24 dev wan",
            "link set wan up",
            "link set isp up",
            "link set p0 up",
            "link set g0 up",
            "route add default via 192.0.2.1",
            // Nobody is there to say it: what is not resolved is not served.
            "neighbour add 192.0.2.1 lladdr 02:00:00:00:ff:01 nud permanent dev wan",
        ] {
            sh(&format!("ip {command}"));
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command; it must succeed. Returns what it printed.
pub fn sh(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("`{command}`: {error}"));
    assert!(
        output.status.success(),
        "`{command}`: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A table and the program to run against it.
pub struct Gateway {
    folder: TempDir,
}

impl Gateway {
    /// With an ENI `e` on the port `p0` that has the EIP `x`, 203.0.113.10.
    pub fn served() -> Self {
        let gateway = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for line in [
            "pool create 203.0.113.0/24",
            "vpc create v --cidr 10.0.0.0/24",
            "instance create i",
            "eni create e --vpc v --kind primary --mac 02:00:00:00:00:01 --private-ip 10.0.0.10",
            "eni attach e --instance i --port p0",
            "eip create x --address 203.0.113.10",
            "associate x e",
        ] {
            gateway.ok(line);
        }
        gateway
    }

    /// Where a file of this gateway is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eip-dp"));
        command
            .args(["--name", NAME, "--table"])
            .arg(format!("sqlite:{}", self.path("table.db").display()))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null());
        command
    }

    fn output(&self, line: &str) -> Output {
        self.command()
            .args(line.split_whitespace())
            .output()
            .unwrap()
    }

    /// Runs a verb that has to succeed; returns what it printed.
    pub fn ok(&self, line: &str) -> String {
        let output = self.output(line);
        assert!(output.status.success(), "`{line}`: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a verb that has to fail; returns all that it printed.
    pub fn fails(&self, line: &str) -> String {
        let output = self.output(line);
        assert_eq!(output.status.code(), Some(1), "`{line}`: {output:?}");
        let all = [output.stdout, output.stderr].concat();
        String::from_utf8(all).unwrap()
    }

    /// Runs a verb that prints JSON.
    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("--output json {line}"))).unwrap()
    }

    /// What `status` says, whether it is good or not.
    pub fn status(&self) -> Value {
        let output = self.output("--output json status");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts the daemon on `wan`, with XDP there, and waits until it is ready.
    pub fn start(&self) -> Daemon {
        let path = self.path("xdp.toml");
        let text = "[[uplink]]\ninterface = \"wan\"\n[ports]\ndelivery = \"xdp\"\n";
        fs::write(&path, text).unwrap();
        self.start_with(&["--config", path.to_str().unwrap()])
    }

    /// Starts the daemon, and waits until it says that it is ready.
    pub fn start_with(&self, args: &[&str]) -> Daemon {
        let path = self.path("notify");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let log = fs::File::create(self.path("log")).unwrap();
        let child = self
            .command()
            .arg("run")
            .args(args)
            .env("NOTIFY_SOCKET", &path)
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Daemon { child };
        let end = Instant::now() + LIMIT;
        let mut buffer = [0; 256];
        loop {
            match socket.recv(&mut buffer) {
                Ok(length) if buffer[..length].starts_with(b"READY=1") => return daemon,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            let ended = daemon.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < end,
                "not ready: {}",
                log_of(&self.path("log"))
            );
        }
    }

    /// Starts the daemon, and does not wait for anything.
    pub fn spawn(&self, args: &[&str]) -> Daemon {
        let log = fs::File::create(self.path("log")).unwrap();
        let child = self.command().arg("run").args(args).stderr(log).spawn();
        Daemon {
            child: child.unwrap(),
        }
    }

    /// What the daemon has logged since it was started.
    pub fn log(&self) -> String {
        log_of(&self.path("log"))
    }

    /// Waits until something is so.
    pub fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + LIMIT;
        while !is_so() {
            assert!(
                Instant::now() < end,
                "{what}: never; the log: {}",
                log_of(&self.path("log"))
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn log_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A daemon; killed when the value is dropped.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id().cast_signed()), signal).unwrap();
    }

    /// Waits until it ends with exit code 1.
    pub fn fails(&mut self) {
        assert_eq!(self.child.wait().unwrap().code(), Some(1));
    }

    /// Ends it as systemd does.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.child.wait().unwrap().success());
    }

    /// Ends it without a chance to do anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

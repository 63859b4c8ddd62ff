//! One network namespace, and running things in it.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, anyhow};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use super::process::{run, run_regardless};

/// A namespace made by `ip netns`. Copies name the same one; the lab deletes it.
#[derive(Clone)]
pub struct Netns {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    handle: File,
    /// What stands at `/etc` for the programs of a guest.
    etc: PathBuf,
    /// What stands at `/var/lib/dhcp` there.
    leases: PathBuf,
    /// What stands at `/run` there.
    running: PathBuf,
}

impl Netns {
    /// Makes the files that a guest in it sees, in `folder`, and then the namespace.
    pub(super) fn create(name: &str, folder: &Path) -> Result<Self> {
        let own = folder.join(name);
        let etc = own.join("etc");
        let leases = own.join("dhcp");
        let running = own.join("run");
        fs::create_dir_all(&leases)?;
        // sshd wants a folder there that nobody else can write to.
        fs::create_dir_all(running.join("sshd"))?;
        guest_etc(&etc)?;
        run_regardless(Command::new("ip").args(["netns", "add", name]))?;
        let path = Path::new("/run/netns").join(name);
        let handle =
            File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                handle,
                etc,
                leases,
                running,
            }),
        })
    }

    /// Its name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The guest's own `/etc`.
    pub fn etc(&self) -> &Path {
        &self.shared.etc
    }

    /// A command that enters the network namespace and nothing else: it sees the host's files and
    /// its bpffs.
    pub fn command(&self, program: &str) -> Command {
        let shared = Arc::clone(&self.shared);
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only one system call is made, on a descriptor opened
        // before.
        unsafe {
            command.pre_exec(move || {
                setns(shared.handle.as_fd(), CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
            });
        }
        command
    }

    /// Likewise, but with another file in place of `/etc/resolv.conf`, which nobody else sees.
    pub fn command_with_resolver(&self, program: &str, resolver: &Path) -> Result<Command> {
        let resolver = CString::new(resolver.as_os_str().as_encoded_bytes())?;
        let mut command = self.command(program);
        // SAFETY: between fork and exec only system calls are made, on values that were allocated
        // before.
        unsafe {
            command.pre_exec(move || {
                unshare(CloneFlags::CLONE_NEWNS)?;
                let none = None::<&std::ffi::CStr>;
                // What others mount from now on is seen here, and nothing of this elsewhere.
                mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
                let resolver = Some(resolver.as_c_str());
                mount(resolver, c"/etc/resolv.conf", none, MsFlags::MS_BIND, none)?;
                Ok(())
            });
        }
        Ok(command)
    }

    /// A command of the guest: besides the network it has its own host name, `/etc`, `/run` and
    /// DHCP leases, so that a DHCP client and daemons can do to them what they do to a machine's.
    pub fn guest_command(&self, program: &str) -> Result<Command> {
        let shared = Arc::clone(&self.shared);
        let etc = CString::new(self.shared.etc.as_os_str().as_encoded_bytes())?;
        let leases = CString::new(self.shared.leases.as_os_str().as_encoded_bytes())?;
        let running = CString::new(self.shared.running.as_os_str().as_encoded_bytes())?;
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only system calls are made, on values that were allocated
        // before.
        unsafe {
            command.pre_exec(move || {
                setns(shared.handle.as_fd(), CloneFlags::CLONE_NEWNET)?;
                unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
                let none = None::<&std::ffi::CStr>;
                let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount(none, c"/", none, private, none)?;
                mount(Some(etc.as_c_str()), c"/etc", none, MsFlags::MS_BIND, none)?;
                let leases = Some(leases.as_c_str());
                mount(leases, c"/var/lib/dhcp", none, MsFlags::MS_BIND, none)?;
                mount(
                    Some(running.as_c_str()),
                    c"/run",
                    none,
                    MsFlags::MS_BIND,
                    none,
                )?;
                Ok(())
            });
        }
        Ok(command)
    }

    /// Runs `what` on a thread in the namespace: sockets made there belong to it.
    pub fn enter<T: Send>(&self, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(self.shared.handle.as_fd(), CloneFlags::CLONE_NEWNET)
                        .with_context(|| format!("cannot enter {}", self.name()))?;
                    what()
                })
                .join()
                .map_err(|_| anyhow!("a thread in {} panicked", self.name()))?
        })
    }

    /// Switches IPv6 off for interfaces that are not up yet: no router or neighbour solicitations.
    pub fn without_ipv6(&self) -> Result<()> {
        let switch = Path::new("/proc/sys/net/ipv6/conf/all/disable_ipv6");
        self.enter(|| {
            // A kernel without IPv6 has no switch for it.
            if switch.exists() {
                fs::write(switch, "1")?;
            }
            Ok(())
        })
    }

    /// `ip ARGUMENTS` in it.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        run(self.command("ip").args(arguments.split_whitespace()))
    }
}

/// A small `/etc`: what programs need to start, and a DHCP client's configuration without the hooks
/// that other packages of this machine may have added (they would tell the machine's own services
/// about the guest's lease).
fn guest_etc(etc: &Path) -> Result<()> {
    const HOOKS: &str = "dhcp/dhclient-exit-hooks.d";
    fs::create_dir_all(etc.join(HOOKS))?;
    fs::create_dir_all(etc.join("dhcp/dhclient-enter-hooks.d"))?;
    // The client's script asks it for a read-only root.
    fs::write(etc.join("fstab"), "")?;
    // No password is root's, and the account is not locked: sshd asks.
    fs::write(etc.join("shadow"), "root:*:::::::\n")?;
    fs::write(etc.join("resolv.conf"), "")?;
    fs::write(etc.join("hosts"), "127.0.0.1 localhost\n")?;
    let routes = format!("{HOOKS}/rfc3442-classless-routes");
    for file in [
        "dhcp/dhclient.conf",
        &routes,
        "passwd",
        "group",
        "nsswitch.conf",
        "protocols",
        "services",
        "ld.so.cache",
        "ld.so.conf",
        "localtime",
    ] {
        let from = Path::new("/etc").join(file);
        if from.exists() {
            fs::copy(&from, etc.join(file))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    // `awk`, `which` and their like are links through this folder.
    let alternatives = etc.join("alternatives");
    fs::create_dir_all(&alternatives)?;
    for entry in fs::read_dir("/etc/alternatives").into_iter().flatten() {
        let entry = entry?;
        // The folder also holds a README.
        if entry.file_type()?.is_symlink() {
            let target = fs::read_link(entry.path())?;
            std::os::unix::fs::symlink(target, alternatives.join(entry.file_name()))?;
        }
    }
    Ok(())
}

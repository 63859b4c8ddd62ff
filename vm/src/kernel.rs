//! A kernel of Debian's: its image, and its modules in the order in which they can be loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// An unpacked kernel package.
#[derive(Clone, Debug)]
pub struct Kernel {
    release: String,
    image: PathBuf,
    /// The files of the modules, by name.
    modules: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

/// A module, ready to be loaded.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

impl Kernel {
    /// The kernel of a package that was unpacked into `root`.
    pub(crate) fn find(root: &Path) -> Result<Self> {
        let image = fs::read_dir(root.join("boot"))
            .with_context(|| format!("{} holds no kernel", root.display()))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| name_of(path).starts_with("vmlinuz-"))
            .with_context(|| format!("no vmlinuz in {}/boot", root.display()))?;
        let release = name_of(&image).trim_start_matches("vmlinuz-").to_owned();
        // Debian 12 has /lib, later releases have /usr/lib.
        let folder = ["lib/modules", "usr/lib/modules"]
            .map(|folder| root.join(folder).join(&release))
            .into_iter()
            .find(|folder| folder.exists())
            .with_context(|| format!("{} holds no modules", root.display()))?;
        let mut modules = BTreeMap::new();
        collect(&folder, &mut modules)?;
        let list = folder.join("modules.builtin");
        let built_in = fs::read_to_string(&list)
            .with_context(|| format!("cannot read {}", list.display()))?
            .lines()
            .filter_map(|line| module_name(line.rsplit('/').next()?))
            .collect();
        Ok(Self {
            release,
            image,
            modules,
            built_in,
        })
    }

    /// What `uname -r` says in it.
    pub fn release(&self) -> &str {
        &self.release
    }

    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    /// These modules and all that they need, each after those that it needs. What is built in is
    /// left out.
    pub(crate) fn load_order(&self, wanted: &[String], busybox: &Path) -> Result<Vec<Module>> {
        let mut loader = Loader {
            kernel: self,
            busybox,
            seen: BTreeSet::new(),
            order: Vec::new(),
        };
        for name in wanted {
            loader.add(name)?;
        }
        Ok(loader.order)
    }
}

struct Loader<'a> {
    kernel: &'a Kernel,
    busybox: &'a Path,
    seen: BTreeSet<String>,
    order: Vec<Module>,
}

impl Loader<'_> {
    fn add(&mut self, name: &str) -> Result<()> {
        if self.kernel.built_in.contains(name) || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self
            .kernel
            .modules
            .get(name)
            .with_context(|| format!("Linux {} has no module {name}", self.kernel.release))?;
        let content = read(path, self.busybox)?;
        for needed in depends(&content) {
            self.add(&needed)?;
        }
        self.order.push(Module {
            name: name.to_owned(),
            content,
        });
        Ok(())
    }
}

fn read(path: &Path, busybox: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|suffix| suffix == "ko") {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let output = Command::new(busybox)
        .args(["unxz", "-c"])
        .arg(path)
        .output()
        .with_context(|| format!("cannot start {}", busybox.display()))?;
    ensure!(
        output.status.success(),
        "cannot unpack {}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// What a module says that it needs: `depends=a,b` among the strings of its section `.modinfo`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|bytes| bytes == KEY) else {
        return Vec::new();
    };
    let list = &module[at + KEY.len()..];
    let end = list.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&list[..end])
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

fn collect(folder: &Path, modules: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), modules)?;
        } else if let Some(name) = module_name(&name_of(&entry.path())) {
            modules.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `sch_ingress` of `sch-ingress.ko.xz`.
fn module_name(file: &str) -> Option<String> {
    let name = file
        .strip_suffix(".ko")
        .or_else(|| file.strip_suffix(".ko.xz"))?;
    Some(name.replace('-', "_"))
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_needs() {
        let with =
            |list: &str| depends(format!("x\0license=GPL\0depends={list}\0name=y\0").as_bytes());
        assert_eq!(with(""), Vec::<String>::new());
        assert_eq!(
            with("udp_tunnel,crypto-hash"),
            ["udp_tunnel", "crypto_hash"]
        );
        assert!(depends(b"no such string").is_empty());
    }

    #[test]
    fn modules_are_called_by_their_names_whatever_their_packing() {
        assert_eq!(
            module_name("sch_ingress.ko.xz").as_deref(),
            Some("sch_ingress")
        );
        assert_eq!(module_name("cls-bpf.ko").as_deref(), Some("cls_bpf"));
        assert_eq!(module_name("modules.order"), None);
    }
}

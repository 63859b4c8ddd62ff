//! Settings of the whole host that no namespace has of its own: raised for a while, and put back
//! however the process ends.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context, Result};

use super::lock;

/// What the settings were that are raised now.
static BEFORE: Mutex<Vec<(PathBuf, u64)>> = Mutex::new(Vec::new());

/// A setting that is raised until this is dropped.
pub struct Raised {
    path: PathBuf,
}

impl Raised {
    /// Raises it to at least this; nothing where it is as large already.
    pub fn to(path: &Path, wanted: u64) -> Result<Option<Self>> {
        // The signal's handler finds it either untouched or in the list.
        let mut before = lock(&BEFORE);
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let is = text.trim().parse::<u64>()?;
        if is >= wanted {
            return Ok(None);
        }
        fs::write(path, wanted.to_string())
            .with_context(|| format!("cannot raise {} from {is} to {wanted}", path.display()))?;
        before.push((path.to_owned(), is));
        Ok(Some(Self {
            path: path.to_owned(),
        }))
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        let mut before = lock(&BEFORE);
        if let Some(place) = before.iter().position(|(path, _)| *path == self.path) {
            let (path, was) = before.remove(place);
            put_back(&path, was);
        }
    }
}

/// All of them, where the process ends at once.
pub(super) fn put_all_back() {
    for (path, was) in lock(&BEFORE).drain(..) {
        put_back(&path, was);
    }
}

fn put_back(path: &Path, was: u64) {
    if let Err(error) = fs::write(path, was.to_string()) {
        eprintln!(
            "lab: {} stays raised, it was {was}: {error}",
            path.display()
        );
    }
}

//! What a gateway's pinned maps hold of the kernel's memory, by what the kernel says of each.

use std::{
    fs, io,
    mem::size_of,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context, Result};
use aya::maps::{MapData, MapType};
use nix::libc;

/// The bytes of all of them, and of maps in maps.
pub fn of(gateway: &str) -> Result<u64> {
    let root = Path::new("/sys/fs/bpf/eip-dp").join(gateway);
    let mut total = 0;
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(map) = MapData::from_pin(&path)
                && let Some(bytes) = locked(map.fd().as_fd().as_raw_fd())?
            {
                total += bytes + inner(&map)?;
            }
        }
    }
    Ok(total)
}

/// What the kernel says of a map; nothing for what is pinned besides: links and programs.
fn locked(descriptor: i32) -> Result<Option<u64>> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"))?;
    if !text.contains("map_type:") {
        return Ok(None);
    }
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    let bytes = line.context("the kernel does not say what a map holds")?;
    Ok(Some(bytes.trim().parse()?))
}

/// Of the maps in an array of maps, each once.
fn inner(map: &MapData) -> Result<u64> {
    let info = map.info()?;
    if !matches!(info.map_type()?, MapType::ArrayOfMaps) {
        return Ok(0);
    }
    let mut ids: Vec<u32> = (0..info.max_entries())
        .filter_map(|place| id_at(map.fd().as_fd().as_raw_fd(), place))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(memory_of_id).sum()
}

const LOOKUP: libc::c_long = 1;
const FD_BY_ID: libc::c_long = 14;

/// The id of the map at a place; none if there is none.
fn id_at(outer: i32, place: u32) -> Option<u32> {
    #[repr(C)]
    struct Lookup {
        map: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let mut id = 0_u32;
    let attributes = Lookup {
        map: outer.unsigned_abs(),
        padding: 0,
        key: (&raw const place) as u64,
        value: (&raw mut id) as u64,
        flags: 0,
    };
    // SAFETY: key and value are a u32 each, as an array of maps has them, and outlive the call.
    let done = unsafe { libc::syscall(libc::SYS_bpf, LOOKUP, &raw const attributes, size_of::<Lookup>()) };
    (done == 0).then_some(id)
}

fn memory_of_id(id: u32) -> Result<u64> {
    // `map_id`, `next_id`, `open_flags`.
    let attributes = [id, 0, 0];
    // SAFETY: the attributes outlive the call.
    let descriptor = unsafe { libc::syscall(libc::SYS_bpf, FD_BY_ID, &raw const attributes, 12) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error()).context("an inner map cannot be opened");
    }
    // SAFETY: the kernel just gave this descriptor to us alone.
    let map = unsafe { OwnedFd::from_raw_fd(i32::try_from(descriptor)?) };
    Ok(locked(map.as_raw_fd())?.unwrap_or_default())
}

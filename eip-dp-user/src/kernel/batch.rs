//! Many elements of a hash map by one system call (Linux 5.6, `BPF_MAP_UPDATE_BATCH`), which aya
//! has no call for.

use std::{
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd},
};

use aya::{
    Pod,
    maps::{MapData, MapError},
    sys::SyscallError,
};

/// Of `enum bpf_cmd` (Linux, include/uapi/linux/bpf.h).
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;

/// The part of `union bpf_attr` for it.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Inserts or replaces the elements of these keys, each by its value, in order. Else says how many
/// were, and why not the next.
pub(super) fn insert_all<K: Pod, V: Pod>(
    map: &MapData,
    keys: &[K],
    values: &[V],
) -> Result<(), (usize, MapError)> {
    let all = keys.len().min(values.len());
    let mut done = 0;
    while done < all {
        let left = all - done;
        let mut attributes = Attributes {
            keys: keys[done..].as_ptr() as u64,
            values: values[done..].as_ptr() as u64,
            count: u32::try_from(left).unwrap_or(u32::MAX),
            map: map.fd().as_fd().as_raw_fd().unsigned_abs(),
            ..Attributes::default()
        };
        // SAFETY: keys and values are so many elements of the map's types, plain old data, and
        // outlive the call, which reads them and writes the count alone.
        let code = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_UPDATE_BATCH,
                &raw mut attributes,
                size_of::<Attributes>(),
            )
        };
        let error = io::Error::last_os_error();
        // Where the kernel does not come to the first it leaves the count as it was.
        let count = attributes.count as usize;
        if code == 0 || count < left {
            done += count;
        }
        if code != 0 {
            let error = SyscallError {
                call: "bpf_map_update_batch",
                io_error: error,
            };
            return Err((done, error.into()));
        }
    }
    Ok(())
}

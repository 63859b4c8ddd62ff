//! The FORWARD chain of `iptables-legacy`, which is only to be had by socket option.

use std::{
    fs, io,
    mem::size_of,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::ForwardChain;

/// The tables that exist in the network namespace of the calling thread, whatever is mounted where.
const TABLES: &str = "/proc/thread-self/net/ip_tables_names";
const TABLE: &[u8] = b"filter";
/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// `NF_INET_FORWARD`.
const FORWARD: usize = 2;
/// Offsets in `struct ipt_get_entries`, `struct ipt_entry` and `struct xt_standard_target`.
const ENTRIES: usize = 40;
const TARGET_OFFSET: usize = 88;
const NEXT_OFFSET: usize = 90;
const VERDICT: usize = 32;
/// The verdict drop as a rule holds it: `-NF_DROP - 1`.
const DROP: i32 = -1;
/// More entries than any host has; a bound for the buffer.
const LARGEST: u32 = 256 << 20;

/// `struct ipt_getinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Info {
    name: [u8; 32],
    valid_hooks: u32,
    hook_entry: [u32; 5],
    underflow: [u32; 5],
    num_entries: u32,
    size: u32,
}

/// The chain, if the table exists. Asking for a table that does not exist would make it, so that is
/// looked up first.
pub(super) fn forward_chain() -> io::Result<Option<ForwardChain>> {
    let exists = fs::read(TABLES)
        .is_ok_and(|names| names.split(|byte| *byte == b'\n').any(|name| name == TABLE));
    if !exists {
        return Ok(None);
    }
    let socket = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Raw,
    )?;
    let info = info(&socket)?;
    if info.size > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let entries = entries(&socket, info.size)?;
    Ok(read(&info, &entries))
}

fn info(socket: &OwnedFd) -> io::Result<Info> {
    let mut info = Info::default();
    info.name[..TABLE.len()].copy_from_slice(TABLE);
    let mut length = socklen(size_of::<Info>());
    // SAFETY: the option reads and writes a `struct ipt_getinfo`, of which `Info` has the layout;
    // the pointers are to live values, and the length is that of the value.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            GET_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(info)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The rules of all chains, one behind the other.
fn entries(socket: &OwnedFd, size: u32) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; ENTRIES + size as usize];
    buffer[..TABLE.len()].copy_from_slice(TABLE);
    buffer[32..36].copy_from_slice(&size.to_ne_bytes());
    let mut length = socklen(buffer.len());
    // SAFETY: the option reads and writes a `struct ipt_get_entries` with `size` bytes of entries
    // behind it: just what the buffer has room for, as the length says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            GET_ENTRIES,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(buffer.split_off(ENTRIES))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads a table that anybody may have made: `struct ipt_getinfo` as far as it is used, and
/// entries.
#[cfg(any(test, feature = "testing"))]
pub(super) fn hold(bytes: &[u8]) -> bool {
    let Some((entry, rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let Some((policy, entries)) = rest.split_first_chunk() else {
        return false;
    };
    let mut info = Info::default();
    info.hook_entry[FORWARD] = u32::from_ne_bytes(*entry);
    info.underflow[FORWARD] = u32::from_ne_bytes(*policy);
    let chain = read(&info, entries);
    if let Some(chain) = &chain {
        // No rule is smaller than its head.
        assert!(chain.rules as usize <= entries.len(), "{chain}");
    }
    chain.is_some()
}

/// The FORWARD chain: its rules, up to the last one, which is the policy.
fn read(info: &Info, entries: &[u8]) -> Option<ForwardChain> {
    let policy = info.underflow[FORWARD] as usize;
    let mut at = info.hook_entry[FORWARD] as usize;
    let mut rules = 0;
    while at < policy {
        let next = usize::from(u16_at(entries, at + NEXT_OFFSET)?);
        if next == 0 {
            return None;
        }
        at += next;
        rules += 1;
    }
    let target = policy + usize::from(u16_at(entries, policy + TARGET_OFFSET)?);
    let verdict = entries.get(target + VERDICT..)?.first_chunk()?;
    Some(ForwardChain {
        place: "iptables-legacy table filter, chain FORWARD".to_owned(),
        rules,
        drops: i32::from_ne_bytes(*verdict) == DROP,
    })
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|bytes| u16::from_ne_bytes(*bytes))
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the buffers are bounded far below"
)]
fn socklen(length: usize) -> libc::socklen_t {
    length as libc::socklen_t
}

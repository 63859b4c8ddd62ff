//! tc programs before Linux 6.6, which has no links for them: filters of a clsact queueing
//! discipline.
//!
//! A filter is ours by its preference and its handle, which is made of the gateway's name; nothing
//! else of the interface's is touched. The kernel replaces the program of a filter in one step, so
//! that a daemon that starts anew leaves no gap.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::compile::tag;

const NEW_QDISC: u16 = 36;
const DEL_QDISC: u16 = 37;
const NEW_FILTER: u16 = 44;
const DEL_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;
/// `TC_H_CLSACT`, which is a parent, and the handle of what hangs there.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
const ATTRIBUTE_KIND: u16 = 1;
const ATTRIBUTE_OPTIONS: u16 = 2;
const ATTRIBUTE_FD: u16 = 6;
const ATTRIBUTE_NAME: u16 = 7;
const ATTRIBUTE_FLAGS: u16 = 8;
/// The program itself says what becomes of the packet.
const DIRECT_ACTION: u32 = 1;
/// `NLM_F_REPLACE` says nothing to this kind of filter: it replaces where there is one, and only
/// creates when told to.
const REPLACE: u16 = 0;
/// First of all: what another filter there does, it does with packets that are not ours. In the
/// upper half; the lower one says "any protocol", `htons(ETH_P_ALL)`.
const FIRST_OF_ALL: u32 = 1 << 16 | 0x0300;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The ingress side of one interface, as the gateway of one name sees it.
#[derive(Clone, Copy, Debug)]
pub struct Clsact {
    ifindex: u32,
    handle: u32,
}

impl Clsact {
    /// That of the gateway `name` on an interface.
    pub fn new(name: &str, ifindex: u32) -> Self {
        Self {
            ifindex,
            handle: handle(name),
        }
    }

    /// Lets the program run on the interface in place of the one that ran there for this gateway,
    /// or as a new one. Returns whether the queueing discipline was made for it.
    pub fn set(self, program: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
        let made = self.make_qdisc()?;
        let mut message = self.message(NEW_FILTER, INGRESS, FIRST_OF_ALL);
        message.attribute(ATTRIBUTE_KIND, b"bpf\0");
        message.nested(ATTRIBUTE_OPTIONS, |options| {
            options.attribute(ATTRIBUTE_FD, &program.as_raw_fd().to_ne_bytes());
            options.attribute(ATTRIBUTE_NAME, &[name.as_bytes(), &[0]].concat());
            options.attribute(ATTRIBUTE_FLAGS, &DIRECT_ACTION.to_ne_bytes());
        });
        match message.clone().ask(REPLACE) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                message.ask(NLM_F_CREATE | NLM_F_EXCL)?;
            }
            other => {
                other?;
            }
        }
        Ok(made)
    }

    /// Takes the filter away, if it is there.
    pub fn remove(self) -> io::Result<()> {
        absent_is_fine(self.message(DEL_FILTER, INGRESS, FIRST_OF_ALL).ask(0))
    }

    /// Takes the queueing discipline away, unless somebody's filters are in it.
    pub fn remove_empty_qdisc(self) -> io::Result<()> {
        for side in [INGRESS, EGRESS] {
            let mut message = self.message(GET_FILTER, side, 0);
            message.set_handle(0);
            match message.ask(NLM_F_DUMP) {
                Ok(0) => {}
                Ok(_) => return Ok(()),
                Err(error) => return absent_is_fine(Err(error)),
            }
        }
        let mut message = self.message(DEL_QDISC, CLSACT, 0);
        message.set_handle(CLSACT_HANDLE);
        absent_is_fine(message.ask(0))
    }

    /// Returns whether there was none yet.
    fn make_qdisc(self) -> io::Result<bool> {
        let mut message = self.message(NEW_QDISC, CLSACT, 0);
        message.set_handle(CLSACT_HANDLE);
        message.attribute(ATTRIBUTE_KIND, b"clsact\0");
        match message.ask(NLM_F_CREATE | NLM_F_EXCL) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn message(self, kind: u16, parent: u32, info: u32) -> Message {
        let mut message = Message(vec![0; Message::HEADERS]);
        message.0[4..6].copy_from_slice(&kind.to_ne_bytes());
        for (at, word) in [
            (Message::IFINDEX, self.ifindex),
            (Message::HANDLE, self.handle),
            (Message::PARENT, parent),
            (Message::INFO, info),
        ] {
            message.0[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        message
    }
}

/// The handle of a gateway's filter. The kernel numbers other people's filters upwards from 1.
fn handle(name: &str) -> u32 {
    let [a, b, c, d, ..] = tag(name).to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d]) | 1 << 31
}

/// An interface that is gone has taken everything with it; a queueing discipline that is gone, its
/// filters (`EINVAL`).
fn absent_is_fine(result: io::Result<usize>) -> io::Result<()> {
    const ABSENT: [i32; 3] = [libc::ENOENT, libc::ENODEV, libc::EINVAL];
    match result {
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|code| ABSENT.contains(&code)) =>
        {
            Ok(())
        }
        other => other.map(|_| ()),
    }
}

/// A `struct nlmsghdr`, a `struct tcmsg`, and attributes.
#[derive(Clone, Debug)]
struct Message(Vec<u8>);

impl Message {
    const HEADER: usize = 16;
    const IFINDEX: usize = 20;
    const HANDLE: usize = 24;
    const PARENT: usize = 28;
    const INFO: usize = 32;
    const HEADERS: usize = 36;

    fn set_handle(&mut self, handle: u32) {
        self.0[Self::HANDLE..Self::HANDLE + 4].copy_from_slice(&handle.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |message| message.0.extend_from_slice(value));
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let begin = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        // Attributes are short: names and numbers.
        let length = u16::try_from(self.0.len() - begin).unwrap_or(u16::MAX);
        self.0[begin..begin + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Sends it; the number of messages that the answer is made of, or the kernel's refusal.
    fn ask(mut self, flags: u16) -> io::Result<usize> {
        // A dump ends by itself.
        let acknowledge = if flags == NLM_F_DUMP { 0 } else { NLM_F_ACK };
        let length = u32::try_from(self.0.len()).map_err(io::Error::other)?;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[6..8].copy_from_slice(&(NLM_F_REQUEST | acknowledge | flags).to_ne_bytes());
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket2::SockRef::from(&socket).set_read_timeout(Some(ANSWER_TIMEOUT))?;
        socket.send_to(&self.0, &SocketAddr::new(0, 0), 0)?;
        let mut answers = 0;
        loop {
            let (datagram, _) = socket.recv_from_full()?;
            if let Some(ended) = read(&datagram, &mut answers) {
                return ended.map(|()| answers);
            }
        }
    }
}

/// Counts the messages of a datagram; tells how it ended, if the answer ends in it.
fn read(datagram: &[u8], answers: &mut usize) -> Option<io::Result<()>> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let word = |at: usize| Some(u32::from_ne_bytes(*datagram.get(at..)?.first_chunk()?));
    let half = |at: usize| Some(u16::from_ne_bytes(*datagram.get(at..)?.first_chunk()?));
    let mut at = 0;
    while let (Some(length), Some(kind)) = (word(at), half(at + 4)) {
        match kind {
            DONE => return Some(Ok(())),
            ERROR => {
                let code = word(at + Message::HEADER)?.cast_signed();
                return Some(match code {
                    0 => Ok(()),
                    code => Err(io::Error::from_raw_os_error(-code)),
                });
            }
            _ => *answers += 1,
        }
        at += (length as usize).max(Message::HEADER).next_multiple_of(4);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gateway_has_a_handle_of_its_own_that_the_kernel_gives_nobody() {
        assert_ne!(handle("default"), handle("other"));
        assert_eq!(handle("default"), handle("default"));
        for name in ["default", "a", "b"] {
            assert!(handle(name) >= 1 << 31);
        }
    }

    #[test]
    fn attributes_are_counted_and_padded() {
        let mut message = Clsact::new("default", 7).message(NEW_FILTER, INGRESS, FIRST_OF_ALL);
        message.attribute(ATTRIBUTE_KIND, b"bpf\0");
        message.nested(ATTRIBUTE_OPTIONS, |options| {
            options.attribute(ATTRIBUTE_NAME, b"ab\0");
        });
        let attributes = [
            &[8, 0, 1, 0][..],
            b"bpf\0",
            &[12, 0, 2, 0],
            &[7, 0, 7, 0],
            b"ab\0\0",
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(message.0[Message::HEADERS..], attributes.concat());
        }
        assert_eq!(message.0[Message::IFINDEX], 7);
    }

    #[test]
    fn an_answer_ends_with_done_or_with_an_error() {
        let message = |kind: u16, code: i32| {
            let mut bytes = 20_u32.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.resize(16, 0);
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes
        };
        let mut answers = 0;
        let two = [message(NEW_FILTER, 0), message(NEW_FILTER, 0)].concat();
        assert!(read(&two, &mut answers).is_none());
        assert!(read(&message(3, 0), &mut answers).unwrap().is_ok());
        assert_eq!(answers, 2);
        let refused = read(&message(2, -libc::ENOENT), &mut answers).unwrap();
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ENOENT));
        for length in 0..20 {
            let _ = read(&message(2, -1)[..length], &mut answers);
        }
    }
}

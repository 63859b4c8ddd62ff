//! The ring of guests' requests as a port's program fills it, without that program: one of a dozen
//! instructions puts into it what it is told to.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use aya::maps::{Array, Map, MapData};
use eip_dp_common::abi::{LinkKey, RequestHeader};
use eip_dp_user::guests::Requests;
use nix::{
    errno::Errno,
    sys::{
        socket::{MsgFlags, recv, setsockopt, sockopt::ReceiveTimeout},
        time::TimeVal,
    },
    time::{ClockId, clock_gettime},
};

use crate::guest::packet_socket;

/// The most bytes of an element.
const LONGEST: usize = RequestHeader::LEN + RequestHeader::LONGEST_FRAME;
/// What the program reads: the element's length, of eight bytes, and the element.
type Order = [u8; 8 + LONGEST];

/// A ring, and who puts something into it.
pub struct Ring {
    map: OwnedFd,
    order: Array<MapData, Order>,
    program: OwnedFd,
}

impl Ring {
    pub fn new() -> Self {
        const BPF_MAP_TYPE_ARRAY: u32 = 2;
        const BPF_MAP_TYPE_RINGBUF: u32 = 27;
        let ring = create(BPF_MAP_TYPE_RINGBUF, [0, 0], RequestHeader::RING);
        let ring = ring.expect("a ring (are you root?)");
        let order_size = u32::try_from(size_of::<Order>()).unwrap();
        let order = create(BPF_MAP_TYPE_ARRAY, [4, order_size], 1).unwrap();
        let program = load(order.as_raw_fd(), ring.as_raw_fd()).unwrap();
        Self {
            map: ring,
            order: opened(order).try_into().unwrap(),
            program,
        }
    }

    /// What a daemon reads.
    pub fn requests(&self) -> Requests {
        let ring = opened(self.map.try_clone().unwrap());
        Requests::new(ring.try_into().unwrap()).unwrap()
    }

    /// Puts a frame into it that has just come. Whether there was room.
    pub fn put(&mut self, port: LinkKey, frame: &[u8]) -> bool {
        self.put_of(now(), port, frame)
    }

    /// Puts a frame into it that came at that time of `CLOCK_MONOTONIC`, in nanoseconds.
    pub fn put_of(&mut self, received_at: u64, port: LinkKey, frame: &[u8]) -> bool {
        let element = [
            &received_at.to_ne_bytes()[..],
            &port.ifindex.to_ne_bytes(),
            &port.vlan.to_ne_bytes(),
            &port.outer.to_ne_bytes(),
            &u32::try_from(frame.len()).unwrap().to_ne_bytes(),
            &[0; 4],
            frame,
        ]
        .concat();
        let mut order = [0; size_of::<Order>()];
        order[..8].copy_from_slice(&(element.len() as u64).to_ne_bytes());
        order[8..][..element.len()].copy_from_slice(&element);
        self.order.set(0, order, 0).unwrap();
        run(self.program.as_raw_fd()).unwrap() == 0
    }

    /// From now on each frame that comes in on the interface `port` and is `chosen` is put into it
    /// as one of `link`.
    pub fn take_over(
        mut self,
        link: LinkKey,
        chosen: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> TakenOver {
        let socket = packet_socket("port");
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(0, 100_000)).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let guard = TakenOver(Arc::clone(&ends));
        thread::spawn(move || {
            let mut buffer = [0; RequestHeader::LONGEST_FRAME];
            while !ends.load(Ordering::Relaxed) {
                match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(length) if chosen(&buffer[..length]) => {
                        assert!(self.put(link, &buffer[..length]), "the ring is full");
                    }
                    Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(error) => panic!("the port cannot be listened to: {error}"),
                }
            }
        });
        guard
    }
}

/// Frames are put into a ring until this is dropped.
pub struct TakenOver(Arc<AtomicBool>);

impl Drop for TakenOver {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Nanoseconds of the clock that programs stamp requests by.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    u64::try_from(std::time::Duration::from(now).as_nanos()).unwrap()
}

/// Whether it is a request of DHCP, of DHCPv6, or a router solicitation, without anything between.
pub fn is_request(frame: &[u8]) -> bool {
    let port = |at: usize| frame.get(at..at + 2);
    match (frame.get(12..14), frame.get(23), frame.get(20)) {
        (Some([8, 0]), Some(17), _) => port(36) == Some(&[0, 67]),
        (Some([0x86, 0xdd]), _, Some(17)) => port(56) == Some(&[2, 35]),
        (Some([0x86, 0xdd]), _, Some(58)) => frame.get(54) == Some(&133),
        _ => false,
    }
}

fn opened(map: OwnedFd) -> Map {
    Map::from_map_data(MapData::from_fd(map).unwrap()).unwrap()
}

const fn instruction(opcode: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    opcode as u64
        | (registers as u64) << 8
        | (offset.cast_unsigned() as u64) << 16
        | (immediate.cast_unsigned() as u64) << 32
}

/// Puts the element of the order into the ring. Returns what `bpf_ringbuf_output` does.
fn load(order: RawFd, ring: RawFd) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        kind: u32,
        instructions: u32,
        program: u64,
        licence: u64,
        log: [u64; 2],
        rest: [u64; 10],
    }
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
    const LOAD_MAP: u8 = 0x18;
    const MAP_FD: u8 = 1 << 4;
    const CALL: u8 = 0x85;
    const MOVE: u8 = 0xbf;
    const SET: u8 = 0xb7;
    let longest = i32::try_from(LONGEST).unwrap();
    let program = [
        // r0 = bpf_map_lookup_elem(order, &0)
        instruction(0x62, 10, -4, 0),
        instruction(MOVE, 10 << 4 | 2, 0, 0),
        instruction(0x07, 2, 0, -4),
        instruction(LOAD_MAP, MAP_FD | 1, 0, order),
        0,
        instruction(CALL, 0, 0, 1),
        // if r0 == 0 or the length is too large: return 1
        instruction(0x55, 0, 2, 0),
        instruction(SET, 0, 0, 1),
        instruction(0x95, 0, 0, 0),
        instruction(0x79, 3, 0, 0),
        instruction(0xb5, 3, 2, longest),
        instruction(SET, 0, 0, 1),
        instruction(0x95, 0, 0, 0),
        // return bpf_ringbuf_output(ring, r0 + 8, length, 0)
        instruction(MOVE, 2, 0, 0),
        instruction(0x07, 2, 0, 8),
        instruction(LOAD_MAP, MAP_FD | 1, 0, ring),
        0,
        instruction(SET, 4, 0, 0),
        instruction(CALL, 0, 0, 130),
        instruction(0x95, 0, 0, 0),
    ];
    let result = bpf(
        BPF_PROG_LOAD,
        &mut Load {
            kind: BPF_PROG_TYPE_SCHED_CLS,
            instructions: u32::try_from(program.len()).unwrap(),
            program: program.as_ptr() as u64,
            licence: c"Dual MIT/GPL".as_ptr() as u64,
            log: [0; 2],
            rest: [0; 10],
        },
    )?;
    // SAFETY: the kernel has just given this descriptor to this call alone.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// What the program returns.
fn run(program: RawFd) -> io::Result<u32> {
    #[repr(C)]
    struct Run {
        program: i32,
        returned: u32,
        size_in: u32,
        size_out: u32,
        data_in: u64,
        data_out: u64,
        rest: [u64; 10],
    }
    const BPF_PROG_TEST_RUN: libc::c_int = 10;
    // A frame that nobody looks at.
    let frame = [0; 64];
    let mut attributes = Run {
        program,
        returned: 0,
        size_in: 64,
        size_out: 0,
        data_in: frame.as_ptr() as u64,
        data_out: 0,
        rest: [0; 10],
    };
    bpf(BPF_PROG_TEST_RUN, &mut attributes)?;
    Ok(attributes.returned)
}

/// A map of that type, with keys and values of these sizes.
fn create(kind: u32, sizes: [u32; 2], max_entries: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Create {
        kind: u32,
        sizes: [u32; 2],
        max_entries: u32,
        rest: [u64; 10],
    }
    const BPF_MAP_CREATE: libc::c_int = 0;
    let result = bpf(
        BPF_MAP_CREATE,
        &mut Create {
            kind,
            sizes,
            max_entries,
            rest: [0; 10],
        },
    )?;
    // SAFETY: as in `load`.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// `bpf(2)`, with attributes whose fields are those of `union bpf_attr` for the command.
fn bpf<A>(command: libc::c_int, attributes: &mut A) -> io::Result<RawFd> {
    // SAFETY: the kernel reads and writes no more than the attributes' length, and what they point
    // to outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<A>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(RawFd::try_from(result).unwrap())
}

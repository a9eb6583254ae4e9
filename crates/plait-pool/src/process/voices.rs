//! What workers say unasked: their log records.
//!
//! They go by a pipe that all workers of a pool write to, rather than by the
//! rings. Whoever logs may be any thread of a worker, or a child that a task
//! has forked, while the ring has one writer; and a flood of records is to
//! hold up those who log, not the answers. A pipe has all of that: many may
//! write, who finds it full waits, and a write of up to `PIPE_BUF` bytes is
//! not torn, whoever is killed. So a message travels in packets of no more
//! than that, each with a head that tells whose it is:
//!
//! ```text
//! 0   MAGIC
//! 4   bytes that follow the head   u16
//! 6   whether there is more        u16
//! 8   pid of the writer            u32
//! 12  number of the message        u32   (of this writer)
//! ```
//!
//! What else somebody writes (a library that closes descriptors which are not
//! its own, and then uses their numbers) is passed over, up to the next packet,
//! and told.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use plait_sys::{Result, pipe};

const MAGIC: [u8; 4] = [0xa7, b'p', b'l', 0];
const HEAD: usize = 16;
/// The longest packet; `PIPE_BUF`.
const PACKET: usize = 4096;
/// How much is read at a time.
const CHUNK: usize = 1 << 16;
/// So many messages of one writer may be unfinished: one for each thread and
/// signal handler that was interrupted while it wrote.
const UNFINISHED: u32 = 64;
/// So many bytes of unfinished messages are kept; one that would make it more
/// is dropped, and told.
const LONGEST: usize = 1 << 28;
/// So many messages may be unfinished: of the end of a child that a task has
/// forked nobody tells.
const MOST: usize = 1024;
/// So many reads empty a pipe that nobody fills meanwhile, however much room it
/// was given.
const FULL: usize = (1 << 20) / CHUNK + 1;

/// Whoever hears what workers say.
pub trait Listener: Send + Sync + 'static {
    /// A worker says this. Must not wait.
    fn hear(&self, said: Said);

    /// So many bytes in all are nothing that anybody says.
    fn mishear(&self, bytes: u64);

    /// Whether it has so much to do that it should not hear more for now.
    fn is_behind(&self) -> bool;
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The process that said it: a worker, or a child of one.
    pub writer: u32,
    /// The how manieth thing that it said, from 1 on.
    pub number: u32,
    /// What.
    pub message: Vec<u8>,
}

/// The ears of a pool.
#[derive(Debug)]
pub(crate) struct Voices {
    pipe: OwnedFd,
    /// For the workers.
    mouth: OwnedFd,
    /// Read, and not a whole packet yet.
    rest: Vec<u8>,
    begun: HashMap<(u32, u32), Begun>,
    /// How many have been begun.
    order: u64,
    /// How many bytes of them are kept.
    held: usize,
    /// So many bytes were no packets.
    noise: u64,
    /// Of them so many have been told.
    told: u64,
}

/// An unfinished message.
#[derive(Debug)]
struct Begun {
    order: u64,
    /// `None` if it is dropped.
    message: Option<Vec<u8>>,
}

impl Voices {
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn new() -> Result<Self> {
        let (pipe, mouth) = pipe::pair()?;
        Ok(Self {
            pipe,
            mouth,
            rest: Vec::new(),
            begun: HashMap::new(),
            order: 0,
            held: 0,
            noise: 0,
            told: 0,
        })
    }

    /// To be watched.
    pub(crate) fn number(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }

    /// What workers write to.
    pub(crate) fn mouth(&self) -> BorrowedFd<'_> {
        self.mouth.as_fd()
    }

    /// Reads once. False if there was nothing.
    pub(crate) fn read(&mut self, hear: &mut dyn FnMut(Said)) -> bool {
        let before = self.rest.len();
        self.rest.resize(before + CHUNK, 0);
        // We hold the other end too, so there is no end of it.
        let count = pipe::read(self.number(), &mut self.rest[before..]).ok().flatten().unwrap_or(0);
        self.rest.truncate(before + count);
        let rest = std::mem::take(&mut self.rest);
        let mut left = &rest[..];
        loop {
            let noise = noise(left);
            self.noise += noise as u64;
            left = &left[noise..];
            let Some(packet) = Packet::first(left) else { break };
            let Some(after) = left.get(HEAD + packet.len..) else { break };
            self.take(&packet, &left[HEAD..HEAD + packet.len], hear);
            left = after;
        }
        self.rest = left.to_vec();
        count > 0
    }

    /// How many bytes have been no packets, if there are many more than when
    /// this was last told.
    pub(crate) fn noise(&mut self) -> Option<u64> {
        let louder = self.noise > self.told.saturating_mul(2);
        if louder {
            self.told = self.noise;
        }
        louder.then_some(self.noise)
    }

    /// Reads what there is, whoever goes on writing.
    pub(crate) fn empty(&mut self, hear: &mut dyn FnMut(Said)) {
        for _ in 0..FULL {
            if !self.read(hear) {
                return;
            }
        }
    }

    fn take(&mut self, packet: &Packet, data: &[u8], hear: &mut dyn FnMut(Said)) {
        let &Packet { writer, number, more, .. } = packet;
        let key = (writer, number);
        if !self.begun.contains_key(&key) {
            if !more {
                return hear(Said { writer, number, message: data.to_vec() });
            }
            self.keep(|&(other, begun)| other != writer || number.wrapping_sub(begun) < UNFINISHED);
            if self.begun.len() >= MOST
                && let Some((&oldest, _)) = self.begun.iter().min_by_key(|(_, begun)| begun.order)
            {
                self.keep(|&other| other != oldest);
            }
            self.order += 1;
        }
        let order = self.order;
        let begun = self.begun.entry(key).or_insert_with(|| Begun { order, message: Some(Vec::new()) });
        if self.held + data.len() > LONGEST
            && let Some(dropped) = begun.message.take()
        {
            self.held -= dropped.len();
            self.noise += dropped.len() as u64;
        }
        match &mut begun.message {
            Some(message) => {
                message.extend_from_slice(data);
                self.held += data.len();
            }
            None => self.noise += data.len() as u64,
        }
        if !more && let Some(Begun { message: Some(message), .. }) = self.begun.remove(&key) {
            self.held -= message.len();
            hear(Said { writer, number, message });
        }
    }

    fn keep(&mut self, keep: impl Fn(&(u32, u32)) -> bool) {
        self.begun.retain(|key, _| keep(key));
        self.held = self.begun.values().filter_map(|begun| begun.message.as_ref()).map(Vec::len).sum();
    }

    /// The process `writer` is gone: what it had begun to say ends there.
    pub(crate) fn forget(&mut self, writer: u32) {
        self.keep(|&(other, _)| other != writer);
    }
}

/// How many bytes come before what may be a packet.
fn noise(data: &[u8]) -> usize {
    let begins = |at: &usize| {
        let rest = &data[*at..];
        let magic = rest.iter().zip(&MAGIC).all(|(byte, magic)| byte == magic);
        magic && Packet::first(rest).is_none_or(|packet| HEAD + packet.len <= PACKET)
    };
    (0..data.len()).find(begins).unwrap_or(data.len())
}

struct Packet {
    len: usize,
    more: bool,
    writer: u32,
    number: u32,
}

impl Packet {
    /// The head of the first packet, if it is there.
    fn first(data: &[u8]) -> Option<Self> {
        let head = data.first_chunk::<HEAD>()?;
        let short = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        let long = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        Some(Self { len: usize::from(short(4)), more: short(6) != 0, writer: long(8), number: long(12) })
    }
}

#[cfg(test)]
#[path = "voices_tests.rs"]
mod tests;

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
/// A message that is longer is dropped.
const LONGEST: usize = 1 << 28;

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
    begun: HashMap<(u32, u32), Vec<u8>>,
    /// So many bytes were no packets.
    noise: u64,
    /// Of them so many have been told.
    told: u64,
}

impl Voices {
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn new() -> Result<Self> {
        let (pipe, mouth) = pipe::pair()?;
        Ok(Self { pipe, mouth, rest: Vec::new(), begun: HashMap::new(), noise: 0, told: 0 })
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

    fn take(&mut self, packet: &Packet, data: &[u8], hear: &mut dyn FnMut(Said)) {
        let key = (packet.writer, packet.number);
        if packet.more {
            let Self { begun, .. } = self;
            if !begun.contains_key(&key) {
                begun.retain(|&(writer, number), _| {
                    writer != packet.writer || packet.number.wrapping_sub(number) < UNFINISHED
                });
            }
            let message = begun.entry(key).or_default();
            if message.len() < LONGEST {
                message.extend_from_slice(data);
            }
        } else {
            let mut message = self.begun.remove(&key).unwrap_or_default();
            message.extend_from_slice(data);
            if message.len() < LONGEST {
                hear(Said { writer: packet.writer, number: packet.number, message });
            }
        }
    }

    /// The process `writer` is gone: what it had begun to say ends there.
    pub(crate) fn forget(&mut self, writer: u32) {
        self.begun.retain(|&(other, _), _| other != writer);
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(data: &[u8], more: bool, writer: u32, number: u32) -> Vec<u8> {
        let mut packet = MAGIC.to_vec();
        packet.extend_from_slice(&u16::try_from(data.len()).unwrap().to_ne_bytes());
        packet.extend_from_slice(&u16::from(more).to_ne_bytes());
        packet.extend_from_slice(&writer.to_ne_bytes());
        packet.extend_from_slice(&number.to_ne_bytes());
        packet.extend_from_slice(data);
        packet
    }

    fn say(voices: &Voices, bytes: &[u8]) {
        assert_eq!(pipe::write(voices.mouth.as_raw_fd(), bytes).unwrap(), Some(bytes.len()));
    }

    fn heard(voices: &mut Voices) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        while voices.read(&mut |said| heard.push(said.message)) {}
        heard
    }

    #[test]
    fn packets_of_several_writers_are_told_apart() {
        let mut voices = Voices::new().unwrap();
        for (data, more, writer, number) in
            [("a", true, 1, 1), ("x", true, 2, 1), ("b", true, 1, 2), ("c", false, 1, 2), ("y", false, 2, 1)]
        {
            say(&voices, &packet(data.as_bytes(), more, writer, number));
        }
        assert_eq!(heard(&mut voices), [b"bc", b"xy"]);
        say(&voices, &packet(b"d", false, 1, 1));
        assert_eq!(heard(&mut voices), [b"ad"]);
        assert!(voices.begun.is_empty());
    }

    #[test]
    fn who_is_gone_does_not_go_on() {
        let mut voices = Voices::new().unwrap();
        say(&voices, &packet(b"half", true, 7, 1));
        assert!(heard(&mut voices).is_empty());
        voices.forget(7);
        // The number was given to another process.
        say(&voices, &packet(b"whole", false, 7, 1));
        assert_eq!(heard(&mut voices), [b"whole"]);
    }

    #[test]
    fn what_was_never_finished_is_dropped_in_time() {
        let mut voices = Voices::new().unwrap();
        for number in 0..1000 {
            say(&voices, &packet(b"half", true, 7, number));
            assert!(heard(&mut voices).is_empty());
        }
        assert!(voices.begun.len() <= UNFINISHED as usize);
    }

    #[test]
    fn what_is_no_packet_is_passed_over_and_told() {
        let mut voices = Voices::new().unwrap();
        let mut too_long = packet(b"", false, 7, 1);
        too_long[4..6].copy_from_slice(&u16::MAX.to_ne_bytes());
        for noise in [&[0xff; 4000][..], &MAGIC[..2], b"x", &too_long] {
            say(&voices, &packet(b"before", false, 7, 1));
            say(&voices, noise);
            say(&voices, &packet(b"after", false, 7, 2));
            assert_eq!(heard(&mut voices), [b"before".to_vec(), b"after".to_vec()]);
        }
        assert_eq!(voices.noise(), Some(4000 + 2 + 1 + HEAD as u64));
        assert_eq!(voices.noise(), None);
        // Torn: it takes some of the next one, and that the rest.
        say(&voices, &packet(&[b'a'; 100], false, 7, 3)[..HEAD + 50]);
        say(&voices, &packet(&[b'b'; 100], false, 7, 4));
        say(&voices, &packet(b"whole", false, 7, 5));
        assert_eq!(heard(&mut voices).last().unwrap(), b"whole");
        assert!(voices.rest.is_empty());
        for _ in 0..3 {
            say(&voices, &[0; 4000]);
            assert!(heard(&mut voices).is_empty());
        }
        assert!(voices.noise().is_some_and(|noise| noise > 14_000));
    }

    proptest! {
        #[test]
        fn messages_arrive_whole_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
            size in 1_usize..100,
            cuts in prop::collection::vec(1_usize..700, 1..40),
        ) {
            let mut bytes = Vec::new();
            for (message, number) in messages.iter().zip(1..) {
                let mut pieces: Vec<&[u8]> = message.chunks(size).collect();
                let last = pieces.pop().unwrap_or_default();
                for piece in pieces {
                    bytes.extend(packet(piece, true, 1, number));
                }
                bytes.extend(packet(last, false, 1, number));
            }
            let (mut voices, mut got, mut left) = (Voices::new().unwrap(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                let (now, later) = left.split_at(left.len().min(*cut));
                say(&voices, now);
                got.extend(heard(&mut voices));
                left = later;
                if left.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, messages);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut voices = Voices::new().unwrap();
            say(&voices, &bytes);
            heard(&mut voices);
        }
    }
}

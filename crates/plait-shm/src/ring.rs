//! A ring of bytes for one producer and one consumer that do not trust each
//! other. Layout and races: README.md.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::prim::AtomicU64;

/// What is on a ring is nothing that a writer of ours writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other process wrote garbage into shared memory ({0})")]
pub struct Corrupt(pub &'static str);

/// A cursor alone on its cache lines (two: the next is prefetched).
#[repr(C, align(128))]
pub(crate) struct Cursor(AtomicU64);

/// How far a ring has been read and written, in bytes since its making.
#[repr(C)]
pub(crate) struct Cursors {
    head: Cursor,
    tail: Cursor,
}

impl Cursors {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self { head: Cursor(AtomicU64::new(0)), tail: Cursor(AtomicU64::new(0)) }
    }
}

/// Where a ring lies.
pub(crate) trait Memory {
    fn cursors(&self) -> &Cursors;
    /// Bytes of room: a power of two, at least 64.
    fn capacity(&self) -> usize;
    /// Copies into the ring at `at`; `at + bytes.len() <= capacity()`.
    fn copy_in(&self, at: usize, bytes: &[u8]);
    /// Copies out of the ring; the same bound.
    fn copy_out(&self, at: usize, bytes: &mut [u8]);
}

/// Length and flags of a record; it never wraps, for it is as long as the
/// alignment.
const HEADER: usize = 8;
/// More of the same message follows.
const MORE: u32 = 1;

fn padded(len: usize) -> usize {
    len.next_multiple_of(HEADER)
}

/// The most bytes of a message in one record: a quarter of the ring, so that
/// one side copies while the other does.
fn longest(memory: &impl Memory) -> usize {
    memory.capacity() / 4 - HEADER
}

/// The producer.
pub(crate) struct Writer<M> {
    memory: M,
    /// Ours alone; the shared one only repeats it.
    tail: u64,
    /// As last seen: there is at least this much room.
    head: u64,
}

impl<M: Memory> Writer<M> {
    pub(crate) fn new(memory: M) -> Self {
        Self { memory, tail: 0, head: 0 }
    }

    /// Publishes as much of `message` as there is room for, from `done` on
    /// (which it moves). True once all of it is published.
    pub(crate) fn push(&mut self, message: &[u8], done: &mut usize) -> Result<bool, Corrupt> {
        loop {
            let rest = &message[*done..];
            let part = &rest[..rest.len().min(longest(&self.memory))];
            if !self.has_room(HEADER + padded(part.len()))? {
                return Ok(false);
            }
            let last = part.len() == rest.len();
            let mut header = [0; HEADER];
            header[..4].copy_from_slice(&(part.len() as u32).to_ne_bytes());
            header[4..].copy_from_slice(&(if last { 0 } else { MORE }).to_ne_bytes());
            self.copy_in(self.tail, &header);
            self.copy_in(self.tail + HEADER as u64, part);
            self.tail += (HEADER + padded(part.len())) as u64;
            // Release: publishes the record; pairs with the Acquire in
            // `Reader::filled`.
            self.memory.cursors().tail.0.store(self.tail, Release);
            *done += part.len();
            if last {
                return Ok(true);
            }
        }
    }

    /// Whether `len` bytes fit.
    fn has_room(&mut self, len: usize) -> Result<bool, Corrupt> {
        let capacity = self.memory.capacity() as u64;
        if self.tail - self.head + len as u64 <= capacity {
            return Ok(true);
        }
        // Acquire: the reader has copied what it gives back; pairs with the
        // Release in `Reader::next`.
        let head = self.memory.cursors().head.0.load(Acquire);
        if head < self.head || head > self.tail {
            return Err(Corrupt("head"));
        }
        self.head = head;
        Ok(self.tail - head + len as u64 <= capacity)
    }

    /// How far the reader has got, as it says, and how far this has.
    #[cfg(not(loom))] // as is the link that tells it
    pub(crate) fn progress(&self) -> (u64, u64) {
        // Relaxed: nothing is read or written by what it says.
        (self.memory.cursors().head.0.load(Relaxed), self.tail)
    }

    /// Whether the next part of the message has room, by a look at the
    /// shared cursor; garbage counts as room, for [`push`](Self::push) to find.
    pub(crate) fn may_go_on(&mut self, message: &[u8], done: usize) -> bool {
        let part = (message.len() - done).min(longest(&self.memory));
        self.has_room(HEADER + padded(part)).unwrap_or(true)
    }

    fn copy_in(&self, at: u64, bytes: &[u8]) {
        let capacity = self.memory.capacity();
        let at = (at % capacity as u64) as usize;
        let (first, second) = bytes.split_at(bytes.len().min(capacity - at));
        self.memory.copy_in(at, first);
        self.memory.copy_in(0, second);
    }
}

/// What [`Reader::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Empty,
    /// A part of a long message: there is room again for the next.
    Part,
    /// The (rest of the) message.
    Message(Vec<u8>),
}

/// The consumer.
pub(crate) struct Reader<M> {
    memory: M,
    /// Ours alone; the shared one only repeats it.
    head: u64,
    /// As last seen.
    tail: u64,
    /// The parts of a long message so far.
    parts: Vec<u8>,
    /// Whether more than half of the room was taken when it was last seen.
    crowded: bool,
}

impl<M: Memory> Reader<M> {
    pub(crate) fn new(memory: M) -> Self {
        Self { memory, head: 0, tail: 0, parts: Vec::new(), crowded: false }
    }

    /// Takes the next record off the ring.
    pub(crate) fn next(&mut self) -> Result<Step, Corrupt> {
        let filled = self.filled()?;
        if filled == 0 {
            return Ok(Step::Empty);
        }
        let mut header = [0; HEADER];
        self.copy_out(self.head, &mut header);
        let [a, b, c, d, e, f, g, h] = header;
        let len = u32::from_ne_bytes([a, b, c, d]) as usize;
        let flags = u32::from_ne_bytes([e, f, g, h]);
        if len > longest(&self.memory) || HEADER + padded(len) > filled {
            return Err(Corrupt("length"));
        }
        if flags > MORE {
            return Err(Corrupt("flags"));
        }
        let start = self.parts.len();
        self.parts.resize(start + len, 0);
        let mut parts = std::mem::take(&mut self.parts);
        self.copy_out(self.head + HEADER as u64, &mut parts[start..]);
        self.head += (HEADER + padded(len)) as u64;
        // Release: the copy is made before the room is given back; pairs with
        // the Acquire in `Writer::has_room`.
        self.memory.cursors().head.0.store(self.head, Release);
        if flags == MORE {
            self.parts = parts;
            return Ok(Step::Part);
        }
        Ok(Step::Message(parts))
    }

    /// Whether there is something, by a look at the shared cursor.
    pub(crate) fn is_empty(&self) -> bool {
        self.memory.cursors().tail.0.load(Relaxed) == self.head
    }

    /// Whether the writer may be waiting for room, and is to be woken after a
    /// read. A record takes a quarter of the ring at most, so one that does not
    /// fit finds more than three quarters taken. Of these at most a quarter had
    /// been seen when the ring was not called crowded, and at most one record,
    /// another quarter, was read without the writer seeing it yet. So more than
    /// a quarter is new: the next look, which comes before the reader finds the
    /// ring empty, calls it crowded.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Bytes that can be read.
    fn filled(&mut self) -> Result<usize, Corrupt> {
        if self.tail == self.head {
            // Acquire: pairs with the Release in `Writer::push`.
            let tail = self.memory.cursors().tail.0.load(Acquire);
            if tail < self.tail
                || tail - self.head > self.memory.capacity() as u64
                || !tail.is_multiple_of(HEADER as u64)
            {
                return Err(Corrupt("tail"));
            }
            self.tail = tail;
            self.crowded = tail - self.head > self.memory.capacity() as u64 / 4;
        }
        Ok((self.tail - self.head) as usize)
    }

    fn copy_out(&self, at: u64, bytes: &mut [u8]) {
        let capacity = self.memory.capacity();
        let at = (at % capacity as u64) as usize;
        let cut = bytes.len().min(capacity - at);
        let (first, second) = bytes.split_at_mut(cut);
        self.memory.copy_out(at, first);
        self.memory.copy_out(0, second);
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
pub(crate) mod tests;

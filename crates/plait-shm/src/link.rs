//! The two ends of a worker's shared memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use plait_sys::clock::Instant;
use plait_sys::eventfd::EventFd;
use plait_sys::futex::{self, Scope, Woken};
use plait_sys::memory::SharedMemory;

use crate::Result;
use crate::bell::{ASLEEP, Bell};
use crate::claims::Claims;
use crate::ring::{Cursors, Memory, Reader, Step, Writer};
use crate::run::{Run, RunWord, Stop};
use crate::runs::Runs;
use crate::spin::Spin;

/// Room on each ring: small enough to stay in a core's cache, large enough
/// that most messages are one record.
const CAPACITY: usize = 256 * 1024;
/// So many records of a message the parent takes at a time: a megabyte, which
/// takes some 100 µs.
const PARTS: usize = 16;
/// So many tasks can be with a worker at once. What a worker does while a
/// sleeping parent wakes up (some 60 µs), at a microsecond a task, fits.
pub const CLAIMS: usize = 128;
const PAGE: usize = 4096;
const LENGTH: usize = PAGE + 2 * CAPACITY;

/// The first page. All zero is its state at the start.
#[repr(C)]
pub(crate) struct Header {
    requests: Cursors,
    responses: Cursors,
    worker: Bell,
    parent: Bell,
    claims: Claims<CLAIMS>,
    pub(crate) run: RunWord,
}

const _: () = assert!(size_of::<Header>() <= PAGE && align_of::<Header>() <= PAGE);

pub(crate) fn header(memory: &SharedMemory) -> &Header {
    // SAFETY: the mapping is LENGTH bytes (checked when it was made), aligned
    // to a page, alive as long as the borrow; the header consists of atomics,
    // for which any bytes are valid and which may change at any time.
    unsafe { memory.base().cast::<Header>().as_ref() }
}

/// Wakes the worker if it sleeps, wherever: a worker that has a doorbell may
/// do so in its event loop, which looks at descriptors.
fn wake_worker(memory: &SharedMemory, doorbell: Option<&EventFd>) -> Result<()> {
    let bell = &header(memory).worker;
    if bell.must_wake() {
        futex::wake(bell.word(), 1, Scope::Shared)?;
        doorbell.map_or(Ok(()), EventFd::ring)?;
    }
    Ok(())
}

/// One of the two rings.
struct Half {
    memory: Arc<SharedMemory>,
    responses: bool,
}

impl Half {
    /// The first byte of `len` at `at` of this ring.
    fn place(&self, at: usize, len: usize) -> *mut u8 {
        assert!(len <= CAPACITY && at <= CAPACITY - len, "the ring keeps within its bounds");
        let offset = PAGE + if self.responses { CAPACITY } else { 0 } + at;
        // SAFETY: offset + len <= LENGTH by the assertion, within the mapping.
        unsafe { self.memory.base().as_ptr().add(offset) }
    }
}

impl Memory for Half {
    fn cursors(&self) -> &Cursors {
        let header = header(&self.memory);
        if self.responses { &header.responses } else { &header.requests }
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }

    fn copy_in(&self, at: usize, bytes: &[u8]) {
        let place = self.place(at, bytes.len());
        // SAFETY: `place` checked the bound; `bytes` is private memory, so the
        // two do not overlap. By the protocol nobody looks at these bytes
        // before the tail moves; a peer that breaks it gets torn bytes.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    fn copy_out(&self, at: usize, bytes: &mut [u8]) {
        let place = self.place(at, bytes.len());
        // SAFETY: as above. A peer that writes meanwhile makes the copy
        // garbage, and any bytes are valid; what they say is checked after.
        unsafe { place.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) }
    }
}

/// Makes the memory of one worker: what the parent writes to, what it reads
/// from, and (through [`Requests::memory`]) the descriptor for the worker.
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub fn link() -> Result<(Requests, Responses)> {
    make(None)
}

/// As [`link()`], for a worker that runs several tasks at once and sleeps in
/// its event loop: it has a [`doorbell`](Requests::doorbell).
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub fn link_of_several() -> Result<(Requests, Responses)> {
    make(Some(Arc::new(EventFd::new()?)))
}

fn make(doorbell: Option<Arc<EventFd>>) -> Result<(Requests, Responses)> {
    let memory = Arc::new(SharedMemory::create("plait-rings", LENGTH)?);
    let half = |responses| Half { memory: Arc::clone(&memory), responses };
    let writer = Writer::new(half(false));
    let requests = Requests { writer, memory: Arc::clone(&memory), doorbell: doorbell.clone(), offered: 0 };
    let responses = Responses { reader: Reader::new(half(true)), memory: Arc::clone(&memory), doorbell };
    Ok((requests, responses))
}

/// The parent's producer. It never waits.
pub struct Requests {
    writer: Writer<Half>,
    memory: Arc<SharedMemory>,
    doorbell: Option<Arc<EventFd>>,
    offered: u64,
}

impl Requests {
    /// Sends as much of `message` as there is room for, from `done` on (which
    /// it moves), and wakes the worker. True once all of it is sent; the
    /// worker rings the parent's bell when there is room again.
    ///
    /// # Errors
    /// `Corrupt`: kill the worker.
    pub fn push(&mut self, message: &[u8], done: &mut usize) -> Result<bool> {
        let before = *done;
        let complete = self.writer.push(message, done)?;
        if complete || *done > before {
            wake_worker(&self.memory, self.doorbell.as_deref())?;
        }
        Ok(complete)
    }

    /// Whether a [`push`](Self::push) would get on; to be asked between
    /// [`Responses::announce_sleep`] and the sleep while a message is under way.
    pub fn may_go_on(&mut self, message: &[u8], done: usize) -> bool {
        self.writer.may_go_on(message, done)
    }

    /// Offers the next task, whose message is to be pushed after those of all
    /// that were offered before: the worker may begin it. Its sequence; that of
    /// a task still with the worker must not be [`CLAIMS`] less.
    pub fn offer(&mut self) -> u64 {
        self.offered += 1;
        header(&self.memory).claims.offer(self.offered);
        self.offered
    }

    /// The sequence of the task that was last offered.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.offered
    }

    /// Takes a task back that was offered: the worker will skip its message,
    /// which still has to be sent if it is not. False: it has begun.
    ///
    /// # Errors
    /// `Corrupt`: kill the worker.
    pub fn revoke(&self, sequence: u64) -> Result<bool> {
        Ok(header(&self.memory).claims.revoke(sequence)?)
    }

    /// When the worker has begun a task that is still with it, by what the
    /// worker says; `None` if it has not.
    #[must_use]
    pub fn begun(&self, sequence: u64) -> Option<Instant> {
        header(&self.memory).claims.begun(sequence).map(Instant::from_nanos)
    }

    /// What the worker runs, or ran last, and since when, by what it says.
    #[must_use]
    pub fn run(&self) -> (Run, Instant) {
        let (run, since) = header(&self.memory).run.look();
        (run, Instant::from_nanos(since))
    }

    /// Asks the worker to stop `run`; a signal has to tell it. The run as it
    /// is from now on; `None` if it has ended, is another by now, or stops
    /// already at least so far.
    pub fn stop(&self, run: Run, what: Stop) -> Option<Run> {
        header(&self.memory).run.stop(run, what)
    }

    /// How many bytes the worker has read, as it says, and how many it was
    /// sent.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        self.writer.progress()
    }

    /// The descriptor that the worker maps.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// The descriptor that a worker of several tasks looks at in its sleep.
    #[must_use]
    pub fn doorbell(&self) -> Option<BorrowedFd<'_>> {
        self.doorbell.as_deref().map(AsFd::as_fd)
    }
}

/// The parent's consumer.
pub struct Responses {
    reader: Reader<Half>,
    memory: Arc<SharedMemory>,
    doorbell: Option<Arc<EventFd>>,
}

impl Responses {
    /// Takes the next message, if all of it has come. To be repeated until
    /// there is none. Of a long one it takes no more than a part at a time,
    /// however fast the rest comes: so there may be more
    /// ([`is_ready`](Self::is_ready)) when it says that there is none.
    ///
    /// # Errors
    /// `Corrupt`: kill the worker.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        for _ in 0..PARTS {
            let step = self.reader.next()?;
            if step != Step::Empty && self.reader.is_crowded() {
                // It may be waiting for the room that this gave back. One that
                // sleeps because it has nothing to do is left alone.
                wake_worker(&self.memory, self.doorbell.as_deref())?;
            }
            match step {
                Step::Empty => return Ok(None),
                Step::Part => {}
                Step::Message(message) => return Ok(Some(message)),
            }
        }
        Ok(None)
    }

    /// Whether something has come since the last [`receive`](Self::receive).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.reader.is_empty()
    }

    /// Says that the parent is about to sleep: look once more, then do.
    pub fn announce_sleep(&self) {
        header(&self.memory).parent.announce();
    }

    /// Says that the parent is awake: nobody need wake it.
    pub fn retract_sleep(&self) {
        header(&self.memory).parent.retract();
    }
}

/// What the worker's wait brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(Vec<u8>),
    /// A signal arrived: act on it, then go on.
    Interrupted,
}

/// The worker's end: both rings, and the bell of its parent.
pub struct WorkerLink {
    reader: Reader<Half>,
    writer: Writer<Half>,
    memory: Arc<SharedMemory>,
    parent: EventFd,
    spin: Spin,
    offered: u64,
}

impl WorkerLink {
    /// Maps the memory that the parent made; `parent` is its eventfd.
    ///
    /// # Errors
    /// EINVAL for a descriptor that is not such memory; ENOMEM.
    pub fn open(memory: OwnedFd, parent: EventFd) -> Result<Self> {
        let memory = Arc::new(SharedMemory::map(memory, LENGTH)?);
        let half = |responses| Half { memory: Arc::clone(&memory), responses };
        let (reader, writer) = (Reader::new(half(false)), Writer::new(half(true)));
        Ok(Self { reader, writer, memory, parent, spin: Spin::new(), offered: 0 })
    }

    /// Takes the next message, if all of it has come.
    ///
    /// # Errors
    /// `Corrupt`: end this process.
    pub fn poll(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let step = self.reader.next()?;
            if step != Step::Empty && self.reader.is_crowded() {
                // The parent may be waiting for the room that this gave back:
                // also that of a whole message, for not each has an answer.
                self.wake_parent()?;
            }
            match step {
                Step::Message(message) => return Ok(Some(message)),
                Step::Part => {}
                Step::Empty => return Ok(None),
            }
        }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// `Corrupt`: end this process.
    pub fn receive(&mut self) -> Result<Heard> {
        loop {
            if let Some(message) = self.poll()? {
                return Ok(Heard::Message(message));
            }
            let Self { reader, memory, spin, .. } = self;
            if sleep(memory, spin, || !reader.is_empty())? == Nap::Interrupted {
                return Ok(Heard::Interrupted);
            }
        }
    }

    /// Begins the task whose message was just received; `now` is kept for the
    /// parent. False: it was taken back. To be called for each task's message.
    pub fn begin(&mut self, now: Instant) -> bool {
        self.offered += 1;
        let header = header(&self.memory);
        // First: who sees that the task has begun sees that it runs.
        header.run.begin(self.offered, now.as_nanos());
        let begun = header.claims.begin(self.offered, now.as_nanos());
        if !begun {
            // Nobody stops what was taken back.
            let _ = header.run.end();
        }
        begun
    }

    /// As [`begin`](Self::begin), of one of several tasks that run at once:
    /// which they are is not said.
    pub fn begin_another(&mut self, now: Instant) -> bool {
        self.offered += 1;
        header(&self.memory).claims.begin(self.offered, now.as_nanos())
    }

    /// Announces that the worker is about to sleep where its doorbell wakes
    /// it. False, and it stays awake, if there is a message to be read.
    #[must_use]
    pub fn announce_sleep(&self) -> bool {
        header(&self.memory).worker.announce();
        let may_sleep = self.reader.is_empty();
        if !may_sleep {
            self.retract_sleep();
        }
        may_sleep
    }

    /// The worker is awake again.
    pub fn retract_sleep(&self) {
        header(&self.memory).worker.retract();
    }

    /// What it runs: to be asked for once.
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs::new(Arc::clone(&self.memory))
    }

    /// Sends as much of `message` as there is room for, from `done` on, which
    /// it moves. True once all is sent.
    ///
    /// # Errors
    /// `Corrupt`: end this process.
    pub fn push(&mut self, message: &[u8], done: &mut usize) -> Result<bool> {
        let complete = self.writer.push(message, done)?;
        self.wake_parent()?;
        Ok(complete)
    }

    /// Sends as much of `message` as there is room for, from `done` on, which
    /// it moves; sleeps if there is none. True once all is sent; false is for
    /// the caller to act on a signal, and come again.
    ///
    /// # Errors
    /// `Corrupt`: end this process.
    pub fn send(&mut self, message: &[u8], done: &mut usize) -> Result<bool> {
        loop {
            if self.push(message, done)? {
                return Ok(true);
            }
            let Self { writer, memory, spin, .. } = self;
            if sleep(memory, spin, || writer.may_go_on(message, *done))? == Nap::Interrupted {
                return Ok(false);
            }
        }
    }

    fn wake_parent(&self) -> Result<()> {
        if header(&self.memory).parent.must_wake() {
            self.parent.ring()?;
        }
        Ok(())
    }
}

#[derive(Default, PartialEq, Eq)]
enum Nap {
    #[default]
    Over,
    Interrupted,
}

/// Waits until `ready` or woken, the worker's way.
fn sleep(memory: &SharedMemory, spin: &mut Spin, ready: impl FnMut() -> bool) -> Result<Nap> {
    let bell = &header(memory).worker;
    let ready = std::cell::RefCell::new(ready);
    spin.wait(
        || (ready.borrow_mut())(),
        || {
            bell.announce();
            let woken = if (ready.borrow_mut())() {
                Ok(Woken::Changed)
            } else {
                futex::wait(bell.word(), ASLEEP, None, Scope::Shared)
            };
            bell.retract();
            Ok(if woken? == Woken::Interrupted { Nap::Interrupted } else { Nap::Over })
        },
    )
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;

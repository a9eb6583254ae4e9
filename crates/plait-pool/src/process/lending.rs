//! The parent's books: what a worker has of the arena of requests, and what
//! the parent has of that worker's results.
//!
//! | race | why it is harmless |
//! |---|---|
//! | a lease ends while its worker dies | both under the lock of the lent: the room goes into a message or back to the system; a message that nobody reads any more was for an arena that is gone |
//! | a worker says "kept" and dies | the slot goes, and what was kept with it |
//! | a task is sent again while the first worker still has its blocks | each has the block's count; it is free when both have done |

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use plait_shm::Corrupt;
use plait_shm::arena::{Block, GRAIN, Region};
use plait_sys::eventfd::EventFd;

use super::image::Image;
use super::packer::hold;
use super::parcel::{self, Item};
use super::piece::{Piece, Pieces};
use super::wire::{self, Body};

/// What is free waits for the next message to the worker, unless it is more.
const LINGERING: usize = 4 << 20;

/// A worker's arena of results, as the parent has it.
pub(crate) struct Results {
    region: Arc<Region>,
    lent: Mutex<Lent>,
    /// The supervisor's, who tells the worker what is free.
    bell: Arc<EventFd>,
    owner: u32,
}

#[derive(Default)]
struct Lent {
    /// What the parent has, by offset: whole grains.
    live: BTreeMap<usize, usize>,
    /// What it has done with and not said.
    done: Vec<usize>,
    done_bytes: usize,
    gone: bool,
}

impl Results {
    /// An arena of `len` bytes for a worker.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub(crate) fn create(len: usize, bell: Arc<EventFd>) -> super::Result<Arc<Self>> {
        let region = Arc::new(Region::create("plait-results", len)?);
        Ok(Arc::new(Self { region, lent: Mutex::default(), bell, owner: std::process::id() }))
    }

    fn lock(&self) -> MutexGuard<'_, Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The descriptor for the worker.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.region.as_fd()
    }

    /// Takes what the worker says it has sent.
    fn take(self: &Arc<Self>, offset: usize, len: usize) -> Result<Piece, Corrupt> {
        let range = self.region.check(offset, len)?;
        let end = range.end.next_multiple_of(GRAIN);
        if range.is_empty() || !offset.is_multiple_of(GRAIN) {
            return Err(Corrupt("block"));
        }
        let mut lent = self.lock();
        let before = lent.live.range(..end).next_back();
        if before.is_some_and(|(&start, &len)| start + len > offset) {
            return Err(Corrupt("a block that is in use"));
        }
        lent.live.insert(offset, end - offset);
        drop(lent);
        let lease = Lease { results: Arc::clone(self), offset };
        Ok(Piece::new(&self.region, range, Arc::new(lease)))
    }

    fn end(&self, offset: usize) {
        let mut lent = self.lock();
        let Some(len) = lent.live.remove(&offset) else { return };
        if lent.gone {
            drop(lent);
            self.punch(offset..offset + len);
            return;
        }
        let lingered = lent.done_bytes >= LINGERING;
        lent.done.push(offset);
        lent.done_bytes += len;
        let lingers = lent.done_bytes >= LINGERING;
        drop(lent);
        if lingers && !lingered {
            let rung = self.bell.ring();
            debug_assert!(rung.is_ok(), "{rung:?}");
        }
    }

    /// A message to the worker of what it may use again.
    pub(crate) fn done(&self) -> Option<Vec<u8>> {
        let mut lent = self.lock();
        if lent.done.is_empty() {
            return None;
        }
        lent.done_bytes = 0;
        let done = std::mem::take(&mut lent.done);
        drop(lent);
        Some(wire::places(wire::FREE, &done))
    }

    /// Whether it is time for [`done`](Self::done).
    pub(crate) fn lingers(&self) -> bool {
        self.lock().done_bytes >= LINGERING
    }

    /// The worker is gone: only what the parent has of it stays.
    pub(crate) fn close(&self) {
        let mut lent = self.lock();
        lent.gone = true;
        lent.done.clear();
        let mut holes = Vec::new();
        let mut start = 0;
        for (&offset, &len) in &lent.live {
            holes.push(start..offset);
            start = offset + len;
        }
        holes.push(start..self.region.len());
        drop(lent);
        holes.into_iter().filter(|hole| !hole.is_empty()).for_each(|hole| self.punch(hole));
    }

    fn punch(&self, range: Range<usize>) {
        let punched = self.region.punch(range);
        debug_assert!(punched.is_ok(), "{punched:?}");
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> u64 {
        self.region.taken().unwrap()
    }
}

/// A block of a worker's arena that the parent has.
struct Lease {
    results: Arc<Results>,
    offset: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // In a forked child the lock may be held for ever, and the block is
        // the parent's to return.
        if std::process::id() == self.results.owner {
            self.results.end(self.offset);
        }
    }
}

/// What a worker has of the arena of requests beside the tasks that it was
/// handed: what it was told once, and what its tasks have left behind.
#[derive(Default)]
pub(crate) struct Kept(HashMap<usize, Vec<Arc<Block>>>);

impl Kept {
    pub(crate) fn add(&mut self, block: &Arc<Block>) {
        self.0.entry(block.offset()).or_default().push(Arc::clone(block));
    }

    /// The worker has done with these; they are returned, to be dropped
    /// without a lock.
    ///
    /// # Errors
    /// It never had them.
    pub(crate) fn remove(&mut self, message: &[u8]) -> Result<Vec<Arc<Block>>, Corrupt> {
        let places = wire::read_places(message).ok_or(Corrupt("places"))?;
        let mut gone = Vec::with_capacity(places.len());
        for place in places {
            let Some(blocks) = self.0.get_mut(&place) else { return Err(Corrupt("a block it never had")) };
            gone.extend(blocks.pop());
            if blocks.is_empty() {
                self.0.remove(&place);
            }
        }
        Ok(gone)
    }
}

/// Opens the body of an answer to a task that had `blocks`, of a worker that
/// has been `told` of these images.
///
/// # Errors
/// No worker of ours wrote it.
pub(crate) fn open(
    body: Body,
    blocks: &[Arc<Block>],
    results: Option<&Arc<Results>>,
    kept: &mut Kept,
    told: &HashMap<u64, Weak<Image>>,
) -> Result<(Body, Pieces), Corrupt> {
    let (body, items) = parcel::open(body)?;
    let mut pieces = Pieces::default();
    let take = |offset, len| results.ok_or(Corrupt("arena"))?.take(offset, len);
    for item in items {
        match item {
            Item::Stream { offset, len } => pieces.stream = Some(take(offset, len)?),
            Item::Buffer { offset, len } => pieces.buffers.push(take(offset, len)?),
            Item::Same { index, offset, len } => {
                let block = blocks.get(index).ok_or(Corrupt("index"))?;
                if offset.checked_add(len).is_none_or(|end| end > block.len()) {
                    return Err(Corrupt("range"));
                }
                let start = block.offset() + offset;
                pieces.buffers.push(Piece::new(block.arena().region(), start..start + len, hold(block)));
            }
            Item::Kept { index } => kept.add(blocks.get(index).ok_or(Corrupt("index"))?),
            // One that is gone here is no fault of the worker's.
            Item::Image { id } => pieces.images.extend(told.get(&id).and_then(Weak::upgrade)),
        }
    }
    Ok((body, pieces))
}

/// Opens a body that this process has written, and that has `blocks`.
///
/// # Errors
/// It has not.
pub(crate) fn read(body: Body, blocks: &[Arc<Block>]) -> Result<(Body, Pieces), Corrupt> {
    let (body, items) = parcel::open(body)?;
    let mut pieces = Pieces::default();
    let mut blocks = blocks.iter();
    for item in items {
        let (Item::Stream { offset, len } | Item::Buffer { offset, len }) = item else {
            return Err(Corrupt("item"));
        };
        let block = blocks.next().ok_or(Corrupt("block"))?;
        let piece = Piece::new(block.arena().region(), offset..offset + len, hold(block));
        match item {
            Item::Stream { .. } => pieces.stream = Some(piece),
            _ => pieces.buffers.push(piece),
        }
    }
    Ok((body, pieces))
}

#[cfg(test)]
#[path = "lending_tests.rs"]
mod tests;

//! The worker's books: what it has of the parent's arena, and what the parent
//! has of its own.
//!
//! A block of the parent's belongs to a task, and goes back by the task's
//! answer, unless something that the task has left behind still looks at it.
//! Then the answer says so, and a message follows when the last view is gone.
//! What an image has is kept like that from the beginning.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};

use plait_shm::Corrupt;
use plait_shm::arena::{Arena, Block, Hold, Region, find};

use super::packer::{Packer, Parcel, is_worth_keeping};
use super::parcel::{self, Item};
use super::piece::{Piece, Pieces};
use super::wire::{self, Body};

/// Blocks that the worker has done with and not said.
#[derive(Default)]
struct Done {
    places: Mutex<Vec<usize>>,
    /// Whether there are any.
    any: AtomicBool,
}

/// A block of the parent's.
struct Borrowed {
    task: u64,
    index: usize,
    offset: usize,
    len: usize,
    /// Whether the parent waits to hear that it is not needed.
    kept: AtomicBool,
    done: Arc<Done>,
    owner: u32,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // A child that a task forked has nothing to say to the parent.
        if self.kept.load(SeqCst) && std::process::id() == self.owner {
            self.done.places.lock().unwrap_or_else(PoisonError::into_inner).push(self.offset);
            self.done.any.store(true, SeqCst);
        }
    }
}

/// The arenas of a worker.
pub(crate) struct Arenas {
    requests: Arc<Region>,
    results: Option<Arc<Arena>>,
    /// What the parent has of the results.
    sent: HashMap<usize, Arc<Block>>,
    /// What tasks that have not been answered have of the requests.
    borrowed: Vec<Arc<Borrowed>>,
    done: Arc<Done>,
}

impl Arenas {
    /// Takes up the two that the parent made.
    ///
    /// # Errors
    /// They are not what the parent makes.
    pub(crate) fn open(requests: OwnedFd, results: OwnedFd) -> super::Result<Self> {
        Ok(Self {
            requests: Arc::new(Region::open(requests)?),
            // Without address space for it, results go through the ring.
            results: Arena::open(results, 0).ok(),
            sent: HashMap::new(),
            borrowed: Vec::new(),
            done: Arc::default(),
        })
    }

    /// Has so many bytes of the results stay in memory when they are free.
    pub(crate) fn keep(&self, bytes: usize) {
        self.results.iter().for_each(|arena| arena.keep(bytes));
    }

    /// Gives back to the system what is free.
    pub(crate) fn trim(&self) {
        self.results.iter().for_each(|arena| arena.trim());
    }

    /// For a result.
    pub(crate) fn packer(&self) -> Packer {
        Packer::new(self.results.clone())
    }

    /// Opens a body that the parent has sent: a task's, or (task 0) something
    /// that stays.
    pub(crate) fn receive(&mut self, task: u64, body: Body) -> Result<(Body, Pieces), Corrupt> {
        let (body, items) = parcel::open(body)?;
        let mut pieces = Pieces::default();
        for (index, item) in items.into_iter().enumerate() {
            let (Item::Stream { offset, len } | Item::Buffer { offset, len }) = item else {
                return Err(Corrupt("item"));
            };
            let borrowed = Arc::new(Borrowed {
                task,
                index,
                offset,
                len,
                kept: AtomicBool::new(task == 0),
                done: Arc::clone(&self.done),
                owner: std::process::id(),
            });
            let range = self.requests.check(offset, len)?;
            let piece = Piece::new(&self.requests, range, Arc::clone(&borrowed) as Hold);
            if task != 0 {
                self.borrowed.push(borrowed);
            }
            match item {
                Item::Stream { .. } => pieces.stream = Some(piece),
                _ => pieces.buffers.push(piece),
            }
        }
        Ok((body, pieces))
    }

    /// Ends an answer.
    pub(crate) fn answer(&mut self, packer: Packer) -> Vec<u8> {
        let Parcel { message, blocks } = packer.finish();
        self.sent.extend(blocks.into_iter().map(|block| (block.offset(), block)));
        message
    }

    /// An answer will not be sent after all.
    pub(crate) fn discard(&mut self, answer: &[u8]) {
        for item in parcel::open(Body::of(answer.to_vec())).map(|(_, items)| items).unwrap_or_default() {
            if let Item::Stream { offset, .. } | Item::Buffer { offset, .. } = item {
                self.sent.remove(&offset);
            }
        }
    }

    /// Adds to an answer what the task leaves behind.
    pub(crate) fn amend(&mut self, task: u64, answer: &mut Vec<u8>) {
        if !self.borrowed.is_empty() {
            let kept = self.end(task);
            parcel::amend(&kept, answer);
        }
    }

    /// What a task has left behind.
    fn end(&mut self, task: u64) -> Vec<Item> {
        let mut kept = Vec::new();
        for borrowed in self.borrowed.extract_if(.., |borrowed| borrowed.task == task) {
            let index = borrowed.index;
            if let Err(borrowed) = Arc::try_unwrap(borrowed) {
                // If the last view goes now, ours is the last hold: it says so.
                borrowed.kept.store(true, SeqCst);
                kept.push(Item::Kept { index });
            }
        }
        kept
    }

    #[cfg(test)]
    pub(crate) fn packer_use(&self) -> usize {
        self.results.as_ref().map_or(0, |arena| arena.in_use())
    }

    /// A message of what is not needed any more; to be sent after the answer
    /// of the task that left it behind.
    pub(crate) fn done(&self) -> Option<Vec<u8>> {
        if !self.done.any.swap(false, SeqCst) {
            return None;
        }
        let places = std::mem::take(&mut *self.done.places.lock().unwrap_or_else(PoisonError::into_inner));
        (!places.is_empty()).then(|| wire::places(wire::DONE, &places))
    }

    /// The parent has done with these.
    pub(crate) fn free(&mut self, message: &[u8]) -> Result<(), Corrupt> {
        for place in wire::read_places(message).ok_or(Corrupt("places"))? {
            self.sent.remove(&place);
        }
        Ok(())
    }
}

/// Which part of an item of `task` these bytes are, if they are as they came
/// and no small part of it.
#[must_use]
pub fn same(task: u64, address: usize, len: usize) -> Option<(usize, usize)> {
    let found = find(address, len)?;
    let borrowed = found.hold.downcast::<Borrowed>().ok()?;
    let fits = borrowed.task == task && task != 0 && is_worth_keeping(len, borrowed.len);
    fits.then(|| (borrowed.index, found.range.start - borrowed.offset))
}

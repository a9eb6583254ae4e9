//! What a thread pool has done, counted.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::future::PoolNumber;

/// A number that only grows. Counted up under the interpreter lock, so a load
/// and a store are enough; `fetch_add` would lock the bus for every call.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.get() + more, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        // Relaxed: the interpreter lock orders what is counted.
        self.0.load(Relaxed)
    }
}

/// How calls have ended. One that has begun ends in one of the first four.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) done: Count,
    pub(crate) failed: Count,
    pub(crate) killed: Count,
    pub(crate) timed_out: Count,
    pub(crate) begun: Count,
    /// Never begun.
    pub(crate) cancelled: Count,
    /// Of the killed and timed out, those whose thread did not stop...
    pub(crate) abandoned: Count,
    /// ...and of these, those that have ended since.
    pub(crate) late: Count,
    /// Whose they are.
    pub(crate) pool: PoolNumber,
}

impl Counts {
    /// How many calls run: neither ended nor abandoned.
    pub(crate) fn running(&self) -> u64 {
        let ended = self.done.get() + self.failed.get() + self.killed.get() + self.timed_out.get();
        self.begun.get() - ended
    }
}

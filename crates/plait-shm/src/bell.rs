//! Who sleeps, and who must wake whom. The table of races is in README.md.

use std::sync::atomic::Ordering::{AcqRel, Relaxed, SeqCst};

use crate::prim::{AtomicU32, fence};

pub(crate) const AWAKE: u32 = 0;
pub(crate) const ASLEEP: u32 = 1;

/// One side's word, alone on its cache lines (two: the next is prefetched).
#[repr(C, align(128))]
pub(crate) struct Bell {
    word: AtomicU32,
}

impl Bell {
    #[cfg(all(test, loom))]
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(AWAKE) }
    }

    /// The sleeper: from here on publishers wake us. Look again before you
    /// sleep.
    pub(crate) fn announce(&self) {
        // AcqRel: comes after whatever a publisher swapped in before; pairs
        // with the swap in `must_wake`.
        self.word.swap(ASLEEP, AcqRel);
        // SeqCst: orders the store before the look that follows; pairs with
        // the fence in `must_wake`.
        fence(SeqCst);
    }

    /// The sleeper, back again.
    pub(crate) fn retract(&self) {
        // Relaxed: a publisher that still sees ASLEEP wakes for nothing.
        self.word.store(AWAKE, Relaxed);
    }

    /// The publisher, after it has published: whether it must wake the other.
    pub(crate) fn must_wake(&self) -> bool {
        // SeqCst: orders what was published before the load; pairs with the
        // fence in `announce`.
        fence(SeqCst);
        self.word.load(Relaxed) == ASLEEP && self.word.swap(AWAKE, AcqRel) == ASLEEP
    }

    /// The word that the worker sleeps on while it is `ASLEEP`.
    #[cfg(not(loom))]
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    #[cfg(all(test, loom))]
    pub(crate) fn is_asleep(&self) -> bool {
        self.word.load(Relaxed) == ASLEEP
    }
}

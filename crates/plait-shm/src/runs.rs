//! The worker's view of what it runs, apart from its link: it is asked for
//! while the link is in use, in the handler of a signal too.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use plait_sys::clock::Instant;
use plait_sys::memory::SharedMemory;
use plait_sys::stopping::{self, Interrupt};

use crate::Result;
use crate::link::header;
use crate::run::{ASKED, Stage, Stop};

/// What this worker runs. To be used by one thread, that of the tasks.
pub struct Runs {
    memory: Arc<SharedMemory>,
    /// The run that [`take_stop`](Self::take_stop) was last true for, and one.
    taken: AtomicU64,
}

impl Runs {
    pub(crate) fn new(memory: Arc<SharedMemory>) -> Self {
        Self { memory, taken: AtomicU64::new(0) }
    }

    /// Has the parent's request to stop a run interrupt this process; any
    /// other SIGTERM ends it.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn heed(&self, interrupt: Interrupt) -> Result<()> {
        mem::forget(Arc::clone(&self.memory));
        let word: *const AtomicU64 = header(&self.memory).run.word();
        // SAFETY: it lies in a mapping that is never undone: the line above
        // has leaked one of its owners.
        let word = unsafe { &*word };
        Ok(stopping::heed(word, ASKED, interrupt)?)
    }

    /// As [`heed`](Self::heed), of a worker that runs several tasks at once:
    /// what is to stop it is told by messages, so whoever signals is heard.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn heed_always(&self, interrupt: Interrupt) -> Result<()> {
        // Relaxed: this process alone looks at it, after the next line.
        header(&self.memory).run.word().store(ASKED, Relaxed);
        self.heed(interrupt)
    }

    /// What is asked of the run that is under way.
    #[must_use]
    pub fn asked(&self) -> Option<Stop> {
        match header(&self.memory).run.look().0.stage() {
            Stage::Stops(stop) => Some(stop),
            Stage::Ended | Stage::Runs => None,
        }
    }

    /// Whether the run is to be interrupted now: true once for a run that is
    /// asked to stop.
    #[must_use]
    pub fn take_stop(&self) -> bool {
        let (run, _) = header(&self.memory).run.look();
        let asked = matches!(run.stage(), Stage::Stops(_));
        // Relaxed: one thread.
        asked && self.taken.swap(run.number() + 1, Relaxed) != run.number() + 1
    }

    /// The next item of the task begins. What was asked of the one before;
    /// if that is to stop the task, no other begins.
    #[must_use]
    pub fn next_item(&self, now: Instant) -> Option<Stop> {
        header(&self.memory).run.next_item(now.as_nanos())
    }

    /// The task has ended. What was asked of it: it is not asked any more.
    #[must_use]
    pub fn end(&self) -> Option<Stop> {
        header(&self.memory).run.end()
    }
}

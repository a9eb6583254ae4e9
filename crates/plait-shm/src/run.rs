//! What a worker runs at this moment, and whether it is to stop it: one word
//! in which the end of a run and the request to stop it meet.
//!
//! ```text
//!  Ended ──begin──▶ Runs ──stop──▶ Stops(Item) ──stop──▶ Stops(Task)
//!    ▲               │ ▲                │                     │
//!    │               │ └────next_item───┤                     │
//!    └──────end──────┴──────────────────┴─────────────────────┘
//! ```
//!
//! The worker does what is drawn to the left, the parent stops. A stop is of
//! one run: the one that the word named when it was asked for.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::prim::AtomicU64;

const STAGES: u64 = 0b11;
const ENDED: u64 = 0;
const RUNS: u64 = 1;
const ITEM_STOPS: u64 = 2;
const TASK_STOPS: u64 = 3;

const ITEM: u64 = 1 << 2;
const ITEM_BITS: u32 = 20;
const SEQUENCE: u64 = ITEM << ITEM_BITS;

/// What is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// What runs now; a task of several items goes on with the next.
    Item,
    /// The whole task.
    Task,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It has ended: its answer comes, or has come.
    Ended,
    /// It is under way.
    Runs,
    /// It is under way, and asked to stop.
    Stops(Stop),
}

/// A run: a task of the worker, or an item of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run(u64);

impl Run {
    /// The sequence of the task; 0 before the first.
    #[must_use]
    pub fn sequence(self) -> u64 {
        self.0 / SEQUENCE
    }

    /// Which item of the task, counted from 0; after a million it starts anew.
    #[must_use]
    pub fn item(self) -> u64 {
        self.0 % SEQUENCE / ITEM
    }

    /// How far it is.
    #[must_use]
    pub fn stage(self) -> Stage {
        match self.0 & STAGES {
            ENDED => Stage::Ended,
            RUNS => Stage::Runs,
            ITEM_STOPS => Stage::Stops(Stop::Item),
            _ => Stage::Stops(Stop::Task),
        }
    }

    /// Whether it is the same run, however far.
    #[must_use]
    pub fn is(self, other: Self) -> bool {
        self.0 & !STAGES == other.0 & !STAGES
    }

    /// A number that no other run of the worker has.
    #[cfg(not(loom))]
    pub(crate) fn number(self) -> u64 {
        self.0 / ITEM
    }

    fn at(self, stage: u64) -> Self {
        Self(self.0 & !STAGES | stage)
    }
}

/// The word, and when its run began.
#[repr(C, align(128))]
pub(crate) struct RunWord {
    word: AtomicU64,
    /// Nanoseconds of the monotonic clock.
    since: AtomicU64,
}

/// The bit of the word that is set while something is to stop.
#[cfg(not(loom))]
pub(crate) const ASKED: u64 = ITEM_STOPS;
const _: () = assert!(ITEM_STOPS & TASK_STOPS != 0 && ITEM_STOPS & (ENDED | RUNS) == 0);

impl RunWord {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(ENDED), since: AtomicU64::new(0) }
    }

    /// The worker, before it claims the task.
    pub(crate) fn begin(&self, sequence: u64, now: u64) {
        self.since.store(now, Relaxed);
        // Release: `since` comes before; pairs with the Acquire in `look`.
        self.word.store(sequence.wrapping_mul(SEQUENCE) | RUNS, Release);
    }

    /// The worker: the next item of the same task begins. What was asked of
    /// the one before; where that is to stop the task, no item begins.
    pub(crate) fn next_item(&self, now: u64) -> Option<Stop> {
        // A look between this and the swap finds the old item young: it is
        // looked at again later.
        self.since.store(now, Relaxed);
        let mut found = self.word.load(Relaxed);
        loop {
            let stop = match Run(found).stage() {
                Stage::Stops(Stop::Task) => return Some(Stop::Task),
                Stage::Stops(stop) => Some(stop),
                Stage::Runs | Stage::Ended => None,
            };
            let next = (found & !(SEQUENCE - 1)) | (found.wrapping_add(ITEM) & (SEQUENCE - 1) & !STAGES);
            match self.word.compare_exchange(found, next | RUNS, AcqRel, Relaxed) {
                Ok(_) => return stop,
                Err(other) => found = other,
            }
        }
    }

    /// The worker: the task has ended. What was asked of it while it ran; no
    /// stop of it comes after this.
    pub(crate) fn end(&self) -> Option<Stop> {
        // AcqRel: this swap or the parent's comes first, and both know.
        let run = Run(self.word.fetch_and(!STAGES, AcqRel));
        match run.stage() {
            Stage::Stops(stop) => Some(stop),
            Stage::Ended | Stage::Runs => None,
        }
    }

    /// What runs, and since when.
    pub(crate) fn look(&self) -> (Run, u64) {
        // Acquire: pairs with the Release in `begin`. An item that begins
        // meanwhile makes the run seem younger than it is, never older.
        let run = Run(self.word.load(Acquire));
        (run, self.since.load(Relaxed))
    }

    /// The parent: has `run` stop. The run as it is from now on; `None` if
    /// it has ended, is another by now, or stops already at least so far.
    pub(crate) fn stop(&self, run: Run, what: Stop) -> Option<Run> {
        let stage = match what {
            Stop::Item => ITEM_STOPS,
            Stop::Task => TASK_STOPS,
        };
        let mut found = self.word.load(Acquire);
        loop {
            let current = Run(found);
            let may = match current.stage() {
                Stage::Runs => true,
                Stage::Stops(Stop::Item) => what == Stop::Task,
                Stage::Stops(Stop::Task) | Stage::Ended => false,
            };
            // All of the task's items are meant where the task is.
            let meant = match what {
                Stop::Item => current.is(run),
                Stop::Task => current.sequence() == run.sequence(),
            };
            if !may || !meant {
                return None;
            }
            match self.word.compare_exchange(found, current.at(stage).0, AcqRel, Acquire) {
                Ok(_) => return Some(current.at(stage)),
                Err(other) => found = other,
            }
        }
    }

    /// The word itself, for the handler of a signal.
    #[cfg(not(loom))]
    pub(crate) fn word(&self) -> &AtomicU64 {
        &self.word
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;

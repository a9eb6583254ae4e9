//! The fate of one task: decided once, by one compare-and-swap.
//!
//! Everything that can happen to a task meets in one word:
//!
//! ```text
//!            try_begin                 claim            publish
//!  PENDING ────────────▶ RUNNING ────────────▶ CLAIMED ─────────▶ FINISHED
//!     │                                           ▲
//!     ├───────────────── claim ───────────────────┘
//!     └───────────────── try_cancel ─────────────────────────────▶ CANCELLED
//! ```
//!
//! Whoever wins a transition acts on it; whoever loses does nothing more.
//! `CLAIMED` lasts only while the winner stores the outcome: for everybody
//! else the task is still under way.
//!
//! | race | why it is harmless |
//! |---|---|
//! | two finishers | one CAS to `CLAIMED` wins, the other gets its outcome back |
//! | cancel against begin | both are a CAS from `PENDING` |
//! | a sleeper against the finisher | the sleeper counts itself, then compares the word in the kernel; the finisher changes the word, then reads the count (both `SeqCst`): one of them sees the other |
//! | a subscriber against the finisher | the list is taken under its lock after the word is final: an entry made before is in it, a later one is refused |

use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use plait_sys::clock::Instant;
use plait_sys::futex::{self, Scope, Woken};

const PENDING: u32 = 0;
const RUNNING: u32 = 1;
const CLAIMED: u32 = 2;
const FINISHED: u32 = 3;
const CANCELLED: u32 = 4;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Accepted, not begun: it can still be cancelled.
    Pending,
    /// Begun, without an outcome.
    Running,
    /// Ended with an outcome.
    Finished,
    /// Cancelled before it began.
    Cancelled,
}

impl State {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled)
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The task has ended.
    Done,
    /// The deadline passed first.
    TimedOut,
    /// A signal arrived at the waiting thread: act on it, then wait again.
    Interrupted,
}

/// The state, the outcome and those to be told of it.
///
/// `T` is the outcome, `W` whatever tells somebody that waits otherwise than
/// by [`wait`](Self::wait). The completion never runs a `W`: it hands the
/// list to whoever ended the task, who knows what may run on that thread.
pub struct Completion<T, W> {
    state: AtomicU32,
    sleepers: AtomicU32,
    outcome: OnceLock<T>,
    /// `None` once the task has ended.
    wakers: Mutex<Option<Vec<W>>>,
}

impl<T, W> Default for Completion<T, W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, W> fmt::Debug for Completion<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl<T, W> Completion<T, W> {
    /// A task that has not begun.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(PENDING),
            sleepers: AtomicU32::new(0),
            outcome: OnceLock::new(),
            wakers: Mutex::new(Some(Vec::new())),
        }
    }

    /// Where the task stands.
    #[must_use]
    pub fn state(&self) -> State {
        // Acquire: pairs with the SeqCst store in `settle`, so that whoever
        // sees FINISHED sees the outcome too.
        match self.state.load(Acquire) {
            PENDING => State::Pending,
            RUNNING | CLAIMED => State::Running,
            FINISHED => State::Finished,
            _ => State::Cancelled,
        }
    }

    /// The outcome, once the task has finished.
    #[must_use]
    pub fn outcome(&self) -> Option<&T> {
        match self.state() {
            State::Finished => self.outcome.get(),
            _ => None,
        }
    }

    /// As [`outcome`](Self::outcome), for who alone has it.
    pub fn outcome_mut(&mut self) -> Option<&mut T> {
        self.outcome.get_mut()
    }

    /// Takes the outcome out, once the task has finished and nobody else is
    /// there to ask for it.
    #[must_use]
    pub fn take_outcome(&mut self) -> Option<T> {
        self.outcome.take()
    }

    /// Takes the task out of the queue to run it. False if it is no longer
    /// pending: then it must not run.
    #[must_use]
    pub fn try_begin(&self) -> bool {
        self.state.compare_exchange(PENDING, RUNNING, AcqRel, Relaxed).is_ok()
    }

    /// Ends the task with `outcome`, whether it had begun or not, and returns
    /// those to be told.
    ///
    /// # Errors
    /// Gives `outcome` back if the task has already ended.
    pub fn finish(&self, outcome: T) -> Result<Vec<W>, T> {
        let claim = |from| self.state.compare_exchange(from, CLAIMED, AcqRel, Acquire);
        let claimed = claim(RUNNING).or_else(|found| match found {
            // PENDING leads to RUNNING or to a final state, so a second loss
            // can only be to a begin, and a third to another finisher.
            PENDING => {
                claim(PENDING).or_else(|found| if found == RUNNING { claim(RUNNING) } else { Err(found) })
            }
            other => Err(other),
        });
        if claimed.is_err() {
            return Err(outcome);
        }
        let stored = self.outcome.set(outcome);
        debug_assert!(stored.is_ok(), "only the winner of CLAIMED stores an outcome");
        Ok(self.settle(FINISHED))
    }

    /// Cancels a task that has not begun, and returns those to be told; `None`
    /// if it has begun or ended.
    #[must_use]
    pub fn try_cancel(&self) -> Option<Vec<W>> {
        // CLAIMED first, as in `finish`: `settle` alone makes a state final.
        self.state.compare_exchange(PENDING, CLAIMED, AcqRel, Relaxed).ok()?;
        Some(self.settle(CANCELLED))
    }

    fn settle(&self, last: u32) -> Vec<W> {
        // SeqCst: pairs with the sleeper's count in `wait`; see the table.
        self.state.store(last, SeqCst);
        if self.sleepers.load(SeqCst) > 0 {
            // The word is ours and mapped: the kernel has nothing to refuse.
            let woken = futex::wake(&self.state, u32::MAX, Scope::Process);
            debug_assert!(woken.is_ok(), "{woken:?}");
        }
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Adds somebody to be told of the end.
    ///
    /// # Errors
    /// Gives `waker` back if the task has already ended.
    pub fn subscribe(&self, waker: W) -> Result<(), W> {
        match &mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(wakers) => {
                wakers.push(waker);
                Ok(())
            }
            None => Err(waker),
        }
    }

    /// Takes back the first of those to be told that `matches`: it no longer
    /// wants to know. `None` if there is none, or the task has ended.
    pub fn withdraw(&self, matches: impl FnMut(&W) -> bool) -> Option<W> {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let wakers = wakers.as_mut()?;
        wakers.iter().position(matches).map(|index| wakers.remove(index))
    }

    /// Takes back everybody, of a task that nobody will end: the garbage
    /// collector breaks the cycles that run through them.
    pub fn withdraw_all(&self) -> Vec<W> {
        match &mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(wakers) => std::mem::take(wakers),
            None => Vec::new(),
        }
    }

    /// Visits those to be told, for the garbage collector; `None` if the list
    /// is in use at this moment.
    pub fn with_wakers<R>(&self, visit: impl FnOnce(&[W]) -> R) -> Option<R> {
        let wakers = self.wakers.try_lock().ok()?;
        Some(visit(wakers.as_deref().unwrap_or_default()))
    }

    /// Sleeps until the task has ended, the deadline has passed or a signal
    /// has arrived. Holds no lock.
    ///
    /// # Errors
    /// What the kernel refuses of the futex call.
    pub fn wait(&self, deadline: Option<Instant>) -> plait_sys::Result<Waited> {
        struct Sleeper<'a>(&'a AtomicU32);
        impl Drop for Sleeper<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        if self.state().is_final() {
            return Ok(Waited::Done);
        }
        // SeqCst: pairs with the finisher's store and load in `settle`.
        self.sleepers.fetch_add(1, SeqCst);
        let _sleeper = Sleeper(&self.sleepers);
        loop {
            let seen = self.state.load(SeqCst);
            if matches!(seen, FINISHED | CANCELLED) {
                return Ok(Waited::Done);
            }
            let timeout: Option<Duration> = deadline.map(|end| end.saturating_since(Instant::now()));
            if timeout == Some(Duration::ZERO) {
                return Ok(Waited::TimedOut);
            }
            if futex::wait(&self.state, seen, timeout, Scope::Process)? == Woken::Interrupted {
                return Ok(Waited::Interrupted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    type Cell = Completion<u32, u32>;

    #[test]
    fn finishes_once() {
        let cell = Cell::new();
        assert_eq!(cell.state(), State::Pending);
        assert!(cell.try_begin());
        assert!(!cell.try_begin());
        assert_eq!(cell.outcome(), None);
        assert_eq!(cell.finish(1), Ok(vec![]));
        assert_eq!(cell.finish(2), Err(2));
        assert_eq!(cell.outcome(), Some(&1));
        let mut cell = cell;
        assert_eq!(cell.outcome_mut(), Some(&mut 1));
    }

    #[test]
    fn cancels_only_before_the_begin() {
        let cell = Cell::new();
        assert_eq!(cell.subscribe(7), Ok(()));
        assert_eq!(cell.try_cancel(), Some(vec![7]));
        assert_eq!(cell.state(), State::Cancelled);
        assert!(!cell.try_begin());
        assert_eq!(cell.finish(1), Err(1));
        assert_eq!(cell.subscribe(8), Err(8));

        let begun = Cell::new();
        assert!(begun.try_begin());
        assert_eq!(begun.try_cancel(), None);
    }

    #[test]
    fn a_pending_task_can_be_finished_without_a_begin() {
        let cell = Cell::new();
        assert_eq!(cell.finish(3), Ok(vec![]));
        assert_eq!(cell.state(), State::Finished);
    }

    #[test]
    fn who_has_withdrawn_is_not_told() {
        let cell = Cell::new();
        for waker in 1..=4 {
            assert_eq!(cell.subscribe(waker), Ok(()));
        }
        assert_eq!(cell.withdraw(|&waker| waker == 2), Some(2));
        assert_eq!(cell.withdraw(|&waker| waker == 2), None);
        assert_eq!(cell.finish(0), Ok(vec![1, 3, 4]));
        assert_eq!(cell.withdraw(|_| true), None);

        let cell = Cell::new();
        assert_eq!(cell.subscribe(1), Ok(()));
        assert_eq!(cell.withdraw_all(), vec![1]);
        assert_eq!(cell.subscribe(2), Ok(()));
        assert_eq!(cell.try_cancel(), Some(vec![2]));
        assert_eq!(cell.withdraw_all(), Vec::<u32>::new());
    }

    #[test]
    fn a_passed_deadline_ends_the_wait() {
        let cell = Cell::new();
        assert_eq!(cell.wait(Some(Instant::from_nanos(0))).unwrap(), Waited::TimedOut);
    }

    #[test]
    fn many_threads_agree_on_one_end() {
        for _ in 0..500 {
            let cell = Arc::new(Cell::new());
            let wins = Arc::new(AtomicUsize::new(0));
            let told = Arc::new(AtomicUsize::new(0));
            let count = |wakers: Option<Vec<u32>>| {
                if let Some(wakers) = wakers {
                    wins.fetch_add(1, SeqCst);
                    told.fetch_add(wakers.len(), SeqCst);
                }
            };
            thread::scope(|scope| {
                scope.spawn(|| assert_eq!(cell.wait(None).unwrap(), Waited::Done));
                scope.spawn(|| count(cell.try_cancel()));
                scope.spawn(|| {
                    let _ = cell.try_begin();
                    count(cell.finish(1).ok());
                });
                scope.spawn(|| count(cell.finish(2).ok()));
                scope.spawn(|| {
                    if cell.subscribe(0).is_err() {
                        told.fetch_add(1, SeqCst);
                    }
                });
            });
            assert_eq!(wins.load(SeqCst), 1);
            assert_eq!(told.load(SeqCst), 1);
            assert_eq!(cell.outcome().is_some(), cell.state() == State::Finished);
        }
    }
}

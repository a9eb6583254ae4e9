//! What a future asks of the engine that has its task.

use std::sync::{Arc, Weak};
use std::time::Duration;

use plait_pool::completion::State;
use plait_shm::{LOOK, looking_pays};

use super::{Fate, Future};
use crate::error::Result;

/// An engine that holds on to tasks after it has accepted them, and can be
/// asked for them by number. Called by attached threads; it never waits.
pub(crate) trait Engine: Send + Sync {
    /// Takes the task back if it has not begun, and stops it if it runs and
    /// the engine can.
    ///
    /// # Errors
    /// The engine is of another process.
    fn cancel(&self, task: u64) -> Result<Cancelled>;

    /// Takes the task back if it has not begun: then the engine has forgotten
    /// it, and the caller ends its future. Whether it has.
    ///
    /// # Errors
    /// The engine is of another process.
    fn withdraw(&self, task: u64) -> Result<bool>;

    /// Whether the task has begun and not ended.
    ///
    /// # Errors
    /// The engine is of another process.
    fn has_begun(&self, task: u64) -> Result<bool>;

    /// Looks, awake, for the ends of tasks until `until` says so or for about
    /// as long as `look`; what `until` said last. None if there is nothing to
    /// help with: threads of this process do the work. Called without the
    /// interpreter.
    fn help(&self, until: &dyn Fn() -> bool, look: Duration) -> Option<bool>;
}

/// What came of the wish to cancel a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// It has not begun and never will. The engine has forgotten it, and the
    /// caller ends its future.
    TakenBack,
    /// It is being stopped; the engine ends its future when it has.
    Stopping,
    /// Nothing: it has ended, or cannot be stopped.
    Refused,
}

/// A task that somebody awaits.
pub(crate) struct Awaited {
    pub(crate) fate: Weak<Fate>,
    pub(crate) engine: Option<Weak<dyn Engine>>,
}

/// A task and who has it.
pub(super) struct Work {
    engine: Arc<dyn Engine>,
    task: u64,
}

impl Future {
    /// Says which task of which engine it waits for.
    pub(crate) fn work_for(&self, engine: Arc<dyn Engine>, task: u64) {
        // Set once, by the engine that has just made it.
        let _ = self.work.set(Work { engine, task });
    }

    /// Where its task stands: an engine that can take it back says nothing
    /// when it begins, but can be asked.
    pub(super) fn state(&self) -> State {
        let state = self.fate.state();
        match self.work.get() {
            Some(work) if state == State::Pending => match work.engine.has_begun(work.task) {
                Ok(true) => State::Running,
                // In a forked child nobody can tell.
                Ok(false) | Err(_) => State::Pending,
            },
            _ => state,
        }
    }

    /// Has its engine look for its end for a moment, if that may pay. Whether
    /// the task has ended; None if the engine has nothing to look at.
    pub(super) fn look(&self) -> Option<bool> {
        let until = || self.fate.state().is_final();
        let engine = &self.work.get()?.engine;
        if looking_pays() { engine.help(&until, LOOK) } else { Some(until()) }
    }

    /// What the end of its task can be seen coming by.
    pub(crate) fn awaited(&self) -> Awaited {
        Awaited { fate: Arc::downgrade(&self.fate), engine: self.engine().map(Arc::downgrade) }
    }

    /// The engine that has its task.
    pub(super) fn engine(&self) -> Option<&Arc<dyn Engine>> {
        self.work.get().map(|work| &work.engine)
    }

    /// Has its engine take the task back or stop it. Without an engine that
    /// holds it, or at its end, there is nothing to take back.
    ///
    /// # Errors
    /// The engine is of another process.
    pub(super) fn cancel_work(&self) -> Result<Cancelled> {
        match self.work.get() {
            Some(work) if !self.fate.state().is_final() => work.engine.cancel(work.task),
            _ => Ok(Cancelled::TakenBack),
        }
    }

    /// Has its engine take the task back if it has not begun.
    ///
    /// # Errors
    /// The engine is of another process.
    pub(super) fn withdraw_work(&self) -> Result<bool> {
        match self.work.get() {
            Some(work) if !self.fate.state().is_final() => work.engine.withdraw(work.task),
            _ => Ok(true),
        }
    }
}

//! What those who wait for a task may do about it.

use std::sync::Arc;
use std::time::Duration;

use plait_shm::{Look, WAKING};
use plait_sys::clock::Instant;

use super::aftermath::Aftermath;
use super::deal::Withdrawn;
use super::pool::Shared;
use super::state::State;
use super::{Result, Ticket};

/// Looks between two looks at the clock.
const BURST: usize = 16;

/// Asks after the tasks of a pool. It does not keep the pool from ending.
pub struct Handle<T>(Arc<Shared<T>>);

impl<T: Ticket> Handle<T> {
    pub(crate) fn new(shared: Arc<Shared<T>>) -> Self {
        Self(shared)
    }

    /// Takes a task back if it has not begun, and stops it if it runs: then
    /// it ends as [`End::Killed`](super::End::Killed), whatever it does.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn stop(&self, task: u64) -> Result<Withdrawn<T>> {
        self.take(|state, after| state.stop(task, Instant::now(), after))
    }

    /// Takes a task back if it has not begun.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn withdraw(&self, task: u64) -> Result<Withdrawn<T>> {
        self.take(|state, _| state.withdraw(task))
    }

    fn take(
        &self,
        take: impl FnOnce(&mut State<T>, &mut Aftermath<T>) -> Withdrawn<T>,
    ) -> Result<Withdrawn<T>> {
        self.0.check_owner()?;
        let mut after = Aftermath::new();
        let mut state = self.0.lock();
        let withdrawn = take(&mut state, &mut after);
        state.dispatch(&mut after);
        let calls = state.calls();
        drop(state);
        after.run();
        if calls {
            // It may have been the last that a closed pool waited for.
            self.0.ring()?;
        }
        Ok(withdrawn)
    }

    /// Whether a worker has begun the task and not answered yet.
    ///
    /// # Errors
    /// The pool is of another process.
    pub fn has_begun(&self, task: u64) -> Result<bool> {
        self.0.check_owner()?;
        Ok(self.0.lock().has_begun(task))
    }

    /// Looks, awake, until `until` says so or for about as long as `look`, and
    /// reads what the workers say meanwhile, for whomever it is. Returns what
    /// `until` said last.
    ///
    /// The time that a worker takes to wake up does not count. Waking takes
    /// longer than a look (50 to 80 µs on virtual machines), so two who wait
    /// for each other in turns would else never meet awake: each look would end
    /// just before the other had woken up, and each would then be woken itself.
    ///
    /// Where looks have been in vain it often returns at once: see
    /// [`plait_shm::Habit`].
    ///
    /// It must not be called with anything held that [`Ticket::finish`] needs,
    /// and pays only where there is more than one core. In a process that the
    /// pool does not belong to it does nothing.
    pub fn help(&self, until: impl Fn() -> bool, look: Duration) -> bool {
        if until() {
            return true;
        }
        if self.0.check_owner().is_err() {
            return false;
        }
        if !self.0.lock().begin_to_help() {
            return until();
        }
        let mut helper = Helper { shared: &self.0, look: Look::Long };
        let start = Instant::now();
        let mut since = start;
        loop {
            for _ in 0..BURST {
                helper.look();
                if until() {
                    helper.look = Look::Found;
                    return true;
                }
                std::hint::spin_loop();
            }
            let now = Instant::now();
            let waking = self.0.try_lock().is_some_and(|state| state.wakes_somebody());
            if waking {
                since = now;
            }
            if now.saturating_since(since) > look || now.saturating_since(start) > look + WAKING {
                if until() {
                    helper.look = Look::Found;
                } else if waking {
                    helper.look = Look::Vain;
                }
                return helper.look == Look::Found;
            }
        }
    }
}

/// A thread that helps, until it is dropped.
struct Helper<'a, T: Ticket> {
    shared: &'a Shared<T>,
    /// What has come of it.
    look: Look,
}

impl<T: Ticket> Helper<'_, T> {
    fn look(&self) {
        // Whoever has the state looks, or is about to let go of it.
        let Some(mut state) = self.shared.try_lock() else { return };
        if !state.stirs() {
            return;
        }
        let mut after = Aftermath::new();
        state.attend(&mut after);
        let calls = state.calls();
        drop(state);
        after.run();
        if calls {
            self.call();
        }
    }

    fn call(&self) {
        let rung = self.shared.ring();
        debug_assert!(rung.is_ok(), "an eventfd of ours: {rung:?}");
    }
}

impl<T: Ticket> Drop for Helper<'_, T> {
    fn drop(&mut self) {
        let mut after = Aftermath::new();
        let mut state = self.shared.lock();
        let calls = state.end_to_help(self.look, &mut after) || state.calls();
        drop(state);
        after.run();
        if calls {
            self.call();
        }
    }
}

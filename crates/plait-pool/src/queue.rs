//! The queue of a thread pool: what is to be done, and who is there to do it.
//!
//! Threads are started on demand, so a push also decides, in the same step,
//! whether one more is wanted: when there are more items than idle workers
//! and the limit is not reached. That worker is counted from then on
//! (*reserved*), which makes two things simple: the limit is kept however
//! many push at once, and who waits for the end waits for threads that are
//! still being started too.
//!
//! A worker looks ([`Worker::try_take`]) and sleeps ([`Worker::sleep`]) in
//! two steps. The binding takes items while it holds the interpreter lock and
//! sleeps without it, so no item waits for the lock in the hands of one
//! thread while another, which has the lock, finds the queue empty.
//!
//! | race | why it is harmless |
//! |---|---|
//! | a push between look and sleep | `sleep` looks again under the lock before it sleeps |
//! | a push while an idle worker is awake | it wakes nobody for as many items as there are such workers: each looks before it sleeps |
//! | a push while a woken worker is on its way | it counts as idle until it takes something, so no thread too many is started; it looks before it sleeps, so nothing is left lying |
//! | another worker takes what somebody was woken for | the woken one finds nothing and sleeps again |
//! | a push against `close` | both under the lock: accepted before, and then done; or refused |
//! | `close` against a thread being started | it was counted by the push, so `wait` waits for it |
//!
//! A mutex, not a lock-free queue: pushes and takes of the thread pool already
//! come one at a time (each holds the interpreter lock), so the lock is free
//! but for the moment in which a worker falls asleep.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use plait_sys::clock::Instant;

use crate::completion::{Completion, Waited};

/// Why a queue takes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// Its owner has shut it down.
    #[error("cannot schedule new futures after shutdown")]
    Shutdown,
    /// The program is ending.
    #[error("cannot schedule new futures after interpreter shutdown")]
    Exit,
    /// Its workers cannot be set up.
    #[error("A thread initializer failed, the thread pool is not usable anymore")]
    Broken,
}

/// An item that was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused<T> {
    /// The item, given back.
    pub item: T,
    /// Why.
    pub reason: Closed,
}

/// What a push asks of the one who pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: there are workers enough.
    Nothing,
    /// Another worker, which has been counted: start it and let it
    /// [`join`](Queue::join), or [`forgo`](Queue::forgo) it.
    Worker,
}

/// What a worker finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// The next item.
    Item(T),
    /// Nothing at present.
    Nothing,
    /// Nothing, now and ever.
    End,
}

struct State<T> {
    items: VecDeque<T>,
    limit: usize,
    /// Workers there are, those included that are being started.
    workers: usize,
    /// Workers that found nothing and have taken nothing since.
    idle: usize,
    /// Workers asleep for whom no wake-up is under way.
    asleep: usize,
    /// Wake-ups under way.
    calls: usize,
    closed: Option<Closed>,
}

/// A queue of items for a limited number of workers.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    called: Condvar,
    /// Whether there may be something to take, or the queue has been closed:
    /// for those who look awake. Changed under the lock.
    stirs: AtomicBool,
    /// Closed, and the last worker has left.
    ended: Completion<(), Infallible>,
}

impl<T> Queue<T> {
    /// An empty queue for at most `limit` workers.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                limit,
                workers: 0,
                idle: 0,
                asleep: 0,
                calls: 0,
                closed: None,
            }),
            called: Condvar::new(),
            stirs: AtomicBool::new(false),
            ended: Completion::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item.
    ///
    /// # Errors
    /// Gives it back if the queue has been closed.
    pub fn push(&self, item: T) -> Result<Wanted, Refused<T>> {
        let mut state = self.lock();
        if let Some(reason) = state.closed {
            drop(state);
            return Err(Refused { item, reason });
        }
        state.items.push_back(item);
        let wanted = if state.items.len() > state.idle && state.workers < state.limit {
            state.workers += 1;
            Wanted::Worker
        } else {
            Wanted::Nothing
        };
        let awake = state.idle - state.asleep;
        let call = state.asleep > 0 && state.items.len() > awake;
        if call {
            state.asleep -= 1;
            state.calls += 1;
        }
        // Relaxed: a hint.
        self.stirs.store(true, Relaxed);
        drop(state);
        if call {
            self.called.notify_one();
        }
        Ok(wanted)
    }

    /// Makes the calling thread the worker that a push has asked for.
    pub const fn join(&self) -> Worker<'_, T> {
        Worker { queue: self, idle: false }
    }

    /// Says that the worker which a push has asked for will not come. What was
    /// pushed is left to the others.
    pub fn forgo(&self) {
        self.leave(false);
    }

    /// As [`forgo`](Self::forgo), and gives back what there is nobody for.
    #[must_use]
    pub fn give_up(&self) -> VecDeque<T> {
        self.leave_with(false, |state| match state.workers {
            0 => mem::take(&mut state.items),
            _ => VecDeque::new(),
        })
    }

    /// A worker does not come back from what it has taken: its place is free.
    /// Whether another is wanted at once, for what waits.
    pub fn lose(&self) -> Wanted {
        let state = self.lock();
        if state.items.len() > state.idle {
            // It takes the place.
            return Wanted::Worker;
        }
        drop(state);
        self.leave(false);
        Wanted::Nothing
    }

    /// Makes the calling thread a worker, where something is left that nobody
    /// is there to do and nobody will come to: the queue has been closed, and
    /// the last worker was lost, or was asked for and did not come. If true,
    /// let it [`join`](Queue::join).
    pub fn stand_in(&self) -> bool {
        let mut state = self.lock();
        let needed = state.closed.is_some() && state.workers == 0 && !state.items.is_empty();
        state.workers += usize::from(needed);
        needed
    }

    /// Takes nothing more; the workers end when nothing is left. The first
    /// reason given stays.
    pub fn close(&self, reason: Closed) {
        self.close_with(|state| {
            state.closed.get_or_insert(reason);
        });
    }

    /// Takes nothing more, whatever the reason was before, and gives back what
    /// has not been taken: the workers cannot do it.
    #[must_use]
    pub fn fail(&self) -> VecDeque<T> {
        self.close_with(|state| {
            state.closed = Some(Closed::Broken);
            mem::take(&mut state.items)
        })
    }

    fn close_with<R>(&self, close: impl FnOnce(&mut State<T>) -> R) -> R {
        let mut state = self.lock();
        let result = close(&mut state);
        let ended = state.workers == 0;
        self.stirs.store(true, Relaxed);
        drop(state);
        self.called.notify_all();
        if ended {
            self.end();
        }
        result
    }

    fn leave(&self, idle: bool) {
        self.leave_with(idle, |_| ());
    }

    fn leave_with<R>(&self, idle: bool, then: impl FnOnce(&mut State<T>) -> R) -> R {
        let mut state = self.lock();
        state.workers -= 1;
        state.idle -= usize::from(idle);
        let result = then(&mut state);
        let ended = state.workers == 0 && state.closed.is_some();
        drop(state);
        if ended {
            self.end();
        }
        result
    }

    fn end(&self) {
        // Refused where it has ended before; it has no wakers.
        let _ = self.ended.finish(());
    }

    /// Gives back what has not been taken.
    #[must_use]
    pub fn drain(&self) -> VecDeque<T> {
        mem::take(&mut self.lock().items)
    }

    /// Waits until the queue has been closed and all workers have left.
    ///
    /// # Errors
    /// What the kernel refuses of the wait.
    pub fn wait(&self, deadline: Option<Instant>) -> plait_sys::Result<Waited> {
        self.ended.wait(deadline)
    }

    /// Why the queue takes nothing any more, if so.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.lock().closed
    }

    /// How many items have not been taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many workers there are and how many of them are idle.
    #[must_use]
    pub fn workers(&self) -> (usize, usize) {
        let state = self.lock();
        (state.workers, state.idle)
    }

    /// Visits what has not been taken, under the lock.
    pub fn with_items<R>(&self, visit: impl FnOnce(&VecDeque<T>) -> R) -> R {
        visit(&self.lock().items)
    }
}

/// One thread that works for a queue, until it is dropped.
pub struct Worker<'a, T> {
    queue: &'a Queue<T>,
    idle: bool,
}

impl<T> Worker<'_, T> {
    /// The next item, if there is one.
    pub fn try_take(&mut self) -> Found<T> {
        let mut state = self.queue.lock();
        let item = state.items.pop_front();
        let idle = item.is_none();
        match (self.idle, idle) {
            (false, true) => state.idle += 1,
            (true, false) => state.idle -= 1,
            _ => {}
        }
        self.idle = idle;
        if state.items.is_empty() && state.closed.is_none() {
            self.queue.stirs.store(false, Relaxed);
        }
        match item {
            Some(item) => Found::Item(item),
            None if state.closed.is_some() => Found::End,
            None => Found::Nothing,
        }
    }

    /// Lets the thread do what it has taken, and come back by
    /// [`join`](Queue::join): it keeps its place.
    pub fn step_aside(self) {
        debug_assert!(!self.idle, "it has taken something");
        std::mem::forget(self);
    }

    /// Whether there may be something to take. It takes no lock: a hint.
    #[must_use]
    pub fn stirs(&self) -> bool {
        self.queue.stirs.load(Relaxed)
    }

    /// Sleeps until there may be something to take.
    pub fn sleep(&self) {
        let mut state = self.queue.lock();
        if !state.items.is_empty() || state.closed.is_some() {
            return;
        }
        state.asleep += 1;
        while state.calls == 0 && state.closed.is_none() {
            state = self.queue.called.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Once closed nobody sleeps, and the two counts no longer matter.
        state.calls = state.calls.saturating_sub(1);
    }
}

impl<T> Drop for Worker<'_, T> {
    fn drop(&mut self) {
        self.queue.leave(self.idle);
    }
}

#[cfg(test)]
mod tests;

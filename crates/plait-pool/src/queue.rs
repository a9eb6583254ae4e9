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
        let call = state.asleep > 0;
        if call {
            state.asleep -= 1;
            state.calls += 1;
        }
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
        drop(state);
        self.called.notify_all();
        if ended {
            self.end();
        }
        result
    }

    fn leave(&self, idle: bool) {
        let mut state = self.lock();
        state.workers -= 1;
        state.idle -= usize::from(idle);
        let ended = state.workers == 0 && state.closed.is_some();
        drop(state);
        if ended {
            self.end();
        }
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
        match item {
            Some(item) => Found::Item(item),
            None if state.closed.is_some() => Found::End,
            None => Found::Nothing,
        }
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
    use std::thread;

    #[test]
    fn asks_for_workers_up_to_the_limit() {
        let queue = Queue::new(2);
        assert_eq!(queue.push(1), Ok(Wanted::Worker));
        assert_eq!(queue.push(2), Ok(Wanted::Worker));
        assert_eq!(queue.push(3), Ok(Wanted::Nothing));
        assert_eq!(queue.workers(), (2, 0));
    }

    #[test]
    fn an_idle_worker_is_used_again() {
        let queue = Queue::new(8);
        assert_eq!(queue.push(1), Ok(Wanted::Worker));
        let mut worker = queue.join();
        assert_eq!(worker.try_take(), Found::Item(1));
        assert_eq!(worker.try_take(), Found::Nothing);
        assert_eq!(queue.workers(), (1, 1));
        assert_eq!(queue.push(2), Ok(Wanted::Nothing));
        // The one idle worker is spoken for.
        assert_eq!(queue.push(3), Ok(Wanted::Worker));
        assert_eq!(worker.try_take(), Found::Item(2));
        assert_eq!(queue.workers(), (2, 0));
    }

    #[test]
    fn what_was_accepted_is_taken_after_the_close() {
        let queue = Queue::new(1);
        assert_eq!(queue.push(1), Ok(Wanted::Worker));
        queue.close(Closed::Shutdown);
        queue.close(Closed::Exit);
        assert_eq!(queue.push(2), Err(Refused { item: 2, reason: Closed::Shutdown }));
        assert_eq!(queue.wait(Some(Instant::from_nanos(0))).unwrap(), Waited::TimedOut);
        let mut worker = queue.join();
        assert_eq!(worker.try_take(), Found::Item(1));
        assert_eq!(worker.try_take(), Found::End);
        drop(worker);
        assert_eq!(queue.wait(None).unwrap(), Waited::Done);
    }

    #[test]
    fn a_closed_queue_without_workers_has_ended() {
        let queue = Queue::<u32>::new(1);
        queue.close(Closed::Exit);
        assert_eq!(queue.wait(None).unwrap(), Waited::Done);
        assert_eq!(queue.closed(), Some(Closed::Exit));
    }

    #[test]
    fn a_worker_that_never_came_is_not_waited_for() {
        let queue = Queue::new(1);
        assert_eq!(queue.push(1), Ok(Wanted::Worker));
        queue.close(Closed::Shutdown);
        queue.forgo();
        assert_eq!(queue.wait(None).unwrap(), Waited::Done);
        assert_eq!(queue.drain(), [1]);
    }

    #[test]
    fn a_failure_gives_everything_back() {
        let queue = Queue::new(1);
        assert_eq!(queue.push(1), Ok(Wanted::Worker));
        assert_eq!(queue.push(2), Ok(Wanted::Nothing));
        queue.close(Closed::Shutdown);
        assert_eq!(queue.fail(), [1, 2]);
        assert_eq!(queue.push(3), Err(Refused { item: 3, reason: Closed::Broken }));
        assert!(queue.is_empty());
    }

    #[test]
    fn many_threads_lose_nothing_and_keep_the_limit() {
        const PUSHERS: usize = 4;
        const ITEMS: usize = 500;
        const LIMIT: usize = 3;
        let queue = Queue::new(LIMIT);
        let taken = AtomicUsize::new(0);
        let started = AtomicUsize::new(0);
        let work = || {
            let mut worker = queue.join();
            loop {
                match worker.try_take() {
                    Found::Item(item) => taken.fetch_add(item, SeqCst),
                    Found::Nothing => {
                        worker.sleep();
                        continue;
                    }
                    Found::End => break,
                };
            }
        };
        thread::scope(|scope| {
            let pushers: Vec<_> = (0..PUSHERS)
                .map(|_| {
                    scope.spawn(|| {
                        for item in 1..=ITEMS {
                            if queue.push(item) == Ok(Wanted::Worker) {
                                started.fetch_add(1, SeqCst);
                                scope.spawn(work);
                            }
                        }
                    })
                })
                .collect();
            for pusher in pushers {
                pusher.join().unwrap();
            }
            queue.close(Closed::Shutdown);
            assert_eq!(queue.wait(None).unwrap(), Waited::Done);
        });
        assert_eq!(taken.load(SeqCst), PUSHERS * ITEMS * (ITEMS + 1) / 2);
        assert!(started.load(SeqCst) <= LIMIT);
        assert_eq!(queue.workers(), (0, 0));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        /// The worker of this number (counted round) looks once.
        Take(usize),
        /// It leaves.
        Leave(usize),
        Drain,
        Close,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => Just(Step::Push),
            6 => any::<usize>().prop_map(Step::Take),
            1 => any::<usize>().prop_map(Step::Leave),
            1 => Just(Step::Drain),
            1 => Just(Step::Close),
        ]
    }

    proptest! {
        /// Against a plain model: order is kept, nothing is lost or doubled,
        /// the limit is kept, and a worker is asked for exactly when the idle
        /// ones do not suffice.
        #[test]
        fn behaves_as_its_model(limit in 1..4_usize, steps in prop::collection::vec(step(), 0..200)) {
            let queue = Queue::new(limit);
            let mut waiting = VecDeque::new();
            let mut workers: Vec<(Worker<'_, usize>, bool)> = Vec::new();
            let mut closed = false;
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push if closed => {
                        let refused = Refused { item: number, reason: Closed::Shutdown };
                        prop_assert_eq!(queue.push(number), Err(refused));
                    }
                    Step::Push => {
                        waiting.push_back(number);
                        let idle = workers.iter().filter(|(_, idle)| *idle).count();
                        let wanted = waiting.len() > idle && workers.len() < limit;
                        let expected = if wanted { Wanted::Worker } else { Wanted::Nothing };
                        prop_assert_eq!(queue.push(number), Ok(expected));
                        if wanted {
                            workers.push((queue.join(), false));
                        }
                    }
                    Step::Take(which) if !workers.is_empty() => {
                        let which = which % workers.len();
                        let (worker, idle) = &mut workers[which];
                        let expected = match waiting.pop_front() {
                            Some(item) => Found::Item(item),
                            None if closed => Found::End,
                            None => Found::Nothing,
                        };
                        *idle = !matches!(expected, Found::Item(_));
                        prop_assert_eq!(worker.try_take(), expected);
                    }
                    Step::Leave(which) if !workers.is_empty() => {
                        drop(workers.swap_remove(which % workers.len()));
                    }
                    Step::Drain => prop_assert_eq!(queue.drain(), mem::take(&mut waiting)),
                    Step::Close => {
                        queue.close(Closed::Shutdown);
                        closed = true;
                    }
                    Step::Take(_) | Step::Leave(_) => {}
                }
                let idle = workers.iter().filter(|(_, idle)| *idle).count();
                prop_assert_eq!(queue.workers(), (workers.len(), idle));
                prop_assert_eq!(queue.len(), waiting.len());
                let ended = queue.wait(Some(Instant::from_nanos(0))).unwrap() == Waited::Done;
                prop_assert_eq!(ended, closed && workers.is_empty());
            }
        }
    }
}

//! What a turn begins with: looking at all that may have happened outside, and
//! waiting for it if there is nothing else to do.
//!
//! The interpreter lock is released only for a wait that really blocks.
//!
//! A turn with work ready polls without waiting. While nothing but the loop's
//! own descriptors is watched, the kernel has only signals to tell of, and one
//! poll a tick of its clock (1 to 10 ms) is enough: a poll is a third of the
//! time of a callback that schedules itself.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use plait_loop::poller::Poller;
use plait_sys::clock::Instant;
use plait_sys::epoll::Event;
use pyo3::prelude::*;

use super::core::{Core, Loop, Owner, Ready, keep_first};
use super::listeners;
use super::waiter;
use crate::error::Error;
use crate::handover;
use crate::hot::handle::Handle;
use crate::hot::snapshot;

/// How long a turn with nothing to do waits for something.
#[derive(Clone, Copy)]
pub(super) struct Wait {
    /// At most so long; None is without end.
    pub(super) limit: Option<Duration>,
    /// Not at all when nothing keeps the loop alive. Another thread may come
    /// all the same, which is what other waits are for.
    pub(super) if_alive: bool,
}

/// What a poll brought that is for calls outside of the lock.
pub(super) struct Polled {
    /// The futures of those who waited for a socket.
    pub(super) woken: Vec<Py<PyAny>>,
    /// Those who listen no more: to a number that is another descriptor's by
    /// now, say.
    pub(super) gone: Vec<Owner>,
    /// What a signal handler raised meanwhile, or that there is no loop to go
    /// on with.
    outcome: PyResult<()>,
    /// What could not be asked of the kernel, for one descriptor each.
    failed: Vec<Error>,
}

impl Default for Polled {
    fn default() -> Self {
        Self { woken: Vec::new(), gone: Vec::new(), outcome: Ok(()), failed: Vec::new() }
    }
}

impl Wait {
    pub(super) const FOREVER: Self = Self { limit: None, if_alive: false };
}

impl Loop {
    /// How long this turn may sleep. Cancelled timers that it comes across
    /// move to `removed`.
    pub(super) fn sleep_time(
        &self,
        py: Python<'_>,
        core: &mut Core,
        wait: Wait,
        removed: &mut Vec<Handle>,
    ) -> Option<Duration> {
        core.timers.settle(|timer| timer.track(py));
        core.timers.compact(self.dead_timers(), |timer| timer.is_cancelled(py), removed);
        if !core.ready.is_empty()
            || self.stopping.load(SeqCst)
            || core.phases.has_work(py)
            || self.has_letters(py, true)
        {
            return Some(Duration::ZERO);
        }
        let deadline = core.timers.next_deadline(|timer| timer.is_cancelled(py), removed);
        if wait.if_alive && !self.is_alive_in(py, core) {
            return Some(Duration::ZERO);
        }
        let due = deadline.map(|deadline| deadline.saturating_since(self.timer_now()));
        due.into_iter().chain(wait.limit).min()
    }

    /// Sleeps until something is ready, and notes what.
    fn poll(&self, py: Python<'_>, wait: Wait, events: &mut Vec<Event>) -> PyResult<Polled> {
        let mut removed = Vec::new();
        let mut polls = true;
        let (poller, timeout) = {
            let mut core = self.core(py);
            let poller = core.poller.clone().ok_or_else(|| core.gone())?;
            let mut timeout = self.sleep_time(py, &mut core, wait, &mut removed);
            if timeout != Some(Duration::ZERO) {
                poller.lie_down();
                // These come without the interpreter.
                if self.has_letters(py, true) {
                    poller.get_up();
                    timeout = Some(Duration::ZERO);
                }
            } else if core.fds.watched() <= core.inner && !self.stopping.load(SeqCst) {
                let tick = Instant::last_tick();
                polls = core.polled != tick;
                core.polled = tick;
            }
            (poller, timeout)
        };
        for timer in &removed {
            timer.left_heap(py);
        }
        let waits = timeout != Some(Duration::ZERO);
        if waits || !removed.is_empty() {
            // May run Python code, and that may schedule: then the bell is
            // rung and the wait ends at once.
            drop(removed);
            if waits {
                snapshot::forget(py);
            }
            // It may also have closed the loop, or be in the child of a fork
            // now: the descriptor is nobody's, or the parent's.
            self.core(py).alive_or_gone()?;
        }
        let polled = if !polls {
            Ok(())
        } else if waits {
            let sleep = self.begin_sleep(py);
            let polled = py.detach(|| {
                handover::released();
                poller.wait(events, timeout)
            });
            if let Some(sleep) = sleep {
                sleep.end();
            }
            poller.get_up();
            polled
        } else {
            poller.wait(events, timeout)
        };
        polled.map_err(Error::from)?;
        // A turn in Rust runs no bytecode: nobody else looks for signals. What
        // the kernel told is told once, so a handler that raises does not
        // make it unheard.
        let signals = py.check_signals();
        let mut told = Polled::default();
        let enqueued = self.enqueue(py, &poller, events, &mut told);
        told.outcome = signals.and(enqueued);
        Ok(told)
    }

    /// Puts what became ready and what became due into the queue, and what to
    /// call for it into `told`. What fails for one descriptor fails for that
    /// alone: the kernel tells the others' news only once.
    fn enqueue(&self, py: Python<'_>, poller: &Poller, events: &[Event], told: &mut Polled) -> PyResult<()> {
        let mut stray = false;
        let mut core = self.core(py);
        let core = &mut *core;
        // A handler of a signal may have closed the loop, or be the child of
        // a fork: then what was polled is nobody's.
        if core.poller.is_none() {
            return Err(core.gone());
        }
        for event in events {
            if Poller::is_bell(event) {
                told.failed.extend(poller.silence().err().map(Error::from));
                continue;
            }
            match core.fds.resolve(event.token) {
                Some(Owner::Watch(_)) => {
                    let outcome = listeners::on_event(py, core, poller, event, told);
                    told.failed.extend(outcome.err());
                }
                Some(Owner::Transport(endpoint)) => core.ready.push_back(Ready::Io {
                    endpoint: endpoint.clone_ref(py),
                    readable: event.readable,
                    writable: event.writable,
                }),
                // Nothing ran since the kernel told of it: it tells of a
                // number that was closed, and will each time.
                None => stray = true,
            }
        }
        if stray {
            // That it fails for want of descriptors or memory is no reason to
            // end the run: the stray event comes again, and with it the next
            // attempt.
            let _ = poller.rebuild(&mut core.fds, &mut told.gone);
        }
        if !core.timers.is_empty() {
            core.timers.settle(|timer| timer.track(py));
            let now = self.timer_now();
            while let Some(timer) = core.timers.pop_due(now) {
                timer.left_heap(py);
                core.ready.push_back(Ready::Call(timer));
            }
        }
        Ok(())
    }

    /// Wakes who waited for a socket. Their tasks join the queue of this turn:
    /// nothing of theirs has run yet. All are woken, whatever one of them
    /// raises: nobody tells them again.
    fn wake(slf: &Bound<'_, Self>, futures: Vec<Py<PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let mut outcome = Ok(());
        for future in futures {
            let future = future.bind(py);
            if let Err(error) = waiter::wake_unless_done(future) {
                let reported = Self::report(slf, error, |context| {
                    context.set_item("message", "Exception in waking who waits for a socket")?;
                    context.set_item("future", future)
                });
                outcome = keep_first(py, outcome, reported);
            }
        }
        outcome
    }

    /// Whether the queue is all that this turn has to look at: something is
    /// in it, no timer is set, and the kernel was asked in this tick. Signals
    /// wait for the next poll too, or for a callback's first instruction.
    pub(super) fn has_only_queue(&self, py: Python<'_>) -> bool {
        let core = self.core(py);
        !core.ready.is_empty()
            && core.timers.is_empty()
            && core.poller.is_some()
            && core.fds.watched() <= core.inner
            && !self.phased()
            && !self.has_letters(py, false)
            && !self.stopping.load(SeqCst)
            && core.polled == Instant::last_tick()
    }

    /// Looks at all that may have happened outside, waits for it if there is
    /// nothing else to do, and puts what came of it into the queue.
    pub(super) fn gather(slf: &Bound<'_, Self>, wait: Wait) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.phased() {
            Self::prepare(slf)?;
        }
        Self::compare_clocks(slf)?;
        this.look_for_letters(py, wait);
        // Taken, not borrowed: a callback may turn the loop itself.
        let mut events = std::mem::take(&mut *this.events.borrow(py));
        let polled = this.poll(py, wait, &mut events);
        events.clear();
        *this.events.borrow(py) = events;
        let Polled { woken, gone, mut outcome, failed } = polled?;
        for owner in gone {
            owner.dismiss(py);
        }
        for error in failed {
            outcome = keep_first(py, outcome, Err(error.into()));
        }
        outcome = keep_first(py, outcome, Self::wake(slf, woken));
        keep_first(py, outcome, Self::open_letters(slf))?;
        if this.phased() {
            Self::check(slf)?;
        }
        Ok(())
    }
}

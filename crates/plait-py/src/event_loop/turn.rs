//! One turn: wait for what is ready, then run what was ready before.
//!
//! The order is asyncio's, and programs lean on it: events first, then timers
//! join the queue behind what waits already, and of the queue exactly what
//! was in it at that moment runs. What a callback adds waits for the next
//! turn, so that no callback can starve the sockets. Between these steps run
//! the callbacks of the turn's phases (`phases`), if there are any.
//!
//! The interpreter lock is released only for a wait that really blocks.
//!
//! A turn with work ready polls without waiting. While nothing but the loop's
//! own descriptors is watched, the kernel has only signals to tell of, and one
//! poll a tick of its clock (1 to 10 ms) is enough: a poll is a third of the
//! time of a callback that schedules itself.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use plait_sys::clock::Instant;
use plait_sys::epoll::Event;
use pyo3::prelude::*;

use super::core::{BELL, Core, Loop, Owner, Poller, Ready, keep_first};
use super::endpoint::Endpoint;
use super::io_watcher::IoWatcher;
use super::listeners;
use super::waiter;
use crate::error::Error;
use crate::hot::handle::Handle;
use crate::hot::{handle_text, snapshot};

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
        if !core.ready.is_empty() || self.stopping.load(SeqCst) || core.phases.has_work(py) {
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
            let timeout = self.sleep_time(py, &mut core, wait, &mut removed);
            if timeout != Some(Duration::ZERO) {
                poller.bell.lie_down();
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
            let polled = py.detach(|| poller.epoll.wait(events, timeout));
            poller.bell.get_up();
            polled
        } else {
            poller.epoll.wait(events, timeout)
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
            if event.token == BELL {
                told.failed.extend(poller.bell.drain().err().map(Error::from));
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
            core.expel_strays(poller, &mut told.gone);
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

    fn run_handle(slf: &Bound<'_, Self>, handle: &Handle, kind: &str) -> PyResult<()> {
        let py = slf.py();
        let Err(error) = handle.run(py) else { return Ok(()) };
        Self::report(slf, error, |context| {
            let call = handle_text::describe(py, handle)?;
            context.set_item("message", format!("Exception in {kind} {call}"))?;
            context.set_item("handle", handle.bind(py))?;
            if let Some(stack) = handle.source_traceback(py) {
                context.set_item("source_traceback", stack)?;
            }
            Ok(())
        })
    }

    /// As `run_handle`, and tells if it held the loop up for too long.
    fn run_handle_timed(slf: &Bound<'_, Self>, handle: &Handle, kind: &str) -> PyResult<()> {
        let started = Instant::now();
        slf.setattr("_current_handle", handle.bind(slf.py()))?;
        let outcome = Self::run_handle(slf, handle, kind);
        slf.setattr("_current_handle", slf.py().None())?;
        let seconds = Instant::now().saturating_since(started).as_secs_f64();
        if outcome.is_ok() && !handle.is_cancelled(slf.py()) {
            slf.call_method1("_report_slow_callback", (handle.bind(slf.py()), seconds))?;
        }
        outcome
    }

    /// Calls what `handle` holds, unless that is cancelled. `kind` is what a
    /// report of its exception calls it.
    pub(super) fn run_call(slf: &Bound<'_, Self>, handle: &Handle, kind: &str) -> PyResult<()> {
        if handle.is_cancelled(slf.py()) {
            Ok(())
        } else if slf.get().debug() {
            Self::run_handle_timed(slf, handle, kind)
        } else {
            Self::run_handle(slf, handle, kind)
        }
    }

    fn run_item(slf: &Bound<'_, Self>, item: Ready) -> PyResult<()> {
        match item {
            Ready::Call(handle) => {
                let outcome = Self::run_call(slf, &handle, "callback");
                handle.release(slf.py());
                outcome
            }
            Ready::Watcher(watcher) => IoWatcher::run(watcher.bind(slf.py())),
            Ready::Begin(endpoint) => Self::run_endpoint(slf, &endpoint, |py| endpoint.begin(py)),
            Ready::Io { endpoint, readable, writable } => {
                Self::run_endpoint(slf, &endpoint, |py| endpoint.on_ready(py, readable, writable))
            }
            Ready::End(endpoint) => Self::run_endpoint(slf, &endpoint, |py| endpoint.end(py)),
        }
    }

    /// Has a transport do what is due, and in debug mode tells if its protocol
    /// held the loop up for too long.
    fn run_endpoint(
        slf: &Bound<'_, Self>,
        endpoint: &Endpoint,
        act: impl FnOnce(Python<'_>) -> PyResult<()>,
    ) -> PyResult<()> {
        let py = slf.py();
        if !slf.get().debug() {
            return Self::reported(slf, endpoint, act(py));
        }
        let started = Instant::now();
        Self::reported(slf, endpoint, act(py))?;
        let seconds = Instant::now().saturating_since(started).as_secs_f64();
        slf.call_method1("_report_slow_transport", (endpoint.object(py), seconds))?;
        Ok(())
    }

    /// What one transport could not do must not end the run of all: a socket
    /// whose peer has gone may refuse to be shut down.
    fn reported(slf: &Bound<'_, Self>, endpoint: &Endpoint, outcome: PyResult<()>) -> PyResult<()> {
        let Err(error) = outcome else { return Ok(()) };
        Self::report(slf, error, |context| {
            context.set_item("message", "Exception in callback of a transport")?;
            context.set_item("transport", endpoint.object(slf.py()))
        })
    }

    /// Whether the queue is all that this turn has to look at: something is
    /// in it, no timer is set, and the kernel was asked in this tick. Signals
    /// wait for the next poll too, or for a callback's first instruction.
    fn has_only_queue(&self, py: Python<'_>) -> bool {
        let core = self.core(py);
        !core.ready.is_empty()
            && core.timers.is_empty()
            && core.poller.is_some()
            && core.fds.watched() <= core.inner
            && !self.phased()
            && !self.stopping.load(SeqCst)
            && core.polled == Instant::last_tick()
    }

    /// Looks at all that may have happened outside, waits for it if there is
    /// nothing else to do, and puts what came of it into the queue.
    fn gather(slf: &Bound<'_, Self>, wait: Wait) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.phased() {
            Self::prepare(slf)?;
        }
        Self::compare_clocks(slf)?;
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
        keep_first(py, outcome, Self::wake(slf, woken))?;
        if this.phased() {
            Self::check(slf)?;
        }
        Ok(())
    }

    /// Turns the loop once: waits until something is ready or due, then runs
    /// what is in the queue.
    pub(super) fn turn_once(slf: &Bound<'_, Self>, wait: Wait) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if !this.has_only_queue(py) {
            Self::gather(slf, wait)?;
        }
        let count = this.core(py).ready.len();
        for _ in 0..count {
            let item = this.core(py).ready.pop_front();
            // Empty early if a callback turned the loop, or closed it.
            let Some(item) = item else { break };
            Self::run_item(slf, item)?;
        }
        if this.phased() {
            Self::finish(slf, count == 0)?;
        }
        Ok(())
    }
}

impl Loop {
    /// Turns the loop until it is told to stop, or `goes_on` denies it.
    pub(super) fn turn_while(slf: &Bound<'_, Self>, wait: Wait, goes_on: impl Fn() -> bool) -> PyResult<()> {
        let this = slf.get();
        let _run = Run { this, py: slf.py(), ran: this.set_runs(slf.py(), true) };
        let mut outcome = Ok(());
        while outcome.is_ok() && goes_on() {
            outcome = Self::turn_once(slf, wait);
            if this.stopping.load(SeqCst) {
                break;
            }
        }
        outcome
    }
}

/// While it lives, the loop runs; a panic that unwinds ends the run too.
struct Run<'a, 'py> {
    this: &'a Loop,
    py: Python<'py>,
    /// Whether it did before.
    ran: bool,
}

impl Drop for Run<'_, '_> {
    fn drop(&mut self) {
        self.this.set_runs(self.py, self.ran);
        snapshot::forget(self.py);
    }
}

#[pymethods]
impl Loop {
    /// Turns the loop once, and waits without end for something to do.
    ///
    /// `SystemExit` and `KeyboardInterrupt` pass through; the queue keeps
    /// what had not run.
    fn _run_once(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::turn_once(slf, Wait::FOREVER)
    }

    /// Turns the loop until it is told to stop.
    fn _run(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::turn_while(slf, Wait::FOREVER, || true)
    }
}

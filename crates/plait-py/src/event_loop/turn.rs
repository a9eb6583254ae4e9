//! One turn: wait for what is ready, then run what was ready before.
//!
//! The order is asyncio's, and programs lean on it: events first, then timers
//! join the queue behind what waits already (`poll`), and of the queue exactly
//! what was in it at that moment runs. What a callback adds waits for the next
//! turn, so that no callback can starve the sockets. Between these steps run
//! the callbacks of the turn's phases (`phases`), if there are any.

use std::sync::atomic::Ordering::SeqCst;

use plait_sys::clock::Instant;
use pyo3::prelude::*;

use super::core::{Loop, Ready};
use super::endpoint::Endpoint;
use super::io_watcher::IoWatcher;
use super::poll::Wait;
use crate::hot::handle::Handle;
use crate::hot::{handle_text, snapshot};

impl Loop {
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

//! `call_soon` and its family, and which of their handles the collector knows.
//!
//! A loop that runs is no garbage, and neither is what waits in its queue. So
//! the collector hears of a handle only if that outlives its turn: a timer
//! that joins the heap, a handle that somebody else keeps, all of them when
//! the loop comes to rest.

use std::sync::atomic::Ordering::Relaxed;

use plait_sys::clock::Instant;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::core::{Loop, Ready};
use crate::hot::handle::Handle;
use crate::hot::method::Call;
use crate::hot::watched;

impl Loop {
    /// A timer that this loop has is cancelled: gives the loop's reference up,
    /// or counts it as dead.
    pub(crate) fn timer_cancelled(&self, py: Python<'_>, timer: &Handle) -> Option<Handle> {
        let is_it = |other: &Handle| other.bind(py).is(timer.bind(py));
        let ours = self.core(py).timers.take_back(timer.place(py), is_it);
        if ours.is_none() {
            self.count_dead(1);
        }
        ours
    }

    /// Whether a new task is made without more ado: no factory, not in debug
    /// mode, and open.
    pub(crate) fn makes_plain_tasks(&self, slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        Ok(!self.debug()
            && self.core(py).poller.is_some()
            && slf.getattr(intern!(py, "_task_factory"))?.is_none())
    }

    /// The keywords of a plain future of this loop, which must not be altered:
    /// the same dictionary each time while the loop runs.
    pub(crate) fn future_options<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let this = slf.get();
        if let Some(options) = &*this.future_options.borrow(py) {
            return Ok(options.bind(py).clone());
        }
        let options = PyDict::new(py);
        options.set_item(intern!(py, "loop"), slf)?;
        if this.runs() {
            let before = this.future_options.borrow(py).replace(options.clone().unbind());
            drop(before);
        }
        Ok(options)
    }

    /// Whether it is being run, so that it is no garbage.
    fn runs(&self) -> bool {
        // Relaxed: the interpreter lock orders it.
        self.runs.load(Relaxed)
    }

    /// Says whether it is being run from now on, and tells whether it was. At
    /// rest it may be garbage, so the collector must know all that it holds.
    pub(super) fn set_runs(&self, py: Python<'_>, runs: bool) -> bool {
        let before = self.runs.swap(runs, Relaxed);
        if !runs {
            let options = self.future_options.borrow(py).take();
            drop(options);
            let mut core = self.core(py);
            core.timers.settle(|timer| timer.track(py));
            for item in &core.ready {
                if let Ready::Call(handle) = item {
                    handle.track(py);
                }
            }
        }
        before
    }

    /// The checks of debug mode, which asyncio makes in the same places.
    pub(super) fn check_debug(
        slf: &Bound<'_, Self>,
        call: &Call<'_, '_>,
        method: &str,
        here: bool,
    ) -> PyResult<()> {
        if slf.get().debug() {
            if here {
                slf.call_method0("_check_thread")?;
            }
            slf.call_method1("_check_callback", (call.callback_object(slf.py()), method))?;
        }
        Ok(())
    }

    fn schedule(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> PyResult<Handle> {
        let py = slf.py();
        let this = slf.get();
        let handle = Handle::untracked(py, call, this.debug())?;
        if !this.runs() {
            handle.track(py);
        }
        let item = Ready::Call(handle.clone_ref(py));
        let refused = this.core(py).push(item);
        refused.map(|()| handle)
    }

    /// `call_soon`.
    pub(crate) fn soon(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> PyResult<Handle> {
        Self::check_debug(slf, call, "call_soon", true)?;
        Self::schedule(slf, call)
    }

    /// `call_soon_threadsafe`.
    pub(crate) fn soon_from_any_thread(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> PyResult<Handle> {
        Self::check_debug(slf, call, "call_soon_threadsafe", false)?;
        watched::show(call.callback_object(slf.py()))?;
        Self::schedule(slf, call)
    }

    /// `call_later`.
    pub(crate) fn later(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> PyResult<Handle> {
        let delay = call.leading().filter(|delay| !delay.is_none());
        let Some(delay) = delay else { return Err(PyTypeError::new_err("delay must not be None")) };
        Self::check_debug(slf, call, "call_later", true)?;
        let now = Self::now(slf)?;
        Self::schedule_at(slf, now + delay.extract::<f64>()?, call)
    }

    /// `call_at`.
    pub(crate) fn at(slf: &Bound<'_, Self>, call: &Call<'_, '_>) -> PyResult<Handle> {
        let when = call.leading().filter(|when| !when.is_none());
        let Some(when) = when else { return Err(PyTypeError::new_err("when cannot be None")) };
        Self::check_debug(slf, call, "call_at", true)?;
        Self::schedule_at(slf, when.extract()?, call)
    }

    fn schedule_at(slf: &Bound<'_, Self>, when: f64, call: &Call<'_, '_>) -> PyResult<Handle> {
        let py = slf.py();
        let this = slf.get();
        let timer = Handle::timer(slf, when, call, this.debug())?;
        if !this.runs() {
            timer.track(py);
        }
        let entry = timer.clone_ref(py);
        let when = Instant::from_secs_f64(when);
        let mut core = this.core(py);
        // Only a loop that sleeps already can have missed it.
        let rung = core.ring_or_gone();
        if rung.is_ok() {
            timer.set_place(py, core.timers.push(when, entry));
        }
        drop(core);
        if rung.is_err() {
            timer.left_heap(py);
        }
        rung.map(|()| timer)
    }
}

//! `IoWatcher`: one of several who hear of the same descriptor, started and
//! stopped as often as they like, as gevent's sockets do for each call that
//! blocks.
//!
//! An event is noted in the watcher and the watcher queued, once. Whoever
//! stops it takes the note back, so that what is in the queue calls nobody.

use std::os::fd::RawFd;

use plait_sys::epoll::Interest;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::core::Loop;
use super::listeners::{self, Displaced};
use super::watch;
use crate::hot::cell::GilCell;
use crate::hot::handle::Handle;
use crate::hot::method::Call;

/// `selectors.EVENT_READ` and `selectors.EVENT_WRITE`.
const READ: u8 = 1;
const WRITE: u8 = 2;

struct State {
    /// What is called; of a watcher that is stopped, nothing.
    call: Option<Handle>,
    /// It wants to know what happened.
    pass_events: bool,
    /// What happened and was not told yet.
    noted: Interest,
    /// Whether it keeps the loop alive while it is started.
    keeps: bool,
}

/// Calls back when a descriptor can be read or written, beside all others who
/// hear of the same descriptor.
#[pyclass(frozen, module = "plait._native")]
pub(crate) struct IoWatcher {
    event_loop: Py<Loop>,
    fd: RawFd,
    interest: Interest,
    state: GilCell<State>,
}

impl IoWatcher {
    pub(super) fn new(event_loop: Py<Loop>, fd: RawFd, events: u8, keeps: bool) -> PyResult<Self> {
        if events == 0 || events & !(READ | WRITE) != 0 {
            return Err(PyValueError::new_err(format!(
                "events must be selectors.EVENT_READ (1), EVENT_WRITE (2) or both (3), not {events}"
            )));
        }
        let interest = Interest { read: events & READ != 0, write: events & WRITE != 0 };
        let state = State { call: None, pass_events: false, noted: Interest::NONE, keeps };
        Ok(Self { event_loop, fd, interest, state: GilCell::new(state) })
    }

    /// Notes what happened; says whether it is to be queued.
    pub(super) fn tell(&self, py: Python<'_>, told: Interest) -> bool {
        let mut state = self.state.borrow(py);
        let first = state.noted.is_none();
        state.noted.read |= told.read;
        state.noted.write |= told.write;
        first
    }

    /// Its place is gone: it is stopped.
    pub(super) fn retire(&self, py: Python<'_>) {
        let (call, keeps) = {
            let mut state = self.state.borrow(py);
            state.noted = Interest::NONE;
            (state.call.take(), state.keeps)
        };
        let Some(call) = call else { return };
        self.event_loop.get().core(py).count_watcher(-1, keeps);
        call.cancel(py);
    }

    /// Its turn in the queue.
    pub(super) fn run(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let (call, told, pass_events) = {
            let mut state = this.state.borrow(py);
            let told = std::mem::take(&mut state.noted);
            let Some(call) = &state.call else { return Ok(()) };
            if told.is_none() {
                return Ok(());
            }
            (call.clone_ref(py), told, state.pass_events)
        };
        let event_loop = this.event_loop.bind(py);
        if !pass_events {
            return Loop::run_call(event_loop, &call, "callback");
        }
        let Some((callback, args)) = call.call(py)? else { return Ok(()) };
        let mut all = vec![bits(told).into_pyobject(py)?.into_any()];
        all.extend(args.iter());
        let args = PyTuple::new(py, all)?;
        let context = call.context(py)?.map(|context| context.into_bound(py));
        let call = Handle::new(py, &Call::new(&callback, &args, context.as_ref()), false)?;
        Loop::run_call(event_loop, &call, "callback")
    }
}

fn bits(interest: Interest) -> u8 {
    u8::from(interest.read) * READ + u8::from(interest.write) * WRITE
}

#[pymethods]
impl IoWatcher {
    /// Has `callback(*args)` called whenever the descriptor is ready, with
    /// what it is ready for as first argument if `pass_events`. A watcher that
    /// was started already goes on with the new callback.
    #[pyo3(signature = (callback, *args, pass_events=false, context=None))]
    fn start(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        pass_events: bool,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let event_loop = this.event_loop.bind(py);
        if !callback.is_callable() {
            let callback = callback.repr()?;
            return Err(PyTypeError::new_err(format!("callback must be callable, not {callback}")));
        }
        let call = Call::new(callback, args, context);
        Loop::check_debug(event_loop, &call, "start", true)?;
        watch::refuse_transport(event_loop, this.fd)?;
        let call = Handle::new(py, &call, event_loop.get().debug())?;
        let (before, keeps) = {
            let mut state = this.state.borrow(py);
            state.pass_events = pass_events;
            state.noted = Interest::NONE;
            (state.call.replace(call), state.keeps)
        };
        let mut displaced = Displaced::default();
        let started = {
            let mut core = event_loop.get().core(py);
            if before.is_none() {
                core.count_watcher(1, keeps);
            }
            listeners::enlist(&mut core, this.fd, slf, this.interest, &mut displaced)
        };
        displaced.dismiss(py);
        if started.is_err() {
            this.retire(py);
        }
        started
    }

    /// Stops it. Nothing that has happened is told any more.
    fn stop(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let mut displaced = Displaced::default();
        let stopped = listeners::delist(&mut this.event_loop.get().core(py), this.fd, slf, &mut displaced);
        displaced.dismiss(py);
        this.retire(py);
        stopped
    }

    /// The loop that it belongs to.
    #[getter]
    fn r#loop(&self, py: Python<'_>) -> Py<Loop> {
        self.event_loop.clone_ref(py)
    }

    /// The descriptor's number.
    #[getter]
    fn fd(&self) -> RawFd {
        self.fd
    }

    /// What it waits for: EVENT_READ, EVENT_WRITE or both.
    #[getter]
    fn events(&self) -> u8 {
        bits(self.interest)
    }

    /// Whether it is started.
    #[getter]
    fn active(&self, py: Python<'_>) -> bool {
        self.state.borrow(py).call.is_some()
    }

    /// Whether something has happened that its callback was not called for.
    #[getter]
    fn pending(&self, py: Python<'_>) -> bool {
        !self.state.borrow(py).noted.is_none()
    }

    /// Whether it keeps the loop alive while it is started.
    #[getter(r#ref)]
    fn keeps_alive(&self, py: Python<'_>) -> bool {
        self.state.borrow(py).keeps
    }

    #[setter(r#ref)]
    fn set_keeps_alive(&self, py: Python<'_>, keeps: bool) {
        let (before, active) = {
            let mut state = self.state.borrow(py);
            (std::mem::replace(&mut state.keeps, keeps), state.call.is_some())
        };
        if active && before != keeps {
            let mut core = self.event_loop.get().core(py);
            core.count_watcher(-1, before);
            core.count_watcher(1, keeps);
        }
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = if self.active(py) { "active" } else { "stopped" };
        format!("<IoWatcher fd={} events={} {state}>", self.fd, bits(self.interest))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        let Some(state) = self.state.visit(&visit) else { return Ok(()) };
        state.call.as_ref().map_or(Ok(()), |call| call.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        let call = self.state.borrow(py).call.take();
        drop(call);
    }
}

#[pymethods]
impl Loop {
    /// Makes a watcher of `fd` for `events`, to be started.
    #[pyo3(signature = (fd, events, *, r#ref=true))]
    fn io_watcher(
        slf: &Bound<'_, Self>,
        fd: &Bound<'_, PyAny>,
        events: u8,
        r#ref: bool,
    ) -> PyResult<IoWatcher> {
        IoWatcher::new(slf.clone().unbind(), watch::fileno(fd)?, events, r#ref)
    }
}

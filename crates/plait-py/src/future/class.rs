//! The native half of `plait.Future`.

use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use plait_pool::completion::{State, Waited};
use plait_shm::LOOK;
use plait_sys::clock::Instant;
use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTimeoutError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use super::engine::{Cancelled, Work};
use super::face::{Face, call_back, invalid_state};
use super::timeout::parse_timeout;
use super::waker::{self, Waker};
use super::{Fate, Outcome, PoolNumber};
use crate::error::Error;
use crate::fork::Home;
use crate::handover;
use crate::hot::cell::GilCell;

/// The native half of `plait.Future`; see there.
#[pyclass(frozen, subclass, module = "plait._native")]
pub(crate) struct Future {
    pub(super) fate: Arc<Fate>,
    /// Where its task lives; empty if anybody may end it.
    home: OnceLock<Home>,
    /// Who has its task, if that is somebody who can give it back.
    pub(super) work: OnceLock<Work>,
    /// Whether `set_running_or_notify_cancel` has reported the cancellation.
    reported: AtomicBool,
    pub(super) face: GilCell<Face>,
}

impl Future {
    pub(crate) fn fate(&self) -> &Arc<Fate> {
        &self.fate
    }

    /// Says that a task of this process will end it, and nobody else.
    pub(super) fn live_in(&self, home: Home) {
        // Set once, by the engine that has just made it.
        let _ = self.home.set(home);
    }

    /// Refuses what cannot work in a forked child: the task ends in the
    /// parent, and the parent's threads may have held the locks of the fate.
    pub(super) fn check_home(&self) -> PyResult<()> {
        match self.home.get() {
            Some(home) if !home.is_here() && !self.fate.state().is_final() => Err(PyRuntimeError::new_err(
                "this future belongs to the process that this one was forked from: \
                 its task cannot be waited for or cancelled here, submit it anew",
            )),
            _ => Ok(()),
        }
    }

    /// Waits for the end.
    pub(super) fn wait(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let timeout = timeout.map(parse_timeout).transpose()?;
        let fate = &slf.get().fate;
        if fate.state().is_final() {
            return Ok(());
        }
        slf.get().check_home()?;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let py = slf.py();
        let this = slf.get();
        let looks = timeout.is_none_or(|timeout| timeout > LOOK);
        loop {
            let waited = py.detach(|| match looks.then(|| this.look()) {
                Some(Some(true)) => Ok(Waited::Done),
                Some(None) => {
                    handover::wait(|| fate.sight(), || fate.wait(deadline)).unwrap_or(Ok(Waited::Done))
                }
                Some(Some(false)) | None => {
                    handover::released();
                    fate.wait(deadline)
                }
            });
            match waited.map_err(Error::from)? {
                Waited::Done => return Ok(()),
                Waited::Interrupted => py.check_signals()?,
                Waited::TimedOut => {
                    let seconds = timeout.unwrap_or_default().as_secs_f64();
                    return Err(PyTimeoutError::new_err(format!(
                        "the task has not ended within {seconds} s"
                    )));
                }
            }
        }
    }

    /// Ends it as cancelled, if it has not ended. Whether it is cancelled.
    fn end_cancelled(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let fate = &slf.get().fate;
        match fate.try_cancel() {
            Some(wakers) => waker::deliver(slf.py(), wakers).map(|()| true),
            None => Ok(fate.state() == State::Cancelled),
        }
    }

    /// Ends it with `outcome`, in the name of a third party.
    fn set(slf: &Bound<'_, Self>, outcome: Outcome) -> PyResult<()> {
        Self::set_in(slf, PoolNumber::NONE, outcome)
    }

    /// As `set`, of a task of that pool.
    fn set_in(slf: &Bound<'_, Self>, pool: PoolNumber, outcome: Outcome) -> PyResult<()> {
        let py = slf.py();
        slf.get().check_home()?;
        match slf.get().fate.finish_in(pool, outcome) {
            Ok(wakers) => waker::deliver(py, wakers),
            Err(_) => Err(invalid_state(slf)),
        }
    }
}

#[pymethods]
impl Future {
    /// Takes any arguments: those of a subclass's `__init__` pass through here.
    #[new]
    #[pyo3(signature = (*args, **_kwargs), text_signature = "()")]
    fn new(args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            fate: Arc::new(Fate::new(args.py())),
            home: OnceLock::new(),
            work: OnceLock::new(),
            reported: AtomicBool::new(false),
            face: GilCell::default(),
        }
    }

    /// Nothing to do; it keeps `concurrent.futures.Future.__init__` from
    /// running, which would make a condition for every future.
    fn __init__(&self) {}

    /// Withdraws the task if it has not begun; one that runs in a process is
    /// stopped, and ends with plait.Killed.
    ///
    /// Returns whether it is cancelled or being stopped.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        slf.get().check_home()?;
        match slf.get().cancel_work()? {
            Cancelled::TakenBack => {}
            Cancelled::Stopping => return Ok(true),
            Cancelled::Refused => return Ok(false),
        }
        Self::end_cancelled(slf)
    }

    /// As `cancel` of the standard library: withdraws the task if it has not
    /// begun, and lets it run if it has.
    #[pyo3(name = "_withdraw")]
    fn withdraw(slf: &Bound<'_, Self>) -> PyResult<bool> {
        slf.get().check_home()?;
        if slf.get().withdraw_work()? { Self::end_cancelled(slf) } else { Ok(false) }
    }

    /// Whether the task was cancelled before it began.
    fn cancelled(&self) -> bool {
        self.fate.state() == State::Cancelled
    }

    /// Whether the task has begun and not ended.
    fn running(&self) -> bool {
        self.state() == State::Running
    }

    /// Whether the task has ended or was cancelled.
    fn done(&self) -> bool {
        self.fate.state().is_final()
    }

    /// Waits for the end and returns the value of the task, or raises what it
    /// raised.
    ///
    /// `timeout` is in seconds; None waits without end. Raises TimeoutError if
    /// the task has not ended then, and CancelledError if it was cancelled.
    #[pyo3(signature = (timeout = None))]
    fn result(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, timeout)?;
        slf.get().asked_outcome(slf.py())?.result(slf.py())
    }

    /// Waits as `result` does and returns what the task raised, or None.
    #[pyo3(signature = (timeout = None))]
    fn exception(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Py<PyAny>>> {
        Self::wait(slf, timeout)?;
        Ok(slf.get().asked_outcome(slf.py())?.get(slf.py())?.err())
    }

    /// Has `fn(future)` called when the task has ended; at once if it has.
    ///
    /// Callbacks come in the order in which they were added. What they raise is
    /// logged.
    fn add_done_callback(slf: &Bound<'_, Self>, r#fn: Py<PyAny>) -> PyResult<()> {
        slf.get().check_home()?;
        let mut face = slf.get().face.borrow(slf.py());
        if Self::subscribe(slf, &mut face) {
            face.callbacks.push(r#fn);
            return Ok(());
        }
        drop(face);
        call_back(slf, r#fn.bind(slf.py()))
    }

    /// For executors: says that the task begins. False if it was cancelled and
    /// must not.
    fn set_running_or_notify_cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let this = slf.get();
        this.check_home()?;
        if this.fate.try_begin() {
            return Ok(true);
        }
        if this.cancelled() && !this.reported.swap(true, Relaxed) {
            return Ok(false);
        }
        Err(PyRuntimeError::new_err(format!(
            "Future in unexpected state: {} has begun or ended already",
            slf.repr()?
        )))
    }

    /// For executors: ends the task with a value. Raises InvalidStateError if it
    /// has ended.
    fn set_result(slf: &Bound<'_, Self>, result: Py<PyAny>) -> PyResult<()> {
        Self::set(slf, Outcome::value(result))
    }

    /// For executors: ends the task with an exception. Raises InvalidStateError
    /// if it has ended.
    fn set_exception(slf: &Bound<'_, Self>, exception: Bound<'_, PyAny>) -> PyResult<()> {
        let class = exception.cast::<PyType>().ok();
        let raisable = exception.is_instance_of::<PyBaseException>()
            || class.is_some_and(|class| class.is_subclass_of::<PyBaseException>().unwrap_or(false));
        if exception.is_none() {
            // As the standard class: no exception, hence a result of None.
            return Self::set(slf, Outcome::value(exception.unbind()));
        }
        if !raisable {
            return Err(PyTypeError::new_err(format!(
                "an exception is needed, not an object of type {}: {}",
                exception.get_type().name()?,
                exception.repr()?
            )));
        }
        let name = slf.getattr(intern!(slf.py(), "_task_name")).and_then(|name| name.extract()).ok();
        let pool = slf.getattr(intern!(slf.py(), "_task_pool")).and_then(|pool| pool.extract());
        Self::set_in(slf, PoolNumber::of(pool.unwrap_or_default()), Outcome::error_in(name, exception))
    }

    /// Subscribes a coroutine: `waiter`, a future of `event_loop`, is set
    /// when the task has ended. False if it has ended already.
    fn _subscribe(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>, waiter: Py<PyAny>) -> PyResult<bool> {
        slf.get().check_home()?;
        Ok(slf.get().fate.subscribe(Waker::of_coroutine(event_loop, waiter, slf.get())).is_ok())
    }

    /// Takes `_subscribe` back.
    pub(super) fn _unsubscribe(&self, waiter: &Bound<'_, PyAny>) {
        if self.check_home().is_err() {
            // A coroutine of the parent is being thrown away: nobody will tell it.
            return;
        }
        let withdrawn = self.fate.withdraw(|waker| waker.is_for(waiter));
        // Not under the lock of the fate.
        drop(withdrawn);
    }

    /// What the task has written, packed, if that was kept.
    #[getter]
    fn _output<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.fate.outcome()?.output().map(|output| PyBytes::new(py, output))
    }

    #[getter]
    fn _condition(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Ok(Self::standard(slf)?.condition.clone_ref(slf.py()))
    }

    #[getter]
    fn _waiters(slf: &Bound<'_, Self>) -> PyResult<Py<PyList>> {
        Ok(Self::standard(slf)?.waiters.clone_ref(slf.py()))
    }

    #[getter]
    fn _state(slf: &Bound<'_, Self>) -> &'static str {
        Self::shown_state(slf)
    }

    #[getter]
    fn _result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.parts(py)?.0)
    }

    #[getter]
    fn _exception(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.parts(py)?.1)
    }

    /// A copy: what is added to it is not called.
    #[getter]
    fn _done_callbacks(slf: &Bound<'_, Self>) -> Vec<Py<PyAny>> {
        let py = slf.py();
        slf.get().face.borrow(slf.py()).callbacks.iter().map(|callback| callback.clone_ref(py)).collect()
    }

    /// `(done, cancelled, result, exception)`, which asyncio takes in one go
    /// from 3.14 on.
    fn _get_snapshot(&self, py: Python<'_>) -> PyResult<(bool, bool, Py<PyAny>, Py<PyAny>)> {
        let state = self.fate.state();
        let (value, exception) = self.parts(py)?;
        Ok((state.is_final(), state == State::Cancelled, value, exception))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let this = slf.get();
        let state = match this.state() {
            State::Pending => "pending",
            State::Running => "running",
            State::Cancelled => "cancelled",
            State::Finished => "finished",
        };
        // A repr does not decode: it may be that of a very large result.
        let outcome = match this.fate.outcome().and_then(|outcome| outcome.peek(py)) {
            Some(Ok(value)) => format!(" returned {}", value.bind(py).get_type().name()?),
            Some(Err(exception)) => format!(" raised {}", exception.bind(py).get_type().name()?),
            None => String::new(),
        };
        Ok(format!("<{} at {:#x} state={state}{outcome}>", slf.get_type().name()?, slf.as_ptr() as usize))
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static ALIAS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        ALIAS.import(cls.py(), "types", "GenericAlias")?.call1((cls, item))
    }

    fn __reduce_ex__(slf: &Bound<'_, Self>, _protocol: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(PyTypeError::new_err(format!(
            "cannot pickle or copy {}: a future works only in the process that made it; send its result()",
            slf.repr()?
        )))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(face) = self.face.visit(&visit) {
            for callback in &face.callbacks {
                visit.call(callback)?;
            }
            if let Some(standard) = &face.standard {
                standard.traverse(&visit)?;
            }
        }
        // See the head of the module: an engine that holds the fate too will
        // still tell everybody.
        if Arc::strong_count(&self.fate) == 1 {
            if let Some(outcome) = self.fate.outcome() {
                outcome.traverse(&visit)?;
            }
            self.fate
                .with_wakers(|wakers| wakers.iter().try_for_each(|waker| waker.traverse(&visit)))
                .unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let face = mem::take(&mut *self.face.borrow(py));
        drop(face);
        if Arc::strong_count(&self.fate) == 1 {
            drop(self.fate.withdraw_all());
            if let Some(outcome) = self.fate.outcome() {
                outcome.clear(py);
            }
        }
    }
}

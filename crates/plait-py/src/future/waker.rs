//! Those who are told of the end of a task by running Python code.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{PyTraverseError, PyVisit};

use super::class::Future;
use super::notifier;
use crate::event_loop::{Expected, Letter, Loop};

/// Somebody to be told of the end of a task.
pub(crate) enum Waker {
    /// Callbacks, and those who wait in the standard way.
    Publish(Py<Future>),
    /// A coroutine that awaits: a future of its event loop is to be set.
    Loop {
        /// The event loop.
        event_loop: Py<PyAny>,
        /// The loop's own future.
        waiter: Py<PyAny>,
    },
    /// A letter that was refused: there is nobody to be told.
    Refused(Letter),
    /// A loop of ours, which has something to do then.
    Letter(Expected),
}

impl Waker {
    /// Tells them. Runs Python code.
    ///
    /// # Errors
    /// What must not be swallowed: an interrupt, an exit.
    pub(super) fn deliver(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Publish(future) => Future::publish(future.bind(py)),
            Self::Loop { event_loop, waiter } => resume(event_loop.bind(py), waiter.bind(py)),
            Self::Refused(letter) => {
                drop(letter);
                Ok(())
            }
            Self::Letter(expected) => {
                // A closed loop has nobody left to be woken.
                let refused = expected.post();
                drop(refused);
                Ok(())
            }
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Publish(future) => visit.call(future),
            Self::Loop { event_loop, waiter } => {
                visit.call(event_loop)?;
                visit.call(waiter)
            }
            Self::Refused(letter) => letter.traverse(visit),
            Self::Letter(expected) => expected.letter().map_or(Ok(()), |letter| letter.traverse(visit)),
        }
    }
}

impl Waker {
    /// For a coroutine that awaits on `event_loop`, whose future `waiter` is.
    pub(super) fn of_coroutine(event_loop: &Bound<'_, PyAny>, waiter: Py<PyAny>, awaited: &Future) -> Self {
        let ours = event_loop.cast::<Loop>().ok();
        match ours.and_then(|event_loop| event_loop.get().letterbox(event_loop.py())) {
            Some(letterbox) => {
                Self::Letter(Expected::new(letterbox, Letter::Wake(waiter), awaited.awaited()))
            }
            None => Self::Loop { event_loop: event_loop.clone().unbind(), waiter },
        }
    }

    /// Whether it is the one that is to complete `waiter`, a future of a loop.
    pub(super) fn is_for(&self, waiter: &Bound<'_, PyAny>) -> bool {
        match self {
            Self::Publish(_) => false,
            Self::Loop { waiter: own, .. } => own.is(waiter),
            Self::Letter(expected) => expected.letter().is_some_and(|letter| letter.target().is(waiter)),
            Self::Refused(letter) => letter.target().is(waiter),
        }
    }
}

fn resume(event_loop: &Bound<'_, PyAny>, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
    static RESUME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = event_loop.py();
    let resume = RESUME.import(py, "plait._future", "_resume")?;
    let scheduled = event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (resume, waiter));
    let Err(error) = scheduled else { return Ok(()) };
    // A closed loop has nobody left to be woken.
    if event_loop.call_method0(intern!(py, "is_closed"))?.is_truthy()? {
        return Ok(());
    }
    Err(error)
}

/// Has their loop or the notifier tell them. Runs no Python code and needs no
/// interpreter; an engine whose threads call it has called [`notifier::start`]
/// before.
pub(crate) fn wake(wakers: Vec<Waker>) {
    let mut others = Vec::new();
    for waker in wakers {
        match waker {
            Waker::Letter(expected) => {
                // A closed loop has nobody left to be woken; the notifier has
                // the interpreter to let go of the letter.
                if let Err(letter) = expected.post() {
                    others.push(Waker::Refused(letter));
                }
            }
            other => others.push(other),
        }
    }
    notifier::send(others);
}

/// Tells them in this thread, one of an engine's: it has no caller who could
/// be told of an error, so all are logged.
pub(crate) fn wake_here(py: Python<'_>, wakers: Vec<Waker>) {
    for waker in wakers {
        if let Err(error) = waker.deliver(py) {
            report(py, "exception while telling of the end of a task", (), error);
        }
    }
}

/// Tells them in this thread, which has a caller: all are told, then the
/// first error goes up.
pub(crate) fn deliver(py: Python<'_>, wakers: Vec<Waker>) -> PyResult<()> {
    let mut told = Ok(());
    for waker in wakers {
        told = told.and(waker.deliver(py));
    }
    told
}

/// Logs an error of the user's code where the standard library does.
pub(super) fn report<'py>(
    py: Python<'py>,
    message: &str,
    arguments: impl IntoPyObject<'py, Target = pyo3::types::PyTuple, Output = Bound<'py, pyo3::types::PyTuple>>,
    error: PyErr,
) {
    static REPORT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let error = error.into_value(py).into_bound(py);
    let logged = REPORT.import(py, "plait._future", "_report").and_then(|report| {
        let arguments = arguments.into_pyobject(py).map_err(Into::into)?;
        report.call1((message, arguments, &error))
    });
    if let Err(failure) = logged {
        // The logging has failed: both errors still have to be seen.
        PyErr::from_value(error.into_any()).write_unraisable(py, None);
        failure.write_unraisable(py, None);
    }
}

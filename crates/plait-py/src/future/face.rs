//! The side of a future that needs Python: its callbacks, and its standard
//! face (see [`super::standard`]).

use std::mem;
use std::sync::Arc;

use plait_pool::completion::State;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::class::Future;
use super::notifier;
use super::standard::{News, Published, Standard};
use super::waker::{self, Waker};

/// What needs Python when the task has ended.
#[derive(Default)]
pub(super) struct Face {
    /// Whether `Waker::Publish` has been put into the fate.
    pub(super) subscribed: bool,
    pub(super) callbacks: Vec<Py<PyAny>>,
    pub(super) standard: Option<Arc<Standard>>,
}

impl Future {
    /// Puts the future itself among those who are told of the end, if it is
    /// not there. False: the task has ended, and nobody will call `publish`
    /// for what is put into the face now.
    pub(super) fn subscribe(slf: &Bound<'_, Self>, face: &mut Face) -> bool {
        if slf.get().fate.state().is_final() {
            return false;
        }
        if face.subscribed {
            return true;
        }
        face.subscribed = slf.get().fate.subscribe(Waker::Publish(slf.clone().unbind())).is_ok();
        face.subscribed
    }

    /// What the standard class would have made, made now if it is the first time.
    pub(super) fn standard(slf: &Bound<'_, Self>) -> PyResult<Arc<Standard>> {
        let this = slf.get();
        if let Some(standard) = &this.face.borrow(slf.py()).standard {
            return Ok(Arc::clone(standard));
        }
        this.check_home()?;
        let made = Arc::new(Standard::new(slf.py())?);
        let mut face = this.face.borrow(slf.py());
        if let Some(standard) = &face.standard {
            let first = Arc::clone(standard);
            drop(face);
            return Ok(first);
        }
        if !Self::subscribe(slf, &mut face) {
            made.born_published();
        }
        face.standard = Some(Arc::clone(&made));
        drop(face);
        Ok(made)
    }

    /// Tells those who wait in the standard way, then calls the callbacks.
    pub(super) fn publish(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let standard = this.face.borrow(slf.py()).standard.clone();
        let mut told = Ok(());
        if let Some(standard) = standard {
            let news = match this.fate.outcome() {
                None => News::Cancelled,
                Some(outcome) if outcome.is_error() => News::Exception,
                Some(_) => News::Result,
            };
            match standard.publish(slf.as_any(), news) {
                Published::Told(result) => told = result,
                Published::Refused(error) => {
                    notifier::send(vec![Waker::Publish(slf.clone().unbind())]);
                    notifier::start(slf.py())?;
                    return Err(error);
                }
            }
        }
        let callbacks = mem::take(&mut this.face.borrow(slf.py()).callbacks);
        for callback in callbacks {
            told = told.and(call_back(slf, callback.bind(slf.py())));
        }
        told
    }

    /// The state as the standard class names it: the published one.
    pub(super) fn shown_state(slf: &Bound<'_, Self>) -> &'static str {
        let this = slf.get();
        let published = match &this.face.borrow(slf.py()).standard {
            Some(standard) => standard.is_published(),
            None => true,
        };
        match (this.state(), published) {
            (State::Pending, _) => "PENDING",
            (State::Running, _) | (State::Finished, false) => "RUNNING",
            (State::Finished, true) => "FINISHED",
            // The standard's word for "cancelled, nobody has been told yet".
            (State::Cancelled, false) => "CANCELLED",
            (State::Cancelled, true) => "CANCELLED_AND_NOTIFIED",
        }
    }
}

/// Calls one callback. Its `Exception` is logged, as the standard does; an
/// interrupt or exit goes to whoever called.
pub(super) fn call_back(future: &Bound<'_, Future>, callback: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    match callback.call1((future,)) {
        Err(error) if error.is_instance_of::<PyException>(py) => {
            waker::report(py, "exception calling callback for %r", (future,), error);
            Ok(())
        }
        called => called.map(drop),
    }
}

/// What `concurrent.futures` raises for a future that has ended already.
pub(super) fn invalid_state(future: &Bound<'_, Future>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let refused = || -> PyResult<PyErr> {
        let class = CLASS.import(future.py(), "concurrent.futures", "InvalidStateError")?;
        let message = format!("{}: {}", Future::shown_state(future), future.repr()?);
        Ok(PyErr::from_type(class.clone(), message))
    };
    refused().unwrap_or_else(|error| error)
}

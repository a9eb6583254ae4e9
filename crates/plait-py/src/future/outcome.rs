//! What a task came to: a Python object, or bytes that become one in the
//! thread that asks.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{PyTraverseError, PyVisit};

use super::notifier;
use crate::hot::cell::GilCell;
use crate::hot::finalize;

/// The value of a task, or the exception that it raised.
pub(crate) type Decoded = Result<Py<PyAny>, Py<PyAny>>;

/// An outcome that has not been made into a Python object yet.
pub(crate) trait Encoded: Send + Sync {
    /// Whether the task raised; known without decoding.
    fn is_error(&self) -> bool;

    /// What the task is called.
    fn name(&self) -> Option<&str> {
        None
    }

    /// What the task has written, packed; asked for once.
    fn take_output(&mut self) -> Option<Box<dyn AsRef<[u8]> + Send + Sync>> {
        None
    }

    /// Makes the object: may run any Python code, in several threads at once
    /// if several ask at the same time (the first to be ready wins).
    ///
    /// What cannot be decoded is an outcome too: `Ok(Err(exception))`.
    ///
    /// # Errors
    /// The asking thread was interrupted; the next to ask decodes again.
    fn decode(&self, py: Python<'_>) -> PyResult<Decoded>;
}

enum Held {
    Value(Py<PyAny>),
    Error(Box<Raised>),
    Encoded(Arc<dyn Encoded>),
    /// Taken by the garbage collector.
    Gone,
}

/// An exception with the traceback that it had when the task ended.
///
/// Every raise of an exception adds its frames to the traceback in it; each
/// raise therefore begins anew from this one (as `asyncio.Future` does), or
/// asking a thousand times would keep a thousand frames alive.
struct Raised {
    exception: Py<PyAny>,
    traceback: Option<Py<PyAny>>,
    /// What the task is called, if that is known.
    name: Option<Box<str>>,
}

impl Raised {
    fn new(exception: Bound<'_, PyAny>) -> Self {
        // A class (which `raise` accepts too) has no traceback.
        let traceback =
            if exception.is_instance_of::<PyType>() { None } else { exception.getattr("__traceback__").ok() };
        Self { exception: exception.unbind(), traceback: traceback.map(Bound::unbind), name: None }
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            exception: self.exception.clone_ref(py),
            traceback: self.traceback.as_ref().map(|traceback| traceback.clone_ref(py)),
            name: None,
        }
    }

    fn into_err(self, py: Python<'_>) -> PyErr {
        let exception = self.exception.into_bound(py);
        if let Some(traceback) = self.traceback
            && let Err(error) = exception.setattr("__traceback__", traceback)
        {
            return error;
        }
        PyErr::from_value(exception)
    }
}

/// The outcome of a task; decoded once, however many ask.
pub(crate) struct Outcome {
    failed: bool,
    held: GilCell<Held>,
    /// What the task has written.
    output: Option<Box<dyn AsRef<[u8]> + Send + Sync>>,
}

impl Outcome {
    /// The task returned `value`.
    pub(crate) fn value(value: Py<PyAny>) -> Self {
        Self { failed: false, held: GilCell::new(Held::Value(value)), output: None }
    }

    /// The task raised `exception`.
    pub(crate) fn error(exception: Bound<'_, PyAny>) -> Self {
        Self::error_in(None, exception)
    }

    /// As `error`, of a call of `function`.
    pub(crate) fn error_of(function: &Bound<'_, PyAny>, exception: Bound<'_, PyAny>) -> Self {
        static NAME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = function.py();
        let name = NAME.import(py, "plait._lost", "name_of").and_then(|name| name.call1((function,)));
        Self::error_in(name.and_then(|name| name.extract::<String>()).ok(), exception)
    }

    /// As `error`, of a task of that name.
    pub(crate) fn error_in(name: Option<String>, exception: Bound<'_, PyAny>) -> Self {
        finalize::arm(exception.py());
        Self::raised(Raised { name: name.map(Into::into), ..Raised::new(exception) })
    }

    fn raised(raised: Raised) -> Self {
        Self { failed: true, held: GilCell::new(Held::Error(Box::new(raised))), output: None }
    }

    /// The task came to what `encoded` will say. Needs no interpreter.
    pub(crate) fn encoded(mut encoded: impl Encoded + 'static) -> Self {
        let output = encoded.take_output();
        let failed = encoded.is_error();
        if failed && !finalize::is_armed() {
            notifier::notify(finalize::arm);
        }
        Self { failed, held: GilCell::new(Held::Encoded(Arc::new(encoded))), output }
    }

    /// What the task has written, packed, if that was kept.
    pub(crate) fn output(&self) -> Option<&[u8]> {
        self.output.as_deref().map(AsRef::as_ref)
    }

    /// What the task is called, if it has failed and a name is known.
    pub(super) fn name(&self, py: Python<'_>) -> Option<String> {
        match &*self.held.borrow(py) {
            Held::Error(raised) => raised.name.as_deref().map(str::to_owned),
            Held::Encoded(encoded) => encoded.name().map(str::to_owned),
            Held::Value(_) | Held::Gone => None,
        }
    }

    /// Whether the task raised, as known without decoding.
    pub(crate) fn is_error(&self) -> bool {
        self.failed
    }

    /// Whether it is Python objects by now.
    pub(super) fn is_python(&mut self) -> bool {
        matches!(self.held.get_mut(), Held::Value(_) | Held::Error(_))
    }

    /// The value; what the task raised is the error.
    pub(crate) fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.decoded(py)?.map_err(|raised| raised.into_err(py))
    }

    /// The value or the exception, neither raised.
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<Decoded> {
        Ok(self.decoded(py)?.map_err(|raised| raised.exception))
    }

    /// As [`get`](Self::get), but `None` rather than decode.
    pub(crate) fn peek(&self, py: Python<'_>) -> Option<Decoded> {
        match &*self.held.borrow(py) {
            Held::Value(value) => Some(Ok(value.clone_ref(py))),
            Held::Error(raised) => Some(Err(raised.exception.clone_ref(py))),
            Held::Encoded(_) | Held::Gone => None,
        }
    }

    fn decoded(&self, py: Python<'_>) -> PyResult<Result<Py<PyAny>, Raised>> {
        loop {
            let encoded = match &*self.held.borrow(py) {
                Held::Value(value) => return Ok(Ok(value.clone_ref(py))),
                Held::Error(raised) => return Ok(Err(raised.clone_ref(py))),
                Held::Encoded(encoded) => Arc::clone(encoded),
                Held::Gone => return Err(PyRuntimeError::new_err("the result was garbage-collected")),
            };
            let decoded = match encoded.decode(py)? {
                Ok(value) => Held::Value(value),
                Err(exception) => {
                    let name = encoded.name().map(Into::into);
                    Held::Error(Box::new(Raised { name, ..Raised::new(exception.into_bound(py)) }))
                }
            };
            let mut held = self.held.borrow(py);
            let surplus = match &*held {
                Held::Encoded(_) => std::mem::replace(&mut *held, decoded),
                // Another thread was faster: everybody gets its object.
                _ => decoded,
            };
            drop(held);
            // Outside the lock: dropping an object can run its `__del__`.
            drop(surplus);
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(held) = self.held.visit(visit) else { return Ok(()) };
        match &*held {
            Held::Value(value) => visit.call(value),
            Held::Error(raised) => {
                visit.call(&raised.exception)?;
                visit.call(&raised.traceback)
            }
            Held::Encoded(_) | Held::Gone => Ok(()),
        }
    }

    pub(crate) fn clear(&self, py: Python<'_>) {
        let gone = std::mem::replace(&mut *self.held.borrow(py), Held::Gone);
        drop(gone);
    }
}

//! Waking who waits for a future.

use pyo3::exceptions::asyncio::InvalidStateError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

/// The class of futures in C, and its `set_result`: neither can be altered.
fn native_future(py: Python<'_>) -> PyResult<&(Py<PyType>, Py<PyAny>)> {
    static FUTURE: PyOnceLock<(Py<PyType>, Py<PyAny>)> = PyOnceLock::new();
    FUTURE.get_or_try_init(py, || {
        let class = py.import("_asyncio")?.getattr("Future")?.cast_into::<PyType>()?;
        let set_result = class.getattr("set_result")?.unbind();
        Ok((class.unbind(), set_result))
    })
}

/// Whether `class` is that of futures in C, which do with their arguments
/// nothing but what is known.
pub(crate) fn is_native_future(class: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(class.is(&native_future(class.py())?.0))
}

/// `if not waiter.cancelled(): waiter.set_result(None)`
pub(super) fn wake_unless_cancelled(waiter: &Bound<'_, PyAny>) -> PyResult<()> {
    wake(waiter, intern!(waiter.py(), "cancelled"))
}

/// `if not waiter.done(): waiter.set_result(None)`
pub(super) fn wake_unless_done(waiter: &Bound<'_, PyAny>) -> PyResult<()> {
    wake(waiter, intern!(waiter.py(), "done"))
}

/// `if not waiter.done(): waiter.set_result(value)`
pub(crate) fn set_unless_done(waiter: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    set(waiter, intern!(waiter.py(), "done"), value)
}

/// `if not waiter.done(): waiter.set_exception(error)`
pub(super) fn fail_unless_done(waiter: &Bound<'_, PyAny>, error: Py<PyAny>) -> PyResult<()> {
    let py = waiter.py();
    if waiter.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    waiter.call_method1(intern!(py, "set_exception"), (error,)).map(drop)
}

fn wake(waiter: &Bound<'_, PyAny>, hindrance: &Bound<'_, PyString>) -> PyResult<()> {
    set(waiter, hindrance, waiter.py().None().bind(waiter.py()))
}

fn set(waiter: &Bound<'_, PyAny>, hindrance: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = waiter.py();
    let (class, set_result) = native_future(py)?;
    let is_hindered = || waiter.call_method0(hindrance)?.is_truthy();
    if !waiter.get_type().is(class) {
        if !is_hindered()? {
            waiter.call_method1(intern!(py, "set_result"), (value,))?;
        }
        return Ok(());
    }
    // One that has an outcome refuses by itself, and all others take it: two
    // calls by name fewer.
    match set_result.bind(py).call1((waiter, value)) {
        Err(error) if error.is_instance_of::<InvalidStateError>(py) && is_hindered()? => Ok(()),
        outcome => outcome.map(drop),
    }
}

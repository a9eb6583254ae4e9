//! Calls from other threads that somebody of ours wants to see: those that
//! `asyncio.run_coroutine_threadsafe` makes, whose future tells nobody of a
//! failure that is lost.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The code of the functions that are called, and who wants to see them.
static WATCHED: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();

/// Has `watcher(function)` called with each function of that code that
/// `call_soon_threadsafe` is given, before it is scheduled.
#[pyfunction]
fn watch_threadsafe(py: Python<'_>, code: Py<PyAny>, watcher: Py<PyAny>) {
    // The first call counts.
    let _ = WATCHED.set(py, (code, watcher));
}

/// Shows a callback to who wants to see it.
pub(crate) fn show(callback: Borrowed<'_, '_, PyAny>) -> PyResult<()> {
    let Some((code, watcher)) = WATCHED.get(callback.py()) else { return Ok(()) };
    // SAFETY: a live object, and looked into only if it is a function; its code
    // is compared by its address.
    let wanted = unsafe {
        ffi::PyFunction_Check(callback.as_ptr()) != 0
            && ffi::PyFunction_GetCode(callback.as_ptr()) == code.as_ptr()
    };
    if wanted { watcher.call1(callback.py(), (callback,)).map(drop) } else { Ok(()) }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(watch_threadsafe, module)?)
}

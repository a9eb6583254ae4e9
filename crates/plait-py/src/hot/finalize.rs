//! What a future does before it is collected: `__del__`, which PyO3 has not,
//! and which in Python would cost each future as much as a call.
//!
//! Even this costs 3 % of a plain call to a thread, so classes get it when the
//! first task of the process fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::future::{Future, notify_apart};

/// Whether classes of futures have a finaliser.
static ARMED: AtomicBool = AtomicBool::new(false);
/// Whether the collector runs.
static COLLECTING: AtomicBool = AtomicBool::new(false);

/// Gives all classes of futures the finaliser: a task has failed.
pub(crate) fn arm(py: Python<'_>) {
    static ARM: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // Relaxed: under the interpreter lock.
    if !ARMED.swap(true, Relaxed)
        && let Err(error) = ARM.import(py, "plait._future", "_finalize_all").and_then(|arm| arm.call0())
    {
        PyErr::write_unraisable(error, py, None);
    }
}

/// What `gc.callbacks` has: the collector begins, or is done.
#[pyfunction]
fn future_collecting(phase: &str, _info: &Bound<'_, PyAny>) {
    // Relaxed: under the interpreter lock.
    COLLECTING.store(phase == "start", Relaxed);
}

/// Whether `arm` has been called: it did not see classes made later.
pub(crate) fn is_armed() -> bool {
    ARMED.load(Relaxed)
}

/// Gives a class of futures the finaliser, if a task has failed already or
/// `now` is true, and unless it has a `__del__`: a class statement does not
/// take the slot over from a base where there is no method of that name.
/// Unlike `Drop`, a finaliser runs before the collector takes apart what the
/// future refers to, and may run Python code.
#[pyfunction]
#[pyo3(signature = (class_, *, now = false))]
fn future_finalized(class_: &Bound<'_, PyType>, now: bool) -> PyResult<()> {
    if !class_.is_subclass_of::<Future>()? {
        return Err(PyTypeError::new_err("not a class of futures"));
    }
    // SAFETY: a live heap type whose instances are futures, changed under the
    // interpreter lock.
    let slot = unsafe { &mut (*class_.as_type_ptr()).tp_finalize };
    if slot.is_none() && (now || is_armed()) {
        *slot = Some(finalize);
    }
    Ok(())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(future_collecting, module)?)?;
    module.add_function(wrap_pyfunction!(future_finalized, module)?)
}

unsafe extern "C" fn finalize(slf: *mut ffi::PyObject) {
    // SAFETY: the interpreter calls with its lock held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the slot is of the class of futures.
    let future = unsafe { Borrowed::from_ptr(py, slf).cast_unchecked::<Future>() };
    let fate = future.get().fate();
    if !fate.is_lost() {
        return;
    }
    let (mut class, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: attached. An object can go while an exception is on its way: it
    // is put aside, and put back. The newer functions are not in 3.11.
    #[allow(deprecated, reason = "the newer functions are not in 3.11")]
    unsafe {
        ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback);
    }
    let reported = catch_unwind(AssertUnwindSafe(|| {
        // Relaxed: under the interpreter lock.
        if COLLECTING.load(Relaxed) {
            // This thread may be inside of anything; or another one may be,
            // and it is this one's turn.
            let fate = Arc::clone(fate);
            notify_apart(py, move |py| fate.report_lost(py));
        } else {
            fate.report_lost(py);
        }
    }));
    // SAFETY: as above; these are what it gave.
    #[allow(deprecated, reason = "the newer functions are not in 3.11")]
    unsafe {
        ffi::PyErr_Restore(class, value, traceback);
    }
    // Unwinding must not leave Rust; the panic's message is out.
    drop(reported);
}

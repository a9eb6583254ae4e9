//! Running code inside a `contextvars.Context`.
//!
//! `PyContext_Enter` and `PyContext_Exit` cost about 60 ns together, calling
//! `Context.run` 87 (PROTOTYPES.md), and this happens for every callback.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

/// A copy of the current context, as `contextvars.copy_context()` makes it.
pub(crate) fn copy_current(py: Python<'_>) -> PyResult<Py<PyAny>> {
    // SAFETY: called with the interpreter attached.
    let copy = unsafe { ffi::PyContext_CopyCurrent() };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, copy) }.map(Bound::unbind)
}

/// Calls `f` inside `context`.
pub(crate) fn enter<R>(py: Python<'_>, context: &Py<PyAny>, f: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    // SAFETY: a live object for as long as it is borrowed.
    unsafe { enter_raw(py, context.as_ptr(), f) }.and_then(|called| called)
}

/// As `enter`, but for a context that this call already comes from: no context
/// can be entered twice, and it is the right one as it is.
pub(crate) fn enter_unless_entered<R>(
    py: Python<'_>,
    context: &Py<PyAny>,
    f: impl FnOnce() -> PyResult<R>,
) -> PyResult<R> {
    // SAFETY: a live object for as long as it is borrowed, and so until the
    // guard is gone.
    match unsafe { begin(py, context.as_ptr()) } {
        Ok(guard) => guard.around(f).and_then(|called| called),
        Err(error) if error.is_instance_of::<PyRuntimeError>(py) => f(),
        Err(error) => Err(error),
    }
}

/// As `enter`, and tells what `f` raised from a context that could not be
/// entered or left (`f` may have switched to another): only after Ok is it as
/// it was before.
///
/// # Safety
/// `context` is a live object until this returns.
pub(super) unsafe fn enter_raw<R>(
    py: Python<'_>,
    context: *mut ffi::PyObject,
    f: impl FnOnce() -> PyResult<R>,
) -> PyResult<PyResult<R>> {
    // SAFETY: as the caller promises.
    unsafe { begin(py, context) }?.around(f)
}

/// Makes `context` the current one: a RuntimeError if it is in use already.
///
/// # Safety
/// `context` is a live object until the guard is gone.
unsafe fn begin(py: Python<'_>, context: *mut ffi::PyObject) -> PyResult<Entered<'_>> {
    // SAFETY: attached; the object is live, and one that is not a Context is
    // refused with a TypeError.
    if unsafe { ffi::PyContext_Enter(context) } != 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(Entered { py, context })
}

/// Leaves the context, also when a panic unwinds through `enter`: the
/// interpreter's context stack must stay balanced.
struct Entered<'py> {
    py: Python<'py>,
    context: *mut ffi::PyObject,
}

impl Entered<'_> {
    fn around<R>(self, f: impl FnOnce() -> PyResult<R>) -> PyResult<PyResult<R>> {
        let result = f();
        self.leave().map(|()| result)
    }

    fn leave(self) -> PyResult<()> {
        let left = exit(self.py, self.context);
        std::mem::forget(self);
        left
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Err(error) = exit(self.py, self.context) {
            error.write_unraisable(self.py, None);
        }
    }
}

fn exit(py: Python<'_>, context: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: attached, and `enter` made this context the current one of this
    // thread; leaving another than the current one is refused with an error.
    // No exception is set at this point: PyO3 has fetched it into the result.
    if unsafe { ffi::PyContext_Exit(context) } == 0 { Ok(()) } else { Err(PyErr::fetch(py)) }
}

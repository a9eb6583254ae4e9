//! Calls of a protocol's methods.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

unsafe extern "C" {
    static mut PyMethod_Type: ffi::PyTypeObject;
    /// What a bound method calls, borrowed.
    fn PyMethod_Function(method: *mut ffi::PyObject) -> *mut ffi::PyObject;
    /// What it is bound to, borrowed.
    fn PyMethod_Self(method: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// `method(argument)`. A bound method is taken apart here, for it would only
/// move the arguments and call the function: 41 instructions.
pub(crate) fn call_one<'py>(
    method: &Bound<'py, PyAny>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let callable = method.as_ptr();
    // SAFETY: live objects, held by the caller until this returns; a bound
    // method holds its function and its instance, and never changes them. The
    // place before the arguments is free for the callee to use. The answer is
    // a new reference, or null with an exception set.
    unsafe {
        let mut arguments = [ptr::null_mut(), ptr::null_mut(), argument.as_ptr()];
        let (function, first) = if ffi::Py_TYPE(callable) == &raw mut PyMethod_Type {
            arguments[1] = PyMethod_Self(callable);
            (PyMethod_Function(callable), 1)
        } else {
            (callable, 2)
        };
        let count = (arguments.len() - first) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let start = arguments.as_mut_ptr().add(first);
        let answer = ffi::PyObject_Vectorcall(function, start, count, ptr::null_mut());
        Bound::from_owned_ptr_or_err(method.py(), answer)
    }
}

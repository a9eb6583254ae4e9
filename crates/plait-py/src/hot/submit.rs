//! `ProcessPoolExecutor.submit`, by vectorcall: a frame of Python with its
//! tuple and its dict would cost as much as all the rest of a plain call.

use std::ptr;

use plait_pool::process::Parcel;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::method::{Methods, entry, method};
use super::plain;
use crate::executor::ProcessExecutor;

/// Most arguments need no more bytes than this.
const USUAL: usize = 128;

static METHODS: Methods<1> = Methods([method(
    c"submit",
    submit,
    c"submit($self, fn, /, *args, **kwargs)\n--\n\nCall `fn(*args, **kwargs)` in a worker.\n\nThe function and its arguments are pickled before this returns; what\ncannot be pickled is the outcome of the future.\n\nReturns:\n    The future of the call.\n\nRaises:\n    RuntimeError: the pool has been shut down, the interpreter is\n        exiting, or the pool belongs to the process that this one was\n        forked from.\n    BrokenProcessPool: an initializer has failed, or no worker can be\n        started.\n    queue.Full: as many calls wait as `max_pending` allows, and this\n        thread runs an event loop. Any other thread waits.\n",
)]);

/// Puts the method into the class.
pub(crate) fn install(class: &Bound<'_, PyType>) -> PyResult<()> {
    // SAFETY: a function of executors, and their class.
    unsafe { METHODS.install(class) }
}

unsafe extern "C" fn submit(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    entry(|py| {
        let positional = nargs.unsigned_abs();
        if positional == 0 {
            return Err(PyTypeError::new_err("submit() missing 1 required positional argument: 'fn'"));
        }
        // SAFETY: the descriptor has checked that it is an executor, which
        // the caller holds.
        let executor = unsafe { Borrowed::from_ptr(py, slf).cast_unchecked::<ProcessExecutor>() };
        // SAFETY: null or a tuple of names.
        let names =
            unsafe { Borrowed::from_ptr_or_opt(py, kwnames).map(|names| names.cast_unchecked::<PyTuple>()) };
        let named = names.map_or(0, |names| names.len());
        // SAFETY: the arguments as the interpreter passes them, which the
        // caller holds: as many as are counted and named.
        let (function, values) = unsafe {
            (Borrowed::from_ptr(py, *args), std::slice::from_raw_parts(args.add(1), positional - 1 + named))
        };
        if let Some((pool, callees)) = executor.get().engine()
            && let Some(callee) = callees.get().find(&function)?
        {
            let mut parcel = Parcel::with_capacity(USUAL);
            // SAFETY: live objects, which the caller holds, and the tuple of
            // the names of the last of them.
            if unsafe { plain::write_call(values, names, py, parcel.body()) } {
                return Ok(pool.get().call(py, &callee, parcel)?.into_any());
            }
        }
        // SAFETY: the executor, and the arguments as they were passed; the
        // answer is a new reference, or null with an exception set.
        unsafe {
            let mut forwarded = Vec::with_capacity(1 + positional + named);
            forwarded.push(slf);
            forwarded.extend_from_slice(std::slice::from_raw_parts(args, positional + named));
            let name = intern!(py, "_submit").as_ptr();
            let kwnames = names.map_or(ptr::null_mut(), |names| names.as_ptr());
            let answer = ffi::PyObject_VectorcallMethod(name, forwarded.as_ptr(), 1 + positional, kwnames);
            Bound::from_owned_ptr_or_err(py, answer).map(Bound::unbind)
        }
    })
}

//! How Python code is interrupted: by the handler of a signal, and in another
//! thread.

use std::ffi::{c_int, c_ulong};
use std::ptr;

use plait_sys::stopping::Interrupt;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Has Python's own handler of the signal called, as soon as the main thread
/// runs bytecode; no more than a flag is set at once.
pub(crate) fn python() -> Interrupt {
    // SAFETY: `trip` calls one function, which its documentation declares
    // safe in handlers and in threads without the interpreter lock.
    unsafe { Interrupt::new(trip) }
}

extern "C" fn trip(signal: c_int) {
    // SAFETY: no requirements; see above. It fails for numbers that are no
    // signals, which the kernel does not send.
    unsafe { ffi::PyErr_SetInterruptEx(signal) };
}

unsafe extern "C" {
    fn PyThreadState_SetAsyncExc(id: c_ulong, exc: *mut ffi::PyObject) -> c_int;
}

/// Has `class` raised in the thread whose `threading.get_ident()` is `thread`,
/// when it next looks; `None` takes back what it has not seen yet.
pub(crate) fn raise_in(_py: Python<'_>, thread: u64, class: Option<&Bound<'_, PyType>>) {
    let class = class.map_or(ptr::null_mut(), Bound::as_ptr);
    // SAFETY: the interpreter lock is held (`_py`); the function checks the
    // number and takes a reference of its own to the class.
    unsafe { PyThreadState_SetAsyncExc(thread, class) };
}

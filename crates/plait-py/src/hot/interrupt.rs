//! How the handler of a signal interrupts Python code.

use std::ffi::c_int;

use plait_sys::stopping::Interrupt;
use pyo3::ffi;

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

//! How Python code is interrupted: by the handler of a signal, and in another
//! thread.

use std::ffi::{c_int, c_ulong};
use std::ptr;

use plait_sys::stopping::Interrupt;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::newborn;

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
    fn PyThreadState_EnterTracing(state: *mut ffi::PyThreadState);
    fn PyThreadState_LeaveTracing(state: *mut ffi::PyThreadState);
    fn PyThread_get_thread_ident() -> c_ulong;
}

/// Has `class` raised in the thread whose `threading.get_ident()` is `thread`,
/// when it next looks; `None` takes back what it has not seen yet. Afterwards
/// some thread is to call [`settle`], if [`must_settle`]. False if it cannot be
/// reached, for want of a thread of that number or of only one.
pub(crate) fn raise_in(py: Python<'_>, thread: u64, class: Option<&Bound<'_, PyType>>) -> bool {
    let class = class.map_or(ptr::null_mut(), Bound::as_ptr);
    // SAFETY: the interpreter lock is held (`py`); the function checks the
    // number and takes a reference of its own to the class.
    newborn::are_settled(py, thread) && unsafe { PyThreadState_SetAsyncExc(thread, class) } == 1
}

/// Whether what [`raise_in`] leaves behind is to be settled.
///
/// Up to Python 3.12 all threads share one flag, which says that an exception
/// waits for one of them, and only a thread that finds its own resets it. While
/// it is set, each of them stops to look at every call and jump; on 3.11 one
/// that is traced or profiled looks for ever. What is taken back is never
/// found, and what waits for a thread that hangs in C may never be.
pub(crate) fn must_settle(py: Python<'_>) -> bool {
    static SHARED: PyOnceLock<bool> = PyOnceLock::new();
    *SHARED.get_or_init(py, || py.version_info() < (3, 13))
}

/// Resets that flag, by finding an exception in this thread. For which no other
/// may wait: it would be lost. Those for other threads are not: a thread looks
/// for its own whenever it has got the interpreter lock, and sets the flag.
///
/// `spin` is Python code that runs until it is interrupted. False, and the
/// reason reported, if it ended for another reason or this thread cannot be
/// reached; then the flag is still set.
pub(crate) fn settle(class: &Bound<'_, PyType>, spin: &Bound<'_, PyAny>) -> bool {
    let py = class.py();
    // SAFETY: no requirements.
    let thread = unsafe { PyThread_get_thread_ident() };
    if !raise_in(py, thread, Some(class)) {
        return false;
    }
    // What traces or profiles this thread would be interrupted instead, and
    // dismissed for it.
    // SAFETY: the interpreter lock is held, so this thread has a state; both
    // calls are about the same one, on this thread.
    let ended = unsafe {
        let state = ffi::PyThreadState_Get();
        PyThreadState_EnterTracing(state);
        let ended = spin.call0();
        PyThreadState_LeaveTracing(state);
        ended
    };
    match ended {
        Err(error) if error.get_type(py).is(class) => true,
        ended => {
            raise_in(py, thread, None);
            if let Err(error) = ended {
                error.write_unraisable(py, Some(spin));
            }
            false
        }
    }
}

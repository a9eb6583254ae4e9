//! The number that a socket object has now, without a call of its method.

use std::os::fd::RawFd;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// What `PySocketSockObject` of CPython's `socketmodule.h` begins with, on
/// every version. It is -1 once the socket was closed or detached.
#[repr(C)]
struct Start {
    header: ffi::PyObject,
    number: RawFd,
}

static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Whether [`number`] finds in `sock` what its `fileno()` says.
pub(crate) fn has_number(sock: &Bound<'_, PyAny>, fileno: RawFd) -> PyResult<bool> {
    CLASS.import(sock.py(), "_socket", "socket")?;
    Ok(number(sock) == Some(fileno))
}

/// The number in a `_socket.socket`, which `socket.socket` derives from; None
/// of any other object.
///
/// A transport may not go by the number it began with: who closes the socket
/// behind its back frees that, and it may be another connection's by now.
/// `fileno()` would say so too, at the cost of a call for each input and
/// output.
pub(crate) fn number(sock: &Bound<'_, PyAny>) -> Option<RawFd> {
    let class = CLASS.get(sock.py())?.as_ptr().cast::<ffi::PyTypeObject>();
    // SAFETY: live objects; the class is asked for its size before the field
    // of its instance, a plain number, is read under the interpreter lock.
    unsafe {
        let large_enough = (*class).tp_basicsize.cast_unsigned() >= size_of::<Start>();
        if !large_enough || ffi::PyObject_TypeCheck(sock.as_ptr(), class) == 0 {
            return None;
        }
        Some((*sock.as_ptr().cast::<Start>()).number)
    }
}

//! Receiving straight into a buffer that a protocol gave, sending straight
//! from one.

use std::os::fd::RawFd;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use super::bytearray;
use crate::error::Error;

/// Has `receive`, a system call of plait-sys, put what there is into `buffer`,
/// which a protocol's `get_buffer` gave. Outcomes are those of [`read_into`].
pub(crate) fn fill(
    receive: fn(RawFd, &mut [u8]) -> plait_sys::Result<Option<usize>>,
    fd: RawFd,
    buffer: &Bound<'_, PyAny>,
) -> PyResult<Result<Option<usize>, Error>> {
    const EMPTY: &str = "get_buffer() returned an empty buffer";
    // Its memory stays in place for as long as nobody else runs: an export,
    // as any other object needs, would cost more than the copy of a message.
    if let Ok(array) = buffer.cast_exact::<PyByteArray>() {
        if array.is_empty() {
            return Err(PyRuntimeError::new_err(EMPTY));
        }
        return Ok(bytearray::read_into(receive, fd, array).map_err(Error::from));
    }
    // Of items of any kind: it is their bytes that are received.
    let export = PyUntypedBuffer::get(buffer)?;
    if export.len_bytes() == 0 {
        return Err(PyRuntimeError::new_err(EMPTY));
    }
    read_into(buffer.py(), receive, fd, &export)
}

/// Has `receive`, a system call of plait-sys, put what there is into `buffer`,
/// without a copy in between. `None` if there is nothing, `Some(0)` at the end
/// of the input.
///
/// The outer error is the buffer's, the inner one the connection's.
pub(crate) fn read_into(
    _py: Python<'_>,
    receive: fn(RawFd, &mut [u8]) -> plait_sys::Result<Option<usize>>,
    fd: RawFd,
    buffer: &PyUntypedBuffer,
) -> PyResult<Result<Option<usize>, Error>> {
    if buffer.readonly() || !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err("the buffer to receive into must be writable and contiguous"));
    }
    // SAFETY: the export keeps the memory in place and of this length until
    // `buffer` is released; it is writable and contiguous (checked), and
    // what its items are is the exporter's to make of any bytes. While this slice lives, one system call
    // writes to it with the interpreter lock held, so no Python code sees it;
    // a thread that writes to the same memory without the lock races with
    // itself in any program, and the slice's contents are never read here.
    let target = unsafe { std::slice::from_raw_parts_mut(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) };
    Ok(receive(fd, target).map_err(Error::from))
}

/// What there is in `buffer`, which is C-contiguous, from `start` on.
pub(crate) fn bytes_from<'py>(
    py: Python<'py>,
    buffer: &PyUntypedBuffer,
    start: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let size = buffer.len_bytes().saturating_sub(start);
    PyBytes::new_with(py, size, |target| {
        if size > 0 {
            // SAFETY: as in `write_from`; `start` lies within it, and the new
            // object's memory is not part of it. No Python code runs here.
            let source =
                unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>().add(start), size) };
            target.copy_from_slice(source);
        }
        Ok(())
    })
}

/// Has `send`, a system call of plait-sys, take the bytes of `buffer`, which is
/// C-contiguous. `None` if there was no room.
pub(crate) fn write_from(
    _py: Python<'_>,
    send: fn(RawFd, &[u8]) -> plait_sys::Result<Option<usize>>,
    fd: RawFd,
    buffer: &PyUntypedBuffer,
) -> plait_sys::Result<Option<usize>> {
    if buffer.len_bytes() == 0 {
        return Ok(Some(0));
    }
    // SAFETY: the export keeps the memory in place and of this length until
    // `buffer` is released; a buffer that is not empty has memory. While this
    // slice lives, one system call reads it with the interpreter lock held, so
    // no Python code writes to it.
    let data = unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) };
    send(fd, data)
}

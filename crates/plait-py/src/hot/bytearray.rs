//! The memory of a `bytearray`, without an object in between.

use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

/// As `buffer.extend(data)`.
pub(crate) fn extend(buffer: &Bound<'_, PyByteArray>, data: &[u8]) -> PyResult<()> {
    let before = buffer.len();
    // Refused with a BufferError while a memoryview of it is alive.
    buffer.resize(before + data.len())?;
    // SAFETY: the interpreter lock is held and no Python code runs while the
    // slice lives, so nobody else reads, writes or resizes the memory. `data`
    // is not part of it: a shared slice cannot be of memory that was resized.
    let target = unsafe { buffer.as_bytes_mut() };
    target[before..].copy_from_slice(data);
    Ok(())
}

/// Has `send`, a system call of plait-sys, take the bytes of `buffer`.
pub(crate) fn write_from(
    send: fn(RawFd, &[u8]) -> plait_sys::Result<Option<usize>>,
    fd: RawFd,
    buffer: &Bound<'_, PyByteArray>,
) -> plait_sys::Result<Option<usize>> {
    // SAFETY: the interpreter lock is held and one system call, no Python
    // code, runs while the slice lives: nobody writes to the memory or resizes
    // it.
    send(fd, unsafe { buffer.as_bytes() })
}

/// As `bytes(buffer[start:])`.
pub(crate) fn bytes_from<'py>(
    buffer: &Bound<'py, PyByteArray>,
    start: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let size = buffer.len().saturating_sub(start);
    PyBytes::new_with(buffer.py(), size, |target| {
        // SAFETY: the interpreter lock is held, and no Python code runs
        // between the look at the memory and the end of the copy.
        let bytes = unsafe { buffer.as_bytes() };
        // Not shorter than before: to make a bytes object sets off no collector.
        target.copy_from_slice(&bytes[bytes.len() - size..]);
        Ok(())
    })
}

/// Has `receive`, a system call of plait-sys, put what there is into `buffer`.
/// `None` if there is nothing, `Some(0)` at the end of the input.
pub(crate) fn read_into(
    receive: fn(RawFd, &mut [u8]) -> plait_sys::Result<Option<usize>>,
    fd: RawFd,
    buffer: &Bound<'_, PyByteArray>,
) -> plait_sys::Result<Option<usize>> {
    // SAFETY: as above; who has a memoryview of the memory does not look at
    // it meanwhile.
    receive(fd, unsafe { buffer.as_bytes_mut() })
}

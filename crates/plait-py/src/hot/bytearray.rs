//! Adding to a `bytearray` without an object in between.

use pyo3::prelude::*;
use pyo3::types::PyByteArray;

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

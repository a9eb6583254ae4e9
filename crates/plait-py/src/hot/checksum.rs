//! A look at all of a large buffer, without a copy.

use plait_pool::checksum::checksum as sum;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

/// A number that is another, in all likelihood, when a byte of `buffer` is.
#[pyfunction]
pub(crate) fn checksum(buffer: &Bound<'_, PyAny>) -> PyResult<u64> {
    let export = PyUntypedBuffer::get(buffer)?;
    if !export.is_c_contiguous() {
        return Err(PyBufferError::new_err("a checksum is that of a contiguous buffer"));
    }
    if export.len_bytes() == 0 {
        return Ok(sum(&[]));
    }
    // SAFETY: the export keeps the memory in place and of this length until it
    // is released, and a buffer that is not empty has memory. The interpreter
    // lock is held while the slice lives, so no Python code writes to it; a
    // thread that writes without the lock races with itself in any program.
    let data = unsafe { std::slice::from_raw_parts(export.buf_ptr().cast::<u8>(), export.len_bytes()) };
    Ok(sum(data))
}

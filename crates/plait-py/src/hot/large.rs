//! `bytes` so large that the allocator maps memory for them anew.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The bytes that `buffer` has, in memory that is asked for by huge pages.
///
/// Fresh memory costs a fault for each page: 100 MB are 24,400, which take
/// more than the copy itself.
#[pyfunction]
pub(crate) fn large_bytes<'py>(buffer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = buffer.py();
    let export = PyUntypedBuffer::get(buffer)?;
    if !export.is_c_contiguous() {
        return Err(PyBufferError::new_err("bytes are made of a contiguous buffer"));
    }
    let len = export.len_bytes();
    // Whoever exports a buffer has no more of it than that.
    let size = ffi::Py_ssize_t::try_from(len)?;
    // SAFETY: the interpreter lock is held (`py`). NULL asks for bytes of that
    // length whose content is not set yet: nobody else has them. They are
    // written to before anybody reads them, from memory that the export keeps
    // in place and of this length; a fresh object does not overlap with it.
    unsafe {
        let made = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size);
        let bytes = Bound::from_owned_ptr_or_err(py, made)?.cast_into_unchecked::<PyBytes>();
        let content = ffi::PyBytes_AsString(bytes.as_ptr()).cast::<u8>();
        plait_sys::mapping::prefer_huge_pages(content, len);
        content.copy_from_nonoverlapping(export.buf_ptr().cast(), len);
        Ok(bytes)
    }
}

//! Bytes that came by an arena, as objects with a buffer: what is made of
//! them keeps them alive, and nothing else does.

use std::ffi::{CString, c_int};
use std::ptr;

use plait_pool::process;
use plait_shm::arena::{self, View};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, ffi};

/// Bytes in shared or private memory.
#[pyclass(frozen, weakref, module = "plait._native")]
pub(crate) struct Block(View);

impl Block {
    pub(crate) fn new(view: View) -> Self {
        Self(view)
    }
}

#[pymethods]
impl Block {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// # Safety
    /// The interpreter calls it, with a buffer to be filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, buffer: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let view = &slf.get().0;
        let len = view.len() as ffi::Py_ssize_t;
        // SAFETY: the view has so many bytes for as long as it lives, and the
        // buffer that is filled keeps `slf` alive, of which it is a part.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                buffer,
                slf.as_ptr(),
                view.start().as_ptr().cast(),
                len,
                c_int::from(!view.is_writable()),
                flags,
            )
        };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// A buffer with another idea of its items: what `memoryview.cast` does, for
/// every format and shape.
#[pyclass(frozen, module = "plait._native")]
pub(crate) struct Shaped {
    base: Py<PyAny>,
    format: CString,
    item: usize,
    shape: Box<[ffi::Py_ssize_t]>,
    strides: Box<[ffi::Py_ssize_t]>,
    /// Whether the last index runs fastest.
    by_rows: bool,
    by_columns: bool,
    len: usize,
}

/// The distances between items that lie side by side in this order.
fn strides(
    item: usize,
    shape: impl DoubleEndedIterator<Item = ffi::Py_ssize_t>,
) -> Option<Vec<ffi::Py_ssize_t>> {
    let mut step = ffi::Py_ssize_t::try_from(item).ok()?;
    let mut strides = Vec::new();
    for count in shape {
        strides.push(step);
        step = step.checked_mul(count)?;
    }
    Some(strides)
}

#[pymethods]
impl Shaped {
    #[new]
    fn new(
        base: &Bound<'_, PyAny>,
        code: CString,
        item: usize,
        shape: Vec<ffi::Py_ssize_t>,
        by_columns: bool,
    ) -> PyResult<Self> {
        let refused = || PyValueError::new_err("the shape is not that of the buffer");
        if item == 0 || shape.iter().any(|&count| count < 0) {
            return Err(refused());
        }
        let counts = shape.iter().map(|&count| count as usize);
        let total = counts.clone().try_fold(item, usize::checked_mul).ok_or_else(refused)?;
        let export = PyUntypedBuffer::get(base)?;
        if export.len_bytes() != total || !export.is_c_contiguous() {
            return Err(refused());
        }
        let strides = if by_columns {
            strides(item, shape.iter().copied())
        } else {
            strides(item, shape.iter().rev().copied()).map(|mut strides| {
                strides.reverse();
                strides
            })
        };
        let flat = shape.iter().filter(|&&count| count != 1).count() <= 1 || total == 0;
        Ok(Self {
            base: base.clone().unbind(),
            format: code,
            item,
            strides: strides.ok_or_else(refused)?.into(),
            by_rows: !by_columns || flat,
            by_columns: by_columns || flat,
            shape: shape.into(),
            len: total,
        })
    }

    /// # Safety
    /// The interpreter calls it, with a buffer to be filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, buffer: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let export = PyUntypedBuffer::get(this.base.bind(slf.py()))?;
        let wants = |flag: c_int| flags & flag == flag;
        if export.readonly() && wants(ffi::PyBUF_WRITABLE) {
            return Err(PyBufferError::new_err("the buffer is read-only"));
        }
        if export.len_bytes() != this.len || !export.is_c_contiguous() {
            return Err(PyBufferError::new_err("the buffer has changed its size"));
        }
        let needs_rows = wants(ffi::PyBUF_C_CONTIGUOUS) || !wants(ffi::PyBUF_STRIDES);
        if (needs_rows && !wants(ffi::PyBUF_F_CONTIGUOUS) && !this.by_rows)
            || (wants(ffi::PyBUF_F_CONTIGUOUS) && !this.by_columns)
        {
            return Err(PyBufferError::new_err("the buffer is contiguous in the other order"));
        }
        let filled = ffi::Py_buffer {
            buf: export.buf_ptr(),
            obj: slf.clone().into_any().into_ptr(),
            len: this.len as ffi::Py_ssize_t,
            itemsize: this.item as ffi::Py_ssize_t,
            readonly: c_int::from(export.readonly()),
            ndim: this.shape.len() as c_int,
            format: if wants(ffi::PyBUF_FORMAT) { this.format.as_ptr().cast_mut() } else { ptr::null_mut() },
            shape: if wants(ffi::PyBUF_ND) { this.shape.as_ptr().cast_mut() } else { ptr::null_mut() },
            strides: if wants(ffi::PyBUF_STRIDES) {
                this.strides.as_ptr().cast_mut()
            } else {
                ptr::null_mut()
            },
            suboffsets: ptr::null_mut(),
            internal: Box::into_raw(Box::new(export)).cast(),
        };
        // SAFETY: the interpreter's buffer, to be filled. What it points to
        // belongs to `slf` or to the export, and both live until it is
        // released: the one by `obj`, the other by `internal`.
        unsafe { buffer.write(filled) };
        Ok(())
    }

    /// # Safety
    /// The interpreter calls it, once for each buffer that was filled.
    unsafe fn __releasebuffer__(&self, buffer: *mut ffi::Py_buffer) {
        // SAFETY: the interpreter's, filled above.
        let internal = unsafe { (*buffer).internal };
        // SAFETY: the box that was made above, and this is its one release.
        drop(unsafe { Box::from_raw(internal.cast::<PyUntypedBuffer>()) });
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.base)
    }
}

/// From so many bytes on, others have the interpreter while they are copied.
pub(crate) const LONG: usize = 1 << 20;

/// Whether the bytes of a buffer lie side by side, in whichever order.
pub(crate) fn is_contiguous(buffer: &PyUntypedBuffer) -> bool {
    buffer.is_c_contiguous() || buffer.is_fortran_contiguous()
}

/// Copies the bytes of a contiguous buffer, in the order in which they lie.
pub(crate) fn fill(py: Python<'_>, block: &mut arena::Block, buffer: &PyUntypedBuffer) {
    let (start, len) = (buffer.buf_ptr().expose_provenance(), buffer.len_bytes());
    let mut copy = || {
        // SAFETY: the export, which is borrowed here, keeps the memory in
        // place and of this length. Who writes to it meanwhile, in another
        // thread, makes the copy a mixture, as with any copy.
        unsafe { block.write_from(0, ptr::with_exposed_provenance(start), len) };
    };
    if len < LONG { copy() } else { py.detach(copy) }
}

/// Adds the bytes of a buffer to the stream.
pub(crate) fn append(
    packer: &mut process::Packer,
    buffer: &PyUntypedBuffer,
) -> PyResult<Result<usize, process::NoMemory>> {
    let len = buffer.len_bytes();
    if !is_contiguous(buffer) {
        return Err(PyBufferError::new_err("the buffer is not contiguous"));
    }
    if len == 0 {
        return Ok(Ok(0));
    }
    // SAFETY: the export keeps the memory in place and of this length. While
    // this slice lives the interpreter lock is held, so no Python code writes
    // to it.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), len) };
    Ok(packer.write(bytes).map(|()| len))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Block>()?;
    module.add_class::<Shaped>()
}

//! The file that picklers write to, and what the other side makes of it.

use std::sync::{Arc, Mutex, Weak};

use plait_pool::process::{self, Parcel, Piece, Pieces, Reply, Sizes};
use plait_shm::arena::{self, View, forks};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyMemoryError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::error::{Error, Result};
use crate::hot::block::{self, Block, LONG};
use crate::hot::{checksum, large};
use crate::sync::lock;

/// Shared memory that this process allocates from; none if there is none to
/// be had, or the pool that it was made for has ended.
#[pyclass(frozen, module = "plait._native")]
pub(crate) struct Arena {
    arena: Weak<arena::Arena>,
    /// Until the pool has it.
    held: Mutex<Option<Arc<arena::Arena>>>,
}

impl Arena {
    /// From now on it lives as long as who gets it here, and what lies in it.
    pub(crate) fn hand_over(&self) -> Option<Arc<arena::Arena>> {
        lock(&self.held).take()
    }
}

#[pymethods]
impl Arena {
    /// `size` and `keep` are in bytes; None: as the machine has it.
    #[new]
    #[pyo3(signature = (size = None, keep = None))]
    fn new(size: Option<usize>, keep: Option<usize>) -> Self {
        let room = Sizes::of_requests();
        let (size, keep) = (size.unwrap_or(room.size), keep.unwrap_or(room.keep));
        // Refused: all goes through the rings.
        let held = arena::Arena::create("plait-requests", size, keep).ok();
        Self { arena: held.as_ref().map(Arc::downgrade).unwrap_or_default(), held: Mutex::new(held) }
    }

    /// How many bytes are allocated.
    #[getter]
    fn in_use(&self) -> usize {
        self.arena.upgrade().map_or(0, |arena| arena.in_use())
    }

    /// How many bytes are in memory.
    #[getter]
    fn taken(&self) -> Result<u64> {
        match self.arena.upgrade() {
            Some(arena) => Ok(arena.region().taken().map_err(process::Error::from)?),
            None => Ok(0),
        }
    }
}

/// What a pickler writes to: a message to the other side.
#[pyclass(frozen, module = "plait._native")]
pub(crate) struct Packer {
    packer: Mutex<Option<process::Packer>>,
    /// The task that is answered, for whatever it was sent; 0: none.
    task: u64,
    /// So many bytes at most.
    limit: usize,
}

impl Packer {
    pub(crate) fn new_for(packer: process::Packer, task: u64) -> Self {
        Self { packer: Mutex::new(Some(packer)), task, limit: usize::MAX }
    }

    /// What was written; a packer is sent once.
    pub(crate) fn take(&self) -> PyResult<process::Packer> {
        lock(&self.packer).take().ok_or_else(gone)
    }

    /// What was written, ready to be sent.
    pub(crate) fn finish(&self) -> PyResult<Parcel> {
        Ok(self.take()?.finish())
    }

    fn with<T>(&self, with: impl FnOnce(&mut process::Packer) -> T) -> PyResult<T> {
        lock(&self.packer).as_mut().map(with).ok_or_else(gone)
    }
}

fn gone() -> PyErr {
    PyValueError::new_err("this packer has been sent")
}

#[pymethods]
impl Packer {
    #[new]
    #[pyo3(signature = (arena = None, limit = None))]
    fn new(arena: Option<&Bound<'_, Arena>>, limit: Option<usize>) -> Self {
        let arena = arena.and_then(|arena| arena.get().arena.upgrade());
        Self { limit: limit.unwrap_or(usize::MAX), ..Self::new_for(process::Packer::new(arena), 0) }
    }

    /// Adds to the stream.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        if self.limit < usize::MAX && self.with(|packer| packer.len())? + data.len()? > self.limit {
            return Err(PyOverflowError::new_err("more bytes than this may weigh"));
        }
        let written = if let Ok(data) = data.cast_exact::<PyBytes>() {
            let bytes = data.as_bytes();
            let write = || self.with(|packer| packer.write(bytes));
            if bytes.len() < LONG { write() } else { py.detach(write) }?.map(|()| bytes.len())
        } else {
            // Taken first: whose buffer it is may run any code.
            match PyUntypedBuffer::get(data) {
                Ok(export) => self.with(|packer| block::append(packer, &export))??,
                Err(_) => {
                    // One without dimensions, which PyO3 does not take.
                    let bytes: Bound<'_, PyBytes> = py.get_type::<PyBytes>().call1((data,))?.cast_into()?;
                    self.with(|packer| packer.write(bytes.as_bytes()))?.map(|()| bytes.as_bytes().len())
                }
            }
        };
        written.map_err(|error| PyMemoryError::new_err(error.to_string()))
    }

    /// Takes a buffer that the pickler offers. True: it belongs in the stream.
    fn buffer(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
        // One without dimensions, which PyO3 does not take, is a single item.
        let Ok(export) = PyUntypedBuffer::get(buffer) else { return Ok(true) };
        let len = export.len_bytes();
        if !process::Packer::takes_out(len) || !block::is_contiguous(&export) {
            return Ok(true);
        }
        if let Some((index, offset)) = process::same(self.task, export.buf_ptr().addr(), len) {
            self.with(|packer| packer.add_same(index, offset, len))?;
            return Ok(false);
        }
        // Relies on the export: it keeps the view that is found.
        if let Some(block) = self.with(|packer| packer.find(export.buf_ptr().addr(), len))? {
            self.with(|packer| packer.add_lent(block, len))?;
            return Ok(false);
        }
        // Not locked while others have the interpreter.
        let Some(mut room) = self.with(|packer| packer.room(len))? else { return Ok(true) };
        block::fill(py, &mut room, &export);
        self.with(|packer| packer.add(room, len))?;
        Ok(false)
    }

    /// The answer names an image of the pool's, which is to be kept until the
    /// answer has been read. What is no answer says nothing.
    fn mention(&self, image: u64) -> PyResult<()> {
        if self.task == 0 { Ok(()) } else { self.with(|packer| packer.mention(image)) }
    }

    /// Forgets what was written.
    fn clear(&self) -> PyResult<()> {
        self.with(process::Packer::clear)
    }

    /// The stream of a packer without an arena.
    fn getvalue<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.with(|packer| packer.private().map(|bytes| PyBytes::new(py, bytes)))?
            .ok_or_else(|| PyValueError::new_err("this packer has an arena"))
    }
}

/// The stream of a message: `bytes`, or a block to be read.
pub(crate) fn stream<'py>(py: Python<'py>, body: &[u8], pieces: &Pieces) -> PyResult<Bound<'py, PyAny>> {
    match &pieces.stream {
        None => Ok(PyBytes::new(py, body).into_any()),
        Some(piece) => Ok(Bound::new(py, Block::new(piece.to_read().map_err(Error::from)?))?.into_any()),
    }
}

/// The buffers of a message, to be written to.
pub(crate) fn buffers<'py>(py: Python<'py>, pieces: &Pieces) -> PyResult<Bound<'py, PyList>> {
    blocks(py, pieces, Piece::to_write)
}

/// The buffers of a message, as everybody sees them.
pub(crate) fn buffers_to_read<'py>(py: Python<'py>, pieces: &Pieces) -> PyResult<Bound<'py, PyList>> {
    blocks(py, pieces, Piece::to_read)
}

fn blocks<'py>(
    py: Python<'py>,
    pieces: &Pieces,
    view: fn(&Piece) -> process::Result<View>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for piece in &pieces.buffers {
        list.append(Bound::new(py, Block::new(view(piece).map_err(Error::from)?))?)?;
    }
    Ok(list)
}

/// The pickle of a reply and its buffers.
pub(crate) fn read<'py>(py: Python<'py>, reply: &Reply) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyList>)> {
    Ok((stream(py, reply.body.as_ref(), &reply.pieces)?, buffers(py, &reply.pieces)?))
}

#[pyfunction]
fn views_before_fork() {
    forks::before_fork();
}

#[pyfunction]
fn views_after_fork_in_parent() {
    forks::after_fork_in_parent();
}

#[pyfunction]
fn views_after_fork_in_child() {
    forks::after_fork_in_child();
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Arena>()?;
    module.add_class::<Packer>()?;
    module.add_function(wrap_pyfunction!(views_before_fork, module)?)?;
    module.add_function(wrap_pyfunction!(views_after_fork_in_parent, module)?)?;
    module.add_function(wrap_pyfunction!(views_after_fork_in_child, module)?)?;
    module.add_function(wrap_pyfunction!(large::large_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(checksum::checksum, module)?)?;
    block::register(module)
}

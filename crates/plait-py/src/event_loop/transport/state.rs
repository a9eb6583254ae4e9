//! What a connection remembers.

use std::collections::VecDeque;

use plait_sys::epoll::Interest;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyTuple};

use super::super::base::{Gone, Life, Output};
use super::SocketTransport;

/// Objects on their way out of the lock.
type Released = (Gone, [Option<Py<PyAny>>; 2], VecDeque<Py<PyBytes>>);

pub(super) struct State {
    pub(super) life: Life,
    pub(super) server: Option<Py<PyAny>>,
    pub(super) output: Output,
    /// The peer has ended its side.
    pub(super) input_ended: bool,
    /// `write_eof` was called.
    pub(super) eof: bool,
    /// The loop sends a file: nobody may write in between.
    pub(super) sending_file: bool,
    /// What it waits for with that, woken at the end of the transport as well.
    pub(super) file_waiter: Option<Py<PyAny>>,
}

impl State {
    pub(super) fn new(life: Life, server: Option<Py<PyAny>>) -> Self {
        Self {
            life,
            server,
            output: Output::default(),
            input_ended: false,
            eof: false,
            sending_file: false,
            file_waiter: None,
        }
    }

    /// What the kernel is to be asked for.
    pub(super) fn interest(&self) -> Interest {
        Interest { read: self.life.reads() && !self.input_ended, write: !self.output.is_empty() }
    }

    /// Lets go of every object, to be dropped outside the lock.
    pub(super) fn release(&mut self) -> Released {
        let others = [self.server.take(), self.file_waiter.take()];
        (self.life.release(), others, self.output.clear())
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.life.traverse(visit)?;
        visit.call(&self.server)?;
        visit.call(&self.file_waiter)
    }
}

/// What is to be sent, as an object that cannot change while it waits.
pub(in super::super) fn to_bytes<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    if data.is_instance_of::<PyByteArray>() || data.is_instance_of::<PyMemoryView>() {
        return Ok(data.py().get_type::<PyBytes>().call1((data,))?.cast_into()?);
    }
    let name = data.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "data argument must be a bytes, bytearray, or memoryview object, not '{name}'"
    )))
}

/// Tells the server of a new connection of its own. It keeps the transport
/// (weakly) from 3.13 on; before, it counts.
pub(super) fn attach(server: &Bound<'_, PyAny>, transport: &Bound<'_, SocketTransport>) -> PyResult<()> {
    server.call_method1(intern!(server.py(), "_attach"), server_args(transport)?).map(drop)
}

/// Tells the server that the connection has ended.
pub(super) fn detach(server: &Bound<'_, PyAny>, transport: &Bound<'_, SocketTransport>) -> PyResult<()> {
    server.call_method1(intern!(server.py(), "_detach"), server_args(transport)?).map(drop)
}

fn server_args<'py>(transport: &Bound<'py, SocketTransport>) -> PyResult<Bound<'py, PyTuple>> {
    // To ask for the version is to take its text apart.
    static TAKES_TRANSPORT: PyOnceLock<bool> = PyOnceLock::new();
    let py = transport.py();
    if *TAKES_TRANSPORT.get_or_init(py, || py.version_info() >= (3, 13)) {
        PyTuple::new(py, [transport])
    } else {
        Ok(PyTuple::empty(py))
    }
}

//! What a connection remembers.

use std::collections::VecDeque;

use plait_sys::epoll::Interest;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyTuple, PyType};

use super::super::base::{Gone, Life, Output};
use super::tls::Tls;
use super::{SocketTransport, reader};

/// The protocol's methods that take input, looked up when input first comes.
pub(in super::super) enum Receiver {
    Unknown,
    /// `data_received`
    Stream(Py<PyAny>),
    /// `get_buffer` and `buffer_updated`
    Buffered(Py<PyAny>, Py<PyAny>),
    /// None: the standard `StreamReaderProtocol`, whose reader is fed natively.
    Reader(Py<PyAny>),
    /// plait's own TLS protocol, which is called without a detour.
    Tls(Py<Tls>),
}

impl Receiver {
    /// How `protocol` takes what the socket receives.
    pub(super) fn of(protocol: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(tls) = protocol.cast::<Tls>() {
            return Ok(Self::Tls(tls.clone().unbind()));
        }
        if reader::is_standard(protocol)? {
            return Ok(Self::Reader(protocol.clone().unbind()));
        }
        Self::of_application(protocol)
    }

    /// The methods of `protocol`.
    pub(in super::super) fn of_application(protocol: &Bound<'_, PyAny>) -> PyResult<Self> {
        static BUFFERED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let buffered = BUFFERED.import(protocol.py(), "asyncio", "BufferedProtocol")?;
        let py = protocol.py();
        let (get_buffer, data_received) = (intern!(py, "get_buffer"), intern!(py, "data_received"));
        if !protocol.is_instance(buffered)? {
            if let Some(received) = protocol.getattr_opt(data_received)? {
                return Ok(Self::Stream(received.unbind()));
            }
            if !protocol.hasattr(get_buffer)? {
                return Ok(Self::Stream(protocol.getattr(data_received)?.unbind()));
            }
            // One that says so by its methods alone, as uvloop takes it.
        }
        let (get, updated) =
            (protocol.getattr(get_buffer)?, protocol.getattr(intern!(py, "buffer_updated"))?);
        Ok(Self::Buffered(get.unbind(), updated.unbind()))
    }

    /// Takes the methods out: they are looked up anew when input comes next.
    pub(in super::super) fn forget(&mut self) -> Self {
        std::mem::replace(self, Self::Unknown)
    }

    pub(in super::super) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::Stream(received) => Self::Stream(received.clone_ref(py)),
            Self::Buffered(get, updated) => Self::Buffered(get.clone_ref(py), updated.clone_ref(py)),
            Self::Reader(protocol) => Self::Reader(protocol.clone_ref(py)),
            Self::Tls(tls) => Self::Tls(tls.clone_ref(py)),
        }
    }

    pub(in super::super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Unknown => Ok(()),
            Self::Stream(received) => visit.call(received),
            Self::Buffered(get, updated) => {
                visit.call(get)?;
                visit.call(updated)
            }
            Self::Reader(protocol) => visit.call(protocol),
            Self::Tls(tls) => visit.call(tls),
        }
    }
}

/// Objects on their way out of the lock.
type Released = (Gone, Receiver, [Option<Py<PyAny>>; 2], VecDeque<Py<PyBytes>>);

pub(super) struct State {
    pub(super) life: Life,
    pub(super) receiver: Receiver,
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
            receiver: Receiver::Unknown,
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
        (self.life.release(), self.receiver.forget(), others, self.output.clear())
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.life.traverse(visit)?;
        visit.call(&self.server)?;
        visit.call(&self.file_waiter)?;
        self.receiver.traverse(visit)
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

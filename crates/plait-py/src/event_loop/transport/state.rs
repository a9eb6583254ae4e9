//! What a connection remembers.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::RawFd;

use plait_loop::outbox::Outbox;
use plait_sys::epoll::Interest;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyTuple, PyType};

use super::tls::Tls;
use super::{SocketTransport, reader};

/// The marks of flow control, in bytes.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Limits {
    pub(in super::super) low: usize,
    pub(in super::super) high: usize,
}

impl Limits {
    /// The given marks, the missing ones as asyncio derives them.
    pub(in super::super) fn new(high: Option<i64>, low: Option<i64>) -> PyResult<Self> {
        let high = high.unwrap_or_else(|| low.map_or(64 * 1024, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high / 4);
        match (usize::try_from(low), usize::try_from(high)) {
            (Ok(low), Ok(high)) if high >= low => Ok(Self { low, high }),
            _ => Err(PyValueError::new_err(format!("high ({high}) must be >= low ({low}) must be >= 0"))),
        }
    }
}

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
        if protocol.is_instance(buffered)? {
            let (get, updated) = (protocol.getattr("get_buffer")?, protocol.getattr("buffer_updated")?);
            return Ok(Self::Buffered(get.unbind(), updated.unbind()));
        }
        Ok(Self::Stream(protocol.getattr("data_received")?.unbind()))
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
pub(super) struct Released {
    pub(super) sock: Option<Py<PyAny>>,
    pub(super) server: Option<Py<PyAny>>,
    _protocol: Option<Py<PyAny>>,
    _receiver: Receiver,
    _waiter: Option<Py<PyAny>>,
    _error: Option<Py<PyAny>>,
    _unsent: VecDeque<Py<PyBytes>>,
}

#[expect(clippy::struct_excessive_bools, reason = "independent flags, each asyncio's own")]
pub(super) struct State {
    pub(super) fd: RawFd,
    pub(super) sock: Option<Py<PyAny>>,
    pub(super) protocol: Option<Py<PyAny>>,
    pub(super) receiver: Receiver,
    /// Set when the protocol has been told of the connection.
    pub(super) waiter: Option<Py<PyAny>>,
    pub(super) server: Option<Py<PyAny>>,
    /// What ended the connection.
    pub(super) error: Option<Py<PyAny>>,
    pub(super) outbox: Outbox<Py<PyBytes>>,
    pub(super) limits: Limits,
    /// `begin` has run.
    pub(super) open: bool,
    pub(super) paused: bool,
    /// The peer has ended its side.
    pub(super) input_ended: bool,
    /// `write_eof` was called.
    pub(super) eof: bool,
    pub(super) closing: bool,
    /// From the loss of the connection on: 1, and each write after it.
    pub(super) lost: u32,
    /// This is a process forked from the one that has the connection.
    pub(super) inherited: bool,
    /// The loop sends a file: nobody may write in between.
    pub(super) sending_file: bool,
    pub(super) protocol_paused: bool,
}

impl State {
    pub(super) fn new(
        fd: RawFd,
        sock: Py<PyAny>,
        protocol: Py<PyAny>,
        waiter: Option<Py<PyAny>>,
        server: Option<Py<PyAny>>,
    ) -> Self {
        Self {
            fd,
            sock: Some(sock),
            protocol: Some(protocol),
            receiver: Receiver::Unknown,
            waiter,
            server,
            error: None,
            outbox: Outbox::default(),
            limits: Limits { low: 16 * 1024, high: 64 * 1024 },
            open: false,
            paused: false,
            input_ended: false,
            eof: false,
            closing: false,
            lost: 0,
            inherited: false,
            sending_file: false,
            protocol_paused: false,
        }
    }

    /// What the kernel is to be asked for.
    pub(super) fn interest(&self) -> Interest {
        Interest {
            read: self.open && !self.paused && !self.input_ended && !self.closing,
            write: !self.outbox.is_empty(),
        }
    }

    /// Whether the protocol must be told to stop writing; notes that it was.
    pub(super) fn becomes_full(&mut self) -> bool {
        let full = !self.protocol_paused && self.outbox.len() > self.limits.high;
        self.protocol_paused |= full;
        full
    }

    /// Whether the protocol can be told to go on; notes that it was.
    pub(super) fn becomes_free(&mut self) -> bool {
        let free = self.protocol_paused && self.outbox.len() <= self.limits.low;
        self.protocol_paused &= !free;
        free
    }

    /// Changes the protocol; returns what belonged to the old one.
    pub(super) fn set_protocol(&mut self, protocol: Py<PyAny>) -> (Option<Py<PyAny>>, Receiver) {
        (self.protocol.replace(protocol), std::mem::replace(&mut self.receiver, Receiver::Unknown))
    }

    /// Lets go of every object, to be dropped outside the lock.
    pub(super) fn release(&mut self) -> Released {
        Released {
            sock: self.sock.take(),
            server: self.server.take(),
            _protocol: self.protocol.take(),
            _receiver: std::mem::replace(&mut self.receiver, Receiver::Unknown),
            _waiter: self.waiter.take(),
            _error: self.error.take(),
            _unsent: self.outbox.clear(),
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for object in [&self.sock, &self.protocol, &self.waiter, &self.server, &self.error] {
            visit.call(object)?;
        }
        self.receiver.traverse(visit)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sock.is_none() {
            return f.write_str("closed");
        }
        write!(f, "fd={}", self.fd)?;
        if self.closing {
            f.write_str(" closing")?;
        }
        let interest = self.interest();
        let read = if interest.read { "polling" } else { "idle" };
        let write = if interest.write { "polling" } else { "idle" };
        write!(f, " read={read} write=<{write}, bufsize={}>", self.outbox.len())
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
    server.call_method1("_attach", server_args(transport)?).map(drop)
}

/// Tells the server that the connection has ended.
pub(super) fn detach(server: &Bound<'_, PyAny>, transport: &Bound<'_, SocketTransport>) -> PyResult<()> {
    server.call_method1("_detach", server_args(transport)?).map(drop)
}

fn server_args<'py>(transport: &Bound<'py, SocketTransport>) -> PyResult<Bound<'py, PyTuple>> {
    let py = transport.py();
    if py.version_info() >= (3, 13) { PyTuple::new(py, [transport]) } else { Ok(PyTuple::empty(py)) }
}

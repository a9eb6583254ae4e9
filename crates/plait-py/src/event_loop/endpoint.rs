//! The transports as the loop knows them: what has a descriptor in the table
//! and gets its events.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::base::Transport;
use super::datagram::DatagramTransport;
use super::pipe::{ReadPipeTransport, WritePipeTransport};
use super::transport::SocketTransport;

/// A native transport of any kind.
pub(super) enum Endpoint {
    /// A connected stream socket.
    Stream(Py<SocketTransport>),
    /// A datagram socket.
    Datagram(Py<DatagramTransport>),
    /// What a pipe gives.
    Reader(Py<ReadPipeTransport>),
    /// What a pipe takes.
    Writer(Py<WritePipeTransport>),
}

/// Does the same with a transport of any kind.
macro_rules! each {
    ($endpoint:expr, $transport:ident => $action:expr) => {
        match $endpoint {
            Endpoint::Stream($transport) => $action,
            Endpoint::Datagram($transport) => $action,
            Endpoint::Reader($transport) => $action,
            Endpoint::Writer($transport) => $action,
        }
    };
}

impl Endpoint {
    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Stream(transport) => Self::Stream(transport.clone_ref(py)),
            Self::Datagram(transport) => Self::Datagram(transport.clone_ref(py)),
            Self::Reader(transport) => Self::Reader(transport.clone_ref(py)),
            Self::Writer(transport) => Self::Writer(transport.clone_ref(py)),
        }
    }

    /// The transport as Python knows it.
    pub(super) fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        each!(self, transport => transport.bind(py).clone().into_any())
    }

    pub(super) fn is(&self, object: &Bound<'_, PyAny>) -> bool {
        each!(self, transport => transport.is(object))
    }

    /// Tells the protocol of the transport, then starts it.
    pub(super) fn begin(&self, py: Python<'_>) -> PyResult<()> {
        each!(self, transport => Transport::begin(transport.bind(py)))
    }

    /// Reads and writes what the kernel said can be read and written.
    pub(super) fn on_ready(&self, py: Python<'_>, readable: bool, writable: bool) -> PyResult<()> {
        each!(self, transport => Transport::on_ready(transport.bind(py), readable, writable))
    }

    /// Tells the protocol of the end, and lets go of the descriptor.
    pub(super) fn end(&self, py: Python<'_>) -> PyResult<()> {
        each!(self, transport => Transport::end(transport.bind(py)))
    }

    /// Makes it the parent's business alone, in a process forked from there.
    /// Says whether its protocol knows of no end yet.
    pub(super) fn abandon(&self, py: Python<'_>) -> bool {
        each!(self, transport => Transport::abandon(transport.bind(py)))
    }

    /// Has the protocol told that the parent has it.
    pub(super) fn end_as_inherited(&self, py: Python<'_>) -> PyResult<()> {
        each!(self, transport => Transport::end_as_inherited(transport.bind(py)))
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        each!(self, transport => visit.call(transport))
    }
}

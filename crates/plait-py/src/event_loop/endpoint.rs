//! The transports as the loop knows them: what has a descriptor in the table
//! and gets its events.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::datagram::DatagramTransport;
use super::pipe::{PipeEnd, ReadPipeTransport, WritePipeTransport};
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
        match self {
            Self::Stream(transport) => transport.bind(py).clone().into_any(),
            Self::Datagram(transport) => transport.bind(py).clone().into_any(),
            Self::Reader(transport) => transport.bind(py).clone().into_any(),
            Self::Writer(transport) => transport.bind(py).clone().into_any(),
        }
    }

    pub(super) fn is(&self, object: &Bound<'_, PyAny>) -> bool {
        match self {
            Self::Stream(transport) => transport.is(object),
            Self::Datagram(transport) => transport.is(object),
            Self::Reader(transport) => transport.is(object),
            Self::Writer(transport) => transport.is(object),
        }
    }

    /// Tells the protocol of the transport, then starts it.
    pub(super) fn begin(&self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Stream(transport) => SocketTransport::begin(transport.bind(py)),
            Self::Datagram(transport) => DatagramTransport::begin(transport.bind(py)),
            Self::Reader(transport) => ReadPipeTransport::begin(transport.bind(py)),
            Self::Writer(transport) => WritePipeTransport::begin(transport.bind(py)),
        }
    }

    /// Reads and writes what the kernel said can be read and written.
    pub(super) fn on_ready(&self, py: Python<'_>, readable: bool, writable: bool) -> PyResult<()> {
        match self {
            Self::Stream(transport) => SocketTransport::on_ready(transport.bind(py), readable, writable),
            Self::Datagram(transport) => DatagramTransport::on_ready(transport.bind(py), readable, writable),
            Self::Reader(transport) => ReadPipeTransport::on_ready(transport.bind(py), readable, writable),
            Self::Writer(transport) => WritePipeTransport::on_ready(transport.bind(py), readable, writable),
        }
    }

    /// Tells the protocol of the end, and lets go of the descriptor.
    pub(super) fn end(&self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Stream(transport) => SocketTransport::end(transport.bind(py)),
            Self::Datagram(transport) => DatagramTransport::end(transport.bind(py)),
            Self::Reader(transport) => ReadPipeTransport::end(transport.bind(py)),
            Self::Writer(transport) => WritePipeTransport::end(transport.bind(py)),
        }
    }

    /// Makes it the parent's business alone, in a process forked from there.
    pub(super) fn abandon(&self, py: Python<'_>) {
        match self {
            Self::Stream(transport) => SocketTransport::abandon(transport.bind(py)),
            Self::Datagram(transport) => DatagramTransport::abandon(transport.bind(py)),
            Self::Reader(transport) => ReadPipeTransport::abandon(transport.bind(py)),
            Self::Writer(transport) => WritePipeTransport::abandon(transport.bind(py)),
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Stream(transport) => visit.call(transport),
            Self::Datagram(transport) => visit.call(transport),
            Self::Reader(transport) => visit.call(transport),
            Self::Writer(transport) => visit.call(transport),
        }
    }
}

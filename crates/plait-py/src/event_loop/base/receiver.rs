//! Who takes a transport's input.

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::super::transport::Tls;
use super::Transport;

/// The protocol's methods that take input, looked up when input first comes.
pub(in super::super) enum Receiver {
    Unknown,
    /// `data_received`, or `datagram_received`
    Method(Py<PyAny>),
    /// `get_buffer` and `buffer_updated`
    Buffered(Py<PyAny>, Py<PyAny>),
    /// None: the standard `StreamReaderProtocol`, whose reader is fed natively.
    Reader(Py<PyAny>),
    /// plait's own TLS protocol, which is called without a detour.
    Tls(Py<Tls>),
}

impl Receiver {
    /// The methods of `protocol`.
    pub(in super::super) fn of_application(protocol: &Bound<'_, PyAny>) -> PyResult<Self> {
        static BUFFERED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let buffered = BUFFERED.import(protocol.py(), "asyncio", "BufferedProtocol")?;
        let py = protocol.py();
        let (get_buffer, data_received) = (intern!(py, "get_buffer"), intern!(py, "data_received"));
        if !protocol.is_instance(buffered)? {
            if let Some(received) = protocol.getattr_opt(data_received)? {
                return Ok(Self::Method(received.unbind()));
            }
            if !protocol.hasattr(get_buffer)? {
                return Ok(Self::Method(protocol.getattr(data_received)?.unbind()));
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
            Self::Method(received) => Self::Method(received.clone_ref(py)),
            Self::Buffered(get, updated) => Self::Buffered(get.clone_ref(py), updated.clone_ref(py)),
            Self::Reader(protocol) => Self::Reader(protocol.clone_ref(py)),
            Self::Tls(tls) => Self::Tls(tls.clone_ref(py)),
        }
    }

    pub(in super::super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Unknown => Ok(()),
            Self::Method(received) => visit.call(received),
            Self::Buffered(get, updated) => {
                visit.call(get)?;
                visit.call(updated)
            }
            Self::Reader(protocol) => visit.call(protocol),
            Self::Tls(tls) => visit.call(tls),
        }
    }
}

/// What all transports do in the same way with those who take their input.
pub(in super::super) trait Receives: Transport {
    /// Changes the protocol.
    fn set_protocol(slf: &Bound<'_, Self>, protocol: Py<PyAny>) {
        let before = {
            let mut life = Self::life(slf);
            (life.protocol.replace(protocol), life.receiver.forget())
        };
        drop(before);
    }

    /// What `find` makes of the protocol, if that is not known yet.
    fn receiver(
        slf: &Bound<'_, Self>,
        find: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<Receiver>,
    ) -> PyResult<Receiver> {
        let known = Self::life(slf).receiver.clone_ref(slf.py());
        if matches!(known, Receiver::Unknown) { Self::find_receiver(slf, find) } else { Ok(known) }
    }

    /// What `find` makes of the protocol, found out anew.
    fn find_receiver(
        slf: &Bound<'_, Self>,
        find: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<Receiver>,
    ) -> PyResult<Receiver> {
        let py = slf.py();
        let Some(protocol) = Self::protocol(slf) else {
            return Err(PyRuntimeError::new_err("the transport has no protocol"));
        };
        let receiver = find(protocol.bind(py))?;
        let before = std::mem::replace(&mut Self::life(slf).receiver, receiver.clone_ref(py));
        drop(before);
        Ok(receiver)
    }
}

impl<T: Transport> Receives for T {}

//! Who is at the two ends of a socket, for `get_extra_info`.
//!
//! The kernel is asked when the transport is made, for it forgets the peer
//! when the connection breaks. Python's form of the answer, which costs several
//! times as much, is made for who asks.

use std::os::fd::RawFd;

use plait_sys::connection::{self, End};
use pyo3::exceptions::PyOSError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use super::super::datagram::address;

/// What was known before is in the dictionary of the transport.
pub(super) struct Names {
    sock: Py<PyAny>,
    local: End,
    peer: End,
}

impl Names {
    /// Asks for what `extra` does not have. Sockets that are not exactly
    /// `socket.socket`, or whose addresses are of another kind, answer through
    /// their methods, at once.
    pub(super) fn ask(sock: &Bound<'_, PyAny>, fd: RawFd, extra: &Bound<'_, PyDict>) -> PyResult<Self> {
        static SOCKET: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = sock.py();
        let plain = sock.get_type().is(SOCKET.import(py, "socket", "socket")?);
        let end = |name: &Bound<'_, PyString>, method: &str, ask: fn(RawFd) -> End| {
            if extra.contains(name)? {
                return Ok(End::Nowhere);
            }
            let end = if plain { ask(fd) } else { End::Strange };
            if end == End::Strange {
                match sock.call_method0(method) {
                    Ok(address) => extra.set_item(name, address)?,
                    Err(error) if error.is_instance_of::<PyOSError>(py) => extra.set_item(name, py.None())?,
                    Err(error) => return Err(error),
                }
            }
            PyResult::Ok(end)
        };
        let local = end(intern!(py, "sockname"), "getsockname", connection::local)?;
        let peer = end(intern!(py, "peername"), "getpeername", connection::peer)?;
        Ok(Self { sock: sock.clone().unbind(), local, peer })
    }

    /// The answer to `name`, if it is one of these.
    pub(super) fn get<'py>(&self, name: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        static WRAPPER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = name.py();
        let Ok(name) = name.cast::<PyString>() else { return Ok(None) };
        let end = match name.to_str()? {
            "socket" => {
                let wrapper = WRAPPER.import(py, "asyncio.trsock", "TransportSocket")?;
                return wrapper.call1((&self.sock,)).map(Some);
            }
            "sockname" => &self.local,
            "peername" => &self.peer,
            _ => return Ok(None),
        };
        match end {
            End::Named(address) => Ok(Some(address::to_python(py, address)?.into_bound(py))),
            End::Nowhere | End::Strange => Ok(Some(py.None().into_bound(py))),
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.sock)
    }
}

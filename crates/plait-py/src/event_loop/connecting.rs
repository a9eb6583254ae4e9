//! The native half of accepting and connecting.

use std::os::fd::{IntoRawFd, RawFd};

use plait_sys::connection::{self, Progress};
use plait_sys::datagram::{Address, Family};
use plait_sys::descriptor;
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyTuple};

use super::core::Loop;
use super::datagram::address;
use super::sockets::plain_socket;
use crate::error::Error;

/// The number of the family of a `socket.socket`, whose own attribute makes
/// an enumeration's member of it, at ten times the cost.
fn family(sock: &Bound<'_, PyAny>) -> PyResult<Family> {
    static GETTER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = sock.py();
    let getter = GETTER.get_or_try_init(py, || {
        let family = py.import("_socket")?.getattr("socket")?.getattr("family")?;
        family.getattr("__get__").map(Bound::unbind)
    })?;
    Ok(Family::from_raw(getter.bind(py).call1((sock,))?.extract()?))
}

/// `sys.audit`, looked up once: to import a module, even one that is there, is
/// a call of Python code.
fn audit(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static AUDIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    AUDIT.import(py, "sys", "audit")
}

#[pymethods]
impl Loop {
    /// Accepts one connection: the number of its socket, which does not
    /// block, and its peer's address. None if there is none. `told`: an event
    /// says that there is one.
    ///
    /// Somebody may have made the listener block: it is asked for what waits
    /// then, and should that be gone by the time, only this thread waits.
    #[staticmethod]
    fn _accept(py: Python<'_>, fd: RawFd, told: bool) -> PyResult<Option<(RawFd, Option<Py<PyAny>>)>> {
        let blocks = descriptor::blocks(fd).map_err(Error::from)?;
        if (!told || blocks) && !connection::is_waiting(fd) {
            return Ok(None);
        }
        let accepted = if blocks { py.detach(|| connection::accept(fd)) } else { connection::accept(fd) };
        let Some((socket, peer)) = accepted.map_err(Error::from)? else { return Ok(None) };
        let peer = peer.map(|peer| address::to_python(py, &peer)).transpose()?;
        Ok(Some((socket.into_raw_fd(), peer)))
    }

    /// Begins to connect `sock` to a numeric address. True if that is done,
    /// False if the socket will be writable when it is, and NotImplemented if
    /// the socket's own method must be asked.
    fn _try_connect(
        slf: &Bound<'_, Self>,
        sock: &Bound<'_, PyAny>,
        address: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Some(fd) = plain_socket(slf, sock)? else { return Ok(py.NotImplemented()) };
        // The socket's own method lets go of the interpreter while it waits.
        if descriptor::blocks(fd).map_err(Error::from)? {
            return Ok(py.NotImplemented());
        }
        let family = family(sock)?;
        // Listeners and errors are told a version 6 address with its scope, as
        // a look-up has it.
        if family == Family::Inet6 && address.cast::<PyTuple>().is_ok_and(|address| address.len() < 4) {
            return Ok(py.NotImplemented());
        }
        let Some(Address::Inet(to)) = address::from_python(family, address) else {
            return Ok(py.NotImplemented());
        };
        // As the socket's method does: who listens may refuse it.
        audit(py)?.call1((intern!(py, "socket.connect"), sock, address))?;
        let done = match connection::connect(fd, &to).map_err(Error::from)? {
            Progress::Done => true,
            Progress::Pending => false,
            Progress::Failed(errno) => {
                let message = format!("Connect call failed {}", address.str()?);
                return Err(PyOSError::new_err((errno.raw_os_error(), message)));
            }
        };
        Ok(PyBool::new(py, done).to_owned().into_any().unbind())
    }
}

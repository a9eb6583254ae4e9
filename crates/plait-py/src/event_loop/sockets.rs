//! The native half of the `sock_*` calls: an operation tried at once, and the
//! wait for the next attempt.
//!
//! Only for exactly `socket.socket`, which has no room for methods of an
//! instance's own, and as long as nobody has replaced the methods on the class;
//! whatever else is called as it is (`_loop/sockets.py`).

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use plait_sys::stream;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyType};

use super::core::Loop;
use super::listeners::{self, Displaced, Listener, Side};
use super::reading::READ_SIZE;
use super::watch;
use crate::error::Error;
use crate::hot::buffer::fill;
use crate::hot::instance;

/// What is done here in place of these methods of `socket.socket`.
const METHODS: [&str; 5] = ["connect", "fileno", "recv", "recv_into", "send"];

/// Whether the methods of `class`, `socket.socket`, are those that C gives it:
/// tests and tools that forbid connections put others there.
fn has_own_methods(class: &Bound<'_, PyType>) -> PyResult<bool> {
    static VERSION: AtomicU32 = AtomicU32::new(0);
    let py = class.py();
    let version = || instance::version(class).map_or(0, u32::from);
    // Relaxed: the interpreter lock orders it.
    let seen = VERSION.load(Relaxed);
    if seen != 0 && seen == version() {
        return Ok(true);
    }
    if !instance::has_usual_lookup(class) {
        return Ok(false);
    }
    let native = py.import("_socket")?.getattr("socket")?;
    for name in METHODS {
        if !class.getattr(name)?.is(&native.getattr(name)?) {
            return Ok(false);
        }
    }
    // The look-up gave the class a number if it had none.
    VERSION.store(version(), Relaxed);
    Ok(true)
}

/// The number of a `socket.socket` that can be used here.
pub(super) fn plain_socket(slf: &Bound<'_, Loop>, sock: &Bound<'_, PyAny>) -> PyResult<Option<RawFd>> {
    static SOCKET: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = sock.py();
    let class = sock.get_type();
    if slf.get().debug() || !class.is(SOCKET.import(py, "socket", "socket")?) || !has_own_methods(&class)? {
        return Ok(None);
    }
    let fd = sock.call_method0(intern!(py, "fileno"))?.extract::<RawFd>()?;
    // A closed loop and a closed socket have their errors elsewhere.
    Ok((fd >= 0 && slf.get().core(py).poller.is_some()).then_some(fd))
}

fn wait<'py>(slf: &Bound<'py, Loop>, fd: RawFd, side: Side) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    watch::refuse_transport(slf, fd)?;
    let future = slf.call_method0(intern!(py, "create_future"))?;
    let listener = Some(Listener::Waiter(future.clone().unbind()));
    let mut displaced = Displaced::default();
    let waits = listeners::exchange(&mut slf.get().core(py), fd, side, listener, &mut displaced);
    displaced.dismiss(py);
    waits.map(|()| future)
}

fn end_wait(slf: &Bound<'_, Loop>, fd: RawFd, side: Side, future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = slf.py();
    let mut displaced = Displaced::default();
    let ended = {
        let mut core = slf.get().core(py);
        // Another may wait in its place, or the loop be closed.
        if core.poller.is_none() || !listeners::awaits(&mut core, fd, side, future) {
            return Ok(());
        }
        listeners::exchange(&mut core, fd, side, None, &mut displaced)
    };
    displaced.dismiss(py);
    ended
}

#[pymethods]
impl Loop {
    /// Returns a future that is done once `fd` can be read.
    fn _wait_readable<'py>(slf: &Bound<'py, Self>, fd: RawFd) -> PyResult<Bound<'py, PyAny>> {
        wait(slf, fd, Side::Reader)
    }

    /// Returns a future that is done once `fd` can be written.
    fn _wait_writable<'py>(slf: &Bound<'py, Self>, fd: RawFd) -> PyResult<Bound<'py, PyAny>> {
        wait(slf, fd, Side::Writer)
    }

    /// Forgets a future of `_wait_readable` or `_wait_writable`.
    fn _end_wait(slf: &Bound<'_, Self>, fd: RawFd, future: &Bound<'_, PyAny>) -> PyResult<()> {
        end_wait(slf, fd, Side::Reader, future)?;
        end_wait(slf, fd, Side::Writer, future)
    }

    /// Receives up to `nbytes` bytes. Returns None if there is nothing yet,
    /// and NotImplemented if the socket's own method must be asked.
    fn _try_recv<'py>(
        slf: &Bound<'py, Self>,
        sock: &Bound<'py, PyAny>,
        nbytes: &Bound<'py, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let size = nbytes.cast_exact::<PyInt>().ok().and_then(|nbytes| nbytes.extract::<usize>().ok());
        let Some(size) = size.filter(|size| (1..=READ_SIZE).contains(size)) else {
            return Ok(py.NotImplemented());
        };
        let Some(fd) = plain_socket(slf, sock)? else { return Ok(py.NotImplemented()) };
        let data = slf.get().with_read_buffer(py, |buffer| {
            let received = stream::recv(fd, &mut buffer[..size]);
            received.map(|count| count.map(|count| PyBytes::new(py, &buffer[..count])))
        });
        Ok(data.map_err(Error::from)?.map_or_else(|| py.None(), |data| data.into_any().unbind()))
    }

    /// Receives into `buf`; returns as `_try_recv`, with a count for the bytes.
    fn _try_recv_into<'py>(
        slf: &Bound<'py, Self>,
        sock: &Bound<'py, PyAny>,
        buf: &Bound<'py, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Some(fd) = plain_socket(slf, sock)? else { return Ok(py.NotImplemented()) };
        // A buffer that is refused, or empty: the socket's own method says so.
        match fill(stream::recv, fd, buf) {
            Ok(received) => Ok(received?.into_pyobject(py)?.unbind()),
            Err(error) if error.is_instance_of::<PyException>(py) => Ok(py.NotImplemented()),
            Err(error) => Err(error),
        }
    }

    /// Sends what there is room for of `data` from `start` on. Returns the
    /// new start, and NotImplemented if the socket's own method must be asked.
    fn _try_send<'py>(
        slf: &Bound<'py, Self>,
        sock: &Bound<'py, PyAny>,
        data: &Bound<'py, PyAny>,
        start: usize,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Ok(data) = data.cast_exact::<PyBytes>() else { return Ok(py.NotImplemented()) };
        let Some(rest) = data.as_bytes().get(start..) else {
            return Err(PyRuntimeError::new_err("more was sent than there is"));
        };
        let Some(fd) = plain_socket(slf, sock)? else { return Ok(py.NotImplemented()) };
        let sent = stream::send(fd, rest).map_err(Error::from)?.unwrap_or(0);
        Ok((start + sent).into_pyobject(py)?.into_any().unbind())
    }
}

//! A connected stream socket: asyncio's transport interface.

mod io;
mod reader;
pub(super) mod state;
mod tls;

use std::cell::RefMut;
use std::io::IoSlice;
use std::os::fd::RawFd;

use plait_sys::connection;
use plait_sys::epoll::Interest;
use plait_sys::stream;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use self::state::State;

pub(super) use self::tls::{Scratch, Tls};
use super::base::{
    Base, Life, Output, SendsBytes, Transport, Writes, reading_interface, transport_interface,
    writing_interface,
};
use super::core::Loop;
use super::endpoint::Endpoint;
use super::waiter;
use crate::error::Error;
use crate::hot::cell::GilCell;

/// A transport over a connected stream socket.
#[pyclass(frozen, subclass, weakref, dict, module = "plait._native")]
pub(crate) struct SocketTransport {
    base: Base,
    state: GilCell<State>,
}

impl SocketTransport {
    /// The method of that name; `hot::write` has what Python calls.
    pub(crate) fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(data) = data.cast::<PyBytes>() else { return Self::send_object(slf, data) };
        slf.get().check_writable(slf.py())?;
        Self::send(slf, data)
    }

    fn state(&self, py: Python<'_>) -> RefMut<'_, State> {
        self.state.borrow(py)
    }

    fn leave_server(slf: &Bound<'_, Self>) -> PyResult<()> {
        let server = slf.get().state(slf.py()).server.take();
        server.map_or(Ok(()), |server| state::detach(server.bind(slf.py()), slf))
    }

    /// Wakes who waits to send a file, unless something else has done so.
    fn wake_file_waiter(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let Some(waiter) = slf.get().state(py).file_waiter.take() else { return Ok(()) };
        let waiter = waiter.bind(py);
        let error = Self::life(slf).error.as_ref().map(|error| error.clone_ref(py));
        match error {
            // What the system said of the connection; of other ends it is
            // enough to know that there was one.
            Some(error) if error.bind(py).is_instance_of::<PyOSError>() => {
                waiter::fail_unless_done(waiter, error)
            }
            _ => waiter::wake_unless_done(waiter),
        }
    }
}

impl Transport for SocketTransport {
    fn base<'a>(slf: &'a Bound<'_, Self>) -> &'a Base {
        &slf.get().base
    }

    fn life<'a>(slf: &'a Bound<'_, Self>) -> RefMut<'a, Life> {
        RefMut::map(slf.get().state(slf.py()), |state| &mut state.life)
    }

    fn endpoint(slf: Py<Self>) -> Endpoint {
        Endpoint::Stream(slf)
    }

    fn interest(slf: &Bound<'_, Self>) -> Interest {
        slf.get().state(slf.py()).interest()
    }

    fn on_ready(slf: &Bound<'_, Self>, readable: bool, writable: bool) -> PyResult<()> {
        if readable {
            Self::on_readable(slf)?;
        }
        if writable && Self::interest(slf).write {
            Self::flush(slf)?;
        }
        Ok(())
    }

    fn waiting(slf: &Bound<'_, Self>) -> usize {
        Self::output(slf).waiting()
    }

    fn discard(slf: &Bound<'_, Self>) {
        let unsent = Self::output(slf).clear();
        drop(unsent);
    }

    fn release(slf: &Bound<'_, Self>) {
        let held = slf.get().state(slf.py()).release();
        drop(held);
    }

    fn on_started(slf: &Bound<'_, Self>) -> PyResult<()> {
        let server = slf.get().state(slf.py()).server.as_ref().map(|server| server.clone_ref(slf.py()));
        match server {
            Some(server) => state::attach(server.bind(slf.py()), slf),
            None => Ok(()),
        }
    }

    fn on_closed(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::wake_file_waiter(slf).and(Self::leave_server(slf))
    }

    fn on_collected(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::leave_server(slf)
    }
}

impl SendsBytes for SocketTransport {
    const TOO_LATE: &'static str = "socket.send() raised exception.";

    fn output<'a>(slf: &'a Bound<'_, Self>) -> RefMut<'a, Output> {
        RefMut::map(slf.get().state(slf.py()), |state| &mut state.output)
    }

    fn put(fd: RawFd, data: &[u8]) -> plait_sys::Result<Option<usize>> {
        stream::send(fd, data)
    }

    fn put_all(fd: RawFd, data: &[IoSlice<'_>]) -> plait_sys::Result<Option<usize>> {
        stream::send_vectored(fd, data)
    }

    fn is_late(slf: &Bound<'_, Self>) -> bool {
        Self::life(slf).lost
    }

    fn way(slf: &Bound<'_, Self>) -> Option<RawFd> {
        let state = slf.get().state(slf.py());
        (!state.life.lost && state.output.is_empty()).then(|| state.life.number(slf.py()))
    }

    fn on_write_error(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        Self::fail(slf, error, "Fatal write error on socket transport")
    }

    fn on_drained(slf: &Bound<'_, Self>) -> PyResult<()> {
        let eof = slf.get().state(slf.py()).eof;
        let shut = if eof { Self::shut_down_writing(slf) } else { Ok(()) };
        shut.and(Self::wake_file_waiter(slf))
    }
}

#[pymethods]
impl SocketTransport {
    #[new]
    #[pyo3(signature = (event_loop, sock, protocol, waiter=None, extra=None, server=None, context=None))]
    fn new(
        event_loop: Py<Loop>,
        sock: &Bound<'_, PyAny>,
        protocol: Py<PyAny>,
        waiter: Option<Py<PyAny>>,
        extra: Option<Py<PyDict>>,
        server: Option<Py<PyAny>>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let life = Life::new(sock, protocol, waiter, 1)?;
        let base = Base::of_socket(sock, life.fd, event_loop, extra, context)?;
        // asyncio does so only where the socket names its protocol; those of
        // `socket.create_server` and their connections have 0 there, and an
        // answer in two writes then takes 40 ms.
        connection::send_at_once(life.fd).map_err(Error::from)?;
        Ok(Self { base, state: GilCell::new(State::new(life, server)) })
    }

    /// Sends all of `list_of_data`, in one system call where there is room.
    fn writelines(slf: &Bound<'_, Self>, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data: Vec<Bound<'_, PyBytes>> =
            list_of_data.try_iter()?.map(|data| state::to_bytes(&data?)).collect::<PyResult<_>>()?;
        slf.get().check_writable(slf.py())?;
        Self::send_all(slf, &data)
    }

    /// Tells the peer, after what was written, that no more will come.
    fn write_eof(slf: &Bound<'_, Self>) -> PyResult<()> {
        {
            let mut state = slf.get().state(slf.py());
            if state.life.closing || state.eof {
                return Ok(());
            }
            state.eof = true;
            if !state.output.is_empty() {
                return Ok(());
            }
        }
        Self::shut_down_writing(slf)
    }

    #[expect(clippy::unused_self, reason = "part of asyncio's interface")]
    fn can_write_eof(&self) -> bool {
        true
    }

    /// Refuses writes and other files while the loop sends a file, or takes
    /// them again.
    fn _set_sending_file(&self, py: Python<'_>, sending: bool) -> PyResult<()> {
        let waiter = {
            let mut state = self.state(py);
            if sending && state.sending_file {
                drop(state);
                return Err(PyRuntimeError::new_err("unable to send a file; sendfile is in progress"));
            }
            state.sending_file = sending;
            state.file_waiter.take()
        };
        drop(waiter);
        Ok(())
    }

    /// Has `waiter`, a future, done once nothing waits to be sent any more, or
    /// at the end of the transport, whichever is first.
    fn _set_file_waiter(&self, py: Python<'_>, waiter: Py<PyAny>) {
        let before = self.state(py).file_waiter.replace(waiter);
        drop(before);
    }

    /// `loop.sendfile` asks for it.
    #[getter]
    fn _sendfile_compatible<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static MODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        MODE.import(py, "asyncio.constants", "_SendfileMode")?.getattr("TRY_NATIVE")
    }

    #[getter]
    fn _protocol_paused(&self, py: Python<'_>) -> bool {
        self.state(py).output.flow.stopped()
    }

    /// `loop.start_tls` asks for it.
    #[classattr]
    #[pyo3(name = "_start_tls_compatible")]
    const START_TLS_COMPATIBLE: bool = true;

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = self.state(py);
        format!("<SocketTransport {}>", state.life.describe_both(state.interest(), state.output.waiting()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.base.is_whole() {
            return Ok(());
        }
        self.base.traverse(&visit)?;
        self.state.visit(&visit).map_or(Ok(()), |state| state.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        let held = self.state(py).release();
        drop(held);
    }
}

transport_interface!(SocketTransport, "asyncio", "Transport");
reading_interface!(SocketTransport);
writing_interface!(SocketTransport);

//! A connected stream socket: asyncio's transport interface.
//!
//! The states of a connection, in the order that it passes them:
//!
//! | state | set by | then |
//! |---|---|---|
//! | made | `new` | `begin` is queued |
//! | open | `begin` tells the protocol | reads unless paused |
//! | closing | `close`, the peer's end | no more reads; what was written goes out |
//! | lost | `abort`, an error, the last byte sent | nothing goes out; `end` is queued |
//! | ended | `end` tells the protocol, closes the socket | nothing happens any more |
//!
//! What the protocol's methods raise never stops the loop: it is reported and
//! the connection is lost, as in asyncio.

mod io;
mod reader;
pub(super) mod state;
mod tls;

use std::cell::RefMut;
use std::os::fd::RawFd;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

pub(super) use self::io::READ_SIZE;
use self::state::{Limits, State};
pub(super) use self::tls::{Scratch, Tls};
use super::core::{Core, Loop, Owner, Ready, is_fatal};
use super::endpoint::Endpoint;
use crate::error::Error;
use crate::hot::cell::GilCell;
use crate::hot::context;

/// A transport over a connected stream socket.
#[pyclass(frozen, subclass, weakref, dict, module = "plait._native")]
pub(crate) struct SocketTransport {
    event_loop: Py<Loop>,
    extra: Py<PyDict>,
    /// What the protocol's methods run in.
    context: Py<PyAny>,
    state: GilCell<State>,
}

impl SocketTransport {
    fn state(&self, py: Python<'_>) -> RefMut<'_, State> {
        self.state.borrow(py)
    }

    fn queue(slf: &Bound<'_, Self>, item: impl FnOnce(Endpoint) -> Ready) -> PyResult<()> {
        let endpoint = Endpoint::Stream(slf.clone().unbind());
        slf.get().event_loop.get().core(slf.py()).push(item(endpoint))
    }

    /// Whether the descriptor is still this connection's: the socket may have
    /// been closed behind our back, and its number be another's by now.
    fn owns(slf: &Bound<'_, Self>, core: &Core, fd: RawFd) -> bool {
        matches!(core.fds.get(fd), Some(Owner::Transport(owner)) if owner.is(slf.as_any()))
    }

    /// Tells the kernel what this connection waits for now.
    fn watch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let (fd, interest) = {
            let state = this.state(py);
            (state.fd, state.interest())
        };
        let mut core = this.event_loop.get().core(py);
        let core = &mut *core;
        // A closed loop watches nothing any more.
        if let Some(poller) = core.poller.clone()
            && Self::owns(slf, core, fd)
            && core.fds.interest(fd) != interest
        {
            core.fds.watch(&poller.epoll, fd, interest).map_err(Error::from)?;
        }
        Ok(())
    }

    /// Gives the connection up: what was not sent is lost.
    fn lose(slf: &Bound<'_, Self>, error: Option<Py<PyAny>>) -> PyResult<()> {
        let unsent = {
            let mut state = slf.get().state(slf.py());
            if state.lost > 0 {
                return Ok(());
            }
            state.closing = true;
            state.lost = 1;
            state.error = error;
            state.outbox.clear()
        };
        drop(unsent);
        Self::watch(slf)?;
        Self::queue(slf, Ready::End)
    }

    /// Neither sends nor reads any more: the connection is the parent's, and
    /// this is a process forked from it.
    pub(in super::super) fn abandon(slf: &Bound<'_, Self>) {
        let unsent = {
            let mut state = slf.get().state(slf.py());
            state.closing = true;
            state.inherited = true;
            state.lost = state.lost.max(1);
            state.outbox.clear()
        };
        drop(unsent);
    }

    /// Calls the protocol's `method` and reports what it raises.
    fn tell_protocol(slf: &Bound<'_, Self>, method: &str) -> PyResult<()> {
        let py = slf.py();
        let Some(protocol) =
            slf.get().state(slf.py()).protocol.as_ref().map(|protocol| protocol.clone_ref(py))
        else {
            return Ok(());
        };
        match protocol.call_method0(py, method) {
            Ok(_) => Ok(()),
            Err(error) => Self::report(slf, error, &format!("protocol.{method}() failed")),
        }
    }

    fn report(slf: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let py = slf.py();
        let protocol = slf.get().state(slf.py()).protocol.as_ref().map(|protocol| protocol.clone_ref(py));
        Loop::report(slf.get().event_loop.bind(py), error, |context| {
            context.set_item("message", message)?;
            context.set_item("transport", slf)?;
            context.set_item("protocol", protocol)
        })
    }

    /// An error that ends the connection. Those of the network are the
    /// protocol's to hear of (in `connection_lost`); others are also reported.
    ///
    /// What ends the loop's run ends no connection: it goes on should the loop
    /// be run again, which cancels and cleans up then.
    fn fail(slf: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let py = slf.py();
        if is_fatal(py, &error) {
            return Err(error);
        }
        let value = error.value(py).clone().into_any().unbind();
        let reported = if error.is_instance_of::<pyo3::exceptions::PyOSError>(py) {
            Ok(())
        } else {
            Self::report(slf, error, message)
        };
        Self::lose(slf, Some(value)).and(reported)
    }

    /// Tells the protocol to stop writing if too much waits.
    fn pause_if_full(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().state(slf.py()).becomes_full() {
            Self::tell_protocol(slf, "pause_writing")
        } else {
            Ok(())
        }
    }
}

#[pymethods]
impl SocketTransport {
    #[new]
    #[pyo3(signature = (event_loop, sock, protocol, waiter=None, extra=None, server=None, context=None))]
    #[expect(clippy::too_many_arguments, reason = "asyncio's own list, called from one place")]
    fn new(
        py: Python<'_>,
        event_loop: Py<Loop>,
        sock: &Bound<'_, PyAny>,
        protocol: Py<PyAny>,
        waiter: Option<Py<PyAny>>,
        extra: Option<Py<PyDict>>,
        server: Option<Py<PyAny>>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let fd = sock.call_method0("fileno")?.extract()?;
        let context = match context {
            Some(context) => context,
            None => context::copy_current(py)?,
        };
        Ok(Self {
            event_loop,
            extra: extra.unwrap_or_else(|| PyDict::new(py).unbind()),
            context,
            state: GilCell::new(State::new(fd, sock.clone().unbind(), protocol, waiter, server)),
        })
    }

    /// Takes the descriptor over and has the protocol told of the connection
    /// in the next turn.
    fn _start(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let (fd, server) = {
            let state = this.state(py);
            (state.fd, state.server.as_ref().map(|server| server.clone_ref(py)))
        };
        let before = {
            let mut core = this.event_loop.get().core(py);
            core.fds
                .insert(fd, Owner::Transport(Endpoint::Stream(slf.clone().unbind())))
                .map_err(Error::from)?
        };
        drop(before);
        if let Some(server) = server {
            state::attach(server.bind(py), slf)?;
        }
        Self::queue(slf, Ready::Begin)
    }

    /// Sends `data` as soon as there is room, in the order of the calls.
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = state::to_bytes(data)?;
        Self::send(slf, vec![data])
    }

    /// Sends all of `list_of_data`, in one system call where there is room.
    fn writelines(slf: &Bound<'_, Self>, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data: Vec<Bound<'_, PyBytes>> =
            list_of_data.try_iter()?.map(|data| state::to_bytes(&data?)).collect::<PyResult<_>>()?;
        Self::send(slf, data)
    }

    /// Tells the peer, after what was written, that no more will come.
    fn write_eof(slf: &Bound<'_, Self>) -> PyResult<()> {
        {
            let mut state = slf.get().state(slf.py());
            if state.closing || state.eof {
                return Ok(());
            }
            state.eof = true;
            if !state.outbox.is_empty() {
                return Ok(());
            }
        }
        Self::shut_down_writing(slf)
    }

    #[expect(clippy::unused_self, reason = "part of asyncio's interface")]
    fn can_write_eof(&self) -> bool {
        true
    }

    /// Closes the connection once what was written has gone out.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let nothing_waits = {
            let mut state = slf.get().state(slf.py());
            if state.closing {
                return Ok(());
            }
            state.closing = true;
            let nothing_waits = state.outbox.is_empty();
            if nothing_waits {
                state.lost = 1;
            }
            nothing_waits
        };
        Self::watch(slf)?;
        if nothing_waits { Self::queue(slf, Ready::End) } else { Ok(()) }
    }

    /// Closes the connection now; what was not sent is lost.
    fn abort(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::lose(slf, None)
    }

    /// As `abort`; the protocol's `connection_lost` gets `error`.
    fn _force_close(slf: &Bound<'_, Self>, error: Option<Py<PyAny>>) -> PyResult<()> {
        Self::lose(slf, error)
    }

    fn is_closing(&self, py: Python<'_>) -> bool {
        self.state(py).closing
    }

    fn is_reading(&self, py: Python<'_>) -> bool {
        let state = self.state(py);
        !state.closing && !state.paused
    }

    fn pause_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        {
            let mut state = slf.get().state(slf.py());
            if state.closing || state.paused {
                return Ok(());
            }
            state.paused = true;
        }
        Self::watch(slf)
    }

    fn resume_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        {
            let mut state = slf.get().state(slf.py());
            if state.closing || !state.paused {
                return Ok(());
            }
            state.paused = false;
        }
        Self::watch(slf)
    }

    /// Sets the marks, in bytes that wait, at which the protocol is told to
    /// stop and to go on.
    #[pyo3(signature = (high=None, low=None))]
    fn set_write_buffer_limits(slf: &Bound<'_, Self>, high: Option<i64>, low: Option<i64>) -> PyResult<()> {
        let limits = Limits::new(high, low)?;
        slf.get().state(slf.py()).limits = limits;
        Self::pause_if_full(slf)
    }

    /// The marks, low and high.
    fn get_write_buffer_limits(&self, py: Python<'_>) -> (usize, usize) {
        let limits = self.state(py).limits;
        (limits.low, limits.high)
    }

    /// How many bytes wait to be sent.
    fn get_write_buffer_size(&self, py: Python<'_>) -> usize {
        self.state(py).outbox.len()
    }

    fn set_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) {
        let before = self.state(py).set_protocol(protocol);
        drop(before);
    }

    fn get_protocol(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state(py).protocol.as_ref().map(|protocol| protocol.clone_ref(py))
    }

    #[pyo3(signature = (name, default=None))]
    fn get_extra_info(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        default: Option<Py<PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.extra.bind(py).get_item(name)?.map(Bound::unbind).or(default))
    }

    /// What `isinstance` goes by: the class is native, and what users test
    /// for is asyncio's, whose memory layout cannot be a base of this one.
    #[getter]
    fn __class__<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        static TRANSPORT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        TRANSPORT.import(py, "asyncio", "Transport")
    }

    /// Refuses writes while the loop sends a file, or takes them again.
    fn _set_sending_file(&self, py: Python<'_>, sending: bool) {
        self.state(py).sending_file = sending;
    }

    /// `loop.sendfile` asks for it.
    #[getter]
    fn _sendfile_compatible<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static MODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        MODE.import(py, "asyncio.constants", "_SendfileMode")?.getattr("TRY_NATIVE")
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Py<Loop> {
        self.event_loop.clone_ref(py)
    }

    #[getter]
    fn _protocol_paused(&self, py: Python<'_>) -> bool {
        self.state(py).protocol_paused
    }

    /// `loop.start_tls` asks for it.
    #[classattr]
    #[pyo3(name = "_start_tls_compatible")]
    const START_TLS_COMPATIBLE: bool = true;

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = self.state(py);
        format!("<SocketTransport {state}>")
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.extra)?;
        visit.call(&self.context)?;
        self.state.visit(&visit).map_or(Ok(()), |state| state.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        let held = self.state(py).release();
        drop(held);
    }
}

/// The error of a write after `write_eof`.
fn written_after_eof() -> PyErr {
    PyRuntimeError::new_err("Cannot call write() after write_eof()")
}

/// A logger of asyncio, for what it logs in the same place.
pub(super) fn logger(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOGGER.import(py, "asyncio.log", "logger")
}

//! The end of a pipe that gives bytes.

use std::cell::RefMut;

use plait_sys::epoll::Interest;
use plait_sys::pipe;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use super::{Links, PipeEnd};
use crate::error::Error;
use crate::event_loop::core::{Loop, Ready};
use crate::event_loop::endpoint::Endpoint;
use crate::event_loop::transport::READ_SIZE;
use crate::event_loop::transport::state::Receiver;
use crate::hot::buffer::read_into;
use crate::hot::cell::GilCell;
use crate::hot::context;

/// A transport that reads from a pipe.
#[pyclass(frozen, subclass, weakref, dict, module = "plait._native")]
pub(crate) struct ReadPipeTransport {
    links: Links,
    state: GilCell<State>,
}

struct State {
    receiver: Receiver,
    paused: bool,
    /// The input has ended, and the protocol has not been told.
    at_end: bool,
}

impl PipeEnd for ReadPipeTransport {
    fn links<'a>(slf: &'a Bound<'_, Self>) -> &'a Links {
        &slf.get().links
    }

    fn endpoint(slf: Py<Self>) -> Endpoint {
        Endpoint::Reader(slf)
    }

    fn interest(slf: &Bound<'_, Self>) -> Interest {
        let paused = slf.get().state(slf.py()).paused;
        let life = slf.get().links.life.borrow(slf.py());
        Interest { read: life.open && !life.closing && !paused, write: false }
    }

    fn on_ready(slf: &Bound<'_, Self>, readable: bool, _writable: bool) -> PyResult<()> {
        if !readable || !Self::interest(slf).read {
            return Ok(());
        }
        match Self::receiver(slf) {
            Ok(Receiver::Stream(received)) => Self::read_bytes(slf, &received),
            Ok(Receiver::Buffered(get, updated)) => Self::read_into(slf, &get, &updated),
            // Those of a connection alone.
            Ok(Receiver::Unknown | Receiver::Reader(_) | Receiver::Tls(_)) => Ok(()),
            Err(error) => Self::fail(slf, error, "Fatal error: the protocol cannot take data.", false),
        }
    }

    fn end(slf: &Bound<'_, Self>) -> PyResult<()> {
        let at_end = std::mem::take(&mut slf.get().state(slf.py()).at_end);
        if at_end && let Err(fatal) = Self::tell(slf, "eof_received", ()) {
            // It ends the loop; the rest of the end waits for the next run.
            Self::queue(slf, Ready::End)?;
            return Err(fatal);
        }
        let lost = Self::lose(slf);
        let receiver = slf.get().forget_receiver(slf.py());
        drop(receiver);
        lost
    }
}

impl ReadPipeTransport {
    fn state(&self, py: Python<'_>) -> RefMut<'_, State> {
        self.state.borrow(py)
    }

    fn forget_receiver(&self, py: Python<'_>) -> Receiver {
        std::mem::replace(&mut self.state(py).receiver, Receiver::Unknown)
    }

    fn receiver(slf: &Bound<'_, Self>) -> PyResult<Receiver> {
        let py = slf.py();
        let this = slf.get();
        {
            let state = this.state(py);
            if !matches!(state.receiver, Receiver::Unknown) {
                return Ok(state.receiver.clone_ref(py));
            }
        }
        let Some(protocol) = this.links.protocol(py) else {
            return Err(PyRuntimeError::new_err("the transport has no protocol"));
        };
        let receiver = Receiver::of_application(protocol.bind(py))?;
        let before = std::mem::replace(&mut this.state(py).receiver, receiver.clone_ref(py));
        drop(before);
        Ok(receiver)
    }

    /// Reads what there is: through the loop's buffer into an object of the
    /// exact size.
    fn read<'py>(&self, py: Python<'py>) -> Result<Option<Bound<'py, PyBytes>>, Error> {
        let buffer_of = &self.links.event_loop.get().read_buffer;
        // Taken, not borrowed: making an object can run the collector, and
        // that any code at all.
        let mut buffer = std::mem::take(&mut *buffer_of.borrow(py));
        buffer.resize(READ_SIZE, 0);
        let received = pipe::read(self.links.fd(py), &mut buffer);
        let data = received.map(|count| count.map(|count| PyBytes::new(py, &buffer[..count])));
        *buffer_of.borrow(py) = buffer;
        Ok(data?)
    }

    fn read_bytes(slf: &Bound<'_, Self>, received: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let links = &slf.get().links;
        match slf.get().read(py) {
            Ok(None) => Ok(()),
            Ok(Some(data)) if data.as_bytes().is_empty() => Self::on_input_end(slf),
            Ok(Some(data)) => match context::enter(py, &links.context, || received.call1(py, (data,))) {
                Ok(_) => Ok(()),
                Err(error) => {
                    Self::report(slf, error, "Exception in callback data_received() of the protocol")
                }
            },
            Err(error) => Self::on_error(slf, error),
        }
    }

    fn read_into(slf: &Bound<'_, Self>, get: &Py<PyAny>, updated: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let links = &slf.get().links;
        let received = context::enter(py, &links.context, || {
            let buffer = PyBuffer::<u8>::get(get.call1(py, (-1,))?.bind(py))?;
            if buffer.len_bytes() == 0 {
                return Err(PyRuntimeError::new_err("get_buffer() returned an empty buffer"));
            }
            read_into(py, pipe::read, links.fd(py), &buffer)
        });
        let count = match received {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(0))) => return Self::on_input_end(slf),
            Ok(Ok(Some(count))) => count,
            Ok(Err(error)) => return Self::on_error(slf, error),
            Err(error) => {
                return Self::fail(slf, error, "Fatal error: protocol.get_buffer() call failed.", false);
            }
        };
        match context::enter(py, &links.context, || updated.call1(py, (count,))) {
            Ok(_) => Ok(()),
            Err(error) => {
                Self::fail(slf, error, "Fatal error: protocol.buffer_updated() call failed.", false)
            }
        }
    }

    fn on_error(slf: &Bound<'_, Self>, error: Error) -> PyResult<()> {
        let expected = matches!(&error, Error::Sys(error) if pipe::is_hang_up(error));
        Self::fail(slf, error.into(), "Fatal read error on pipe transport", expected)
    }

    fn on_input_end(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::note(slf, "info", "was closed by peer")?;
        slf.get().state(slf.py()).at_end = true;
        Self::finish(slf, None)
    }

    /// Pauses or resumes; `verb` is for the log.
    fn set_paused(slf: &Bound<'_, Self>, paused: bool, verb: &str) -> PyResult<()> {
        let py = slf.py();
        if slf.get().links.is_closing(py) || slf.get().state(py).paused == paused {
            return Ok(());
        }
        slf.get().state(py).paused = paused;
        Self::watch(slf)?;
        Self::note(slf, "debug", verb)
    }
}

#[pymethods]
impl ReadPipeTransport {
    #[new]
    #[pyo3(signature = (event_loop, pipe, protocol, waiter=None, extra=None))]
    fn new(
        event_loop: Py<Loop>,
        pipe: &Bound<'_, PyAny>,
        protocol: Py<PyAny>,
        waiter: Option<Py<PyAny>>,
        extra: Option<Py<PyDict>>,
    ) -> PyResult<Self> {
        Ok(Self {
            links: Links::new(event_loop, pipe, protocol, waiter, extra)?,
            state: GilCell::new(State { receiver: Receiver::Unknown, paused: false, at_end: false }),
        })
    }

    /// Takes the descriptor over and has the protocol told of the pipe in the
    /// next turn.
    fn _start(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::start(slf)
    }

    /// Closes the pipe; what was not read is lost.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::finish(slf, None)
    }

    /// As `close`: nothing waits here.
    fn abort(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::finish(slf, None)
    }

    fn is_closing(&self, py: Python<'_>) -> bool {
        self.links.is_closing(py)
    }

    fn is_reading(&self, py: Python<'_>) -> bool {
        !self.links.is_closing(py) && !self.state(py).paused
    }

    fn pause_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_paused(slf, true, "pauses reading")
    }

    fn resume_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_paused(slf, false, "resumes reading")
    }

    fn set_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) {
        self.links.set_protocol(py, protocol);
        let before = self.forget_receiver(py);
        drop(before);
    }

    fn get_protocol(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.links.protocol(py)
    }

    #[pyo3(signature = (name, default=None))]
    fn get_extra_info(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        default: Option<Py<PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        self.links.get_extra_info(py, name, default)
    }

    /// What `isinstance` goes by, as for connections.
    #[getter]
    fn __class__<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        static TRANSPORT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        TRANSPORT.import(py, "asyncio", "ReadTransport")
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Py<Loop> {
        self.links.event_loop.clone_ref(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let polling = if Self::interest(slf).read { "polling" } else { "idle" };
        format!("<ReadPipeTransport {} {polling}>", slf.get().links.describe(slf.py()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.links.traverse(&visit)?;
        self.state.visit(&visit).map_or(Ok(()), |state| state.receiver.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        self.links.clear(py);
        let before = self.forget_receiver(py);
        drop(before);
    }
}

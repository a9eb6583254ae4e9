//! The end of a pipe that takes bytes.

use std::cell::RefMut;

use plait_loop::outbox::Outbox;
use plait_sys::epoll::Interest;
use plait_sys::pipe;
use pyo3::exceptions::{PyBrokenPipeError, PyOSError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use super::{Links, PipeEnd};
use crate::error::Error;
use crate::event_loop::core::Loop;
use crate::event_loop::endpoint::Endpoint;
use crate::event_loop::transport::logger;
use crate::event_loop::transport::state::{Limits, to_bytes};
use crate::hot::cell::GilCell;

/// After so many writes to a pipe that nobody reads asyncio says so in the log.
const WRITES_TO_LOST: u32 = 5;

/// A transport that writes to a pipe.
#[pyclass(frozen, subclass, weakref, dict, module = "plait._native")]
pub(crate) struct WritePipeTransport {
    links: Links,
    /// Whether readiness for reading means that nobody reads any more: so for
    /// pipes and sockets, while a terminal can have input of its own.
    hears_the_end: bool,
    state: GilCell<State>,
}

struct State {
    outbox: Outbox<Py<PyBytes>>,
    limits: Limits,
    /// The protocol has been told to stop writing.
    protocol_paused: bool,
    /// Writes that came too late.
    too_late: u32,
}

impl PipeEnd for WritePipeTransport {
    fn links<'a>(slf: &'a Bound<'_, Self>) -> &'a Links {
        &slf.get().links
    }

    fn endpoint(slf: Py<Self>) -> Endpoint {
        Endpoint::Writer(slf)
    }

    fn interest(slf: &Bound<'_, Self>) -> Interest {
        let write = !slf.get().state(slf.py()).outbox.is_empty();
        let life = slf.get().links.life.borrow(slf.py());
        Interest { read: life.open && !life.ending && slf.get().hears_the_end, write }
    }

    fn on_ready(slf: &Bound<'_, Self>, readable: bool, writable: bool) -> PyResult<()> {
        if readable && Self::interest(slf).read {
            return Self::on_reader_gone(slf);
        }
        if writable && Self::interest(slf).write {
            return Self::flush(slf);
        }
        Ok(())
    }

    fn end(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::lose(slf)
    }

    fn discard(slf: &Bound<'_, Self>) {
        let unsent = slf.get().state(slf.py()).outbox.clear();
        drop(unsent);
    }
}

impl WritePipeTransport {
    fn state(&self, py: Python<'_>) -> RefMut<'_, State> {
        self.state.borrow(py)
    }

    /// Drops what waits, then ends.
    fn give_up(slf: &Bound<'_, Self>, error: Option<Py<PyAny>>) -> PyResult<()> {
        Self::discard(slf);
        Self::finish(slf, error)
    }

    fn on_reader_gone(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        Self::note(slf, "info", "was closed by peer")?;
        let unsent = !slf.get().state(py).outbox.is_empty();
        let error =
            if unsent { Some(py.get_type::<PyBrokenPipeError>().call0()?.into_any().unbind()) } else { None };
        Self::give_up(slf, error)
    }

    fn on_error(slf: &Bound<'_, Self>, error: plait_sys::Error) -> PyResult<()> {
        let py = slf.py();
        let unsent = {
            let mut state = slf.get().state(py);
            state.too_late += 1;
            state.outbox.clear()
        };
        drop(unsent);
        let error: PyErr = Error::from(error).into();
        let expected = error.is_instance_of::<PyOSError>(py);
        Self::fail(slf, error, "Fatal write error on pipe transport", expected)
    }

    /// Writes `data`, at once if nothing else waits, and keeps what does not
    /// go out now.
    fn send(slf: &Bound<'_, Self>, data: Vec<Bound<'_, PyBytes>>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let data: Vec<_> = data.into_iter().filter(|data| !data.as_bytes().is_empty()).collect();
        if data.is_empty() {
            return Ok(());
        }
        if this.links.is_closing(py) {
            // None of a forked process is to believe that it was written.
            this.links.event_loop.get()._check_inherited(py)?;
            return this.note_lateness(py);
        }
        let fd = this.links.fd(py);
        let mut state = this.state(py);
        let waited = !state.outbox.is_empty();
        let mut rest = data.as_slice();
        let mut sent = 0;
        if let ([only], false) = (rest, waited) {
            match pipe::write(fd, only.as_bytes()) {
                Ok(Some(count)) if count == only.as_bytes().len() => return Ok(()),
                Ok(count) => sent = count.unwrap_or(0),
                Err(error) => {
                    drop(state);
                    return Self::on_error(slf, error);
                }
            }
        }
        let several = rest.len() > 1;
        while let [first, others @ ..] = rest {
            state.outbox.push(first.clone().unbind(), first.as_bytes().len(), std::mem::take(&mut sent));
            rest = others;
        }
        drop(state);
        if !waited && several {
            Self::flush(slf)?;
        } else if !waited {
            Self::watch(slf)?;
        }
        Self::pause_if_full(slf)
    }

    /// asyncio counts them, and says so in the log after a few.
    fn note_lateness(&self, py: Python<'_>) -> PyResult<()> {
        let so_far = {
            let mut state = self.state(py);
            state.too_late = state.too_late.saturating_add(1);
            state.too_late - 1
        };
        if so_far >= WRITES_TO_LOST {
            let message = "pipe closed by peer or os.write(pipe, data) raised exception.";
            logger(py)?.call_method1("warning", (message,))?;
        }
        Ok(())
    }

    /// Writes what waits, as far as there is room.
    fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let fd = this.links.fd(py);
        let mut done = Vec::new();
        let sent = {
            let mut state = this.state(py);
            let sent = pipe::write_vectored(fd, &state.outbox.slices(|chunk| chunk.as_bytes(py)));
            if let Ok(Some(count)) = sent {
                state.outbox.advance(count, |chunk| chunk.as_bytes(py).len(), &mut done);
            }
            sent
        };
        drop(done);
        if let Err(error) = sent {
            return Self::on_error(slf, error);
        }
        let free = {
            let mut state = this.state(py);
            let free = state.protocol_paused && state.outbox.len() <= state.limits.low;
            state.protocol_paused &= !free;
            free
        };
        if free {
            // May write more.
            Self::tell(slf, "resume_writing", ())?;
        }
        Self::watch(slf)?;
        if !this.state(py).outbox.is_empty() {
            return Ok(());
        }
        let done = {
            let mut life = this.links.life.borrow(py);
            let done = life.closing && !life.ending;
            life.ending |= done;
            done
        };
        if done { Self::end(slf) } else { Ok(()) }
    }

    fn pause_if_full(slf: &Bound<'_, Self>) -> PyResult<()> {
        let full = {
            let mut state = slf.get().state(slf.py());
            let full = !state.protocol_paused && state.outbox.len() > state.limits.high;
            state.protocol_paused |= full;
            full
        };
        if full { Self::tell(slf, "pause_writing", ()) } else { Ok(()) }
    }
}

#[pymethods]
impl WritePipeTransport {
    #[new]
    #[pyo3(signature = (event_loop, pipe, protocol, hears_the_end, waiter=None, extra=None))]
    fn new(
        event_loop: Py<Loop>,
        pipe: &Bound<'_, PyAny>,
        protocol: Py<PyAny>,
        hears_the_end: bool,
        waiter: Option<Py<PyAny>>,
        extra: Option<Py<PyDict>>,
    ) -> PyResult<Self> {
        let limits = Limits::new(None, None)?;
        Ok(Self {
            links: Links::new(event_loop, pipe, protocol, waiter, extra)?,
            hears_the_end,
            state: GilCell::new(State {
                outbox: Outbox::default(),
                limits,
                protocol_paused: false,
                too_late: 0,
            }),
        })
    }

    /// Takes the descriptor over and has the protocol told of the pipe in the
    /// next turn.
    fn _start(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::start(slf)
    }

    /// Writes `data` as soon as there is room, in the order of the calls.
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::send(slf, vec![to_bytes(data)?])
    }

    /// Writes all of `list_of_data`, in one system call where there is room.
    fn writelines(slf: &Bound<'_, Self>, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = list_of_data.try_iter()?.map(|data| to_bytes(&data?)).collect::<PyResult<_>>()?;
        Self::send(slf, data)
    }

    /// Closes the pipe once what was written has gone out: a pipe has no
    /// other end of its output.
    fn write_eof(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        {
            let mut life = slf.get().links.life.borrow(py);
            if life.closing {
                return Ok(());
            }
            life.closing = true;
        }
        if slf.get().state(py).outbox.is_empty() { Self::finish(slf, None) } else { Ok(()) }
    }

    #[expect(clippy::unused_self, reason = "part of asyncio's interface")]
    fn can_write_eof(&self) -> bool {
        true
    }

    /// As `write_eof`.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::write_eof(slf)
    }

    /// Closes the pipe now; what was not written is lost.
    fn abort(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::give_up(slf, None)
    }

    fn is_closing(&self, py: Python<'_>) -> bool {
        self.links.is_closing(py)
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

    /// How many bytes wait to be written.
    fn get_write_buffer_size(&self, py: Python<'_>) -> usize {
        self.state(py).outbox.len()
    }

    fn set_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) {
        self.links.set_protocol(py, protocol);
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
        TRANSPORT.import(py, "asyncio", "WriteTransport")
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Py<Loop> {
        self.links.event_loop.clone_ref(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let waiting = slf.get().state(slf.py()).outbox.len();
        let polling = if waiting > 0 { "polling" } else { "idle" };
        let state = slf.get().links.describe(slf.py());
        format!("<WritePipeTransport {state} {polling} bufsize={waiting}>")
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.links.traverse(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.links.clear(py);
        let unsent = self.state(py).outbox.clear();
        drop(unsent);
    }
}

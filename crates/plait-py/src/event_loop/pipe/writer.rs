//! The end of a pipe that takes bytes.

use std::cell::RefMut;
use std::collections::VecDeque;

use plait_loop::flow::Flow;
use plait_loop::outbox::Outbox;
use plait_sys::epoll::Interest;
use plait_sys::pipe;
use pyo3::exceptions::PyBrokenPipeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use super::own_number;
use crate::error::Error;
use crate::event_loop::base::{
    Base, Gone, Life, Transport, Writes, logger, transport_interface, word, writing_interface,
};
use crate::event_loop::core::Loop;
use crate::event_loop::endpoint::Endpoint;
use crate::event_loop::transport::state::to_bytes;
use crate::hot::cell::GilCell;

/// A transport that writes to a pipe.
#[pyclass(frozen, subclass, weakref, dict, module = "plait._native")]
pub(crate) struct WritePipeTransport {
    base: Base,
    /// Whether readiness for reading means that nobody reads any more: so for
    /// pipes and sockets, while a terminal can have input of its own.
    hears_the_end: bool,
    state: GilCell<State>,
}

struct State {
    life: Life,
    outbox: Outbox<Py<PyBytes>>,
    flow: Flow,
}

impl Transport for WritePipeTransport {
    fn base<'a>(slf: &'a Bound<'_, Self>) -> &'a Base {
        &slf.get().base
    }

    fn life<'a>(slf: &'a Bound<'_, Self>) -> RefMut<'a, Life> {
        RefMut::map(slf.get().state(slf.py()), |state| &mut state.life)
    }

    fn endpoint(slf: Py<Self>) -> Endpoint {
        Endpoint::Writer(slf)
    }

    fn interest(slf: &Bound<'_, Self>) -> Interest {
        let state = slf.get().state(slf.py());
        let read = state.life.open && !state.life.lost && slf.get().hears_the_end;
        Interest { read, write: !state.outbox.is_empty() }
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

    fn waiting(slf: &Bound<'_, Self>) -> usize {
        slf.get().state(slf.py()).outbox.len()
    }

    fn discard(slf: &Bound<'_, Self>) {
        let unsent = slf.get().state(slf.py()).outbox.clear();
        drop(unsent);
    }

    fn set_protocol(slf: &Bound<'_, Self>, protocol: Py<PyAny>) {
        let before = Self::life(slf).protocol.replace(protocol);
        drop(before);
    }

    fn release(slf: &Bound<'_, Self>) {
        let held = slf.get().let_go(slf.py());
        drop(held);
    }

    fn before_start(slf: &Bound<'_, Self>) -> PyResult<()> {
        own_number(slf)
    }
}

impl Writes for WritePipeTransport {
    fn flow<R>(slf: &Bound<'_, Self>, f: impl FnOnce(&mut Flow, usize) -> R) -> R {
        let state = &mut *slf.get().state(slf.py());
        f(&mut state.flow, state.outbox.len())
    }
}

impl WritePipeTransport {
    fn state(&self, py: Python<'_>) -> RefMut<'_, State> {
        self.state.borrow(py)
    }

    fn let_go(&self, py: Python<'_>) -> (Gone, VecDeque<Py<PyBytes>>) {
        let mut state = self.state(py);
        (state.life.release(), state.outbox.clear())
    }

    fn on_reader_gone(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        Self::note(slf, "info", "was closed by peer")?;
        let unsent = !slf.get().state(py).outbox.is_empty();
        let error =
            if unsent { Some(py.get_type::<PyBrokenPipeError>().call0()?.into_any().unbind()) } else { None };
        Self::lose(slf, error)
    }

    fn on_error(slf: &Bound<'_, Self>, error: plait_sys::Error) -> PyResult<()> {
        Self::life(slf).late += 1;
        Self::fail(slf, Error::from(error).into(), "Fatal write error on pipe transport")
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
        let mut state = this.state(py);
        if state.life.inherited {
            // Nobody in a forked process is to believe that it was written.
            drop(state);
            return this.base.event_loop.get()._check_inherited(py);
        }
        if state.life.closing {
            let say_so = state.life.counts_late();
            drop(state);
            if say_so {
                let message = "pipe closed by peer or os.write(pipe, data) raised exception.";
                logger(py)?.call_method1("warning", (message,))?;
            }
            return Ok(());
        }
        let fd = state.life.fd;
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

    /// Writes what waits, as far as there is room.
    fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let mut done = Vec::new();
        let sent = {
            let mut state = this.state(py);
            let sent = pipe::write_vectored(state.life.fd, &state.outbox.slices(|chunk| chunk.as_bytes(py)));
            if let Ok(Some(count)) = sent {
                state.outbox.advance(count, |chunk| chunk.as_bytes(py).len(), &mut done);
            }
            sent
        };
        drop(done);
        if let Err(error) = sent {
            return Self::on_error(slf, error);
        }
        Self::resume_if_free(slf)?;
        Self::watch(slf)?;
        let ended = {
            let mut state = this.state(py);
            state.outbox.is_empty() && state.life.sent_last()
        };
        if ended { Self::end(slf) } else { Ok(()) }
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
        let life = Life::new(pipe, protocol, waiter, 0)?;
        Ok(Self {
            base: Base::new(pipe.py(), event_loop, extra, None)?,
            hears_the_end,
            state: GilCell::new(State { life, outbox: Outbox::default(), flow: Flow::default() }),
        })
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
        Self::shut(slf)
    }

    #[expect(clippy::unused_self, reason = "part of asyncio's interface")]
    fn can_write_eof(&self) -> bool {
        true
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let waiting = Self::waiting(slf);
        let more = format!("{} bufsize={waiting}", word(waiting > 0));
        format!("<WritePipeTransport {}>", Self::life(slf).describe(&more))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.base.traverse(&visit)?;
        self.state.visit(&visit).map_or(Ok(()), |state| state.life.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        let held = self.let_go(py);
        drop(held);
    }
}

transport_interface!(WritePipeTransport, "WriteTransport");
writing_interface!(WritePipeTransport);

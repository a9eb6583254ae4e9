//! The end of a pipe that takes bytes.

use std::cell::RefMut;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::RawFd;

use plait_sys::epoll::Interest;
use plait_sys::pipe;
use pyo3::exceptions::{PyBrokenPipeError, PyNotImplementedError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use super::own_number;
use crate::event_loop::base::{
    Base, Gone, Life, Output, SendsBytes, Transport, Writes, transport_interface, word, writing_interface,
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
    output: Output,
}

impl Transport for WritePipeTransport {
    const MAY_BE_SILENT: bool = true;

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
        Interest { read, write: !state.output.is_empty() }
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
        Self::output(slf).waiting()
    }

    fn discard(slf: &Bound<'_, Self>) {
        let unsent = Self::output(slf).clear();
        drop(unsent);
    }

    fn release(slf: &Bound<'_, Self>) {
        let held = slf.get().let_go(slf.py());
        drop(held);
    }

    fn before_start(slf: &Bound<'_, Self>) -> PyResult<()> {
        own_number(slf)
    }
}

impl SendsBytes for WritePipeTransport {
    const TOO_LATE: &'static str = "pipe closed by peer or os.write(pipe, data) raised exception.";

    fn output<'a>(slf: &'a Bound<'_, Self>) -> RefMut<'a, Output> {
        RefMut::map(slf.get().state(slf.py()), |state| &mut state.output)
    }

    fn put(fd: RawFd, data: &[u8]) -> plait_sys::Result<Option<usize>> {
        pipe::write(fd, data)
    }

    fn put_all(fd: RawFd, data: &[IoSlice<'_>]) -> plait_sys::Result<Option<usize>> {
        pipe::write_vectored(fd, data)
    }

    fn is_late(slf: &Bound<'_, Self>) -> bool {
        Self::life(slf).closing
    }

    fn way(slf: &Bound<'_, Self>) -> Option<RawFd> {
        let state = slf.get().state(slf.py());
        (!state.life.closing && state.output.is_empty()).then(|| state.life.number(slf.py()))
    }

    fn on_write_error(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        Self::life(slf).late += 1;
        Self::fail(slf, error, "Fatal write error on pipe transport")
    }
}

impl WritePipeTransport {
    fn state(&self, py: Python<'_>) -> RefMut<'_, State> {
        self.state.borrow(py)
    }

    fn let_go(&self, py: Python<'_>) -> (Gone, VecDeque<Py<PyBytes>>) {
        let mut state = self.state(py);
        (state.life.release(), state.output.clear())
    }

    fn on_reader_gone(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        Self::note(slf, "info", "was closed by peer")?;
        let unsent = !Self::output(slf).is_empty();
        let error =
            if unsent { Some(py.get_type::<PyBrokenPipeError>().call0()?.into_any().unbind()) } else { None };
        Self::lose(slf, error)
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
            base: Base::of_pipe(pipe.py(), event_loop, extra)?,
            hears_the_end,
            state: GilCell::new(State { life, output: Output::default() }),
        })
    }

    /// Writes `data` as soon as there is room, in the order of the calls.
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::send(slf, &to_bytes(data)?)
    }

    /// Writes all of `list_of_data`, in one system call where there is room.
    fn writelines(slf: &Bound<'_, Self>, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = list_of_data.try_iter()?.map(|data| to_bytes(&data?)).collect::<PyResult<Vec<_>>>()?;
        Self::send_all(slf, &data)
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

    #[expect(clippy::unused_self, reason = "part of asyncio's interface")]
    fn pause_reading(&self) -> PyResult<()> {
        Err(not_read())
    }

    #[expect(clippy::unused_self, reason = "part of asyncio's interface")]
    fn resume_reading(&self) -> PyResult<()> {
        Err(not_read())
    }

    #[expect(clippy::unused_self, reason = "part of asyncio's interface")]
    fn is_reading(&self) -> PyResult<bool> {
        Err(not_read())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let waiting = Self::waiting(slf);
        let more = format!("{} bufsize={waiting}", word(waiting > 0));
        format!("<WritePipeTransport {}>", Self::life(slf).describe(&more))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.base.is_whole() {
            return Ok(());
        }
        self.base.traverse(&visit)?;
        self.state.visit(&visit).map_or(Ok(()), |state| state.life.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        let held = self.let_go(py);
        drop(held);
    }
}

// asyncio's is a `Transport`, which has what flow control needs.
transport_interface!(WritePipeTransport, "asyncio", "Transport");
writing_interface!(WritePipeTransport);

fn not_read() -> PyErr {
    PyNotImplementedError::new_err("a transport that writes to a pipe does not read")
}

//! The end of a pipe that gives bytes.

use std::cell::RefMut;

use plait_sys::epoll::Interest;
use plait_sys::pipe;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use super::own_number;
use crate::error::Error;
use crate::event_loop::base::{
    Base, Life, Receiver, Receives, Transport, reading_interface, transport_interface, word,
};
use crate::event_loop::core::Loop;
use crate::event_loop::endpoint::Endpoint;
use crate::hot::buffer::fill;
use crate::hot::cell::GilCell;
use crate::hot::context;

/// A transport that reads from a pipe.
#[pyclass(frozen, subclass, weakref, dict, module = "plait._native")]
pub(crate) struct ReadPipeTransport {
    base: Base,
    state: GilCell<State>,
}

struct State {
    life: Life,
    /// The input has ended, and the protocol has not been told.
    at_end: bool,
}

impl Transport for ReadPipeTransport {
    const MAY_BE_SILENT: bool = true;

    fn base<'a>(slf: &'a Bound<'_, Self>) -> &'a Base {
        &slf.get().base
    }

    fn life<'a>(slf: &'a Bound<'_, Self>) -> RefMut<'a, Life> {
        RefMut::map(slf.get().state(slf.py()), |state| &mut state.life)
    }

    fn endpoint(slf: Py<Self>) -> Endpoint {
        Endpoint::Reader(slf)
    }

    fn interest(slf: &Bound<'_, Self>) -> Interest {
        Interest { read: Self::life(slf).reads(), write: false }
    }

    fn on_ready(slf: &Bound<'_, Self>, readable: bool, _writable: bool) -> PyResult<()> {
        if !readable || !Self::interest(slf).read {
            return Ok(());
        }
        match Self::receiver(slf, Receiver::of_application) {
            Ok(Receiver::Method(received)) => Self::read_bytes(slf, &received),
            Ok(Receiver::Buffered(get, updated)) => Self::read_into(slf, &get, &updated),
            // Those of a connection alone.
            Ok(Receiver::Unknown | Receiver::Reader(_) | Receiver::Tls(_)) => Ok(()),
            Err(error) => Self::fail_as(slf, error, "Fatal error: the protocol cannot take data.", false),
        }
    }

    fn release(slf: &Bound<'_, Self>) {
        let held = Self::life(slf).release();
        drop(held);
    }

    fn before_start(slf: &Bound<'_, Self>) -> PyResult<()> {
        own_number(slf)
    }

    fn before_end(slf: &Bound<'_, Self>) -> PyResult<()> {
        let at_end = std::mem::take(&mut slf.get().state(slf.py()).at_end);
        if at_end { Self::tell(slf, intern!(slf.py(), "eof_received"), ()) } else { Ok(()) }
    }
}

impl ReadPipeTransport {
    fn state(&self, py: Python<'_>) -> RefMut<'_, State> {
        self.state.borrow(py)
    }

    /// Reads what there is: through the loop's buffer into an object of the
    /// exact size.
    fn read<'py>(&self, py: Python<'py>) -> Result<Option<Bound<'py, PyBytes>>, Error> {
        let fd = self.state(py).life.number(py);
        Ok(self.base.event_loop.get().with_read_buffer(py, |buffer| {
            pipe::read(fd, buffer).map(|count| count.map(|count| PyBytes::new(py, &buffer[..count])))
        })?)
    }

    fn read_bytes(slf: &Bound<'_, Self>, received: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        match slf.get().read(py) {
            Ok(None) => Ok(()),
            Ok(Some(data)) if data.as_bytes().is_empty() => Self::on_input_end(slf),
            Ok(Some(data)) => match context::enter(py, &this.base.context, || received.call1(py, (data,))) {
                Ok(_) => Ok(()),
                Err(error) => {
                    Self::report_callback(slf, error, "Exception in callback data_received() of the protocol")
                }
            },
            Err(error) => Self::on_error(slf, error),
        }
    }

    fn read_into(slf: &Bound<'_, Self>, get: &Py<PyAny>, updated: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let received = context::enter(py, &this.base.context, || {
            let buffer = get.bind(py).call1((-1,))?;
            fill(pipe::read, this.state(py).life.number(py), &buffer)
        });
        let count = match received {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(0))) => return Self::on_input_end(slf),
            Ok(Ok(Some(count))) => count,
            Ok(Err(error)) => return Self::on_error(slf, error),
            Err(error) => {
                return Self::fail_as(slf, error, "Fatal error: protocol.get_buffer() call failed.", false);
            }
        };
        match context::enter(py, &this.base.context, || updated.call1(py, (count,))) {
            Ok(_) => Ok(()),
            Err(error) => {
                Self::fail_as(slf, error, "Fatal error: protocol.buffer_updated() call failed.", false)
            }
        }
    }

    fn on_error(slf: &Bound<'_, Self>, error: Error) -> PyResult<()> {
        let expected = matches!(&error, Error::Sys(error) if pipe::is_hang_up(error));
        Self::fail_as(slf, error.into(), "Fatal read error on pipe transport", expected)
    }

    fn on_input_end(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::note(slf, "info", "was closed by peer")?;
        slf.get().state(slf.py()).at_end = true;
        Self::lose(slf, None)
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
        let life = Life::new(pipe, protocol, waiter, 0)?;
        Ok(Self {
            base: Base::of_pipe(pipe.py(), event_loop, extra)?,
            state: GilCell::new(State { life, at_end: false }),
        })
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let polling = word(Self::interest(slf).read);
        format!("<ReadPipeTransport {}>", Self::life(slf).describe(polling))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.base.is_whole() {
            return Ok(());
        }
        self.base.traverse(&visit)?;
        let Some(state) = self.state.visit(&visit) else { return Ok(()) };
        state.life.traverse(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        let held = self.state(py).life.release();
        drop(held);
    }
}

transport_interface!(ReadPipeTransport, "asyncio", "ReadTransport");
reading_interface!(ReadPipeTransport);

//! TLS: the path of the data. `asyncio.sslproto.SSLProtocol` is the rest.
//!
//! `plait._loop.tls.TlsProtocol` inherits from `Tls` and from asyncio's class.
//! Handshake, shutdown, timeouts and what is told to whom are asyncio's own;
//! the attributes by which its code steers the data (pauses, state, protocol)
//! are this class's, so both always see the same. What arrives goes from the
//! loop's one buffer into the BIO, from the TLS object to the protocol; what
//! is written goes through the TLS object to the transport at once.
//!
//! asyncio asks the TLS object until it has no more, each time with 256 KiB of
//! fresh memory and at last with an exception. Here it is asked for what can
//! be there: a record gives at most `RECORD` bytes and never more than it had
//! on the wire, and a read that got less than it asked for, with nothing left
//! in the BIO, was the last.

mod data;
mod input;
mod link;

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView, PyTuple};

pub(in super::super) use self::input::Scratch;
use self::link::{Calls, Link};
use super::super::base::Receiver;

/// The states of `SSLProtocol` in which data flows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Wrapped,
    Flushing,
    Other,
}

impl Phase {
    fn of(state: &Bound<'_, PyAny>) -> PyResult<Self> {
        static STATES: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();
        let py = state.py();
        let (wrapped, flushing) = STATES.get_or_try_init(py, || {
            let states = py.import("asyncio.sslproto")?.getattr("SSLProtocolState")?;
            PyResult::Ok((states.getattr("WRAPPED")?.unbind(), states.getattr("FLUSHING")?.unbind()))
        })?;
        Ok(if state.is(wrapped) {
            Self::Wrapped
        } else if state.is(flushing) {
            Self::Flushing
        } else {
            Self::Other
        })
    }
}

/// The native half of `plait._loop.tls.TlsProtocol`.
// Not frozen: the flags are plain attributes that asyncio's code sets.
#[pyclass(subclass, module = "plait._native")]
pub(crate) struct Tls {
    #[pyo3(get, set, name = "_ssl_writing_paused")]
    ssl_writing_paused: bool,
    #[pyo3(get, set, name = "_ssl_reading_paused")]
    ssl_reading_paused: bool,
    #[pyo3(get, set, name = "_app_writing_paused")]
    app_writing_paused: bool,
    #[pyo3(get, set, name = "_app_reading_paused")]
    app_reading_paused: bool,
    #[pyo3(get, set, name = "_incoming_high_water")]
    incoming_high: i64,
    #[pyo3(get, set, name = "_incoming_low_water")]
    incoming_low: i64,
    #[pyo3(get, set, name = "_outgoing_high_water")]
    outgoing_high: i64,
    #[pyo3(get, set, name = "_outgoing_low_water")]
    outgoing_low: i64,
    #[pyo3(get, set, name = "_write_buffer_size")]
    backlog_size: i64,
    phase: Phase,
    state: Option<Py<PyAny>>,
    transport: Option<Py<PyAny>>,
    protocol: Option<Py<PyAny>>,
    receiver: Receiver,
    link: Option<Link>,
    /// True: as of a transport (`base::life`), the collector of 3.11 may see
    /// an object whose fields are zero, which says nothing of an enum's.
    whole: bool,
}

fn replace(place: &mut Option<Py<PyAny>>, value: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
    std::mem::replace(place, value)
}

#[pymethods]
impl Tls {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            ssl_writing_paused: false,
            ssl_reading_paused: false,
            app_writing_paused: false,
            app_reading_paused: false,
            incoming_high: 0,
            incoming_low: 0,
            outgoing_high: 0,
            outgoing_low: 0,
            backlog_size: 0,
            phase: Phase::Other,
            state: None,
            transport: None,
            protocol: None,
            receiver: Receiver::Unknown,
            link: None,
            whole: true,
        }
    }

    /// Notes what `SSLProtocol.__init__` has made.
    fn _bind(
        slf: &Bound<'_, Self>,
        sslobj: &Bound<'_, PyAny>,
        incoming: Py<PyAny>,
        outgoing: Py<PyAny>,
        backlog: Py<PyAny>,
    ) -> PyResult<()> {
        let link = Link { calls: Calls::of(sslobj)?, incoming, outgoing, backlog };
        let before = slf.borrow_mut().link.replace(link);
        drop(before);
        Ok(())
    }

    #[getter(_state)]
    fn get_state(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.as_ref().map(|state| state.clone_ref(py))
    }

    #[setter(_state)]
    fn set_state(slf: &Bound<'_, Self>, state: Bound<'_, PyAny>) -> PyResult<()> {
        let phase = Phase::of(&state)?;
        let before = {
            let mut this = slf.borrow_mut();
            this.phase = phase;
            replace(&mut this.state, Some(state.unbind()))
        };
        drop(before);
        Ok(())
    }

    #[getter(_transport)]
    fn get_transport(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.transport.as_ref().map(|transport| transport.clone_ref(py))
    }

    #[setter(_transport)]
    fn set_transport(slf: &Bound<'_, Self>, transport: Option<Py<PyAny>>) {
        let before = replace(&mut slf.borrow_mut().transport, transport);
        drop(before);
    }

    #[getter(_app_protocol)]
    fn get_app_protocol(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.protocol.as_ref().map(|protocol| protocol.clone_ref(py))
    }

    #[setter(_app_protocol)]
    fn set_app_protocol(slf: &Bound<'_, Self>, protocol: Option<Py<PyAny>>) {
        let before = {
            let mut this = slf.borrow_mut();
            let receiver = std::mem::replace(&mut this.receiver, Receiver::Unknown);
            (replace(&mut this.protocol, protocol), receiver)
        };
        drop(before);
    }

    /// Decrypts what has arrived and gives it to the protocol.
    fn _do_read(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.borrow().phase == Phase::Other {
            return Ok(());
        }
        let outcome = Self::read_all(slf);
        Self::caught(slf, outcome)
    }

    /// What the application's transport is told to write.
    fn _write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let accepted = data.is_instance_of::<PyBytes>()
            || data.is_instance_of::<PyByteArray>()
            || data.is_instance_of::<PyMemoryView>();
        if !accepted {
            let name = data.get_type().name()?;
            return Err(PyTypeError::new_err(format!("data: expecting a bytes-like instance, got {name}")));
        }
        if !data.is_truthy()? {
            return Ok(());
        }
        match Self::write_through(slf, data) {
            Ok(true) => Ok(()),
            Ok(false) => slf.call_method1(intern!(py, "_write_appdata"), ((data,),)).map(drop),
            Err(error) => Self::caught(slf, Err(error)),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.whole {
            return Ok(());
        }
        for object in [&self.state, &self.transport, &self.protocol] {
            visit.call(object)?;
        }
        self.receiver.traverse(&visit)?;
        let Some(link) = &self.link else { return Ok(()) };
        link.calls.traverse(&visit)?;
        for object in [&link.incoming, &link.outgoing, &link.backlog] {
            visit.call(object)?;
        }
        Ok(())
    }

    fn __clear__(slf: &Bound<'_, Self>) {
        drop(Self::release(slf));
    }
}

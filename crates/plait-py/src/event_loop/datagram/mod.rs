//! A datagram socket, UDP or Unix: asyncio's transport interface.
//!
//! It passes the states of a stream transport. What differs, as in asyncio:
//! errors of the network end nothing, they are the protocol's to hear of
//! (`error_received`), and nor does what its `datagram_received` raises.

mod address;
mod io;
mod state;

use std::cell::RefMut;

use plait_sys::datagram::Family;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView};

use self::state::{Destination, State};
use super::core::{Core, Loop, Owner, Ready};
use super::endpoint::Endpoint;
use super::transport::state::{Limits, to_bytes};
use crate::error::Error;
use crate::hot::cell::GilCell;
use crate::hot::context;

/// What each datagram that waits counts for besides its bytes, from Python
/// 3.13 on: empty ones, which can be sent since then, are not for nothing.
const HEADER: usize = 8;

/// A transport over a datagram socket.
#[pyclass(frozen, subclass, weakref, dict, module = "plait._native")]
pub(crate) struct DatagramTransport {
    event_loop: Py<Loop>,
    extra: Py<PyDict>,
    /// What the protocol's methods run in.
    context: Py<PyAny>,
    family: Family,
    /// Where everything goes, if that was said when the transport was made.
    address: Option<Py<PyAny>>,
    /// The socket has a peer.
    has_peer: bool,
    /// And one with a name: given addresses do not count then, as in asyncio.
    has_named_peer: bool,
    /// [`HEADER`], or nothing.
    header: usize,
    state: GilCell<State>,
}

impl DatagramTransport {
    fn state(&self, py: Python<'_>) -> RefMut<'_, State> {
        self.state.borrow(py)
    }

    fn protocol(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state(py).protocol.as_ref().map(|protocol| protocol.clone_ref(py))
    }

    fn sock(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state(py).sock.as_ref().map(|sock| sock.clone_ref(py))
    }

    fn queue(slf: &Bound<'_, Self>, item: impl FnOnce(Endpoint) -> Ready) -> PyResult<()> {
        let endpoint = Endpoint::Datagram(slf.clone().unbind());
        slf.get().event_loop.get().core(slf.py()).push(item(endpoint))
    }

    /// Whether the descriptor is still this socket's: it may have been closed
    /// behind our back, and its number be another's by now.
    fn owns(slf: &Bound<'_, Self>, core: &Core) -> bool {
        let fd = slf.get().state(slf.py()).fd;
        matches!(core.fds.get(fd), Some(Owner::Transport(owner)) if owner.is(slf.as_any()))
    }

    /// Tells the kernel what this transport waits for now.
    fn watch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let mut core = this.event_loop.get().core(py);
        let core = &mut *core;
        // A closed loop watches nothing any more.
        if let Some(poller) = core.poller.clone()
            && Self::owns(slf, core)
        {
            let state = this.state(py);
            core.fds.watch(&poller.epoll, state.fd, state.interest()).map_err(Error::from)?;
        }
        Ok(())
    }

    /// Gives the descriptor back.
    fn unwatch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let owner = {
            let mut core = this.event_loop.get().core(py);
            let core = &mut *core;
            match core.poller.clone() {
                Some(poller) if Self::owns(slf, core) => {
                    core.fds.remove(&poller.epoll, this.state(py).fd).map_err(Error::from)?
                }
                _ => None,
            }
        };
        drop(owner);
        Ok(())
    }

    /// Gives the transport up: what was not sent is lost.
    fn lose(slf: &Bound<'_, Self>, error: Option<Py<PyAny>>) -> PyResult<()> {
        let unsent = {
            let mut state = slf.get().state(slf.py());
            if state.lost > 0 {
                return Ok(());
            }
            state.closing = true;
            state.lost = 1;
            state.error = error;
            state.clear_queue()
        };
        drop(unsent);
        Self::watch(slf)?;
        Self::queue(slf, Ready::End)
    }

    /// Neither sends nor reads any more: the socket is the parent's, and this
    /// is a process forked from it.
    pub(in super::super) fn abandon(slf: &Bound<'_, Self>) {
        let unsent = {
            let mut state = slf.get().state(slf.py());
            state.closing = true;
            state.inherited = true;
            state.lost = state.lost.max(1);
            state.clear_queue()
        };
        drop(unsent);
    }

    /// Calls the protocol's `method` and reports what it raises.
    fn tell_protocol(slf: &Bound<'_, Self>, method: &str) -> PyResult<()> {
        let py = slf.py();
        let Some(protocol) = slf.get().protocol(py) else { return Ok(()) };
        match protocol.call_method0(py, method) {
            Ok(_) => Ok(()),
            Err(error) => Self::report(slf, error, &format!("protocol.{method}() failed")),
        }
    }

    fn report(slf: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let py = slf.py();
        let protocol = slf.get().protocol(py);
        Loop::report(slf.get().event_loop.bind(py), error, |context| {
            context.set_item("message", message)?;
            context.set_item("transport", slf)?;
            context.set_item("protocol", protocol)
        })
    }

    /// Tells the protocol to stop sending if too much waits.
    fn pause_if_full(slf: &Bound<'_, Self>) -> PyResult<()> {
        let full = slf.get().state(slf.py()).becomes_full();
        if full { Self::tell_protocol(slf, "pause_writing") } else { Ok(()) }
    }

    /// Where a datagram for `addr` goes.
    fn destination(&self, py: Python<'_>, addr: Option<&Bound<'_, PyAny>>) -> PyResult<Destination> {
        if let Some(address) = &self.address
            && let Some(addr) = addr
            && !addr.eq(address)?
        {
            let address = address.bind(py).str()?;
            return Err(PyValueError::new_err(format!("Invalid address: must be None or {address}")));
        }
        let addr = self.address.as_ref().map(|address| address.bind(py)).or(addr);
        let Some(addr) = addr else {
            // Without a peer, it is the socket module's to refuse.
            return Ok(if self.has_peer { Destination::Peer } else { Destination::Python(py.None()) });
        };
        if self.has_named_peer {
            return Ok(Destination::Peer);
        }
        let known = self.state(py).peers.address(addr).cloned();
        Ok(match known.or_else(|| address::from_python(self.family, addr)) {
            Some(address) => Destination::Address(address),
            None => Destination::Python(addr.clone().unbind()),
        })
    }
}

#[pymethods]
impl DatagramTransport {
    #[new]
    #[pyo3(signature = (event_loop, sock, protocol, address=None, waiter=None, extra=None))]
    fn new(
        py: Python<'_>,
        event_loop: Py<Loop>,
        sock: &Bound<'_, PyAny>,
        protocol: Py<PyAny>,
        address: Option<Bound<'_, PyAny>>,
        waiter: Option<Py<PyAny>>,
        extra: Option<Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let fd = sock.call_method0("fileno")?.extract()?;
        let extra = extra.unwrap_or_else(|| PyDict::new(py));
        let peer = extra.get_item("peername")?.filter(|peer| !peer.is_none());
        let named = peer.as_ref().map_or(Ok(false), |peer| peer.is_truthy())?;
        let address = match address {
            Some(address) if address.is_truthy()? => Some(address.unbind()),
            _ => None,
        };
        Ok(Self {
            event_loop,
            extra: extra.unbind(),
            context: context::copy_current(py)?,
            family: Family::from_raw(sock.getattr("family")?.extract()?),
            address,
            has_peer: peer.is_some(),
            has_named_peer: named,
            header: if py.version_info() >= (3, 13) { HEADER } else { 0 },
            state: GilCell::new(State::new(fd, sock.clone().unbind(), protocol, waiter)),
        })
    }

    /// Takes the descriptor over and has the protocol told of the transport
    /// in the next turn.
    fn _start(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let fd = this.state(py).fd;
        let owner = Owner::Transport(Endpoint::Datagram(slf.clone().unbind()));
        let before = this.event_loop.get().core(py).fds.insert(fd, owner).map_err(Error::from)?;
        drop(before);
        Self::queue(slf, Ready::Begin)
    }

    /// Sends `data` in one datagram to `addr`, or to whom the transport is
    /// connected.
    #[pyo3(signature = (data, addr=None))]
    fn sendto(
        slf: &Bound<'_, Self>,
        data: &Bound<'_, PyAny>,
        addr: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let data = payload(data)?;
        if data.as_bytes().is_empty() && slf.get().header == 0 {
            return Ok(());
        }
        let to = slf.get().destination(slf.py(), addr)?;
        Self::send(slf, &data, to)
    }

    /// Closes the transport once what was sent has gone out.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let nothing_waits = {
            let mut state = slf.get().state(slf.py());
            if state.closing {
                return Ok(());
            }
            state.closing = true;
            let nothing_waits = state.queue.is_empty();
            if nothing_waits {
                state.lost = 1;
            }
            nothing_waits
        };
        Self::watch(slf)?;
        if nothing_waits { Self::queue(slf, Ready::End) } else { Ok(()) }
    }

    /// Closes the transport now; what waits is lost.
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
        Self::set_paused(slf, true)
    }

    fn resume_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_paused(slf, false)
    }

    /// Sets the marks, in bytes that wait, at which the protocol is told to
    /// stop and to go on.
    #[pyo3(signature = (high=None, low=None))]
    fn set_write_buffer_limits(slf: &Bound<'_, Self>, high: Option<i64>, low: Option<i64>) -> PyResult<()> {
        slf.get().state(slf.py()).limits = Limits::new(high, low)?;
        Self::pause_if_full(slf)
    }

    /// The marks, low and high.
    fn get_write_buffer_limits(&self, py: Python<'_>) -> (usize, usize) {
        let limits = self.state(py).limits;
        (limits.low, limits.high)
    }

    /// How many bytes wait to be sent; each datagram counts 8 more from
    /// Python 3.13 on.
    fn get_write_buffer_size(&self, py: Python<'_>) -> usize {
        self.state(py).queued
    }

    fn set_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) {
        let before = {
            let mut state = self.state(py);
            (state.protocol.replace(protocol), state.received.take())
        };
        drop(before);
    }

    fn get_protocol(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.protocol(py)
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

    /// What `isinstance` goes by, as for a stream's transport.
    #[getter]
    fn __class__<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        static TRANSPORT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        TRANSPORT.import(py, "asyncio", "DatagramTransport")
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Py<Loop> {
        self.event_loop.clone_ref(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<DatagramTransport {}>", self.state(py))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.extra)?;
        visit.call(&self.context)?;
        visit.call(&self.address)?;
        self.state.visit(&visit).map_or(Ok(()), |state| state.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        let held = self.state(py).release();
        drop(held);
    }
}

impl DatagramTransport {
    fn set_paused(slf: &Bound<'_, Self>, paused: bool) -> PyResult<()> {
        {
            let mut state = slf.get().state(slf.py());
            if state.closing || state.paused == paused {
                return Ok(());
            }
            state.paused = paused;
        }
        Self::watch(slf)
    }
}

/// What is to be sent, as an object that cannot change while it waits.
fn payload<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let is_ours = data.is_instance_of::<PyBytes>()
        || data.is_instance_of::<PyByteArray>()
        || data.is_instance_of::<PyMemoryView>();
    if is_ours {
        return to_bytes(data);
    }
    let name = data.get_type().name()?;
    Err(PyTypeError::new_err(format!("data argument must be a bytes-like object, not '{name}'")))
}

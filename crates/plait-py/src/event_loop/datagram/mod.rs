//! A datagram socket, UDP or Unix: asyncio's transport interface.
//!
//! It passes the states of a stream transport. What differs, as in asyncio:
//! errors of the network end nothing, they are the protocol's to hear of
//! (`error_received`), and nor does what its `datagram_received` raises.

pub(super) mod address;
mod io;
mod state;

use std::cell::RefMut;

use plait_loop::flow::Flow;
use plait_sys::datagram::Family;
use plait_sys::epoll::Interest;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView};

use self::state::{Destination, State};
use super::base::{Base, Life, Transport, Writes, reading_interface, transport_interface, writing_interface};
use super::core::Loop;
use super::endpoint::Endpoint;
use super::transport::state::to_bytes;
use crate::hot::cell::GilCell;
use crate::hot::context;

/// What each datagram that waits counts for besides its bytes, from Python
/// 3.13 on: empty ones, which can be sent since then, are not for nothing.
const HEADER: usize = 8;

/// A transport over a datagram socket.
#[pyclass(frozen, subclass, weakref, dict, module = "plait._native")]
pub(crate) struct DatagramTransport {
    base: Base,
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

impl Transport for DatagramTransport {
    fn base<'a>(slf: &'a Bound<'_, Self>) -> &'a Base {
        &slf.get().base
    }

    fn life<'a>(slf: &'a Bound<'_, Self>) -> RefMut<'a, Life> {
        RefMut::map(slf.get().state(slf.py()), |state| &mut state.life)
    }

    fn endpoint(slf: Py<Self>) -> Endpoint {
        Endpoint::Datagram(slf)
    }

    fn interest(slf: &Bound<'_, Self>) -> Interest {
        slf.get().state(slf.py()).interest()
    }

    fn on_ready(slf: &Bound<'_, Self>, readable: bool, writable: bool) -> PyResult<()> {
        if readable {
            context::enter(slf.py(), &slf.get().base.context, || Self::on_readable(slf))?;
        }
        if writable && Self::interest(slf).write {
            Self::flush(slf)?;
        }
        Ok(())
    }

    fn waiting(slf: &Bound<'_, Self>) -> usize {
        slf.get().state(slf.py()).queued
    }

    fn discard(slf: &Bound<'_, Self>) {
        let unsent = slf.get().state(slf.py()).clear_queue();
        drop(unsent);
    }

    fn release(slf: &Bound<'_, Self>) {
        let held = slf.get().state(slf.py()).release();
        drop(held);
    }
}

impl Writes for DatagramTransport {
    fn flow<R>(slf: &Bound<'_, Self>, f: impl FnOnce(&mut Flow, usize) -> R) -> R {
        let state = &mut *slf.get().state(slf.py());
        f(&mut state.flow, state.queued)
    }
}

impl DatagramTransport {
    fn state(&self, py: Python<'_>) -> RefMut<'_, State> {
        self.state.borrow(py)
    }

    fn sock(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state(py).life.file.as_ref().map(|sock| sock.clone_ref(py))
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
        extra: Option<Py<PyDict>>,
    ) -> PyResult<Self> {
        let life = Life::new(sock, protocol, waiter, 1)?;
        let base = Base::of_socket(sock, life.fd, event_loop, extra, None)?;
        let peer = base.info(intern!(py, "peername"))?.filter(|peer| !peer.is_none());
        let named = peer.as_ref().map_or(Ok(false), |peer| peer.is_truthy())?;
        let address = match address {
            Some(address) if address.is_truthy()? => Some(address.unbind()),
            _ => None,
        };
        Ok(Self {
            base,
            family: Family::from_raw(sock.getattr("family")?.extract()?),
            address,
            has_peer: peer.is_some(),
            has_named_peer: named,
            header: if py.version_info() >= (3, 13) { HEADER } else { 0 },
            state: GilCell::new(State::new(life)),
        })
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

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = self.state(py);
        format!("<DatagramTransport {}>", state.life.describe_both(state.interest(), state.queued))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.base.is_whole() {
            return Ok(());
        }
        self.base.traverse(&visit)?;
        visit.call(&self.address)?;
        self.state.visit(&visit).map_or(Ok(()), |state| state.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        let held = self.state(py).release();
        drop(held);
    }
}

transport_interface!(DatagramTransport, "plait._loop.interfaces", "DatagramTransport");
reading_interface!(DatagramTransport);
writing_interface!(DatagramTransport);

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

//! What happens to a datagram transport: its begin, input, output, its end.

use plait_sys::datagram::{self, Address};
use pyo3::exceptions::{PyBlockingIOError, PyInterruptedError, PyOSError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::super::base::{Receiver, Receives, Transport, Writes, logger};
use super::super::inherited::stayed_with_parent;
use super::super::reading::READ_SIZE;
use super::DatagramTransport;
use super::address;
use super::state::{Destination, Queued};
use crate::error::Error;
use crate::hot::context;

/// How many datagrams one event may bring, before it is the others' turn. To
/// ask for one more costs less than to be told of it by the next turn.
const BATCH: usize = 32;

const READ_ERROR: &str = "Fatal read error on datagram transport";
const WRITE_ERROR: &str = "Fatal write error on datagram transport";

/// A datagram and its sender.
type Received<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// How `protocol` takes datagrams.
fn receiver_of(protocol: &Bound<'_, PyAny>) -> PyResult<Receiver> {
    let received = protocol.getattr(intern!(protocol.py(), "datagram_received"))?;
    Ok(Receiver::Method(received.unbind()))
}

impl DatagramTransport {
    pub(super) fn on_readable(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        for _ in 0..BATCH {
            if !slf.get().state(py).interest().read {
                return Ok(());
            }
            match slf.get().receive(py) {
                Ok(None) => return Ok(()),
                Ok(Some(received)) => Self::deliver(slf, received)?,
                Err(error) => return Self::on_error(slf, error, READ_ERROR),
            }
        }
        Ok(())
    }

    fn deliver<'py>(slf: &Bound<'py, Self>, (data, sender): Received<'py>) -> PyResult<()> {
        let told = Self::receiver(slf, receiver_of).and_then(|receiver| match receiver {
            Receiver::Method(received) => received.call1(slf.py(), (data, sender)).map(drop),
            // Those of bytes.
            _ => Ok(()),
        });
        // As asyncio has it, the transport outlives such an error.
        told.or_else(|e| Self::report(slf, e, "Exception in callback datagram_received() of the protocol"))
    }

    /// Receives one datagram: through the loop's buffer into an object of the
    /// exact size.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Option<Received<'py>>> {
        if self.family == datagram::Family::Other {
            return self.receive_by_socket(py);
        }
        let fd = self.state(py).life.number(py);
        let received = self.base.event_loop.get().with_read_buffer(py, |buffer| {
            datagram::receive(fd, buffer).map(|received| {
                received.map(|(count, sender)| (PyBytes::new(py, &buffer[..count]).into_any(), sender))
            })
        });
        let Some((data, sender)) = received.map_err(Error::from)? else { return Ok(None) };
        let sender = match sender {
            Some(sender) => self.sender(py, sender)?,
            None => py.None().into_bound(py),
        };
        Ok(Some((data, sender)))
    }

    /// The sender's address as Python has it.
    fn sender<'py>(&self, py: Python<'py>, sender: Address) -> PyResult<Bound<'py, PyAny>> {
        let known = self.state(py).peers.object(py, &sender);
        if let Some(object) = known {
            return Ok(object.into_bound(py));
        }
        let object = address::to_python(py, &sender)?;
        let before = self.state(py).peers.keep(sender, object.clone_ref(py));
        drop(before);
        Ok(object.into_bound(py))
    }

    /// For families whose addresses only the socket module knows.
    fn receive_by_socket<'py>(&self, py: Python<'py>) -> PyResult<Option<Received<'py>>> {
        let Some(sock) = self.sock(py) else { return Ok(None) };
        match sock.call_method1(py, intern!(py, "recvfrom"), (READ_SIZE,)) {
            Ok(received) => {
                let received = received.into_bound(py).cast_into::<PyTuple>()?;
                Ok(Some((received.get_item(0)?, received.get_item(1)?)))
            }
            Err(error) if would_block(py, &error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends `data`, at once if nothing else waits, and keeps it if there is
    /// no room.
    pub(super) fn send(slf: &Bound<'_, Self>, data: &Bound<'_, PyBytes>, to: Destination) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let waits = {
            let mut state = this.state(py);
            if state.life.inherited {
                drop(state);
                return this.base.event_loop.get()._check_inherited(py).and(Err(stayed_with_parent()));
            }
            if state.life.file.is_none() || (state.life.lost && this.address.is_some()) {
                let say_so = state.life.counts_late();
                drop(state);
                if say_so {
                    logger(py)?.call_method1("warning", ("socket.send() raised exception.",))?;
                }
                return Ok(());
            }
            !state.queue.is_empty()
        };
        if !waits {
            match this.transmit(data, &to) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => return Self::on_send_error(slf, error),
            }
        }
        {
            let mut state = this.state(py);
            if state.life.lost {
                drop(state);
                return Ok(());
            }
            state.queue.push_back(Queued { data: data.clone().unbind(), to });
            state.queued += data.as_bytes().len() + this.header;
        }
        if !waits {
            Self::watch_or_fail(slf)?;
        }
        Self::pause_if_full(slf)
    }

    /// Gives one datagram to the kernel. False if there is no room for it.
    fn transmit(&self, data: &Bound<'_, PyBytes>, to: &Destination) -> PyResult<bool> {
        let py = data.py();
        let sent = match to {
            Destination::Peer => datagram::send(self.state(py).life.number(py), data.as_bytes()),
            Destination::Address(address) => {
                datagram::send_to(self.state(py).life.number(py), data.as_bytes(), address)
            }
            Destination::Python(address) => {
                let Some(sock) = self.sock(py) else { return Ok(true) };
                return match sock.call_method1(py, intern!(py, "sendto"), (data, address)) {
                    Ok(_) => Ok(true),
                    Err(error) if would_block(py, &error) => Ok(false),
                    Err(error) => Err(error),
                };
            }
        };
        Ok(sent.map_err(Error::from)?)
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        loop {
            let next = {
                let mut state = this.state(py);
                let next = state.queue.pop_front();
                if let Some(next) = &next {
                    state.queued -= next.data.as_bytes(py).len() + this.header;
                }
                next
            };
            let Some(next) = next else { break };
            match this.transmit(next.data.bind(py), &next.to) {
                Ok(true) => {}
                Ok(false) => {
                    let mut state = this.state(py);
                    state.queued += next.data.as_bytes(py).len() + this.header;
                    state.queue.push_front(next);
                    break;
                }
                Err(error) => {
                    context::enter(py, &this.base.context, || Self::on_error(slf, error, WRITE_ERROR))?;
                }
            }
        }
        Self::resume_if_free(slf)?;
        Self::watch_or_fail(slf)?;
        let ended = {
            let mut state = this.state(py);
            state.queue.is_empty() && state.life.sent_last()
        };
        if ended { Self::end(slf) } else { Ok(()) }
    }

    /// An error of a `sendto` that somebody is in: what the protocol raises
    /// of it is theirs.
    fn on_send_error(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        let py = slf.py();
        if error.is_instance_of::<PyOSError>(py) {
            return Self::tell_error(slf, error);
        }
        Self::fail(slf, error, WRITE_ERROR)
    }

    /// An error of an event: those of the system are the protocol's.
    fn on_error(slf: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        if error.is_instance_of::<PyOSError>(slf.py()) {
            return Self::tell_error(slf, error)
                .or_else(|e| Self::report(slf, e, "Exception in callback error_received() of the protocol"));
        }
        Self::fail(slf, error, message)
    }

    fn tell_error(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        let py = slf.py();
        match Self::protocol(slf) {
            Some(protocol) => {
                protocol.call_method1(py, intern!(py, "error_received"), (error.into_value(py),)).map(drop)
            }
            None => Ok(()),
        }
    }
}

/// Whether a call of the socket module had to wait.
fn would_block(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyBlockingIOError>(py) || error.is_instance_of::<PyInterruptedError>(py)
}

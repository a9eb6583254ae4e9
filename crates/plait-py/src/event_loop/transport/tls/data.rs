//! What happens to data on its way in and out.

use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use super::super::super::base::SendsBytes;
use super::super::SocketTransport;
use super::link::{Link, is_again, join, slice};
use super::{Phase, Tls};
use crate::event_loop::base::Receiver;

/// What asyncio says of every failure in the path of the data.
const FAILED: &str = "Fatal error on SSL protocol";

impl Tls {
    pub(super) fn link(slf: &Bound<'_, Self>) -> PyResult<Link> {
        let link = slf.borrow().link.as_ref().map(|link| link.clone_ref(slf.py()));
        link.ok_or_else(|| PyRuntimeError::new_err("the TLS protocol is not set up"))
    }

    /// The methods of the application's protocol, looked up when data first
    /// comes.
    pub(super) fn receiver(slf: &Bound<'_, Self>) -> PyResult<Receiver> {
        let py = slf.py();
        let protocol = {
            let this = slf.borrow();
            if !matches!(this.receiver, Receiver::Unknown) {
                return Ok(this.receiver.clone_ref(py));
            }
            this.protocol.as_ref().map(|protocol| protocol.clone_ref(py))
        };
        let protocol = protocol.unwrap_or_else(|| py.None());
        let receiver = Receiver::of_application(protocol.bind(py))?;
        let before = std::mem::replace(&mut slf.borrow_mut().receiver, receiver.clone_ref(py));
        drop(before);
        Ok(receiver)
    }

    /// Ciphertext has been written to the incoming BIO.
    pub(super) fn on_ciphertext(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.borrow().phase == Phase::Wrapped {
            return Self::_do_read(slf);
        }
        // asyncio's own dispatch by the state; it adds nothing to the BIO.
        slf.call_method1(intern!(slf.py(), "buffer_updated"), (0,)).map(drop)
    }

    /// Ends the connection for an error, as asyncio does around each path.
    pub(super) fn caught(slf: &Bound<'_, Self>, outcome: PyResult<()>) -> PyResult<()> {
        let py = slf.py();
        match outcome {
            Err(error) if error.is_instance_of::<PyException>(py) => {
                slf.call_method1(intern!(py, "_fatal_error"), (error.into_value(py), FAILED)).map(drop)
            }
            outcome => outcome,
        }
    }

    pub(super) fn read_all(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let link = Self::link(slf)?;
        if !slf.borrow().app_reading_paused {
            match Self::receiver(slf)? {
                Receiver::Method(received) => Self::read_chunks(slf, &link, &received)?,
                Receiver::Buffered(get, updated) => Self::read_buffered(slf, &link, &get, &updated)?,
                Receiver::Unknown | Receiver::Reader(_) | Receiver::Tls(_) => {}
            }
            if link.has_backlog(py)? {
                slf.call_method0(intern!(py, "_do_write"))?;
            } else {
                Self::send_outgoing(slf, &link)?;
            }
        }
        let size = i64::try_from(Link::pending(py, &link.incoming)?)?;
        let must_tell = {
            let this = slf.borrow();
            size >= this.incoming_high || this.ssl_reading_paused
        };
        if must_tell { slf.call_method0(intern!(py, "_control_ssl_reading")).map(drop) } else { Ok(()) }
    }

    /// Gives the protocol what there is, in one piece.
    pub(super) fn read_chunks(slf: &Bound<'_, Self>, link: &Link, received: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let mut first: Option<Bound<'_, PyAny>> = None;
        let mut more: Vec<Bound<'_, PyBytes>> = Vec::new();
        let mut ended = false;
        loop {
            let asked = link.ask(py)?;
            let chunk = match link.calls.read(py, asked) {
                Ok(chunk) => chunk,
                Err(error) if is_again(py, &error)? => break,
                Err(error) => return Err(error),
            };
            let got = chunk.len()?;
            if got == 0 {
                ended = true;
                break;
            }
            if first.is_none() {
                first = Some(chunk);
            } else {
                more.push(chunk.cast_into()?);
            }
            if link.is_drained(py, got, asked)? {
                break;
            }
        }
        if let Some(first) = first {
            let data = if more.is_empty() { first } else { join(first.cast()?, &more)?.into_any() };
            drop(more);
            received.bind(py).call1((data,))?;
        }
        if ended { Self::on_close_notify(slf) } else { Ok(()) }
    }

    /// Fills the protocol's buffer with what there is.
    pub(super) fn read_buffered(
        slf: &Bound<'_, Self>,
        link: &Link,
        get: &Py<PyAny>,
        updated: &Py<PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let buffer = get.bind(py).call1((Link::pending(py, &link.incoming)?,))?;
        // A view: asyncio slices what it is given, which copies a bytearray.
        let view = PyMemoryView::from(&buffer)?.into_any();
        let wanted = view.len()?;
        if wanted == 0 {
            return Err(PyRuntimeError::new_err("get_buffer() returned an empty buffer"));
        }
        let mut filled = 0;
        let mut ended = false;
        while filled < wanted {
            let asked = wanted - filled;
            let target = if filled == 0 { view.clone() } else { slice(&view, filled, wanted)? };
            let got = match link.calls.read_into(&target, asked) {
                Ok(got) => got,
                Err(error) if is_again(py, &error)? => break,
                Err(error) => return Err(error),
            };
            if got == 0 {
                ended = true;
                break;
            }
            filled += got;
            if link.is_drained(py, got, asked)? {
                break;
            }
        }
        if filled == wanted {
            // There may be more, and a buffer for it comes in the next turn.
            let again = slf.getattr(intern!(py, "_do_read"))?;
            slf.getattr(intern!(py, "_loop"))?.call_method1(intern!(py, "call_soon"), (again,))?;
        }
        drop(view);
        drop(buffer);
        if filled > 0 {
            updated.bind(py).call1((filled,))?;
        }
        if ended { Self::on_close_notify(slf) } else { Ok(()) }
    }

    pub(super) fn on_close_notify(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        slf.call_method0(intern!(py, "_call_eof_received"))?;
        slf.call_method0(intern!(py, "_start_shutdown")).map(drop)
    }

    /// Sends the ciphertext that waits, and tells the protocol should its
    /// amount have crossed a mark.
    pub(super) fn send_outgoing(slf: &Bound<'_, Self>, link: &Link) -> PyResult<()> {
        let py = slf.py();
        let (paused, transport) = {
            let this = slf.borrow();
            (this.ssl_writing_paused, this.transport.as_ref().map(|transport| transport.clone_ref(py)))
        };
        let mut waits = Link::pending(py, &link.outgoing)?;
        if waits > 0 && !paused {
            let data = link.outgoing.bind(py).call_method0(intern!(py, "read"))?.cast_into::<PyBytes>()?;
            waits = 0;
            let transport = transport.unwrap_or_else(|| py.None());
            match transport.bind(py).cast_exact::<SocketTransport>() {
                Ok(transport) => {
                    transport.get().check_writable(py)?;
                    SocketTransport::send(transport, &data)?;
                }
                Err(_) => drop(transport.call_method1(py, intern!(py, "write"), (data,))?),
            }
        }
        let waits = i64::try_from(waits)?;
        let must_tell = {
            let this = slf.borrow();
            this.backlog_size + waits >= this.outgoing_high || this.app_writing_paused
        };
        if must_tell { slf.call_method0(intern!(py, "_control_app_writing")).map(drop) } else { Ok(()) }
    }

    /// Encrypts and sends `data`; `false` if that is not as simple as it
    /// mostly is, and nothing was done.
    pub(super) fn write_through(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = slf.py();
        let link = {
            let this = slf.borrow();
            match &this.link {
                Some(link) if this.phase == Phase::Wrapped => link.clone_ref(py),
                _ => return Ok(false),
            }
        };
        let simple = data.is_instance_of::<PyBytes>() || data.is_instance_of::<PyByteArray>();
        if !simple || link.has_backlog(py)? {
            return Ok(false);
        }
        let length = data.len()?;
        match link.calls.write(data) {
            Ok(count) if count == length => {}
            Ok(count) => Self::keep(slf, &link, &slice(data, count, length)?)?,
            Err(error) if is_again(py, &error)? => Self::keep(slf, &link, data)?,
            Err(error) => return Err(error),
        }
        Self::send_outgoing(slf, &link)?;
        Ok(true)
    }

    /// Has `data` wait until the TLS object can take it.
    pub(super) fn keep(slf: &Bound<'_, Self>, link: &Link, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let length = i64::try_from(data.len()?)?;
        link.backlog.bind(slf.py()).call_method1("append", (data,))?;
        slf.borrow_mut().backlog_size += length;
        Ok(())
    }

    pub(super) fn release(slf: &Bound<'_, Self>) -> (Option<Link>, Receiver, [Option<Py<PyAny>>; 3]) {
        let mut this = slf.borrow_mut();
        let objects = [this.state.take(), this.transport.take(), this.protocol.take()];
        (this.link.take(), std::mem::replace(&mut this.receiver, Receiver::Unknown), objects)
    }
}

//! What happens to a connection: its begin, input, output, its end.

use plait_sys::stream;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::super::base::Transport;
use super::super::core::is_fatal;
use super::SocketTransport;
use super::state::Receiver;
use crate::error::Error;
use crate::hot::buffer::recv_into;
use crate::hot::context;

/// The most that one read takes, as in asyncio. The buffer is the loop's and
/// is reused: one of this size is above the allocator's map threshold, and
/// mapping it for each read would cost more than the read (DESIGN.md).
pub(in super::super) const READ_SIZE: usize = 256 * 1024;

impl SocketTransport {
    fn receiver(slf: &Bound<'_, Self>) -> PyResult<Receiver> {
        let py = slf.py();
        let protocol = {
            let state = slf.get().state(slf.py());
            if !matches!(state.receiver, Receiver::Unknown) {
                return Ok(state.receiver.clone_ref(py));
            }
            state.life.protocol.as_ref().map(|protocol| protocol.clone_ref(py))
        };
        let Some(protocol) = protocol else {
            return Err(PyRuntimeError::new_err("the transport has no protocol"));
        };
        let receiver = Receiver::of(protocol.bind(py))?;
        let before = std::mem::replace(&mut slf.get().state(slf.py()).receiver, receiver.clone_ref(py));
        drop(before);
        Ok(receiver)
    }

    pub(super) fn on_readable(slf: &Bound<'_, Self>) -> PyResult<()> {
        match Self::receiver(slf) {
            Ok(Receiver::Stream(received)) => Self::read_bytes(slf, &received),
            Ok(Receiver::Buffered(get, updated)) => Self::read_into(slf, &get, &updated),
            Ok(Receiver::Reader(protocol)) => Self::read_for_reader(slf, &protocol),
            Ok(Receiver::Tls(tls)) => Self::read_tls(slf, &tls),
            Ok(Receiver::Unknown) => Ok(()),
            Err(error) => Self::fail(slf, error, "Fatal error: the protocol cannot take data."),
        }
    }

    /// Receives what there is into the loop's buffer, and keeps of it what
    /// `keep` makes.
    pub(super) fn receive<T>(
        &self,
        py: Python<'_>,
        keep: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, Error> {
        let buffer_of = &self.base.event_loop.get().read_buffer;
        let fd = self.state(py).life.fd;
        // Taken, not borrowed: making an object can run the collector, and
        // that any code at all.
        let mut buffer = std::mem::take(&mut *buffer_of.borrow(py));
        buffer.resize(READ_SIZE, 0);
        let received = stream::recv(fd, &mut buffer);
        let kept = received.map(|count| count.map(|count| keep(&buffer[..count])));
        *buffer_of.borrow(py) = buffer;
        Ok(kept?)
    }

    fn read_bytes(slf: &Bound<'_, Self>, received: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        match slf.get().receive(py, |data| PyBytes::new(py, data)) {
            Ok(None) => Ok(()),
            Ok(Some(data)) if data.as_bytes().is_empty() => Self::on_input_end(slf),
            Ok(Some(data)) => match context::enter(py, &slf.get().base.context, || {
                received.call1(py, (data,))
            }) {
                Ok(_) => Ok(()),
                Err(error) => Self::fail(slf, error, "Fatal error: protocol.data_received() call failed."),
            },
            Err(error) => Self::fail(slf, error.into(), "Fatal read error on socket transport"),
        }
    }

    fn read_into(slf: &Bound<'_, Self>, get: &Py<PyAny>, updated: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let buffer = context::enter(py, &this.base.context, || {
            let buffer = PyBuffer::<u8>::get(get.call1(py, (-1,))?.bind(py))?;
            if buffer.len_bytes() == 0 {
                return Err(PyRuntimeError::new_err("get_buffer() returned an empty buffer"));
            }
            Ok(buffer)
        });
        let buffer = match buffer {
            Ok(buffer) => buffer,
            Err(error) => return Self::fail(slf, error, "Fatal error: protocol.get_buffer() call failed."),
        };
        let fd = this.state(py).life.fd;
        let received = recv_into(py, fd, &buffer);
        drop(buffer);
        let count = match received {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(0))) => return Self::on_input_end(slf),
            Ok(Ok(Some(count))) => count,
            Ok(Err(error)) => return Self::fail(slf, error.into(), "Fatal read error on socket transport"),
            Err(error) => return Self::fail(slf, error, "Fatal error: protocol.get_buffer() call failed."),
        };
        match context::enter(py, &this.base.context, || updated.call1(py, (count,))) {
            Ok(_) => Ok(()),
            Err(error) => Self::fail(slf, error, "Fatal error: protocol.buffer_updated() call failed."),
        }
    }

    /// The peer will send no more.
    pub(super) fn on_input_end(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let protocol = {
            let mut state = this.state(py);
            state.input_ended = true;
            state.life.protocol.as_ref().map(|protocol| protocol.clone_ref(py))
        };
        Self::watch(slf)?;
        let Some(protocol) = protocol else { return Ok(()) };
        let keep_open = context::enter(py, &this.base.context, || {
            protocol.call_method0(py, "eof_received")?.is_truthy(py)
        });
        match keep_open {
            Ok(true) => Ok(()),
            Ok(false) => Self::close(slf),
            Err(error) if is_fatal(py, &error) => {
                // Told again should the loop be run again, or nobody would close.
                this.state(py).input_ended = false;
                Self::watch(slf).and(Err(error))
            }
            Err(error) => Self::fail(slf, error, "Fatal error: protocol.eof_received() call failed."),
        }
    }

    /// Why nothing can be written, if so.
    pub(super) fn check_writable(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state(py);
        let reason = match (state.eof, state.sending_file) {
            (false, false) => return Ok(()),
            (true, _) => "Cannot call write() after write_eof()",
            (_, true) => "unable to write; sendfile is in progress",
        };
        drop(state);
        Err(PyRuntimeError::new_err(reason))
    }

    pub(super) fn shut_down_writing(slf: &Bound<'_, Self>) -> PyResult<()> {
        const SHUT_WR: i32 = 1;
        let py = slf.py();
        let sock = slf.get().state(slf.py()).life.file.as_ref().map(|sock| sock.clone_ref(py));
        match sock {
            Some(sock) => sock.call_method1(py, "shutdown", (SHUT_WR,)).map(drop),
            None => Ok(()),
        }
    }
}

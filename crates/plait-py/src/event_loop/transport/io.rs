//! What happens to a connection: its begin, input, output, its end.

use plait_sys::stream;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyMemoryView};

use super::super::base::{Receiver, Receives, SendsBytes, Transport};
use super::super::core::is_fatal;
use super::SocketTransport;
use super::{Tls, reader, state};
use crate::error::Error;
use crate::hot::buffer::{bytes_from, fill, write_from};
use crate::hot::call::call_one;
use crate::hot::{bytearray, context};

/// What became of a read into the protocol's own buffer.
enum Filled {
    Done,
    End,
    /// `get_buffer` gave none that can be used.
    Refused(PyErr),
    /// The connection is.
    Broken(Error),
    /// `buffer_updated` raised.
    Untold(PyErr),
}

/// How `protocol` takes what the socket receives.
fn receiver_of(protocol: &Bound<'_, PyAny>) -> PyResult<Receiver> {
    if let Ok(tls) = protocol.cast::<Tls>() {
        return Ok(Receiver::Tls(tls.clone().unbind()));
    }
    if reader::is_standard(protocol)? {
        return Ok(Receiver::Reader(protocol.clone().unbind()));
    }
    Receiver::of_application(protocol)
}

impl SocketTransport {
    pub(super) fn on_readable(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let known = {
            let state = slf.get().state(py);
            if !state.interest().read {
                return Ok(());
            }
            state.life.receiver.clone_ref(py)
        };
        let receiver = match known {
            Receiver::Unknown => Self::find_receiver(slf, receiver_of),
            known => Ok(known),
        };
        match receiver {
            Ok(Receiver::Method(received)) => Self::read_bytes(slf, &received),
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
        let fd = self.state(py).life.number(py);
        Ok(self.base.event_loop.get().with_read_buffer(py, |buffer| {
            stream::recv(fd, buffer).map(|count| count.map(|count| keep(&buffer[..count])))
        })?)
    }

    fn read_bytes(slf: &Bound<'_, Self>, received: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let base = &slf.get().base;
        let fd = Self::life(slf).number(py);
        let data = match base.event_loop.get().receive_bytes(py, fd) {
            Ok(Some(data)) => data,
            Ok(None) => return Ok(()),
            Err(error) => {
                return Self::fail(slf, Error::from(error).into(), "Fatal read error on socket transport");
            }
        };
        if data.as_bytes().is_empty() {
            return Self::on_input_end(slf);
        }
        match context::enter(py, &base.context, || call_one(received.bind(py), &data)) {
            Ok(_) => {
                base.event_loop.get().reuse(data);
                Ok(())
            }
            Err(error) => Self::fail(slf, error, "Fatal error: protocol.data_received() call failed."),
        }
    }

    fn read_into(slf: &Bound<'_, Self>, get: &Py<PyAny>, updated: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        // One callback as far as its context goes, as in asyncio.
        let outcome = context::enter(py, &slf.get().base.context, || {
            // The number is asked for after the call: that can close the socket.
            let received = call_one(get.bind(py), (-1_i32).into_pyobject(py)?.as_any())
                .and_then(|buffer| fill(stream::recv, Self::life(slf).number(py), &buffer));
            let received = match received {
                Ok(received) => received,
                Err(error) => return Ok(Filled::Refused(error)),
            };
            Ok(match received {
                Ok(None) => Filled::Done,
                Ok(Some(0)) => Filled::End,
                // Signed: the interpreter makes numbers of these faster.
                Ok(Some(count)) => {
                    match call_one(updated.bind(py), count.cast_signed().into_pyobject(py)?.as_any()) {
                        Ok(_) => Filled::Done,
                        Err(error) => Filled::Untold(error),
                    }
                }
                Err(error) => Filled::Broken(error),
            })
        });
        match outcome.unwrap_or_else(Filled::Refused) {
            Filled::Done => Ok(()),
            Filled::End => Self::on_input_end(slf),
            Filled::Refused(error) => {
                Self::fail(slf, error, "Fatal error: protocol.get_buffer() call failed.")
            }
            Filled::Broken(error) => Self::fail(slf, error.into(), "Fatal read error on socket transport"),
            Filled::Untold(error) => {
                Self::fail(slf, error, "Fatal error: protocol.buffer_updated() call failed.")
            }
        }
    }

    /// The peer will send no more.
    pub(super) fn on_input_end(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        Self::note(slf, "debug", "received EOF")?;
        let protocol = {
            let mut state = this.state(py);
            state.input_ended = true;
            state.life.protocol.as_ref().map(|protocol| protocol.clone_ref(py))
        };
        Self::watch_or_fail(slf)?;
        let Some(protocol) = protocol else { return Ok(()) };
        let keep_open = context::enter(py, &this.base.context, || {
            protocol.call_method0(py, intern!(py, "eof_received"))?.is_truthy(py)
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

    /// Sends what `write` was given and is not bytes: copied if it is kept.
    pub(super) fn send_object(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if let Ok(array) = data.cast_exact::<PyByteArray>() {
            slf.get().check_writable(py)?;
            let attempt = |fd| bytearray::write_from(stream::send, fd, array);
            return Self::send_by(slf, array.len(), attempt, |sent| bytearray::bytes_from(array, sent));
        }
        if let Ok(view) = data.cast::<PyMemoryView>() {
            let buffer = PyUntypedBuffer::get(view)?;
            if buffer.is_c_contiguous() {
                slf.get().check_writable(py)?;
                let attempt = |fd| write_from(py, stream::send, fd, &buffer);
                let keep = |sent| bytes_from(py, &buffer, sent);
                return Self::send_by(slf, buffer.len_bytes(), attempt, keep);
            }
        }
        let data = state::to_bytes(data)?;
        slf.get().check_writable(py)?;
        Self::send(slf, &data)
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

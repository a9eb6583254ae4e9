//! From the socket into the BIO.

use plait_sys::stream;
use pyo3::buffer::PyBuffer;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyMemoryView};

use super::super::super::base::Transport;
use super::super::super::reading::READ_SIZE;
use super::super::SocketTransport;
use super::Tls;
use super::link::slice;
use crate::hot::buffer::read_into;
use crate::hot::context;

/// The buffer of a loop that ciphertext is received into.
pub(in super::super::super) struct Scratch {
    buffer: PyBuffer<u8>,
    view: Py<PyMemoryView>,
}

impl Scratch {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let memory = py.get_type::<PyByteArray>().call1((READ_SIZE,))?;
        Ok(Self { buffer: PyBuffer::get(&memory)?, view: PyMemoryView::from(&memory)?.unbind() })
    }
}

impl SocketTransport {
    /// Receives ciphertext for `tls`.
    pub(in super::super) fn read_tls(slf: &Bound<'_, Self>, tls: &Py<Tls>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let place = &this.base.event_loop.get().tls_buffer;
        // Taken, not borrowed: what follows can run any code.
        let taken = place.borrow(py).take();
        let scratch = match taken {
            Some(scratch) => scratch,
            None => Scratch::new(py)?,
        };
        let fd = this.state(py).life.number(py);
        let received = read_into(py, stream::recv, fd, &scratch.buffer)?;
        let fed = match received {
            Ok(Some(count)) if count > 0 => Self::feed(tls.bind(py), &scratch, count),
            _ => Ok(()),
        };
        let spare = place.borrow(py).replace(scratch);
        drop(spare);
        match received {
            Ok(None) => return Ok(()),
            Ok(Some(0)) => return Self::on_input_end(slf),
            Ok(Some(_)) => {}
            Err(error) => return Self::fail(slf, error.into(), "Fatal read error on socket transport"),
        }
        let read =
            fed.and_then(|()| context::enter(py, &this.base.context, || Tls::on_ciphertext(tls.bind(py))));
        match read {
            Ok(()) => Ok(()),
            Err(error) => Self::fail(slf, error, "Fatal error: protocol.buffer_updated() call failed."),
        }
    }

    fn feed(tls: &Bound<'_, Tls>, scratch: &Scratch, count: usize) -> PyResult<()> {
        let py = tls.py();
        let incoming = tls.borrow().link.as_ref().map(|link| link.incoming.clone_ref(py));
        let Some(incoming) = incoming else { return Ok(()) };
        let data = slice(scratch.view.bind(py).as_any(), 0, count)?;
        incoming.bind(py).call_method1(intern!(py, "write"), (data,)).map(drop)
    }
}

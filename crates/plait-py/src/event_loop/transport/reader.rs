//! Feeding asyncio's `StreamReader`: what its protocol's `data_received` does,
//! without the bytes object and the Python code in between.
//!
//! Only for exactly the standard protocol over exactly the standard reader,
//! neither of them altered: a subclass, a method put into an instance or a
//! value that asyncio would not have set sends the data the usual way, to
//! `data_received`. The checks come before the first change, so the usual way
//! finds everything as it was. The attributes that are relied on, the same
//! from 3.11 on, are held in place by `tests/test_loop_contract.py`.

use pyo3::exceptions::PyNotImplementedError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFunction, PyInt, PyType, PyWeakrefReference};

use super::super::base::Transport;
use super::super::waiter;
use super::SocketTransport;
use crate::hot::{bytearray, context, instance};

fn protocol_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "asyncio.streams", "StreamReaderProtocol")
}

fn reader_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "asyncio.streams", "StreamReader")
}

/// Whether `protocol` is the standard protocol, and the methods whose work is
/// done here are asyncio's own: none was replaced or wrapped.
pub(super) fn is_standard(protocol: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = protocol.py();
    let (class, reader) = (protocol_class(py)?, reader_class(py)?);
    if !protocol.get_type().is(class) {
        return Ok(false);
    }
    let globals = py.import("asyncio.streams")?.dict();
    let genuine = |function: PyResult<Bound<'_, PyAny>>, name: &str| {
        let Ok(function) = function.and_then(|function| Ok(function.cast_into_exact::<PyFunction>()?)) else {
            return Ok(false);
        };
        // A wrapper has the name of what it wraps, but not its code.
        let code = function.getattr("__code__")?.getattr("co_qualname")?;
        PyResult::Ok(code.eq(name)? && function.getattr("__globals__")?.is(&globals))
    };
    Ok(genuine(class.getattr("data_received"), "StreamReaderProtocol.data_received")?
        && genuine(
            class.getattr("_stream_reader").and_then(|property| property.getattr("fget")),
            "StreamReaderProtocol._stream_reader",
        )?
        && genuine(reader.getattr("feed_data"), "StreamReader.feed_data")?
        && genuine(reader.getattr("_wakeup_waiter"), "StreamReader._wakeup_waiter")?)
}

/// A reader that can be fed here.
struct Reader<'py> {
    /// Its attributes.
    dict: Bound<'py, PyDict>,
    buffer: Bound<'py, PyByteArray>,
    /// Kept alive: the protocol's reference to it is weak.
    _reader: Bound<'py, PyAny>,
}

/// Where the data goes.
enum Target<'py> {
    Reader(Reader<'py>),
    /// The reader is gone: nobody wants it.
    Nobody,
    /// The usual way.
    Protocol,
}

impl<'py> Target<'py> {
    fn of(protocol: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = protocol.py();
        let attributes = instance::dict(protocol)?;
        if attributes.contains(intern!(py, "data_received"))? {
            return Ok(Self::Protocol);
        }
        let Some(reference) = attributes.get_item(intern!(py, "_stream_reader_wr"))? else {
            return Ok(Self::Protocol);
        };
        if reference.is_none() {
            return Ok(Self::Nobody);
        }
        let Ok(reference) = reference.cast_exact::<PyWeakrefReference>() else { return Ok(Self::Protocol) };
        match reference.upgrade() {
            Some(reader) => Ok(Reader::of(reader)?.map_or(Self::Protocol, Self::Reader)),
            None => Ok(Self::Nobody),
        }
    }
}

impl<'py> Reader<'py> {
    fn of(reader: Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        let py = reader.py();
        if !reader.get_type().is(reader_class(py)?) {
            return Ok(None);
        }
        let dict = instance::dict(&reader)?;
        if dict.contains(intern!(py, "feed_data"))? || dict.contains(intern!(py, "_wakeup_waiter"))? {
            return Ok(None);
        }
        // At its end it refuses data, which is its own to say.
        if !dict.get_item(intern!(py, "_eof"))?.is_some_and(|eof| eof.is(PyBool::new(py, false))) {
            return Ok(None);
        }
        let Some(buffer) = dict.get_item(intern!(py, "_buffer"))? else { return Ok(None) };
        let Ok(buffer) = buffer.cast_into_exact::<PyByteArray>() else { return Ok(None) };
        Ok(Some(Self { dict, buffer, _reader: reader }))
    }

    /// What `feed_data` does once the buffer has the data.
    fn fed(&self) -> PyResult<()> {
        self.wake_waiter()?;
        self.pause_if_full()
    }

    fn wake_waiter(&self) -> PyResult<()> {
        let py = self.dict.py();
        let name = intern!(py, "_waiter");
        let Some(waiter) = self.dict.get_item(name)?.filter(|waiter| !waiter.is_none()) else {
            return Ok(());
        };
        self.dict.set_item(name, py.None())?;
        waiter::wake_unless_cancelled(&waiter)
    }

    fn pause_if_full(&self) -> PyResult<()> {
        let py = self.dict.py();
        let attribute = |name: &Bound<'py, _>| self.dict.as_any().get_item(name);
        let (len, limit) = (self.buffer.len(), attribute(intern!(py, "_limit"))?);
        let limit_as_int = limit.cast_exact::<PyInt>().ok().and_then(|limit| limit.extract::<usize>().ok());
        // Asked first, as it is nearly always what decides.
        if limit_as_int.is_some_and(|limit| len <= limit.saturating_mul(2)) {
            return Ok(());
        }
        let transport = attribute(intern!(py, "_transport"))?;
        if transport.is_none() || attribute(intern!(py, "_paused"))?.is_truthy()? {
            return Ok(());
        }
        // `float('inf')`, and what else Python can double and compare.
        if limit_as_int.is_none() && !limit.mul(2)?.lt(len)? {
            return Ok(());
        }
        match transport.call_method0(intern!(py, "pause_reading")) {
            Ok(_) => self.dict.set_item(intern!(py, "_paused"), true),
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {
                self.dict.set_item(intern!(py, "_transport"), py.None())
            }
            Err(error) => Err(error),
        }
    }
}

/// Data on its way to the protocol.
enum Data<'py> {
    End,
    Dropped,
    Fed(Reader<'py>),
    Whole(Bound<'py, PyBytes>),
}

impl<'py> Data<'py> {
    fn keep(protocol: &Bound<'py, PyAny>, data: &[u8]) -> PyResult<Self> {
        if data.is_empty() {
            return Ok(Self::End);
        }
        match Target::of(protocol)? {
            Target::Reader(reader) => {
                bytearray::extend(&reader.buffer, data)?;
                Ok(Self::Fed(reader))
            }
            Target::Nobody => Ok(Self::Dropped),
            Target::Protocol => Ok(Self::Whole(PyBytes::new(protocol.py(), data))),
        }
    }
}

impl SocketTransport {
    /// Receives what there is for the standard reader.
    pub(super) fn read_for_reader(slf: &Bound<'_, Self>, protocol: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let protocol = protocol.bind(py);
        let data = match slf.get().receive(py, |data| Data::keep(protocol, data)) {
            Ok(Some(data)) => data,
            Ok(None) => return Ok(()),
            Err(error) => return Self::fail(slf, error.into(), "Fatal read error on socket transport"),
        };
        let fed = match data {
            Ok(Data::End) => return Self::on_input_end(slf),
            Ok(Data::Dropped) => return Ok(()),
            Ok(Data::Fed(reader)) => context::enter(py, &slf.get().base.context, || reader.fed()),
            Ok(Data::Whole(data)) => context::enter(py, &slf.get().base.context, || {
                protocol.call_method1(intern!(py, "data_received"), (data,)).map(drop)
            }),
            Err(error) => Err(error),
        };
        match fed {
            Ok(()) => Ok(()),
            Err(error) => Self::fail(slf, error, "Fatal error: protocol.data_received() call failed."),
        }
    }
}

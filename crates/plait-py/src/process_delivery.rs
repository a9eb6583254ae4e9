//! How a task of a process pool ended, to be made into Python objects by the
//! thread that asks.

use std::sync::Arc;

use plait_pool::process::{Death, End, Reply, Status, Stopped};
use pyo3::exceptions::{PyException, PyImportError, PyMemoryError, PyOSError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use crate::future::{Decoded, Encoded, notifier};
use crate::hot::plain;
use crate::image;
use crate::packer;

pub(crate) struct Delivery {
    pub(crate) end: End,
    /// The function's.
    pub(crate) name: Arc<str>,
    /// How often it was tried.
    pub(crate) attempts: u32,
}

impl Delivery {
    /// Who makes what is not a value: a function of ours, imported once.
    fn error<'py>(&self, py: Python<'py>, end: &End) -> PyResult<Bound<'py, PyAny>> {
        static FAILURE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        static DIED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        static TIMED_OUT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        static KILLED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        static BROKEN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        const ENDINGS: &str = "plait._pickling.endings";
        let name = &*self.name;
        match end {
            End::Reply(reply) => {
                let decode = FAILURE.import(py, "plait._pickling.results", "decode_failure")?;
                let (data, _) = packer::read(py, reply)?;
                decode.call1((data, name))
            }
            End::Died(death) => {
                let text = format!("{} {death} while it ran {name}{}", death.who(), death.last_lines());
                let (signal, code) = parts(death);
                DIED.import(py, ENDINGS, "died")?.call1((text, death.pid, signal, code, &*death.stderr))
            }
            End::TimedOut(stopped) => TIMED_OUT.import(py, ENDINGS, "timed_out")?.call1((
                name,
                stopped.pid,
                stopped.timeout.as_secs_f64(),
                stopped.ran.as_secs_f64(),
                stopped.grace.as_secs_f64(),
                stopped.killed,
                place(py, stopped),
            )),
            End::Killed(stopped) => KILLED.import(py, ENDINGS, "killed")?.call1((
                name,
                stopped.pid,
                stopped.ran.as_secs_f64(),
                stopped.grace.as_secs_f64(),
                stopped.killed,
                place(py, stopped),
            )),
            End::Broken(reason) => {
                BROKEN.import(py, "concurrent.futures.process", "BrokenProcessPool")?.call1((&**reason,))
            }
        }
    }

    fn counted<'py>(&self, py: Python<'py>, error: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static COUNT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if self.attempts < 2 {
            return Ok(error);
        }
        COUNT.import(py, "plait._pickling.endings", "count_attempts")?.call1((error, self.attempts))
    }
}

fn place<'py>(py: Python<'py>, stopped: &Stopped) -> Bound<'py, PyBytes> {
    PyBytes::new(py, stopped.place.as_ref().map_or(&[], AsRef::as_ref))
}

fn parts(death: &Death) -> (Option<i32>, Option<i32>) {
    match death.status {
        Status::Killed(signal) => (Some(signal), None),
        Status::Exited(code) => (None, Some(code)),
        Status::Unknown => (None, None),
    }
}

/// Whether the machine lacks something just now (descriptors, memory): to
/// import a module takes both.
fn is_shortage(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyOSError>(py)
        || error.is_instance_of::<PyImportError>(py)
        || error.is_instance_of::<PyMemoryError>(py)
}

impl Encoded for Delivery {
    fn take_output(&mut self) -> Option<Box<dyn AsRef<[u8]> + Send + Sync>> {
        let output = match &mut self.end {
            End::Reply(reply) => reply.output.take(),
            End::TimedOut(stopped) | End::Killed(stopped) => stopped.output.take(),
            End::Died(_) | End::Broken(_) => None,
        };
        output.map(|output| Box::new(output) as _)
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn is_error(&self) -> bool {
        !matches!(&self.end, End::Reply(reply) if !reply.raised)
    }

    fn decode(&self, py: Python<'_>) -> PyResult<Decoded> {
        static VALUE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if let End::Reply(Reply { said: Some((writer, number)), .. }) = self.end {
            // As if the task had run here: its records have been handled.
            notifier::await_heard(py, writer, number);
        }
        let decoded = match &self.end {
            End::Reply(reply) if !reply.raised && plain::is_plain(reply.body.as_ref()) => {
                return Ok(match plain::read_value(py, reply.body.as_ref()) {
                    Ok(value) => Ok(value.unbind()),
                    Err(error) => Err(error.into_value(py).into_any()),
                });
            }
            End::Reply(reply) if !reply.raised => {
                let decode = VALUE.import(py, "plait._pickling.results", "decode_value")?;
                packer::read(py, reply)
                    .and_then(|(data, buffers)| {
                        let images = image::tuple(py, &reply.pieces.images)?;
                        decode.call1((data, buffers, &*self.name, images))
                    })
                    .map(Ok)
            }
            end => self.error(py, end).and_then(|error| self.counted(py, error)).map(Err),
        };
        match decoded {
            Ok(Ok(value)) => Ok(Ok(value.unbind())),
            Ok(Err(exception)) => Ok(Err(exception.unbind())),
            // What cannot be decoded is the outcome; an interrupt is not, nor
            // what keeps an error of ours from being made at this moment.
            Err(error) if self.is_error() && is_shortage(py, &error) => Err(error),
            Err(error) if error.is_instance_of::<PyException>(py) => Ok(Err(error.into_value(py).into_any())),
            Err(error) => Err(error),
        }
    }
}

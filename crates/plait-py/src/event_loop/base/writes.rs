//! Flow control of what a transport sends.

use plait_loop::flow::Flow;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{Borrowed, intern};

use super::Transport;
use crate::error::Error;
use crate::hot::context;

/// A number of bytes that Python gives: whatever is a number. Sizes are whole
/// ones, so they pass the whole number below it when they pass the number, and
/// none comes to the end of the range.
pub(in super::super) struct Mark(i64);

impl<'py> FromPyObject<'_, 'py> for Mark {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        match object.extract::<i64>() {
            Ok(number) => return Ok(Self(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => {
                return Ok(Self(if object.gt(0)? { i64::MAX } else { i64::MIN }));
            }
            Err(_) => {}
        }
        let number: f64 = object.extract()?;
        if number.is_nan() {
            return Err(PyValueError::new_err(
                "a mark of the write buffer must be a number of bytes, not nan",
            ));
        }
        // What is outside of the range becomes its end.
        #[allow(clippy::cast_possible_truncation)]
        Ok(Self(number.floor() as i64))
    }
}

/// A transport whose protocol is told to stop writing and to go on.
pub(in super::super) trait Writes: Transport {
    /// Gives `f` the marks, and how many bytes wait.
    fn flow<R>(slf: &Bound<'_, Self>, f: impl FnOnce(&mut Flow, usize) -> R) -> R;

    /// Tells the protocol to stop if too much waits: in the context of whoever
    /// wrote.
    fn pause_if_full(slf: &Bound<'_, Self>) -> PyResult<()> {
        if Self::flow(slf, Flow::must_stop) { steer(slf, intern!(slf.py(), "pause_writing")) } else { Ok(()) }
    }

    /// Tells the protocol to go on if enough has gone out.
    fn resume_if_free(slf: &Bound<'_, Self>) -> PyResult<()> {
        if !Self::flow(slf, Flow::may_go_on) {
            return Ok(());
        }
        let py = slf.py();
        context::enter(py, &Self::base(slf).context, || steer(slf, intern!(py, "resume_writing")))
    }

    fn set_marks(slf: &Bound<'_, Self>, high: Option<Mark>, low: Option<Mark>) -> PyResult<()> {
        let (high, low) = (high.map(|mark| mark.0), low.map(|mark| mark.0));
        Self::flow(slf, |flow, _| flow.set_marks(high, low)).map_err(Error::from)?;
        Self::pause_if_full(slf)
    }
}

fn steer<T: Transport>(slf: &Bound<'_, T>, method: &Bound<'_, PyString>) -> PyResult<()> {
    let Some(protocol) = T::protocol(slf) else { return Ok(()) };
    match protocol.call_method0(slf.py(), method) {
        Ok(_) => Ok(()),
        Err(error) => T::report(slf, error, &format!("protocol.{method}() failed")),
    }
}

//! Flow control of what a transport sends.

use plait_loop::flow::Flow;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::Transport;
use crate::error::Error;
use crate::hot::context;

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

    fn set_marks(slf: &Bound<'_, Self>, high: Option<i64>, low: Option<i64>) -> PyResult<()> {
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

//! What `plait.Process` needs of the kernel and Python cannot ask for.

use std::os::fd::{IntoRawFd, RawFd};
use std::sync::Mutex;
use std::time::Duration;

use plait_sys::{alarm, lifeline};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::sync::lock;

/// What a process of ours is tied to: see `plait_sys::lifeline`.
#[pyclass(frozen, module = "plait._native")]
struct Lifeline(Mutex<Option<lifeline::Lifeline>>);

#[pymethods]
impl Lifeline {
    /// The line, and the descriptor of its other end, which is the caller's.
    #[staticmethod]
    fn make(py: Python<'_>) -> Result<(Self, RawFd)> {
        let (line, theirs) = py.detach(lifeline::Lifeline::new)?;
        Ok((Self(Mutex::new(Some(line))), theirs.into_raw_fd()))
    }

    fn cut(&self) {
        drop(lock(&self.0).take());
    }
}

/// Has the kernel send this process a signal, `delay` seconds from now.
#[pyfunction]
fn signal_after(signal: i32, delay: f64) -> PyResult<()> {
    let delay =
        Duration::try_from_secs_f64(delay).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(alarm::signal_after(signal, delay).map_err(Error::from)?)
}

#[pyfunction]
fn lifelines_before_fork(py: Python<'_>) {
    // Another thread that forks has the table, and needs the interpreter to
    // let go of it.
    py.detach(lifeline::before_fork);
}

#[pyfunction]
fn lifelines_after_fork_in_parent() {
    lifeline::after_fork_in_parent();
}

#[pyfunction]
fn lifelines_after_fork_in_child() {
    lifeline::after_fork_in_child();
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Lifeline>()?;
    module.add_function(wrap_pyfunction!(signal_after, module)?)?;
    module.add_function(wrap_pyfunction!(lifelines_before_fork, module)?)?;
    module.add_function(wrap_pyfunction!(lifelines_after_fork_in_parent, module)?)?;
    module.add_function(wrap_pyfunction!(lifelines_after_fork_in_child, module)?)
}

//! Asking a future for its outcome: whoever gets to see the exception of a task
//! has retrieved it, and it is not lost.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::Outcome;
use super::class::Future;

impl Future {
    /// The outcome, for somebody who gets to see the exception in it.
    pub(super) fn asked_outcome(&self, py: Python<'_>) -> PyResult<&Outcome> {
        match self.fate.outcome() {
            Some(outcome) => {
                self.fate.note_asked();
                Ok(outcome)
            }
            None => Err(cancelled_error(py)),
        }
    }

    /// Value and exception, each `None` if it is not that; for `_result` and
    /// the like.
    pub(super) fn parts(&self, py: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        Ok(match self.fate.outcome().map(|outcome| outcome.get(py)).transpose()? {
            Some(Ok(value)) => (value, py.None()),
            Some(Err(exception)) => {
                self.fate.note_asked();
                (py.None(), exception)
            }
            None => (py.None(), py.None()),
        })
    }
}

#[pymethods]
impl Future {
    /// Waits for the end, and leaves the outcome to others. Raises
    /// TimeoutError if the task has not ended in time.
    #[pyo3(signature = (timeout = None))]
    fn _wait(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        Self::wait(slf, timeout)
    }

    /// For a `__del__` that somebody gives the class.
    fn _report_lost(&self, py: Python<'_>) {
        self.fate().report_lost(py);
    }

    /// Whether the task has raised; who asks has not seen what.
    fn _has_failed(&self) -> bool {
        self.fate().outcome().is_some_and(Outcome::is_error)
    }

    /// Says that nobody wonders about the end that is to come.
    fn _forgive(&self) {
        self.fate().forgive();
    }

    /// Whether nobody wonders about the end.
    fn _is_forgiven(&self) -> bool {
        self.fate().is_forgiven()
    }

    /// What a task that has failed is called, and the file and the line where
    /// it was submitted; None for what is not known.
    pub(super) fn _origin<'py>(&self, py: Python<'py>) -> PyResult<Origin<'py>> {
        let name = self.fate().outcome().and_then(|outcome| outcome.name(py));
        let (file, line) = self.fate().place(py)?.unzip();
        Ok((name, file, line))
    }
}

/// Name, file and line.
pub(super) type Origin<'py> = (Option<String>, Option<Bound<'py, PyAny>>, Option<i32>);

fn cancelled_error(py: Python<'_>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match CLASS.import(py, "concurrent.futures", "CancelledError") {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

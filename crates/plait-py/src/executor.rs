//! The native base of `plait.ProcessPoolExecutor`: it has `submit`
//! (`hot::submit`).

use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::callees::Callees;
use crate::hot::submit;
use crate::process_pool::ProcessPool;

/// See the head of the file.
#[pyclass(frozen, subclass, module = "plait._native")]
pub(crate) struct ProcessExecutor(OnceLock<(Py<ProcessPool>, Py<Callees>)>);

impl ProcessExecutor {
    /// The pool, and the functions that its workers know.
    pub(crate) fn engine(&self) -> Option<&(Py<ProcessPool>, Py<Callees>)> {
        self.0.get()
    }
}

#[pymethods]
impl ProcessExecutor {
    /// Takes any arguments: those of a subclass's `__init__` pass through here.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self(OnceLock::new())
    }

    /// Has `submit` hand the calls that it can to `pool`. Without, it leaves
    /// all of them to `_submit`.
    fn _submit_to(&self, pool: Py<ProcessPool>, callees: Py<Callees>) {
        // Once: the pool of an executor never changes.
        let _ = self.0.set((pool, callees));
    }

    // No `__clear__`: the callees have one, and nothing else here can be in a
    // cycle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some((pool, callees)) = self.0.get() else { return Ok(()) };
        visit.call(pool)?;
        visit.call(callees)
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ProcessExecutor>()?;
    submit::install(&module.py().get_type::<ProcessExecutor>())
}

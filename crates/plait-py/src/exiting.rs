//! The exit status, for `plait run --strict`.

use plait_sys::exiting;
use pyo3::prelude::*;

/// Has the process be able to fail at its exit; false if it cannot be.
#[pyfunction]
fn exit_prepare() -> bool {
    exiting::prepare()
}

/// Has the process exit with status 1 where it would with 0.
#[pyfunction]
fn exit_fail() {
    exiting::fail();
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(exit_prepare, module)?)?;
    module.add_function(wrap_pyfunction!(exit_fail, module)?)
}

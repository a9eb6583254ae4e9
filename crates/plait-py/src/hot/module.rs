//! The modules that are loaded.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The interpreter's table of modules, which is `sys.modules`.
pub(crate) fn all(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    // SAFETY: attached. A borrowed reference to what is a dict, but for an
    // interpreter that is ending.
    let modules = unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyImport_GetModuleDict()) };
    let modules =
        modules.ok_or_else(|| PyRuntimeError::new_err("the interpreter has no modules any more"))?;
    Ok(modules.cast_into()?)
}

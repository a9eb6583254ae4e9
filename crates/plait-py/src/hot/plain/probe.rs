//! Debug builds only: the codec of plain values, for its tests.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::{read_call, read_value, write_call, write_value};

/// The bytes of `value`; None if it is not plain.
#[pyfunction]
fn _write_plain<'py>(py: Python<'py>, value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyBytes>> {
    let mut bytes = Vec::new();
    write_value(value, &mut bytes).then(|| PyBytes::new(py, &bytes))
}

/// What `_write_plain` wrote.
#[pyfunction]
fn _read_plain<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    read_value(py, bytes)
}

/// The bytes of the arguments of a call; None if they are not plain.
#[pyfunction]
#[pyo3(signature = (args, kwargs = None))]
fn _write_plain_call<'py>(
    py: Python<'py>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let mut values: Vec<_> = args.iter().map(Bound::into_any).collect();
    let mut names = Vec::new();
    for (name, value) in kwargs.into_iter().flatten() {
        names.push(name);
        values.push(value);
    }
    let names = PyTuple::new(py, names)?;
    let pointers: Vec<_> = values.iter().map(Bound::as_ptr).collect();
    let mut bytes = Vec::new();
    // SAFETY: `values` holds them.
    let plain = unsafe { write_call(&pointers, Some(names.as_borrowed()), py, &mut bytes) };
    Ok(plain.then(|| PyBytes::new(py, &bytes)))
}

/// Calls `function` with the arguments that `_write_plain_call` wrote.
#[pyfunction]
fn _call_plain<'py>(function: &Bound<'py, PyAny>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    read_call(function.py(), bytes)?.call(function)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Not `add_function`, which would list them in `__all__`.
    module.setattr("_write_plain", wrap_pyfunction!(_write_plain, module)?)?;
    module.setattr("_read_plain", wrap_pyfunction!(_read_plain, module)?)?;
    module.setattr("_write_plain_call", wrap_pyfunction!(_write_plain_call, module)?)?;
    module.setattr("_call_plain", wrap_pyfunction!(_call_plain, module)?)
}

//! The attributes of an instance, without a look at its class.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// `object.__dict__`, of an object whose class is an ordinary Python class.
///
/// The getter behind the name costs as much as all the look-ups that follow.
pub(crate) fn dict<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let py = object.py();
    // SAFETY: attached; `object` is alive. An object without a dictionary is
    // refused with an AttributeError.
    let dict = unsafe { ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception set.
    let dict = unsafe { Bound::from_owned_ptr_or_err(py, dict) }?;
    Ok(dict.cast_into()?)
}

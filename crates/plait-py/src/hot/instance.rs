//! The attributes of an instance, without a look at its class, and whether its
//! class is as it was.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

unsafe extern "C" {
    /// Where an object has its dictionary, which may be null: unlike the
    /// getter it makes none. Exported by every version, and what Cython uses.
    fn _PyObject_GetDictPtr(object: *mut ffi::PyObject) -> *mut *mut ffi::PyObject;
}

/// `class.__new__(class)`, and no more: for a class whose `__init__` has
/// nothing to do.
pub(crate) fn make<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let arguments = PyTuple::empty(py);
    // SAFETY: a live type, which has this function or one that it inherits.
    let made = unsafe {
        let new = (*class.as_type_ptr()).tp_new;
        new.map(|new| new(class.as_type_ptr(), arguments.as_ptr(), std::ptr::null_mut()))
    };
    let made = made.ok_or_else(|| PyTypeError::new_err("a class that makes no instances"))?;
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, made) }
}

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

/// Whether `object` itself has an attribute `name` in its dictionary.
pub(crate) fn has_own(object: &Bound<'_, PyAny>, name: &Bound<'_, PyString>) -> PyResult<bool> {
    // SAFETY: attached; `object` is alive. The place is in the object, and
    // what is in it is a dictionary or null.
    let dict = unsafe {
        let place = _PyObject_GetDictPtr(object.as_ptr());
        if place.is_null() || (*place).is_null() {
            return Ok(false);
        }
        Bound::from_borrowed_ptr(object.py(), *place).cast_into_unchecked::<PyDict>()
    };
    dict.contains(name)
}

/// A number that stands for all that can be found on a class and its bases as
/// they are now; None if it has no such number at the moment.
pub(crate) fn version(class: &Bound<'_, PyType>) -> Option<std::num::NonZeroU32> {
    // SAFETY: a live type, read under the interpreter lock.
    std::num::NonZeroU32::new(unsafe { (*class.as_type_ptr()).tp_version_tag })
}

/// Whether attributes of instances are looked for in the usual way, so without
/// `__getattr__` or `__getattribute__` of the class' own.
pub(crate) fn has_usual_lookup(class: &Bound<'_, PyType>) -> bool {
    // SAFETY: a live type, read under the interpreter lock.
    let lookup = unsafe { (*class.as_type_ptr()).tp_getattro };
    lookup
        .is_some_and(|lookup| std::ptr::fn_addr_eq(lookup, ffi::PyObject_GenericGetAttr as ffi::getattrofunc))
}

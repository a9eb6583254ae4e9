//! What an object does when the last reference to it goes.
//!
//! The interpreter calls `__del__` of objects that its collector finds, and of
//! those of subclasses. What PyO3 frees itself, as it does all others, it frees
//! without a call. Most have nothing to say, and one look at their state tells:
//! that is all that a connection which was closed pays.

use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use pyo3::{PyClass, intern};

/// A class with a `__del__`.
pub(crate) trait Collected: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync {
    /// Whether `__del__` has something to do.
    fn is_left(&self, py: Python<'_>) -> bool;

    /// What frees an object of this class.
    fn deallocator() -> &'static OnceLock<ffi::destructor>;
}

/// Has `__del__` of the class called whenever there is need.
pub(crate) fn install<T: Collected>(class: &Bound<'_, PyType>) -> PyResult<()> {
    let name = intern!(class.py(), "__del__");
    // Set anew, for that is when the interpreter looks whether there is one.
    class.setattr(name, class.getattr(name)?)?;
    // SAFETY: a live class, under the interpreter lock, of which there is no
    // instance yet.
    let deallocator = unsafe { &raw mut (*class.as_type_ptr()).tp_dealloc };
    // SAFETY: as above.
    if let Some(freeing) = unsafe { *deallocator }
        && T::deallocator().set(freeing).is_ok()
    {
        // SAFETY: as above; the objects of the class are those of `T`.
        unsafe { *deallocator = Some(deallocate::<T>) };
    }
    Ok(())
}

unsafe extern "C" fn deallocate<T: Collected>(object: *mut ffi::PyObject) {
    // SAFETY: the interpreter calls with its lock held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: an object of the class or of a subclass, whole still, and looked
    // at without taking a reference.
    let left = unsafe { Borrowed::from_ptr(py, object).cast_unchecked::<T>() }.get().is_left(py);
    // SAFETY: as the interpreter does it for subclasses. Called once already,
    // it is not called again; below zero, somebody has taken a reference.
    if left && unsafe { ffi::PyObject_CallFinalizerFromDealloc(object) } < 0 {
        return;
    }
    if let Some(free) = T::deallocator().get() {
        // SAFETY: what was there before, for the same object.
        unsafe { free(object) };
    }
}

/// `ResourceWarning`, with the object that it is about: also when the
/// interpreter ends, and nothing can be imported any more.
pub(crate) fn warn(source: &Bound<'_, PyAny>, text: &Bound<'_, PyString>) -> PyResult<()> {
    // SAFETY: attached; live objects, and a format that takes one of them.
    let answer = unsafe { ffi::PyErr_ResourceWarning(source.as_ptr(), 1, c"%U".as_ptr(), text.as_ptr()) };
    if answer < 0 { Err(PyErr::fetch(source.py())) } else { Ok(()) }
}

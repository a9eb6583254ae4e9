//! `create_task` and `create_future`, which asyncio's loop has in Python: for
//! each task and future a frame, and a call to ask whether the loop is closed.
//!
//! Only the plain case is here. What has a factory, a context or debug mode is
//! asyncio's to do, for what it does with them differs from version to version.

use std::slice;

use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::method::entry;
use super::task_sites;
use crate::event_loop::{Loop, is_native_future};

/// `create_task(coro, *, name=None, context=None)`, METH_FASTCALL |
/// METH_KEYWORDS.
///
/// # Safety
/// The interpreter calls this, on a loop.
pub(super) unsafe extern "C" fn create_task(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    entry(|py| {
        // SAFETY: the descriptor has checked that it is a loop.
        let event_loop = unsafe { Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<Loop>() };
        // SAFETY: null or a tuple of names.
        let names = unsafe {
            Bound::from_borrowed_ptr_or_opt(py, kwnames).map(|names| names.cast_into_unchecked::<PyTuple>())
        };
        let given = names.as_ref().map_or(0, |names| names.len());
        let positional = usize::try_from(nargs).unwrap_or_default();
        let all = match positional + given {
            0 => &[],
            // SAFETY: so many positional arguments, then one for each name.
            count => unsafe { slice::from_raw_parts(args, count) },
        };
        let named = match &names {
            None => Some(None),
            Some(names) if given == 1 && names.get_borrowed_item(0)?.is(intern!(py, "name")) => {
                // SAFETY: an argument of the call.
                Some(Some(unsafe { Bound::from_borrowed_ptr(py, all[positional]) }))
            }
            Some(_) => None,
        };
        if let ([coro, ..], 1, Some(name)) = (all, positional, named)
            && event_loop.get().makes_plain_tasks(&event_loop)?
        {
            let options = PyDict::new(py);
            options.set_item(intern!(py, "loop"), &event_loop)?;
            if let Some(name) = name.filter(|name| !name.is_none()) {
                options.set_item(intern!(py, "name"), name)?;
            }
            // SAFETY: an argument of the call.
            let coro = unsafe { Bound::from_borrowed_ptr(py, *coro) };
            let task = class(py, true)?.call((coro,), Some(&options))?;
            task_sites::note(&task);
            return Ok(task.unbind());
        }
        let mut forwarded = vec![slf];
        forwarded.extend_from_slice(all);
        let method = base(py)?.getattr(intern!(py, "create_task"))?;
        // SAFETY: live objects, as many as are counted and named.
        let task =
            unsafe { ffi::PyObject_Vectorcall(method.as_ptr(), forwarded.as_ptr(), positional + 1, kwnames) };
        // SAFETY: a new reference, or null with an exception set.
        let task = unsafe { Bound::from_owned_ptr_or_err(py, task) }?;
        task_sites::note(&task);
        Ok(task.unbind())
    })
}

/// `create_future()`, METH_NOARGS.
///
/// # Safety
/// The interpreter calls this, on a loop.
pub(super) unsafe extern "C" fn create_future(
    slf: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    entry(|py| {
        // SAFETY: the descriptor has checked that it is a loop.
        let event_loop = unsafe { Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<Loop>() };
        let class = class(py, false)?;
        let options = if is_native_future(&class)? {
            Loop::future_options(&event_loop)?
        } else {
            // Another class' own, to do with as it likes.
            let options = PyDict::new(py);
            options.set_item(intern!(py, "loop"), event_loop)?;
            options
        };
        Ok(class.call((), Some(&options))?.unbind())
    })
}

/// `get_debug()`, METH_NOARGS.
///
/// # Safety
/// The interpreter calls this, on a loop.
pub(super) unsafe extern "C" fn get_debug(
    slf: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    entry(|py| {
        // SAFETY: the descriptor has checked that it is a loop.
        let event_loop = unsafe { Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<Loop>() };
        Ok(event_loop.get().debug().into_pyobject(py)?.to_owned().into_any().unbind())
    })
}

fn base(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static BASE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    BASE.import(py, "asyncio", "BaseEventLoop")
}

/// The class of tasks or futures, where asyncio's own loop looks for it each
/// time: programs replace it.
fn class(py: Python<'_>, task: bool) -> PyResult<Bound<'_, PyAny>> {
    static MODULES: PyOnceLock<[Py<PyDict>; 2]> = PyOnceLock::new();
    let modules = MODULES.get_or_try_init(py, || {
        let names = |module: &str| Ok::<_, PyErr>(py.import(module)?.dict().unbind());
        Ok::<_, PyErr>([names("asyncio.futures")?, names("asyncio.tasks")?])
    })?;
    let (module, name) =
        if task { (&modules[1], intern!(py, "Task")) } else { (&modules[0], intern!(py, "Future")) };
    module.bind(py).get_item(name)?.ok_or_else(|| PyAttributeError::new_err(name.clone().unbind()))
}

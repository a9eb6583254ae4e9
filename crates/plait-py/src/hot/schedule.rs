//! The methods that every callback, future and task goes through, by vectorcall.

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::handle::Handle;
use super::method::{Call, Methods, entry, method};
use super::tasks;
use crate::event_loop::Loop;

/// Puts the methods into the class.
pub(crate) fn install(class: &Bound<'_, PyType>) -> PyResult<()> {
    // SAFETY: functions of loops, and the class of loops.
    unsafe { METHODS.install(class) }
}

const fn plain(name: &'static CStr, function: ffi::PyCFunction, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: doc.as_ptr(),
    }
}

static METHODS: Methods<7> = Methods([
    method(
        c"call_soon",
        call_soon,
        c"call_soon($self, /, callback, *args, context=None)\n--\n\nHave `callback(*args)` called in the next turn.",
    ),
    method(
        c"call_soon_threadsafe",
        call_soon_threadsafe,
        c"call_soon_threadsafe($self, /, callback, *args, context=None)\n--\n\nAs `call_soon`, from any thread.",
    ),
    method(
        c"call_later",
        call_later,
        c"call_later($self, /, delay, callback, *args, context=None)\n--\n\nHave `callback(*args)` called `delay` seconds from now.",
    ),
    method(
        c"call_at",
        call_at,
        c"call_at($self, /, when, callback, *args, context=None)\n--\n\nHave `callback(*args)` called at `when`, on the scale of `time()`.",
    ),
    method(
        c"create_task",
        tasks::create_task,
        c"create_task($self, /, coro, **kwargs)\n--\n\nHave the loop run a coroutine, and return its task.",
    ),
    plain(
        c"create_future",
        tasks::create_future,
        c"create_future($self, /)\n--\n\nReturn a new future of this loop.",
    ),
    plain(
        c"get_debug",
        tasks::get_debug,
        c"get_debug($self, /)\n--\n\nTell whether the loop is in debug mode.",
    ),
]);

macro_rules! scheduling {
    ($name:ident, $leading:expr, $call:path) => {
        unsafe extern "C" fn $name(
            slf: *mut ffi::PyObject,
            args: *const *mut ffi::PyObject,
            nargs: ffi::Py_ssize_t,
            kwnames: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject {
            entry(|py| {
                // SAFETY: the descriptor has checked that it is a loop.
                let event_loop = unsafe { Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<Loop>() };
                // SAFETY: the arguments as the interpreter passes them.
                let call = unsafe { Call::parse(py, stringify!($name), $leading, args, nargs, kwnames) }?;
                $call(&event_loop, &call).map(Handle::into_any)
            })
        }
    };
}

scheduling!(call_soon, None, Loop::soon);
scheduling!(call_soon_threadsafe, None, Loop::soon_from_any_thread);
scheduling!(call_later, Some("delay"), Loop::later);
scheduling!(call_at, Some("when"), Loop::at);

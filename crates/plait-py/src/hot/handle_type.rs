//! `Handle` and `TimerHandle`, the Python types of `handle`.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::mem::{offset_of, size_of};
use std::ptr;

use pyo3::basic::CompareOp;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyTuple, PyType};

use super::handle::Handle;
use super::handle_text;
use super::method::entry;
use super::object::{self, Object};

/// The type of a callback that waits for its turn.
pub(crate) fn handle(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let make = || make(py, c"plait._native.Handle", HANDLE_DOC, &HANDLE_METHODS, &HANDLE_ATTRIBUTES, None);
    TYPE.get_or_try_init(py, make).map(|class| class.bind(py))
}

/// The type of a callback that waits for its time.
pub(crate) fn timer(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let make = || {
        make(
            py,
            c"plait._native.TimerHandle",
            TIMER_DOC,
            &TIMER_METHODS,
            &TIMER_ATTRIBUTES,
            Some(handle(py)?),
        )
    };
    TYPE.get_or_try_init(py, make).map(|class| class.bind(py))
}

/// The Python stack of the caller, as asyncio keeps it in debug mode.
pub(super) fn extract_stack(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static EXTRACT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    EXTRACT.import(py, "asyncio.format_helpers", "extract_stack")?.call0().map(Bound::unbind)
}

const HANDLE_DOC: &CStr = c"A callback that waits for its turn.";
const TIMER_DOC: &CStr = c"A callback that waits for its time.";

/// A table that the interpreter reads for as long as it runs.
#[repr(transparent)]
struct Table<T>(T);

// SAFETY: never written to; the pointers inside are to functions and strings
// of this module.
unsafe impl<T> Sync for Table<T> {}

const fn method(name: &'static CStr, function: ffi::PyCFunction, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: doc.as_ptr(),
    }
}

const fn attribute(name: &'static CStr, get: ffi::getter) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: None,
        doc: ptr::null(),
        closure: ptr::null_mut(),
    }
}

const NO_METHOD: ffi::PyMethodDef = ffi::PyMethodDef::zeroed();
const NO_ATTRIBUTE: ffi::PyGetSetDef =
    ffi::PyGetSetDef { name: ptr::null(), get: None, set: None, doc: ptr::null(), closure: ptr::null_mut() };

static HANDLE_METHODS: Table<[ffi::PyMethodDef; 4]> = Table([
    method(
        c"cancel",
        cancel,
        c"cancel($self, /)\n--\n\nKeep the callback from being called, if it has not been yet.",
    ),
    method(c"cancelled", cancelled, c"cancelled($self, /)\n--\n\nTell whether `cancel` was called."),
    method(
        c"get_context",
        get_context,
        c"get_context($self, /)\n--\n\nReturn the context that the callback runs in.",
    ),
    NO_METHOD,
]);

static TIMER_METHODS: Table<[ffi::PyMethodDef; 2]> = Table([
    method(
        c"when",
        when,
        c"when($self, /)\n--\n\nReturn when the callback is due, on the scale of the loop's `time()`.",
    ),
    NO_METHOD,
]);

static HANDLE_ATTRIBUTES: Table<[ffi::PyGetSetDef; 7]> = Table([
    attribute(c"__class__", handle_class),
    attribute(c"_callback", callback),
    attribute(c"_args", args),
    attribute(c"_cancelled", is_cancelled),
    attribute(c"_context", context),
    attribute(c"_source_traceback", source_traceback),
    NO_ATTRIBUTE,
]);

static TIMER_ATTRIBUTES: Table<[ffi::PyGetSetDef; 5]> = Table([
    attribute(c"__class__", timer_class),
    attribute(c"_loop", event_loop),
    attribute(c"_scheduled", scheduled),
    attribute(c"_when", when_attribute),
    NO_ATTRIBUTE,
]);

static MEMBERS: Table<[ffi::PyMemberDef; 2]> = Table([
    ffi::PyMemberDef {
        name: c"__weaklistoffset__".as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        #[expect(clippy::cast_possible_wrap, reason = "an offset in a small struct")]
        offset: offset_of!(Object, weakrefs) as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    },
    ffi::PyMemberDef { name: ptr::null(), type_code: 0, offset: 0, flags: 0, doc: ptr::null() },
]);

fn make<const M: usize, const A: usize>(
    py: Python<'_>,
    name: &'static CStr,
    doc: &'static CStr,
    methods: &'static Table<[ffi::PyMethodDef; M]>,
    attributes: &'static Table<[ffi::PyGetSetDef; A]>,
    base: Option<&Bound<'_, PyType>>,
) -> PyResult<Py<PyType>> {
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = vec![
        slot(ffi::Py_tp_doc, doc.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_methods, (&raw const methods.0).cast_mut().cast()),
        slot(ffi::Py_tp_getset, (&raw const attributes.0).cast_mut().cast()),
        slot(ffi::Py_tp_dealloc, object::deallocate as *mut c_void),
        slot(ffi::Py_tp_traverse, object::traverse as *mut c_void),
        slot(ffi::Py_tp_clear, object::clear as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
    ];
    if base.is_some() {
        slots.push(slot(ffi::Py_tp_richcompare, compare as *mut c_void));
        slots.push(slot(ffi::Py_tp_hash, hash as *mut c_void));
    } else {
        slots.push(slot(ffi::Py_tp_members, (&raw const MEMBERS.0).cast_mut().cast()));
    }
    slots.push(slot(0, ptr::null_mut()));
    let last = if base.is_some() { 0 } else { ffi::Py_TPFLAGS_BASETYPE };
    let flags = ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_HAVE_GC
        | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION
        | ffi::Py_TPFLAGS_IMMUTABLETYPE
        | last;
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: size_of::<Object>() as c_int,
        itemsize: 0,
        flags: flags as c_uint,
        slots: slots.as_mut_ptr(),
    };
    let bases = base.map(|base| PyTuple::new(py, [base])).transpose()?;
    let bases = bases.as_ref().map_or(ptr::null_mut(), |bases| bases.as_ptr());
    // SAFETY: attached; the slots have the types that their numbers ask for
    // and end with a zero; methods, attributes and members are static.
    let class = unsafe { ffi::PyType_FromSpecWithBases(&raw mut spec, bases) };
    // SAFETY: a new reference, or null with an exception set.
    let class = unsafe { Bound::from_owned_ptr_or_err(py, class) }?;
    Ok(class.cast_into::<PyType>()?.unbind())
}

/// Runs `f` with the handle that a method or attribute was asked of.
///
/// # Safety
/// The interpreter calls this with a live handle.
unsafe fn with<T>(
    slf: *mut ffi::PyObject,
    f: impl FnOnce(Python<'_>, &Handle) -> PyResult<T>,
) -> *mut ffi::PyObject
where
    T: Into<Option<Py<PyAny>>>,
{
    entry(|py| {
        // SAFETY: the caller's.
        let handle = unsafe { Handle::of(py, slf) };
        Ok(f(py, &handle)?.into().unwrap_or_else(|| py.None()))
    })
}

fn boolean(py: Python<'_>, value: bool) -> Py<PyAny> {
    PyBool::new(py, value).to_owned().into_any().unbind()
}

unsafe extern "C" fn cancel(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a method of the type.
    unsafe {
        with(slf, |py, handle| {
            handle_text::cancel(py, handle)?;
            Ok(None)
        })
    }
}

unsafe extern "C" fn cancelled(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a method of the type.
    unsafe { with(slf, |py, handle| Ok(boolean(py, handle.is_cancelled(py)))) }
}

unsafe extern "C" fn get_context(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a method of the type.
    unsafe { with(slf, |py, handle| handle.context(py)) }
}

unsafe extern "C" fn when(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a method of the type.
    unsafe { with(slf, |py, handle| Ok(handle.when(py).into_pyobject(py)?.into_any().unbind())) }
}

unsafe extern "C" fn handle_class(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    static STANDARD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // SAFETY: an attribute of the type.
    unsafe { with(slf, |py, _| STANDARD.import(py, "asyncio", "Handle").map(|class| class.clone().unbind())) }
}

unsafe extern "C" fn timer_class(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    static STANDARD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // SAFETY: an attribute of the type.
    unsafe {
        with(slf, |py, _| STANDARD.import(py, "asyncio", "TimerHandle").map(|class| class.clone().unbind()))
    }
}

unsafe extern "C" fn callback(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: an attribute of the type.
    unsafe { with(slf, |py, handle| Ok(handle.call(py)?.map(|(callback, _)| callback.unbind()))) }
}

unsafe extern "C" fn args(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: an attribute of the type.
    unsafe { with(slf, |py, handle| Ok(handle.call(py)?.map(|(_, args)| args.into_any().unbind()))) }
}

unsafe extern "C" fn is_cancelled(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: an attribute of the type.
    unsafe { with(slf, |py, handle| Ok(boolean(py, handle.is_cancelled(py)))) }
}

unsafe extern "C" fn context(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: an attribute of the type.
    unsafe { with(slf, |py, handle| handle.context(py)) }
}

unsafe extern "C" fn source_traceback(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: an attribute of the type.
    unsafe { with(slf, |py, handle| Ok(handle.source_traceback(py))) }
}

unsafe extern "C" fn event_loop(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: an attribute of the type.
    unsafe { with(slf, |py, handle| Ok(handle.event_loop(py))) }
}

unsafe extern "C" fn scheduled(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: an attribute of the type.
    unsafe { with(slf, |py, handle| Ok(boolean(py, handle.is_scheduled(py)))) }
}

unsafe extern "C" fn when_attribute(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: an attribute of the type.
    unsafe { with(slf, |py, handle| Ok(handle.when(py).into_pyobject(py)?.into_any().unbind())) }
}

unsafe extern "C" fn repr(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a slot of the type.
    unsafe {
        with(slf, |py, handle| {
            if let Some(kept) = handle.kept_text(py) {
                return Ok(kept);
            }
            let text = handle_text::text(py, handle, handle.is_cancelled(py))?;
            Ok(text.into_pyobject(py)?.into_any().unbind())
        })
    }
}

unsafe extern "C" fn compare(
    slf: *mut ffi::PyObject,
    other: *mut ffi::PyObject,
    op: c_int,
) -> *mut ffi::PyObject {
    // SAFETY: a slot of the type.
    unsafe {
        with(slf, |py, handle| {
            let other = Bound::from_borrowed_ptr(py, other);
            if !other.get_type().is(timer(py)?) {
                return Ok(py.NotImplemented());
            }
            let same = other.is(handle.bind(py));
            let other = Handle::of(py, other.as_ptr());
            let order = handle.when(py).total_cmp(&other.when(py));
            Ok(boolean(
                py,
                match CompareOp::from_raw(op) {
                    Some(CompareOp::Eq) => same,
                    Some(CompareOp::Ne) => !same,
                    Some(op) => op.matches(order),
                    None => return Ok(py.NotImplemented()),
                },
            ))
        })
    }
}

unsafe extern "C" fn hash(slf: *mut ffi::PyObject) -> ffi::Py_hash_t {
    // SAFETY: a slot of the type; `_Py_HashDouble` is what `hash(when)` is,
    // and a float object hashes by it without failing.
    unsafe {
        let when = with(slf, |py, handle| Ok(handle.when(py).into_pyobject(py)?.into_any().unbind()));
        if when.is_null() {
            return -1;
        }
        let hash = ffi::PyObject_Hash(when);
        ffi::Py_DECREF(when);
        hash
    }
}

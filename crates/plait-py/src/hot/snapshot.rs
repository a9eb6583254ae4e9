//! The contexts of callbacks that brought none: shared until they differ.
//!
//! asyncio gives each such callback a copy of the current context. Nearly all
//! of these copies are equal and stay so, and ten thousand of them are ten
//! thousand more objects for the allocator and the collector, at half the time
//! of a `call_soon` in bulk. So callbacks that were scheduled under the same
//! variables share one copy, the snapshot, which nobody ever enters. Each runs
//! in a working copy, as it would in asyncio; one that comes back as it was
//! serves the next callback too.
//!
//! | what happens | what becomes of the working copy |
//! |---|---|
//! | the callback sets a variable | its tree of variables is another one then: it is its handle's own from here on, and the snapshot is as it was |
//! | somebody keeps it (`get_context()` in the callback, a `Token`) | it has another reference: as above |
//! | the callback turns the loop | it is with its handle while that runs; a callback of the inner turns gets another one |
//! | `get_context()` before or after the callback | the handle gets a copy of its own first |
//!
//! Contexts hold values, and values handles; the collector does not see what
//! is kept here. So it is given up with the last handle that shares it, before
//! a loop sleeps, and when one comes to rest. A loop that never ran and is part
//! of a cycle with such a value lives until any loop does one of these or other
//! variables are scheduled with: one set of values at most, and to give it up
//! with each call would undo the sharing for who turns the loop one by one.

use std::ffi::c_void;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::cell::GilCell;
use super::context;
use super::layout::Layout;

/// The last snapshot and what goes with it.
struct Shared {
    /// A reference of our own, or null.
    snapshot: *mut ffi::PyObject,
    /// Its variables, to be compared with.
    variables: *mut c_void,
    /// A working copy that nobody uses, with the same variables, or null.
    spare: *mut ffi::PyObject,
}

// SAFETY: contexts belong to no thread while nobody is in them; the pointers
// are in a `GilCell`.
unsafe impl Send for Shared {}

static SHARED: GilCell<Shared> =
    GilCell::new(Shared { snapshot: ptr::null_mut(), variables: ptr::null_mut(), spare: ptr::null_mut() });

fn layout(py: Python<'_>) -> PyResult<Option<Layout>> {
    static LAYOUT: PyOnceLock<Option<Layout>> = PyOnceLock::new();
    LAYOUT.get_or_try_init(py, || Layout::find(py)).copied()
}

/// A new reference to a context with the current variables, and whether it is
/// a snapshot, so not to be entered or shown.
pub(super) fn take(py: Python<'_>) -> PyResult<(*mut ffi::PyObject, bool)> {
    let Some(layout) = layout(py)? else {
        return Ok((context::copy_current(py)?.into_ptr(), false));
    };
    let current = layout.current(py);
    if !current.is_null() {
        // SAFETY: the current context is alive.
        let variables = unsafe { layout.variables(current) };
        let shared = SHARED.borrow(py);
        if shared.variables == variables && !shared.snapshot.is_null() {
            // SAFETY: a live object.
            unsafe { ffi::Py_INCREF(shared.snapshot) };
            return Ok((shared.snapshot, true));
        }
    }
    let copy = context::copy_current(py)?.into_ptr();
    // SAFETY: a live context, of which there is a second reference here.
    let variables = unsafe {
        ffi::Py_INCREF(copy);
        layout.variables(copy)
    };
    replace(py, Shared { snapshot: copy, variables, spare: ptr::null_mut() });
    Ok((copy, true))
}

fn replace(py: Python<'_>, new: Shared) {
    let old = std::mem::replace(&mut *SHARED.borrow(py), new);
    // SAFETY: references that were ours.
    unsafe {
        ffi::Py_XDECREF(old.spare);
        ffi::Py_XDECREF(old.snapshot);
    }
}

/// Keeps nothing any more.
pub(crate) fn forget(py: Python<'_>) {
    if !SHARED.borrow(py).snapshot.is_null() {
        let nothing =
            Shared { snapshot: ptr::null_mut(), variables: ptr::null_mut(), spare: ptr::null_mut() };
        replace(py, nothing);
    }
}

/// Makes `snapshot`, which only its handle has beside us, an ordinary context.
/// Says whether it could.
///
/// # Safety
/// `snapshot` is a live context that `take` gave.
pub(super) unsafe fn claim(py: Python<'_>, snapshot: *mut ffi::PyObject) -> bool {
    let ours = SHARED.borrow(py).snapshot == snapshot;
    // SAFETY: the caller's.
    if unsafe { ffi::Py_REFCNT(snapshot) } > 1 + isize::from(ours) {
        return false;
    }
    if ours {
        forget(py);
    }
    true
}

/// A context to run a callback in, with the variables of `snapshot`: a new
/// reference, or null where the snapshot itself may be entered, as it is its
/// handle's alone.
///
/// # Safety
/// `snapshot` is a live context that `take` gave.
pub(super) unsafe fn begin(py: Python<'_>, snapshot: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
    {
        let mut shared = SHARED.borrow(py);
        if shared.snapshot == snapshot && !shared.spare.is_null() {
            return Ok(std::mem::replace(&mut shared.spare, ptr::null_mut()));
        }
    }
    // SAFETY: the caller's.
    if unsafe { claim(py, snapshot) } {
        return Ok(ptr::null_mut());
    }
    // SAFETY: the caller's.
    unsafe { copy(py, snapshot) }
}

/// A new context with the variables of `snapshot`. On 3.11 this may run the
/// collector, so any code: the snapshot may be its handle's no more.
///
/// # Safety
/// `snapshot` is a live context that `take` gave.
pub(super) unsafe fn copy(py: Python<'_>, snapshot: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: the caller's; it lives at least until the reference taken here
    // is given up. A new reference, or null with an exception set.
    unsafe {
        ffi::Py_INCREF(snapshot);
        let copy = ffi::PyContext_Copy(snapshot);
        let copied = if copy.is_null() { Err(PyErr::fetch(py)) } else { Ok(copy) };
        ffi::Py_DECREF(snapshot);
        copied
    }
}

/// Whether nobody else has `working`, and its variables are those of
/// `snapshot`.
///
/// # Safety
/// Both are live contexts.
pub(super) unsafe fn is_clean(
    py: Python<'_>,
    working: *mut ffi::PyObject,
    snapshot: *mut ffi::PyObject,
) -> bool {
    let Ok(Some(layout)) = layout(py) else { return false };
    // SAFETY: the caller's.
    unsafe { ffi::Py_REFCNT(working) == 1 && layout.variables(working) == layout.variables(snapshot) }
}

/// Takes back a reference to a context that a callback ran in and that is of
/// no more use to it.
///
/// # Safety
/// `working` is a live context.
pub(super) unsafe fn end(py: Python<'_>, working: *mut ffi::PyObject) {
    let Ok(Some(layout)) = layout(py) else {
        // SAFETY: the caller's.
        unsafe { ffi::Py_DECREF(working) };
        return;
    };
    let mut shared = SHARED.borrow(py);
    // SAFETY: the caller's.
    unsafe {
        if shared.spare.is_null()
            && !shared.snapshot.is_null()
            && ffi::Py_REFCNT(working) == 1
            && layout.variables(working) == shared.variables
        {
            shared.spare = working;
        } else {
            drop(shared);
            ffi::Py_DECREF(working);
        }
    }
}

/// Gives up a handle's reference to its snapshot.
///
/// # Safety
/// `snapshot` is a live context that `take` gave.
pub(super) unsafe fn release(py: Python<'_>, snapshot: *mut ffi::PyObject) {
    // SAFETY: the caller's.
    unsafe {
        // The handle's and ours are the last: nobody shares it any more.
        if ffi::Py_REFCNT(snapshot) == 2 && SHARED.borrow(py).snapshot == snapshot {
            forget(py);
        }
        ffi::Py_DECREF(snapshot);
    }
}

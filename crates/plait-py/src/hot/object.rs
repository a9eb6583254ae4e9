//! The memory of a handle: what is in it, where it comes from and how it ends.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::cell::GilCell;
use super::snapshot;

/// As many arguments are kept in the object itself.
pub(super) const INLINE: usize = 3;

/// In `nargs`: a tuple of the arguments is the first one in line.
pub(super) const IN_A_TUPLE: usize = usize::MAX;

/// As many freed objects are kept for the next ones, 2 MB at most: a bulk of
/// ten thousand callbacks then allocates nothing.
const FREE_LIST: usize = 16 * 1024;

/// Deallocations nested deeper than this wait for the deepest that is not to
/// end: a chain of handles, each an argument of the next, must not exhaust the
/// stack.
const NESTED: usize = 50;

thread_local! {
    /// How many deallocations of handles are under way in this thread, one in
    /// another. Another thread's may be held up for as long as it likes, by a
    /// destructor that waits.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

#[repr(C)]
pub(super) struct Object {
    pub(super) base: ffi::PyObject,
    /// Null from `cancel` on, as are the arguments (but for `keep_text`).
    pub(super) callback: *mut ffi::PyObject,
    pub(super) args: [*mut ffi::PyObject; INLINE],
    pub(super) nargs: usize,
    pub(super) context: *mut ffi::PyObject,
    /// Where it was scheduled, in debug mode; else null.
    pub(super) source_traceback: *mut ffi::PyObject,
    pub(super) weakrefs: *mut ffi::PyObject,
    /// The context is shared: it must be neither entered nor shown.
    pub(super) is_snapshot: bool,
    pub(super) cancelled: bool,
    /// The collector knows it.
    pub(super) tracked: bool,
    /// A timer that the loop has: cancelling it may leave a dead entry there.
    pub(super) scheduled: bool,
    /// Where among the loop's timers it was put.
    pub(super) place: usize,
    /// For timers: the loop, and when it is due; else null.
    pub(super) event_loop: *mut ffi::PyObject,
    pub(super) when: f64,
}

/// Freed objects, and those whose turn to be freed comes later.
struct Recycler {
    free: Vec<NonNull<Object>>,
    deferred: Vec<NonNull<Object>>,
}

// SAFETY: the objects on the lists belong to no thread; the lists are in a
// `GilCell`.
unsafe impl Send for Recycler {}

static RECYCLER: GilCell<Recycler> = GilCell::new(Recycler { free: Vec::new(), deferred: Vec::new() });

/// A new reference to what may be null.
///
/// # Safety
/// `object` is null or a live object, and the interpreter lock is held.
pub(super) unsafe fn new_ref(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the caller's.
    unsafe { ffi::Py_XINCREF(object) };
    object
}

/// Memory of a new object of `class`, of which only the header is written.
pub(super) fn allocate(py: Python<'_>, class: &Bound<'_, PyType>) -> PyResult<NonNull<Object>> {
    let recycled = RECYCLER.borrow(py).free.pop();
    let object: *mut Object = match recycled {
        // SAFETY: memory of an object of this size with its collector
        // header, untracked and without references; this makes it a new
        // object of the class, whose reference count it increments.
        Some(free) => unsafe { ffi::PyObject_Init(free.as_ptr().cast(), class.as_type_ptr()) }.cast(),
        // SAFETY: the class has instances of this size and takes part in
        // garbage collection.
        None => unsafe { ffi::PyObject_GC_New(class.as_type_ptr()) },
    };
    NonNull::new(object).ok_or_else(|| PyErr::fetch(py))
}

/// Lets go of a context that a handle had.
///
/// # Safety
/// `context` is null or a reference that goes with this, a snapshot if it is
/// said to be, and the interpreter lock is held.
pub(super) unsafe fn release_context(py: Python<'_>, context: *mut ffi::PyObject, is_snapshot: bool) {
    // SAFETY: the caller's.
    unsafe {
        if is_snapshot {
            snapshot::release(py, context);
        } else {
            ffi::Py_XDECREF(context);
        }
    }
}

/// Takes the callback and its arguments out, then lets go of them: that may
/// run any code.
///
/// # Safety
/// `object` is a handle, and the interpreter lock is held.
pub(super) unsafe fn clear_call(object: *mut Object) {
    // SAFETY: the caller's; the fields are null before a reference is given
    // up, so whoever looks meanwhile finds nothing.
    unsafe {
        let callback = ptr::replace(&raw mut (*object).callback, ptr::null_mut());
        let args = ptr::replace(&raw mut (*object).args, [ptr::null_mut(); INLINE]);
        (*object).nargs = 0;
        ffi::Py_XDECREF(callback);
        for arg in args {
            ffi::Py_XDECREF(arg);
        }
    }
}

/// `tp_clear`.
pub(super) unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> std::ffi::c_int {
    let object: *mut Object = object.cast();
    // SAFETY: called by the collector or by `free` on a handle, under the
    // interpreter lock; fields are null before their references go.
    unsafe {
        clear_call(object);
        let context = ptr::replace(&raw mut (*object).context, ptr::null_mut());
        let is_snapshot = std::mem::take(&mut (*object).is_snapshot);
        release_context(Python::assume_attached(), context, is_snapshot);
        ffi::Py_XDECREF(ptr::replace(&raw mut (*object).source_traceback, ptr::null_mut()));
    }
    0
}

/// `tp_traverse`.
pub(super) unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    // SAFETY: called by the collector on a complete handle; nothing changes
    // while it visits.
    unsafe {
        let class: *mut ffi::PyObject = ffi::Py_TYPE(object).cast();
        let object: *mut Object = object.cast();
        let [a, b, c] = (*object).args;
        let (callback, context) = ((*object).callback, (*object).context);
        for held in [class, callback, a, b, c, context, (*object).source_traceback, (*object).event_loop] {
            if !held.is_null() {
                let answer = visit(held, arg);
                if answer != 0 {
                    return answer;
                }
            }
        }
    }
    0
}

/// `tp_dealloc`.
pub(super) unsafe extern "C" fn deallocate(object: *mut ffi::PyObject) {
    // SAFETY: the last reference to a complete handle went, under the
    // interpreter lock.
    let (py, handle) = unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        (Python::assume_attached(), NonNull::new_unchecked(object.cast::<Object>()))
    };
    let depth = DEPTH.get();
    if depth >= NESTED {
        RECYCLER.borrow(py).deferred.push(handle);
        return;
    }
    DEPTH.set(depth + 1);
    free(py, handle);
    // The deepest ends what was put off below it, one after the other.
    while depth + 1 == NESTED
        && let Some(next) = pop_deferred(py)
    {
        free(py, next);
    }
    DEPTH.set(DEPTH.get().saturating_sub(1));
}

fn pop_deferred(py: Python<'_>) -> Option<NonNull<Object>> {
    RECYCLER.borrow(py).deferred.pop()
}

/// Ends a handle to which there is no reference (or only ours, and no weak
/// one), and that the collector does not track.
pub(super) fn free(py: Python<'_>, handle: NonNull<Object>) {
    let object: *mut ffi::PyObject = handle.as_ptr().cast();
    // SAFETY: nobody has a reference any more, and the collector does not
    // track it; weak references go first, as they may call back.
    let class = unsafe {
        if !(*handle.as_ptr()).weakrefs.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        clear(object);
        ffi::Py_XDECREF(ptr::replace(&raw mut (*handle.as_ptr()).event_loop, ptr::null_mut()));
        ffi::Py_TYPE(object)
    };
    let mut recycler = RECYCLER.borrow(py);
    if recycler.free.len() < FREE_LIST {
        recycler.free.push(handle);
        drop(recycler);
    } else {
        drop(recycler);
        // SAFETY: allocated by `PyObject_GC_New`, and empty.
        unsafe { ffi::PyObject_GC_Del(object.cast()) };
    }
    // SAFETY: an instance of a heap type holds a reference to it; the module
    // holds another, so this never frees the type.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

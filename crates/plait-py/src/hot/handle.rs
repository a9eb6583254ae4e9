//! One scheduled call, as a raw C-API type: `asyncio.Handle` and
//! `asyncio.TimerHandle`.
//!
//! One is made and freed for each callback. As a raw type with a free list,
//! the arguments in line and called by vectorcall, scheduling and running one
//! takes less than half of what it takes through the safe interface (DESIGN.md:
//! 173 ns to 71). This file holds the object and its life; `handle_type` makes
//! the two Python types, `handle_text` their text.

use std::ptr::{self, NonNull};

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use super::cell::GilCell;
use super::context;
use super::handle_type;
use super::method::Call;
use super::snapshot;
use crate::event_loop::Loop;

/// As many arguments are kept in the object itself.
const INLINE: usize = 3;

/// In `nargs`: a tuple of the arguments is the first one in line.
const IN_A_TUPLE: usize = usize::MAX;

/// As many freed objects are kept for the next ones.
const FREE_LIST: usize = 16 * 1024;

/// Deallocations nested deeper than this wait for the outermost to end: a
/// chain of handles, each an argument of the next, must not exhaust the stack.
const NESTED: usize = 50;

#[repr(C)]
pub(super) struct Object {
    base: ffi::PyObject,
    /// Null from `cancel` on, as are the arguments (but for `keep_text`).
    callback: *mut ffi::PyObject,
    args: [*mut ffi::PyObject; INLINE],
    nargs: usize,
    context: *mut ffi::PyObject,
    /// The context is shared: it must be neither entered nor shown.
    is_snapshot: bool,
    /// Where it was scheduled, in debug mode; else null.
    source_traceback: *mut ffi::PyObject,
    pub(super) weakrefs: *mut ffi::PyObject,
    cancelled: bool,
    /// The collector knows it.
    tracked: bool,
    /// A timer that the loop has: cancelling it may leave a dead entry there.
    scheduled: bool,
    /// Where among the loop's timers it was put.
    place: usize,
    /// For timers: the loop, and when it is due; else null.
    event_loop: *mut ffi::PyObject,
    when: f64,
}

/// Freed objects, and those whose turn to be freed comes later.
struct Recycler {
    free: Vec<NonNull<Object>>,
    deferred: Vec<NonNull<Object>>,
    /// How many deallocations of handles are under way, one in another.
    depth: usize,
}

// SAFETY: the objects on the lists belong to no thread; the lists are in a
// `GilCell`.
unsafe impl Send for Recycler {}

static RECYCLER: GilCell<Recycler> =
    GilCell::new(Recycler { free: Vec::new(), deferred: Vec::new(), depth: 0 });

/// A reference to a handle of either type.
pub(crate) struct Handle(Py<PyAny>);

/// A new reference to what may be null.
///
/// # Safety
/// `object` is null or a live object, and the interpreter lock is held.
unsafe fn new_ref(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the caller's.
    unsafe { ffi::Py_XINCREF(object) };
    object
}

impl Handle {
    /// Makes a handle of a callback that is run in `call`'s context, or in a
    /// copy of the current one.
    pub(crate) fn new(py: Python<'_>, call: &Call<'_, '_>, debug: bool) -> PyResult<Self> {
        let handle = Self::make(py, handle_type::handle(py)?, call, debug, None)?;
        handle.track(py);
        Ok(handle)
    }

    /// As `new`, for the queue of a loop, and still unknown to the collector:
    /// whoever has it calls `track` when the loop comes to rest. A loop that
    /// runs is no garbage, nor is what its queue holds; and most handles have
    /// run before a collection comes, which would look at each for nothing.
    pub(crate) fn untracked(py: Python<'_>, call: &Call<'_, '_>, debug: bool) -> PyResult<Self> {
        Self::make(py, handle_type::handle(py)?, call, debug, None)
    }

    /// As `untracked`, for a timer that the caller gives to the loop at once.
    pub(crate) fn timer(
        event_loop: &Bound<'_, Loop>,
        when: f64,
        call: &Call<'_, '_>,
        debug: bool,
    ) -> PyResult<Self> {
        let py = event_loop.py();
        Self::make(py, handle_type::timer(py)?, call, debug, Some((event_loop, when)))
    }

    fn make(
        py: Python<'_>,
        class: &Bound<'_, PyType>,
        call: &Call<'_, '_>,
        debug: bool,
        timer: Option<(&Bound<'_, Loop>, f64)>,
    ) -> PyResult<Self> {
        let source_traceback = debug.then(|| handle_type::extract_stack(py)).transpose()?;
        let given = call.args();
        let tuple = (given.len() > INLINE).then(|| call.args_tuple(py)).transpose()?;
        let (context, is_snapshot) = match call.context() {
            Some(context) => (context.to_owned().into_ptr(), false),
            None => snapshot::take(py)?,
        };
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
        let Some(object) = NonNull::new(object) else {
            let error = PyErr::fetch(py);
            // SAFETY: the reference taken above.
            unsafe { release_context(py, context, is_snapshot) };
            return Err(error);
        };
        let mut args = [ptr::null_mut(); INLINE];
        let nargs = match tuple {
            Some(tuple) => {
                args[0] = tuple.into_ptr();
                IN_A_TUPLE
            }
            None => {
                for (slot, &arg) in args.iter_mut().zip(given) {
                    // SAFETY: the caller of the method holds its arguments.
                    *slot = unsafe { new_ref(arg) };
                }
                given.len()
            }
        };
        let (event_loop, when) = match timer {
            Some((event_loop, when)) => (event_loop.clone().into_ptr(), when),
            None => (ptr::null_mut(), 0.0),
        };
        // SAFETY: as for the arguments.
        let callback = unsafe { new_ref(call.callback()) };
        // SAFETY: nobody else knows the object yet; every field behind the
        // header is written before the collector sees it.
        unsafe {
            let base = ptr::read(&raw const (*object.as_ptr()).base);
            object.write(Object {
                base,
                callback,
                args,
                nargs,
                context,
                is_snapshot,
                source_traceback: source_traceback.map_or(ptr::null_mut(), Py::into_ptr),
                weakrefs: ptr::null_mut(),
                cancelled: false,
                tracked: false,
                scheduled: !event_loop.is_null(),
                place: 0,
                event_loop,
                when,
            });
        }
        // SAFETY: the one reference that exists.
        Ok(Self(unsafe { Bound::from_owned_ptr(py, object.as_ptr().cast()) }.unbind()))
    }

    /// The handle that Python holds as `object`.
    ///
    /// # Safety
    /// `object` is a live handle of one of the two types.
    pub(super) unsafe fn of(py: Python<'_>, object: *mut ffi::PyObject) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { Bound::from_borrowed_ptr(py, object) }.unbind())
    }

    fn object(&self) -> *mut Object {
        self.0.as_ptr().cast()
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self(self.0.clone_ref(py))
    }

    pub(crate) fn bind<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.0.bind(py)
    }

    /// Has the collector know of it.
    pub(crate) fn track(&self, _py: Python<'_>) {
        let object = self.object();
        // SAFETY: a live, complete object, which is tracked once.
        unsafe {
            if !std::mem::replace(&mut (*object).tracked, true) {
                ffi::PyObject_GC_Track(object.cast());
            }
        }
    }

    /// Whether nobody but the caller knows it: no other reference, no weak
    /// one, and no collector to be asked for it.
    fn is_private(&self) -> bool {
        let object = self.object();
        // SAFETY: a live object, read under the interpreter lock.
        unsafe { ffi::Py_REFCNT(object.cast()) == 1 && !(*object).tracked && (*object).weakrefs.is_null() }
    }

    /// Lets go of the loop's reference, as dropping it does, without first
    /// asking whether this thread is attached. Who else has one may be part
    /// of a cycle.
    pub(crate) fn release(self, py: Python<'_>) {
        if self.is_private() {
            // SAFETY: a handle is never null.
            free(py, unsafe { NonNull::new_unchecked(self.0.into_ptr().cast()) });
            return;
        }
        // SAFETY: attached, and the reference is ours.
        unsafe {
            if ffi::Py_REFCNT(self.0.as_ptr()) > 1 {
                self.track(py);
            }
            ffi::Py_DECREF(self.0.into_ptr());
        }
    }

    pub(crate) fn into_any(self) -> Py<PyAny> {
        self.0
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }

    /// Whether it must not run any more.
    pub(crate) fn is_cancelled(&self, _py: Python<'_>) -> bool {
        // SAFETY: a live object, read under the interpreter lock.
        unsafe { (*self.object()).cancelled }
    }

    /// Keeps the callback from being called, if it has not been yet.
    pub(crate) fn cancel(&self, py: Python<'_>) {
        let object = self.object();
        // SAFETY: a live object, under the interpreter lock; no reference
        // into it is held across code that could run Python.
        unsafe {
            let mut ours = None;
            if (*object).scheduled && !(*object).cancelled {
                let event_loop = Bound::from_borrowed_ptr(py, (*object).event_loop);
                ours = event_loop.cast_unchecked::<Loop>().get().timer_cancelled(py, self);
                (*object).scheduled = ours.is_none();
            }
            (*object).cancelled = true;
            clear_call(object);
            if let Some(ours) = ours {
                ours.release(py);
            }
        }
    }

    /// Where among the loop's timers it was put.
    pub(crate) fn place(&self, _py: Python<'_>) -> usize {
        // SAFETY: as in `is_cancelled`.
        unsafe { (*self.object()).place }
    }

    pub(crate) fn set_place(&self, _py: Python<'_>, place: usize) {
        // SAFETY: as in `is_cancelled`.
        unsafe { (*self.object()).place = place }
    }

    /// It has left the loop's timers.
    pub(crate) fn left_heap(&self, py: Python<'_>) {
        let object = self.object();
        // SAFETY: as in `cancel`.
        unsafe {
            if std::mem::take(&mut (*object).scheduled) && (*object).cancelled {
                let event_loop = Bound::from_borrowed_ptr(py, (*object).event_loop);
                event_loop.cast_unchecked::<Loop>().get().count_dead(-1);
            }
        }
    }

    pub(super) fn when(&self, _py: Python<'_>) -> f64 {
        // SAFETY: as in `is_cancelled`.
        unsafe { (*self.object()).when }
    }

    pub(super) fn is_scheduled(&self, _py: Python<'_>) -> bool {
        // SAFETY: as in `is_cancelled`.
        unsafe { (*self.object()).scheduled }
    }

    /// The context as Python may see it: the handle's own from here on.
    pub(crate) fn context(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let object = self.object();
        // SAFETY: null or a live object that the handle holds; the copy is a
        // new reference, which takes the place of the one that goes.
        unsafe {
            let shared = (*object).context;
            if (*object).is_snapshot {
                if !snapshot::claim(py, shared) {
                    let copy = ffi::PyContext_Copy(shared);
                    if copy.is_null() {
                        return Err(PyErr::fetch(py));
                    }
                    (*object).context = copy;
                    snapshot::release(py, shared);
                }
                (*object).is_snapshot = false;
            }
            Ok(Bound::from_borrowed_ptr_or_opt(py, (*object).context).map(Bound::unbind))
        }
    }

    pub(super) fn event_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        // SAFETY: null or a live object that the handle holds.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, (*self.object()).event_loop) }.map(Bound::unbind)
    }

    /// The stack where it was scheduled, in debug mode.
    pub(crate) fn source_traceback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        // SAFETY: null or a live object that the handle holds.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, (*self.object()).source_traceback) }.map(Bound::unbind)
    }

    /// Whether it was scheduled in debug mode.
    pub(super) fn is_debug(&self, _py: Python<'_>) -> bool {
        // SAFETY: as in `is_cancelled`.
        unsafe { !(*self.object()).source_traceback.is_null() }
    }

    pub(super) fn is_timer(&self, _py: Python<'_>) -> bool {
        // SAFETY: as in `is_cancelled`.
        unsafe { !(*self.object()).event_loop.is_null() }
    }

    /// Keeps what a cancelled handle shows, where its first argument was.
    pub(super) fn keep_text(&self, text: Bound<'_, PyString>) {
        let object = self.object();
        // SAFETY: a live object, under the interpreter lock.
        unsafe {
            if (*object).callback.is_null() && (*object).args[0].is_null() {
                (*object).args[0] = text.into_ptr();
            }
        }
    }

    pub(super) fn kept_text(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let object = self.object();
        // SAFETY: null or a live object that the handle holds.
        unsafe {
            let kept = Bound::from_borrowed_ptr_or_opt(py, (*object).args[0])?;
            (*object).callback.is_null().then(|| kept.unbind())
        }
    }

    /// What is called with what; gone once it is cancelled.
    pub(crate) fn call<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyTuple>)>> {
        let object = self.object();
        // SAFETY: null or live objects that the handle holds; taken out as
        // references of our own before anything can run.
        let (callback, args, nargs) = unsafe {
            let own = |object| Bound::from_borrowed_ptr_or_opt(py, object);
            let args: Vec<_> = (*object).args.iter().filter_map(|&arg| own(arg)).collect();
            (own((*object).callback), args, (*object).nargs)
        };
        let Some(callback) = callback else { return Ok(None) };
        let args = match <[_; 1]>::try_from(args) {
            Ok([tuple]) if nargs == IN_A_TUPLE => tuple.cast_into()?,
            Ok(one) => PyTuple::new(py, one)?,
            Err(args) => PyTuple::new(py, args)?,
        };
        Ok(Some((callback, args)))
    }

    /// Calls the callback in its context, unless cancelled.
    pub(crate) fn run(&self, py: Python<'_>) -> PyResult<()> {
        let object = self.object();
        // SAFETY: the object lives while `self` does. The callback and its
        // arguments get references of our own, for the callback may cancel
        // its own handle; but not if nobody else can know the handle. The
        // first slot of `stack` is vectorcall's to use.
        unsafe {
            let callback = (*object).callback;
            if callback.is_null() {
                return Ok(());
            }
            let nargs = (*object).nargs;
            let mut stack = [ptr::null_mut(); INLINE + 1];
            stack[1..].copy_from_slice(&(*object).args);
            let known = !self.is_private();
            if known {
                ffi::Py_INCREF(callback);
                for arg in &stack[1..] {
                    ffi::Py_XINCREF(*arg);
                }
            }
            let outcome = self.in_context(py, || {
                let result = if nargs == IN_A_TUPLE {
                    ffi::PyObject_Call(callback, stack[1], ptr::null_mut())
                } else {
                    let nargsf = nargs | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
                    ffi::PyObject_Vectorcall(callback, stack.as_ptr().add(1), nargsf, ptr::null_mut())
                };
                if result.is_null() {
                    return Err(PyErr::fetch(py));
                }
                ffi::Py_DECREF(result);
                Ok(())
            });
            if known {
                for arg in &stack[1..] {
                    ffi::Py_XDECREF(*arg);
                }
                ffi::Py_DECREF(callback);
            }
            outcome
        }
    }
}

impl Handle {
    /// Calls `f` in the handle's context.
    fn in_context(&self, py: Python<'_>, f: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
        let object = self.object();
        // SAFETY: the object lives while `self` does, and so does the context
        // while it is the handle's and entered. A context that takes the
        // snapshot's place is the handle's while the callback runs: that is
        // the one that `get_context` shows. Moved back, each reference is one
        // that was counted here.
        unsafe {
            if !(*object).is_snapshot {
                return context::enter_raw(py, (*object).context, f);
            }
            let shared = (*object).context;
            let working = snapshot::begin(py, shared)?;
            (*object).is_snapshot = false;
            if working.is_null() {
                let outcome = context::enter_raw(py, shared, f);
                // Of a handle that ends now, for the next one.
                if ffi::Py_REFCNT(object.cast()) == 1 && (*object).context == shared {
                    (*object).context = ptr::null_mut();
                    snapshot::end(py, shared);
                }
                return outcome;
            }
            (*object).context = working;
            let outcome = context::enter_raw(py, working, f);
            if (*object).context == working && snapshot::is_clean(py, working, shared) {
                (*object).context = shared;
                (*object).is_snapshot = true;
                snapshot::end(py, working);
            } else {
                snapshot::release(py, shared);
            }
            outcome
        }
    }
}

/// Lets go of a context that a handle had.
///
/// # Safety
/// `context` is null or a reference that goes with this, a snapshot if it is
/// said to be, and the interpreter lock is held.
unsafe fn release_context(py: Python<'_>, context: *mut ffi::PyObject, is_snapshot: bool) {
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
unsafe fn clear_call(object: *mut Object) {
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
    {
        let mut recycler = RECYCLER.borrow(py);
        if recycler.depth >= NESTED {
            recycler.deferred.push(handle);
            return;
        }
        recycler.depth += 1;
    }
    free(py, handle);
    // The outermost ends what the others put off. Another thread may have
    // come in between; whoever is last sees all of it.
    while let Some(next) = finish_one(py) {
        free(py, next);
    }
}

/// One deallocation has ended; if it was the outermost, the next to begin.
fn finish_one(py: Python<'_>) -> Option<NonNull<Object>> {
    let mut recycler = RECYCLER.borrow(py);
    recycler.depth -= 1;
    if recycler.depth > 0 {
        return None;
    }
    let next = recycler.deferred.pop();
    recycler.depth += usize::from(next.is_some());
    next
}

/// Ends a handle to which there is no reference (or only ours, and no weak
/// one), and that the collector does not track.
fn free(py: Python<'_>, handle: NonNull<Object>) {
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

//! One scheduled call, as a raw C-API type: `asyncio.Handle` and
//! `asyncio.TimerHandle`.
//!
//! One is made and freed for each callback. As a raw type with a free list,
//! the arguments in line and called by vectorcall, scheduling and running one
//! takes less than half of what it takes through the safe interface (DESIGN.md:
//! 173 ns to 71). This file holds what is done with one; `object` is its
//! memory, `handle_context` its context, `handle_type` makes the two Python
//! types, `handle_text` their text.

use std::ptr::{self, NonNull};

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use super::handle_type;
use super::method::Call;
use super::object::{self, IN_A_TUPLE, INLINE, Object, clear_call, free, new_ref, release_context};
use super::snapshot;
use crate::event_loop::Loop;

/// A reference to a handle of either type.
pub(crate) struct Handle(Py<PyAny>);

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
        let object = object::allocate(py, class).inspect_err(|_| {
            // SAFETY: the reference taken above.
            unsafe { release_context(py, context, is_snapshot) };
        })?;
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

    pub(super) fn object(&self) -> *mut Object {
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
                    let args = stack.as_mut_ptr().add(1);
                    ffi::PyObject_Vectorcall(callback, args, nargsf, ptr::null_mut())
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

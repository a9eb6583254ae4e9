//! The context of a handle: a shared snapshot until it is entered or shown.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::context;
use super::handle::Handle;
use super::snapshot;

impl Handle {
    /// The context as Python may see it: the handle's own from here on.
    pub(crate) fn context(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let object = self.object();
        // SAFETY: null or a live object that the handle holds; the copy is a
        // new reference, which takes the place of the one that goes.
        unsafe {
            while (*object).is_snapshot {
                let shared = (*object).context;
                if snapshot::claim(py, shared) {
                    (*object).is_snapshot = false;
                    break;
                }
                let copy = snapshot::copy(py, shared)?;
                if self.shares(shared) {
                    (*object).context = copy;
                    (*object).is_snapshot = false;
                    snapshot::release(py, shared);
                    break;
                }
                ffi::Py_DECREF(copy);
            }
            Ok(Bound::from_borrowed_ptr_or_opt(py, (*object).context).map(Bound::unbind))
        }
    }

    /// Whether its context is the snapshot `shared` still. On 3.11 the
    /// collector may come while that is copied, and run code that asks this
    /// very handle for its context or calls it.
    fn shares(&self, shared: *mut ffi::PyObject) -> bool {
        let object = self.object();
        // SAFETY: a live object, read under the interpreter lock.
        unsafe { (*object).is_snapshot && (*object).context == shared }
    }

    /// Calls `f` in the handle's context.
    pub(super) fn in_context(&self, py: Python<'_>, f: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
        let object = self.object();
        // SAFETY: the object lives while `self` does, and so does the context
        // while it is the handle's and entered. A context that takes the
        // snapshot's place is the handle's while the callback runs: that is
        // the one that `get_context` shows. Moved back, each reference is one
        // that was counted here.
        unsafe {
            let (shared, working) = loop {
                if !(*object).is_snapshot {
                    return context::enter_raw(py, (*object).context, f).and_then(|called| called);
                }
                let shared = (*object).context;
                let working = snapshot::begin(py, shared)?;
                if self.shares(shared) {
                    break (shared, working);
                }
                if !working.is_null() {
                    snapshot::end(py, working);
                }
            };
            (*object).is_snapshot = false;
            if working.is_null() {
                let outcome = context::enter_raw(py, shared, f)?;
                // Of a handle that ends now, for the next one. One that raised is
                // shown to the exception handler, which runs in its context.
                if outcome.is_ok() && ffi::Py_REFCNT(object.cast()) == 1 && (*object).context == shared {
                    (*object).context = ptr::null_mut();
                    snapshot::end(py, shared);
                }
                return outcome;
            }
            (*object).context = working;
            let outcome = context::enter_raw(py, working, f);
            // One that was not left serves nobody any more.
            if outcome.is_ok() && (*object).context == working && snapshot::is_clean(py, working, shared) {
                (*object).context = shared;
                (*object).is_snapshot = true;
                snapshot::end(py, working);
            } else {
                snapshot::release(py, shared);
            }
            outcome?
        }
    }
}

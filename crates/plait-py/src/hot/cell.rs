//! State that the interpreter lock guards.
//!
//! What belongs to the loop's thread is touched several times for each event;
//! a lock of its own would be two atomic instructions each time, for an
//! exclusion that the interpreter lock gives already.

use std::cell::{RefCell, RefMut};

use pyo3::gc::PyVisit;
use pyo3::prelude::*;

/// A `RefCell` that only a thread with the interpreter lock opens.
///
/// As with a lock, no borrow is held while Python code can run: not across a
/// call, nor a decref, nor (on 3.11) an allocation. Code that breaks this rule
/// panics at the second borrow, which becomes a Python exception.
#[derive(Debug, Default)]
pub(crate) struct GilCell<T>(RefCell<T>);

// SAFETY: every access needs a `Python` token, or happens in the collector's
// traversal: both mean that this thread holds the interpreter lock (the module
// declares that it needs it), so the borrow flag and the value are touched by
// one thread at a time. The value itself goes from thread to thread: `Send`.
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    pub(crate) fn borrow(&self, _py: Python<'_>) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }

    /// For who alone has it, with or without the interpreter lock.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// For the collector, which an allocation under a borrow may have set off:
    /// what is not visited counts as in use.
    pub(crate) fn visit(&self, _visit: &PyVisit<'_>) -> Option<RefMut<'_, T>> {
        self.0.try_borrow_mut().ok()
    }
}

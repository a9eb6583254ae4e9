//! Locks of the binding. All are short, and none is held while Python code
//! can run: not across a call, nor a decref, nor (on 3.11) an allocation.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a panic of another holder: what our locks guard
/// is never left half changed.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

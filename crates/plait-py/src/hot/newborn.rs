//! Threads that have not begun to run yet.
//!
//! In Python 3.11 the state of a new thread has the number of the thread that
//! starts it, until it runs, and stands before that one's in the list of states.
//! What is meant for the one that starts it, by its number, reaches the new one.
//! From 3.12 on it has none until it runs.

use std::ffi::c_ulong;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use plait_sys::clock::Instant;
use pyo3::ffi;
use pyo3::prelude::*;

unsafe extern "C" {
    fn PyThread_get_thread_ident() -> c_ulong;
}

/// So many words of a state of 3.11 come before the number of its thread; the
/// same in all its releases, whose layout is fixed.
const WORDS_BEFORE: usize = 19;
/// A new thread takes its number without the interpreter lock, as soon as the
/// system has it run. So long, and the system has lost it.
const LIMIT: Duration = Duration::from_secs(1);

/// Waits until no new thread has the number of another. False if that lasts.
pub(super) fn are_settled(py: Python<'_>, number: u64) -> bool {
    // Not one that lets go of the interpreter lock: callers rely on it.
    static SHARED: OnceLock<bool> = OnceLock::new();
    if !*SHARED.get_or_init(|| py.version_info() < (3, 12) && is_known_layout(py)) {
        return true;
    }
    let begun = Instant::now();
    while with_number(py, number) > 1 {
        if Instant::now().saturating_since(begun) > LIMIT {
            return false;
        }
        thread::yield_now();
    }
    true
}

/// How many states have the number.
fn with_number(_py: Python<'_>, number: u64) -> usize {
    let mut count = 0;
    // SAFETY: the interpreter lock is held (`_py`): with it alone states are
    // added to the list and taken from it, so those that it gives live.
    unsafe {
        let mut state = ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Get());
        while !state.is_null() {
            count += usize::from(number_of(state) == number);
            state = ffi::PyThreadState_Next(state);
        }
    }
    count
}

/// Whether the number of this thread is where it is expected.
fn is_known_layout(_py: Python<'_>) -> bool {
    // SAFETY: the interpreter lock is held (`_py`), so this thread has a state.
    unsafe { number_of(ffi::PyThreadState_Get()) == PyThread_get_thread_ident() }
}

/// The number of a state's thread.
///
/// # Safety
/// The state lives, and is one of Python 3.11.
unsafe fn number_of(state: *mut ffi::PyThreadState) -> u64 {
    // SAFETY: as required. The thread itself may write the word meanwhile.
    let word = unsafe { AtomicU64::from_ptr(state.cast::<u64>().add(WORDS_BEFORE)) };
    // Relaxed: nothing hangs on the number but itself.
    word.load(Relaxed)
}

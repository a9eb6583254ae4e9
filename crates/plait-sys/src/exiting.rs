//! The status with which this process exits.
//!
//! What runs at the interpreter's exit does not know with which status that
//! will be. `on_exit(3)` tells, but is glibc's alone.

use std::ffi::{c_int, c_void};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// Whether an exit with success is to be a failure.
static FAILS: AtomicBool = AtomicBool::new(false);

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

/// Has this process be able to [`fail`]; false if it cannot be. What is to run
/// at its exit, and is registered later, runs before that is decided.
#[must_use]
pub fn prepare() -> bool {
    #[cfg(target_env = "gnu")]
    // SAFETY: a function that lives as long as the process, and takes what it
    // is given.
    return unsafe { on_exit(at_exit, std::ptr::null_mut()) } == 0;
    #[cfg(not(target_env = "gnu"))]
    false
}

/// Has this process exit with status 1 where it would with 0.
pub fn fail() {
    // Relaxed: whoever exits reads it in the thread that exits.
    FAILS.store(true, Relaxed);
}

#[cfg_attr(not(target_env = "gnu"), expect(dead_code, reason = "nobody tells the status"))]
extern "C" fn at_exit(status: c_int, _: *mut c_void) {
    if status == 0 && FAILS.load(Relaxed) {
        // SAFETY: no arguments to be valid; C's streams are written out first,
        // which is all that would come after this.
        unsafe {
            libc::fflush(std::ptr::null_mut());
            libc::_exit(libc::EXIT_FAILURE);
        }
    }
}

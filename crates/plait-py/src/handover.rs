//! Waits of threads for one another that the kernel need not end.
//!
//! To wake a core that sleeps takes 50 to 80 µs on virtual machines, so who
//! waits for another thread, and has not waited long lately, looks for a moment
//! before it sleeps (see [`plait_shm::Spin`]). What it waits for comes a little
//! before the interpreter does: the other thread goes on holding the lock, until
//! it waits itself. To ask for a lock that is held is to sleep. So who has found
//! what it waits for looks on until somebody has let go of the lock: every
//! [`wait`] counts that it has, and so does the loop.
//!
//! A round trip through the thread pool takes 2.5 µs with this, one awaited from
//! a coroutine 7.4. Where both sides sleep it is 94 and 141, those of
//! `concurrent.futures` in the same run: two bare locks take 80
//! (`benches/results/threads.md`).

use std::cell::RefCell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use plait_shm::{Sight, Spin};
use plait_sys::clock::Instant;

/// How often a thread of this process has let go of the interpreter to wait.
static RELEASED: AtomicU64 = AtomicU64::new(0);

/// How long to look for the lock once what was waited for is there: who has
/// it may do something else before it waits, or wait elsewhere.
const LOOK: Duration = Duration::from_micros(5);

/// Says that the calling thread has just let go of the interpreter, to wait.
pub(crate) fn released() {
    // Release: whoever sees it sees what this thread has done before.
    RELEASED.fetch_add(1, Release);
}

/// Adds to what `see` sees that the interpreter has been let go of since.
pub(crate) fn when_released(mut see: impl FnMut() -> Sight) -> impl FnMut() -> Sight {
    // Before what is waited for was there: whoever brought it had the lock.
    let mut before = None;
    move || {
        let now = RELEASED.load(Acquire);
        let sight = see();
        if sight != Sight::There {
            before = Some(now);
        } else if let Some(before) = before {
            let start = Instant::now();
            while RELEASED.load(Acquire) == before && Instant::now().saturating_since(start) < LOOK {
                std::hint::spin_loop();
            }
        }
        sight
    }
}

/// Waits in a thread that has just let go of the interpreter: awake while that
/// may pay, until `see` says that what it waits for is there, then by `sleep`.
/// None if it was found awake.
pub(crate) fn wait<R>(see: impl FnMut() -> Sight, sleep: impl FnOnce() -> R) -> Option<R> {
    thread_local! {
        static SPIN: RefCell<Spin> = RefCell::new(Spin::new());
    }
    released();
    SPIN.with_borrow_mut(|spin| {
        let start = Instant::now();
        if spin.look(when_released(see)) {
            return None;
        }
        let slept = sleep();
        spin.slept(start);
        Some(slept)
    })
}

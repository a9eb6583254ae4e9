//! Sleeping on a word of memory until somebody wakes it.
//!
//! `wait` compares and sleeps in one step under the kernel's lock of that
//! word, so a store before the `wake` is either seen by the comparison or
//! its wake-up finds the sleeper. What the comparison does not order is the
//! caller's other memory: use Acquire loads and Release stores on the word.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};

use crate::error::{Error, Result};

/// Who may sleep on the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Threads of this process: the kernel finds the sleepers by address.
    Process,
    /// Every process that maps the page: found by the page itself.
    Shared,
}

impl Scope {
    fn flags(self) -> Flags {
        match self {
            Self::Process => Flags::PRIVATE,
            Self::Shared => Flags::empty(),
        }
    }
}

/// Why a sleep ended. None of them says that the word has changed: look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Somebody woke the word, or it did not hold the expected value.
    Changed,
    /// The time is up.
    TimedOut,
    /// A signal arrived at this thread: the caller may have to act on it.
    Interrupted,
}

/// Sleeps while `word` holds `expected`, for at most `timeout` (relative, on
/// the monotonic clock; `None`: without end).
///
/// # Errors
/// What the kernel refuses (a word that is no longer mapped, for one).
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>, scope: Scope) -> Result<Woken> {
    let timeout = timeout.map(|t| Timespec {
        tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(t.subsec_nanos()),
    });
    match futex::wait(word, scope.flags(), expected, timeout.as_ref()) {
        Ok(()) | Err(Errno::AGAIN) => Ok(Woken::Changed),
        Err(Errno::TIMEDOUT) => Ok(Woken::TimedOut),
        Err(Errno::INTR) => Ok(Woken::Interrupted),
        Err(errno) => Err(Error::new("futex_wait", errno)),
    }
}

/// Wakes at most `count` sleepers and returns how many there were.
///
/// # Errors
/// What the kernel refuses.
pub fn wake(word: &AtomicU32, count: u32, scope: Scope) -> Result<usize> {
    futex::wake(word, scope.flags(), count.min(i32::MAX as u32))
        .map_err(|errno| Error::new("futex_wake", errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::Ordering::{Acquire, Release};

    #[test]
    fn another_value_does_not_sleep() {
        let word = AtomicU32::new(1);
        assert_eq!(wait(&word, 0, None, Scope::Process).unwrap(), Woken::Changed);
    }

    #[test]
    fn a_timeout_ends_the_sleep() {
        let word = AtomicU32::new(0);
        let woken = wait(&word, 0, Some(Duration::from_millis(1)), Scope::Process).unwrap();
        assert_eq!(woken, Woken::TimedOut);
    }

    #[test]
    fn a_wake_ends_the_sleep() {
        for scope in [Scope::Process, Scope::Shared] {
            let word = Arc::new(AtomicU32::new(0));
            let sleeper = std::thread::spawn({
                let word = Arc::clone(&word);
                move || {
                    while word.load(Acquire) == 0 {
                        wait(&word, 0, None, scope).unwrap();
                    }
                }
            });
            word.store(1, Release);
            wake(&word, u32::MAX, scope).unwrap();
            sleeper.join().unwrap();
        }
    }
}

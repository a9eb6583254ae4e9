//! Where those wait who submit to a pool that has enough to do.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use plait_sys::futex::{self, Scope, Woken};

use crate::completion::Waited;

/// A word that changes when it may be worth to look again.
///
/// Who waits counts itself before it looks at the state, under the lock of
/// that; who changes the state does so under the same lock, and looks at the
/// count after. So either the waiter sees the change, or the other sees it
/// counted and changes the word that it is about to sleep on.
#[derive(Debug, Default)]
pub(crate) struct Room {
    word: AtomicU32,
    waiting: AtomicU32,
}

impl Room {
    /// Wakes those who wait. To be called under the lock of the state.
    pub(crate) fn offer(&self) {
        // Relaxed: see above, the lock orders it.
        if self.waiting.load(Relaxed) > 0 {
            self.word.fetch_add(1, SeqCst);
            // The word is ours and mapped: the kernel has nothing to refuse.
            let woken = futex::wake(&self.word, u32::MAX, Scope::Process);
            debug_assert!(woken.is_ok(), "{woken:?}");
        }
    }

    /// Sleeps until it may be worth to look again, unless `has_room`, which
    /// looks under the lock.
    ///
    /// # Errors
    /// What the kernel refuses of the futex call.
    pub(crate) fn wait(&self, has_room: impl FnOnce() -> bool) -> plait_sys::Result<Waited> {
        struct Waiting<'a>(&'a AtomicU32);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        self.waiting.fetch_add(1, SeqCst);
        let _waiting = Waiting(&self.waiting);
        let seen = self.word.load(SeqCst);
        if has_room() {
            return Ok(Waited::Done);
        }
        match futex::wait(&self.word, seen, None, Scope::Process)? {
            Woken::Interrupted => Ok(Waited::Interrupted),
            Woken::Changed | Woken::TimedOut => Ok(Waited::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::thread;

    #[test]
    fn nobody_sleeps_while_there_is_room() {
        let (room, places) = (Room::default(), Mutex::new(0u32));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        loop {
                            let mut free = places.lock().unwrap();
                            if *free > 0 {
                                *free -= 1;
                                break;
                            }
                            drop(free);
                            room.wait(|| *places.lock().unwrap() > 0).unwrap();
                        }
                    }
                });
            }
            for _ in 0..3000 {
                let mut free = places.lock().unwrap();
                *free += 1;
                room.offer();
            }
        });
        assert_eq!(*places.lock().unwrap(), 0);
        assert_eq!(room.waiting.load(SeqCst), 0);
    }
}

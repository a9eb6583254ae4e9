//! Waking the loop from elsewhere, by a system call only if it sleeps.
//!
//! | race | why it is harmless |
//! |---|---|
//! | work arrives just before the loop lies down | the loop says that it will sleep, then looks for work; the other side adds work, then asks whether it sleeps (all `SeqCst`): one of them sees the other |
//! | two threads ring at once | the swap lets one of them make the call |
//! | a ring that nobody needed any more | the next wait returns at once and finds nothing: one empty turn |

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use plait_sys::Result;
use plait_sys::eventfd::EventFd;

/// What other threads ring after they have given the loop something to do.
#[derive(Debug)]
pub struct Bell {
    eventfd: EventFd,
    asleep: AtomicBool,
}

impl Bell {
    /// Makes a bell for a loop that is awake.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> Result<Self> {
        Ok(Self { eventfd: EventFd::new()?, asleep: AtomicBool::new(false) })
    }

    /// The loop will sleep. It must look for work once more after this.
    pub fn lie_down(&self) {
        self.asleep.store(true, SeqCst);
    }

    /// The loop is awake, whoever woke it.
    pub fn get_up(&self) {
        self.asleep.store(false, SeqCst);
    }

    /// Wakes the loop if it sleeps. To be called after the work was added.
    ///
    /// # Errors
    /// EBADF: the descriptor was closed under our hands.
    pub fn ring(&self) -> Result<()> {
        if self.asleep.load(SeqCst) && self.asleep.swap(false, SeqCst) {
            // It sleeps on, and whoever rings next is to know too.
            self.eventfd.ring().inspect_err(|_| self.asleep.store(true, SeqCst))?;
        }
        Ok(())
    }

    /// Parts from who shares it since a fork. The loop is awake.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM; EBADF: the descriptor was closed under our
    /// hands.
    pub fn renew(&self) -> Result<()> {
        self.eventfd.replace(&EventFd::new()?)?;
        self.get_up();
        Ok(())
    }

    /// Makes the descriptor silent again.
    ///
    /// # Errors
    /// EBADF: the descriptor was closed under our hands.
    pub fn drain(&self) -> Result<()> {
        self.eventfd.drain().map(drop)
    }
}

impl AsRawFd for Bell {
    /// What the loop watches for input while it sleeps.
    fn as_raw_fd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plait_sys::epoll::{Epoll, Interest};
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    fn rung(epoll: &Epoll, timeout: Option<Duration>) -> bool {
        let mut events = Vec::new();
        epoll.wait(&mut events, timeout).unwrap();
        !events.is_empty()
    }

    #[test]
    fn is_silent_for_a_loop_that_is_awake() {
        let (bell, epoll) = (Bell::new().unwrap(), Epoll::new().unwrap());
        epoll.set(bell.as_raw_fd(), 0, Interest::READ, false).unwrap();
        bell.ring().unwrap();
        assert!(!rung(&epoll, Some(Duration::ZERO)));
        bell.lie_down();
        bell.ring().unwrap();
        assert!(rung(&epoll, None));
        bell.get_up();
        bell.drain().unwrap();
        assert!(!rung(&epoll, Some(Duration::ZERO)));
    }

    #[test]
    fn no_wake_up_is_lost() {
        const TOTAL: usize = 20_000;
        let bell = Arc::new(Bell::new().unwrap());
        let work = Arc::new(AtomicUsize::new(0));
        let epoll = Epoll::new().unwrap();
        epoll.set(bell.as_raw_fd(), 0, Interest::READ, false).unwrap();
        let producer = std::thread::spawn({
            let (bell, work) = (Arc::clone(&bell), Arc::clone(&work));
            move || {
                for _ in 0..TOTAL {
                    work.fetch_add(1, SeqCst);
                    bell.ring().unwrap();
                }
            }
        });
        let mut done = 0;
        while done < TOTAL {
            bell.lie_down();
            if work.load(SeqCst) == done {
                rung(&epoll, None);
            }
            bell.get_up();
            bell.drain().unwrap();
            done = work.load(SeqCst);
        }
        producer.join().unwrap();
    }
}

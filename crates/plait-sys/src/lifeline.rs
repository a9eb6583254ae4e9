//! Pipes by whose end a process learns that this one is gone.
//!
//! Nothing is ever written. The write end stays in this process: no executed
//! program inherits it, and a child of a fork closes it in its hook. So the
//! kernel closes it exactly when this process ends, whichever way, and then
//! signals whoever asked for that on the read end (`F_SETOWN`, `F_SETSIG`,
//! `O_ASYNC`; fcntl(2)): with SIGKILL even a process that is stopped.
//!
//! The owner of such a signal is kept in the open file description, so every
//! process needs a pipe of its own.
//!
//! | race | why it is harmless |
//! |---|---|
//! | a fork between the making of the pipe and its entry in the table | the table is locked over both, and over the whole fork by [`before_fork`] |
//! | a fork while another thread holds the table | [`before_fork`] waits for it, so the child finds it whole and its own |
//! | a line is dropped while the table is locked, by a thread that must not wait | it is marked, and taken out by whoever has the table |
//! | a fork in a hook that runs before a fork | the table is locked once, and let go of after the last |

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, fence};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Error, Result};

/// Each line with whether its handle was dropped.
type Table = HashMap<RawFd, (OwnedFd, Arc<AtomicBool>)>;

static HELD: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);
/// Whether the table has lines whose handles were dropped.
static DROPPED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The lock of the table, from the hook before a fork to the one after,
    /// and how many such forks of this thread are under way.
    static FORKING: RefCell<Option<(MutexGuard<'static, Table>, usize)>> = const { RefCell::new(None) };
}

fn table() -> MutexGuard<'static, Table> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes what was dropped out of the table, unless somebody has that: who has
/// it calls this when it has let go of it.
fn sweep() {
    // Who drops sets the flag before it looks at the lock, who has the lock
    // lets go of it before it looks at the flag: one of them sees the other.
    fence(SeqCst);
    while DROPPED.load(SeqCst) {
        let mut held = match HELD.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        DROPPED.store(false, SeqCst);
        held.retain(|_, (_, dropped)| !dropped.load(SeqCst));
    }
}

/// The write end, held by this process alone. Dropping it tells the process
/// that has the other end; in a child of a fork it does nothing.
#[derive(Debug)]
pub struct Lifeline {
    dropped: Arc<AtomicBool>,
    owner: u32,
}

impl Lifeline {
    /// Makes a pipe and returns its read end too, for the process that is to
    /// live no longer than this one. It waits for forks that are under way, so
    /// it must be called with nothing held that their hooks may need; and not
    /// in a hook.
    ///
    /// # Errors
    /// EMFILE, ENFILE.
    pub fn new() -> Result<(Self, OwnedFd)> {
        let dropped = Arc::new(AtomicBool::new(false));
        let mut held = table();
        let made = pipe_with(PipeFlags::CLOEXEC).map(|(read, write)| {
            held.insert(write.as_raw_fd(), (write, Arc::clone(&dropped)));
            read
        });
        drop(held);
        sweep();
        let read = made.map_err(|errno: Errno| Error::new("pipe2", errno))?;
        Ok((Self { dropped, owner: std::process::id() }, read))
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        // In a forked child the hook has closed the number, which may by now
        // be that of another pipe in the table.
        if std::process::id() == self.owner {
            self.dropped.store(true, SeqCst);
            DROPPED.store(true, SeqCst);
            sweep();
        }
    }
}

/// To be called by a thread right before it forks, with nothing held that the
/// hooks of another thread's fork may need.
pub fn before_fork() {
    FORKING.with(|slot| {
        if let Some((_, forks)) = &mut *slot.borrow_mut() {
            *forks += 1;
            return;
        }
        let held = table();
        *slot.borrow_mut() = Some((held, 1));
    });
}

/// To be called by the same thread after the fork, in the parent.
pub fn after_fork_in_parent() {
    FORKING.with(|slot| {
        let mut slot = slot.borrow_mut();
        if let Some((_, forks)) = &mut *slot {
            *forks -= 1;
            if *forks > 0 {
                return;
            }
        }
        drop(slot.take());
    });
    sweep();
}

/// To be called by the only thread of the child: it holds none of its
/// parent's lifelines from here on.
pub fn after_fork_in_child() {
    FORKING.with(|slot| {
        if let Some((mut held, _)) = slot.borrow_mut().take() {
            held.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn cut(read: &OwnedFd) -> bool {
        let mut fds = [PollFd::new(read, PollFlags::IN)];
        poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
        fds[0].revents().contains(PollFlags::HUP)
    }

    // One test: the table belongs to the process, and tests share it.
    #[test]
    fn the_end_of_the_holder_cuts_the_line() {
        let (line, read) = Lifeline::new().unwrap();
        before_fork();
        after_fork_in_parent();
        assert!(!cut(&read));
        drop(line);
        assert!(cut(&read));

        let (line, read) = Lifeline::new().unwrap();
        before_fork();
        // A fork in a hook of a fork.
        before_fork();
        after_fork_in_parent();
        std::thread::spawn(|| drop(line)).join().unwrap();
        assert!(!cut(&read), "nobody waits for the table");
        after_fork_in_parent();
        assert!(cut(&read));

        let (line, read) = Lifeline::new().unwrap();
        before_fork();
        after_fork_in_child();
        assert!(cut(&read));
        drop(line);
    }
}

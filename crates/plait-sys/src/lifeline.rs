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

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Error, Result};

type Table = HashMap<RawFd, OwnedFd>;

static HELD: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The lock of the table, from the hook before a fork to the one after.
    static FORKING: RefCell<Option<MutexGuard<'static, Table>>> = const { RefCell::new(None) };
}

fn table() -> MutexGuard<'static, Table> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The write end, held by this process alone. Dropping it tells the process
/// that has the other end; in a child of a fork it does nothing.
#[derive(Debug)]
pub struct Lifeline {
    number: RawFd,
    owner: u32,
}

impl Lifeline {
    /// Makes a pipe and returns its read end too, for the process that is to
    /// live no longer than this one.
    ///
    /// # Errors
    /// EMFILE, ENFILE.
    pub fn new() -> Result<(Self, OwnedFd)> {
        let mut held = table();
        let (read, write) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|errno: Errno| Error::new("pipe2", errno))?;
        let number = write.as_raw_fd();
        held.insert(number, write);
        Ok((Self { number, owner: std::process::id() }, read))
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        // In a forked child the hook has closed the number, which may by now
        // be that of another pipe in the table.
        if std::process::id() == self.owner {
            drop(table().remove(&self.number));
        }
    }
}

/// To be called by a thread right before it forks.
pub fn before_fork() {
    let held = table();
    FORKING.with(|slot| *slot.borrow_mut() = Some(held));
}

/// To be called by the same thread after the fork, in the parent.
pub fn after_fork_in_parent() {
    FORKING.with(|slot| drop(slot.borrow_mut().take()));
}

/// To be called by the only thread of the child: it holds none of its
/// parent's lifelines from here on.
pub fn after_fork_in_child() {
    FORKING.with(|slot| {
        if let Some(mut held) = slot.borrow_mut().take() {
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
        after_fork_in_child();
        assert!(cut(&read));
        drop(line);
    }
}

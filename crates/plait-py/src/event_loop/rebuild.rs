//! A new epoll in place of the old, under the same descriptor.
//!
//! Needed where the kernel watches something that nobody can name any more: a
//! number that was closed while a duplicate lives, here or in another process.
//! Also for a process that was forked, which shares the epoll with its parent.
//!
//! An epoll of somebody else's watches what a descriptor refers to, so it
//! would watch the old one still, or nothing. It is given another to watch
//! (`fileno()`), the front, which stays, and has the new one put behind it.

use std::os::fd::AsRawFd;

use plait_sys::epoll::{Epoll, Interest};

use super::core::{BELL, Core, Owner, Poller};
use crate::error::Error;

/// The token of the one thing that a front watches.
const INNER: u64 = 0;

impl Poller {
    /// An epoll that watches the bell alone.
    pub(super) fn fresh_epoll(&self) -> Result<Epoll, Error> {
        let fresh = Epoll::new()?;
        fresh.set(self.bell.as_raw_fd(), BELL, Interest::READ, false)?;
        Ok(fresh)
    }

    /// What an epoll outside can watch for as long as the loop lives.
    pub(super) fn front(&self) -> Result<&Epoll, Error> {
        if let Some(front) = self.front.get() {
            return Ok(front);
        }
        let front = self.fresh_front()?;
        Ok(self.front.get_or_init(|| front))
    }

    /// A front of what `epoll` refers to now.
    fn fresh_front(&self) -> Result<Epoll, Error> {
        let front = Epoll::new()?;
        front.set(self.epoll.as_raw_fd(), INNER, Interest::READ, false)?;
        Ok(front)
    }

    /// Puts `fresh` in the place of the epoll.
    fn renew(&self, fresh: &Epoll) -> Result<(), Error> {
        let Some(front) = self.front.get() else { return Ok(self.epoll.replace(fresh)?) };
        // By its number, while that refers to it: a forked process may keep
        // the old one alive, with the events that nobody takes.
        front.delete(self.epoll.as_raw_fd())?;
        let replaced = self.epoll.replace(fresh);
        front.set(self.epoll.as_raw_fd(), INNER, Interest::READ, false)?;
        Ok(replaced?)
    }

    /// As `renew`, in a forked process: its parent has the old ones.
    pub(super) fn renew_apart(&self, fresh: &Epoll) -> Result<(), Error> {
        self.epoll.replace(fresh)?;
        match self.front.get() {
            Some(front) => Ok(front.replace(&self.fresh_front()?)?),
            None => Ok(()),
        }
    }
}

impl Core {
    /// Has the kernel watch what the table knows of and nothing else. Owners
    /// whose numbers were closed behind our back go to `gone`.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM, ENOSPC; all is as before then.
    pub(super) fn rebuild(&mut self, poller: &Poller, gone: &mut Vec<Owner>) -> Result<(), Error> {
        let fresh = poller.fresh_epoll()?;
        for fd in self.fds.carry_over(&poller.epoll, &fresh)? {
            gone.extend(self.fds.remove(&poller.epoll, fd)?);
        }
        poller.renew(&fresh)
    }

    /// As `rebuild`. That it fails for want of descriptors or memory is no
    /// reason to end the run: the stray event comes again, and with it the
    /// next attempt.
    pub(super) fn expel_strays(&mut self, poller: &Poller, gone: &mut Vec<Owner>) {
        let _ = self.rebuild(poller, gone);
    }
}

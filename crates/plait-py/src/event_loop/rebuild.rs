//! A new epoll in place of the old, under the same descriptor.
//!
//! Needed where the kernel watches something that nobody can name any more: a
//! number that was closed while a duplicate lives, here or in another process.
//! Also for a process that was forked, which shares the epoll with its parent.

use plait_sys::epoll::{Epoll, Interest};

use super::core::{BELL, Core, Owner, Poller};
use crate::error::Error;

impl Poller {
    /// An epoll that watches the bell alone.
    pub(super) fn fresh_epoll(&self) -> Result<Epoll, Error> {
        use std::os::fd::AsRawFd;
        let fresh = Epoll::new()?;
        fresh.set(self.bell.as_raw_fd(), BELL, Interest::READ, false)?;
        Ok(fresh)
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
        Ok(poller.epoll.replace(&fresh)?)
    }

    /// As `rebuild`. That it fails for want of descriptors or memory is no
    /// reason to end the run: the stray event comes again, and with it the
    /// next attempt.
    pub(super) fn expel_strays(&mut self, poller: &Poller, gone: &mut Vec<Owner>) {
        let _ = self.rebuild(poller, gone);
    }
}

//! A bell between threads and processes: rung any number of times, heard once.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};

use crate::error::{Error, Result};
use crate::raw::replace;

/// An eventfd: readable from the first ring on until it is drained.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Makes a bell that no executed program inherits.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> Result<Self> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(Self)
            .map_err(|errno| Error::new("eventfd", errno))
    }

    /// Makes it readable. One that was rung 2^64 times without being drained
    /// stays readable, which is all that a bell is for.
    ///
    /// # Errors
    /// EBADF: it was closed under our hands.
    pub fn ring(&self) -> Result<()> {
        match write(&self.0, &1u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(Error::new("write(eventfd)", errno)),
        }
    }

    /// Rings and hears from now on what `other` does, under the same
    /// descriptor; whoever shared the old one does so no more.
    ///
    /// # Errors
    /// EBADF: it was closed under our hands.
    pub fn replace(&self, other: &Self) -> Result<()> {
        replace(&self.0, &other.0)
    }

    /// Makes it silent and says whether it had been rung.
    ///
    /// # Errors
    /// EBADF: it was closed under our hands.
    pub fn drain(&self) -> Result<bool> {
        let mut count = [0u8; 8];
        match read(&self.0, &mut count) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(Error::new("read(eventfd)", errno)),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for EventFd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rings_are_heard_once() {
        let bell = EventFd::new().unwrap();
        assert!(!bell.drain().unwrap());
        bell.ring().unwrap();
        bell.ring().unwrap();
        assert!(bell.drain().unwrap());
        assert!(!bell.drain().unwrap());
    }

    #[test]
    fn a_replaced_one_is_shared_no_more() {
        let bell = EventFd::new().unwrap();
        let shared = EventFd::from(bell.0.try_clone().unwrap());
        bell.replace(&EventFd::new().unwrap()).unwrap();
        shared.ring().unwrap();
        assert!(!bell.drain().unwrap());
        bell.ring().unwrap();
        assert!(bell.drain().unwrap());
    }
}

//! Descriptors that come from Python as numbers.

use std::os::fd::{OwnedFd, RawFd};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::fcntl_dupfd_cloexec;

use crate::error::{Error, Result};
use crate::raw::borrow;

/// A descriptor of our own for what `fd` refers to; no executed program
/// inherits it.
///
/// # Errors
/// EBADF, EMFILE.
pub fn duplicate(fd: RawFd) -> Result<OwnedFd> {
    borrow(fd)
        .and_then(|fd| fcntl_dupfd_cloexec(fd, 3))
        .map_err(|errno| Error::new("fcntl(F_DUPFD_CLOEXEC)", errno))
}

/// Whether a call on `fd` may wait: the mode is that of the open file
/// description, so whoever shares it changes it for all.
///
/// # Errors
/// EBADF.
pub fn blocks(fd: RawFd) -> Result<bool> {
    borrow(fd)
        .and_then(fcntl_getfl)
        .map(|flags| !flags.contains(OFlags::NONBLOCK))
        .map_err(|errno| Error::new("fcntl(F_GETFL)", errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventfd::EventFd;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_duplicate_outlives_the_original() {
        let bell = EventFd::new().unwrap();
        let copy = EventFd::from(duplicate(bell.as_raw_fd()).unwrap());
        drop(bell);
        copy.ring().unwrap();
        assert!(copy.drain().unwrap());
        assert!(duplicate(-1).is_err());
    }
}

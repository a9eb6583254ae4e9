//! Whether a number is a descriptor at all.

use std::os::fd::RawFd;

use rustix::io::fcntl_getfd;

use crate::error::{Error, Result};
use crate::raw::borrow;

/// Checks that `fd` is open.
///
/// # Errors
/// EBADF if it is not.
pub fn check(fd: RawFd) -> Result<()> {
    borrow(fd).and_then(fcntl_getfd).map(drop).map_err(|errno| Error::new("fcntl", errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_open_from_closed() {
        assert!(check(0).is_ok());
        assert!(check(-1).is_err());
        assert!(check(i32::MAX).is_err());
    }
}

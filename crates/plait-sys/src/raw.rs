//! Descriptors that somebody else owns, mostly a Python object.

use std::os::fd::{BorrowedFd, RawFd};

/// Borrows `fd` for one system call.
///
/// The number comes from Python, which may close it at any time, as it may
/// for every library that takes `fileno()`. The kernel checks each number
/// that it is given: a closed one answers EBADF.
pub(crate) fn borrow<'a>(fd: RawFd) -> rustix::io::Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(rustix::io::Errno::BADF);
    }
    // SAFETY: the number is not -1. It is used for one system call, which
    // touches no memory by way of the descriptor, whatever it now refers to.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

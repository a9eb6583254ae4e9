//! Descriptors that somebody else owns, mostly a Python object.

use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{DupFlags, dup3};

use crate::error::{Error, Result};

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

/// Makes `old` refer to what `new` refers to, in one step: no number is free
/// in between for another thread to get.
pub(crate) fn replace(old: &OwnedFd, new: &OwnedFd) -> Result<()> {
    // SAFETY: never dropped, so `old` stays the only owner of its number; and
    // the kernel changes what the number refers to, not the number.
    let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(old.as_raw_fd()) });
    dup3(new, &mut target, DupFlags::CLOEXEC).map_err(|errno| Error::new("dup3", errno))
}

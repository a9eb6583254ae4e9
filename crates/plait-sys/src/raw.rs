//! What takes `unsafe`: descriptors that somebody else owns, mostly a Python
//! object, and a system call that rustix does not make.

use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::event::Timespec;
use rustix::event::epoll::Event;
use rustix::io::{DupFlags, Errno, dup3};

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

/// Waits by `epoll_pwait2`, to the nanosecond. Rustix makes do with
/// `epoll_pwait`, in milliseconds, unless it is built for kernels of 5.11 and
/// newer only; then there would be nothing to fall back on.
pub(crate) fn wait_exactly<'a>(
    epoll: &OwnedFd,
    buffer: &'a mut [MaybeUninit<Event>],
    timeout: &Timespec,
) -> rustix::io::Result<&'a mut [Event]> {
    // SAFETY: the buffer is as long as is said, of the kernel's own struct;
    // the time is one too, of 64 bits each; there is no mask of signals.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            buffer.as_mut_ptr(),
            buffer.len(),
            std::ptr::from_ref(timeout),
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    let Ok(count) = usize::try_from(count) else {
        let error = io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
    };
    // SAFETY: the kernel has filled so many, the first ones.
    Ok(unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), count) })
}

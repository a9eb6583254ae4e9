//! Reading this process's own memory where it may not be mapped any more.
//!
//! What another thread told the kernel to look at (a list of descriptors to
//! poll) can be gone a moment later. `process_vm_readv(2)` copies through the
//! kernel, which checks every page: EFAULT instead of a crash.

use crate::error::{Error, Result};

/// Copies `buffer.len()` bytes from `address`.
///
/// # Errors
/// EFAULT where nothing is mapped, also behind the first part; ENOSYS and
/// EPERM where the call is not allowed.
pub(crate) fn read(address: usize, buffer: &mut [u8]) -> Result<()> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: buffer.len() };
    // SAFETY: the local side is the buffer, to be written; the remote side is
    // only an address for the kernel, which checks it.
    let count =
        unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(count) {
        Ok(count) if count == buffer.len() => Ok(()),
        Ok(_) => Err(Error::from_raw_os_error("process_vm_readv", libc::EFAULT)),
        Err(_) => {
            let number = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            Err(Error::from_raw_os_error("process_vm_readv", number))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_copied() {
        let from = [1_u8, 2, 3, 4];
        let mut to = [0; 4];
        read(from.as_ptr() as usize, &mut to).unwrap();
        assert_eq!(to, from);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert_eq!(read(8, &mut [0; 8]).unwrap_err().raw_os_error(), libc::EFAULT);
    }
}

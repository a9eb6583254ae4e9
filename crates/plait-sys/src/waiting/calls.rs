//! Which system calls wait, and on what their arguments say.

use std::ffi::c_long;

use super::Waiting;

/// A system call that a thread is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// It tells by its number.
    Plain(Waiting),
    /// It waits on this descriptor.
    Descriptor(usize),
    /// It waits on a list of descriptors, of so many `pollfd`.
    Poll(usize, usize),
    /// It waits on sets of descriptors (to read, write, and in trouble), all
    /// below this number.
    Select(usize, [usize; 3]),
    /// It waits on what this epoll watches, with or without an end.
    Epoll(usize, bool),
}

/// `fcntl` with these waits for a lock.
const LOCK_AND_WAIT: [usize; 2] = [libc::F_SETLKW as usize, libc::F_OFD_SETLKW as usize];

impl Call {
    /// The call with this number, as this processor's kernel has them.
    pub(super) fn of(number: c_long, arguments: &[usize; 6]) -> Self {
        let &[first, second, third, fourth, fifth, _] = arguments;
        #[cfg(target_arch = "x86_64")]
        match number {
            libc::SYS_poll => return Self::Poll(first, second),
            libc::SYS_select => return Self::select(first, [second, third, fourth], fifth),
            libc::SYS_epoll_wait => return Self::Epoll(first, is_negative(fourth)),
            libc::SYS_open
            | libc::SYS_stat
            | libc::SYS_lstat
            | libc::SYS_access
            | libc::SYS_unlink
            | libc::SYS_rename
            | libc::SYS_mkdir
            | libc::SYS_rmdir
            | libc::SYS_readlink
            | libc::SYS_creat => {
                return Self::Plain(Waiting::File);
            }
            _ => {}
        }
        match number {
            libc::SYS_read
            | libc::SYS_write
            | libc::SYS_readv
            | libc::SYS_writev
            | libc::SYS_pread64
            | libc::SYS_pwrite64
            | libc::SYS_preadv
            | libc::SYS_pwritev
            | libc::SYS_preadv2
            | libc::SYS_pwritev2
            | libc::SYS_fsync
            | libc::SYS_fdatasync
            | libc::SYS_getdents64
            | libc::SYS_ftruncate
            | libc::SYS_fallocate
            | libc::SYS_sendfile
            | libc::SYS_splice
            | libc::SYS_copy_file_range
            | libc::SYS_sync_file_range
            | libc::SYS_fstat
            | libc::SYS_ioctl
            | libc::SYS_close
            | libc::SYS_lseek => Self::Descriptor(first),
            libc::SYS_recvfrom
            | libc::SYS_recvmsg
            | libc::SYS_recvmmsg
            | libc::SYS_sendto
            | libc::SYS_sendmsg
            | libc::SYS_sendmmsg
            | libc::SYS_accept
            | libc::SYS_accept4
            | libc::SYS_connect
            | libc::SYS_shutdown => Self::Plain(Waiting::Socket),
            libc::SYS_ppoll => Self::Poll(first, second),
            libc::SYS_pselect6 => Self::select(first, [second, third, fourth], fifth),
            libc::SYS_epoll_pwait => Self::Epoll(first, is_negative(fourth)),
            // A time by reference: none is no end.
            libc::SYS_epoll_pwait2 => Self::Epoll(first, fourth == 0),
            libc::SYS_nanosleep | libc::SYS_clock_nanosleep => Self::Plain(Waiting::Sleep),
            libc::SYS_futex => Self::Plain(Waiting::Lock(first)),
            libc::SYS_flock | libc::SYS_semop | libc::SYS_semtimedop => Self::Plain(Waiting::Lock(0)),
            libc::SYS_fcntl if LOCK_AND_WAIT.contains(&second) => Self::Plain(Waiting::Lock(0)),
            libc::SYS_wait4 | libc::SYS_waitid => Self::Plain(Waiting::Process),
            libc::SYS_openat
            | libc::SYS_openat2
            | libc::SYS_newfstatat
            | libc::SYS_statx
            | libc::SYS_unlinkat
            | libc::SYS_renameat
            | libc::SYS_renameat2
            | libc::SYS_mkdirat
            | libc::SYS_readlinkat
            | libc::SYS_faccessat
            | libc::SYS_linkat
            | libc::SYS_symlinkat
            | libc::SYS_utimensat
            | libc::SYS_truncate
            | libc::SYS_sync
            | libc::SYS_syncfs
            | libc::SYS_msync
            | libc::SYS_statfs => Self::Plain(Waiting::File),
            _ => Self::Plain(Waiting::Other),
        }
    }

    /// Without descriptors it is a way to sleep, if it has an end.
    fn select(count: usize, sets: [usize; 3], timeout: usize) -> Self {
        match (count, timeout) {
            (0, 0) => Self::Plain(Waiting::Other),
            (0, _) => Self::Plain(Waiting::Sleep),
            _ => Self::Select(count, sets),
        }
    }
}

/// Whether a word holds a 32-bit number below zero.
fn is_negative(word: usize) -> bool {
    (word as u32).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_tell_where_numbers_do_not() {
        let minus_one = u32::MAX as usize;
        assert_eq!(Call::of(libc::SYS_epoll_pwait, &[5, 0, 1, minus_one, 0, 0]), Call::Epoll(5, true));
        assert_eq!(Call::of(libc::SYS_epoll_pwait, &[5, 0, 1, 20, 0, 0]), Call::Epoll(5, false));
        assert_eq!(Call::of(libc::SYS_epoll_pwait2, &[5, 0, 1, 0, 0, 0]), Call::Epoll(5, true));
        assert_eq!(Call::of(libc::SYS_pselect6, &[0, 0, 0, 0, 9, 0]), Call::Plain(Waiting::Sleep));
        assert_eq!(Call::of(libc::SYS_pselect6, &[0; 6]), Call::Plain(Waiting::Other));
        assert_eq!(Call::of(libc::SYS_pselect6, &[4, 1, 2, 3, 9, 0]), Call::Select(4, [1, 2, 3]));
        assert_eq!(
            Call::of(libc::SYS_fcntl, &[3, libc::F_SETLKW as usize, 0, 0, 0, 0]),
            Call::Plain(Waiting::Lock(0))
        );
        assert_eq!(Call::of(libc::SYS_fcntl, &[3, 1, 0, 0, 0, 0]), Call::Plain(Waiting::Other));
        assert_eq!(Call::of(c_long::MAX, &[0; 6]), Call::Plain(Waiting::Other));
    }
}

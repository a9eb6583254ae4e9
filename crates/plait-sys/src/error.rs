//! What a system call that failed leaves behind.

use std::io;

use rustix::io::Errno;

/// A failed system call: which one, on what, and the kernel's answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{call}: {}", io::Error::from_raw_os_error(self.errno.raw_os_error()))]
pub struct Error {
    call: &'static str,
    errno: Errno,
}

impl Error {
    /// Wraps the answer of the system call named `call`.
    #[must_use]
    pub fn new(call: &'static str, errno: Errno) -> Self {
        Self { call, errno }
    }

    /// The kernel would answer `call` that it does not have what it is about.
    #[must_use]
    pub fn absent(call: &'static str) -> Self {
        Self::new(call, Errno::NOENT)
    }

    /// Wraps the number that another library got of the system call `call`.
    #[must_use]
    pub fn from_raw_os_error(call: &'static str, number: i32) -> Self {
        Self { call, errno: Errno::from_raw_os_error(number) }
    }

    /// The number of the error, as in `errno.h`.
    #[must_use]
    pub fn raw_os_error(&self) -> i32 {
        self.errno.raw_os_error()
    }

    /// The kernel's answer.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// Whether the kernel does not have what the call was about (ENOENT).
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.errno == Errno::NOENT
    }

    /// Whether there was no room for what the call makes, which passes.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        matches!(
            self.errno,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::NOBUFS | Errno::NOSPC
        )
    }

    /// Whether the number was no open descriptor's (EBADF).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.errno == Errno::BADF
    }

    /// The name of the system call.
    #[must_use]
    pub fn call(&self) -> &'static str {
        self.call
    }
}

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Error>;

//! How much memory a process has to itself.
//!
//! `/proc/PID/statm` counts, in pages, what is resident and how much of that
//! belongs to files and shared memory (proc(5)). The difference is what
//! `/proc/PID/status` calls `RssAnon`, at a tenth of the cost; from Linux 6.2
//! on both may lag by a few pages for each core.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::pread;
use rustix::param::page_size;

use crate::error::{Error, Result};

/// The account of one process.
#[derive(Debug)]
pub struct Account(OwnedFd);

impl Account {
    /// That of the calling process; of no child that it forks later.
    ///
    /// # Errors
    /// ENOENT without `/proc`; EMFILE.
    pub fn own() -> Result<Self> {
        Self::open("/proc/self/statm")
    }

    /// That of the process `pid`.
    ///
    /// # Errors
    /// ENOENT if there is none; EMFILE.
    pub fn of(pid: u32) -> Result<Self> {
        Self::open(&format!("/proc/{pid}/statm"))
    }

    fn open(path: &str) -> Result<Self> {
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map(Self)
            .map_err(|errno| Error::new("open(statm)", errno))
    }

    /// Its private memory, in bytes; 0 once it has ended.
    ///
    /// # Errors
    /// ESRCH if it was reaped.
    pub fn private(&self) -> Result<u64> {
        let mut text = [0; 128];
        let count = pread(&self.0, &mut text, 0).map_err(|errno| Error::new("pread(statm)", errno))?;
        let mut fields = text[..count].split(|&byte| byte == b' ').map(|field| {
            field
                .iter()
                .filter(|byte| byte.is_ascii_digit())
                .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
        });
        let (resident, shared) = (fields.nth(1).unwrap_or(0), fields.next().unwrap_or(0));
        Ok(resident.saturating_sub(shared).saturating_mul(page_size() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_memory_counts_and_shared_does_not() {
        const SIZE: usize = 64 << 20;
        let account = Account::own().unwrap();
        let before = account.private().unwrap();
        let shared = crate::memory::SharedMemory::create("plait-test", SIZE).unwrap();
        // SAFETY: the mapping is alive and as long as this, and nobody else
        // uses it.
        unsafe { shared.base().write_bytes(1, SIZE) };
        assert!(account.private().unwrap() < before + (SIZE / 2) as u64);
        let private = vec![1_u8; SIZE];
        assert!(account.private().unwrap() > before + (SIZE - SIZE / 8) as u64);
        drop(private);
    }

    #[test]
    fn of_another_process() {
        let own = Account::of(std::process::id()).unwrap().private().unwrap();
        assert!(own > 0);
        assert!(Account::of(0).is_err());
    }
}

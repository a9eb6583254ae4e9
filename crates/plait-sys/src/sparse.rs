//! A large memfd of which only what is in use takes memory.
//!
//! Its size is fixed (see [`memory`](crate::memory)), its pages are not: they
//! come when they are first written, and punching a hole gives them back,
//! whoever maps them. A hole reads as zeros and can be filled again.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fstat, open};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::mapping::{Access, Mapping};
use crate::memory::{sealed, sealed_len};

/// A memfd of a fixed size and with holes.
#[derive(Debug)]
pub struct SparseMemory {
    file: File,
    len: usize,
}

impl SparseMemory {
    /// Makes one of `len` bytes, all of them hole. `name` is for people who
    /// read `/proc/PID/maps`.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn create(name: &str, len: usize) -> Result<Self> {
        Ok(Self { file: sealed(name, len)?.into(), len })
    }

    /// Takes one that another process has made.
    ///
    /// # Errors
    /// EINVAL for a descriptor of anything else.
    pub fn open(fd: OwnedFd) -> Result<Self> {
        let len = sealed_len(&fd)?;
        Ok(Self { file: fd.into(), len })
    }

    /// A descriptor by which another process can read it and not write to it;
    /// one that can do both where `/proc` is not mounted.
    ///
    /// # Errors
    /// EMFILE, ENFILE.
    pub fn to_read(&self) -> Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        match open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Err(errno @ (Errno::MFILE | Errno::NFILE)) => Err(Error::new("open(memfd)", errno)),
            Err(_) => rustix::io::dup(self.as_fd()).map_err(|errno| Error::new("dup", errno)),
            Ok(fd) => Ok(fd),
        }
    }

    /// How many bytes there are, holes included.
    #[allow(clippy::len_without_is_empty)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many bytes are not hole.
    ///
    /// # Errors
    /// None that an open descriptor has.
    pub fn taken(&self) -> Result<u64> {
        let stat = fstat(&self.file).map_err(|errno| Error::new("fstat(memfd)", errno))?;
        Ok(u64::try_from(stat.st_blocks).unwrap_or_default() * 512)
    }

    /// Maps all of it, to be written.
    ///
    /// # Errors
    /// ENOMEM, above all under a limit of the address space.
    pub fn map(&self) -> Result<Mapping> {
        Mapping::new(&self.file, 0, self.len, Access::Shared)
    }

    /// Maps all of it, to be read.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn map_to_read(&self) -> Result<Mapping> {
        Mapping::new(&self.file, 0, self.len, Access::ReadOnly)
    }

    /// Maps `range`, which begins at a page: what is written to the mapping
    /// stays there.
    ///
    /// # Errors
    /// ENOMEM, also when there are too many mappings; EINVAL for a range that
    /// is empty or lies outside.
    pub fn map_copy(&self, range: Range<usize>) -> Result<Mapping> {
        if range.end > self.len || range.is_empty() {
            return Err(Error::new("mmap", Errno::INVAL));
        }
        Mapping::new(&self.file, range.start, range.len(), Access::Private)
    }

    /// Fills the holes of `range`, so that writing there by `mapping`, which
    /// is [`map`](Self::map)'s, cannot fail.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC, EFAULT: there is no memory.
    pub fn fill(&self, mapping: &Mapping, range: Range<usize>) -> Result<()> {
        if mapping.populate_to_write(range.clone())? {
            return Ok(());
        }
        fallocate(&self.file, FallocateFlags::KEEP_SIZE, range.start as u64, range.len() as u64)
            .map_err(|errno| Error::new("fallocate", errno))
    }

    /// Gives the pages of `range` back.
    ///
    /// # Errors
    /// EPERM by a descriptor of [`to_read`](Self::to_read).
    pub fn punch(&self, range: Range<usize>) -> Result<()> {
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&self.file, how, range.start as u64, range.len() as u64)
            .map_err(|errno| Error::new("fallocate(FALLOC_FL_PUNCH_HOLE)", errno))
    }

    /// Copies from `offset` on, without a mapping.
    ///
    /// # Errors
    /// EINVAL for a range that lies outside.
    pub fn read_at(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        use std::os::unix::fs::FileExt;
        self.file.read_exact_at(bytes, offset as u64).map_err(|error| {
            // std makes an error without a number at the end of the file.
            Error::new("pread(memfd)", Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
        })
    }
}

impl AsFd for SparseMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::param::page_size;

    fn write(mapping: &Mapping, at: usize, byte: u8) {
        assert!(at < mapping.len());
        // SAFETY: within the mapping, which only this test uses.
        unsafe { mapping.base().add(at).write_volatile(byte) };
    }

    fn read(mapping: &Mapping, at: usize) -> u8 {
        assert!(at < mapping.len());
        // SAFETY: as above.
        unsafe { mapping.base().add(at).read_volatile() }
    }

    #[test]
    fn only_what_is_used_takes_memory() {
        let (page, memory) = (page_size(), SparseMemory::create("plait-test", 1 << 36).unwrap());
        let mapping = memory.map().unwrap();
        assert_eq!(memory.taken().unwrap(), 0);
        memory.fill(&mapping, 0..3 * page).unwrap();
        assert_eq!(memory.taken().unwrap(), 3 * page as u64);
        write(&mapping, page, 7);
        memory.punch(page..3 * page).unwrap();
        assert_eq!(memory.taken().unwrap(), page as u64);
        assert_eq!(read(&mapping, page), 0);
    }

    #[test]
    fn what_is_written_to_a_copy_stays_there() {
        let (page, memory) = (page_size(), SparseMemory::create("plait-test", 1 << 20).unwrap());
        let mapping = memory.map().unwrap();
        write(&mapping, page + 1, 7);
        let reader = SparseMemory::open(memory.to_read().unwrap()).unwrap();
        let copy = reader.map_copy(page..3 * page).unwrap();
        copy.populate(0..2 * page).unwrap();
        assert_eq!(read(&copy, 1), 7);
        write(&copy, 1, 8);
        assert_eq!((read(&mapping, page + 1), read(&copy, 1)), (7, 8));
        let mut bytes = [0; 2];
        reader.read_at(page, &mut bytes).unwrap();
        assert_eq!(bytes, [0, 7]);
        assert_eq!(reader.map_copy(0..(1 << 20) + page).unwrap_err().errno(), Errno::INVAL);
        assert_eq!(reader.read_at((1 << 20) - 1, &mut bytes).unwrap_err().errno(), Errno::INVAL);
    }

    #[test]
    fn who_reads_cannot_write() {
        let memory = SparseMemory::create("plait-test", 1 << 20).unwrap();
        let reader = SparseMemory::open(memory.to_read().unwrap()).unwrap();
        assert!(reader.map().is_err());
        assert!(reader.punch(0..4096).is_err());
        assert!(reader.map_to_read().is_ok());
    }

    #[test]
    fn what_is_not_sealed_is_refused() {
        let plain = crate::memory::file_of("plait-test", b"bytes").unwrap();
        assert!(SparseMemory::open(plain).is_err());
    }
}

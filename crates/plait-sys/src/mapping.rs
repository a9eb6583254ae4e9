//! Files mapped into memory.
//!
//! What the code relies on, each checkable in mmap(2) and madvise(2):
//!
//! - A private mapping shows the file's pages until it writes to one, which
//!   then becomes a copy of its own; the file does not change.
//! - `MADV_POPULATE_READ` and `MADV_POPULATE_WRITE` (Linux 5.14) have all pages
//!   of a range there at once: a fault for each costs several times as much.
//!   They report as an error what would be SIGBUS at an access: no memory. An
//!   older kernel refuses them with EINVAL.
//! - `MAP_NORESERVE`: what is mapped but not touched counts for nothing, unless
//!   the system is set to refuse all overcommitment.

use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::error::{Error, Result};

/// The least that advice is about.
const PAGE: usize = 4096;

/// A part of a file, mapped.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and lives until it is
// dropped, whatever thread holds it; access to the bytes is by raw pointer
// and the business of who makes it.
unsafe impl Send for Mapping {}
// SAFETY: as above; the shared methods only hand out numbers.
unsafe impl Sync for Mapping {}

/// How a file is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody sees what is written.
    Shared,
    /// As written by others; not to be written to.
    ReadOnly,
    /// What is written stays here.
    Private,
}

impl Mapping {
    pub(crate) fn new(file: impl AsFd, offset: usize, len: usize, access: Access) -> Result<Self> {
        let (prot, flags) = match access {
            Access::Shared => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED),
            Access::ReadOnly => (ProtFlags::READ, MapFlags::SHARED),
            Access::Private => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE),
        };
        let flags = flags | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches
        // no memory that anybody uses.
        let base = unsafe { mmap(std::ptr::null_mut(), len, prot, flags, file, offset as u64) }
            .map_err(|errno| Error::new("mmap", errno))?;
        let base = NonNull::new(base.cast()).ok_or(Error::new("mmap", Errno::NOMEM))?;
        Ok(Self { base, len })
    }

    /// The first byte: aligned to a page, valid for [`len`](Self::len) bytes
    /// as long as this value lives.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// How many bytes there are; never 0.
    #[allow(clippy::len_without_is_empty)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Has all pages of `range` there, to be read without a fault. A kernel
    /// that cannot is none the worse: they come when they are read.
    ///
    /// # Errors
    /// ENOMEM, EFAULT: there is no memory.
    pub fn populate(&self, range: Range<usize>) -> Result<()> {
        match self.advise(range, Advice::LinuxPopulateRead) {
            Err(Errno::INVAL) => Ok(()),
            done => done.map_err(|errno| Error::new("madvise(MADV_POPULATE_READ)", errno)),
        }
    }

    /// As [`populate`](Self::populate), to be written. False if the kernel
    /// cannot.
    pub(crate) fn populate_to_write(&self, range: Range<usize>) -> Result<bool> {
        match self.advise(range, Advice::LinuxPopulateWrite) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL) => Ok(false),
            Err(errno) => Err(Error::new("madvise(MADV_POPULATE_WRITE)", errno)),
        }
    }

    fn advise(&self, range: Range<usize>, advice: Advice) -> rustix::io::Result<()> {
        assert!(range.start <= range.end && range.end <= self.len, "the range lies within the mapping");
        // SAFETY: the range lies within our own mapping; these two kinds of
        // advice change no byte of it.
        unsafe { madvise(self.base.as_ptr().add(range.start).cast(), range.len(), advice) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are those of our own mapping, and whoever used
        // a pointer into it borrowed this value, which is going.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

/// Has the kernel take huge pages for memory that is about to be written for
/// the first time, if it may: advice that changes no byte.
pub fn prefer_huge_pages(start: *const u8, len: usize) {
    let first = (start as usize).next_multiple_of(PAGE);
    let whole = (start as usize).saturating_add(len).saturating_sub(first) / PAGE * PAGE;
    // SAFETY: this kind of advice changes no byte and no access of any mapping,
    // whosever it is. A kernel without huge pages refuses it, which is fine.
    let _ = unsafe { madvise(std::ptr::with_exposed_provenance_mut(first), whole, Advice::LinuxHugepage) };
}

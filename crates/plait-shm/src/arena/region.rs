//! The memory of an arena, as either side has it.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use plait_sys::mapping::Mapping;
use plait_sys::sparse::SparseMemory;

use crate::{Corrupt, Result};

/// A sparse memfd and, if there was address space for it, a mapping of all
/// of it.
pub struct Region {
    memory: SparseMemory,
    mapping: Option<Mapping>,
}

impl Region {
    pub(super) fn new(memory: SparseMemory, mapping: Option<Mapping>) -> Self {
        Self { memory, mapping }
    }

    /// Takes what another process allocates from, to read it. Without address
    /// space for all of it, what is read is copied.
    ///
    /// # Errors
    /// EINVAL for a descriptor that is not such memory.
    pub fn open(fd: OwnedFd) -> Result<Self> {
        Ok(Self::to_read(SparseMemory::open(fd)?))
    }

    /// Makes one of `len` bytes for another process to allocate from.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn create(name: &str, len: usize) -> Result<Self> {
        Ok(Self::to_read(SparseMemory::create(name, len)?))
    }

    fn to_read(memory: SparseMemory) -> Self {
        let mapping = memory.map_to_read().ok();
        Self { memory, mapping }
    }

    /// A descriptor for another process that is to read, and only that.
    ///
    /// # Errors
    /// EMFILE, ENFILE.
    pub fn fd_to_read(&self) -> Result<OwnedFd> {
        Ok(self.memory.to_read()?)
    }

    /// How many bytes there are.
    #[allow(clippy::len_without_is_empty)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// How many of them take memory.
    ///
    /// # Errors
    /// None that an open descriptor has.
    pub fn taken(&self) -> Result<u64> {
        Ok(self.memory.taken()?)
    }

    /// Gives the memory of `range` back to the system; it holds nothing.
    ///
    /// # Errors
    /// EPERM for who may only read.
    pub fn punch(&self, range: Range<usize>) -> Result<()> {
        Ok(self.memory.punch(range)?)
    }

    /// Whether there are `len` bytes at `offset`: the other side's numbers.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check(&self, offset: usize, len: usize) -> std::result::Result<Range<usize>, Corrupt> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len() => Ok(offset..end),
            _ => Err(Corrupt("place")),
        }
    }

    pub(super) fn memory(&self) -> &SparseMemory {
        &self.memory
    }

    pub(super) fn mapping(&self) -> Option<&Mapping> {
        self.mapping.as_ref()
    }

    pub(super) fn fill(&self, range: Range<usize>) -> Result<()> {
        match &self.mapping {
            Some(mapping) => Ok(self.memory.fill(mapping, range)?),
            None => Err(Corrupt("a region to write is mapped").into()),
        }
    }

    /// Copies into the mapping, which is one to write: an arena's.
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) {
        // SAFETY: a slice is valid for reads of its length.
        unsafe { self.write_from(offset, bytes.as_ptr(), bytes.len()) };
    }

    /// As [`write`](Self::write), of memory that may change meanwhile.
    ///
    /// # Safety
    /// `bytes` is valid for reads of `len` bytes.
    pub(super) unsafe fn write_from(&self, offset: usize, bytes: *const u8, len: usize) {
        let Some(mapping) = &self.mapping else { return };
        assert!(offset <= mapping.len() && len <= mapping.len() - offset, "within the arena");
        // SAFETY: within the mapping (checked).
        let place = unsafe { mapping.base().as_ptr().add(offset) };
        // SAFETY: only arenas call this, and their mapping is one to write to.
        // By the protocol nobody reads these bytes before they are published;
        // a peer that does gets torn bytes. What is copied lies elsewhere: in
        // private memory, or in another block.
        unsafe { place.copy_from_nonoverlapping(bytes, len) };
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

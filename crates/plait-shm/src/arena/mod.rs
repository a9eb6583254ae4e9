//! Room for large data in shared memory. Layout and rules: README.md.

mod extents;
pub mod forks;
mod ranges;
mod region;
mod view;

use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plait_sys::sparse::SparseMemory;

use crate::Result;
use extents::Extents;
pub use region::Region;
pub use view::{Found, Hold, View, find};

/// What blocks are measured in: the largest page that Linux has on our
/// machines, so that each block can be mapped alone.
pub const GRAIN: usize = 64 * 1024;

/// The allocator of a sparse memfd. One process allocates; others read, and
/// say when they have done.
pub struct Arena {
    region: Arc<Region>,
    extents: Mutex<Extents>,
    /// So many grains are kept warm when they are free.
    keep: AtomicU32,
    /// Whether nothing has been allocated since it was trimmed: what comes
    /// back then is not kept, for nobody may trim it again.
    resting: AtomicBool,
}

impl Arena {
    /// Makes one of `len` bytes, of which `keep` stay in memory when they have
    /// been used.
    ///
    /// # Errors
    /// EMFILE, ENFILE; ENOMEM, above all under a limit of the address space.
    pub fn create(name: &str, len: usize, keep: usize) -> Result<Arc<Self>> {
        Self::over(SparseMemory::create(name, len)?, keep)
    }

    /// Allocates from what another process has made and leaves to this one.
    ///
    /// # Errors
    /// EINVAL for a descriptor that is not such memory; ENOMEM.
    pub fn open(fd: OwnedFd, keep: usize) -> Result<Arc<Self>> {
        Self::over(SparseMemory::open(fd)?, keep)
    }

    fn over(memory: SparseMemory, keep: usize) -> Result<Arc<Self>> {
        let count = u32::try_from(memory.len() / GRAIN).unwrap_or(u32::MAX);
        let mapping = memory.map()?;
        Ok(Arc::new(Self {
            region: Arc::new(Region::new(memory, Some(mapping))),
            extents: Mutex::new(Extents::new(count)),
            keep: AtomicU32::new(u32::try_from(keep / GRAIN).unwrap_or(u32::MAX)),
            resting: AtomicBool::new(false),
        }))
    }

    /// What the other side reads.
    #[must_use]
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    fn lock(&self) -> MutexGuard<'_, Extents> {
        self.extents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for `len` bytes, where there is room to grow if `to_grow`. `None`
    /// if there is none, or no memory for it.
    #[must_use]
    pub fn block(self: &Arc<Self>, len: usize, to_grow: bool) -> Option<Block> {
        let count = grains(len)?;
        let taken = self.lock().take(count, to_grow)?;
        // Relaxed: whether one block more or less is kept does not matter.
        self.resting.store(false, Relaxed);
        let block = Block { arena: Arc::clone(self), grains: taken.clone(), owner: std::process::id() };
        self.warm(taken).then_some(block)
    }

    /// Has the memory of `range` there, which is taken.
    fn warm(&self, range: Range<u32>) -> bool {
        let cold = self.lock().cold(range);
        for range in cold {
            if self.region.fill(bytes(&range)).is_err() {
                return false;
            }
            self.lock().heat(range);
        }
        true
    }

    fn give(&self, range: Range<u32>) {
        // Relaxed: a number of its own.
        let keep = if self.resting.load(Relaxed) { 0 } else { self.keep.load(Relaxed) };
        let mut extents = self.lock();
        extents.give(range);
        if extents.free_and_warm() > keep {
            // Somewhat more than needed, so that not every block that comes
            // back has a system call to make.
            let cooled = extents.cool(keep - keep / 4);
            drop(extents);
            self.punch(cooled);
        }
    }

    /// Has so many bytes stay in memory when they have been used, from now on.
    pub fn keep(&self, bytes: usize) {
        self.keep.store(u32::try_from(bytes / GRAIN).unwrap_or(u32::MAX), Relaxed);
    }

    /// Gives back to the system all memory that is free, and what is freed
    /// before the next block is allocated.
    pub fn trim(&self) {
        self.resting.store(true, Relaxed);
        let cooled = self.lock().cool(0);
        self.punch(cooled);
    }

    fn punch(&self, cooled: Vec<Range<u32>>) {
        for range in cooled {
            let punched = self.region.punch(bytes(&range));
            debug_assert!(punched.is_ok(), "{punched:?}");
            self.lock().give(range);
        }
    }

    /// How many bytes are allocated.
    #[must_use]
    pub fn in_use(&self) -> usize {
        let total = self.region.len() / GRAIN;
        (total - self.lock().free() as usize) * GRAIN
    }

    /// How many bytes are free and yet in memory.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.lock().free_and_warm() as usize * GRAIN
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({} of {} bytes)", self.in_use(), self.region.len())
    }
}

fn grains(len: usize) -> Option<u32> {
    u32::try_from(len.div_ceil(GRAIN).max(1)).ok()
}

fn bytes(grains: &Range<u32>) -> Range<usize> {
    grains.start as usize * GRAIN..grains.end as usize * GRAIN
}

/// A part of an arena that was allocated; dropping it gives it back.
pub struct Block {
    arena: Arc<Arena>,
    grains: Range<u32>,
    owner: u32,
}

impl Block {
    /// Where it begins in the arena.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.grains.start as usize * GRAIN
    }

    /// How many bytes it has.
    #[allow(clippy::len_without_is_empty)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.grains.len() * GRAIN
    }

    /// The arena that it is of.
    #[must_use]
    pub fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    /// Copies `bytes` to `at`, while nobody else knows of the block.
    ///
    /// # Panics
    /// They do not fit.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(at <= self.len() && bytes.len() <= self.len() - at, "a block keeps within its bounds");
        self.arena.region.write(self.offset() + at, bytes);
    }

    /// As [`write`](Self::write), of memory that others may write to
    /// meanwhile: the bytes are then some mixture.
    ///
    /// # Safety
    /// `bytes` is valid for reads of `len` bytes.
    ///
    /// # Panics
    /// They do not fit.
    pub unsafe fn write_from(&mut self, at: usize, bytes: *const u8, len: usize) {
        assert!(at <= self.len() && len <= self.len() - at, "a block keeps within its bounds");
        // SAFETY: the caller's.
        unsafe { self.arena.region.write_from(self.offset() + at, bytes, len) };
    }

    /// Copies the first `len` bytes of another block here.
    pub fn copy(&mut self, other: &Self, len: usize) {
        assert!(len <= other.len(), "a block keeps within its bounds");
        let Some(start) = other.start() else { return };
        // SAFETY: the other block has so many bytes.
        unsafe { self.write_from(0, start, len) };
    }

    /// Adds its first `len` bytes to `bytes`.
    pub fn read(&self, len: usize, bytes: &mut Vec<u8>) {
        assert!(len <= self.len(), "a block keeps within its bounds");
        let Some(start) = self.start() else { return };
        let before = bytes.len();
        bytes.resize(before + len, 0);
        // SAFETY: the block has so many bytes, and the vector too.
        unsafe { start.copy_to_nonoverlapping(bytes[before..].as_mut_ptr(), len) };
    }

    fn start(&self) -> Option<*const u8> {
        let mapping = self.arena.region.mapping()?;
        // SAFETY: within the arena, all of which is mapped.
        Some(unsafe { mapping.base().as_ptr().add(self.offset()) })
    }

    /// Has room for `len` bytes, here if there is room behind it. False if
    /// not, and then nothing has changed.
    pub fn grow(&mut self, len: usize) -> bool {
        let Some(count) = grains(len) else { return false };
        let Some(more) = count.checked_sub(self.grains.len() as u32).filter(|&more| more > 0) else {
            return true;
        };
        let end = self.grains.end;
        if !self.arena.lock().take_at(end, more) {
            return false;
        }
        if !self.arena.warm(end..end + more) {
            self.arena.give(end..end + more);
            return false;
        }
        self.grains.end = end + more;
        true
    }

    /// Gives back what is not needed for `len` bytes.
    pub fn shrink(&mut self, len: usize) {
        let Some(count) = grains(len) else { return };
        let end = self.grains.end.min(self.grains.start + count);
        let rest = end..std::mem::replace(&mut self.grains.end, end);
        self.arena.give(rest);
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // In a forked child another thread may have held the lock for ever;
        // and the memory is the parent's.
        if std::process::id() == self.owner {
            self.arena.give(self.grains.clone());
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({:?})", bytes(&self.grains))
    }
}

#[cfg(test)]
mod tests;

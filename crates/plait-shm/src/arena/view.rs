//! What a receiver sees of a block.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use plait_sys::mapping::Mapping;
use plait_sys::pagemap;

use super::region::Region;
use super::{GRAIN, forks};
use crate::Result;

/// What keeps the sender from using a block again: dropping it says so.
pub type Hold = Arc<dyn Any + Send + Sync>;

/// So many mappings of blocks at most: the kernel grants a process 65,530 in
/// all (`vm.max_map_count`), and threads and the allocator need some.
const MOST: usize = 16_384;

/// The mappings of blocks in this process, by address.
static MAPPED: Mutex<BTreeMap<usize, Mapped>> = Mutex::new(BTreeMap::new());

/// How many views there are of bytes as others see them.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

struct Mapped {
    len: usize,
    /// Of the first byte, in the region.
    offset: usize,
    hold: Weak<dyn Any + Send + Sync>,
}

fn mapped() -> MutexGuard<'static, BTreeMap<usize, Mapped>> {
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whose memory the pointer points into.
#[allow(dead_code, reason = "it is held, not used")]
enum Memory {
    /// As the sender wrote it.
    Shared(Arc<Region>),
    /// Its pages until they are written to, then our own.
    Copied(Mapping),
    /// Our own.
    Private(Vec<u8>),
}

/// Bytes that were received, in memory of this process.
pub struct View {
    start: NonNull<u8>,
    len: usize,
    // Unmapped before the hold goes.
    memory: Memory,
    hold: Option<Hold>,
    /// How many forks there had been.
    born: u64,
    owner: u32,
}

// SAFETY: the pointer is into `memory`, which goes wherever the view goes.
unsafe impl Send for View {}
// SAFETY: the shared methods hand out the pointer; access is the business of
// who makes it.
unsafe impl Sync for View {}

impl View {
    /// The bytes of `range` as the sender wrote them, not to be written to.
    ///
    /// # Errors
    /// There is no memory, or the range lies outside.
    pub fn to_read(region: &Arc<Region>, range: Range<usize>, hold: Hold) -> Result<Self> {
        let range = region.check(range.start, range.len())?;
        let Some(mapping) = region.mapping() else { return Self::private(region, range) };
        // SAFETY: within the mapping (checked).
        let start = unsafe { mapping.base().add(range.start) };
        let memory = Memory::Shared(Arc::clone(region));
        // Relaxed: views and forks are made under the interpreter's lock.
        LOOKING.fetch_add(1, Relaxed);
        Ok(Self::over(start, range.len(), memory, hold))
    }

    /// The bytes of `range`, to be read and written: what is written is seen
    /// by this view alone.
    ///
    /// # Errors
    /// There is no memory, or the range lies outside.
    pub fn to_write(region: &Arc<Region>, range: Range<usize>, hold: Hold) -> Result<Self> {
        let range = region.check(range.start, range.len())?;
        if range.is_empty() || mapped().len() >= MOST {
            return Self::private(region, range);
        }
        // A page at least; and a grain has a whole number of them.
        let first = range.start / GRAIN * GRAIN;
        let Ok(mapping) = region.memory().map_copy(first..range.end) else {
            return Self::private(region, range);
        };
        if mapping.populate(range.start - first..mapping.len()).is_err() {
            return Self::private(region, range);
        }
        // SAFETY: within the mapping, which begins at `first`.
        let start = unsafe { mapping.base().add(range.start - first) };
        let entry = Mapped { len: range.len(), offset: range.start, hold: Arc::downgrade(&hold) };
        mapped().insert(start.as_ptr() as usize, entry);
        let memory = Memory::Copied(mapping);
        Ok(Self::over(start, range.len(), memory, hold))
    }

    fn over(start: NonNull<u8>, len: usize, memory: Memory, hold: Hold) -> Self {
        Self { start, len, memory, hold: Some(hold), born: forks::count(), owner: std::process::id() }
    }

    /// A copy; the sender's block is not needed any longer.
    fn private(region: &Region, range: Range<usize>) -> Result<Self> {
        let mut bytes = Vec::new();
        let no_memory = |_| plait_sys::Error::from_raw_os_error("malloc", 12);
        bytes.try_reserve_exact(range.len()).map_err(no_memory)?;
        bytes.resize(range.len(), 0);
        region.memory().read_at(range.start, &mut bytes)?;
        Ok(Self::of(bytes))
    }

    /// A view of these bytes.
    #[must_use]
    pub fn of(mut bytes: Vec<u8>) -> Self {
        let (start, len) = (NonNull::from(bytes.as_mut_slice()).cast(), bytes.len());
        Self { start, len, memory: Memory::Private(bytes), hold: None, born: 0, owner: std::process::id() }
    }

    /// The first byte: valid for [`len`](Self::len) bytes as long as this
    /// value lives, and to be written to only if
    /// [`is_writable`](Self::is_writable).
    #[must_use]
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A copy of the bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        // SAFETY: both have so many bytes, and they are not the same. Who
        // writes to the view meanwhile makes the copy a mixture.
        unsafe { self.start.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), self.len) };
        bytes
    }

    /// Whether the bytes may be written to.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !matches!(self.memory, Memory::Shared(_))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // In a forked child another thread may have held a lock for ever, and
        // what the hold would say is the parent's to say.
        if std::process::id() != self.owner {
            std::mem::forget(self.hold.take());
            return;
        }
        match self.memory {
            Memory::Private(_) => return,
            Memory::Shared(_) => {
                LOOKING.fetch_sub(1, Relaxed);
            }
            Memory::Copied(_) => {
                mapped().remove(&(self.start.as_ptr() as usize));
                self.memory = Memory::Private(Vec::new());
            }
        }
        if let Some(hold) = self.hold.take() {
            forks::release(hold, self.born);
        }
    }
}

/// Whether there are mappings of blocks.
pub(super) fn any() -> bool {
    LOOKING.load(Relaxed) > 0 || !mapped().is_empty()
}

/// In the child of a fork: what there is, is the parent's.
pub(super) fn forget_all() {
    mapped().clear();
    LOOKING.store(0, Relaxed);
}

/// Where bytes of this process lie in an arena.
pub struct Found {
    /// Of the view that they are part of.
    pub hold: Hold,
    /// In the region of the view.
    pub range: Range<usize>,
}

/// Finds the view that the `len` bytes at `address` are part of, if nobody has
/// written to them since they were received.
#[must_use]
pub fn find(address: usize, len: usize) -> Option<Found> {
    let found = {
        let mapped = mapped();
        let (&start, view) = mapped.range(..=address).next_back()?;
        let into = address - start;
        if into.checked_add(len).is_none_or(|end| end > view.len) {
            return None;
        }
        let range = view.offset + into..view.offset + into + len;
        Found { hold: view.hold.upgrade()?, range }
    };
    pagemap::is_untouched(address, len).then_some(found)
}

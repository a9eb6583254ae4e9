//! What a worker is told once, before the first task that needs it.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use plait_shm::arena::Block;
use plait_sys::eventfd::EventFd;
use plait_sys::pid;

use super::lending;
use super::packer::Parcel;
use super::piece::Pieces;
use super::wire::{self, Body, HEAD};

/// Something that a worker is told once, before the first task that needs it.
pub struct Image {
    id: u64,
    parcel: Parcel,
    /// What it relies on.
    needs: Arc<[Arc<Self>]>,
    /// Who is to hear of its end, if it is an object that tasks share. Others
    /// are forgotten when there are many.
    departed: Option<Arc<Departed>>,
}

impl Image {
    /// An image of this, with a number of its own.
    #[must_use]
    pub fn new(parcel: Parcel) -> Arc<Self> {
        Self::relying(parcel, Arc::default())
    }

    /// An image of this, which relies on others.
    #[must_use]
    pub fn relying(parcel: Parcel, needs: Arc<[Arc<Self>]>) -> Arc<Self> {
        Self::make(parcel, needs, None)
    }

    /// The image of an object, for whoever is handed its number: workers see
    /// it, and do not write to it, until it is gone here.
    pub(crate) fn shared(parcel: Parcel, needs: Arc<[Arc<Self>]>, departed: &Arc<Departed>) -> Arc<Self> {
        Self::make(parcel, needs, Some(Arc::clone(departed)))
    }

    fn make(mut parcel: Parcel, needs: Arc<[Arc<Self>]>, departed: Option<Arc<Departed>>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only to be unlike all others.
        let id = NEXT.fetch_add(1, Relaxed);
        parcel.address(wire::IMAGE, id, u64::from(departed.is_some()));
        Arc::new(Self { id, parcel, needs, departed })
    }

    /// Its number; never 0, and used once in this process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What it was made of.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.parcel.message[HEAD..]
    }

    /// What it relies on.
    #[must_use]
    pub fn needs(&self) -> &Arc<[Arc<Self>]> {
        &self.needs
    }

    /// What a worker makes of it, for its own process.
    ///
    /// # Errors
    /// None: this process has written it.
    pub fn read(&self) -> super::Result<(Body, Pieces)> {
        Ok(lending::read(Body::of(self.parcel.message.clone()), &self.parcel.blocks)?)
    }

    pub(crate) fn message(&self) -> &[u8] {
        &self.parcel.message
    }

    /// What it has in the arena.
    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.parcel.blocks
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Some(departed) = &self.departed {
            departed.add(self.id);
        }
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Image {}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({})", self.id)
    }
}

/// The shared objects of one pool that are gone, and of which its workers have
/// not been told so.
pub(crate) struct Departed {
    images: Mutex<Vec<u64>>,
    /// The supervisor's, who tells them.
    bell: Weak<EventFd>,
    owner: u32,
}

impl Departed {
    pub(crate) fn new(bell: &Arc<EventFd>) -> Arc<Self> {
        Arc::new(Self { images: Mutex::default(), bell: Arc::downgrade(bell), owner: pid::current() })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, image: u64) {
        // In a forked child the lock may be held for ever.
        if pid::current() != self.owner {
            return;
        }
        let first = {
            let mut images = self.lock();
            images.push(image);
            images.len() == 1
        };
        // Without a supervisor there are no workers.
        if first && let Some(bell) = self.bell.upgrade() {
            let rung = bell.ring();
            debug_assert!(rung.is_ok(), "{rung:?}");
        }
    }

    /// Those that have gone since this was last asked.
    pub(crate) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_numbers_of_their_own() {
        let (a, b) = (Image::new(Parcel::of(b"a")), Image::new(Parcel::of(b"a")));
        assert_ne!(a.id(), b.id());
        assert_eq!(wire::parse(a.message()), Some(([wire::IMAGE, a.id(), 0], &b"a"[..])));
        assert_eq!(a.bytes(), b"a");
    }

    #[test]
    fn the_end_of_a_shared_object_is_told_once() {
        let bell = Arc::new(EventFd::new().unwrap());
        let departed = Departed::new(&bell);
        let inner = Image::shared(Parcel::of(b"inner"), Arc::default(), &departed);
        let outer = Image::shared(Parcel::of(b"outer"), Arc::new([Arc::clone(&inner)]), &departed);
        let ids = (outer.id(), inner.id());
        drop(inner);
        assert!(departed.take().is_empty() && !bell.drain().unwrap());
        drop(outer);
        assert!(bell.drain().unwrap());
        let gone = departed.take();
        assert_eq!((gone[0], gone[1], gone.len()), (ids.0, ids.1, 2));
        assert!(departed.take().is_empty() && !bell.drain().unwrap());
    }
}

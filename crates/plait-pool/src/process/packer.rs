//! What a pickler writes, on its way to the other side.

use std::sync::Arc;

use plait_shm::arena::{Arena, Block, Hold, find};

use super::parcel::{self, Item};
use super::wire::{self, HEAD};

/// What is larger goes through the arena; a ring would copy it twice more.
const LARGE: usize = 64 * 1024;

/// Most messages need no more bytes.
const USUAL: usize = 256;

/// There is no memory for what is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory for the message")]
pub struct NoMemory;

enum Stream {
    /// A message without its head.
    Private(Vec<u8>),
    /// In the arena, and how much of it is written.
    Shared(Block, usize),
}

/// A buffer of a message.
enum Part {
    Block(Block, usize),
    /// One that others have too.
    Lent(Arc<Block>, usize),
    Same {
        index: usize,
        offset: usize,
        len: usize,
    },
    /// No buffer: an image that the stream names.
    Image(u64),
}

/// A stream of bytes and the buffers that belong to it, being written. What
/// is small, and what the arena has no room for, stays in private memory.
pub struct Packer {
    arena: Option<Arc<Arena>>,
    stream: Stream,
    parts: Vec<Part>,
}

impl Packer {
    /// Nothing yet.
    #[must_use]
    pub fn new(arena: Option<Arc<Arena>>) -> Self {
        Self { arena, stream: Stream::Private(empty()), parts: Vec::new() }
    }

    /// Forgets what was written.
    pub fn clear(&mut self) {
        *self = Self::new(self.arena.take());
    }

    /// How many bytes of the stream are written.
    #[allow(clippy::len_without_is_empty)]
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.stream {
            Stream::Private(message) => message.len() - HEAD,
            Stream::Shared(_, len) => *len,
        }
    }

    /// The bytes of a stream that is all in private memory.
    #[must_use]
    pub fn private(&self) -> Option<&[u8]> {
        match &self.stream {
            Stream::Private(message) if self.parts.is_empty() => message.get(HEAD..),
            _ => None,
        }
    }

    /// Adds to the stream.
    ///
    /// # Errors
    /// There is no memory.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), NoMemory> {
        self.reserve(bytes.len())?;
        match &mut self.stream {
            Stream::Private(message) => message.extend_from_slice(bytes),
            Stream::Shared(block, len) => {
                block.write(*len, bytes);
                *len += bytes.len();
            }
        }
        Ok(())
    }

    /// Has room for `more` bytes in the stream.
    fn reserve(&mut self, more: usize) -> Result<(), NoMemory> {
        let (len, total) = (self.len(), self.len().checked_add(more).ok_or(NoMemory)?);
        match &mut self.stream {
            Stream::Private(message) => {
                if total > LARGE
                    && let Some(mut block) = self.arena.as_ref().and_then(|arena| arena.block(total, true))
                {
                    block.write(0, &message[HEAD..]);
                    self.stream = Stream::Shared(block, len);
                    return Ok(());
                }
                message.try_reserve(more).map_err(|_| NoMemory)
            }
            Stream::Shared(block, _) => {
                // In steps that double where it grows by little each time.
                if block.len() >= total || block.grow(total.max(len * 2)) || block.grow(total) {
                    return Ok(());
                }
                let elsewhere = block.arena().block(total.max(len * 2), true);
                if let Some(mut larger) = elsewhere {
                    larger.copy(block, len);
                    self.stream = Stream::Shared(larger, len);
                    return Ok(());
                }
                let mut message = empty();
                message.try_reserve(total).map_err(|_| NoMemory)?;
                block.read(len, &mut message);
                self.stream = Stream::Private(message);
                Ok(())
            }
        }
    }

    /// Whether a buffer of `len` bytes is taken out of the stream.
    #[must_use]
    pub fn takes_out(len: usize) -> bool {
        len >= LARGE
    }

    /// Room for a buffer, to be filled and [added](Self::add). `None` if it
    /// is small, or there is no room: then it belongs in the stream.
    #[must_use]
    pub fn room(&self, len: usize) -> Option<Block> {
        if !Self::takes_out(len) {
            return None;
        }
        self.arena.as_ref()?.block(len, false)
    }

    /// Adds a buffer of `len` bytes, in a block that is filled.
    pub fn add(&mut self, block: Block, len: usize) {
        self.parts.push(Part::Block(block, len));
    }

    /// Adds a buffer that lies at the start of a block of this arena already.
    pub fn add_lent(&mut self, block: Arc<Block>, len: usize) {
        self.parts.push(Part::Lent(block, len));
    }

    /// The block that the `len` bytes at `address` are, if they came by one of
    /// this packer's own arena, as an answer that was part of its question
    /// does, and are as they came.
    #[must_use]
    pub fn find(&self, address: usize, len: usize) -> Option<Arc<Block>> {
        let arena = self.arena.as_ref()?;
        let found = find(address, len)?;
        let block = found.hold.downcast::<Block>().ok()?;
        // The receiver knows a block by where it begins.
        let fits = Arc::ptr_eq(block.arena(), arena)
            && found.range.start == block.offset()
            && is_worth_keeping(len, block.len());
        fits.then_some(block)
    }

    /// Adds a buffer that the other side has sent, and still has.
    pub fn add_same(&mut self, index: usize, offset: usize, len: usize) {
        self.parts.push(Part::Same { index, offset, len });
    }

    /// Has the other side keep an image of its own that the stream names, for
    /// as long as it has the message.
    pub fn mention(&mut self, image: u64) {
        self.parts.push(Part::Image(image));
    }

    /// Ends the message.
    #[must_use]
    pub fn finish(self) -> Parcel {
        let (mut items, mut blocks) = (Vec::new(), Vec::new());
        let (mut message, inline) = match self.stream {
            Stream::Private(message) if self.parts.is_empty() && !parcel::is_marked(&message) => {
                return Parcel { message, blocks };
            }
            Stream::Private(message) => (empty(), Some(message)),
            Stream::Shared(mut block, len) => {
                block.shrink(len);
                items.push(Item::Stream { offset: block.offset(), len });
                blocks.push(Arc::new(block));
                (empty(), None)
            }
        };
        for part in self.parts {
            match part {
                Part::Block(block, len) => {
                    items.push(Item::Buffer { offset: block.offset(), len });
                    blocks.push(Arc::new(block));
                }
                Part::Lent(block, len) => {
                    items.push(Item::Buffer { offset: block.offset(), len });
                    blocks.push(block);
                }
                Part::Same { index, offset, len } => items.push(Item::Same { index, offset, len }),
                Part::Image(id) => items.push(Item::Image { id }),
            }
        }
        parcel::begin(&items, &mut message);
        if let Some(inline) = inline {
            message.extend_from_slice(&inline[HEAD..]);
        }
        Parcel { message, blocks }
    }
}

/// Whether a part of a block may keep all of it. What is sent again takes no
/// copy, but holds its whole block for as long as anybody looks at it: so a
/// pool's memory can be eight times what is looked at, and no more, and only a
/// part that is cheap to copy is copied.
pub(crate) fn is_worth_keeping(part: usize, whole: usize) -> bool {
    part >= whole / 8
}

/// The place of a head.
fn empty() -> Vec<u8> {
    Parcel::with_capacity(USUAL).message
}

/// A message that is ready but for its head, and the blocks that it names:
/// they are kept until the receiver has done with them.
#[derive(Debug)]
pub struct Parcel {
    pub(crate) message: Vec<u8>,
    /// Those of the items that lie in the sender's arena, in order.
    pub(crate) blocks: Vec<Arc<Block>>,
}

impl Parcel {
    /// A message with room for `size` bytes.
    #[must_use]
    pub fn with_capacity(size: usize) -> Self {
        let mut message = Vec::with_capacity(HEAD + size);
        message.resize(HEAD, 0);
        Self { message, blocks: Vec::new() }
    }

    /// A message of these bytes alone.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut parcel = Self::with_capacity(bytes.len());
        parcel.message.extend_from_slice(bytes);
        parcel
    }

    /// Where bytes are to be added, to what has nothing in an arena.
    pub fn body(&mut self) -> &mut Vec<u8> {
        &mut self.message
    }

    /// How many bytes it carries, with those in the arena.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.message.len() + self.blocks.iter().map(|block| block.len()).sum::<usize>()
    }
}

impl Parcel {
    /// Gives the message its head.
    pub(crate) fn address(&mut self, kind: u64, first: u64, second: u64) {
        wire::write_head(&mut self.message, kind, first, second);
    }
}

/// A block as what keeps it from being used again.
pub(crate) fn hold(block: &Arc<Block>) -> Hold {
    Arc::clone(block) as Hold
}

#[cfg(test)]
#[path = "packer_tests.rs"]
mod tests;

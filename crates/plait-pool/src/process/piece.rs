//! The parts of a message that lie in an arena, as the receiver has them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use plait_shm::arena::{Hold, Region, View};

use super::Result;
use super::image::Image;

/// A part of a message, kept for as long as anybody looks at it.
#[derive(Clone)]
pub struct Piece {
    region: Arc<Region>,
    range: Range<usize>,
    hold: Hold,
}

impl Piece {
    /// `range` lies within the region: who makes a piece has checked it.
    pub(crate) fn new(region: &Arc<Region>, range: Range<usize>, hold: Hold) -> Self {
        Self { region: Arc::clone(region), range, hold }
    }

    /// The bytes as they were sent.
    ///
    /// # Errors
    /// There is no memory.
    pub fn to_read(&self) -> Result<View> {
        Ok(View::to_read(&self.region, self.range.clone(), Arc::clone(&self.hold))?)
    }

    /// The bytes, to be written to without anybody else seeing that.
    ///
    /// # Errors
    /// There is no memory.
    pub fn to_write(&self) -> Result<View> {
        Ok(View::to_write(&self.region, self.range.clone(), Arc::clone(&self.hold))?)
    }

    /// Where it lies.
    #[cfg(test)]
    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

impl PartialEq for Piece {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.region, &other.region) && self.range == other.range
    }
}

impl Eq for Piece {}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({:?})", self.range)
    }
}

/// What a message has in an arena.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    /// The bytes of the body, if they are not in the message.
    pub stream: Option<Piece>,
    /// The buffers that belong to it, in order.
    pub buffers: Vec<Piece>,
    /// The shared objects that an answer names.
    pub images: Vec<Arc<Image>>,
}

impl Pieces {
    /// How many bytes there are.
    pub(crate) fn weight(&self) -> usize {
        self.stream.iter().chain(&self.buffers).map(|piece| piece.range.len()).sum()
    }
}

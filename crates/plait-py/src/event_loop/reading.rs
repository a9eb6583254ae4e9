//! The buffer that everything is read into.
//!
//! It is the loop's and is reused: one of this size is above the allocator's
//! map threshold, and mapping it for each read would cost more than the read
//! (DESIGN.md).

use pyo3::prelude::*;

use super::core::Loop;

/// The most that one read takes, as in asyncio; a longer datagram is cut.
pub(super) const READ_SIZE: usize = 256 * 1024;

impl Loop {
    /// Gives `f` the buffer, [`READ_SIZE`] long.
    pub(super) fn with_read_buffer<R>(&self, py: Python<'_>, f: impl FnOnce(&mut [u8]) -> R) -> R {
        // Taken, not borrowed: making an object can run the collector, and
        // that any code at all.
        let mut buffer = std::mem::take(&mut *self.read_buffer.borrow(py));
        buffer.resize(READ_SIZE, 0);
        let result = f(&mut buffer);
        *self.read_buffer.borrow(py) = buffer;
        result
    }
}

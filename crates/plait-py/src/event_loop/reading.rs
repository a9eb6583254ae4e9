//! The buffer that everything is read into.
//!
//! It is the loop's and is reused: one of this size is above the allocator's
//! map threshold, and mapping it for each read would cost more than the read
//! (DESIGN.md).

use std::os::fd::RawFd;

use plait_sys::stream;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::core::Loop;
use crate::hot::spare::Spare;

/// The most that one read takes, as in asyncio; a longer datagram is cut.
pub(super) const READ_SIZE: usize = 256 * 1024;

/// Messages from this size on are received where they stay, if the one before
/// was as long. For shorter ones the copy costs less than a second buffer for
/// the kernel to look at: an echo of 10 KiB takes 2 % less of a server's time
/// without the copy, one of 4 KiB 2 % more.
const STRAIGHT: usize = 8192;

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

    /// Receives what there is, as an object for a protocol: an empty one at
    /// the end of the input.
    pub(super) fn receive_bytes<'py>(
        &self,
        py: Python<'py>,
        fd: RawFd,
    ) -> plait_sys::Result<Option<Bound<'py, PyBytes>>> {
        let spare = self.spare.borrow(py).take();
        self.with_read_buffer(py, |buffer| match spare {
            Some(spare) if spare.len(py) >= STRAIGHT => receive_into(py, fd, spare, buffer),
            spare => {
                let count = stream::recv(fd, buffer)?;
                Ok(count.map(|count| match spare {
                    Some(mut spare) if spare.len(py) == count => {
                        spare.as_mut(py).copy_from_slice(&buffer[..count]);
                        spare.into_bytes(py)
                    }
                    _ => PyBytes::new(py, &buffer[..count]),
                }))
            }
        })
    }

    /// Keeps `data`, which a protocol was given, for the next message, if
    /// nobody else has kept it.
    pub(super) fn reuse(&self, data: Bound<'_, PyBytes>) {
        let py = data.py();
        if let Some(spare) = Spare::reclaim(data) {
            let before = self.spare.borrow(py).replace(spare);
            drop(before);
        }
    }
}

/// Receives into `spare`, which is returned if that fills it, and what is more
/// into `buffer`.
fn receive_into<'py>(
    py: Python<'py>,
    fd: RawFd,
    mut spare: Spare,
    buffer: &mut [u8],
) -> plait_sys::Result<Option<Bound<'py, PyBytes>>> {
    let first = spare.as_mut(py);
    let size = first.len();
    let Some(count) = stream::recv_split(fd, first, &mut buffer[size..])? else { return Ok(None) };
    if count == size {
        return Ok(Some(spare.into_bytes(py)));
    }
    if count < size {
        return Ok(Some(PyBytes::new(py, &first[..count])));
    }
    buffer[..size].copy_from_slice(first);
    Ok(Some(PyBytes::new(py, &buffer[..count])))
}

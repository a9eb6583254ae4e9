//! The allocator's idea of what is large.
//!
//! glibc maps blocks from a threshold on, 128 KiB at first, and gives the end
//! of the heap back to the kernel as soon as so much of it is free. A program
//! that makes and frees buffers of such sizes all the time (a stream of large
//! messages does) pays for a system call and for fresh pages at each: half of
//! an echo of 100 KiB through asyncio's streams. The threshold is dynamic
//! (mallopt(3)): when a mapped block is freed, it rises to that block's size,
//! and what may stay free at the heap's end to twice as much. So one block
//! that is made and freed changes it, as any program does that frees an array
//! of that size. Other allocators have no such threshold and lose nothing.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Has the allocator keep blocks of up to `size` bytes for the next to come.
/// Up to twice as much of the heap then stays with the process. More than 32
/// MiB it never keeps.
pub fn keep_blocks(size: usize) {
    static KEPT: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: a block that is made twice does no harm.
    if KEPT.fetch_max(size, Relaxed) < size {
        // The compiler may not leave out a pair that it cannot see through.
        drop(black_box(Vec::<u8>::with_capacity(size)));
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_half_a_mebibyte_are_not_mapped() {
        // A mapped block begins behind a header of 16 bytes on a page of its own.
        let mapped = |block: &Vec<u8>| block.as_ptr() as usize % 4096 == 16;
        keep_blocks(1 << 20);
        // Neighbours in a heap cannot both begin there: their sizes differ by less.
        let blocks = [0, 1000].map(|more| black_box(Vec::<u8>::with_capacity((1 << 19) + more)));
        assert!(!blocks.iter().all(mapped));
    }
}

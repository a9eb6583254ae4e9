//! Which pages of a private mapping are still the file's.
//!
//! `/proc/self/pagemap` has 64 bits for each page (Documentation/admin-guide/
//! mm/pagemap.rst): bit 63 says that the page is there, 62 that it is swapped
//! out, 61 that it is a page of a file (or of shared memory). What a process
//! has written to in a private mapping is no page of the file any more. A page
//! that is neither there nor swapped was never touched, or was the file's and
//! has been taken away.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::param::page_size;

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;

/// Pages asked for at a time.
const CHUNK: usize = 1024;

/// Whether nobody has written to the `len` bytes at `address`, which lie in a
/// private mapping. False also where the kernel does not tell.
#[must_use]
pub fn is_untouched(address: usize, len: usize) -> bool {
    let Some(end) = address.checked_add(len) else { return false };
    // Opened each time: in a child of a fork, one kept would tell of the parent.
    let Ok(pagemap) = File::open("/proc/self/pagemap") else { return false };
    let page = page_size();
    let mut pages = address / page..end.div_ceil(page);
    let mut bytes = [0; 8 * CHUNK];
    while !pages.is_empty() {
        let count = pages.len().min(CHUNK);
        let bytes = &mut bytes[..8 * count];
        if pagemap.read_exact_at(bytes, 8 * pages.start as u64).is_err() {
            return false;
        }
        let of_file = bytes.chunks_exact(8).all(|entry| {
            let mut number = [0; 8];
            number.copy_from_slice(entry);
            let bits = u64::from_ne_bytes(number) & (PRESENT | SWAPPED | OF_FILE);
            bits == 0 || bits == PRESENT | OF_FILE
        });
        if !of_file {
            return false;
        }
        pages.start += count;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::SparseMemory;

    #[test]
    fn tells_what_was_written_to() {
        let (page, memory) = (page_size(), SparseMemory::create("plait-test", 1 << 26).unwrap());
        let whole = memory.map().unwrap();
        memory.fill(&whole, 0..1 << 24).unwrap();
        let copy = memory.map_copy(page..1 << 24).unwrap();
        let (base, all) = (copy.base().as_ptr() as usize, copy.len());
        assert!(is_untouched(base, all));
        copy.populate(0..all).unwrap();
        assert!(is_untouched(base, all));
        // SAFETY: within the mapping, which only this test uses.
        unsafe { copy.base().add(3 * page + 5).write_volatile(1) };
        assert!(!is_untouched(base, all));
        assert!(is_untouched(base, 3 * page));
        assert!(!is_untouched(base, 3 * page + 1));
        assert!(!is_untouched(base + 4 * page - 1, 1));
        assert!(is_untouched(base + 4 * page, all - 4 * page));
        assert!(!is_untouched(base, usize::MAX));
    }
}

//! How large the arenas are.
//!
//! An arena takes address space; memory only where it is used, which is the
//! same memory that a private copy would take. So it is large, unless address
//! space is what the process has little of.

use plait_shm::arena::GRAIN;
use plait_sys::limits;

/// What stays in memory for the next large task, of all arenas of a pool.
const KEEP: usize = 256 << 20;
/// What a worker's keeps at least and at most.
const LEAST: usize = 16 << 20;
const MOST: usize = 128 << 20;

/// The measures of an arena, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// How large it is.
    pub size: usize,
    /// How much of what is free stays in memory.
    pub keep: usize,
}

impl Sizes {
    /// That of requests, which the parent allocates.
    #[must_use]
    pub fn of_requests() -> Self {
        Self { size: size(), keep: KEEP }
    }

    /// That of the results of one of `workers` workers.
    #[must_use]
    pub fn of_results(workers: usize) -> Self {
        let keep = (KEEP / workers.max(1)).clamp(LEAST, MOST);
        Self { size: size(), keep }
    }
}

fn size() -> usize {
    let half = limits::physical_memory() / 2;
    // The parent maps one for each worker beside its own.
    let share = limits::address_space().map_or(u64::MAX, |limit| limit / 64);
    let size = usize::try_from(half.min(share)).unwrap_or(usize::MAX);
    (size / GRAIN).max(1) * GRAIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_workers_keep_less() {
        let keeps = [1, 4, 1000].map(|workers| Sizes::of_results(workers).keep);
        assert_eq!(keeps, [MOST, KEEP / 4, LEAST]);
        assert!(Sizes::of_requests().size.is_multiple_of(GRAIN));
    }
}

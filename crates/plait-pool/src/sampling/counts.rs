//! Samples, counted under the number of the watch that they belong to.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// What a sample found the thread at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It held the interpreter lock.
    Holding,
    /// It ran without the lock, or waited for the lock or for a core.
    Running,
    /// These waited without the lock: on a socket,
    Socket,
    /// for a time,
    Sleep,
    /// on a file,
    File,
    /// on a pipe,
    Pipe,
    /// on another lock,
    Lock,
    /// for the end of a process,
    Process,
    /// on something else.
    Other,
}

/// The waits and the words for them, which are the contract with Python.
const WAITS: [(Found, &str); 7] = [
    (Found::Socket, "socket"),
    (Found::Sleep, "sleep"),
    (Found::File, "file"),
    (Found::Pipe, "pipe"),
    (Found::Lock, "lock"),
    (Found::Process, "process"),
    (Found::Other, "other"),
];

const KINDS: usize = WAITS.len() + 2;

/// What was counted during one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// All samples: one for each period that went by.
    pub samples: u32,
    /// Those in which the thread held the interpreter lock.
    pub held: u32,
    /// Those in which it waited, by what on; none that is 0.
    pub waits: Vec<(&'static str, u32)>,
    /// How often it was seen to let go of the lock, under a close look,
    pub released: u32,
    /// and for how many nanoseconds it was looked at closely.
    pub closely: u32,
}

/// One count for each kind, with its epoch in the upper half: a count of
/// another epoch is none, and nothing has to be cleared.
///
/// Only the sampling thread writes, so it needs no read-modify-write, and a
/// reader sees whole counts. Relaxed: nothing else is published by them; a
/// sample that is counted while the watch ends may be missed.
#[derive(Debug, Default)]
pub(super) struct Counts {
    kinds: [AtomicU64; KINDS],
    released: AtomicU64,
    closely: AtomicU64,
}

impl Counts {
    /// Counts one sample, which stands for `weight` periods. For the sampling
    /// thread alone.
    pub(super) fn add(&self, epoch: u32, found: Found, weight: u32) {
        more(&self.kinds[found as usize], epoch, weight);
    }

    /// Counts what a close look of so many nanoseconds has seen; likewise.
    pub(super) fn add_close(&self, epoch: u32, released: u32, nanos: u32) {
        more(&self.released, epoch, released);
        more(&self.closely, epoch, nanos);
    }

    /// What was counted under `epoch`.
    pub(super) fn of(&self, epoch: u32) -> Counted {
        let counts: [u32; KINDS] = std::array::from_fn(|kind| under(&self.kinds[kind], epoch));
        let waits = WAITS.iter().map(|&(found, word)| (word, counts[found as usize]));
        Counted {
            samples: counts.iter().fold(0, |sum, &count| sum.saturating_add(count)),
            held: counts[Found::Holding as usize],
            waits: waits.filter(|&(_, count)| count > 0).collect(),
            released: under(&self.released, epoch),
            closely: under(&self.closely, epoch),
        }
    }
}

fn more(count: &AtomicU64, epoch: u32, by: u32) {
    let of = u64::from(epoch) << 32;
    let before = count.load(Relaxed);
    let before = if before >> 32 == of >> 32 { before } else { of };
    // A count that is full stays so; one of samples takes more than a week.
    count.store(of | u64::from((before as u32).saturating_add(by)), Relaxed);
}

fn under(count: &AtomicU64, epoch: u32) -> u32 {
    let count = count.load(Relaxed);
    if count >> 32 == u64::from(epoch) { count as u32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_belong_to_one_epoch() {
        let counts = Counts::default();
        for found in [Found::Holding, Found::Holding, Found::Running, Found::Pipe] {
            counts.add(7, found, 1);
        }
        counts.add_close(7, 3, 500);
        counts.add_close(7, 2, 500);
        let nothing = Counted { samples: 0, held: 0, waits: vec![], released: 0, closely: 0 };
        let expected = Counted { samples: 4, held: 2, waits: vec![("pipe", 1)], released: 5, closely: 1000 };
        assert_eq!(counts.of(7), expected);
        assert_eq!(counts.of(8), nothing);
        counts.add(8, Found::Pipe, 1);
        assert_eq!(counts.of(8), Counted { samples: 1, waits: vec![("pipe", 1)], ..nothing });
    }

    #[test]
    fn a_full_count_stays_full_and_in_its_epoch() {
        let counts = Counts::default();
        for weight in [u32::MAX - 1, 4] {
            counts.add(7, Found::Holding, weight);
        }
        assert_eq!(counts.of(7).held, u32::MAX);
        assert_eq!(counts.of(8).held, 0);
    }

    #[test]
    fn a_late_sample_of_an_old_epoch_counts_for_nobody() {
        let counts = Counts::default();
        counts.add(1, Found::Other, 1);
        assert_eq!(counts.of(2).samples, 0);
        assert_eq!(counts.of(0).samples, 0);
    }

    #[test]
    fn every_kind_has_a_count_of_its_own() {
        let counts = Counts::default();
        for (found, _) in WAITS {
            counts.add(3, found, 1);
        }
        let counted = counts.of(3);
        assert_eq!(counted.waits, WAITS.map(|(_, word)| (word, 1)).to_vec());
        assert_eq!((counted.samples, counted.held), (7, 0));
    }
}

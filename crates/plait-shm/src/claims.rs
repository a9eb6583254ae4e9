//! Whether a task that was handed to a worker has begun: decided by one
//! compare-and-swap on its claim. The races are in README.md.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::prim::AtomicU64;
use crate::ring::Corrupt;

const QUEUED: u64 = 1;
const BEGUN: u64 = 2;
const REVOKED: u64 = 3;

/// The sequence of a task in the upper bits, its state in the lower two.
fn word(sequence: u64, state: u64) -> u64 {
    sequence << 2 | state
}

#[repr(C)]
struct Claim {
    word: AtomicU64,
    /// When the worker began it, in nanoseconds of the monotonic clock.
    since: AtomicU64,
}

/// The claims on the last tasks that a worker was handed. A task has the one
/// at its sequence modulo their number; the sequence in it tells it from those
/// who had it before.
#[repr(C, align(128))]
pub(crate) struct Claims<const N: usize> {
    claims: [Claim; N],
}

impl<const N: usize> Claims<N> {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        let none = |_| Claim { word: AtomicU64::new(0), since: AtomicU64::new(0) };
        Self { claims: std::array::from_fn(none) }
    }

    fn of(&self, sequence: u64) -> &Claim {
        &self.claims[(sequence % N as u64) as usize]
    }

    /// The parent, before it sends the task: the worker may begin it. The task
    /// `N` before it must have been answered or taken back.
    pub(crate) fn offer(&self, sequence: u64) {
        // Relaxed: published with the message, by the Release of the ring's
        // tail. A worker that is still to read a message which was revoked
        // sees another sequence or the revocation, and skips it either way.
        self.of(sequence).word.store(word(sequence, QUEUED), Relaxed);
    }

    /// The worker, when it has read the task: true if it is to run it. False:
    /// it was taken back, go on to the next.
    pub(crate) fn begin(&self, sequence: u64, now: u64) -> bool {
        let claim = self.of(sequence);
        claim.since.store(now, Relaxed);
        // Release: `since` comes before; pairs with the Acquire in `begun`.
        let (from, to) = (word(sequence, QUEUED), word(sequence, BEGUN));
        claim.word.compare_exchange(from, to, AcqRel, Relaxed).is_ok()
    }

    /// The parent: takes the task back. False: it has begun.
    pub(crate) fn revoke(&self, sequence: u64) -> Result<bool, Corrupt> {
        let (from, to) = (word(sequence, QUEUED), word(sequence, REVOKED));
        match self.of(sequence).word.compare_exchange(from, to, Release, Relaxed) {
            Ok(_) => Ok(true),
            Err(found) if found == word(sequence, BEGUN) => Ok(false),
            Err(_) => Err(Corrupt("claim")),
        }
    }

    /// The parent: when the task was begun, as the worker says; `None` if it
    /// was not.
    pub(crate) fn begun(&self, sequence: u64) -> Option<u64> {
        let claim = self.of(sequence);
        // Acquire: pairs with the Release in `begin`.
        (claim.word.load(Acquire) == word(sequence, BEGUN)).then(|| claim.since.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(loom))]
    #[test]
    fn a_task_is_begun_or_taken_back() {
        let claims = Claims::<2>::new();
        claims.offer(1);
        assert_eq!(claims.begun(1), None);
        assert!(claims.begin(1, 77));
        assert_eq!(claims.begun(1), Some(77));
        assert_eq!(claims.revoke(1), Ok(false));
        claims.offer(2);
        assert_eq!(claims.revoke(2), Ok(true));
        assert!(!claims.begin(2, 78));
        // The same word again: what was is no claim on it.
        claims.offer(3);
        assert!(!claims.begin(1, 79));
        assert!(claims.begin(3, 80));
        assert_eq!(claims.revoke(2), Err(Corrupt("claim")));
    }

    #[cfg(loom)]
    mod interleaved {
        use super::*;
        use crate::ring::tests::Private;
        use crate::ring::{Reader, Step, Writer};
        use loom::sync::{Arc, Notify};
        use loom::thread::{self, JoinHandle};

        /// Starts a worker that reads two tasks, and dies at the beginning of
        /// its next when it has begun `lives`. It returns what it has begun.
        fn worker<const N: usize>(
            memory: &Arc<Private>,
            claims: &Arc<Claims<N>>,
            wake: &Arc<Notify>,
            lives: usize,
        ) -> JoinHandle<Vec<u64>> {
            let (memory, claims, wake) = (Arc::clone(memory), Arc::clone(claims), Arc::clone(wake));
            thread::spawn(move || {
                let (mut reader, mut begun) = (Reader::new(memory), Vec::new());
                for sequence in 1..=2 {
                    while reader.next().unwrap() == Step::Empty {
                        wake.wait();
                    }
                    if begun.len() < lives && claims.begin(sequence, 10 + sequence) {
                        begun.push(sequence);
                    }
                }
                begun
            })
        }

        /// One word for all: offered, taken back if not begun, and offered
        /// again though the worker may not have read the first message yet.
        #[test]
        fn loom_a_task_is_begun_or_taken_back_never_both() {
            loom::model(|| {
                let (memory, claims) = (Private::new(), Arc::new(Claims::<1>::new()));
                let wake = Arc::new(Notify::new());
                let theirs = worker(&memory, &claims, &wake, 2);
                let mut writer = Writer::new(memory);
                let mut kept = Vec::new();
                for sequence in 1..=2 {
                    claims.offer(sequence);
                    assert_eq!(writer.push(&[sequence as u8], &mut 0), Ok(true));
                    wake.notify();
                    if !claims.revoke(sequence).unwrap() {
                        // `since` is seen with the claim.
                        assert_eq!(claims.begun(sequence), Some(10 + sequence));
                        kept.push(sequence);
                    }
                }
                assert_eq!(theirs.join().unwrap(), kept);
            });
        }

        /// After a death the claims say what had begun, whatever was taken
        /// back meanwhile.
        #[test]
        fn loom_a_death_leaves_every_task_begun_or_not() {
            loom::model(|| {
                let (memory, claims) = (Private::new(), Arc::new(Claims::<2>::new()));
                let wake = Arc::new(Notify::new());
                let theirs = worker(&memory, &claims, &wake, 1);
                let mut writer = Writer::new(memory);
                for sequence in 1..=2 {
                    claims.offer(sequence);
                    assert_eq!(writer.push(&[sequence as u8], &mut 0), Ok(true));
                    wake.notify();
                }
                let taken_back = claims.revoke(1).unwrap();
                let begun = theirs.join().unwrap();
                assert_eq!(begun, if taken_back { [2] } else { [1] });
                assert_eq!(claims.revoke(2), Ok(!begun.contains(&2)));
            });
        }
    }
}

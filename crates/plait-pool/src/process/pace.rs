//! How many tasks a worker should have at hand.

use std::time::Duration;

use plait_shm::CLAIMS;

/// So much work is handed ahead: several times what it takes to wake whoever
/// hands out more, and little enough that tasks begin nearly in their order.
const AHEAD: u64 = Duration::from_micros(250).as_nanos() as u64;
/// The one that runs and the next.
const LEAST: usize = 2;
/// Each task moves the mean by this part of its distance.
const WEIGHT: u64 = 8;
/// What takes longer counts as this, so that one of them is soon forgotten.
const LONGEST: u64 = Duration::from_secs(10).as_nanos() as u64;
/// A task is late after so many times the mean...
const LATE: u64 = 4;
/// ...and no sooner than this.
const PATIENCE: u64 = Duration::from_millis(1).as_nanos() as u64;

/// What tasks take, as those who ran them say: a moving mean.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    nanos: Option<u64>,
}

impl Pace {
    pub(crate) fn learn(&mut self, nanos: u64) {
        let nanos = nanos.min(LONGEST);
        let mean = self.nanos.unwrap_or(nanos);
        self.nanos = Some((mean * (WEIGHT - 1) + nanos) / WEIGHT);
    }

    /// How many tasks to hand to a worker, with the one that it runs.
    pub(crate) fn depth(&self) -> usize {
        let Some(nanos) = self.nanos else { return LEAST };
        usize::try_from(AHEAD / nanos.max(1)).unwrap_or(CLAIMS).clamp(LEAST, CLAIMS)
    }

    /// Whether tasks are so short that several are handed ahead.
    pub(crate) fn is_fast(&self) -> bool {
        self.depth() > LEAST
    }

    /// After how many nanoseconds a task is late.
    pub(crate) fn patience(&self) -> u64 {
        (LATE * self.nanos.unwrap_or_default()).max(PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(durations: &[u64]) -> Pace {
        let mut pace = Pace::default();
        durations.iter().for_each(|&nanos| pace.learn(nanos));
        pace
    }

    #[test]
    fn short_tasks_are_handed_far_ahead_and_long_ones_are_not() {
        assert_eq!(after(&[]).depth(), LEAST);
        assert_eq!(after(&[0; 100]).depth(), CLAIMS);
        assert_eq!(after(&[1_000; 100]).depth(), CLAIMS);
        assert_eq!(after(&[10_000; 100]).depth(), 25);
        assert_eq!(after(&[10_000_000]).depth(), LEAST);
        assert_eq!(after(&[u64::MAX; 100]).depth(), LEAST);
    }

    #[test]
    fn a_long_task_is_forgotten_after_a_hundred_short_ones() {
        let mut durations = vec![1_000; 100];
        durations.push(u64::MAX);
        assert!(!after(&durations).is_fast());
        durations.extend([1_000; 100]);
        assert!(after(&durations).is_fast());
    }

    #[test]
    fn late_is_relative_but_never_sooner_than_a_millisecond() {
        assert_eq!(after(&[]).patience(), PATIENCE);
        assert_eq!(after(&[1_000; 100]).patience(), PATIENCE);
        assert_eq!(after(&[10_000_000; 100]).patience(), 40_000_000);
    }
}

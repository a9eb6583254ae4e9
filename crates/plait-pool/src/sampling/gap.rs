//! The time between two samples.

use std::time::Duration;

/// After so many looks at one pace the pace is halved.
const LOOKS: u32 = 256;

/// So often at most: a look in 64 periods.
const HALVED: u32 = 6;

/// From half the period to one and a half, so that what a program does at a
/// steady pace is not met always at one point; longer in a long watch.
#[derive(Debug)]
pub(super) struct Gap {
    period: u64,
    steady: bool,
    random: u64,
    /// What is watched now; 0: nobody.
    epoch: u32,
    looks: u32,
    halved: u32,
}

impl Gap {
    pub(super) fn new(period: Duration, steady: bool) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(2);
        Self { period, steady, random: 0x9e37_79b9_7f4a_7c15, epoch: 0, looks: 0, halved: 0 }
    }

    /// How many periods a look in this watch stands for: those of the gap
    /// before it.
    pub(super) fn weight(&mut self, epoch: u32) -> u32 {
        if self.epoch != epoch {
            self.reset();
            self.epoch = epoch;
        }
        let weight = 1 << self.halved;
        self.looks = self.looks.wrapping_add(1);
        if self.looks == LOOKS && !self.steady {
            self.looks = 0;
            self.halved = HALVED.min(self.halved + 1);
        }
        weight
    }

    /// Nobody is watched: at full pace again.
    pub(super) fn reset(&mut self) {
        (self.epoch, self.looks, self.halved) = (0, 0, 0);
    }

    /// Whether the look that was weighed last is one of the first in its watch.
    pub(super) fn is_close(&self) -> bool {
        !self.steady && self.halved == 0 && self.looks <= super::CLOSE_LOOKS
    }

    pub(super) fn is_slow(&self) -> bool {
        self.halved > 0
    }

    /// Marsaglia's xorshift64 (Journal of Statistical Software 8 (14), 2003).
    pub(super) fn next(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let nanos = (self.period / 2).saturating_add(self.random % self.period);
        Duration::from_nanos(nanos.saturating_mul(1 << self.halved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_micros(200);

    #[test]
    fn gaps_are_around_the_period() {
        let mut gap = Gap::new(PERIOD, false);
        let gaps: Vec<Duration> = (0..1000).map(|_| gap.next()).collect();
        assert!(gaps.iter().all(|gap| (PERIOD / 2..PERIOD * 3 / 2).contains(gap)));
        let mean = gaps.iter().sum::<Duration>() / 1000;
        assert!((PERIOD * 9 / 10..PERIOD * 11 / 10).contains(&mean));
    }

    #[test]
    fn a_long_watch_is_looked_at_less_often_and_counts_the_same() {
        let mut gap = Gap::new(PERIOD, false);
        let (mut counted, mut time) = (0_u32, Duration::ZERO);
        for _ in 0..10 * LOOKS {
            counted += gap.weight(1);
            time += gap.next();
        }
        assert!(gap.is_slow());
        let periods = time.as_secs_f64() / PERIOD.as_secs_f64();
        assert!((0.95..1.05).contains(&(f64::from(counted) / periods)));
        assert!(f64::from(counted) > 20.0 * f64::from(10 * LOOKS));
        assert_eq!(gap.weight(2), 1);
        assert!(!gap.is_slow());
    }

    #[test]
    fn a_steady_one_stays_at_its_pace() {
        let mut gap = Gap::new(PERIOD, true);
        assert!((0..10 * LOOKS).all(|_| gap.weight(1) == 1 && gap.next() < PERIOD * 2));
    }

    #[test]
    fn a_period_without_end_does_not_overflow() {
        let mut gap = Gap::new(Duration::MAX, false);
        for _ in 0..10 * LOOKS {
            gap.weight(1);
            assert!(gap.next() > Duration::from_secs(1));
        }
    }
}

//! The monotonic clock, on the scale of Python's `time.monotonic()`.

use std::ops::Add;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point on `CLOCK_MONOTONIC`, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// Now. CPython's `time.monotonic()` reads the same clock, so the two
    /// can be compared.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Self(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    /// Now, as of the kernel's last tick (1 to 10 ms ago at most), for a fifth
    /// of the price: it reads no counter.
    #[must_use]
    pub fn last_tick() -> Self {
        let now = clock_gettime(ClockId::MonotonicCoarse);
        Self(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    /// The point `nanos` nanoseconds after the clock's origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The point `seconds` after the clock's origin; what lies before the
    /// origin (or is not a number) is the origin, what no clock reaches is
    /// the end of time.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * 1e9) as u64)
    }

    /// Seconds since the clock's origin.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 * 1e-9
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_runs_backwards() {
        let first = Instant::now();
        assert!(Instant::now() >= first);
        assert!(Instant::last_tick() <= Instant::now());
    }

    #[test]
    fn conversions_saturate() {
        assert_eq!(Instant::from_secs_f64(-1.0), Instant::from_nanos(0));
        assert_eq!(Instant::from_secs_f64(f64::NAN), Instant::from_nanos(0));
        assert_eq!(Instant::from_secs_f64(f64::INFINITY).as_nanos(), u64::MAX);
        assert_eq!(Instant::from_secs_f64(1.5).as_nanos(), 1_500_000_000);
        assert_eq!(Instant::from_nanos(u64::MAX) + Duration::from_secs(1), Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::from_nanos(1).saturating_since(Instant::from_nanos(2)), Duration::ZERO);
    }
}

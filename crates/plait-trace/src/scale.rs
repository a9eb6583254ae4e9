//! A time axis: round steps, and labels in one unit.

use std::time::Duration;

/// A mark on the axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Where, as a fraction of the axis.
    pub at: f64,
    /// What it says.
    pub label: String,
}

/// The axis of a stretch of time that begins at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Nanoseconds; never zero, so that it divides.
    span: u128,
    /// Nanoseconds between two ticks: 1, 2 or 5 times a power of ten.
    step: u128,
}

impl Scale {
    /// An axis of length `span` with at most `intervals` steps (at least one).
    #[must_use]
    pub fn new(span: Duration, intervals: usize) -> Self {
        let span = span.as_nanos().max(1);
        let intervals = intervals.max(1) as u128;
        let mut power = 1;
        let step = loop {
            let fits = [1, 2, 5].into_iter().map(|digit| digit * power).find(|step| step * intervals >= span);
            match fits {
                Some(step) => break step,
                None => power *= 10,
            }
        };
        Self { span, step }
    }

    /// Where on the axis a time lies: 0 at its beginning, 1 at its end.
    #[must_use]
    pub fn fraction(&self, time: Duration) -> f64 {
        time.as_nanos() as f64 / self.span as f64
    }

    /// The ticks, from zero to the last that lies on the axis.
    #[must_use]
    pub fn ticks(&self) -> Vec<Tick> {
        let (per_unit, unit) = match self.step {
            step if step >= 100_000_000 => (1_000_000_000, "s"),
            step if step >= 100_000 => (1_000_000, "ms"),
            step if step >= 100 => (1_000, "µs"),
            _ => (1, "ns"),
        };
        // A step is never under a tenth of its unit: one decimal says it all.
        let decimals = usize::from(self.step < per_unit);
        let times = (0..=self.span / self.step).map(|index| index * self.step);
        times
            .map(|time| Tick {
                at: time as f64 / self.span as f64,
                label: format!("{:.decimals$} {unit}", time as f64 / per_unit as f64),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(span: Duration) -> Vec<String> {
        Scale::new(span, 4).ticks().into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn steps_are_round_and_in_one_unit() {
        assert_eq!(labels(Duration::from_millis(350)), ["0.0 s", "0.1 s", "0.2 s", "0.3 s"]);
        assert_eq!(labels(Duration::from_millis(5000)), ["0 s", "2 s", "4 s"]);
        assert_eq!(labels(Duration::from_micros(90)), ["0 µs", "50 µs"]);
        assert_eq!(labels(Duration::from_nanos(3)), ["0 ns", "1 ns", "2 ns", "3 ns"]);
    }

    #[test]
    fn the_extremes_have_an_axis_too() {
        assert_eq!(labels(Duration::ZERO), ["0 ns", "1 ns"]);
        assert!(labels(Duration::MAX).len() <= 5);
    }

    proptest! {
        #[test]
        fn ticks_climb_on_the_axis_and_are_few(nanos in any::<u64>(), intervals in 0usize..20) {
            let ticks = Scale::new(Duration::from_nanos(nanos), intervals).ticks();
            prop_assert!(ticks.len() <= intervals.max(1) + 1);
            prop_assert_eq!(ticks[0].at, 0.0);
            prop_assert!(ticks.windows(2).all(|pair| pair[0].at < pair[1].at && pair[0].label != pair[1].label));
            prop_assert!(ticks.iter().all(|tick| tick.at <= 1.0));
        }
    }
}

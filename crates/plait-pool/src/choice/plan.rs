//! How much to measure: a batch that the budget can pay for, and the part of
//! it that still fits when time runs short.

/// No default batch is larger: more calls say nothing new.
pub const MOST: u32 = 1000;

/// The share of the budget that the slowest engine may need for a batch of
/// the default size. There are three, and the pilot and the pools' no-ops
/// want some too.
const SHARE: f64 = 0.25;

/// The size of a batch, where the user gave none: as many calls as one
/// engine's share of the budget pays for even if nothing overlaps, but at
/// least `least`, so that there is something to overlap (an engine that
/// cannot run all of it runs a part).
#[must_use]
pub fn batch(cost: f64, budget: f64, least: u32) -> u32 {
    let affordable = (budget * SHARE / cost.max(f64::MIN_POSITIVE)).floor();
    // The cast saturates.
    (affordable as u32).clamp(least.min(MOST), MOST).max(1)
}

/// How many of `wanted` calls fit into `seconds` at `cost` seconds each
/// (already divided by what overlaps): all of them, or a whole number of
/// waves of `width`, because an unfinished wave takes as long as a full one.
/// Zero if not even one wave fits.
fn fitting(wanted: u32, cost: f64, seconds: f64, width: u32) -> u32 {
    let affordable = (seconds / cost.max(f64::MIN_POSITIVE)).floor().max(0.0) as u32;
    if affordable >= wanted {
        return wanted;
    }
    affordable - affordable % width.max(1)
}

/// A whole batch is run up to this often, and the fastest run counts.
const RUNS: u32 = 3;

/// How one engine spends its share of the budget: it runs the whole batch,
/// three times at most, or, where not even one whole run fits, as many whole
/// waves of it as do.
///
/// Ask [`part`](Self::part) how many calls to make, make them, tell
/// [`took`](Self::took), until there is no more to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounds {
    batch: u32,
    width: u32,
    /// What one call is expected to add to the time.
    cost: f64,
    /// Seconds left to spend.
    left: f64,
    runs: u32,
    /// The fastest whole batch.
    whole: Option<f64>,
    /// Calls and seconds of the waves.
    made: u32,
    taken: f64,
}

impl Rounds {
    /// A batch of calls, `width` at once, each of which is expected to add
    /// `cost` seconds, within `share` seconds.
    #[must_use]
    pub fn new(batch: u32, width: u32, cost: f64, share: f64) -> Self {
        let (batch, width) = (batch.max(1), width.max(1));
        Self { batch, width, cost, left: share, runs: 0, whole: None, made: 0, taken: 0.0 }
    }

    /// How many calls to make next; zero when that was all.
    #[must_use]
    pub fn part(&self) -> u32 {
        let fits = |wanted, cost| fitting(wanted, cost, self.left, self.width);
        if self.made == 0 {
            let fit = fits(self.batch, self.cost);
            return match (fit == self.batch, self.whole) {
                (true, _) if self.runs < RUNS => self.batch,
                (_, Some(_)) => 0,
                // Only one wave at first: then the cost is known.
                (_, None) => fit.min(self.width),
            };
        }
        fits(self.batch - self.made, self.taken / f64::from(self.made))
    }

    /// Notes that `calls` calls took `seconds` in all.
    pub fn took(&mut self, calls: u32, seconds: f64) {
        self.left -= seconds;
        if self.made == 0 && calls >= self.batch {
            self.runs += 1;
            self.whole = Some(self.whole.map_or(seconds, |best| best.min(seconds)));
            self.cost = seconds / f64::from(self.batch);
        } else {
            self.made = self.made.saturating_add(calls).min(self.batch);
            self.taken += seconds;
        }
    }

    /// The time of the whole batch: of its fastest run, or scaled up from
    /// the waves; `None` if nothing was run.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        let scaled = || self.taken * f64::from(self.batch) / f64::from(self.made);
        self.whole.or_else(|| (self.made > 0).then(scaled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs calls that really add `cost` seconds each, and lists the parts.
    fn run(mut rounds: Rounds, cost: f64) -> (Vec<u32>, Option<f64>) {
        let mut parts = Vec::new();
        while let part @ 1.. = rounds.part() {
            parts.push(part);
            rounds.took(part, f64::from(part) * cost);
        }
        (parts, rounds.seconds())
    }

    #[test]
    fn a_cheap_batch_is_run_three_times() {
        assert_eq!(run(Rounds::new(10, 2, 0.001, 1.0), 0.002), (vec![10, 10, 10], Some(0.02)));
    }

    #[test]
    fn a_batch_is_repeated_only_while_it_fits() {
        assert_eq!(run(Rounds::new(10, 2, 0.04, 1.0), 0.0625), (vec![10], Some(0.625)));
    }

    #[test]
    fn a_dear_batch_is_run_in_part_and_scaled() {
        // Thought to cost 0.25 a call: one wave. It costs half: the rest fits in part.
        assert_eq!(run(Rounds::new(10, 2, 0.25, 1.0), 0.125), (vec![2, 6], Some(1.25)));
        // It costs less still: all of the rest.
        assert_eq!(run(Rounds::new(10, 2, 0.25, 1.0), 0.0625), (vec![2, 8], Some(0.625)));
    }

    #[test]
    fn what_does_not_fit_at_all_is_left_out() {
        assert_eq!(run(Rounds::new(10, 2, 0.6, 1.0), 0.6), (vec![], None));
        assert_eq!(run(Rounds::new(10, 2, 0.1, -1.0), 0.1), (vec![], None));
    }

    #[test]
    fn the_fastest_run_counts() {
        let mut rounds = Rounds::new(4, 2, 0.1, 10.0);
        for seconds in [0.5, 0.3, 0.4] {
            assert_eq!(rounds.part(), 4);
            rounds.took(4, seconds);
        }
        assert_eq!((rounds.part(), rounds.seconds()), (0, Some(0.3)));
    }

    #[test]
    fn the_batch_follows_the_cost() {
        assert_eq!(batch(1e-6, 1.0, 4), MOST);
        assert_eq!(batch(1e-3, 1.0, 4), 250);
        assert_eq!(batch(0.1, 1.0, 4), 4);
        assert_eq!(batch(10.0, 1.0, 4), 4);
        assert_eq!(batch(0.0, 1.0, 4), MOST);
        assert_eq!(batch(f64::INFINITY, 1.0, 0), 1);
    }

    #[test]
    fn a_part_is_made_of_whole_waves() {
        assert_eq!(fitting(10, 0.1, 2.0, 4), 10);
        assert_eq!(fitting(10, 0.1, 0.75, 4), 4);
        assert_eq!(fitting(10, 0.1, 0.35, 4), 0);
        assert_eq!(fitting(3, 0.1, 0.35, 4), 3);
        assert_eq!(fitting(10, 0.1, -1.0, 4), 0);
        assert_eq!(fitting(10, 0.1, 0.35, 0), 3);
    }

    proptest! {
        #[test]
        fn a_part_never_costs_more_than_the_time(
            wanted in 1u32..5000, cost in 1e-7f64..10.0, seconds in -1.0f64..10.0, width in 0u32..64,
        ) {
            let part = fitting(wanted, cost, seconds, width);
            prop_assert!(part <= wanted);
            prop_assert!(f64::from(part) * cost <= seconds.max(0.0) + cost * 1e-6);
        }

        #[test]
        fn rounds_end_and_stay_within_their_share(
            batch in 0u32..2000, width in 0u32..64, guess in 1e-6f64..1.0, cost in 1e-6f64..1.0, share in -1.0f64..5.0,
        ) {
            let (parts, seconds) = run(Rounds::new(batch, width, guess, share), cost);
            prop_assert_eq!(parts.is_empty(), seconds.is_none());
            // Only the first part can be dearer than it was thought.
            let later: u32 = parts.iter().skip(1).sum();
            prop_assert!(later == 0 || f64::from(parts.iter().sum::<u32>()) * cost <= share * (1.0 + 1e-6));
            prop_assert!(parts.len() <= 64);
        }

        #[test]
        fn a_batch_is_never_empty(cost in any::<f64>(), budget in 1e-9f64..1e9, least in any::<u32>()) {
            prop_assert!((1..=MOST).contains(&batch(cost, budget, least)));
        }
    }
}

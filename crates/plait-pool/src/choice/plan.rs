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
#[must_use]
pub fn fitting(wanted: u32, cost: f64, seconds: f64, width: u32) -> u32 {
    let affordable = (seconds / cost.max(f64::MIN_POSITIVE)).floor().max(0.0) as u32;
    if affordable >= wanted {
        return wanted;
    }
    affordable - affordable % width.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        fn a_batch_is_never_empty(cost in any::<f64>(), budget in 1e-9f64..1e9, least in any::<u32>()) {
            prop_assert!((1..=MOST).contains(&batch(cost, budget, least)));
        }
    }
}

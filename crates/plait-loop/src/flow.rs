//! When a writer is told to stop and when to go on.
//!
//! Two marks: above the high one it is told to stop, at the low one or below
//! to go on. Between them nothing is said, so that it is not told at each
//! write. Marks and messages are asyncio's.

/// The marks of one transport, and what its writer was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    low: usize,
    high: usize,
    stopped: bool,
}

/// Marks that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("high ({high}) must be >= low ({low}) must be >= 0")]
pub struct BadMarks {
    low: i64,
    high: i64,
}

impl Default for Flow {
    fn default() -> Self {
        Self { low: 16 * 1024, high: 64 * 1024, stopped: false }
    }
}

impl Flow {
    /// Sets the marks; a missing one follows from the other.
    ///
    /// # Errors
    /// The low mark is below zero or above the high one.
    pub fn set_marks(&mut self, high: Option<i64>, low: Option<i64>) -> Result<(), BadMarks> {
        let high = high.unwrap_or_else(|| low.map_or(64 * 1024, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high / 4);
        match (usize::try_from(low), usize::try_from(high)) {
            (Ok(least), Ok(most)) if most >= least => {
                (self.low, self.high) = (least, most);
                Ok(())
            }
            _ => Err(BadMarks { low, high }),
        }
    }

    /// The marks, low and high.
    #[must_use]
    pub fn marks(&self) -> (usize, usize) {
        (self.low, self.high)
    }

    /// Whether the writer was told to stop.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the writer must be told to stop, now that so many bytes wait;
    /// notes that it was.
    pub fn must_stop(&mut self, waiting: usize) -> bool {
        let stop = !self.stopped && waiting > self.high;
        self.stopped |= stop;
        stop
    }

    /// Whether the writer can be told to go on; notes that it was.
    pub fn may_go_on(&mut self, waiting: usize) -> bool {
        let go_on = self.stopped && waiting <= self.low;
        self.stopped &= !go_on;
        go_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn says_each_thing_once_between_the_marks() {
        let mut flow = Flow::default();
        flow.set_marks(Some(100), Some(10)).unwrap();
        assert!(!flow.must_stop(100) && flow.must_stop(101) && !flow.must_stop(1000));
        assert!(flow.stopped() && !flow.may_go_on(11) && flow.may_go_on(10) && !flow.may_go_on(0));
        assert!(!flow.stopped());
    }

    #[test]
    fn a_missing_mark_follows_from_the_other() {
        let marks = |high, low| {
            let mut flow = Flow::default();
            flow.set_marks(high, low).map(|()| flow.marks()).map_err(|bad| bad.to_string())
        };
        assert_eq!(marks(None, None), Ok((16 * 1024, 64 * 1024)));
        assert_eq!(marks(Some(10), None), Ok((2, 10)));
        assert_eq!(marks(None, Some(10)), Ok((10, 40)));
        assert_eq!(marks(Some(0), None), Ok((0, 0)));
        assert_eq!(marks(Some(1), Some(2)), Err("high (1) must be >= low (2) must be >= 0".to_owned()));
        assert!(marks(None, Some(-1)).is_err() && marks(Some(-1), None).is_err());
        assert!(marks(None, Some(i64::MAX)).is_ok());
    }

    #[test]
    fn refused_marks_change_nothing() {
        let mut flow = Flow::default();
        flow.set_marks(Some(1), Some(2)).unwrap_err();
        assert_eq!(flow, Flow::default());
    }

    proptest! {
        /// A writer that obeys is never left waiting for nothing.
        #[test]
        fn whoever_was_stopped_goes_on_when_all_is_gone(
            low in 0i64..1000, more in 0i64..1000, sizes in prop::collection::vec(0usize..3000, 1..50)
        ) {
            let mut flow = Flow::default();
            flow.set_marks(Some(low + more), Some(low)).unwrap();
            for size in sizes {
                let (stopped, stop) = (flow.stopped(), flow.must_stop(size));
                prop_assert_eq!(stop, !stopped && size > flow.marks().1);
                let stopped = flow.stopped();
                prop_assert_eq!(flow.may_go_on(size), stopped && size <= flow.marks().0);
            }
            let stopped = flow.stopped();
            prop_assert_eq!(flow.may_go_on(0), stopped);
        }
    }
}
